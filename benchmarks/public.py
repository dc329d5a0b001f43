"""Sort public recordings with known spikes that lie on this machine, scored as the papers that brought them score.

Three kinds of sets, by the path of their folder (docs/benchmarks/public.md says where to get them):

- `kilosort`: one simulation of the Kilosort4 paper, a folder with ``*.ap.cbin`` (or ``.bin``), ``*.ap.meta`` and
  ``*.ap_params.npz``
- `janelia`: one recording of SpikeForest's hybrid Janelia sets, a folder with ``raw.mda``, ``geom.csv``,
  ``params.json`` and ``firings_true.mda``
- `aind`: hybrid recordings of the Allen Institute for Neural Dynamics, a folder with ``job_*.pkl`` and ``gt_*.pkl``.
  These are pickles, which run whatever their writer wished: ``--trust`` says that you trust where they come from.

Sorters run with their default parameters. Sortings that are there already are scored with ``--sortings``.

    python benchmarks/public.py kilosort path/to/sim_med_drift --sorters crsae,kilosort4 --out rows.json
    python benchmarks/public.py janelia path/to/rec_16c_1200s_11 --duration 300
    python benchmarks/public.py aind path/to/hybrid --trust --sortings ks4=path/to/sorting
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import spikeinterface.full as si
from command_line import make_parser, names, parse
from sorters import machine_row, save

# Of the Kilosort4 paper: units from this number on are background, and spikes this close (samples) are the same.
NUM_KILOSORT_UNITS, KILOSORT_WINDOW = 600, 6
# Of SpikeForest: spikes this close (ms) are the same, and units of a lower signal-to-noise ratio do not count.
JANELIA_WINDOW_MS, JANELIA_MIN_SNR = 1.0, 8.0
# Of the AIND's evaluation: two units that agree by less are no match.
AIND_MATCH_SCORE = 0.2
WELL_DETECTED = 0.8

# (kind, name of the folder, sorter) -> figure -> value; a cell that is not here has no published number that we know.
PUBLISHED: dict[tuple[str, str, str], dict[str, float]] = {
    ("kilosort", "sim_med_drift", "kilosort4"): {"correct": 555},
}

Score = Callable[[si.BaseRecording, si.BaseSorting, si.BaseSorting], dict[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A recording, and the true spikes of some or all of its units."""

    name: str
    recording: si.BaseRecording
    truth: si.BaseSorting


# ---- reading


def read_kilosort(folder: Path, *, trust: bool = False) -> Iterator[Case]:
    """Yield the one simulation of a folder; its units beyond the first 600 are background, not truth."""
    params = only(folder, "*.ap_params.npz")
    if list(folder.glob("*.ap.cbin")):
        recording = si.read_cbin_ibl(folder)
    else:
        meta = only(folder, "*.ap.meta")
        stream = ".".join(meta.name.split(".")[-3:-1])
        recording = si.read_spikeglx(folder, stream_id=stream)
    with np.load(params) as known:  # its other arrays are not needed, whatever they are
        samples, units = known["st"].astype("int64").ravel(), known["cl"].astype("int64").ravel()
    kept = units < NUM_KILOSORT_UNITS
    order = np.argsort(samples[kept], kind="stable")
    truth = si.NumpySorting.from_samples_and_labels(
        [samples[kept][order]], [units[kept][order]], recording.sampling_frequency
    )
    yield Case(name=folder.name, recording=recording, truth=truth)


def read_janelia(folder: Path, *, trust: bool = False) -> Iterator[Case]:
    """Yield the one recording of a folder."""
    recording = si.read_mda_recording(folder)
    truth = si.read_mda_sorting(only(folder, "firings_true.mda"), recording.sampling_frequency)
    yield Case(name=folder.name, recording=recording, truth=truth)


def read_aind(folder: Path, *, trust: bool = False) -> Iterator[Case]:
    """Yield every hybrid recording of a folder."""
    paths = sorted(folder.glob("job_*.pkl"))
    if not paths:
        raise FileNotFoundError(f"{folder} has no file job_*.pkl: give the folder of the hybrid recordings")
    if not trust:
        raise PermissionError(f"{paths[0]} is a pickle, which runs whatever its writer wished: --trust, if you do")
    for path in paths:
        name = path.stem.removeprefix("job_")
        recording = si.load(pd.read_pickle(path)["recording_dict"], base_folder=folder)
        truth = si.load(folder / f"gt_{name}.pkl", base_folder=folder)
        yield Case(name=name, recording=recording, truth=truth)


