"""Probability and amplitude interval of a spike: calibration, rates of units, coverage, cost.

Recordings of the kinds of `spike_recordings` are generated from seeds that the shipped coefficients were not fitted on,
sorted, and compared with the truth. Fitted methods are also fitted here, on other seeds or on other kinds than they are
tested on.

    python benchmarks/variational_spikes.py --quick
    python benchmarks/variational_spikes.py --out rows.json
    python benchmarks/variational_spikes.py --kinds tetrode,faint --duration 120 --num-seeds 2 --seed 100
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from cases import DATA_FILES, data_folder
from command_line import names, parse
from parts import Part, make_parser, run_parts
from scipy.special import expit
from scipy.stats import pearsonr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sorters import Row
from spike_probability_fit import fit_probability
from spike_recordings import HARD_KINDS, JOB, SortedCase, sort_hard_case, sort_recording
from spikeinterface.sorters import run_sorter

from si_crsae.evaluation import expected_calibration_error, generate_case, load_case, reliability_table, simulate
from si_crsae.sorting.probabilities.features import SPIKE_FEATURES, UNIT_FEATURES
from si_crsae.sorting.probabilities.logistic import missed_rate, probability_by, spike_probability

FIRST_SEED = 300
QUICK_KINDS = ("mono", "tetrode", "varied")
# Cases of the other benchmarks: kinds of which no coefficient has seen a recording.
UNSEEN_CASES = ("tetrode", "lowsnr32", "faint32", "drift32")
UNSEEN_SEEDS = (100, 101)
TIMED_KINDS = ("tetrode", "crowded", "coarse")
EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.95, 1.0)
SHIPPED, OTHER_KINDS = "all of it, as shipped", "all of it, fitted on other kinds"

Add = Callable[[list[Row]], None]
Probabilities = list[np.ndarray]


def run(arguments: argparse.Namespace, add: Add) -> str:
    """Return the printed tables; rows are added as they come."""
    chosen = getattr(arguments, "kinds", None)
    kinds = chosen or (QUICK_KINDS if arguments.quick else tuple(HARD_KINDS))
    num_seeds = getattr(arguments, "num_seeds", None) or (1 if arguments.quick else 6)
    duration_s = getattr(arguments, "duration", None) or (12.0 if arguments.quick else 30.0)
    seeds = [FIRST_SEED + arguments.seed + step for step in range(num_seeds)]
    cache = getattr(arguments, "folder", None)
    cases = [sort_hard_case(kind, seed, duration_s=duration_s, cache=cache) for seed in seeds for kind in kinds]
    parts = [
        f"Generated, {len(cases)} recordings of {duration_s:g} s, seeds {seeds[0]} to {seeds[-1]}",
        compare_methods(methods := methods_of(cases), cases, add),
        "Reliability",
        reliability(cases, shipped(cases), "generated", add),
        "By kind",
        by_kind(cases, add),
        "Rates of units",
        rates_of_units(cases, add),
    ]
    if OTHER_KINDS in methods:
        parts += ["Reliability, fitted on other kinds", reliability(cases, methods[OTHER_KINDS], OTHER_KINDS, add)]
    if chosen:
        return "\n\n".join(parts)
    if not arguments.quick:
        others = unseen_cases()
        parts += ["Other recordings, as shipped", by_kind(others, add)]
        parts += ["Reliability there", reliability(others, shipped(others), "other recordings", add)]
    parts += ["Cost", cost(TIMED_KINDS[: 1 if arguments.quick else None], duration_s, arguments, add)]
    return "\n\n".join(parts)


def shipped(cases: list[SortedCase]) -> Probabilities:
    """Return the probabilities that the sorter gives."""
    return [spike_probability(case.spikes, case.units[case.unit_index]) for case in cases]


def methods_of(cases: list[SortedCase]) -> dict[str, Probabilities]:
    """Return the probabilities of all methods, those that are fitted fitted on other seeds and on other kinds."""
    local, alternatives = (SPIKE_FEATURES.index(name) for name in ("local", "alternatives"))
    methods = {
        "local Gaussian": [expit(case.spikes[:, local]) for case in cases],
        "weights of alternatives": [expit(case.spikes[:, alternatives]) for case in cases],
        SHIPPED: shipped(cases),
    }
    by_seed = [str(case.name).rsplit("_", 1)[1] for case in cases]
    for held_out, groups in (("seeds", by_seed), ("kinds", [case.kind for case in cases])):
        if len(set(groups)) > 1:
            methods[f"amplitude and SNR, fitted on other {held_out}"] = cross_validate(cases, groups, by_amplitude)
            methods[f"all of it, fitted on other {held_out}"] = cross_validate(cases, groups, by_everything)
    return methods


def compare_methods(methods: dict[str, Probabilities], cases: list[SortedCase], add: Add) -> str:
    """Return a table of the figures of merit of all methods."""
    lines = ["| method | ECE | log loss | Brier | AUC |", "|---" * 5 + "|"]
    for method, probabilities in methods.items():
        figures = score(cases, probabilities)
        add([row("generated", method, name, value) for name, value in figures.items()])
        lines.append(f"| {method} | " + " | ".join(f"{value:.3f}" for value in figures.values()) + " |")
    return "\n".join(lines)


def cross_validate(
    cases: list[SortedCase], groups: Sequence[str], fit: Callable[[list[SortedCase]], Callable]
) -> Probabilities:
    """Return the probabilities that each case has from a fit to the cases of other groups."""
    predictors = {
        group: fit([case for case, other in zip(cases, groups, strict=True) if other != group]) for group in set(groups)
    }
    return [predictors[group](case) for case, group in zip(cases, groups, strict=True)]


def by_amplitude(cases: list[SortedCase]) -> Callable[[SortedCase], np.ndarray]:
    """Return a logistic regression on a spike's amplitude, that of its unit over the noise, and their product."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(np.concatenate([amplitude_and_snr(case) for case in cases]), _truth(cases))
    return lambda case: model.predict_proba(amplitude_and_snr(case))[:, 1]


