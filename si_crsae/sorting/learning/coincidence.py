"""What the times of two units say of them: one neuron, a neuron and a part of its waveform, or strangers."""

from typing import Protocol

import numpy as np
from jaxtyping import Bool, Int

from si_crsae.sorting.convert import nearest_samples


class Timed(Protocol):
    """Anything with the times of events: a unit, the code of an atom."""

    @property
    def segment_index(self) -> Int[np.ndarray, " event"]:
        """Segment of each event."""
        ...

    @property
    def sample_index(self) -> Int[np.ndarray, " event"]:
        """Sample of each event in its segment."""
        ...


def times_in_segment(events: Timed, segment: int) -> Int[np.ndarray, " event"]:
    """Return the samples of the events of one segment, in order."""
    return np.sort(events.sample_index[events.segment_index == segment])


def count_close_pairs(
    first: Timed, second: Timed, *, window_ms: tuple[float, float], sampling_frequency: float
) -> tuple[int, float]:
    """Return how many pairs of events are as far apart as the window says, and how many chance would make of them.

    Either may come first. Chance takes the mean rates over what the two span together in each segment.
    """
    low, high = (nearest_samples(edge, sampling_frequency) for edge in window_ms)
    found, expected = 0, 0.0
    for segment in np.intersect1d(first.segment_index, second.segment_index):
        one, two = times_in_segment(first, segment), times_in_segment(second, segment)
        edges = np.stack([one - high, one - low, one + low, one + high])
        before, near_before, near_after, after = np.searchsorted(two, edges)
        found += int(np.sum(near_before - before) + np.sum(after - near_after))
        span = max(one[-1], two[-1]) - min(one[0], two[0]) + 1
        expected += one.size * two.size * 2 * (high - low) / span
    return found, expected


def close_pairs(
    first: Int[np.ndarray, " event"], second: Int[np.ndarray, " other"], max_distance: int
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """Return the indices of all pairs of samples that are no farther apart; the second ones are in order."""
    begin, end = (np.searchsorted(second, first + edge) for edge in (-max_distance, max_distance + 1))
    counts = end - begin
    position = np.arange(counts.sum()) + np.repeat(begin - np.cumsum(counts) + counts, counts)
    return np.repeat(np.arange(first.size), counts), position


def are_accompanied(first: Timed, second: Timed, *, lags: tuple[int, int]) -> Bool[np.ndarray, " event"]:
    """Tell which of the first one's events have one of the second so many samples later, both bounds included."""
    accompanied = np.zeros(first.sample_index.size, bool)
    for segment in np.intersect1d(first.segment_index, second.segment_index):
        mine = first.segment_index == segment
        one, two = first.sample_index[mine], times_in_segment(second, segment)
        accompanied[mine] = np.searchsorted(two, one + lags[1], "right") > np.searchsorted(two, one + lags[0])
    return accompanied


def steady_fraction(first: Timed, second: Timed, *, max_lag: int, jitter: int) -> float:
    """Return the fraction of the first one's events that have one of the second at the commonest lag, give or take."""
    if first.sample_index.size == 0:
        return 0.0
    lags = range(jitter - max_lag, max_lag - jitter + 1)
    return max(float(are_accompanied(first, second, lags=(lag - jitter, lag + jitter)).mean()) for lag in lags)


def excess_fraction(first: Timed, second: Timed, *, near: tuple[int, int], far: int) -> float:
    """Return the fraction of the first one's events that have one of the second near them, beyond what chance makes.

    Near is from so many samples to so many, either way. Chance is told by the lags from there to `far` samples: bursts
    that both join raise it there as well.
    """
    if first.sample_index.size == 0:
        return 0.0

    def alone(start: int, end: int) -> float:
        beside = are_accompanied(first, second, lags=(-end, -start)) | are_accompanied(first, second, lags=(start, end))
        return max(1 - beside.mean(), 1 / first.sample_index.size)

    start, end = near
    by_chance = 1 - alone(end + 1, far) ** ((end - start + 1) / (far - end))
    return float(1 - alone(start, end) - by_chance)


def count_in_bins(events: Timed, *, bin_size: int, num_samples: list[int]) -> Int[np.ndarray, " bin"]:
    """Return the number of events in the consecutive whole bins of all segments (`num_samples`, one of each)."""
    segments = [
        np.histogram(times_in_segment(events, segment), np.arange(0, length + 1, bin_size))[0]
        for segment, length in enumerate(num_samples)
        if length >= bin_size
    ]
    return np.concatenate(segments) if segments else np.zeros(0, "int64")


def presence_score(first_counts: Int[np.ndarray, " bin"], second_counts: Int[np.ndarray, " bin"]) -> float:
    """Return how two units' counts vary together over time, in standard deviations; negative is by turns.

    Fisher's z of their correlation; 0 where there is nothing to tell.
    """
    if first_counts.size <= 3 or np.ptp(first_counts) == 0 or np.ptp(second_counts) == 0:
        return 0.0
    correlation = np.clip(np.corrcoef(first_counts, second_counts)[0, 1], -0.999, 0.999)
    return float(np.arctanh(correlation) * np.sqrt(first_counts.size - 3))