def only(folder: Path, pattern: str) -> Path:
    """Return the one file of a folder that has such a name."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"{folder} has {len(found)} files {pattern}, and should have one")
    return found[0]


# ---- scoring


def score_as_kilosort(_: si.BaseRecording, truth: si.BaseSorting, tested: si.BaseSorting) -> dict[str, float]:
    """Return the number of units whose misses and false positives, as shares, are together at most 0.2.

    A true spike is found by a unit that has a spike within 6 samples. The paper looks at the twenty units that are
    nearest in depth only; those further away share no more spikes than chance has it.
    """
    best = np.zeros(truth.get_num_units())
    found = np.asarray(tested.to_spike_vector())
    num_tested = np.bincount(found["unit_index"], minlength=tested.get_num_units())
    for index, unit in enumerate(truth.unit_ids):
        true = truth.get_unit_spike_train(unit, segment_index=0)
        if not true.size or not found.size:
            continue
        shared = count_found(true, found["sample_index"], found["unit_index"], num_tested.size, KILOSORT_WINDOW)
        missed = np.maximum(0.0, 1.0 - shared / true.size)
        false = np.maximum(0.0, 1.0 - shared / np.maximum(num_tested, 1))
        best[index] = max(0.0, np.max(1.0 - missed - false))
    return {
        "score": float(best.mean()),
        "correct": float(np.sum(best >= WELL_DETECTED)),
        "units": float(best.size),
        "found": float(num_tested.size),
    }


def count_found(true: np.ndarray, samples: np.ndarray, units: np.ndarray, num_units: int, window: int) -> np.ndarray:
    """Return for every unit how many true spikes have one of its own within a window; `samples` are sorted."""
    first = np.searchsorted(samples, true - window, side="left")
    num_near = np.searchsorted(samples, true + window, side="right") - first
    of_true = np.repeat(np.arange(true.size), num_near)
    within = np.arange(num_near.sum()) - np.repeat(np.cumsum(num_near) - num_near, num_near)
    pairs = np.unique(np.stack([of_true, units[first[of_true] + within]]), axis=1)
    return np.bincount(pairs[1], minlength=num_units)


def score_as_spikeforest(
    recording: si.BaseRecording, truth: si.BaseSorting, tested: si.BaseSorting
) -> dict[str, float]:
    """Return the mean of the best accuracies of units that stand out by 8, and how many of these are above 0.8."""
    accuracy = np.zeros(truth.get_num_units())
    if tested.get_num_units():
        comparison = si.compare_sorter_to_ground_truth(truth, tested, delta_time=JANELIA_WINDOW_MS, exhaustive_gt=True)
        accuracy = comparison.agreement_scores.max(axis=1).to_numpy(float)
    counted = accuracy[signal_to_noise(recording, truth) >= JANELIA_MIN_SNR]
    return {
        "accuracy": float(counted.mean()) if counted.size else float("nan"),
        "well detected": float(np.sum(counted >= WELL_DETECTED)),
        "units": float(counted.size),
        "found": float(tested.get_num_units()),
    }


def signal_to_noise(recording: si.BaseRecording, truth: si.BaseSorting) -> np.ndarray:
    """Return the peak of every true unit's mean waveform over the noise of its channel, both from 300 Hz to 6 kHz."""
    filtered = si.bandpass_filter(recording, freq_min=300.0, freq_max=min(6000.0, 0.45 * recording.sampling_frequency))
    analyzer = si.create_sorting_analyzer(truth, filtered, sparse=False, return_in_uV=False)
    analyzer.compute({"random_spikes": {"seed": 0}, "templates": {}, "noise_levels": {}}, progress_bar=False)
    templates = analyzer.get_extension("templates").get_templates()
    noise = analyzer.get_extension("noise_levels").get_data()
    return (np.abs(templates).max(axis=1) / noise).max(axis=1)


