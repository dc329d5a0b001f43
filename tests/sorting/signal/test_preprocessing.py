"""Claims about the traces that the sorter works on."""

import numpy as np
import pytest
from spikeinterface.core import NumpyRecording, generate_ground_truth_recording, generate_recording
from spikeinterface.sorters import run_sorter

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.signal.preprocessing import bandpass, preprocess

RATE_HZ = 30_000.0


def noise_of(traces):
    return np.median(np.abs(traces - np.median(traces, axis=0)), axis=0) / 0.6745


def recording_of(num_channels, *, shared=0.0, gains=1.0, rate_hz=RATE_HZ, seed=0):
    """Two seconds of white noise, some of it the same on all channels."""
    rng = np.random.default_rng(seed)
    num_samples = round(2 * rate_hz)
    traces = rng.standard_normal((num_samples, num_channels)) + shared * rng.standard_normal((num_samples, 1))
    recording = NumpyRecording([(gains * traces).astype("float32")], rate_hz)
    recording.set_probe(generate_recording(num_channels=num_channels, durations=[0.1]).get_probe())
    return recording


@pytest.mark.parametrize("num_channels", [1, 4])
def test_the_noise_of_every_channel_is_one_and_that_of_two_is_not_correlated(num_channels):
    gains = 10.0 ** np.arange(num_channels)
    recording = recording_of(num_channels, shared=1.0, gains=gains)
    found = preprocess(recording, CrsaeConfig()).get_traces()
    assert found.dtype == np.float32
    np.testing.assert_allclose(noise_of(found), 1.0, rtol=0.05)
    correlation = np.corrcoef(found.T).reshape(num_channels, num_channels)
    np.testing.assert_allclose(correlation, np.eye(num_channels), atol=0.05)


def test_without_preprocessing_traces_are_only_scaled():
    recording = recording_of(3, shared=1.0, gains=np.array([1.0, 20.0, 300.0]))
    traces = recording.get_traces()
    found = preprocess(recording, CrsaeConfig(apply_preprocessing=False)).get_traces()
    np.testing.assert_allclose(noise_of(found), 1.0, rtol=0.05)
    np.testing.assert_allclose(found / found[:1], traces / traces[:1], rtol=1e-3)


@pytest.mark.parametrize(("frequency_hz", "is_kept"), [(20.0, False), (1000.0, True), (12_000.0, False)])
def test_what_is_slower_or_faster_than_spikes_is_filtered_out(frequency_hz, is_kept):
    times_s = np.arange(30_000) / RATE_HZ
    sine = np.sin(2 * np.pi * frequency_hz * times_s)[:, None].astype("float32")
    found = bandpass(NumpyRecording([sine], RATE_HZ), CrsaeConfig()).get_traces()[3000:-3000]
    assert (found.std() > 0.6) if is_kept else (found.std() < 0.3)


def test_the_upper_end_of_the_band_is_lowered_for_slow_recordings():
    slow = recording_of(1, rate_hz=10_000.0)
    found = bandpass(slow, CrsaeConfig())
    lowered = CrsaeConfig(freq_max=ASSUMED.recordings.max_frequency_fraction * 10_000.0)
    np.testing.assert_array_equal(found.get_traces(), bandpass(slow, lowered).get_traces())


def test_a_lowered_band_is_told_once_in_a_run(tmp_path):
    slow, _ = generate_ground_truth_recording(
        durations=[4.0], sampling_frequency=10_000.0, num_channels=4, num_units=2, seed=0
    )
    slow = slow.save(folder=tmp_path / "recording", progress_bar=False)
    slow.set_property("group", [0, 0, 1, 1])
    run_sorter("crsae", slow, folder=tmp_path / "run", num_rounds=1)
    log = (tmp_path / "run" / "sorter_output" / "crsae.log").read_text(encoding="utf8")
    assert log.count("freq_max = 7000 Hz lowered to") == 1


@pytest.mark.parametrize(("choice", "is_referenced"), [("auto", True), ("yes", True), ("no", False)])
def test_many_channels_are_referenced_to_their_median(choice, is_referenced):
    many = recording_of(ASSUMED.recordings.min_channels_for_reference, shared=3.0)
    median = np.median(bandpass(many, CrsaeConfig(common_reference=choice)).get_traces(), axis=1)
    assert (np.abs(median).max() < 1e-5) == is_referenced
    few = recording_of(ASSUMED.recordings.min_channels_for_reference - 1, shared=3.0)
    median = np.median(bandpass(few, CrsaeConfig(common_reference=choice)).get_traces(), axis=1)
    assert (np.abs(median).max() < 1e-5) == (choice == "yes")
