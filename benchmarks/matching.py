"""Compare template-matching methods of SpikeInterface on recordings with known spikes, the true templates given.

The recordings are those of `generate_ground_truth_recording`, in memory. SpikeInterface's matching study runs the
methods with their default parameters, in this process and on one thread. Seconds are those of the whole call, the
method's construction included, the second of two, so that compilation is out; noise levels that a method asks for are
measured beforehand. The floor is the time of correlating the same traces with the same templates, dense and of full
width, by torch's `conv1d`.

Rows are named after case and seed; the table has the medians over seeds. Accuracy is the mean over all units. Accuracy
and precision are given once more over the units that can be told from noise at all, those whose template has a norm of
4 noise standard deviations or more: below, whoever finds the spikes finds more false ones. Overlapping spikes (another
unit's within 1 ms) are those of the same units, pooled; each is sought under its own template. The file named by --out
is rewritten after each run. How cost grows with channels, duration and firing rates: `matching_scaling.py`.

    python benchmarks/matching.py --quick
    python benchmarks/matching.py --methods crsae,wobble --cases probe32 --seeds 1,2 --out rows.json
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import numba
import numpy as np
import torch
from command_line import make_parser, names, parse
from probeinterface import Probe, generate_multi_columns_probe, generate_tetrode
from sorters import Row, figures_of, machine_row, save
from spikeinterface.benchmark.benchmark_matching import MatchingBenchmark
from spikeinterface.core import BaseRecording, BaseSorting, Templates, generate_ground_truth_recording, get_noise_levels
from threadpoolctl import threadpool_limits

from si_crsae.evaluation import found_spikes, overlapping_spikes, score_sorting

METHODS = ("crsae", "wobble", "circus-omp", "tdc-peeler")
WITH_NOISE_LEVELS = ("tdc-peeler",)
SAMPLING_HZ = 25000.0
MS_BEFORE, MS_AFTER = 1.0, 3.0
NOISE_UV = 5.0
RATES_HZ = (10.0, 30.0)
REFRACTORY_MS = 4.0
PITCH_UM = 20.0
UPSAMPLE_FACTOR = 8
NUM_FLOOR_PASSES = 3
SCORES = ("accuracy", "accuracy_clear", "precision_clear", "overlapping_recall")
MIN_CLEAR_NORM = 4.0
UNITS = {"seconds": "s", "error": ""}
# Chunks of SpikeInterface's default length, and nothing beside the calling process.
JOB = {"n_jobs": 1, "chunk_duration": "1s", "progress_bar": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What distinguishes one kind of recording from another."""

    contacts: tuple[int, int] | None
    """Columns of the probe and contacts in each; None for a tetrode."""
    num_units: int
    minimum_distance_um: float
    """Closest pair of units; larger distances leave no room for so many."""
    jitter: bool = False
    """If True, spikes lie between samples; the templates given are of the middle phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a method gets, and what it should find."""

    recording: BaseRecording
    templates: Templates
    truth: BaseSorting


CASES = {
    "tetrode": Case(contacts=None, num_units=6, minimum_distance_um=10.0),
    "probe32": Case(contacts=(2, 16), num_units=24, minimum_distance_um=20.0),
    "probe32-jitter": Case(contacts=(2, 16), num_units=24, minimum_distance_um=20.0, jitter=True),
    "dense64": Case(contacts=(4, 16), num_units=50, minimum_distance_um=15.0),
}


def main() -> None:
    """Run what the command line asks for."""
    arguments = parse_arguments()
    rows = [machine_row(1)]
    with one_thread():
        for case in arguments.cases:
            for seed in arguments.seeds:
                label = f"{case}_{seed}"
                given = generate(CASES[case], duration_s=arguments.duration, seed=int(seed))
                floor = time_floor(given)
                rows += describe(label, given, floor)
                for method in arguments.methods:
                    rows += measure(method, label, given, floor)
                    save(rows, arguments.out)
                    sys.stderr.write(f"{label} {method}: {figures_of(rows, label, method)}\n")
            rows += compare_missed(rows, case, arguments.seeds)
            save(rows, arguments.out)
    sys.stdout.write(markdown_table(rows, arguments))


