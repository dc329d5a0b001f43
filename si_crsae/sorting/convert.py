"""Physical units to samples, and spikes to sortings, in one place."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting, get_channel_distances
from spikeinterface.core.numpyextractors import SpikeVectorSortingSegment

from si_crsae.config import CrsaeConfig

# What int() may take away from a product that is a whole number but for its rounding.
ROUNDING = 1e-9


def samples_in(duration_ms: float, sampling_frequency: float) -> float:
    """Return how many samples a duration (ms) takes at a sampling frequency (Hz), fractions included.

    Examples
    --------
    >>> samples_in(0.25, 30000.0), nearest_samples(0.25, 30000.0), whole_samples(0.25, 30000.0)
    (7.5, 8, 7)
    """
    return duration_ms * sampling_frequency / 1000


def nearest_samples(duration_ms: float, sampling_frequency: float) -> int:
    """Return the whole number of samples nearest to a duration (ms), as SpikeInterface rounds: for windows and lags."""
    return round(samples_in(duration_ms, sampling_frequency))


def whole_samples(duration_ms: float, sampling_frequency: float) -> int:
    """Return how many whole samples fit into a duration (ms): for tolerances that must not be exceeded."""
    return int(samples_in(duration_ms, sampling_frequency) + ROUNDING)


def channels_without_gain(recording: BaseRecording) -> list[int | str]:
    """Return the ids of channels, of a recording with gains, whose gain is zero, or whose gain or offset not finite."""
    if not recording.has_scaleable_traces():
        return []
    gains, offsets = recording.get_channel_gains(), recording.get_channel_offsets()
    return recording.channel_ids[~(np.isfinite(gains) & np.isfinite(offsets) & (gains != 0))].tolist()


def is_scalable(recording: BaseRecording) -> bool:
    """Return whether the traces of all channels can be told in uV."""
    return recording.has_scaleable_traces() and not channels_without_gain(recording)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateWindow:
    """Length of a template in samples.

    Parameters
    ----------
    num_before : int
        Samples before the peak.
    width : int
        Samples in all.
    """

    num_before: int
    width: int

    @classmethod
    def of(cls, recording: BaseRecording, config: CrsaeConfig) -> "TemplateWindow":
        """Return the window of `ms_before` and `ms_after` at the recording's sampling frequency."""
        return cls.of_rate(recording.sampling_frequency, config)

    @classmethod
    def of_rate(cls, sampling_frequency: float, config: CrsaeConfig) -> "TemplateWindow":
        """Return the window of `ms_before` and `ms_after` at a sampling frequency (Hz)."""
        num_before = nearest_samples(config.ms_before, sampling_frequency)
        return cls(num_before=num_before, width=num_before + nearest_samples(config.ms_after, sampling_frequency))


def with_num_before(config: CrsaeConfig, num_before: int, sampling_frequency: float) -> CrsaeConfig:
    """Return the configuration whose templates have so many samples before their peak."""
    return config.model_copy(update={"ms_before": 1000 * num_before / sampling_frequency})


def shared_channels(
    one: Int[np.ndarray, " local"], other: Int[np.ndarray, " local"]
) -> tuple[Int[np.ndarray, " shared"], Int[np.ndarray, " shared"]]:
    """Return where in two lists of channels, filled up with -1, those stand that are in both."""
    _, here, there = np.intersect1d(one, other, return_indices=True)
    is_channel = one[here] >= 0
    return here[is_channel], there[is_channel]


def local_channels(recording: BaseRecording, radius_um: float) -> np.ndarray:
    """Return the channels within a radius of each channel, nearest first, filled up with -1.

    Returns
    -------
    ndarray of int64, shape (channel, local)
    """
    distances = get_channel_distances(recording)
    order = np.argsort(distances, axis=1, kind="stable")
    near = np.take_along_axis(distances, order, axis=1) <= radius_um
    return np.where(near, order, -1)[:, : near.sum(axis=1).max()]


def with_all_segments(sorting: BaseSorting, num_segments: int) -> BaseSorting:
    """Return a sorting with as many segments as its recording, the last of which may have no spikes.

    SpikeInterface leaves out those after the last spike where it makes a sorting of spikes.
    """
    if sorting.get_num_segments() >= num_segments:
        return sorting
    spikes = sorting.to_spike_vector()
    complete = NumpySorting(spikes, sorting.sampling_frequency, sorting.unit_ids)
    for segment_index in range(complete.get_num_segments(), num_segments):
        complete.add_sorting_segment(SpikeVectorSortingSegment(spikes, segment_index, complete.unit_ids))
    sorting.copy_metadata(complete)
    return complete
