"""Units linked between two epochs of a drifting recording, beside SpikeInterface's template comparison.

Both epochs are halves of one generated recording, whose units jump along the probe in the middle; the size of each
unit changes by about 10 %, that of single spikes by 5 %. A fifth of the units of each epoch fire in that epoch only.
The true sortings hold the units whose peak is at least 4 noise levels in that epoch, the others are only in the traces:
a unit that leaves the probe is one without a partner. With `sorted`, both epochs are sorted by crsae instead, and a
pair is true if its units are matched to one true unit (agreement of at least 0.5).

The template comparison is given its defaults; the similarity, support, shift and threshold that turn out best on each
single recording, the truth being known ("with hindsight"); and the same on traces of the second epoch that were moved
back by the true displacement.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from probeinterface import Probe, generate_multi_columns_probe
from scipy.optimize import linear_sum_assignment
from sorters import Row
from spikeinterface import BaseRecording, BaseSorting, NumpySorting, SortingAnalyzer, create_sorting_analyzer
from spikeinterface.comparison import compare_sorter_to_ground_truth, compare_templates
from spikeinterface.core import Motion
from spikeinterface.core.generate import generate_sorting, generate_unit_locations
from spikeinterface.generation import generate_drifting_recording
from spikeinterface.sorters import run_sorter
from spikeinterface.sortingcomponents.motion import interpolate_motion

from si_crsae.sorting.linking import LinkedSortings, link_sortings

SAMPLING_HZ = 30000.0
EPOCH_S = 40.0
MOTION_HZ = 5.0
LONELY_SHARE = 0.2
MIN_PEAK = 4.0
NOISE_UV = 7.0
GAIN_SD, SPIKE_SD = 0.1, 0.05
NUM_SEEDS = 3
JOB = {"n_jobs": 1, "progress_bar": False}
THRESHOLDS = np.arange(0.2, 1.0, 0.02)
BINS = (0.02, 0.2, 0.5, 0.8, 0.95, 0.99, 1.01)

Pairs = set[tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Epochs:
    """Two epochs and which units they share."""

    sortings: tuple[BaseSorting, BaseSorting]
    recordings: tuple[BaseRecording, BaseRecording]
    pairs: Pairs
    """Units of both that are the same."""
    depths_um: np.ndarray
    """Depths of the units of the first epoch, ascending."""
    displacements_um: np.ndarray
    """At these depths."""
    firing: tuple[BaseSorting, BaseSorting]
    """All spikes, those of units too small for the true sortings too: a sorter may find them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What distinguishes one kind of recording from another."""

    probe: str
    displacement_um: float
    gradient: float = 1.0
    """Displacement of the deepest unit over that of the highest."""
    is_sorted: bool = False

    @property
    def label(self) -> str:
        """Name in tables."""
        bent = f" to {self.gradient * self.displacement_um:g}" if self.gradient != 1.0 else ""
        return f"{self.probe}, {self.displacement_um:g}{bent} um{', sorted' if self.is_sorted else ''}"


PROBES: dict[str, tuple[Callable[[], Probe], int]] = {
    "3 x 10 at 30 um": (lambda: generate_multi_columns_probe(3, 10, xpitch=30, ypitch=30), 30),
    "2 x 32 at 15 um": (lambda: generate_multi_columns_probe(2, 32, xpitch=32, ypitch=15), 50),
}
CASES = (
    *(Case(probe=probe, displacement_um=size) for probe, size in product(PROBES, (0.0, 10.0, 20.0, 40.0))),
    *(Case(probe=probe, displacement_um=40.0, gradient=0.4) for probe in PROBES),
    *(Case(probe="2 x 32 at 15 um", displacement_um=size, is_sorted=True) for size in (0.0, 20.0)),
)
QUICK_CASES = (Case(probe="3 x 10 at 30 um", displacement_um=20.0),)


def run(arguments: argparse.Namespace, add: Callable[[list[Row]], None]) -> str:
    """Link the epochs of every case and seed; returns a table of shares pooled over seeds, and one of confidence."""
    lines = ["| probe, displacement | method | true pairs found | links that are false | s |", "|---" * 5 + "|"]
    given: list[tuple[np.ndarray, np.ndarray]] = []
    for case in QUICK_CASES if arguments.quick else CASES:
        pooled: dict[str, list[np.ndarray]] = {}
        errors_um = []
        for seed in range(arguments.seed, arguments.seed + (1 if arguments.quick else NUM_SEEDS)):
            epochs = prepare(case, seed=seed)
            figures, linked = compare(epochs)
            for method, figure in figures.items():
                pooled.setdefault(method, []).append(figure)
            if not case.is_sorted:
                given.append(confidence_and_truth(linked, epochs.pairs))
            found_um = linked.displacement.at(epochs.depths_um)
            errors_um.append(float(np.abs(found_um - epochs.displacements_um).mean()))
        lines += [*table_rows(case.label, pooled, add)]
        add([row(case.label, "link_sortings", "displacement_error", float(np.mean(errors_um)), "um")])
        sys.stderr.write("\n".join(lines[-len(pooled) :]) + f"\ndisplacement off by {np.mean(errors_um):.1f} um\n")
    return "\n".join(lines) + "\n\n" + calibration_table(given, add)


def prepare(case: Case, *, seed: int) -> Epochs:
    """Return the epochs of a case, sorted if it asks for it."""
    epochs = simulate(case, seed=seed)
    return sort_epochs(epochs) if case.is_sorted else epochs


def simulate(case: Case, *, seed: int) -> Epochs:
    """Generate a recording whose units jump in the middle; returns its halves with their true sortings."""
    make_probe, num_units = PROBES[case.probe]
    probe = make_probe()
    probe.set_device_channel_indices(np.arange(probe.get_contact_count()))
    rng = np.random.default_rng(seed)
    num_lonely = round(LONELY_SHARE * num_units)
    total = num_units + num_lonely
    shuffled = rng.permutation(total)
    firing, factors = draw_spikes(total, (shuffled[:num_lonely], shuffled[num_lonely : 2 * num_lonely]), rng)
    locations = generate_unit_locations(total, probe.contact_positions, maximum_z=45.0, seed=seed + 1000)
    step_um, motion = jump(case, locations[:, 1])
    _, recording, _ = generate_drifting_recording(
        duration=2 * EPOCH_S,
        probe=probe,
        sorting=firing,
        unit_locations=locations,
        displacement_data=motion,
        amplitude_factor=factors,
        seed=seed,
    )
    halves, everything, sortings, present = [], [], [], []
    for epoch, sign in enumerate((-1.0, 1.0)):
        start, end = (round(SAMPLING_HZ * EPOCH_S * edge) for edge in (epoch, epoch + 1))
        # Every method reads the traces, and generating them takes longer than anything else.
        halves.append(recording.frame_slice(start, end).save(format="memory", verbose=False, **JOB))
        is_clear = peaks_uV(recording, sign * step_um) >= MIN_PEAK * NOISE_UV
        is_clear[shuffled[:num_lonely] if epoch else shuffled[num_lonely : 2 * num_lonely]] = False
        present.append(set(np.flatnonzero(is_clear).tolist()))
        everything.append(NumpySorting.from_sorting(firing.frame_slice(start, end)))
        sortings.append(everything[-1].select_units(sorted(present[-1])))
    order = np.argsort(locations[:, 1] - step_um)
    return Epochs(
        sortings=(sortings[0], sortings[1]),
        recordings=(halves[0], halves[1]),
        pairs={(unit, unit) for unit in present[0] & present[1]},
        depths_um=(locations[:, 1] - step_um)[order],
        displacements_um=2 * step_um[order],
        firing=(everything[0], everything[1]),
    )


def jump(case: Case, depths_um: np.ndarray) -> tuple[np.ndarray, tuple]:
    """Return half of each unit's displacement (um), and the motion as `generate_drifting_recording` takes it."""
    height = (depths_um - depths_um.min()) / np.ptp(depths_um)
    share = case.gradient + (1.0 - case.gradient) * height
    step_um = 0.5 * case.displacement_um * share
    num_times = round(2 * EPOCH_S * MOTION_HZ)
    vectors = np.zeros((num_times, 2, 1))
    vectors[:, 1, 0] = np.where(np.arange(num_times) < num_times // 2, -0.5, 0.5) * case.displacement_um
    rounded = np.unique(np.round(np.concatenate([-step_um, step_um])))
    steps = np.stack([np.zeros_like(rounded), rounded], axis=1)
    return step_um, (vectors[:, None, :, 0] * share[:, None], vectors, share[:, None], MOTION_HZ, steps)


def peaks_uV(recording: BaseRecording, displacements_um: np.ndarray) -> np.ndarray:
    """Return the largest value of each unit's template at its displacement."""
    moved = recording.drifting_templates
    nearest = np.abs(moved.displacements[:, 1] - displacements_um[:, None]).argmin(axis=1)
    return np.abs(moved.templates_array_moved[nearest, np.arange(len(nearest))]).max(axis=(1, 2))


def draw_spikes(
    num_units: int, lonely: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> tuple[NumpySorting, np.ndarray]:
    """Return spikes of units, some of which fire in one half only, and the size of each spike."""
    sorting = generate_sorting(
        num_units,
        SAMPLING_HZ,
        [2 * EPOCH_S],
        firing_rates=(2.0, 8.0),
        refractory_period_ms=4.0,
        seed=int(rng.integers(2**31)),
    )
    spikes = np.asarray(sorting.to_spike_vector())
    is_late = spikes["sample_index"] >= SAMPLING_HZ * EPOCH_S
    is_silent = np.isin(spikes["unit_index"], lonely[0]) & is_late | np.isin(spikes["unit_index"], lonely[1]) & ~is_late
    spikes, is_late = spikes[~is_silent], is_late[~is_silent]
    gains = np.stack([np.ones(num_units), np.exp(rng.normal(0.0, GAIN_SD, num_units))])
    factors = gains[is_late.astype(int), spikes["unit_index"]] * rng.normal(1.0, SPIKE_SD, len(spikes))
    return NumpySorting(spikes, SAMPLING_HZ, np.arange(num_units)), factors


def sort_epochs(epochs: Epochs) -> Epochs:
    """Return the epochs sorted by crsae; pairs are units that found the same true unit."""
    found, owners = [], []
    for truth, recording in zip(epochs.firing, epochs.recordings, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            saved = recording.save(folder=Path(folder) / "recording", verbose=False, **JOB)
            sorting = run_sorter("crsae", saved, folder=Path(folder) / "sorting", verbose=False)
            sorting = NumpySorting.from_sorting(sorting)
        matches = compare_sorter_to_ground_truth(truth, sorting).hungarian_match_21
        owners.append({unit: true for unit, true in matches.items() if true != -1})
        found.append(sorting)
    pairs = {(a, b) for (a, of_a), (b, of_b) in product(owners[0].items(), owners[1].items()) if of_a == of_b}
    return replace(epochs, sortings=(found[0], found[1]), pairs=pairs)


def compare(epochs: Epochs) -> tuple[dict[str, np.ndarray], LinkedSortings]:
    """Return pairs, pairs found, links given and seconds of every method, and the links."""
    (sorting_a, sorting_b), (recording_a, recording_b) = epochs.sortings, epochs.recordings
    start = time.perf_counter()
    linked = link_sortings(sorting_a, recording_a, sorting_b, recording_b)
    links = set(zip(linked.unit_ids_a, linked.unit_ids_b, strict=True))
    figures = {"link_sortings": score(links, epochs.pairs, time.perf_counter() - start)}
    start = time.perf_counter()
    analyzer_a, analyzer_b = analyze(sorting_a, recording_a), analyze(sorting_b, recording_b)
    seconds = time.perf_counter() - start
    compare_templates(analyzer_a, analyzer_b)  # the first call compiles
    start = time.perf_counter()
    comparison = compare_templates(analyzer_a, analyzer_b)
    seconds += time.perf_counter() - start
    links = links_of(comparison.hungarian_match_12)
    figures["compare_templates"] = score(links, epochs.pairs, seconds)
    links = best_links(analyzer_a, analyzer_b, epochs.pairs)
    figures["compare_templates, with hindsight"] = score(links, epochs.pairs, seconds)
    links = best_links(analyzer_a, analyze(sorting_b, move_back(epochs)), epochs.pairs)
    figures["compare_templates, moved back, with hindsight"] = score(links, epochs.pairs, seconds)
    return figures, linked


def analyze(sorting: BaseSorting, recording: BaseRecording) -> SortingAnalyzer:
    """Return the templates as the template comparison takes them."""
    analyzer = create_sorting_analyzer(sorting, recording, sparse=True, verbose=False, **JOB)
    analyzer.compute({"random_spikes": {"seed": 0}, "templates": {}}, verbose=False, **JOB)
    return analyzer


def move_back(epochs: Epochs) -> BaseRecording:
    """Return the traces of the second epoch as the unmoved probe would have seen them."""
    times_s = np.array([0.25, 0.75]) * EPOCH_S
    motion = Motion(
        displacement=np.tile(epochs.displacements_um, (2, 1)), temporal_bins_s=times_s, spatial_bins_um=epochs.depths_um
    )
    recording = epochs.recordings[1].clone()
    recording.shift_times(-recording.get_start_time())
    return interpolate_motion(recording, motion, border_mode="force_extrapolate")


def best_links(analyzer_a: SortingAnalyzer, analyzer_b: SortingAnalyzer, pairs: Pairs) -> Pairs:
    """Return the links of the template comparison with the options that score best on these epochs."""
    best, best_score = set(), -1.0
    for method, support, num_shifts in product(("cosine", "l2", "l1"), ("union", "dense"), (0, 5)):
        options = {"similarity_method": method, "support": support, "num_shifts": num_shifts}
        scores = compare_templates(analyzer_a, analyzer_b, **options).agreement_scores
        for threshold in THRESHOLDS:
            links = links_above(scores, threshold)
            f_score = 2 * len(links & pairs) / max(len(links) + len(pairs), 1)
            if f_score > best_score:
                best, best_score = links, f_score
    return best


def links_above(scores: pd.DataFrame, threshold: float) -> Pairs:
    """Return what `make_hungarian_match` of SpikeInterface returns, without its loops over a table."""
    values = scores.to_numpy()
    rows, columns = linear_sum_assignment(-np.where(values < threshold, 0.0, values))
    chosen = values[rows, columns] >= threshold
    return set(zip(scores.index[rows[chosen]], scores.columns[columns[chosen]], strict=True))


def links_of(matches) -> Pairs:
    """Return the pairs of a series of matches, where -1 and the empty string mean none."""
    return {(a, b) for a, b in matches.items() if b not in (-1, "")}


def score(links: Pairs, pairs: Pairs, seconds: float) -> np.ndarray:
    """Return the numbers of true pairs, of those found, of links and of seconds."""
    return np.array([len(pairs), len(links & pairs), len(links), seconds])


def confidence_and_truth(linked: LinkedSortings, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of every pair of units and whether it is true."""
    table = linked.probabilities
    is_true = [[(a, b) in pairs for b in table.columns] for a in table.index]
    return table.to_numpy().ravel(), np.array(is_true).ravel()


def table_rows(label: str, pooled: dict[str, list[np.ndarray]], add: Callable[[list[Row]], None]) -> list[str]:
    """Return a line per method, pooled over seeds, and add its rows."""
    lines = []
    for method, figures in pooled.items():
        num_pairs, num_found, num_links, seconds = np.sum(figures, axis=0)
        found, false = num_found / max(num_pairs, 1), 1 - num_found / max(num_links, 1)
        seconds /= len(figures)
        add([row(label, method, "found", found, ""), row(label, method, "false", false, "")])
        add([row(label, method, "seconds", seconds, "s")])
        lines.append(
            f"| {label} | {method} | {found:.3f} of {num_pairs:.0f} | {false:.3f} of {num_links:.0f} | {seconds:.1f} |"
        )
    return lines


def calibration_table(given: list[tuple[np.ndarray, np.ndarray]], add: Callable[[list[Row]], None]) -> str:
    """Return how often pairs of a confidence are true, over all cases with the true spikes."""
    confidence, is_true = (np.concatenate(part) for part in zip(*given, strict=True))
    lines = ["| confidence | pairs | its mean | share that is true |", "|---" * 4 + "|"]
    for low, high in zip(BINS[:-1], BINS[1:], strict=True):
        chosen = (confidence >= low) & (confidence < high)
        if not chosen.any():
            continue
        mean, share = float(confidence[chosen].mean()), float(is_true[chosen].mean())
        name = f"{low:g} to {min(high, 1.0):g}"
        lines.append(f"| {name} | {chosen.sum()} | {mean:.3f} | {share:.3f} |")
        add([row("confidence", name, "mean", mean, ""), row("confidence", name, "true", share, "")])
    return "\n".join(lines)


def row(case: str, method: str, figure: str, value: float, unit: str) -> Row:
    """Return one figure."""
    return {"case": case, "method": method, "figure": figure, "value": round(value, 4), "unit": unit}