def parse_arguments() -> argparse.Namespace:
    """Read the command line; --quick only changes the defaults."""
    parser = make_parser(__doc__, quick="two short cases, one seed, crsae and wobble")
    parser.add_argument("--methods", type=names, help=f"default: {','.join(METHODS)}")
    parser.add_argument("--cases", type=names, help=f"default: {','.join(CASES)}")
    parser.add_argument("--duration", type=float, help="length of the recordings in s, default: 40")
    parser.add_argument("--seeds", type=names, help="of the recordings, default: 1,2,3")
    arguments = parse(parser, methods=METHODS, cases=CASES)
    arguments.methods = arguments.methods or list(METHODS[:2] if arguments.quick else METHODS)
    arguments.cases = arguments.cases or (["tetrode", "probe32"] if arguments.quick else list(CASES))
    arguments.duration = arguments.duration or (10.0 if arguments.quick else 40.0)
    arguments.seeds = arguments.seeds or (["1"] if arguments.quick else ["1", "2", "3"])
    return arguments


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep every library on the calling thread."""
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    with threadpool_limits(1):
        yield


def generate(case: Case, *, duration_s: float, seed: int) -> Given:
    """Return a recording in memory, its true spikes and the templates that were put into it."""
    recording, truth = generate_ground_truth_recording(
        durations=[duration_s],
        sampling_frequency=SAMPLING_HZ,
        num_units=case.num_units,
        probe=make_probe(case.contacts),
        ms_before=MS_BEFORE,
        ms_after=MS_AFTER,
        upsample_factor=UPSAMPLE_FACTOR if case.jitter else None,
        generate_sorting_kwargs={"firing_rates": RATES_HZ, "refractory_period_ms": REFRACTORY_MS},
        noise_kwargs={"noise_levels": NOISE_UV, "strategy": "on_the_fly"},  # else one second of noise repeats
        generate_unit_locations_kwargs=unit_places(case.minimum_distance_um),
        seed=seed,
    )
    waveforms = recording.templates[..., UPSAMPLE_FACTOR // 2] if case.jitter else recording.templates
    templates = make_templates(waveforms, recording.get_probe(), recording.channel_ids, truth.unit_ids)
    return Given(recording=recording.save(format="memory", verbose=False, **JOB), templates=templates, truth=truth)


def make_probe(contacts: tuple[int, int] | None) -> Probe:
    """Return a tetrode or a probe of so many columns with so many contacts each."""
    if contacts is None:
        probe = generate_tetrode()
    else:
        num_columns, num_per_column = contacts
        probe = generate_multi_columns_probe(
            num_columns=num_columns, num_contact_per_column=num_per_column, xpitch=PITCH_UM, ypitch=PITCH_UM
        )
    probe.set_device_channel_indices(np.arange(probe.get_contact_count()))
    return probe


def unit_places(minimum_distance_um: float) -> dict[str, float]:
    """Return where units may lie, as SpikeInterface's generators have it by default but for their distance."""
    return {"margin_um": 10.0, "minimum_z": 5.0, "maximum_z": 50.0, "minimum_distance": minimum_distance_um}


def make_templates(waveforms: np.ndarray, probe: Probe, channel_ids: np.ndarray, unit_ids: np.ndarray) -> Templates:
    """Return waveforms (unit, sample, channel) as templates."""
    return Templates(
        np.ascontiguousarray(waveforms),
        SAMPLING_HZ,
        round(MS_BEFORE * SAMPLING_HZ / 1000),
        channel_ids=channel_ids,
        unit_ids=unit_ids,
        probe=probe,
    )


def describe(label: str, given: Given, floor: float) -> list[Row]:
    """Return what belongs to a recording whatever the method: its spikes and the floor of all times."""
    overlaps = overlapping_spikes(given.truth)
    return [
        {"case": label, "method": "", "figure": "num_spikes", "value": overlaps.size, "unit": "1"},
        {"case": label, "method": "", "figure": "overlapping_fraction", "value": float(overlaps.mean()), "unit": "1"},
        {
            "case": label,
            "method": "",
            "figure": "unclear_units",
            "value": int((~is_clear(given.templates)).sum()),
            "unit": "1",
        },
        {"case": label, "method": "", "figure": "floor", "value": floor, "unit": "s"},
    ]


def time_floor(given: Given) -> float:
    """Return the seconds of correlating a recording with dense templates, chunk by chunk."""
    atoms = torch.from_numpy(given.templates.get_dense_templates().transpose(0, 2, 1).astype("float32", order="C"))
    traces = torch.from_numpy(given.recording.get_traces().T.astype("float32", order="C"))
    width, length = atoms.shape[2], round(SAMPLING_HZ)
    padded = torch.nn.functional.pad(traces, (width, width))[None]
    seconds = []
    with torch.inference_mode():
        for _ in range(NUM_FLOOR_PASSES):
            start = time.perf_counter()
            for first in range(0, traces.shape[1], length):
                torch.nn.functional.conv1d(padded[:, :, first : first + length + 2 * width], atoms)
            seconds.append(time.perf_counter() - start)
    return median(seconds)


