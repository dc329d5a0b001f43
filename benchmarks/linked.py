"""Linked dictionaries: digits and glyphs, time to encode, views of spikes, and units across a drift.

Four parts, each on its own or all in turn:

- `digits`: Table I of Barari and Kim on the 10,000 digits of the data folder (environment variable SI_CRSAE_DATA,
  default ../shared/data): 8,000 to learn from, 2,000 to test on, several splits. No label reaches the test side.
- `encoding`: time to encode the digits against scikit-learn's `sparse_encode`, at the same objective.
- `views`: spikes of two shanks with one code against each alone; the intracellular voltage of a cell from its
  extracellular traces.
- `sortings`: units of two epochs between which the probe has moved: `link_sortings` against SpikeInterface's
  `compare_templates`.

Everything compared is compared in the same call, on the same data and threads.

    python benchmarks/linked.py --quick
    python benchmarks/linked.py --parts digits,encoding --out rows.json
"""

import argparse
import sys

import linked_digits
import linked_encoding
import linked_sortings
import linked_views
from command_line import parse
from parts import Part, make_parser, run_parts

PARTS: dict[str, Part] = {
    "digits": linked_digits.run,
    "encoding": linked_encoding.run,
    "views": linked_views.run,
    "sortings": linked_sortings.run,
}


def main() -> None:
    """Run the chosen parts and print a table of each."""
    run_parts(PARTS, parse_arguments())


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__, PARTS, quick="small cases and little learning: within 3 minutes")
    parser.add_argument("--splits", type=int, help="of the digits; default: 3, quick 1")
    parser.add_argument("--epochs", type=int, help="of learning from digits; default: 40, quick 1")
    parser.add_argument("--seed", type=int, default=0, help="of learning and simulation; default: 0")
    arguments = parse(parser, parts=PARTS)
    arguments.splits = arguments.splits or (1 if arguments.quick else 3)
    arguments.epochs = arguments.epochs or (1 if arguments.quick else 40)
    arguments.digits = 1500 if arguments.quick else linked_digits.NUM_TRAINING
    return arguments


if __name__ == "__main__":
    sys.exit(main())
