"""Running a benchmark of several parts."""

import argparse
from collections.abc import Callable

import torch
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
