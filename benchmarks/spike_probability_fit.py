"""Fit the coefficients with which crsae turns features of spikes and units into probabilities.

Recordings of every kind of `spike_recordings.HARD_KINDS` are generated and sorted; `--folder` keeps what came of each,
so that an interrupted run goes on. The coefficients are written to the file named by --out, that of the package is
`si_crsae/sorting/probabilities/coefficients.py`.

    python benchmarks/spike_probability_fit.py --folder sorted --out spike_coefficients.py
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from spike_recordings import HARD_KINDS, SortedCase, sort_hard_case

from si_crsae.sorting.probabilities.features import SPIKE_FEATURES, UNIT_FEATURES
from si_crsae.sorting.probabilities.logistic import standardize, with_squares

SEEDS = range(200, 212)
DURATION_S = 30.0
# Inverse strength of the ridge, on standardized features.
PROBABILITY_RIDGE, MISSED_RIDGE = 0.03, 0.3

Coefficients = dict[str, tuple[float, ...]]


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where sorted recordings are kept")
    parser.add_argument("--out", type=Path, required=True, help="Python file of coefficients")
    arguments = parser.parse_args()
    cases = []
    for seed in SEEDS:
        for kind in HARD_KINDS:
            cases.append(sort_hard_case(kind, seed, duration_s=DURATION_S, cache=arguments.folder))
            sys.stderr.write(
                f"{kind} {seed}: {cases[-1].is_right.size} spikes, {cases[-1].is_right.mean():.3f} right\n"
            )
    write(fit_probability(cases), fit_missed_rate(cases), arguments.out)


def fit_probability(cases: list[SortedCase]) -> Coefficients:
    """Return the coefficients of a spike's probability.

    Spikes of one unit tell nearly the same: those of a unit of n spikes weigh 1 / sqrt(n) each.
    """
    features = np.concatenate([case.features for case in cases])
    is_right = np.concatenate([case.is_right for case in cases])
    weights = np.concatenate([1 / np.sqrt(np.bincount(case.unit_index)[case.unit_index]) for case in cases])
    mean, sd = features.mean(axis=0), features.std(axis=0) + 1e-6
    model = LogisticRegression(C=PROBABILITY_RIDGE, max_iter=1000)
    model.fit(with_squares(standardize(features, mean, sd)), is_right, sample_weight=weights)
    linear, square = model.coef_[0].reshape(2, -1)
    return _as_table(SPIKE_FEATURES + UNIT_FEATURES, model.intercept_[0], mean, sd, linear, square)


def fit_missed_rate(cases: list[SortedCase]) -> Coefficients:
    """Return the coefficients of a unit's missed rate; every unit with a match weighs the same."""
    features = np.concatenate([case.units for case in cases])
    missed = np.concatenate([case.missed_rate for case in cases])
    features, missed = features[np.isfinite(missed)], missed[np.isfinite(missed)]
    mean, sd = features.mean(axis=0), features.std(axis=0) + 1e-6
    standardized = standardize(features, mean, sd)
    outcome = np.repeat([1, 0], missed.size)
    model = LogisticRegression(C=MISSED_RIDGE, max_iter=1000)
    model.fit(np.tile(standardized, (2, 1)), outcome, sample_weight=np.concatenate([missed, 1 - missed]))
    return _as_table(UNIT_FEATURES, model.intercept_[0], mean, sd, model.coef_[0])


def _as_table(names: tuple[str, ...], intercept: float, *columns: np.ndarray) -> Coefficients:
    rows = np.stack(columns, axis=1)
    return {"intercept": (float(intercept),)} | {
        name: tuple(float(value) for value in row) for name, row in zip(names, rows, strict=True)
    }


def write(probability: Coefficients, missed: Coefficients, path: Path) -> None:
    """Write a Python module."""
    lines = ['"""Written by benchmarks/spike_probability_fit.py: the numbers behind `spike_model`."""', ""]
    columns = {"SPIKE_PROBABILITY": "mean, sd, linear, square", "MISSED_RATE": "mean, sd, linear"}
    for (name, meaning), table in zip(columns.items(), (probability, missed), strict=True):
        lines += [f"# {meaning}", f"{name}: dict[str, tuple[float, ...]] = {{"]
        for feature, values in table.items():
            numbers = ", ".join(f"{value:.5g}" for value in values)
            lines.append(f'    "{feature}": ({numbers}{"," if len(values) == 1 else ""}),')
        lines += ["}", ""]
    path.write_text("\n".join(lines), encoding="utf8")


if __name__ == "__main__":
    sys.exit(main())
