"""Running a benchmark of several parts."""

import argparse
from collections.abc import Callable

import command_line
import torch
from command_line import names
from sorters import Row, machine_row, save
from threadpoolctl import threadpool_limits

Part = Callable[[argparse.Namespace, Callable[[list[Row]], None]], str]


def run_parts(parts: dict[str, Part], arguments: argparse.Namespace) -> None:
    """Run the chosen parts and print a table of each; rows are saved as they come."""
    torch.set_num_threads(arguments.threads)
    rows = [machine_row(arguments.threads)]

    def add(new: list[Row]) -> None:
        rows.extend(new)
        save(rows, arguments.out)

    with threadpool_limits(arguments.threads):
        for part in arguments.parts:
            print(f"\n{part}\n\n{parts[part](arguments, add)}", flush=True)


def make_parser(description: str, parts: dict[str, Part], *, quick: str) -> argparse.ArgumentParser:
    """Return a parser of what all benchmarks of several parts take; `quick` says what that flag does."""
    parser = command_line.make_parser(description, quick=quick)
    parser.add_argument("--parts", type=names, default=list(parts), help="which of " + ", ".join(parts))
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    return parser
