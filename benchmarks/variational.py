"""Variational sparse coding: the published table on image patches, and the calibration of the spikes' probabilities.

Two parts, each on its own or both in turn:

- `images`: Fallah and Rozell's linear experiment on whitened patches of scikit-image's photographs and of the images of
  the data folder (environment variable SI_CRSAE_DATA, default ../shared/data), none in both training and validation:
  loss ``1/2 |x - A z|^2 + 20 |z|_1`` of drawn codes, published methods beside FISTA and our own, time to encode.
- `spikes`: see `variational_spikes.py`.

    python benchmarks/variational.py --quick
    python benchmarks/variational.py --parts images --size 8 --plot dictionaries.png --out rows.json
"""

import argparse
import sys
from pathlib import Path

import variational_images
import variational_spikes
from command_line import parse
from parts import Part, make_parser, run_parts

PARTS: dict[str, Part] = {"images": variational_images.run, "spikes": variational_spikes.run}


def main() -> None:
    """Run the chosen parts and print a table of each."""
    run_parts(PARTS, parse_arguments())


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__, PARTS, quick="small cases and little learning: within 2 minutes")
    parser.add_argument("--size", type=int, default=16, help="rows and columns of a patch; default: 16, quick 8")
    parser.add_argument("--steps", type=int, default=5000, help="of learning from patches; default: 5000, quick 300")
    parser.add_argument("--seeds", type=int, default=2, help="how many, of learning; default: 2, quick 1")
    parser.add_argument("--seed", type=int, default=0, help="the first; default: 0")
    parser.add_argument(
        "--warmup-steps", action="store_true", help="of published methods 1,500 to 6,000, not shares of the steps"
    )
    parser.add_argument("--methods", help="names of methods of images, separated by semicolons; default: all")
    parser.add_argument("--plot", type=Path, help="picture of the dictionaries recovered from the codes")
    arguments = parse(parser, parts=PARTS)
    if arguments.quick:
        arguments.size, arguments.steps, arguments.seeds = 8, 300, 1
    return arguments


if __name__ == "__main__":
    sys.exit(main())
