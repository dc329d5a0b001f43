"""Claims about channels that are none: found by what they are, and the others left in."""

import warnings

import numpy as np
import pytest
import spikeinterface as si
from probeinterface import generate_linear_probe

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.signal.channels import find_bad_channels, own_variances

RATE_HZ = 30000.0


def make_noise(num_samples=60000, num_channels=4, seed=0):
    return np.random.default_rng(seed).standard_normal((num_samples, num_channels)).astype("float32")


def make_recording(*segments):
    recording = si.NumpyRecording(list(segments), RATE_HZ)
    probe = generate_linear_probe(recording.get_num_channels(), ypitch=20)
    probe.set_device_channel_indices(np.arange(recording.get_num_channels()))
    recording.set_probe(probe)
    return recording


def defects_of(recording):
    """The bad channels by defect, those defects that there are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bad = find_bad_channels(recording, CrsaeConfig())
    names = ("dead", "digital", "saturated", "duplicated", "dependent")
    return {name: getattr(bad, name) for name in names if getattr(bad, name)}


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_constant_and_repeated_channels_are_found_and_named(dtype):
    noise = (100 * make_noise(num_channels=6)).astype(dtype)
    noise[:, 1], noise[:, 3], noise[:, 4] = 7, noise[:, 0], 7
    recording = make_recording(noise).rename_channels(list("abcdef"))
    with pytest.warns(UserWarning, match="channels") as warned:
        bad = find_bad_channels(recording, CrsaeConfig())
    assert (bad.dead, bad.duplicated) == (("b", "e"), ("d",))
    assert bad.usable_mask(recording).tolist() == [True, False, True, False, False, True]
    assert [str(warning.message).split(":")[0] for warning in warned] == [
        "channels ['b', 'e'] are constant",
        "channels ['d'] are copies of an earlier channel",
    ]


def test_good_channels_give_no_warning():
    recording = make_recording(make_noise(), make_noise(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_bad_channels(recording, CrsaeConfig()).usable_mask(recording).all()


@pytest.mark.parametrize("jitter", [0.0, 20.0])
def test_a_sync_line_is_no_channel(jitter):
    line = np.arange(60000) // 5000 % 2 * 3000 + jitter * make_noise(num_channels=1, seed=1)[:, 0]
    traces = np.column_stack([5 * make_noise(), line]).astype("float32")
    assert defects_of(make_recording(traces)) == {"digital": (4,)}


def test_an_artifact_makes_no_sync_line():
    traces = make_noise()
    traces[30000:30030] = 10000.0
    assert defects_of(make_recording(traces)) == {}


@pytest.mark.parametrize("size", [1e3, 1e5])
def test_artifacts_on_all_channels_make_no_copies(size):
    traces = make_noise()
    traces[30000:30300] += size
    assert defects_of(make_recording(traces)) == {}


def test_a_channel_that_is_stuck_most_of_the_time_is_left_out_and_one_that_clips_is_not():
    traces = (1000 * make_noise()).astype("int16")
    traces[:40000, 1] = 32767
    traces[:, 2] = np.clip(traces[:, 2], -2000, 2000)
    assert defects_of(make_recording(traces)) == {"saturated": (1,)}


@pytest.mark.parametrize("factor", [1.0, -0.5, 3.0])
def test_near_copies_are_found_whatever_their_gain(factor):
    traces = make_noise()
    copy = factor * traces[:, 1] + 0.01 * make_noise(num_channels=1, seed=1)[:, 0]
    assert defects_of(make_recording(np.column_stack([traces, copy]).astype("float32"))) == {"duplicated": (4,)}


def test_channels_that_share_most_of_their_noise_are_no_copies():
    shared, own = make_noise(num_channels=1, seed=1), make_noise()
    assert defects_of(make_recording(shared + 0.2 * own)) == {}


@pytest.mark.parametrize(("dtype", "scale"), [("float32", 1.0), ("int16", 25.0)])
def test_an_average_reference_costs_one_channel(dtype, scale):
    traces = np.round(scale * make_noise(num_channels=8)) if dtype == "int16" else scale * make_noise(num_channels=8)
    referenced = (traces - np.round(traces.mean(axis=1, keepdims=True))).astype(dtype)
    if dtype == "float32":
        referenced = traces - traces.mean(axis=1, keepdims=True)
    assert defects_of(make_recording(referenced)) == {"dependent": (7,)}


def test_of_two_channels_after_an_average_reference_one_is_left():
    traces = make_noise(num_channels=2)
    assert defects_of(make_recording(traces - traces.mean(axis=1, keepdims=True))) == {"duplicated": (1,)}


def test_what_a_channel_has_of_its_own_is_what_regression_on_the_earlier_ones_leaves():
    mixing = np.random.default_rng(1).standard_normal((5, 5))
    traces = make_noise(num_channels=5).astype("float64") @ mixing
    centered = traces - traces.mean(axis=0)
    expected = [1.0]
    for channel in range(1, 5):
        fit, *_ = np.linalg.lstsq(centered[:, :channel], centered[:, channel], rcond=None)
        expected.append((centered[:, channel] - centered[:, :channel] @ fit).var() / centered[:, channel].var())
    np.testing.assert_allclose(own_variances(traces, np.full(5, 1e-3)), expected, atol=1e-9)


def test_a_channel_that_is_silent_at_first_is_not_dead():
    noise = make_noise(10 * 30000)
    noise[: 5 * 30000, 2] = 0
    assert defects_of(make_recording(noise)) == {}


def test_bad_channels_are_looked_for_where_a_very_short_segment_stands_among_others():
    noise = make_noise(15000)
    noise[: len(noise) // 2, 1] = 0
    assert defects_of(make_recording(noise, np.zeros((0, 4), "float32"), make_noise(1))) == {}