def amplitude_and_snr(case: SortedCase) -> np.ndarray:
    """Return relative amplitude, logarithm of the unit's SNR, and logarithm of the spike's own."""
    log_snr = case.units[case.unit_index, UNIT_FEATURES.index("snr")]
    return np.stack([case.relative_amplitude, log_snr, log_snr + np.log(case.relative_amplitude)], axis=1)


def by_everything(cases: list[SortedCase]) -> Callable[[SortedCase], np.ndarray]:
    """Return the sorter's model with coefficients from these cases."""
    coefficients = fit_probability(cases)
    return lambda case: probability_by(coefficients, case.spikes, case.units[case.unit_index])


def score(cases: list[SortedCase], probabilities: Probabilities) -> dict[str, float]:
    """Return the figures of merit of some probabilities."""
    probability, is_right = np.concatenate(probabilities), _truth(cases)
    return {
        "ece": expected_calibration_error(probability, is_right),
        "log_loss": float(log_loss(is_right, np.clip(probability, 1e-6, 1 - 1e-6), labels=[False, True])),
        "brier": float(np.mean((probability - is_right) ** 2)),
        "auc": float(roc_auc_score(is_right, probability)) if 0 < is_right.mean() < 1 else float("nan"),
    }


def reliability(cases: list[SortedCase], probabilities: Probabilities, label: str, add: Add) -> str:
    """Return how often spikes of a probability are right."""
    table = reliability_table(np.concatenate(probabilities), _truth(cases), edges=EDGES)
    lines = ["| probability | spikes | its mean | share that is right |", "|---" * 4 + "|"]
    for low, high, count, mean, right in table.itertuples(index=False):
        name = f"{low:g} to {high:g}"
        add([row(label, name, "mean", mean), row(label, name, "right", right), row(label, name, "spikes", count)])
        lines.append(f"| {name} | {count} | {mean:.3f} | {right:.3f} |")
    return "\n".join(lines)


def by_kind(cases: list[SortedCase], add: Add) -> str:
    """Return the calibration of the shipped coefficients and the coverage of the intervals, kind by kind."""
    lines = ["| kind | spikes | mean probability | right | ECE | AUC | interval covers |", "|---" * 7 + "|"]
    for kind in dict.fromkeys(case.kind for case in cases):
        chosen = [case for case in cases if case.kind == kind]
        probabilities = shipped(chosen)
        mean, right = float(np.concatenate(probabilities).mean()), float(_truth(chosen).mean())
        figures = score(chosen, probabilities)
        covered = coverage(chosen)
        values = {"mean": mean, "right": right, "ece": figures["ece"], "auc": figures["auc"], "covered": covered}
        add([row(kind, SHIPPED, name, value) for name, value in values.items()])
        printed = " | ".join("" if np.isnan(value) else f"{value:.3f}" for value in values.values())
        lines.append(f"| {kind} | {_truth(chosen).size} | {printed} |")
    return "\n".join(lines)


def coverage(cases: list[SortedCase]) -> float:
    """Return the share of right spikes whose interval holds the true amplitude; NaN where that is unknown."""
    low, high, true = (
        np.concatenate([getattr(case, name) for case in cases]) for name in ("low", "high", "true_amplitude")
    )
    known = np.isfinite(true)
    return float(np.mean((low[known] <= true[known]) & (true[known] <= high[known]))) if known.any() else float("nan")


