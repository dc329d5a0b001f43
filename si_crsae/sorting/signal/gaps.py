"""Constant runs in raw traces, filled before any filter sees their edges.

Padded gaps, blanked artifacts and channels that are switched off for a while are constant. The step from there to the
traces rings through a filter like a spike, the more so where zero is not the middle of the range, as in unsigned data.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped
from spikeinterface.core import BaseRecording, BaseRecordingSegment
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.convert import nearest_samples
from si_crsae.sorting.signal.sampling import draw_traces

# Places within the shortest run that are compared first: equal ones are rare where there is a signal.
_STEPS_PER_RUN = 5


class GapsFilledRecording(BasePreprocessor):
    """A recording whose constant runs fade to the baseline of their channel, without steps at their ends.

    Traces without such runs are left as they are, to the last bit. What a chunk holds does not depend on its bounds.

    Parameters
    ----------
    recording : BaseRecording
        Any data type.
    baselines : list of float, shape (channel,), optional
        Median of every channel, in the unit of the traces; measured if left out.
    seed : int, default: 0
        Chooses the samples behind the medians.
    """

    def __init__(self, recording: BaseRecording, baselines: list[float] | None = None, seed: int = 0) -> None:
        BasePreprocessor.__init__(self, recording)
        if baselines is None:
            baselines = _measure_baselines(recording, seed).tolist()
        assumed = ASSUMED.recordings
        shortest, fade = (
            max(nearest_samples(duration_ms, recording.sampling_frequency), 2)
            for duration_ms in (assumed.min_gap_ms, assumed.fade_ms)
        )
        for segment in recording.segments:
            self.add_recording_segment(_GapsFilledSegment(segment, np.asarray(baselines), shortest=shortest, fade=fade))
        self._kwargs = {"recording": recording, "baselines": baselines, "seed": seed}


class _GapsFilledSegment(BasePreprocessorSegment):
    def __init__(
        self,
        parent_segment: BaseRecordingSegment,
        baselines: Float[np.ndarray, " channel"],
        *,
        shortest: int,
        fade: int,
    ) -> None:
        BasePreprocessorSegment.__init__(self, parent_segment)
        self.baselines, self.shortest, self.fade = baselines, shortest, fade

    def get_traces(
        self,
        start_frame: int | None = None,
        end_frame: int | None = None,
        channel_indices: Any = None,
    ) -> Shaped[np.ndarray, "sample channel"]:
        """Return the traces between two samples, their constant runs filled."""
        num_samples = self.get_num_samples()
        start = 0 if start_frame is None else start_frame
        end = num_samples if end_frame is None else end_frame
        margin = self.shortest + self.fade
        first, last = max(start - margin, 0), min(end + margin, num_samples)
        selected = slice(None) if channel_indices is None else channel_indices
        traces = self.parent_recording_segment.get_traces(first, last, selected)
        inner = slice(start - first, end - first)
        runs = find_constant_runs(traces, self.shortest)
        if not runs:
            return traces[inner]
        filled, baselines = traces.copy(), self.baselines[selected]
        for channel, begin, stop in runs:
            filled[begin:stop, channel] = _fade(
                traces[:, channel], begin, stop, baseline=baselines[channel], length=self.fade
            )
        return filled[inner]


def fill_gaps(recording: BaseRecording, *, seed: int) -> BaseRecording:
    """Return the recording with its constant runs filled, computed as it is read: see `GapsFilledRecording`."""
    return GapsFilledRecording(recording, seed=seed)


def find_constant_runs(traces: Shaped[np.ndarray, "sample channel"], shortest: int) -> list[tuple[int, int, int]]:
    """Return (channel, first sample, sample after the last) of every stretch at one value.

    Parameters
    ----------
    traces : ndarray, shape (sample, channel)
    shortest : int
        Samples of the shortest stretch that counts, at least 2.
    """
    runs = []
    for channel in np.flatnonzero(_may_hold_runs(traces, shortest)).tolist():
        changes = np.flatnonzero(traces[1:, channel] != traces[:-1, channel]) + 1
        bounds = np.concatenate([[0], changes, [len(traces)]])
        for index in np.flatnonzero(np.diff(bounds) >= shortest).tolist():
            runs.append((channel, int(bounds[index]), int(bounds[index + 1])))
    return runs


def _may_hold_runs(traces: Shaped[np.ndarray, "sample channel"], shortest: int) -> Bool[np.ndarray, " channel"]:
    """Return which channels have equal values at as many steps as every run spans: few of the samples tell."""
    step = max(shortest // _STEPS_PER_RUN, 1)
    num_equal = max((shortest - 1) // step, 1)
    coarse = traces[::step]
    equal = coarse[1:] == coarse[:-1]
    if len(equal) < num_equal:
        return np.zeros(traces.shape[1], bool)
    together = equal[: len(equal) - num_equal + 1].copy()
    for later in range(1, num_equal):
        together &= equal[later : len(equal) - num_equal + 1 + later]
    return together.any(axis=0)


def _fade(
    traces: Shaped[np.ndarray, " sample"], begin: int, stop: int, *, baseline: float, length: int
) -> Float[np.ndarray, " gap"]:
    """Return what fills a gap: the values on its two sides, each fading to the baseline over a length."""
    reach = min(length, stop - begin)
    filled = np.full(stop - begin, baseline, "float64")
    weights = (1 + np.cos(np.pi * np.arange(1, reach + 1) / (reach + 1))) / 2
    if begin > 0:
        filled[:reach] += (float(traces[begin - 1]) - baseline) * weights
    if stop < len(traces):
        filled[-reach:] += (float(traces[stop]) - baseline) * weights[::-1]
    return filled if traces.dtype.kind == "f" else np.rint(filled)


def _measure_baselines(recording: BaseRecording, seed: int) -> Float[np.ndarray, " channel"]:
    """Return the median of every channel where it is not constant; of a constant one its value."""
    traces = draw_traces(recording, seed=seed)
    changes = np.ones(traces.shape, bool)
    changes[1:] = traces[1:] != traces[:-1]
    return np.array([np.median(values[moving]) for values, moving in zip(traces.T, changes.T, strict=True)], "float64")
