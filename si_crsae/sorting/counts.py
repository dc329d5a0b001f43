"""Spike counts around events: from a sorting to an array that the denoisers take."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from spikeinterface import BaseSorting


@dataclass(frozen=True, slots=True, kw_only=True)
class BinnedCounts:
    """Spikes of each unit, in bins of time around each of some events.

    Parameters
    ----------
    counts : array of int, shape (unit, trial, bin)
        One trial per event.
    unit_ids : tuple
        As in the sorting.
    bin_starts_s : array of float, shape (bin,)
        Relative to the event (s).
    bin_s : float
        Length of a bin (s).
    """

    counts: np.ndarray
    unit_ids: tuple[Any, ...]
    bin_starts_s: np.ndarray
    bin_s: float


def bin_spikes(
    sorting: BaseSorting,
    event_times_s: ArrayLike,
    *,
    window_s: tuple[float, float] = (-0.5, 1.0),
    bin_s: float = 0.01,
    unit_ids: Sequence[Any] | None = None,
    segment_index: int = 0,
) -> BinnedCounts:
    """Return how often each unit fires in bins around each event.

    Parameters
    ----------
    sorting : BaseSorting
    event_times_s : array of float, shape (trial,)
        On the clock of the sorting's segment (s); windows may overlap.
    window_s : (float, float), default: (-0.5, 1.0)
        From when to when, relative to the event (s); a multiple of `bin_s` long.
    bin_s : float, default: 0.01
        Length of a bin (s).
    unit_ids : sequence, default: None
        If None, all units.
    segment_index : int, default: 0

    Returns
    -------
    BinnedCounts

    Raises
    ------
    ValueError
        If there is no event, a time is not finite, or window and bin do not fit.

    Examples
    --------
    >>> from spikeinterface import NumpySorting
    >>> sorting = NumpySorting.from_unit_dict([{"a": np.array([1010, 1015, 2030])}], sampling_frequency=1000.0)
    >>> bin_spikes(sorting, [1.0, 2.0], window_s=(0.0, 0.04), bin_s=0.02).counts.tolist()
    [[[2, 0], [0, 1]]]
    """
    events = np.asarray(event_times_s, dtype=float)
    if events.ndim != 1 or len(events) == 0:
        raise ValueError(f"event_times_s has shape {events.shape}: it must be a list of at least one time in seconds")
    if not np.isfinite(events).all():
        raise ValueError("event_times_s has NaN or infinite times: leave those events out")
    edges = _bin_edges(window_s, bin_s)
    chosen = tuple(sorting.unit_ids if unit_ids is None else unit_ids)
    unknown = sorted(set(map(str, chosen)) - set(map(str, sorting.unit_ids)))
    if unknown:
        raise ValueError(f"unit_ids has {', '.join(unknown)}: the sorting has {', '.join(map(str, sorting.unit_ids))}")
    counts = np.zeros((len(chosen), len(events), len(edges) - 1), dtype=np.int64)
    for unit_index, unit_id in enumerate(chosen):
        times = sorting.get_unit_spike_train(unit_id, segment_index=segment_index, return_times=True)
        # A spike on an edge belongs to the bin that starts there, in spite of rounding.
        before = np.searchsorted(times, events[:, None] + edges - bin_s * 1e-6)
        counts[unit_index] = np.diff(before, axis=1)
    return BinnedCounts(counts=counts, unit_ids=chosen, bin_starts_s=edges[:-1], bin_s=bin_s)


def _bin_edges(window_s: tuple[float, float], bin_s: float) -> np.ndarray:
    start, stop = window_s
    if not bin_s > 0:
        raise ValueError(f"bin_s = {bin_s}: it must be positive")
    num_bins = round((stop - start) / bin_s)
    if num_bins < 1 or abs(num_bins * bin_s - (stop - start)) > 1e-6 * bin_s * num_bins:
        raise ValueError(f"window_s = {window_s}: it must be one or more bins of bin_s = {bin_s} long")
    return start + bin_s * np.arange(num_bins + 1)
