"""Reproduce the experiments of the CRsAE paper, and go on where it stops.

Four parts, each on its own or all in turn:

- `learning`: error of every atom (Eq. 26) after each epoch, lambda after each epoch, at 7, 10, 13 and 16 dB, for
  expectation-maximization in closed form, the published two-stage back-propagation with its choices of gradient and of
  lambda, and the untied baseline (LCSC).
- `race`: seconds until all atoms are within -12 dB, until the objective that SPORCO ends with, and the plateau, beside
  SPORCO's and alphacsc's dictionary learning, on one thread.
- `coding`: seconds, objective, recall and precision of coding all windows with learned atoms, beside the same two.
- `recording`: atoms learned from the raw hippocampus tetrode of the paper, and missed spikes against false alarms for
  the cell with the intracellular electrode.

Simulated windows are those of Table III (10,100 windows of 100 ms at 10 kHz, 17 min), 9,000 to learn from and 1,000 to
validate. Everything compared is compared in the same call, on the same windows and threads.

    python benchmarks/crsae_paper.py --quick
    python benchmarks/crsae_paper.py --parts race,coding --seeds 0 --threads 2 --out rows.json
"""

import argparse
import sys

import paper_coding
import paper_learning
import paper_race
import paper_recording
from command_line import parse
from parts import Part, make_parser, run_parts

PARTS: dict[str, Part] = {
    "learning": paper_learning.run,
    "race": paper_race.run,
    "coding": paper_coding.run,
    "recording": paper_recording.run,
}


def main() -> None:
    """Run the chosen parts and print a table of each."""
    run_parts(PARTS, parse_arguments())


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__, PARTS, quick="fewer windows and seeds: two minutes on two cores")
    parser.add_argument("--seeds", default="0,1,2,3,4", help="of the simulation, comma-separated")
    parser.add_argument("--snrs", default="7,10,13,16", help="of the learning part, in dB")
    arguments = parse(parser, parts=PARTS)
    arguments.seeds = [int(seed) for seed in arguments.seeds.split(",")]
    arguments.snrs = [float(snr) for snr in arguments.snrs.split(",")]
    if arguments.quick:
        arguments.seeds, arguments.snrs = arguments.seeds[:1], arguments.snrs[-1:]
    return arguments


if __name__ == "__main__":
    sys.exit(main())
