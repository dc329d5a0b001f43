"""Claims about samples of a recording: from all over it, and of its signal only."""

import numpy as np
import pytest
import spikeinterface as si
from hypothesis import given
from hypothesis import strategies as st

from si_crsae.sorting.signal.sampling import active_share, draw_slices, sample_traces

RATE_HZ = 10000.0


def make_recording(*segments):
    return si.NumpyRecording(list(segments), RATE_HZ)


def make_noise(num_samples=200_000, num_channels=3):
    return np.random.default_rng(0).normal(0, [1.0, 5.0, 20.0][:num_channels], (num_samples, num_channels))


@given(
    lengths=st.lists(st.integers(0, 5000), min_size=1, max_size=8).filter(any),
    num_slices=st.integers(1, 40),
    seed=st.integers(0, 50),
)
def test_slices_lie_in_their_segments_and_in_every_part_of_the_recording(lengths, num_slices, seed):
    recording = make_recording(*(np.zeros((length, 1)) for length in lengths))
    slices = draw_slices(recording, num_slices=num_slices, slice_s=0.01, seed=seed)
    assert all(0 <= start < end <= lengths[segment] and end - start <= 100 for segment, start, end in slices)
    assert len(slices) == max(min(sum(lengths) // 100, num_slices), 1)
    begins = np.sort([sum(lengths[:segment]) + start for segment, start, _ in slices])
    part = sum(lengths) / len(slices)
    assert np.abs(begins - part * np.arange(len(slices))).max() <= part + 100  # each begins in its own part


def test_slices_meet_what_is_periodic_as_often_as_it_happens():
    recording = make_recording(np.zeros((1000 * 10000, 1), "int8"))
    phases = np.array([start % 10000 for _, start, _ in draw_slices(recording, num_slices=800, seed=0)])
    assert abs(np.mean(phases < 1500) - 0.15) < 0.04


SILENCES = {
    "first part": lambda traces: traces[: int(0.8 * len(traces))].__imul__(0),
    "150 ms of each second": lambda traces: traces.reshape(-1, 10000, 3)[:, :1500].__imul__(0),
    "attenuated": lambda traces: traces[: int(0.6 * len(traces))].__imul__(0.1),
    "all but a twentieth": lambda traces: traces[: int(0.95 * len(traces))].__imul__(0),
    "a constant that is not zero": lambda traces: traces[: len(traces) // 2].__imul__(0).__iadd__(7),
}
SHARES = dict(zip(SILENCES, (0.2, 0.85, 0.4, 0.05, 0.5), strict=True))


@pytest.mark.parametrize("silence", SILENCES)
def test_noise_is_that_of_the_signal_whatever_is_silent(silence):
    traces = make_noise()
    SILENCES[silence](traces)
    sample = sample_traces(make_recording(traces), seed=0)
    np.testing.assert_allclose(sample.noise_levels(), [1.0, 5.0, 20.0], rtol=0.05)
    assert sample.active_share == pytest.approx(SHARES[silence], abs=0.04)


def test_a_channel_that_is_off_for_a_while_has_the_noise_that_it_has_when_on():
    traces = make_noise()
    traces[:150_000, 1] = 0
    sample = sample_traces(make_recording(traces), seed=0)
    np.testing.assert_allclose(sample.noise_levels(), [1.0, 5.0, 20.0], rtol=0.05)
    assert sample.active_share == 1.0
    assert sample.fully_active_traces().shape[0] == pytest.approx(len(sample.traces) / 4, rel=0.1)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_artifacts_do_not_make_the_rest_seem_silent(share):
    traces = make_noise()
    traces[: int(share * len(traces))] *= 100
    sample = sample_traces(make_recording(traces), seed=0)
    assert sample.active_share == 1.0
    assert sample.noise_levels()[0] < 1.6


def test_noise_everywhere_is_no_silence():
    assert active_share(make_recording(make_noise()), seed=0) == 1.0


def test_a_signal_of_few_levels_is_no_silence():
    coarse = (np.random.default_rng(0).random((100_000, 2)) < 0.1).astype("int16")
    assert active_share(make_recording(coarse), seed=0) == 1.0
