"""When units fire and how large their spikes are, thinned out to what a screen can show."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from spikeinterface.postprocessing import correlogram_for_one_segment

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.convert import samples_in

# A correlogram of more takes longer than a click should.
MAX_CORRELOGRAM_SPIKES = 40_000
NUM_BLOCKS = 8
NUM_BINS_PER_SIDE = 50
MAX_AMPLITUDES = 3000
MAX_AMPLITUDES_IN_ALL = 12_000
# The shares of the budget for the smallest, the largest and the least probable spike of every column, and the rest.
NUM_KINDS = 4
# By the id of an array of spikes, as long as it lives.
_POSITIONS: dict[int, list[Int[np.ndarray, " spike"]]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlogram:
    """How often spikes of one unit follow those of another, or its own, after each lag."""

    unit: int
    other: int
    edges_ms: Float[np.ndarray, " edge"]
    """Edges of the bins; positive where `other` fires after `unit`."""
    counts: Int[np.ndarray, " bin"]
    is_sampled: bool
    """Whether it is of some stretches only, evenly spread over the recording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinnedAmplitudes:
    """Amplitudes of the spikes of some units in a segment; of many spikes, those that a picture needs."""

    spike: Int[np.ndarray, " spike"]
    """Positions among all spikes of the sorting."""
    time_s: Float[np.ndarray, " spike"]
    amplitude: Float[np.ndarray, " spike"]
    """In units of the unit's typical amplitude."""
    unit: Int[np.ndarray, " spike"]
    probability: Float[np.ndarray, " spike"] | None
    num_spikes: int
    """How many there are in all."""


def spikes_of_units(sorted_recording: SortedRecording) -> list[Int[np.ndarray, " spike"]]:
    """Return the positions of each unit's spikes among all, in their order.

    They are found once for a sorting: each look at all spikes of a long recording takes longer than a click should.

    Parameters
    ----------
    sorted_recording : SortedRecording
    """
    spikes, num_units = sorted_recording.units.spikes, sorted_recording.units.num_units
    if id(spikes) not in _POSITIONS:
        unit_index = np.ascontiguousarray(spikes["unit_index"])
        # numpy sorts small integers by their digits, which takes a tenth of the time
        key = unit_index.astype("uint16") if num_units <= np.iinfo("uint16").max else unit_index
        order = np.argsort(key, kind="stable")
        ends = np.cumsum(np.bincount(unit_index, minlength=num_units))
        _POSITIONS[id(spikes)] = np.split(order, ends[:-1]) if num_units else []
        weakref.finalize(spikes, _POSITIONS.pop, id(spikes), None)
    return _POSITIONS[id(spikes)]


def relative_amplitudes(sorted_recording: SortedRecording, unit: int) -> Float[np.ndarray, " spike"]:
    """Return the amplitudes of a unit's spikes in all segments, in units of its typical amplitude.

    Parameters
    ----------
    sorted_recording : SortedRecording
    unit : int
        Index of the unit.
    """
    return sorted_recording.units.relative_amplitude(spikes_of_units(sorted_recording)[unit])


def spike_times_s(sorted_recording: SortedRecording, spikes: Int[np.ndarray, " spike"]) -> Float[np.ndarray, " spike"]:
    """Return when spikes are, from the beginning of their segments (s).

    Parameters
    ----------
    sorted_recording : SortedRecording
    spikes : ndarray of int64, shape (spike,)
        Positions among all spikes.
    """
    inventory = sorted_recording.units
    times = inventory.spikes["sample_index"][spikes] + inventory.sample_offset[spikes]
    return times.astype("float64") / sorted_recording.sampling_frequency


def spikes_in_segment(sorted_recording: SortedRecording, unit: int, segment_index: int) -> Int[np.ndarray, " spike"]:
    """Return the positions of a unit's spikes in a segment among all spikes.

    Parameters
    ----------
    sorted_recording : SortedRecording
    unit : int
        Index of the unit.
    segment_index : int
    """
    mine = spikes_of_units(sorted_recording)[unit]
    return mine[sorted_recording.units.spikes["segment_index"][mine] == segment_index]


