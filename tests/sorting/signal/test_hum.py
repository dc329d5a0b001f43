"""Hum of the mains in a recording: found, told, and gone when the advice is followed."""

import warnings

import numpy as np
import pytest
import spikeinterface.preprocessing as spre
from spikeinterface.core import NumpyRecording

from si_crsae.config import CrsaeConfig
from si_crsae.evaluation import generate_case
from si_crsae.sorting.checks import check_recording
from si_crsae.sorting.signal.hum import find_hum
from si_crsae.sorting.signal.preprocessing import filter_traces

MULTIPLES = {50.0: 1.0, 150.0: 0.3, 250.0: 0.1}


@pytest.fixture(scope="module")
def tetrode():
    """15 s of a tetrode with spikes, and its traces."""
    recording, _ = generate_case("tetrode", duration_s=15.0, seed=1)
    return recording, recording.get_traces(segment_index=0).astype("float32")


def with_hum(tetrode, size, *, frequency_shift=0.0):
    """Return the tetrode with hum of 50 Hz, of a size in the unit of the traces, the same on all channels."""
    recording, traces = tetrode
    times = np.arange(len(traces))[:, None] / recording.sampling_frequency
    hum = sum(size * share * np.sin(2 * np.pi * (base + frequency_shift) * times) for base, share in MULTIPLES.items())
    disturbed = NumpyRecording([(traces + hum).astype("float32")], recording.sampling_frequency)
    disturbed.set_probe(recording.get_probe())
    return disturbed


def hum_of(recording):
    return find_hum(filter_traces(recording, CrsaeConfig()), seed=0)


def test_spikes_are_no_hum(tetrode):
    assert hum_of(with_hum(tetrode, 0.0)).size_to_noise == 0


@pytest.mark.parametrize("frequency_shift", [0.0, 0.3])
def test_hum_is_measured_in_noise(tetrode, frequency_shift):
    """Twice the hum is twice as large; 0.3 Hz beside a whole frequency loses little of it."""
    small, large = (hum_of(with_hum(tetrode, size, frequency_shift=frequency_shift)) for size in (5000.0, 10000.0))
    assert set(MULTIPLES) <= set(large.frequencies_hz)
    assert large.size_to_noise == pytest.approx(2 * small.size_to_noise, rel=0.05)
    centered = hum_of(with_hum(tetrode, 10000.0))
    assert large.size_to_noise == pytest.approx(centered.size_to_noise, rel=0.1)


def test_large_hum_is_told_with_a_filter_that_takes_it_out(tetrode):
    recording = with_hum(tetrode, 20000.0)
    with pytest.warns(UserWarning, match="hum is left after the filter") as told:
        check_recording(recording, CrsaeConfig())
    for frequency in hum_of(recording).frequencies_hz:
        assert f"{frequency:g}" in str(told[0].message)
        recording = spre.notch_filter(recording, freq=frequency, q=frequency / 5)
    assert hum_of(recording).size_to_noise < 0.3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_recording(recording, CrsaeConfig())


def test_too_short_a_recording_has_none():
    assert hum_of(NumpyRecording([np.zeros((9000, 2), "float32")], 30000.0)).frequencies_hz.size == 0
