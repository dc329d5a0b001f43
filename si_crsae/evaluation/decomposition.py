"""A stretch of traces, written as the sum of its spikes and what they leave."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from spikeinterface.core import BaseRecording

from si_crsae.core.operators.interpolation import NUM_TAPS, WEIGHTS, split_offset
from si_crsae.sorting.inventory import Inventory

# Waveforms of so many fit into the cache of a processor.
EVENTS_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Decomposition:
    """Traces of one stretch and the part of every spike in them.

    Parameters
    ----------
    start : int
        First sample of the stretch.
    sampling_frequency : float
        In hertz.
    traces : ndarray of float32, shape (sample, channel)
        Whitened, in noise standard deviations.
    contributions : ndarray of float32, shape (event, sample, channel)
        Amplitude times atom of every event that reaches into the stretch.
    unit_index : ndarray of int64, shape (event,)
        Unit of each event; events are ordered by time.
    """

    start: int
    sampling_frequency: float
    traces: Float[np.ndarray, "sample channel"]
    contributions: Float[np.ndarray, "event sample channel"]
    unit_index: Int[np.ndarray, " event"]

    @property
    def residual(self) -> Float[np.ndarray, "sample channel"]:
        """Traces without all events: noise, if the model is right."""
        return self.traces - self.contributions.sum(axis=0)

    @property
    def times_ms(self) -> Float[np.ndarray, " sample"]:
        """Time of every sample since the beginning of the stretch (ms)."""
        return 1000 * np.arange(len(self.traces)) / self.sampling_frequency

    @property
    def start_s(self) -> float:
        """Beginning of the stretch since that of the segment (s)."""
        return self.start / self.sampling_frequency


def decompose(
    whitened: BaseRecording, units: Inventory, *, start: int, end: int, segment_index: int = 0
) -> Decomposition:
    """Return a stretch of whitened traces with the contribution of every spike.

    Parameters
    ----------
    whitened : BaseRecording
        What `si_crsae.sorting.signal.preprocessing.preprocess` returns for the recording that was sorted.
    units : Inventory
        Result of the sorting, from `load_units`.
    start, end : int
        First sample and the one after the last.
    segment_index : int, default: 0
        Segment of the stretch.

    Returns
    -------
    Decomposition
        ``traces == contributions.sum(axis=0) + residual``.

    Raises
    ------
    ValueError
        If the stretch is empty or reaches beyond the segment.
    """
    num_samples = whitened.get_num_samples(segment_index)
    if not 0 <= start < end <= num_samples:
        raise ValueError(f"start = {start}, end = {end}: 0 <= start < end <= {num_samples} samples is needed")
    contributions, events = contributions_of(units, start=start, end=end, segment_index=segment_index)
    return Decomposition(
        start=start,
        sampling_frequency=whitened.sampling_frequency,
        traces=whitened.get_traces(segment_index=segment_index, start_frame=start, end_frame=end),
        contributions=contributions,
        unit_index=units.spikes["unit_index"][events],
    )


def contributions_of(
    units: Inventory, *, start: int, end: int, segment_index: int = 0
) -> tuple[Float[np.ndarray, "event sample channel"], Int[np.ndarray, " event"]]:
    """Return what every event adds to a stretch of whitened traces.

    Parameters
    ----------
    units : Inventory
    start, end : int
        First sample and the one after the last.
    segment_index : int, default: 0

    Returns
    -------
    contributions : ndarray of float32, shape (event, sample, channel)
        Amplitude times atom, where it stands.
    events : ndarray of int64, shape (event,)
        Indices of those events, that reach into the stretch, in ``units.spikes``.
    """
    onsets, waveforms, events = waveforms_of(units, start=start, end=end, segment_index=segment_index)
    margin = waveforms.shape[1]
    contributions = np.zeros((events.size, end - start + 2 * margin, units.atoms.shape[1]), "float32")
    for row, onset in enumerate(onsets + margin):
        contributions[row, onset : onset + margin] = waveforms[row]
    return contributions[:, margin : margin + end - start], events


def waveforms_of(
    units: Inventory,
    *,
    start: int,
    end: int,
    segment_index: int = 0,
    channels: Int[np.ndarray, " channel"] | None = None,
) -> tuple[Int[np.ndarray, " event"], Float[np.ndarray, "event sample channel"], Int[np.ndarray, " event"]]:
    """Return the waveforms of the events that reach into a stretch.

    Parameters
    ----------
    units : Inventory
    start, end : int
        First sample and the one after the last.
    segment_index : int, default: 0
    channels : ndarray of int64 or None, default: None
        Indices of the channels. None for all.

    Returns
    -------
    onsets : ndarray of int64, shape (event,)
        First sample of each waveform, from the start of the stretch; may be negative.
    waveforms : ndarray of float32, shape (event, sample, channel)
        Amplitude times atom, as it falls between the samples.
    events : ndarray of int64, shape (event,)
        Their indices in ``units.spikes``.
    """
    events = events_in(units, start=start, end=end, segment_index=segment_index)
    unit_index = units.spikes["unit_index"][events]
    some = slice(None) if channels is None else channels
    splits = [split_offset(offset) for offset in units.sample_offset[events]]
    first, phases = np.array(splits, "int64").reshape(-1, 2).T
    num_channels = units.atoms[:, some].shape[1]
    waveforms = np.zeros((events.size, units.atoms.shape[2] + NUM_TAPS - 1, num_channels), "float32")
    for phase in np.unique(phases).tolist():
        mine = np.flatnonzero(phases == phase)
        for rows in np.array_split(mine, -(-mine.size // EVENTS_AT_ONCE)):
            atoms = units.atoms_of(events[rows], some).transpose(0, 2, 1)
            scaled = units.amplitude[events[rows], None, None] * atoms
            waveforms[rows] = _delayed(scaled, WEIGHTS[phase])
    onsets = units.spikes["sample_index"][events] - units.num_before[unit_index] - start + first
    return onsets, waveforms, events


def _delayed(
    waveforms: Float[np.ndarray, "event sample channel"], weights: Float[np.ndarray, " tap"]
) -> Float[np.ndarray, "event later_sample channel"]:
    num_events, width, num_channels = waveforms.shape
    delayed = np.zeros((num_events, width + NUM_TAPS - 1, num_channels), "float32")
    for tap in np.flatnonzero(weights).tolist():
        delayed[:, tap : tap + width] += weights[tap] * waveforms
    return delayed


def sum_of_waveforms(
    onsets: Int[np.ndarray, " event"], waveforms: Float[np.ndarray, "event sample channel"], num_samples: int
) -> Float[np.ndarray, "sample channel"]:
    """Return the sum of waveforms over a stretch, parts beyond its ends cut off.

    Parameters
    ----------
    onsets : ndarray of int64, shape (event,)
        First sample of each waveform, from the start of the stretch, as `waveforms_of` gives them.
    waveforms : ndarray of float32, shape (event, sample, channel)
    num_samples : int
        Length of the stretch.
    """
    margin = waveforms.shape[1]
    total = np.zeros((num_samples + 2 * margin, waveforms.shape[2]), "float32")
    for onset, waveform in zip(onsets + margin, waveforms, strict=True):
        total[onset : onset + margin] += waveform
    return total[margin : margin + num_samples]


def events_in(units: Inventory, *, start: int, end: int, segment_index: int = 0) -> Int[np.ndarray, " event"]:
    """Return the indices in ``units.spikes`` of the events whose atoms reach into a stretch.

    Parameters
    ----------
    units : Inventory
    start, end : int
        First sample and the one after the last.
    segment_index : int, default: 0
    """
    width = units.atoms.shape[2]
    first, last = np.searchsorted(units.spikes["segment_index"], [segment_index, segment_index + 1])
    times = units.spikes["sample_index"][first:last]
    near = first + np.arange(*np.searchsorted(times, [start - width, end + width]))
    onsets = units.spikes["sample_index"][near] - units.num_before[units.spikes["unit_index"][near]]
    return near[(onsets < end) & (onsets + width > start)]


def densest_stretch(units: Inventory, num_samples: int, *, segment_index: int = 0) -> int:
    """Return the first sample of the stretch of that length with most spikes; 0 if there are none.

    Parameters
    ----------
    units : Inventory
    num_samples : int
        Length of the stretch.
    segment_index : int, default: 0
        Segment to search.
    """
    times = units.spikes["sample_index"][units.spikes["segment_index"] == segment_index]
    if times.size == 0:
        return 0
    counts = np.searchsorted(times, times + num_samples) - np.arange(times.size)
    first = counts.argmax()
    middle = (times[first] + times[first + counts[first] - 1]) // 2
    return max(int(middle) - num_samples // 2, 0)
