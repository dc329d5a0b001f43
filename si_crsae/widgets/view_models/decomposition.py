"""A stretch of traces as the sum of its spikes and a residual, thinned out to what a screen can show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from si_crsae.evaluation.decomposition import events_in, sum_of_waveforms, waveforms_of
from si_crsae.evaluation.plots import MIN_DRAWN
from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.convert import samples_in
from si_crsae.widgets.view_models.stretch import Stretch

# More is neither read nor drawn in the time of a scroll step.
MAX_VALUES = 6_000_000
MAX_EVENTS = 3000
MAX_SENT_WAVEFORM_VALUES = 400_000
RESOLUTION = 0.01
LEVEL_MS = 2.0
MAX_LEVELS = 120
# Values of filtered noise in a millisecond that are as good as independent, and deviations that are hardly ever seen.
INDEPENDENT_PER_MS = 8.0
CEILING_DEVIATIONS = 4.0
NUM_OVERVIEW_BINS = 400


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
    num_channels: int
    """Of the recording, of which some are shown."""
    first_row: int
    """How many channels lie below those that are shown."""
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
    noise_ceiling: float
    """Up to which level a block may well be noise alone."""
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
    events = events_in(units, start=stretch.start, end=stretch.end, segment_index=segment_index)
    layers, patches, note = _draw(sorted_recording, stretch, events, hidden=hidden, step=step)
    unit_index = units.spikes["unit_index"][events]
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
        num_channels=sorted_recording.channel_ids.size,
        first_row=int(np.sum(sorted_recording.locations[:, 1] < sorted_recording.locations[channels, 1].min())),
        unit_ids=[str(unit_id) for unit_id in sorted_recording.unit_ids],
        selected=list(selected),
        hidden=hidden,
        traces=layers.traces,
        explained=layers.explained,
        residual=layers.residual,
        residual_level=layers.residual_level,
        noise_ceiling=_noise_ceiling(layers.residual_level, stretch, frequency),
        event_time_s=(units.spikes["sample_index"][events] + units.sample_offset[events]) / frequency,
        event_unit=unit_index,
        event_amplitude=units.relative_amplitude(events),
        event_probability=None if posterior is None else posterior.probability[events],
        event_interval=None if posterior is None else np.stack(ends, axis=1) / units.scales[unit_index, None],
        waveform_event=patches.event,
        waveform_row=patches.row,
        waveform_onset=patches.onset,
        waveforms=patches.values,
        overview=spikes_per_bin(sorted_recording, segment_index),
        notes=[*sorted_recording.missing, *note],
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


def _draw(
    sorted_recording: SortedRecording,
    stretch: Stretch,
    events: Int[np.ndarray, " event"],
    *,
    hidden: Sequence[int],
    step: int,
) -> tuple[_Layers, _Patches, list[str]]:
    """Return what is drawn, and what is not for want of room."""
    num_samples = stretch.end - stretch.start
    if num_samples * stretch.channels.size > MAX_VALUES or events.size > MAX_EVENTS:
        return _Layers(), _Patches.none(), ["the stretch is too long to show its traces: zoom in"]
    units = sorted_recording.units
    onsets, waveforms, _ = waveforms_of(
        units,
        start=stretch.start,
        end=stretch.end,
        segment_index=stretch.segment_index,
        channels=stretch.channels,
    )
    shown = ~np.isin(units.spikes["unit_index"][events], hidden)
    traces = sorted_recording.get_traces(stretch.segment_index, stretch.start, stretch.end)
    explained = sum_of_waveforms(onsets[shown], waveforms[shown], num_samples)
    layers = _layers_of(
        None if traces is None else traces[:, stretch.channels], explained, step, sorted_recording.sampling_frequency
    )
    patches = _patches_of(onsets, waveforms)
    return layers, patches, ["there are too many spikes to draw each of them: zoom in"] if patches.is_cut else []


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


def _noise_ceiling(levels: Float[np.ndarray, "channel block"] | None, stretch: Stretch, frequency: float) -> float:
    """Return the level that a block of noise hardly ever exceeds, which depends on how long it is."""
    if levels is None:
        return 1.0
    duration_ms = 1000 * (stretch.end - stretch.start) / frequency / levels.shape[1]
    return 1 + CEILING_DEVIATIONS / math.sqrt(2 * max(duration_ms * INDEPENDENT_PER_MS, 1))


def _levels(residual: Float[np.ndarray, "sample channel"], frequency: float) -> Float[np.ndarray, "channel block"]:
    """Return the root mean square of equal blocks of at least LEVEL_MS."""
    shortest = samples_in(LEVEL_MS, frequency)
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
