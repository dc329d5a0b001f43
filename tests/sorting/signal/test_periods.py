import re

import numpy as np
import pytest
import spikeinterface as si
from spikeinterface.preprocessing import bandpass_filter

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.signal.periods import ExcludedPeriods, PeriodsFilledRecording, exclude, period_problems

RATE_HZ = 30000.0


def noise(num_samples=30000, num_channels=2, dtype="float32", offset=0.0):
    values = offset + 10 * np.random.default_rng(0).standard_normal((num_samples, num_channels))
    return values.astype(dtype)


def of(*bounds, is_artifact=False):
    return ExcludedPeriods.of(list(bounds), is_artifact=is_artifact)


def test_periods_that_touch_are_joined_and_in_order():
    periods = of((1, 5, 9), (0, 20, 30), (0, 10, 20), (0, 12, 15), (1, 0, 4))
    assert periods.bounds() == [(0, 10, 30), (1, 0, 4), (1, 5, 9)]
    assert len(periods) == 3
    assert periods.num_samples == 28


def test_events_in_a_period_are_told_by_segment_and_sample():
    periods = of((0, 10, 20), (1, 0, 5))
    segment, sample = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([9, 10, 19, 20, 0, 5, 3])
    assert periods.contain(segment, sample).tolist() == [False, True, True, False, True, False, False]
    assert not ExcludedPeriods().contain(segment, sample).any()


def test_an_event_in_a_period_is_put_to_the_nearer_side_within_the_segment():
    periods = of((0, 10, 20), (1, 0, 5))
    segment, sample = np.array([0, 0, 0, 1, 0]), np.array([11, 18, 25, 1, 10])
    assert periods.nearest_outside(segment, sample).tolist() == [9, 20, 25, 5, 9]


def test_segments_that_are_left_out_take_their_periods_along():
    periods = of((0, 1, 2), (2, 3, 4), (3, 5, 6))
    assert periods.in_segments(np.array([1, 3])).bounds() == [(1, 5, 6)]
    assert len(ExcludedPeriods().in_segments(np.array([0, 1]))) == 0


def test_what_was_given_stays_given_where_an_artifact_overlaps_it():
    both = of((0, 10, 20)).with_artifacts(of((0, 15, 25), (0, 40, 50), is_artifact=True))
    assert both.bounds() == [(0, 10, 25), (0, 40, 50)]
    assert both.is_artifact.tolist() == [False, True]


def test_times_are_those_of_the_recording():
    recording = si.NumpyRecording([noise()], RATE_HZ, t_starts=[100.0])
    config = CrsaeConfig(excluded_periods=[(100.5, 100.6), (99.0, 100.1)])
    assert ExcludedPeriods.given(recording, config).bounds() == [(0, 0, 3000), (0, 15000, 18000)]


@pytest.mark.parametrize(
    ("periods", "problem"),
    [
        ([(500, 900)], r"\(500, 900\) is not in segment 0, of 30000 samples, from 0 to 0.99\d* s"),
        ([[(0, 0.1)], [(0, 0.1)]], "there is no segment 1, the recording has 1"),
        ([(-1, 5)], "excluded_periods leave nothing of the recording"),
    ],
)
def test_periods_that_do_not_fit_the_recording_are_problems(periods, problem):
    recording = si.NumpyRecording([noise()], RATE_HZ)
    (told,) = period_problems(recording, CrsaeConfig(excluded_periods=periods))
    assert re.search(problem, told)


def test_pairs_without_a_segment_are_a_problem_where_there_are_several():
    recording = si.NumpyRecording([noise(), noise()], RATE_HZ)
    (told,) = period_problems(recording, CrsaeConfig(excluded_periods=[(0, 0.1)]))
    assert "excluded_periods name no segment, the recording has 2: give a list of pairs for each" in told


@pytest.mark.parametrize("dtype", ["float32", "int16", "uint16"])
def test_only_the_periods_are_filled_whatever_the_chunks(dtype):
    traces = noise(dtype=dtype, offset=3000.0)
    recording = si.NumpyRecording([traces], RATE_HZ)
    filled = PeriodsFilledRecording(recording, [(0, 0, 400), (0, 5000, 5010), (0, 9000, 12000)], fade_ms=20.0)
    whole = filled.get_traces()
    assert whole.dtype == traces.dtype
    outside = np.ones(len(traces), bool)
    for start, end in ((0, 400), (5000, 5010), (9000, 12000)):
        outside[start:end] = False
    np.testing.assert_array_equal(whole[outside], traces[outside])
    assert np.abs(whole[9800:11200].astype(float) - 3000).max() < 3  # the baseline
    parts = [filled.get_traces(start_frame=at, end_frame=min(at + 777, 30000)) for at in range(0, 30000, 777)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(filled.get_traces(channel_ids=[1]), whole[:, [1]])


@pytest.mark.parametrize("spoil", [np.nan, np.inf, 1e30, 1e6])
def test_nothing_of_what_was_recorded_in_a_period_is_left(spoil):
    traces = noise()
    spoiled = traces.copy()
    spoiled[5000:6000] = spoil
    found = [
        PeriodsFilledRecording(si.NumpyRecording([each], RATE_HZ), [(0, 5000, 6000)], fade_ms=20.0).get_traces()
        for each in (traces, spoiled)
    ]
    np.testing.assert_array_equal(found[0], found[1])


def test_a_filter_sees_no_step_where_a_period_begins_and_ends():
    """Values of 2000 on one side, 100 times the noise, leave less than the noise in the band."""
    traces = np.zeros((30000, 1), "float32")
    traces[:9000] = 2000.0
    recording = si.NumpyRecording([traces], RATE_HZ)
    filled = exclude(recording, of((0, 9000, 12000)), CrsaeConfig())
    filtered = bandpass_filter(filled, freq_min=150.0, freq_max=7000.0, ftype="bessel", filter_order=2)
    assert np.abs(filtered.get_traces()[5000:25000]).max() < 10


def test_channels_that_are_not_named_stay():
    recording = si.NumpyRecording([noise()], RATE_HZ)
    filled = exclude(recording, of((0, 100, 200)), CrsaeConfig(), channel_ids=[1]).get_traces()
    np.testing.assert_array_equal(filled[:, 0], recording.get_traces()[:, 0])
    assert not np.array_equal(filled[100:200, 1], recording.get_traces()[100:200, 1])


def test_no_period_is_the_recording_itself():
    recording = si.NumpyRecording([noise()], RATE_HZ)
    assert exclude(recording, ExcludedPeriods(), CrsaeConfig()) is recording
