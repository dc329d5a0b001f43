"""Claims about the mean waveforms of the units, and the times that follow from them."""

from dataclasses import replace

import numpy as np
import pytest
from spikeinterface.core import NumpyRecording
from spikeinterface.core.base import minimum_spike_dtype

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.inventory import Inventory
from si_crsae.sorting.templates import measure_templates

RATE_HZ = 30000.0
JOBS = {"n_jobs": 1, "progress_bar": False, "chunk_duration": "1s", "pool_engine": "thread"}
TIMES = 200 + 300 * np.arange(60)


def spike(*, trough=-100.0, crest=40.0, delay=12):
    """Return a waveform of 60 samples whose trough is at sample 20 and whose crest comes later."""
    times = np.arange(60) - 20
    return trough * np.exp(-0.5 * (times / 3) ** 2) + crest * np.exp(-0.5 * ((times - delay) / 5) ** 2)


def make_recording(waveform, num_samples=20_000):
    traces = np.random.default_rng(0).standard_normal((num_samples, 2)).astype("float32")
    for time in TIMES:
        traces[time - 20 : time + 40, 0] += waveform
        traces[time - 20 : time + 40, 1] += 0.5 * waveform
    return NumpyRecording([traces], RATE_HZ)


def make_units(times, *, atom_peak=20):
    spikes = np.zeros(times.size, minimum_spike_dtype)
    spikes["sample_index"] = times
    nothing = Inventory.empty(num_channels=2)
    atoms = np.zeros((1, 2, 90), "float32")
    atoms[0, :, atom_peak] = 0.7
    return replace(
        nothing,
        atoms=atoms,
        scales=np.full(1, 100.0, "float32"),
        noise=np.ones(1, "float32"),
        regularization=np.ones(1, "float32"),
        num_before=np.array([atom_peak]),
        main_channel=np.zeros(1, "int64"),
        spikes=spikes,
        sample_offset=np.zeros(times.size, "float32"),
        amplitude=np.full(times.size, 100.0, "float32"),
    )


@pytest.mark.parametrize("error", [-32, -16, 0, 7, 16, 32])
def test_spikes_are_timed_at_their_trough_wherever_their_atom_is_largest(error):
    units = make_units(TIMES + error, atom_peak=40 + error)
    moved, templates = measure_templates(make_recording(spike()), units, CrsaeConfig(), job_kwargs=JOBS)
    np.testing.assert_array_equal(moved.spikes["sample_index"], TIMES)
    assert moved.num_before.tolist() == [40]
    (template,) = templates.templates_array
    assert template[:, 0].argmin() == templates.nbefore
    np.testing.assert_allclose(template[templates.nbefore - 20 : templates.nbefore + 40, 0], spike(), atol=1.0)


def test_every_unit_has_its_own_template():
    units = make_units(TIMES)
    half = units.spikes.copy()
    half["unit_index"] = np.arange(TIMES.size) % 2
    twice = {name: np.repeat(getattr(units, name), 2, axis=0) for name in ("atoms", "scales", "noise", "num_before")}
    both = replace(units, spikes=half, main_channel=np.zeros(2, "int64"), regularization=np.ones(2, "float32"), **twice)
    recording = make_recording(spike())
    traces = recording.get_traces().copy()
    for time in TIMES[1::2]:
        traces[time - 20 : time + 40] -= 0.5 * spike()[:, None]
    _, templates = measure_templates(NumpyRecording([traces], RATE_HZ), both, CrsaeConfig(), job_kwargs=JOBS)
    troughs = templates.templates_array.min(axis=1)
    np.testing.assert_allclose(troughs, [[-100, -50], [-50, 0]], atol=3.0)


@pytest.mark.parametrize(("crest", "shift"), [(120.0, 0), (140.0, 12)])
def test_a_crest_must_be_clearly_larger_than_the_trough(crest, shift):
    waveform = spike(crest=crest, delay=12)
    waveform[:25] = spike(crest=0.0)[:25]
    moved, _ = measure_templates(make_recording(waveform), make_units(TIMES), CrsaeConfig(), job_kwargs=JOBS)
    assert np.abs(moved.spikes["sample_index"] - TIMES - shift).max() <= 1


def test_an_artifact_moves_no_spikes_and_spoils_no_template():
    recording = make_recording(spike())
    traces = recording.get_traces().copy()
    traces[TIMES[30] + 8 : TIMES[30] + 18] += 1e6
    moved, templates = measure_templates(
        NumpyRecording([traces], RATE_HZ), make_units(TIMES), CrsaeConfig(), job_kwargs=JOBS
    )
    np.testing.assert_array_equal(moved.spikes["sample_index"], TIMES)
    assert np.abs(templates.templates_array).max() < 110


def test_spikes_stay_within_their_segment_and_in_order():
    times = np.concatenate([[3], TIMES[:40]])
    moved, _ = measure_templates(make_recording(spike()), make_units(times + 10), CrsaeConfig(), job_kwargs=JOBS)
    assert moved.spikes["sample_index"].min() >= 0
    assert (np.diff(moved.spikes["sample_index"]) >= 0).all()
    np.testing.assert_array_equal(moved.spikes["sample_index"][1:], times[1:])


def test_no_units_have_no_templates():
    moved, templates = measure_templates(
        make_recording(spike()), Inventory.empty(num_channels=2), CrsaeConfig(), job_kwargs=JOBS
    )
    assert moved.num_units == 0
    assert templates.templates_array.shape[0] == 0


def test_units_of_groups_with_windows_of_their_own_keep_their_peaks():
    units = make_units(TIMES, atom_peak=20)
    wide = units.widened(100)
    assert wide.atoms.shape == (1, 2, 100)
    assert wide.num_before.tolist() == [30]
    np.testing.assert_array_equal(wide.atoms[:, :, 10:], units.atoms)
    assert not wide.atoms[:, :, :10].any()
