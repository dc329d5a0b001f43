"""The labels of units: fitted on generated recordings, and compared with published rules on other ones.

`fit` generates and sorts recordings of every kind of `unit_recordings.KIND_NAMES` and writes the coefficients; those of
the package are `si_crsae/sorting/quality/coefficients.py`. `validate` fits without the recordings of one seed, for each
seed, and judges those. `compare` judges recordings of other seeds, longer, and prints how well "good" tells units that
agree with a neuron by at least 0.8, beside what Bombcell's rules and others say of the same units. `real` prints the
units of two real recordings in which neurons are known. `--folder` keeps what came of each recording, so that an
interrupted run goes on.

    python benchmarks/unit_quality.py fit --folder judged --coefficients unit_coefficients.py
    python benchmarks/unit_quality.py validate --folder judged
    python benchmarks/unit_quality.py real
    python benchmarks/unit_quality.py compare --folder judged --out rows.json
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from command_line import make_parser, names, parse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sorters import Row, machine_row, save
from spike_recordings import JOB
from spikeinterface.sorters import run_sorter
from unit_recordings import KIND_NAMES, JudgedCase, sort_and_judge

from si_crsae.core.tables import concatenate_rows
from si_crsae.evaluation import expected_calibration_error, judge_units, load_case
from si_crsae.sorting.probabilities.logistic import standardize, with_squares
from si_crsae.sorting.quality.features import QUALITY_FEATURES
from si_crsae.sorting.quality.labels import QUALITY_LABELS, UnitQuality, quality_by

FIT_SEEDS, FIT_S = range(300, 304), 30.0
OTHER_SEEDS, OTHER_S = range(400, 401), 60.0
MIN_ACCURACY, MIN_OF_NEURONS, MAX_CONTAMINATION = 0.8, 0.5, 0.2
# Inverse strength of the ridge, on standardized features.
RIDGE = 0.3
Coefficients = dict[str, tuple[float, ...]]
REAL_RECORDINGS = ("locust_tetrode.npz", "purkinje_cell_attached.npz")
# What is reported by itself.
PARTS: dict[str, Callable[[str], bool]] = {
    "all": lambda name: True,
    "as they are": lambda name: "+" not in name,
    "with decoys": lambda name: "+decoys" in name,
}


def main() -> None:
    """Fit, or print the table."""
    parser = make_parser(__doc__ or "", quick="one kind of tetrodes, one recording")
    parser.add_argument("what", choices=("fit", "validate", "compare", "real"))
    parser.add_argument("--folder", type=Path, help="where judged recordings are kept")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="where the templates are")
    parser.add_argument("--coefficients", type=Path, help="Python file that `fit` writes")
    parser.add_argument("--kinds", type=names, default=list(KIND_NAMES), help=",".join(KIND_NAMES))
    arguments = parse(parser, kinds=KIND_NAMES)
    if arguments.what == "real":
        for name in REAL_RECORDINGS:
            sys.stdout.write(f"{name}\n{label_real(arguments.data / 'recordings' / name).to_string()}\n")
        return
    is_compared = arguments.what == "compare"
    seeds, duration_s = (OTHER_SEEDS, OTHER_S) if is_compared else (FIT_SEEDS, FIT_S)
    if arguments.quick:
        arguments.kinds, seeds, duration_s = ["mixed_tetrode"], seeds[:1], 20.0
    cases = []
    for seed in seeds:
        for kind in arguments.kinds:
            cases.append(
                sort_and_judge(
                    kind,
                    seed,
                    duration_s=duration_s,
                    data_folder=arguments.data,
                    with_rules=is_compared,
                    cache=arguments.folder,
                )
            )
            counts = np.bincount(true_labels(cases[-1]), minlength=len(QUALITY_LABELS))
            sys.stderr.write(f"{kind} {seed}: {dict(zip(QUALITY_LABELS, counts.tolist(), strict=True))}\n")
    if arguments.what == "fit":
        write(fit(cases), arguments.coefficients)
        return
    rows: list[Row] = [machine_row(1)]
    for part, chosen in PARTS.items():
        few = [case for case in cases if chosen(str(case.name))]
        quality = quality_by(features_of(few)) if is_compared else validated(cases, few)
        for method, figures in compare(few, quality):
            rows += [
                {"case": part, "method": method, "figure": name, "value": value} for name, value in figures.items()
            ]
            text = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
            sys.stdout.write(f"{part}, {method}: {text}\n")
    save(rows, arguments.out)


def label_real(path: Path) -> pd.DataFrame:
    """Return the units of a recording, how well they agree with neurons that are known, and their labels."""
    recording, truth = load_case(path)
    with tempfile.TemporaryDirectory() as folder:
        kept = recording.save(folder=Path(folder) / "recording", verbose=False, **JOB)
        sorting = run_sorter("crsae", kept, folder=Path(folder) / "run", verbose=False)
    units = judge_units(sorting, truth).round(3)
    return units.assign(**{name: sorting.get_property(name) for name in ("num_spikes", "quality", "probability_good")})


def features_of(cases: list[JudgedCase]) -> np.ndarray:
    """Return the features of all units."""
    return np.concatenate([case.features for case in cases])


def validated(cases: list[JudgedCase], few: list[JudgedCase]) -> UnitQuality:
    """Return the quality of the units of some cases, fitted to the recordings of other seeds than their own."""
    seed_of = {str(case.name): str(case.name).rsplit("_", 1)[1] for case in cases}
    fitted = {
        seed: fit([case for case in cases if seed_of[str(case.name)] != seed]) for seed in sorted(set(seed_of.values()))
    }
    return concatenate_rows([quality_by(case.features, fitted[seed_of[str(case.name)]]) for case in few], "unit")


def true_labels(case: JudgedCase) -> np.ndarray:
    """Return the index of the label that each unit deserves."""
    return np.where(case.accuracy >= MIN_ACCURACY, 0, np.where(case.of_neurons < MIN_OF_NEURONS, 2, 1))


def fit(cases: list[JudgedCase]) -> Coefficients:
    """Return the coefficients of the labels; every unit weighs the same."""
    features = np.concatenate([case.features for case in cases])
    mean, sd = features.mean(axis=0), features.std(axis=0) + 1e-6
    model = LogisticRegression(C=RIDGE, max_iter=2000)
    model.fit(with_squares(standardize(features, mean, sd)), np.concatenate([true_labels(case) for case in cases]))
    slopes = model.coef_.reshape(len(QUALITY_LABELS), 2, len(QUALITY_FEATURES)).transpose(2, 0, 1)
    rows = np.column_stack([mean, sd, slopes.reshape(len(QUALITY_FEATURES), -1)])
    return {"intercept": tuple(model.intercept_.tolist())} | {
        name: tuple(row.tolist()) for name, row in zip(QUALITY_FEATURES, rows, strict=True)
    }


def compare(cases: list[JudgedCase], quality: UnitQuality) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each way of telling good units, and its figures."""
    is_good = np.concatenate([true_labels(case) == 0 for case in cases])
    is_noise = np.concatenate([true_labels(case) == 2 for case in cases])
    contamination = 1 - np.concatenate([case.precision for case in cases])
    yield (
        "crsae",
        {
            **figures_of(quality.labels == "good", is_good, contamination, quality.good),
            "calibration error": expected_calibration_error(quality.good, is_good),
            "area of noise": float(roc_auc_score(is_noise, quality.noise)) if is_noise.any() else float("nan"),
            "calibration error of noise": expected_calibration_error(quality.noise, is_noise),
        },
    )
    for name in cases[0].rules:
        called = np.concatenate([case.rules[name] for case in cases]).astype(bool)
        yield name, figures_of(called, is_good, contamination, called.astype(float))


def figures_of(
    called: np.ndarray, is_good: np.ndarray, contamination: np.ndarray, score: np.ndarray
) -> dict[str, float]:
    """Return how well units that are called good are good."""
    return {
        "units": float(is_good.size),
        "good": float(is_good.mean()),
        "called good": float(called.mean()),
        "precision": float(is_good[called].mean()) if called.any() else float("nan"),
        "recall": float(called[is_good].mean()),
        "area": float(roc_auc_score(is_good, score)),
        "pure": float(np.mean(contamination[called] < MAX_CONTAMINATION)) if called.any() else float("nan"),
    }


def write(coefficients: Coefficients, path: Path) -> None:
    """Write a Python module."""
    lines = ['"""Written by benchmarks/unit_quality.py: the numbers behind `quality_by`."""', ""]
    lines += ["# mean, sd, then for each label the linear and the squared term"]
    lines += ["COEFFICIENTS: dict[str, tuple[float, ...]] = {"]
    lines += [
        f'    "{name}": ({", ".join(f"{value:.5g}" for value in values)}),' for name, values in coefficients.items()
    ]
    path.write_text("\n".join([*lines, "}", ""]), encoding="utf8")


if __name__ == "__main__":
    main()