def correlogram(
    sorted_recording: SortedRecording, unit: int, other: int | None = None, *, window_ms: float = 50.0
) -> Correlogram:
    """Return the autocorrelogram of a unit, or the cross-correlogram of two.

    Parameters
    ----------
    sorted_recording : SortedRecording
    unit : int
        Index of the unit.
    other : int or None, default: None
        Index of another unit; None for the unit itself.
    window_ms : float, default: 50
        Largest lag (ms), of which a bin is a fiftieth.
    """
    other = unit if other is None else other
    frequency = sorted_recording.sampling_frequency
    bin_size = max(round(samples_in(window_ms, frequency) / NUM_BINS_PER_SIDE), 1)
    half = NUM_BINS_PER_SIDE * bin_size
    positions = spikes_of_units(sorted_recording)
    mine = positions[unit] if other == unit else np.sort(np.concatenate([positions[unit], positions[other]]))
    spikes = sorted_recording.units.spikes[mine]
    total = np.zeros(2 * NUM_BINS_PER_SIDE, "int64")
    num_units = 1 if other == unit else 2
    for stretch in _stretches(spikes):
        is_other = (stretch["unit_index"] != unit).astype("int64")
        counts = correlogram_for_one_segment(stretch["sample_index"].copy(), is_other, half, bin_size, num_units)
        # SpikeInterface's lag is that of the first unit behind the second
        total += counts[num_units - 1, 0]
    return Correlogram(
        unit=unit,
        other=other,
        edges_ms=np.arange(-NUM_BINS_PER_SIDE, NUM_BINS_PER_SIDE + 1) * bin_size * 1000 / frequency,
        counts=total,
        is_sampled=spikes.size > MAX_CORRELOGRAM_SPIKES,
    )


def _stretches(spikes: np.ndarray) -> list[np.ndarray]:
    """Return the spikes segment by segment, of too many some blocks of each segment."""
    parts = np.split(spikes, np.flatnonzero(np.diff(spikes["segment_index"])) + 1)
    if spikes.size <= MAX_CORRELOGRAM_SPIKES:
        return parts
    share = MAX_CORRELOGRAM_SPIKES / spikes.size
    blocks = [block for part in parts for block in np.array_split(part, NUM_BLOCKS)]
    return [block[: int(len(block) * share)] for block in blocks]


def thinned_amplitudes(
    sorted_recording: SortedRecording,
    units: Sequence[int],
    *,
    segment_index: int = 0,
    max_points: int = MAX_AMPLITUDES,
) -> ThinnedAmplitudes:
    """Return times and amplitudes of the spikes of some units, so many that a picture looks like that of all.

    Where a unit has too many spikes, time is divided into columns, of each of which the smallest, the largest and the
    least probable spike are kept: outliers stay visible. An even choice of the others fills up what is left.

    Parameters
    ----------
    sorted_recording : SortedRecording
    units : sequence of int
        Indices of the units.
    segment_index : int, default: 0
    max_points : int, default: 3000
        Most spikes of each unit; fewer where many units share the picture.
    """
    inventory, posterior = sorted_recording.units, sorted_recording.posterior
    budget = max(min(max_points, MAX_AMPLITUDES_IN_ALL // max(len(units), 1)), NUM_KINDS)
    found, num_spikes = [np.zeros(0, "int64")], 0
    for unit in units:
        mine = spikes_in_segment(sorted_recording, unit, segment_index)
        num_spikes += mine.size
        probability = None if posterior is None else posterior.probability[mine]
        kept = _thin(inventory.spikes["sample_index"][mine], inventory.amplitude[mine], probability, budget)
        found.append(mine[kept])
    spikes = np.concatenate(found)
    return ThinnedAmplitudes(
        spike=spikes,
        time_s=spike_times_s(sorted_recording, spikes),
        amplitude=inventory.relative_amplitude(spikes).astype("float32"),
        unit=inventory.spikes["unit_index"][spikes],
        probability=None if posterior is None else posterior.probability[spikes],
        num_spikes=num_spikes,
    )


def _thin(
    samples: Int[np.ndarray, " spike"],
    amplitude: Float[np.ndarray, " spike"],
    probability: Float[np.ndarray, " spike"] | None,
    budget: int,
) -> Int[np.ndarray, " kept"]:
    """Return which spikes to keep, in their order."""
    if samples.size <= budget:
        return np.arange(samples.size)
    num_columns = budget // NUM_KINDS
    span = max(int(samples[-1] - samples[0]), 1)
    column = np.minimum((samples - samples[0]) * num_columns // span, num_columns - 1)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    kept = [_smallest(amplitude, starts), _smallest(-amplitude, starts)]
    if probability is not None:
        kept.append(_smallest(probability, starts))
    extremes = np.unique(np.concatenate(kept))
    evenly = np.linspace(0, samples.size - 1, budget - extremes.size).astype("int64")
    return np.union1d(extremes, evenly)


def _smallest(values: Float[np.ndarray, " spike"], starts: Int[np.ndarray, " column"]) -> Int[np.ndarray, " column"]:
    """Return where the smallest value of each column is, the first of equal ones."""
    lengths = np.diff(starts, append=values.size)
    found = np.flatnonzero(values == np.repeat(np.minimum.reduceat(values, starts), lengths))
    return found[np.searchsorted(found, starts)]