def rates_of_units(cases: list[SortedCase], add: Add) -> str:
    """Return how well the expected rates of units agree with the true ones, next to simpler guesses."""
    wrong, expected_wrong, missed, expected_missed, truncated = [], [], [], [], []
    for case, probability in zip(cases, shipped(cases), strict=True):
        counts = np.bincount(case.unit_index)
        wrong.append(np.bincount(case.unit_index, weights=~case.is_right) / counts)
        expected_wrong.append(np.bincount(case.unit_index, weights=1 - probability) / counts)
        matched = np.isfinite(case.missed_rate)
        missed.append(case.missed_rate[matched])
        expected_missed.append(missed_rate(case.units)[matched])
        truncated.append(case.units[matched, UNIT_FEATURES.index("truncation")])
    pairs = {
        "false positives": (np.concatenate(expected_wrong), np.concatenate(wrong)),
        "missed": (np.concatenate(expected_missed), np.concatenate(missed)),
        "missed, from the amplitudes alone": (np.concatenate(truncated), np.concatenate(missed)),
    }
    lines = ["| rate | units | mean, true | mean, expected | correlation | mean absolute error | of the mean |"]
    lines.append("|---" * 7 + "|")
    for name, (expected, true) in pairs.items():
        correlation = float(pearsonr(expected, true).statistic)
        error, constant = float(np.abs(expected - true).mean()), float(np.abs(true - true.mean()).mean())
        add([row("units", name, "correlation", correlation), row("units", name, "error", error)])
        lines.append(
            f"| {name} | {true.size} | {true.mean():.3f} | {expected.mean():.3f} | {correlation:.2f} | {error:.4f} | "
            f"{constant:.4f} |"
        )
    return "\n".join(lines)


def unseen_cases() -> list[SortedCase]:
    """Return cases of the other benchmarks and of the data folder, sorted."""
    cases = []
    for name in UNSEEN_CASES:
        for seed in UNSEEN_SEEDS:
            cases.append(sort_recording(f"{name}, easier_{seed}", *generate_case(name, duration_s=40.0, seed=seed)))
    for name in ("dev_tetrode", "dev_neuronexus32"):
        path = data_folder() / DATA_FILES[name]
        if path.exists():
            cases.append(sort_recording(f"{name}_0", *load_case(path)))
    return cases


def cost(kinds: Sequence[str], duration_s: float, arguments: argparse.Namespace, add: Add) -> str:
    """Return the time of the sorter with and without, medians of runs in turn after one that compiles."""
    num_runs = 3 if arguments.quick else 7
    lines = ["| kind | without | with | more |", "|---" * 4 + "|"]
    for kind in kinds:
        recording, _ = simulate(HARD_KINDS[kind], duration_s=duration_s, seed=FIRST_SEED + arguments.seed)
        seconds: dict[bool, list[float]] = {False: [], True: []}
        with tempfile.TemporaryDirectory() as folder:
            saved = recording.save(folder=Path(folder) / "recording", verbose=False, **JOB)
            for number in range(num_runs + 1):
                for wanted in (False, True):
                    start = time.perf_counter()
                    run_sorter(
                        "crsae",
                        saved,
                        folder=Path(folder) / f"run_{number}_{wanted}",
                        verbose=False,
                        spike_probabilities=wanted,
                        job_kwargs={"n_jobs": arguments.threads},
                    )
                    seconds[wanted].append(time.perf_counter() - start)
        without, with_it = (median(seconds[wanted][1:]) for wanted in (False, True))
        add([row(kind, "without", "seconds", without, "s"), row(kind, "with", "seconds", with_it, "s")])
        lines.append(f"| {kind} | {without:.2f} s | {with_it:.2f} s | {100 * (with_it / without - 1):.0f} % |")
    return "\n".join(lines)


def row(case: str, method: str, figure: str, value: float, unit: str = "") -> Row:
    """Return one figure."""
    return {"case": case, "method": method, "figure": figure, "value": round(float(value), 4), "unit": unit}


def _truth(cases: list[SortedCase]) -> np.ndarray:
    return np.concatenate([case.is_right for case in cases])


PARTS: dict[str, Part] = {"spikes": run}


def main() -> None:
    """Run and print the tables."""
    parser = make_parser(__doc__, PARTS, quick="three short recordings: within a minute or two")
    parser.add_argument("--seed", type=int, default=0, help="of generated recordings; default: 0")
    parser.add_argument("--kinds", type=names, help="only these kinds, and no cost; default: all")
    parser.add_argument("--num-seeds", type=int, help="recordings of each kind; default: 6, quick 1")
    parser.add_argument("--duration", type=float, help="of a recording in s; default: 30, quick 12")
    parser.add_argument("--folder", type=Path, help="where sorted recordings are kept for the next call")
    run_parts(PARTS, parse(parser, parts=PARTS))


if __name__ == "__main__":
    sys.exit(main())