def score_as_aind(_: si.BaseRecording, truth: si.BaseSorting, tested: si.BaseSorting) -> dict[str, float]:
    """Return means over the injected units, one without a match counting as zero, and how many are above 0.8."""
    figures = {"accuracy": 0.0, "precision": 0.0, "recall": 0.0, "well detected": 0.0}
    if tested.get_num_units():
        comparison = si.compare_sorter_to_ground_truth(
            truth, tested, exhaustive_gt=False, match_score=AIND_MATCH_SCORE, well_detected_score=WELL_DETECTED
        )
        performance = comparison.get_performance().astype(float)
        figures |= {name: float(performance[name].fillna(0.0).mean()) for name in ("accuracy", "precision", "recall")}
        figures["well detected"] = float(len(comparison.get_well_detected_units()))
    return {**figures, "units": float(truth.get_num_units()), "found": float(tested.get_num_units())}


KINDS: dict[str, tuple[Callable[..., Iterator[Case]], Score]] = {
    "kilosort": (read_kilosort, score_as_kilosort),
    "janelia": (read_janelia, score_as_spikeforest),
    "aind": (read_aind, score_as_aind),
}


# ---- running


def main() -> None:
    """Sort and score what the command line asks for."""
    parser = make_parser(__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sorters", type=names, help="default: crsae, or none with --sortings")
    parser.add_argument("--sortings", type=names, default=[], help="name=folder, of sortings that are there already")
    parser.add_argument("--duration", type=float, help="of the beginning of each recording, in s; default: all of it")
    parser.add_argument("--trust", action="store_true", help="load pickles, which run what their writer wished")
    parser.add_argument("--threads", type=int, default=2, help="given to every sorter, default: 2")
    arguments = parse(parser, sorters=si.available_sorters())
    if arguments.sorters is None:
        arguments.sorters = [] if arguments.sortings else ["crsae"]
    rows = [machine_row(arguments.threads)]
    for row in run(arguments):
        rows.append(row)
        save(rows, arguments.out)
    sys.stdout.write(markdown_table(rows))


def run(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a row for every figure of every sorting."""
    read, score = KINDS[arguments.kind]
    for case in read(arguments.folder, trust=arguments.trust):
        case = case if arguments.duration is None else beginning(case, arguments.duration)
        for sorter, figures in scores(case, score, arguments):
            known = PUBLISHED.get((arguments.kind, case.name, sorter), {}) if arguments.duration is None else {}
            for figure, value in figures.items():
                row = {"case": case.name, "method": sorter, "figure": figure, "value": round(value, 4)}
                yield row | ({"published": known[figure]} if figure in known else {})


def scores(case: Case, score: Score, arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the figures of every sorting of a recording."""
    for text in arguments.sortings:
        name, _, folder = text.partition("=")
        yield name, score(case.recording, case.truth, si.load(folder))
    for sorter in arguments.sorters:
        with tempfile.TemporaryDirectory() as scratch:
            start = time.perf_counter()
            job_kwargs = {"n_jobs": arguments.threads, "progress_bar": False}
            takes_jobs = "job_kwargs" in si.get_default_sorter_params(sorter)
            tested = si.run_sorter(
                sorter, case.recording, folder=f"{scratch}/run", **({"job_kwargs": job_kwargs} if takes_jobs else {})
            )
            seconds = time.perf_counter() - start
            yield sorter, {**score(case.recording, case.truth, tested), "seconds": seconds}


def beginning(case: Case, duration_s: float) -> Case:
    """Return the first seconds of a recording, with the units that have spikes there."""
    end = min(round(duration_s * case.recording.sampling_frequency), case.recording.get_num_samples(0))
    truth = case.truth.frame_slice(0, end)
    return Case(name=case.name, recording=case.recording.frame_slice(0, end), truth=truth.remove_empty_units())


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """Return a line for every sorting, with what was published beside in parentheses."""
    measured = [row for row in rows if row["method"]]
    figures = list(dict.fromkeys(row["figure"] for row in measured))
    lines = ["| Recording | Sorter | " + " | ".join(figures) + " |", "| --- " * (len(figures) + 2) + "|"]
    for case, sorter in dict.fromkeys((row["case"], row["method"]) for row in measured):
        cells = {row["figure"]: row for row in measured if (row["case"], row["method"]) == (case, sorter)}
        lines.append(f"| {case} | {sorter} | " + " | ".join(shown(cells.get(figure)) for figure in figures) + " |")
    return "\n".join(lines) + "\n"


def shown(row: dict[str, Any] | None) -> str:
    """Return a cell of the table."""
    if row is None:
        return ""
    return f"{row['value']:g}" + (f" (published: {row['published']:g})" if "published" in row else "")


if __name__ == "__main__":
    main()
