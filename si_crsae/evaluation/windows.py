"""Many short windows of lazily filtered traces, read at once: what a filter does to one window is a matrix."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int
from numpy.lib.stride_tricks import sliding_window_view
from spikeinterface.core import BaseRecording, ChannelSliceRecording, NumpyRecording
from spikeinterface.core.channelsaggregationrecording import ChannelsAggregationRecording
from spikeinterface.preprocessing.common_reference import CommonReferenceRecording
from spikeinterface.preprocessing.filter import BandpassFilterRecording
from spikeinterface.preprocessing.normalize_scale import ScaleRecording
from spikeinterface.preprocessing.whiten import WhitenRecording

from si_crsae.sorting.whitening import ReadWholeRecording

# Of float32, held while windows are filtered.
BATCH_BYTES = 64 * 2**20
# What a filter remembers of a sample, in shares of what it makes of it: margins of a filter are longer than that.
NEGLIGIBLE = 1e-7
# Steps that look at one sample at a time.
POINTWISE = (CommonReferenceRecording, ScaleRecording, WhitenRecording)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowReader:
    """Windows of a recording that is filtered and then changed sample by sample, as SpikeInterface would give them.

    SpikeInterface filters each window by itself, in milliseconds. A filter is linear, so that one product of matrices
    filters thousands of windows.

    Parameters
    ----------
    source : BaseRecording
        What is filtered.
    response : ndarray of float32, shape (sample, wide)
        What the filter makes of a window with its margins.
    margin : int
        Samples on each side.
    steps : tuple of BaseRecording
        What follows the filter, in this order.
    channel_ids : ndarray, shape (channel,)
        Which channels are wanted.
    """

    source: BaseRecording
    response: Float[np.ndarray, "sample wide"]
    margin: int
    steps: tuple[BaseRecording, ...]
    channel_ids: np.ndarray

    @classmethod
    def of(cls, recording: BaseRecording, channel_ids: np.ndarray, width: int) -> "WindowReader | None":
        """Return a reader of windows of so many samples; None for a recording that is made in another way."""
        part, steps = _part_with(recording, channel_ids), []
        while isinstance(part, POINTWISE):
            steps.append(part)
            part = cast(BaseRecording, part.get_parent())
        if not isinstance(part, BandpassFilterRecording):
            return None
        response = _response(part, int(part.margin_samples), width)
        return cls(
            source=cast(BaseRecording, part.get_parent()),
            response=response,
            margin=(response.shape[1] - width) // 2,
            steps=tuple(reversed(steps)),
            channel_ids=channel_ids,
        )

    def read(
        self, segment_index: int, starts: Int[np.ndarray, " window"]
    ) -> Float[np.ndarray, "window sample channel"]:
        """Return windows from their first samples on; with their margins they must lie within the segment."""
        width, wide = self.response.shape
        windows = np.empty((wide, starts.size, self.source.get_num_channels()), "float32")
        for place, start in enumerate((starts - self.margin).tolist()):
            windows[:, place] = self.source.get_traces(
                segment_index=segment_index, start_frame=start, end_frame=start + wide
            )
        windows -= windows[wide // 2]  # of which the filter leaves nothing, but rounding would
        # One product for all windows: many small ones wait for busy cores, each for itself.
        filtered = self.response @ windows.reshape(wide, -1)
        made = self._after(filtered.reshape(width * starts.size, -1))
        return made.reshape(width, starts.size, -1).swapaxes(0, 1)

    def _after(self, filtered: Float[np.ndarray, "sample channel"]) -> Float[np.ndarray, "sample channel"]:
        """Return what the steps after the filter make of its samples, on the wanted channels."""
        made: Any = NumpyRecording([filtered], self.source.sampling_frequency, channel_ids=self.source.channel_ids)
        for step in self.steps:
            made = type(step)(**{**step._kwargs, "recording": made})
        return made.get_traces(channel_ids=self.channel_ids)


def read_windows(
    recording: BaseRecording,
    segment_index: int,
    starts: Int[np.ndarray, " window"],
    channel_ids: np.ndarray,
    width: int,
) -> Iterator[Float[np.ndarray, "window sample channel"]]:
    """Yield windows of some channels, as many at a time as memory should hold, in their order.

    Parameters
    ----------
    recording : BaseRecording
    segment_index : int
    starts : ndarray of int64, shape (window,)
        First samples; all windows lie within the segment.
    channel_ids : ndarray, shape (channel,)
    width : int
        Samples of a window.
    """
    reader = WindowReader.of(recording, channel_ids, width)
    margin = 0 if reader is None else reader.margin
    at_once = max(BATCH_BYTES // (4 * (width + 2 * margin) * recording.get_num_channels()), 1)
    num_samples = recording.get_num_samples(segment_index)
    for first in range(0, starts.size, at_once):
        batch = starts[first : first + at_once]
        is_inner = (batch >= margin) & (batch + width + margin <= num_samples)
        values = np.empty((batch.size, width, len(channel_ids)), "float32")
        for row in np.flatnonzero(~is_inner if reader else is_inner | ~is_inner).tolist():
            start = int(batch[row])
            values[row] = recording.get_traces(
                segment_index=segment_index, start_frame=start, end_frame=start + width, channel_ids=channel_ids
            )
        if reader is not None and is_inner.any():
            values[is_inner] = reader.read(segment_index, batch[is_inner])
        yield values


def _part_with(recording: BaseRecording, channel_ids: np.ndarray) -> BaseRecording | None:
    """Return the part that holds some channels, of a recording that was joined of groups."""
    while isinstance(recording, (ChannelSliceRecording, ReadWholeRecording)):
        recording = cast(BaseRecording, recording.get_parent())
    if not isinstance(recording, ChannelsAggregationRecording):
        return recording
    parts = [one for one in recording._recordings if np.isin(channel_ids, one.channel_ids).all()]
    return parts[0] if parts else None


def _response(filtered: BandpassFilterRecording, margin: int, width: int) -> Float[np.ndarray, "sample wide"]:
    """Return what a filter makes of a window with its margins, at each of its samples."""
    impulse = np.zeros((2 * margin + 1, 1))
    impulse[margin] = 1
    recording = NumpyRecording([impulse], filtered.sampling_frequency)
    answer = type(filtered)(**{**filtered._kwargs, "recording": recording, "dtype": "float64"}).get_traces()[:, 0]
    height = np.abs(answer)
    height = np.maximum(height, height[::-1])
    silent = int(np.argmax(height > NEGLIGIBLE * height.max()))
    answer = np.pad(answer[silent : answer.size - silent], width - 1)
    # A sample is answered by the impulse's answer, reversed, around it.
    shifted = sliding_window_view(answer[::-1], answer.size - width + 1)[::-1]
    return shifted.astype("float32", order="C")
