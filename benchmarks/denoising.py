"""Denoise with the exponential-family auto-encoders, beside what is used for it now.

Four parts, each on its own or all in turn:

- `images`: Poisson counts of Set12 and BSD68 (those of the data folder, environment variable SI_CRSAE_DATA, default
  ../shared/data) at peaks 1, 2 and 4. The network that is tested on one set has learned from the other and from
  scikit-image's photographs. Peer: Anscombe's transform, BM3D, exact unbiased inverse, on the pixels and on pixels
  binned by two.
- `filters`: error (Eq. 26 of the CRsAE paper) of filters learned from simulated Gaussian, binomial and Poisson data.
- `counts`: rates of a simulated population from its spike counts: error against the true rates, and bits per spike of
  other trials, for the histogram (PSTH), Gaussian smoothing of cross-validated width, elephant's optimal kernel, and
  `denoise_counts`.
- `floor`: time of a forward pass against that of as many plain convolutions.

Everything compared is compared in the same call, on the same data and threads.

    python benchmarks/denoising.py --quick
    python benchmarks/denoising.py --parts images --threads 2 --out rows.json
"""

import argparse
import sys

import denoising_counts
import denoising_filters
import denoising_floor
import denoising_images
from command_line import parse
from parts import Part, make_parser, run_parts

PARTS: dict[str, Part] = {
    "images": denoising_images.run,
    "filters": denoising_filters.run,
    "counts": denoising_counts.run,
    "floor": denoising_floor.run,
}


def main() -> None:
    """Run the chosen parts and print a table of each."""
    run_parts(PARTS, parse_arguments())


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__, PARTS, quick="small cases and little learning: within 2 minutes")
    parser.add_argument("--steps", type=int, help="of learning for images; default: 4000, quick 60")
    parser.add_argument("--seed", type=int, default=0, help="of noise, simulation and learning; default: 0")
    arguments = parse(parser, parts=PARTS)
    if arguments.steps is None:
        arguments.steps = 60 if arguments.quick else 4000
    return arguments


if __name__ == "__main__":
    sys.exit(main())
