"""What the thresholds of learning do to simulated trains and waveforms, on the level of the rules: no recordings.

Four parts, each on its own or all in turn:

- `bursts`: how often `share_bursts` joins two neurons, and misses that two atoms are one bursting neuron.
- `company`: how often `fraction_in_company` takes a neuron that fires in synchrony with a larger one for a part of it.
- `splits`: how often `split_units` splits the spikes of one neuron, and leaves two together.
- `sizes`: into how many parts `cut_by_size` cuts the peaks of one neuron.

Every figure is a share of simulated pairs, units or clusters, with the default thresholds beside others.

    python benchmarks/thresholds.py --quick
    python benchmarks/thresholds.py --parts bursts,company --out rows.json
"""

import argparse
import sys

import threshold_trains
import threshold_waveforms
from command_line import parse
from parts import Part, make_parser, run_parts

PARTS: dict[str, Part] = {
    "bursts": threshold_trains.run_bursts,
    "company": threshold_trains.run_company,
    "splits": threshold_waveforms.run_splits,
    "sizes": threshold_waveforms.run_sizes,
}


def main() -> None:
    """Run the chosen parts and print tables of each."""
    run_parts(PARTS, parse_arguments())


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__, PARTS, quick="a tenth of the repeats: within 2 minutes")
    parser.add_argument("--repeats", type=int, help="simulated pairs or units of a figure; default: each part's own")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    return parse(parser, parts=PARTS)


if __name__ == "__main__":
    sys.exit(main())
