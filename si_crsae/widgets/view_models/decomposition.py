"""A stretch of traces as the sum of its spikes and a residual, thinned out to what a screen can show."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from si_crsae.evaluation.decomposition import events_in, sum_of_waveforms, waveforms_of
from si_crsae.evaluation.plots import MIN_DRAWN
from si_crsae.evaluation.sorted_recording import SortedRecording

# More is neither read nor drawn in the time of a scroll step.
MAX_VALUES = 6_000_000
MAX_EVENTS = 3000
MAX_SENT_WAVEFORM_VALUES = 400_000
RESOLUTION = 0.01
LEVEL_MS = 2.0
MAX_LEVELS = 120
NUM_OVERVIEW_BINS = 400
DEFAULT_CHANNELS = 64
SEARCH_MS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What of a recording is looked at.

    Parameters
    ----------
    start, end : int
        First sample and the one after the last.
    segment_index : int
    channels : ndarray of int64, shape (channel,)
        Indices of the channels, the lowest row first.
    num_columns : int
        Pixels across.
    hidden_units : sequence of int or str
        Units whose spikes are left in the residual.
    """

    start: int
    end: int
    segment_index: int
    channels: Int[np.ndarray, " channel"]
    num_columns: int
    hidden_units: Sequence[int | str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DecompositionModel:
    """Traces, the sum of the spikes and the residual of a stretch; least and largest value of every column.

    The three are multiples of `resolution` noise standard deviations; None where there is no recording, or the stretch
    is too long.
    """

    start_s: float
    end_s: float
    duration_s: float
    segment_index: int
    num_segments: int
    samples_per_column: int
    sampling_frequency: float
    resolution: float
    channels: list[str]
    unit_ids: list[str]
    selected: list[int]
    """Indices of the selected units."""
    hidden: list[int]
    """Indices of the hidden units."""
    traces: Int[np.ndarray, "channel column 2"] | None
    explained: Int[np.ndarray, "channel column 2"] | None
    residual: Int[np.ndarray, "channel column 2"] | None
    residual_level: Float[np.ndarray, "channel block"] | None
    """Root mean square of the residual in blocks of time: 1 for noise alone."""
    event_time_s: Float[np.ndarray, " event"]
    event_unit: Int[np.ndarray, " event"]
    event_amplitude: Float[np.ndarray, " event"]
    """In units of the unit's typical amplitude."""
    event_probability: Float[np.ndarray, " event"] | None
    event_interval: Float[np.ndarray, "event 2"] | None
    """What holds the amplitude with probability 0.9, in the same units."""
    waveform_event: Int[np.ndarray, " waveform"]
    """Event of each waveform; a waveform is an event's part on one channel."""
    waveform_row: Int[np.ndarray, " waveform"]
    waveform_onset: Int[np.ndarray, " waveform"]
    """Sample of its first value, from the start of the stretch."""
    waveforms: Float[np.ndarray, "waveform sample"]
    overview: Int[np.ndarray, " bin"]
    """Spikes in equal parts of the segment."""
    notes: list[str]
    empty: str
    """Why there is nothing to see."""


def default_channels(sorted_recording: SortedRecording, unit_indices: Sequence[int]) -> Int[np.ndarray, " channel"]:
    """Return the channels to show: all of them, or of many those nearest to the first of some units, by depth.

    Parameters
    ----------
    sorted_recording : SortedRecording
    unit_indices : sequence of int
        Indices of the selected units.

    Returns
    -------
    ndarray of int64, shape (channel,)
        From the bottom of the probe to its top.
    """
    locations = sorted_recording.locations
    by_depth = np.lexsort((locations[:, 0], locations[:, 1]))
    if by_depth.size <= DEFAULT_CHANNELS:
        return by_depth
    center = sorted_recording.units.main_channel[unit_indices[0]] if unit_indices else by_depth[0]
    distances = np.linalg.norm(locations - locations[center], axis=1)
    nearest = np.argsort(distances, kind="stable")[:DEFAULT_CHANNELS]
    return by_depth[np.isin(by_depth, nearest)]


def stretch_around(
    sorted_recording: SortedRecording,
    *,
    sample: int,
    segment_index: int,
    window_ms: float,
    selected: Sequence[int],
    num_columns: int = 1000,
    hidden_units: Sequence[int | str] = (),
) -> Stretch:
    """Return the stretch around a sample, inside of its segment, on the channels to show.

    Parameters
    ----------
    sorted_recording : SortedRecording
    sample : int
        In the segment; the middle of the stretch, unless that would reach beyond an end.
    segment_index : int
    window_ms : float
        Length (ms).
    selected : sequence of int
        Indices of the units near which channels are shown, see `default_channels`.
    num_columns : int, default: 1000
        Pixels across.
    hidden_units : sequence of int or str, default: ()
        Units whose spikes are left in the residual.
    """
    num_samples = sorted_recording.num_samples[segment_index]
    length = min(max(round(window_ms * sorted_recording.sampling_frequency / 1000), 2), num_samples)
    start = min(max(sample - length // 2, 0), num_samples - length)
    return Stretch(
        start=start,
        end=start + length,
        segment_index=segment_index,
        channels=default_channels(sorted_recording, selected),
        num_columns=num_columns,
        hidden_units=tuple(hidden_units),
    )


def decomposition_model(
    sorted_recording: SortedRecording, stretch: Stretch, *, selected: Sequence[int] = ()
) -> DecompositionModel:
    """Return what the decomposition viewer shows of a stretch.

    Parameters
    ----------
    sorted_recording : SortedRecording
    stretch : Stretch
    selected : sequence of int, default: ()
        Indices of the selected units.
    """
    units, frequency = sorted_recording.units, sorted_recording.sampling_frequency
    segment_index, channels = stretch.segment_index, stretch.channels
    hidden = [sorted_recording.unit_ids.index(unit_id) for unit_id in stretch.hidden_units]
    step = max(-(-(stretch.end - stretch.start) // max(stretch.num_columns, 1)), 1)
    notes = list(sorted_recording.missing)
    patches = _Patches.none()
    layers = _Layers()
    events = events_in(units, start=stretch.start, end=stretch.end, segment_index=segment_index)
    if (stretch.end - stretch.start) * channels.size > MAX_VALUES or events.size > MAX_EVENTS:
        notes.append("the stretch is too long to show its traces: zoom in")
    else:
        onsets, waveforms, _ = waveforms_of(
            units, start=stretch.start, end=stretch.end, segment_index=segment_index, channels=channels
        )
        shown = ~np.isin(units.spikes["unit_index"][events], hidden)
        traces = sorted_recording.get_traces(segment_index, stretch.start, stretch.end)
        explained = sum_of_waveforms(onsets[shown], waveforms[shown], stretch.end - stretch.start)
        layers = _layers_of(None if traces is None else traces[:, channels], explained, step, frequency)
        patches = _patches_of(onsets, waveforms)
        if patches.is_cut:
            notes.append("there are too many spikes to draw each of them: zoom in")
    unit_index = units.spikes["unit_index"][events]
    scales = np.where(units.scales > 0, units.scales, 1)[unit_index]
    posterior = sorted_recording.posterior
    ends = () if posterior is None else (posterior.amplitude_low[events], posterior.amplitude_high[events])
    return DecompositionModel(
        start_s=stretch.start / frequency,
        end_s=stretch.end / frequency,
        duration_s=sorted_recording.duration_s(segment_index),
        segment_index=segment_index,
        num_segments=len(sorted_recording.num_samples),
        samples_per_column=step,
        sampling_frequency=frequency,
        resolution=RESOLUTION,
        channels=[str(channel_id) for channel_id in sorted_recording.channel_ids[channels]],
        unit_ids=[str(unit_id) for unit_id in sorted_recording.unit_ids],
        selected=list(selected),
        hidden=hidden,
        traces=layers.traces,
        explained=layers.explained,
        residual=layers.residual,
        residual_level=layers.residual_level,
        event_time_s=(units.spikes["sample_index"][events] + units.sample_offset[events]) / frequency,
        event_unit=unit_index,
        event_amplitude=units.amplitude[events] / scales,
        event_probability=None if posterior is None else posterior.probability[events],
        event_interval=None if posterior is None else np.stack(ends, axis=1) / scales[:, None],
        waveform_event=patches.event,
        waveform_row=patches.row,
        waveform_onset=patches.onset,
        waveforms=patches.values,
        overview=spikes_per_bin(sorted_recording, segment_index),
        notes=notes,
        empty="",
    )


def spikes_per_bin(sorted_recording: SortedRecording, segment_index: int) -> Int[np.ndarray, " bin"]:
    """Return the number of spikes in equal parts of a segment."""
    spikes = sorted_recording.units.spikes
    first, last = np.searchsorted(spikes["segment_index"], [segment_index, segment_index + 1])
    edges = np.linspace(0, sorted_recording.num_samples[segment_index], NUM_OVERVIEW_BINS + 1).astype("int64")
    return np.diff(np.searchsorted(spikes["sample_index"][first:last], edges))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layers:
    traces: Int[np.ndarray, "channel column 2"] | None = None
    explained: Int[np.ndarray, "channel column 2"] | None = None
    residual: Int[np.ndarray, "channel column 2"] | None = None
    residual_level: Float[np.ndarray, "channel block"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Patches:
    event: Int[np.ndarray, " waveform"]
    row: Int[np.ndarray, " waveform"]
    onset: Int[np.ndarray, " waveform"]
    values: Float[np.ndarray, "waveform sample"]
    is_cut: bool = False

    @classmethod
    def none(cls, *, width: int = 1, is_cut: bool = False) -> "_Patches":
        nothing = np.zeros(0, "int64")
        return cls(event=nothing, row=nothing, onset=nothing, values=np.zeros((0, width), "float32"), is_cut=is_cut)


def _layers_of(
    traces: Float[np.ndarray, "sample channel"] | None,
    explained: Float[np.ndarray, "sample channel"],
    step: int,
    frequency: float,
) -> _Layers:
    if traces is None:
        return _Layers(explained=_envelope(explained, step))
    residual = traces - explained
    return _Layers(
        traces=_envelope(traces, step),
        explained=_envelope(explained, step),
        residual=_envelope(residual, step),
        residual_level=_levels(residual, frequency),
    )


def _envelope(values: Float[np.ndarray, "sample channel"], step: int) -> Int[np.ndarray, "channel column 2"]:
    """Return the least and the largest value of every column, as multiples of the resolution."""
    whole = len(values) // step * step
    columns = values[:whole].reshape(-1, step, values.shape[1])
    bounds = np.stack([columns.min(axis=1), columns.max(axis=1)], axis=2)
    if whole < len(values):
        rest = values[whole:]
        bounds = np.concatenate([bounds, np.stack([rest.min(axis=0), rest.max(axis=0)], axis=1)[None]])
    limits = np.iinfo("int16")
    return np.clip(np.round(bounds / RESOLUTION), limits.min, limits.max).astype("int16").transpose(1, 0, 2)


def _levels(residual: Float[np.ndarray, "sample channel"], frequency: float) -> Float[np.ndarray, "channel block"]:
    """Return the root mean square of equal blocks of at least LEVEL_MS."""
    shortest = LEVEL_MS * frequency / 1000
    num_blocks = int(np.clip(len(residual) / shortest, 1, MAX_LEVELS))
    edges = np.linspace(0, len(residual), num_blocks + 1).astype("int64")
    sums = np.add.reduceat(residual**2, edges[:-1], axis=0)
    return np.sqrt(sums / np.diff(edges)[:, None]).T.astype("float32")


def _patches_of(onsets: Int[np.ndarray, " event"], waveforms: Float[np.ndarray, "event sample channel"]) -> _Patches:
    """Return the waveforms of the events on the channels where they can be seen."""
    event, row = np.nonzero(np.abs(waveforms).max(axis=1) >= MIN_DRAWN) if len(waveforms) else (onsets, onsets)
    width = waveforms.shape[1]
    if event.size * width > MAX_SENT_WAVEFORM_VALUES:
        return _Patches.none(width=width, is_cut=True)
    return _Patches(event=event, row=row, onset=onsets[event], values=waveforms[event, :, row])


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The event that would explain best what a residual shows at some place, and why it is not there."""

    unit_id: str
    unit_index: int
    time_s: float
    amplitude: float
    """Coefficient of the atom (noise standard deviations)."""
    relative_amplitude: float
    """In units of the unit's typical amplitude."""
    min_relative_amplitude: float
    """From where an event of this unit is accepted."""
    similarity: float
    """Cosine of atom and residual, on the atom's channels."""
    text: str
    waveform_row: list[int]
    waveform_onset_s: float
    waveforms: Float[np.ndarray, "waveform sample"]


def explain_residual(
    sorted_recording: SortedRecording, stretch: Stretch, *, sample: int, channel: int
) -> Explanation | None:
    """Return the event that explains most of the residual near a sample on a channel, where no spike was put.

    Every atom that reaches the channel is tried at every shift that puts its peak within SEARCH_MS of the sample. That
    of the largest coefficient lowers the squared error most.

    Parameters
    ----------
    sorted_recording : SortedRecording
        With traces.
    stretch : Stretch
        Tells segment, channels and hidden units.
    sample : int
        In the segment.
    channel : int
        Index of the channel in the recording.

    Returns
    -------
    Explanation or None
        None where there are no traces, or no atom correlates with the residual.
    """
    units, frequency = sorted_recording.units, sorted_recording.sampling_frequency
    width, reach = units.atoms.shape[2], round(SEARCH_MS * frequency / 1000)
    start = max(sample - reach - width, 0)
    end = min(sample + reach + width + 1, sorted_recording.num_samples[stretch.segment_index])
    traces = sorted_recording.get_traces(stretch.segment_index, start, end)
    candidates = np.flatnonzero(units.atoms[:, channel].any(axis=1))
    if traces is None or candidates.size == 0:
        return None
    hidden = [sorted_recording.unit_ids.index(unit_id) for unit_id in stretch.hidden_units]
    onsets, waveforms, events = waveforms_of(units, start=start, end=end, segment_index=stretch.segment_index)
    shown = ~np.isin(units.spikes["unit_index"][events], hidden)
    residual = traces - sum_of_waveforms(onsets[shown], waveforms[shown], end - start)
    windows = np.lib.stride_tricks.sliding_window_view(residual, width, axis=0)  # (shift, channel, width)
    shifts = sample - start + np.arange(-reach, reach + 1)[:, None] - units.num_before[candidates]
    legal = (shifts >= 0) & (shifts < len(windows))
    maps = np.tensordot(windows, units.atoms[candidates], axes=([1, 2], [1, 2]))
    amplitudes = np.where(legal, np.take_along_axis(maps, np.clip(shifts, 0, len(windows) - 1), axis=0), -np.inf)
    best_lag, best = np.unravel_index(amplitudes.argmax(), amplitudes.shape)
    amplitude, unit, onset = float(amplitudes[best_lag, best]), int(candidates[best]), int(shifts[best_lag, best])
    if not amplitude > 0:
        return None
    occupied = units.atoms[unit].any(axis=1)
    norm = float(np.linalg.norm(windows[onset][occupied]))
    rows = np.flatnonzero(occupied[stretch.channels])
    explanation = Explanation(
        unit_id=str(sorted_recording.unit_ids[unit]),
        unit_index=unit,
        time_s=(start + onset + int(units.num_before[unit])) / frequency,
        amplitude=amplitude,
        relative_amplitude=amplitude / float(units.scales[unit]),
        min_relative_amplitude=float(sorted_recording.min_amplitude[unit] / units.scales[unit]),
        similarity=amplitude / norm,
        text="",
        waveform_row=rows.tolist(),
        waveform_onset_s=(start + onset) / frequency,
        waveforms=amplitude * units.atoms[unit][stretch.channels[rows]],
    )
    return replace(explanation, text=_describe(explanation, is_hidden=unit in hidden))


def _describe(found: Explanation, *, is_hidden: bool) -> str:
    said = (
        f"Nearest atom: unit {found.unit_id} at {found.time_s:.4f} s, {found.amplitude:.1f} noise sd, that is "
        f"{found.relative_amplitude:.2f} of its usual size; cosine with the residual {found.similarity:.2f}. "
    )
    if is_hidden:
        return said + "The spikes of this unit are left in the residual now."
    if found.min_relative_amplitude == 0:
        return said
    if found.relative_amplitude < found.min_relative_amplitude:
        return said + (
            f"Spikes of this unit count from {found.min_relative_amplitude:.2f}: a threshold of "
            f"{found.relative_amplitude:.2f} would have caught it."
        )
    return said + (
        f"That is above its threshold of {found.min_relative_amplitude:.2f}: the sorter preferred another explanation, "
        "or removed it as too close to a spike of the same unit."
    )
