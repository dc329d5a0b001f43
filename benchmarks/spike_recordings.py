"""Recordings that are hard enough for some spikes to be wrong, sorted, with what is known of each spike."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from probeinterface import generate_tetrode
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting
from spikeinterface.core.base import minimum_spike_dtype
from spikeinterface.sorters import run_sorter

from si_crsae.config import CrsaeConfig
from si_crsae.evaluation import CaseSpec, label_spikes, simulate
from si_crsae.evaluation.drift import Drift
from si_crsae.evaluation.recordings import columns_probe
from si_crsae.evaluation.simulation import spike_amplitudes
from si_crsae.sorting.inventory import peaks_of_atoms
from si_crsae.sorting.model import Model
from si_crsae.sorting.probabilities.context import CodeInContext
from si_crsae.sorting.probabilities.features import describe
from si_crsae.sorting.probabilities.posterior import amplitude_interval
from si_crsae.sorting.stages import CleanWeighedCode, Code, LearningResult, WeighedCode, load_stage

JOB = {"n_jobs": 1, "progress_bar": False}


# None of them is a case of the other benchmarks, in which hardly a spike is wrong.
HARD_KINDS: dict[str, CaseSpec] = {
    "mono": CaseSpec(
        description="1 channel, 6 units",
        make_probe=lambda: columns_probe(1, 1),
        num_units=6,
        snr_range=(2.5, 10.0),
        rate_range_hz=(3.0, 15.0),
    ),
    "tetrode": CaseSpec(
        description="tetrode, 14 units close to each other",
        make_probe=generate_tetrode,
        num_units=14,
        snr_range=(2.5, 10.0),
        rate_range_hz=(3.0, 20.0),
        minimum_distance_um=6.0,
    ),
    "faint": CaseSpec(
        description="16 channels, 16 units, most of them lost in the noise",
        make_probe=lambda: columns_probe(2, 8),
        num_units=16,
        snr_range=(1.2, 4.5),
        rate_range_hz=(3.0, 15.0),
    ),
    "crowded": CaseSpec(
        description="16 channels, 30 fast units close to each other",
        make_probe=lambda: columns_probe(2, 8),
        num_units=30,
        snr_range=(2.0, 9.0),
        rate_range_hz=(8.0, 25.0),
        minimum_distance_um=8.0,
        collision_ratio=0.2,
    ),
    "bursts": CaseSpec(
        description="16 channels, 14 units firing bursts of falling amplitude",
        make_probe=lambda: columns_probe(2, 8),
        num_units=14,
        snr_range=(2.5, 9.0),
        rate_range_hz=(1.0, 5.0),
        bursts=True,
    ),
    "varied": CaseSpec(
        description="16 channels, 16 units whose spikes vary in size by a fifth",
        make_probe=lambda: columns_probe(2, 8),
        num_units=16,
        snr_range=(2.0, 8.0),
        rate_range_hz=(2.0, 15.0),
        amplitude_spread=0.2,
    ),
    "drift": CaseSpec(
        description="16 channels, 12 units, rigid zigzag drift of 15 um",
        make_probe=lambda: columns_probe(2, 8),
        num_units=12,
        snr_range=(3.0, 12.0),
        rate_range_hz=(2.0, 12.0),
        drift=Drift(kind="zigzag", range_um=15.0),
    ),
    "wander": CaseSpec(
        description="16 channels, 12 units, rigid zigzag drift of 30 um, which leaves several atoms of one neuron",
        make_probe=lambda: columns_probe(2, 8),
        num_units=12,
        snr_range=(4.0, 14.0),
        rate_range_hz=(2.0, 15.0),
        drift=Drift(kind="zigzag", range_um=30.0),
    ),
    "coarse": CaseSpec(
        description="16 channels 50 um apart, 24 units",
        make_probe=lambda: columns_probe(1, 16, pitch_um=50.0),
        num_units=24,
        snr_range=(1.8, 8.0),
        rate_range_hz=(2.0, 15.0),
        minimum_distance_um=8.0,
        amplitude_spread=0.1,
    ),
}


@dataclass(frozen=True, kw_only=True)
class SortedCase:
    """The spikes of a sorted recording, what is known of them and whether they are right.

    `spikes` (spike, feature) and `units` (unit, feature) are the columns of `spike_features`; `missed_rate` (unit) is
    NaN for units without a match; `true_amplitude` (spike) is NaN where it is unknown.
    """

    name: str
    spikes: np.ndarray
    units: np.ndarray
    unit_index: np.ndarray
    is_right: np.ndarray
    missed_rate: np.ndarray
    relative_amplitude: np.ndarray
    amplitude: np.ndarray
    low: np.ndarray
    high: np.ndarray
    true_amplitude: np.ndarray

    @property
    def kind(self) -> str:
        """Kind of the recording."""
        return str(self.name).rsplit("_", 1)[0]

    @property
    def features(self) -> np.ndarray:
        """Columns of a spike and of its unit (spike, feature)."""
        return np.concatenate([self.spikes, self.units[self.unit_index]], axis=1)


def sort_hard_case(kind: str, seed: int, *, duration_s: float, cache: Path | None = None) -> SortedCase:
    """Generate and sort a recording of one of the HARD_KINDS, or load what came of it before."""
    spec = HARD_KINDS[kind]
    path = None if cache is None else cache / f"{kind}_{seed}.npz"
    if path is not None and path.exists():
        with np.load(path) as saved:
            return SortedCase(**saved)
    recording, truth = simulate(spec, duration_s=duration_s, seed=seed)
    sizes = spike_amplitudes(spec, duration_s=duration_s, seed=seed)
    sorted_case = sort_recording(f"{kind}_{seed}", recording, truth, sizes)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **vars(sorted_case))
    return sorted_case


def sort_recording(
    name: str, recording: BaseRecording, truth: BaseSorting, sizes: np.ndarray | None = None
) -> SortedCase:
    """Sort a recording of one segment and group; `sizes` are those of the true spikes, relative to their template."""
    with tempfile.TemporaryDirectory() as folder:
        saved = recording.save(folder=Path(folder) / "recording", verbose=False, **JOB)
        run_sorter("crsae", saved, folder=Path(folder) / "run", verbose=False, spike_probabilities=True)
        stages = Path(folder) / "run" / "sorter_output" / "stages" / "group_0"
        model = load_stage(stages / "learn.npz", LearningResult).model
        return judge(name, saved, model, load_stage(stages / "clean.npz", CleanWeighedCode).code, truth, sizes)


def judge(
    name: str,
    recording: BaseRecording,
    model: Model,
    code: WeighedCode,
    truth: BaseSorting,
    sizes: np.ndarray | None = None,
) -> SortedCase:
    """Return a code with its features and which of its spikes are right."""
    context = CodeInContext.of(recording, code, model, CrsaeConfig())
    description = describe(context)
    low, high = amplitude_interval(context, description.amplitudes)
    tested, order = sorting_of_code(code, model, recording.sampling_frequency)
    spikes, times = np.asarray(tested.to_spike_vector()), code.sample_index
    atoms, unit_index = np.unique(code.atom_index, return_inverse=True)
    labels, missed_rate = label_spikes(tested, truth)
    is_right = np.zeros(times.size, bool)
    is_right[order] = labels
    true_amplitude = np.full(times.size, np.nan)
    if sizes is not None:
        true_amplitude[order] = true_amplitudes(spikes, code.amplitude[order], labels, truth, sizes)
    return SortedCase(
        name=name,
        spikes=description.spikes,
        units=description.units[atoms],
        unit_index=unit_index,
        is_right=is_right,
        missed_rate=missed_rate,
        relative_amplitude=code.amplitude / context.scales[code.atom_index],
        amplitude=code.amplitude,
        low=low,
        high=high,
        true_amplitude=true_amplitude,
    )


def sorting_of_code(code: Code, model: Model, sampling_frequency: float) -> tuple[BaseSorting, np.ndarray]:
    """Return the spikes of a code of one segment, its atoms the units, and in which order they are."""
    atoms, unit_index = np.unique(code.atom_index, return_inverse=True)
    num_before = peaks_of_atoms(model.dictionary.atoms.numpy())[1] - model.dictionary.num_before
    times = code.sample_index + num_before[code.atom_index]
    order = np.lexsort((unit_index, times))
    spikes = np.zeros(times.size, minimum_spike_dtype)
    spikes["sample_index"], spikes["unit_index"] = times[order], unit_index[order]
    return NumpySorting(spikes, sampling_frequency, np.arange(atoms.size)), order


def true_amplitudes(
    spikes: np.ndarray, amplitude: np.ndarray, is_right: np.ndarray, truth: BaseSorting, sizes: np.ndarray
) -> np.ndarray:
    """Return the true amplitude of every right spike: the size of the true spike times one factor per unit.

    That factor, the whitened norm of the true template, is the median of what the unit's spikes give.
    """
    times = np.asarray(truth.to_spike_vector())["sample_index"]
    result = np.full(spikes.size, np.nan)
    matches = _unit_of_right_spikes(spikes, is_right, truth)
    for unit, true_unit in matches.items():
        own = np.flatnonzero((spikes["unit_index"] == unit) & is_right)
        others = np.flatnonzero(np.asarray(truth.to_spike_vector())["unit_index"] == true_unit)
        found = _nearest(times[others], spikes["sample_index"][own])
        size = sizes[others][found]
        result[own] = size * np.median(amplitude[own] / size)
    return result


def _unit_of_right_spikes(spikes: np.ndarray, is_right: np.ndarray, truth: BaseSorting) -> dict[int, int]:
    """Return the true unit that the right spikes of each unit are of: the one nearest to all of them."""
    true = np.asarray(truth.to_spike_vector())
    trains = {unit: true["sample_index"][true["unit_index"] == unit] for unit in np.unique(true["unit_index"])}
    matches = {}
    for unit in np.unique(spikes["unit_index"][is_right]):
        own = spikes["sample_index"][(spikes["unit_index"] == unit) & is_right]
        distance = {name: np.median(np.abs(train[_nearest(train, own)] - own)) for name, train in trains.items()}
        matches[int(unit)] = min(distance, key=lambda name: distance[name])
    return matches


def _nearest(times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the indices of the sorted times that are nearest to others."""
    after = np.clip(np.searchsorted(times, wanted), 1, max(times.size - 1, 1))
    after = np.minimum(after, times.size - 1)
    before = np.maximum(after - 1, 0)
    return np.where(np.abs(times[before] - wanted) <= np.abs(times[after] - wanted), before, after)
