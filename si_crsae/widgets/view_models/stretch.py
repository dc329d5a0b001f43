"""What of a recording is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.convert import nearest_samples

DEFAULT_CHANNELS = 64


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


def default_channels(
    sorted_recording: SortedRecording, unit_indices: Sequence[int], *, first_row: int | None = None
) -> Int[np.ndarray, " channel"]:
    """Return the channels to show: all of them, or of many those nearest to the first of some units, by depth.

    Parameters
    ----------
    sorted_recording : SortedRecording
    unit_indices : sequence of int
        Indices of the selected units.
    first_row : int or None, default: None
        Of many channels, show those from this one on instead, counted from the bottom of the probe.

    Returns
    -------
    ndarray of int64, shape (channel,)
        From the bottom of the probe to its top.
    """
    locations = sorted_recording.locations
    by_depth = np.lexsort((locations[:, 0], locations[:, 1]))
    if by_depth.size <= DEFAULT_CHANNELS:
        return by_depth
    if first_row is not None:
        first_row = min(max(first_row, 0), by_depth.size - DEFAULT_CHANNELS)
        return by_depth[first_row : first_row + DEFAULT_CHANNELS]
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
    first_row: int | None = None,
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
    first_row : int or None, default: None
        See `default_channels`.
    """
    num_samples = sorted_recording.num_samples[segment_index]
    length = min(max(nearest_samples(window_ms, sorted_recording.sampling_frequency), 2), num_samples)
    start = min(max(sample - length // 2, 0), num_samples - length)
    return Stretch(
        start=start,
        end=start + length,
        segment_index=segment_index,
        channels=default_channels(sorted_recording, selected, first_row=first_row),
        num_columns=num_columns,
        hidden_units=tuple(hidden_units),
    )
