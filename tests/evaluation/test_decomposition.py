from dataclasses import replace

import numpy as np
import pytest
import spikeinterface as si
from spikeinterface.core.base import minimum_spike_dtype

from si_crsae.core.operators.interpolation import WEIGHTS, split_offset
from si_crsae.evaluation.decomposition import decompose, densest_stretch, waveforms_of
from si_crsae.sorting.folder import load_units
from si_crsae.sorting.inventory import Inventory

WIDTH = 9
NUM_BEFORE = np.array([3, 4])


def make_units(sample_index, unit_index, amplitude, segment_index=0, sample_offset=0.0):
    generator = np.random.default_rng(0)
    spikes = np.zeros(len(sample_index), minimum_spike_dtype)
    spikes["sample_index"], spikes["unit_index"], spikes["segment_index"] = sample_index, unit_index, segment_index
    return Inventory(
        atoms=generator.standard_normal((2, 3, WIDTH)).astype("float32"),
        scales=np.ones(2, "float32"),
        noise=np.ones(2, "float32"),
        regularization=np.ones(2, "float32"),
        num_before=NUM_BEFORE,
        main_channel=np.zeros(2, "int64"),
        spikes=spikes,
        sample_offset=np.full(len(sample_index), sample_offset, "float32"),
        amplitude=np.array(amplitude, "float32"),
    )


def make_recording(num_samples=60):
    traces = np.random.default_rng(1).standard_normal((num_samples, 3)).astype("float32")
    return si.NumpyRecording([traces], 1000.0)


def test_traces_are_the_sum_of_contributions_and_residual():
    recording = make_recording()
    found = decompose(recording, make_units([20, 24], [0, 1], [2.0, 3.0]), start=10, end=40)
    np.testing.assert_array_equal(found.traces, recording.get_traces(start_frame=10, end_frame=40))
    np.testing.assert_allclose(found.contributions.sum(axis=0) + found.residual, found.traces, atol=1e-6)


def test_each_spike_contributes_its_scaled_atom_with_its_peak_at_its_time():
    units = make_units([20], [1], [2.0])
    found = decompose(make_recording(), units, start=10, end=40)
    onset = 20 - 4 - 10
    np.testing.assert_array_equal(found.contributions[0, onset : onset + WIDTH], 2 * units.atoms[1].T)
    assert np.count_nonzero(found.contributions.any(axis=2)) == WIDTH
    assert found.start_s == pytest.approx(0.01)
    assert found.times_ms[0] == 0


def test_a_spike_between_two_samples_contributes_its_delayed_atom():
    units = make_units([30], [0], [2.0], sample_offset=0.25)
    times = np.arange(WIDTH) - NUM_BEFORE[0]
    bump = np.exp(-0.5 * (times / 1.2) ** 2)
    units = replace(units, atoms=np.tile(bump, (2, 3, 1)).astype("float32"))
    found = decompose(make_recording(), units, start=10, end=50)
    expected = 2 * np.exp(-0.5 * ((np.arange(40) + 10 - 30.25) / 1.2) ** 2)
    np.testing.assert_allclose(found.contributions[0], np.tile(expected[:, None], 3), atol=0.1)


def test_spikes_that_reach_into_the_stretch_are_cut_at_its_ends_and_others_left_out():
    units = make_units([2, 9, 39, 50], [0, 0, 1, 1], [1.0, 1.0, 1.0, 1.0])
    found = decompose(make_recording(), units, start=10, end=40)
    np.testing.assert_array_equal(found.unit_index, [0, 1])
    np.testing.assert_array_equal(found.contributions[0, :5], units.atoms[0].T[4:])
    np.testing.assert_array_equal(found.contributions[1, -5:], units.atoms[1].T[:5])


def test_waveforms_are_those_added_tap_by_tap_and_of_some_channels_the_same():
    generator = np.random.default_rng(2)
    amplitude = generator.uniform(1, 3, 40)
    units = make_units(np.arange(20, 60), generator.integers(0, 2, 40), amplitude)
    offsets = generator.choice([-0.9, -0.5, 0.0, 0.25, 0.99], 40)
    units = replace(units, sample_offset=offsets.astype("float32"))
    onsets, waveforms, events = waveforms_of(units, start=0, end=100)
    expected = np.zeros((40, 100, 3))
    found = np.zeros((40, 100, 3))
    for row, event in enumerate(events):
        first, phase = split_offset(units.sample_offset[event])
        unit = units.spikes["unit_index"][event]
        onset = units.spikes["sample_index"][event] - NUM_BEFORE[unit] + first
        for tap, weight in enumerate(WEIGHTS[phase]):
            expected[row, onset + tap : onset + tap + WIDTH] += weight * amplitude[event] * units.atoms[unit].T
        found[row, onsets[row] : onsets[row] + waveforms.shape[1]] = waveforms[row]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    some = waveforms_of(units, start=0, end=100, channels=np.array([2, 0]))
    np.testing.assert_array_equal(some[1], waveforms[:, :, [2, 0]])
    np.testing.assert_array_equal(some[0], onsets)
    assert waveforms_of(make_units([], [], []), start=0, end=100, channels=np.array([1]))[1].shape == (0, WIDTH + 7, 1)


def test_a_stretch_beyond_the_segment_is_refused():
    with pytest.raises(ValueError, match=r"start = 50, end = 61: 0 <= start < end <= 60"):
        decompose(make_recording(), make_units([], [], []), start=50, end=61)


def test_the_densest_stretch_is_centered_on_the_crowd():
    units = make_units([100, 500, 504, 510, 900], [0, 1, 0, 1, 0], np.ones(5))
    assert densest_stretch(units, 20) == 495
    assert densest_stretch(make_units([], [], []), 20) == 0
    assert densest_stretch(units, 20, segment_index=1) == 0


def test_a_folder_without_the_arrays_of_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no sorter_output/dictionary.npz: give the folder passed to run_sorter"):
        load_units(tmp_path)