def measure(method: str, label: str, given: Given, floor: float) -> list[Row]:
    """Run one method on one recording; a failure becomes a row."""
    try:
        figures = run_twice(method, given)
        figures["seconds_per_floor"] = figures["seconds"] / floor
    except Exception as error:
        figures = {"error": f"{type(error).__name__}: {error}"}
    return [
        {"case": label, "method": method, "figure": figure, "value": value, "unit": UNITS.get(figure, "1")}
        for figure, value in figures.items()
    ]


def run_twice(method: str, given: Given) -> dict[str, object]:
    """Return the figures of a method's second run."""
    kwargs = method_kwargs(method, given.recording)
    run_once(method, kwargs, given)
    seconds, tested = run_once(method, kwargs, given)
    score = score_sorting(tested, given.truth)
    clear = is_clear(given.templates)
    counted = overlapping_spikes(given.truth) & clear[np.asarray(given.truth.to_spike_vector())["unit_index"]]
    found = found_spikes(tested, given.truth, given.truth.unit_ids.tolist())[counted]
    return {
        "accuracy": score.accuracy,
        "accuracy_clear": float(score.per_unit["accuracy"][clear].mean()),
        "precision_clear": float(score.per_unit["precision"][clear].mean()),
        "overlapping_recall": float(found.mean()),
        "overlapping_missed": int((~found).sum()),
        "seconds": seconds,
    }


def is_clear(templates: Templates) -> np.ndarray:
    """Tell which units can be told from noise."""
    return np.linalg.norm(templates.get_dense_templates(), axis=(1, 2)) >= MIN_CLEAR_NORM * NOISE_UV


def method_kwargs(method: str, recording: BaseRecording) -> dict[str, object]:
    """Return what a method cannot do without."""
    if method not in WITH_NOISE_LEVELS:
        return {}
    return {"noise_levels": get_noise_levels(recording, return_in_uV=False, random_slices_kwargs={"seed": 0}, **JOB)}


def run_once(method: str, kwargs: dict[str, object], given: Given) -> tuple[float, BaseSorting]:
    """Return the seconds of one matching, as SpikeInterface's study does it, and the spikes found."""
    parameters = {"method": method, "templates": given.templates, "method_kwargs": kwargs}
    benchmark = MatchingBenchmark(given.recording, given.truth, parameters)
    start = time.perf_counter()
    benchmark.run(verbose=False, **JOB)
    return time.perf_counter() - start, benchmark.result["sorting"]


def compare_missed(rows: list[Row], case: str, seeds: list[str]) -> list[Row]:
    """Return the overlapping spikes that crsae misses as a fraction of those that wobble misses, all seeds together."""
    missed = {
        method: [figures_of(rows, f"{case}_{seed}", method).get("overlapping_missed") for seed in seeds]
        for method in ("crsae", "wobble")
    }
    if None in missed["crsae"] + missed["wobble"] or not sum(missed["wobble"]):
        return []
    ratio = sum(missed["crsae"]) / sum(missed["wobble"])
    return [{"case": case, "method": "crsae/wobble", "figure": "overlapping_missed", "value": ratio, "unit": "1"}]


def markdown_table(rows: list[Row], arguments: argparse.Namespace) -> str:
    """Medians over seeds, a line for every case and method, and a line for every case that compares two of them."""
    lines = [
        "| case | overlapping | method | accuracy | accuracy, clear | precision, clear | overlapping recall |"
        " overlapping missed | s | s / floor |",
        "|---" * 10 + "|",
    ]
    for case in arguments.cases:
        labels = [f"{case}_{seed}" for seed in arguments.seeds]
        shared = [figures_of(rows, label, "") for label in labels]
        overlapping = f"{median(figures['overlapping_fraction'] for figures in shared):.0%}"
        lines.append(f"| {case} | {overlapping} | floor | | | | | | {median(f['floor'] for f in shared):.2f} | 1 |")
        for method in arguments.methods:
            runs = [figures_of(rows, label, method) for label in labels]
            lines.append(f"| {case} | {overlapping} | {summary(method, runs)} |")
        ratio = figures_of(rows, case, "crsae/wobble").get("overlapping_missed")
        if ratio is not None:
            lines.append(f"| {case} | {overlapping} | crsae / wobble, all seeds | | | | | {ratio:.3f} | | |")
    return "\n".join(lines) + "\n"


def summary(method: str, runs: list[dict[str, object]]) -> str:
    """One method on one case as cells of the table."""
    errors = [str(figures["error"])[:80] for figures in runs if "error" in figures]
    if errors:
        return f"{method} | {errors[0]} | | | | | |"
    scores = [f"{median(figures[score] for figures in runs):.4f}" for score in SCORES]
    missed = f"{median(figures['overlapping_missed'] for figures in runs):g}"
    seconds = [f"{median(figures[name] for figures in runs):.2f}" for name in ("seconds", "seconds_per_floor")]
    return " | ".join([method, *scores, missed, *seconds])


if __name__ == "__main__":
    main()
