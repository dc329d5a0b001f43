"""Periods of a recording in which nothing is looked for, and the recording without what was recorded in them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped
from spikeinterface.core import BaseRecording, BaseRecordingSegment
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

from si_crsae.config import CrsaeConfig
from si_crsae.core.tables import concatenate_rows, no_rows, select_rows
from si_crsae.sorting.convert import nearest_samples
from si_crsae.sorting.signal.sampling import draw_slices

EXCLUDED_FILE = "excluded.npz"
# Of the slowest wave in the band: half a cosine that long has a thousandth of its height there.
FADE_PERIODS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludedPeriods:
    """Periods that are left out, in order, none overlapping another of its segment.

    Parameters
    ----------
    segment_index : ndarray of int64, shape (period,)
    start_sample, end_sample : ndarray of int64, shape (period,)
        First sample, and the one after the last.
    is_artifact : ndarray of bool, shape (period,)
        Whether it was found, rather than given.
    """

    segment_index: Int[np.ndarray, " period"] = field(default_factory=lambda: no_rows(0, dtype="int64"))
    start_sample: Int[np.ndarray, " period"] = field(default_factory=lambda: no_rows(0, dtype="int64"))
    end_sample: Int[np.ndarray, " period"] = field(default_factory=lambda: no_rows(0, dtype="int64"))
    is_artifact: Bool[np.ndarray, " period"] = field(default_factory=lambda: no_rows(0, dtype="bool"))

    def __len__(self) -> int:
        """Return the number of periods."""
        return self.start_sample.size

    @classmethod
    def of(cls, bounds: Sequence[tuple[int, int, int]], *, is_artifact: bool) -> "ExcludedPeriods":
        """Return the periods of (segment, first sample, sample after the last) in order, those that touch joined."""
        joined: list[list[int]] = []
        for segment, start, end in sorted(bounds):
            if joined and joined[-1][0] == segment and start <= joined[-1][2]:
                joined[-1][2] = max(joined[-1][2], end)
            else:
                joined.append([segment, start, end])
        columns = np.array(joined, "int64").reshape(-1, 3).T
        return cls(
            segment_index=columns[0],
            start_sample=columns[1],
            end_sample=columns[2],
            is_artifact=np.full(len(joined), is_artifact),
        )

    @classmethod
    def given(cls, recording: BaseRecording, config: CrsaeConfig) -> "ExcludedPeriods":
        """Return the periods that a user gives, as far as they lie within the recording."""
        bounds = []
        for segment, start, end in _in_samples(recording, config):
            start, end = max(start, 0), min(end, recording.get_num_samples(segment))
            if start < end:
                bounds.append((segment, start, end))
        return cls.of(bounds, is_artifact=False)

    def with_artifacts(self, found: "ExcludedPeriods") -> "ExcludedPeriods":
        """Return these and others that were found, one where they overlap: that one counts as given."""
        both = concatenate_rows([self, found], "period")
        every = self.of(both.bounds(), is_artifact=True)
        overlaps = [any(_overlap(one, other) for other in self.bounds()) for one in every.bounds()]
        return ExcludedPeriods(
            segment_index=every.segment_index,
            start_sample=every.start_sample,
            end_sample=every.end_sample,
            is_artifact=~np.array(overlaps, bool),
        )

    def bounds(self) -> list[tuple[int, int, int]]:
        """Return (segment, first sample, sample after the last) of every period."""
        columns = (self.segment_index, self.start_sample, self.end_sample)
        return list(zip(*(column.tolist() for column in columns), strict=True))

    def in_segments(self, segments: Int[np.ndarray, " segment"]) -> "ExcludedPeriods":
        """Return those of some segments of a recording, with the segments counted as they are selected."""
        position = np.full(max(int(self.segment_index.max(initial=-1)) + 1, int(segments.max(initial=-1)) + 1), -1)
        position[segments] = np.arange(segments.size)
        kept = select_rows(self, position[self.segment_index] >= 0, "period")
        return ExcludedPeriods(
            segment_index=position[kept.segment_index],
            start_sample=kept.start_sample,
            end_sample=kept.end_sample,
            is_artifact=kept.is_artifact,
        )

    def contain(
        self, segment_index: Int[np.ndarray, " event"], sample_index: Int[np.ndarray, " event"]
    ) -> Bool[np.ndarray, " event"]:
        """Return which events lie in a period."""
        inside = np.zeros(sample_index.size, bool)
        for segment in np.unique(self.segment_index):
            mine, here = self.segment_index == segment, segment_index == segment
            index = np.searchsorted(self.start_sample[mine], sample_index[here], side="right") - 1
            inside[here] = (index >= 0) & (sample_index[here] < self.end_sample[mine][np.maximum(index, 0)])
        return inside

    def nearest_outside(
        self, segment_index: Int[np.ndarray, " event"], sample_index: Int[np.ndarray, " event"]
    ) -> Int[np.ndarray, " event"]:
        """Return the samples of events, those in a period at the nearer of the two samples beside it.

        One before the segment's first sample does not count.
        """
        moved = sample_index.copy()
        for event in np.flatnonzero(self.contain(segment_index, sample_index)):
            mine = np.flatnonzero(self.segment_index == segment_index[event])
            period = mine[np.searchsorted(self.start_sample[mine], sample_index[event], side="right") - 1]
            before, after = self.start_sample[period] - 1, self.end_sample[period]
            is_nearer = sample_index[event] - before <= after - sample_index[event]
            moved[event] = before if before >= 0 and is_nearer else after
        return moved

    @property
    def num_samples(self) -> int:
        """Length of all periods together."""
        return int((self.end_sample - self.start_sample).sum())

    def duration_s(self, sampling_frequency: float) -> float:
        """Return how long all periods are together (s)."""
        return self.num_samples / sampling_frequency

    def kept_s(self, recording: BaseRecording) -> float:
        """Return how much of a recording they leave (s)."""
        return recording.get_total_duration() - self.duration_s(recording.sampling_frequency)


def period_problems(recording: BaseRecording, config: CrsaeConfig) -> Iterator[str]:
    """Yield what is wrong with the periods that a user gives, for this recording."""
    num_segments = recording.get_num_segments()
    for period in config.excluded_periods:
        segment = period["segment_index"]
        if segment is None and num_segments > 1:
            yield (
                f"excluded_periods name no segment, the recording has {num_segments}: give a list of pairs for each, "
                "[[(start, end), ...], ...]"
            )
            return
        if segment is not None and segment >= num_segments:
            yield f"excluded_periods: there is no segment {segment}, the recording has {num_segments}, counted from 0"
            return
    for (segment, start, end), period in zip(_in_samples(recording, config), config.excluded_periods, strict=True):
        num_samples = recording.get_num_samples(segment)
        if end <= 0 or start >= num_samples:
            bounds = ", ".join(f"{value:g}" for name, value in period.items() if name != "segment_index")
            first_s, last_s = (float(recording.sample_index_to_time(index, segment)) for index in (0, num_samples - 1))
            yield (
                f"excluded_periods: ({bounds}) is not in segment {segment}, of {num_samples} samples, from {first_s:g} "
                f"to {last_s:g} s: times are those of recording.get_times, in s"
            )
            return
    if config.excluded_periods and recording.get_total_samples():
        left_s = ExcludedPeriods.given(recording, config).kept_s(recording)
        if left_s <= 0:
            yield "excluded_periods leave nothing of the recording: leave some of them out"


def _in_samples(recording: BaseRecording, config: CrsaeConfig) -> Iterator[tuple[int, int, int]]:
    """Yield (segment, first sample, sample after the last) of the periods as they are given."""
    for period in config.excluded_periods:
        segment = period["segment_index"] or 0
        if "start_s" in period:
            edges = (recording.time_to_sample_index(period[name], segment) for name in ("start_s", "end_s"))
            start, end = (round(float(edge)) for edge in edges)
            yield segment, start, max(end, start + 1)
        else:
            yield segment, period["start_sample_index"], period["end_sample_index"]


def _overlap(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    return one[0] == other[0] and one[1] < other[2] and other[1] < one[2]


class PeriodsFilledRecording(BasePreprocessor):
    """A recording whose traces in some periods go from what is before them to what is after, by way of the baseline.

    Nothing of what was recorded there is left, and the way is so smooth that a high-pass filter hardly sees it. All
    other samples stay as they are. What a chunk holds does not depend on its bounds.

    Parameters
    ----------
    recording : BaseRecording
        Any data type.
    periods : list of (int, int, int)
        Segment, first sample and the one after the last, in order.
    fade_ms : float
        Time in which the value before a period becomes the baseline (ms).
    channel_ids : list, optional
        Channels that are filled; all if left out.
    baselines : list of float, shape (channel,), optional
        Median of every channel, in the unit of the traces; measured outside the periods if left out.
    seed : int, default: 0
        Chooses the samples behind the medians.
    """

    def __init__(
        self,
        recording: BaseRecording,
        periods: list[tuple[int, int, int]],
        fade_ms: float,
        channel_ids: list[Any] | None = None,
        baselines: list[float] | None = None,
        seed: int = 0,
    ) -> None:
        BasePreprocessor.__init__(self, recording)
        self.fade = max(nearest_samples(fade_ms, recording.sampling_frequency), 1)
        self.is_filled = np.isin(recording.channel_ids, recording.channel_ids if channel_ids is None else channel_ids)
        for index, segment in enumerate(recording.segments):
            mine = [(start, end) for segment_index, start, end in periods if segment_index == index]
            self.add_recording_segment(_PeriodsFilledSegment(segment, self, mine))
        self._kwargs = {
            "recording": recording,
            "periods": [tuple(period) for period in periods],
            "fade_ms": fade_ms,
            "channel_ids": channel_ids,
            "baselines": baselines,
            "seed": seed,
        }

    @cached_property
    def baselines(self) -> Shaped[np.ndarray, " channel"]:
        """Median of every channel outside the periods."""
        given = self._kwargs["baselines"]
        if given is not None:
            return np.asarray(given, "float64")
        recording, excluded = self._kwargs["recording"], ExcludedPeriods.of(self._kwargs["periods"], is_artifact=False)
        parts = []
        for segment, start, end in draw_slices(recording, seed=self._kwargs["seed"]):
            traces = recording.get_traces(segment_index=segment, start_frame=start, end_frame=end)
            samples = np.arange(start, end)
            parts.append(traces[~excluded.contain(np.full(samples.size, segment), samples)])
        kept = np.concatenate(parts)
        return np.median(kept, axis=0) if len(kept) else np.zeros(recording.get_num_channels())


class _PeriodsFilledSegment(BasePreprocessorSegment):
    def __init__(
        self, parent_segment: BaseRecordingSegment, recording: PeriodsFilledRecording, periods: list[tuple[int, int]]
    ) -> None:
        BasePreprocessorSegment.__init__(self, parent_segment)
        self.recording, self.periods = recording, periods
        self.ends = np.array([end for _, end in periods], "int64")

    def get_traces(
        self, start_frame: int | None = None, end_frame: int | None = None, channel_indices: Any = None
    ) -> Shaped[np.ndarray, "sample channel"]:
        """Return the traces between two samples, the periods in them filled."""
        start = 0 if start_frame is None else start_frame
        end = self.get_num_samples() if end_frame is None else end_frame
        selected = slice(None) if channel_indices is None else channel_indices
        traces = self.parent_recording_segment.get_traces(start, end, selected)
        is_filled = self.recording.is_filled[selected]
        first = int(np.searchsorted(self.ends, start, side="right"))
        filled = None
        for begin, stop in self.periods[first:]:
            if begin >= end:
                break
            filled = traces.copy() if filled is None else filled
            here = slice(max(begin, start) - start, min(stop, end) - start)
            values = self._fill(begin, stop, np.arange(max(begin, start), min(stop, end)), selected)
            values = values if traces.dtype.kind == "f" else np.rint(values)
            filled[here, is_filled] = values[:, is_filled].astype(traces.dtype)
        return traces if filled is None else filled

    def _fill(self, begin: int, stop: int, samples: np.ndarray, selected: Any) -> np.ndarray:
        """Return what fills some samples of a period: the values on its two sides, each fading to the baseline."""
        baselines = self.recording.baselines[selected]
        reach = min(self.recording.fade, stop - begin)
        values = np.broadcast_to(baselines, (samples.size, baselines.size)).astype("float64")
        for edge, distance in ((begin - 1, samples - begin + 1), (stop, stop - samples)):
            if not 0 <= edge < self.get_num_samples():
                continue
            value = self.parent_recording_segment.get_traces(edge, edge + 1, selected)[0].astype("float64")
            weight = np.where(distance <= reach, (1 + np.cos(np.pi * distance / (reach + 1))) / 2, 0)
            values += weight[:, None] * np.where(np.isfinite(value), value - baselines, 0)
        return values


def exclude(
    recording: BaseRecording, excluded: ExcludedPeriods, config: CrsaeConfig, *, channel_ids: list[Any] | None = None
) -> BaseRecording:
    """Return a raw recording without what was recorded in some periods; the recording itself where there is none.

    Values on either side of a period fade within three periods of the slowest wave that the filter lets through: what
    it makes of that is below noise.

    Parameters
    ----------
    recording : BaseRecording
    excluded : ExcludedPeriods
    config : CrsaeConfig
    channel_ids : list, optional
        Channels on which the periods are excluded; all if left out.
    """
    if len(excluded) == 0:
        return recording
    fade_ms = FADE_PERIODS * 1000 / config.freq_min
    return PeriodsFilledRecording(
        recording, excluded.bounds(), fade_ms=fade_ms, channel_ids=channel_ids, seed=config.seed
    )
