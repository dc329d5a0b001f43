"""Claims about the peaks that the first templates are made of."""

import numpy as np
import pytest
from spikeinterface.core.base import base_peak_dtype

from si_crsae.sorting.learning.coincidence import close_pairs
from si_crsae.sorting.learning.initialization import are_dominated


def make_peaks(*peaks):
    """Return peaks of (segment, sample, channel, height)."""
    made = np.zeros(len(peaks), base_peak_dtype)
    for name, values in zip(
        ("segment_index", "sample_index", "channel_index", "amplitude"), zip(*peaks, strict=True), strict=True
    ):
        made[name] = values
    return made


NEAR = np.array([[True, True, False], [True, True, True], [False, True, True]])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0, 100, 0, -10.0), True),
        ((0, 160, 1, -10.0), True),
        ((0, 161, 0, -10.0), False),  # too far in time
        ((0, 100, 2, -10.0), False),  # too far in space
        ((1, 100, 0, -10.0), False),  # another segment
        ((0, 100, 0, -9.0), False),  # not large enough
    ],
)
def test_a_peak_is_dominated_by_a_larger_one_nearby(other, expected):
    crest = make_peaks((0, 100, 0, 12.0))
    dominated = are_dominated(crest, make_peaks(other), NEAR, max_distance=60, ratio=1.3)
    assert dominated.tolist() == [expected]


def test_nothing_dominates_where_there_is_nothing():
    crest, none = make_peaks((0, 100, 0, 12.0)), np.zeros(0, base_peak_dtype)
    assert are_dominated(crest, none, NEAR, max_distance=60, ratio=1.3).tolist() == [False]
    assert are_dominated(none, crest, NEAR, max_distance=60, ratio=1.3).size == 0


@pytest.mark.parametrize("max_distance", [0, 3, 50])
def test_close_pairs_are_those_of_a_plain_search(max_distance):
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 300, 80), np.sort(rng.integers(0, 300, 60))
    expected = {(i, j) for i in range(80) for j in range(60) if abs(first[i] - second[j]) <= max_distance}
    own, other = close_pairs(first, second, max_distance)
    assert set(zip(own.tolist(), other.tolist(), strict=True)) == expected
    assert own.size == len(expected)
