"""The sparse code as a raster: time against units, every event a mark, or counts where there are too many."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.widgets.view_models.decomposition import spikes_per_bin

MAX_EVENTS = 20_000
MAX_COLUMNS = 2000
PIXELS_PER_BIN = 6
MIN_BIN_S = 0.001
SIZE_STEP = 0.01
NO_UNITS = (
    "This sorting has no units, so that there is no code to draw. Sort again with a lower detect_threshold, or open "
    "another run."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterWindow:
    """What of a sorting is looked at.

    Parameters
    ----------
    start_s, end_s : float
        From the beginning of the segment.
    segment_index : int
    num_columns : int
        Pixels across.
    """

    start_s: float
    end_s: float
    segment_index: int
    num_columns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterModel:
    """Events of a window by row, or their counts; a row for each unit, the lowest one first."""

    start_s: float
    end_s: float
    duration_s: float
    segment_index: int
    num_segments: int
    cursor_s: float
    order: str
    unit_ids: list[str]
    row_unit: Int[np.ndarray, " row"]
    """Index of the unit of each row."""
    row_depth_um: Float[np.ndarray, " row"]
    selected: list[int]
    """Indices of the selected units."""
    num_events: int
    size_step: float
    event_after_s: Float[np.ndarray, " event"]
    """Time since the start of the window."""
    event_row: Int[np.ndarray, " event"]
    event_size: Int[np.ndarray, " event"]
    """Amplitude in units of the unit's typical one, in steps of `size_step`."""
    event_probability: Int[np.ndarray, " event"] | None
    """In steps of `size_step`."""
    counts: Int[np.ndarray, "row column"] | None
    """Instead of events where there are too many."""
    rate_hz: Float[np.ndarray, " bin"]
    """Spikes of all units per second, in equal parts of the window."""
    overview: Int[np.ndarray, " bin"]
    """Spikes in equal parts of the segment."""
    notes: list[str]
    empty: str


def raster_model(
    sorted_recording: SortedRecording,
    window: RasterWindow,
    *,
    order: str = "depth",
    selected: Sequence[int] = (),
    cursor_s: float = 0.0,
    max_events: int | None = None,
) -> RasterModel:
    """Return what the code raster shows of a window.

    Parameters
    ----------
    sorted_recording : SortedRecording
    window : RasterWindow
    order : {"depth", "id"}, default: "depth"
        Order of the units: by the place of their main channels on the probe, the tip at the bottom; or by their ids,
        the first one at the top.
    selected : sequence of int, default: ()
        Indices of the selected units.
    cursor_s : float, default: 0
        Time that all views look at.
    max_events : int or None, default: None
        Of more, there are counts instead; None for 20,000.
    """
    units, frequency = sorted_recording.units, sorted_recording.sampling_frequency
    row_unit = order_units(sorted_recording, order)
    start, end = round(window.start_s * frequency), round(window.end_s * frequency)
    events = spikes_between(sorted_recording, start, end, window.segment_index)
    after_s = (units.spikes["sample_index"][events] - start + units.sample_offset[events]) / frequency
    row_of_unit = np.argsort(row_unit)
    row = row_of_unit[units.spikes["unit_index"][events]]
    length_s = max(window.end_s - window.start_s, 1 / frequency)
    num_columns = int(np.clip(window.num_columns, 1, MAX_COLUMNS))
    num_bins = int(np.clip(min(num_columns // PIXELS_PER_BIN, length_s / MIN_BIN_S), 1, None))
    are_many = events.size > (MAX_EVENTS if max_events is None else max_events)
    drawn = events[:0] if are_many else events
    posterior = sorted_recording.posterior
    return RasterModel(
        start_s=window.start_s,
        end_s=window.end_s,
        duration_s=sorted_recording.duration_s(window.segment_index),
        segment_index=window.segment_index,
        num_segments=len(sorted_recording.num_samples),
        cursor_s=cursor_s,
        order=order,
        unit_ids=[str(unit_id) for unit_id in sorted_recording.unit_ids],
        row_unit=row_unit,
        row_depth_um=_depths(sorted_recording)[row_unit],
        selected=list(selected),
        num_events=int(events.size),
        size_step=SIZE_STEP,
        event_after_s=after_s[: drawn.size].astype("float32"),
        event_row=row[: drawn.size].astype("int16"),
        event_size=_in_steps(units.relative_amplitude(drawn)),
        event_probability=None if posterior is None else _in_steps(posterior.probability[drawn]),
        counts=_count(row, after_s / length_s, (row_unit.size, num_columns)) if are_many else None,
        rate_hz=_count(np.zeros_like(row), after_s / length_s, (1, num_bins))[0].astype("float32")
        * num_bins
        / length_s,
        overview=spikes_per_bin(sorted_recording, window.segment_index),
        notes=list(sorted_recording.missing),
        empty="" if units.num_units else NO_UNITS,
    )


def spikes_between(
    sorted_recording: SortedRecording, start: int, end: int, segment_index: int
) -> Int[np.ndarray, " n"]:
    """Return the indices of the spikes of a segment from one sample to the one before another."""
    spikes = sorted_recording.units.spikes
    first, last = np.searchsorted(spikes["segment_index"], [segment_index, segment_index + 1])
    return first + np.arange(*np.searchsorted(spikes["sample_index"][first:last], [start, end]))


def order_units(sorted_recording: SortedRecording, order: str) -> Int[np.ndarray, " row"]:
    """Return the units by depth, the deepest one first, or by id, the last one first: rows from below.

    Parameters
    ----------
    sorted_recording : SortedRecording
    order : {"depth", "id"}
    """
    num_units = sorted_recording.units.num_units
    if order == "id" or num_units == 0:
        return np.arange(num_units)[::-1]
    across = sorted_recording.locations[sorted_recording.units.main_channel, 0]
    return np.lexsort((-np.arange(num_units), across, _depths(sorted_recording)))


def _depths(sorted_recording: SortedRecording) -> Float[np.ndarray, " unit"]:
    """Return where the main channel of each unit is along the probe (um)."""
    return sorted_recording.locations[sorted_recording.units.main_channel, 1].astype("float32")


def _in_steps(values: Float[np.ndarray, " event"]) -> Int[np.ndarray, " event"]:
    return np.clip(np.round(values / SIZE_STEP), 0, 255).astype("uint8")


def _count(row: np.ndarray, share: np.ndarray, shape: tuple[int, int]) -> Int[np.ndarray, "row column"]:
    """Return how many events are in each cell; `share` is their place in the window, from 0 to 1."""
    column = np.clip((share * shape[1]).astype("int64"), 0, shape[1] - 1)
    counts = np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1]).reshape(shape)
    return counts.astype("uint8" if counts.max(initial=0) < 256 else "int32")
