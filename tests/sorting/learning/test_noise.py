"""Claims about the noise that atoms see."""

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from simulated_units import NUM_CHANNELS, RATE_HZ, draw_times, make_dictionary, make_template, make_unit, smooth_basis
from spikeinterface.core import NumpyRecording

from si_crsae.core.types import Dictionary
from si_crsae.sorting.learning.noise import noise_of_atoms, sample_noise

NUM_SAMPLES = 300_000
PERSISTENCE = 0.6
BASIS = torch.from_numpy(smooth_basis())
TEMPLATES = [
    make_template((1.0, 0.6, 0.2, 0.1), norm=20),
    make_template((0.0, 0.0, 1.0, 0.0), norm=15, shape=(0.2, -1.0, 0.9)),
]


@pytest.fixture(scope="module")
def noise():
    """Noise (sample, channel) of standard deviation 1, each sample of which remembers the one before."""
    white = np.random.default_rng(0).standard_normal((NUM_SAMPLES, NUM_CHANNELS))
    return np.sqrt(1 - PERSISTENCE**2) * lfilter([1.0], [1.0, -PERSISTENCE], white, axis=0)


@pytest.fixture(scope="module")
def dictionary():
    return make_dictionary([make_unit(template, [], seed=0) for template in TEMPLATES])


def expected_noise(dictionary: Dictionary):
    """Return the standard deviation of the correlation of that noise with each atom, from its autocovariance."""
    atoms = dictionary.atoms.numpy().astype("float64")
    lags = np.arange(atoms.shape[2])
    covariance = PERSISTENCE ** np.abs(lags[:, None] - lags)
    return np.sqrt(np.einsum("acs,st,act->a", atoms, covariance, atoms))


def sampled(traces):
    return sample_noise(NumpyRecording(traces.astype("float32"), RATE_HZ), BASIS, seed=0)


def measured_noise(traces, dictionary):
    return noise_of_atoms(dictionary, sampled(traces))


def test_the_noise_of_an_atom_is_the_standard_deviation_of_its_correlation_with_colored_noise(noise, dictionary):
    expected = expected_noise(dictionary)
    assert expected.min() > 1.5  # colored: the noise of one sample would give 1
    np.testing.assert_allclose(measured_noise(noise, dictionary), expected, rtol=0.08)


def test_the_noise_of_white_noise_is_its_standard_deviation(dictionary):
    white = np.random.default_rng(1).standard_normal((NUM_SAMPLES, NUM_CHANNELS))
    np.testing.assert_allclose(measured_noise(2.5 * white, dictionary), 2.5, rtol=0.06)


def test_spikes_leave_the_noise_as_it_is(noise, dictionary):
    traces = noise.copy()
    for seed, template in enumerate(TEMPLATES):
        waveform = 3 * (template @ smooth_basis()).T
        for time in draw_times(seed, count=150):  # 15 Hz: more than most neurons
            traces[time : time + len(waveform)] += waveform
    np.testing.assert_allclose(measured_noise(traces, dictionary), measured_noise(noise, dictionary), rtol=0.06)
    correlation = np.einsum("rcq,acq->ra", sampled(traces), dictionary.weights.numpy())
    assert (correlation.std(axis=0) > 1.5 * expected_noise(dictionary)).all()  # which would have noticed them


def test_the_same_recording_has_the_same_noise(noise, dictionary):
    np.testing.assert_array_equal(measured_noise(noise, dictionary), measured_noise(noise, dictionary))


def test_noise_is_sampled_all_over_the_recording(noise, dictionary):
    """Half of the recording three times as loud: the noise is that of a mixture, not of either half."""
    louder = noise * np.where(np.arange(NUM_SAMPLES) < NUM_SAMPLES // 2, 1.0, 3.0)[:, None]
    ratio = measured_noise(louder, dictionary) / expected_noise(dictionary)
    assert ((ratio > 1.2) & (ratio < 2.5)).all()


def test_a_recording_shorter_than_a_tile_has_a_noise(noise, dictionary):
    found = measured_noise(noise[: int(RATE_HZ / 2)], dictionary)
    np.testing.assert_allclose(found, expected_noise(dictionary), rtol=0.2)


@pytest.mark.parametrize("silent", [slice(0, 240_000), "150 ms of each second"])
def test_silence_leaves_the_noise_as_it_is(noise, dictionary, silent):
    traces = noise.copy()
    if isinstance(silent, slice):
        traces[silent] = 0
    else:
        second, gap = int(RATE_HZ), int(0.15 * RATE_HZ)
        traces[: len(traces) // second * second].reshape(-1, second, 4)[:, :gap] = 0
    np.testing.assert_allclose(measured_noise(traces, dictionary), measured_noise(noise, dictionary), rtol=0.06)


def test_a_channel_that_is_off_for_a_while_leaves_the_noise_as_it_is(noise, dictionary):
    traces = noise.copy()
    traces[:200_000, 0] = 0
    np.testing.assert_allclose(measured_noise(traces, dictionary), measured_noise(noise, dictionary), rtol=0.1)


def test_noise_has_a_floor(dictionary, noise):
    assert measured_noise(np.zeros_like(noise), dictionary).tolist() == pytest.approx([0.1, 0.1])
