"""Claims about gaps: what fills them, wherever chunks end, and what a filter makes of their edges."""

import numpy as np
import pytest
import spikeinterface as si
from hypothesis import given
from hypothesis import strategies as st
from spikeinterface.preprocessing import bandpass_filter

from si_crsae.sorting.signal.gaps import fill_gaps, find_constant_runs

RATE_HZ = 30000.0
FADE = 150  # samples


def make_traces(num_samples=12000, num_channels=3, *, offset=0.0, scale=50.0, dtype="float32"):
    noise = np.random.default_rng(0).standard_normal((num_samples, num_channels))
    return (offset + scale * noise).astype(dtype)


def filled(traces, **slices):
    return fill_gaps(si.NumpyRecording([traces], RATE_HZ), seed=0).get_traces(**slices)


@given(
    bounds=st.lists(st.integers(0, 400), min_size=0, max_size=6, unique=True),
    shortest=st.integers(2, 40),
    seed=st.integers(0, 100),
)
def test_constant_runs_are_those_that_a_plain_search_finds(bounds, shortest, seed):
    traces = np.random.default_rng(seed).integers(0, 3, (400, 2))
    for start, end in zip(sorted(bounds)[::2], sorted(bounds)[1::2], strict=False):
        traces[start:end, 1] = 7
    expected = []
    for channel in range(2):
        start = 0
        for sample in range(1, 401):
            if sample == 400 or traces[sample, channel] != traces[start, channel]:
                if sample - start >= shortest:
                    expected.append((channel, start, sample))
                start = sample
    assert find_constant_runs(traces, shortest) == expected


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
def test_traces_without_gaps_stay_as_they_are(dtype):
    traces = make_traces(offset=1000.0, dtype=dtype)
    np.testing.assert_array_equal(filled(traces), traces)
    assert filled(traces).dtype == traces.dtype


def test_a_gap_fades_from_its_sides_to_the_median_of_the_channel():
    traces = make_traces(offset=32768.0, dtype="uint16")
    traces[5000:6000, 1] = 0
    result = filled(traces).astype("float64")
    median = np.median(np.delete(traces[:, 1], slice(5000, 6000)))
    assert np.abs(result[5000 + FADE : 6000 - FADE, 1] - median).max() <= 5  # the median comes from a sample
    assert abs(result[5000, 1] - traces[4999, 1]) <= 1
    assert abs(result[5999, 1] - traces[6000, 1]) <= 1
    np.testing.assert_array_equal(np.delete(result, slice(5000, 6000), axis=0), np.delete(traces, slice(5000, 6000), 0))


@given(start=st.integers(0, 11900), length=st.integers(1, 3000))
def test_what_a_chunk_holds_does_not_depend_on_where_it_ends(start, length):
    traces = make_traces()
    for first, last in ((0, 700), (3000, 3040), (5000, 9000), (11500, 12000)):
        traces[first:last, :2] = 0
    recording = fill_gaps(si.NumpyRecording([traces], RATE_HZ), seed=0)
    end = min(start + length, 12000)
    part = recording.get_traces(start_frame=start, end_frame=end, channel_ids=[1, 2])
    np.testing.assert_array_equal(part, recording.get_traces()[start:end, 1:])


def test_the_edges_of_a_blanked_artifact_do_not_ring():
    traces = make_traces(offset=32768.0, dtype="uint16")
    traces[5000:5600] = 0
    ringing, quiet = (
        np.abs(bandpass_filter(recording, freq_min=150.0, freq_max=7000.0, dtype="float32").get_traces()).max()
        for recording in (
            si.NumpyRecording([traces], RATE_HZ),
            fill_gaps(si.NumpyRecording([traces], RATE_HZ), seed=0),
        )
    )
    assert ringing > 10000
    assert quiet < 6 * 50


def test_a_saved_description_makes_the_same_traces_again(tmp_path):
    traces = make_traces()
    traces[5000:6000] = 0
    saved = si.NumpyRecording([traces], RATE_HZ).save(folder=tmp_path / "recording", progress_bar=False)
    recording = fill_gaps(saved, seed=0)
    recording.dump_to_json(tmp_path / "filled.json")
    np.testing.assert_array_equal(si.load(tmp_path / "filled.json").get_traces(), recording.get_traces())
