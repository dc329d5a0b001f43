"""Running a benchmark of several parts."""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from sorters import Row, machine_row, names, save
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
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--parts", type=names, default=list(parts), help="which of " + ", ".join(parts))
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    parser.add_argument("--out", type=Path, help="JSON file of rows; must not exist yet")
    return parser


def parse(parser: argparse.ArgumentParser, parts: dict[str, Part]) -> argparse.Namespace:
    """Read the command line; an unknown part or a file that exists ends the program with a message."""
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(parts):
        parser.error(f"--parts: unknown {sorted(unknown)}; choose from {', '.join(parts)}")
    if arguments.out is not None and arguments.out.exists():
        parser.error(f"--out = {arguments.out} exists; give another name or remove it")
    return arguments
