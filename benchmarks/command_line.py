"""The command line of every benchmark: the options that all have, and what is checked of any."""

import argparse
import importlib.util
from collections.abc import Collection
from pathlib import Path


def make_parser(description: str, *, quick: str | None = None) -> argparse.ArgumentParser:
    """Return a parser of what all benchmarks take; `quick` says what that flag does, if there is one."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file of rows; must not exist yet")
    if quick is not None:
        parser.add_argument("--quick", action="store_true", help=quick)
    return parser


def parse(parser: argparse.ArgumentParser, **known: Collection[str]) -> argparse.Namespace:
    """Read the command line; `known` has the names that an option may list, if it lists any.

    An unknown name, a file of rows that exists, and a plot without matplotlib end the program with a message.
    """
    arguments = parser.parse_args()
    for option, choices in known.items():
        if unknown := set(getattr(arguments, option) or ()) - set(choices):
            parser.error(f"--{option}: unknown {sorted(unknown)}; choose from {','.join(choices)}")
    if arguments.out is not None and arguments.out.exists():
        parser.error(f"--out = {arguments.out} exists; give another name or remove it")
    if getattr(arguments, "plot", None) is not None and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install matplotlib, or leave the option out")
    return arguments


def names(text: str) -> list[str]:
    """Split a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]
