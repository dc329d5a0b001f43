import numpy as np
import pytest
import torch
from spikeinterface.core import NumpyRecording, Templates

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.given import Normalization, encoder_of_templates, templates_in_traces

RATE_HZ = 20000.0
WIDTH, NUM_BEFORE = 40, 12
CHANNELS = ["a", "b", "c"]


def make_recording(*, noise=(1.0, 1.0, 1.0), baseline=0.0, dtype="float32", num_samples=100_000, spikes=None):
    traces = np.random.default_rng(0).standard_normal((num_samples, 3)) * noise + baseline
    for start, waveform in spikes or ():
        traces[start : start + WIDTH] += waveform
    return NumpyRecording(traces.astype(dtype), RATE_HZ, channel_ids=CHANNELS)


def make_waveform(*gains, center=NUM_BEFORE):
    """Return a spike (width, channel) as large as the gains on the channels."""
    time = np.arange(WIDTH) - center
    shape = -np.exp(-0.5 * (time / 3) ** 2) + 0.4 * np.exp(-0.5 * ((time - 8) / 5) ** 2)
    return (shape[:, None] * np.array(gains)).astype("float32")


def make_templates(*waveforms, **fields):
    defaults = {"sampling_frequency": RATE_HZ, "nbefore": NUM_BEFORE, "channel_ids": CHANNELS, "is_in_uV": False}
    return Templates(np.stack(waveforms), **defaults | fields)


def test_templates_become_channel_by_sample():
    waveform = make_waveform(3, 2, 1)
    given = templates_in_traces(make_recording(), make_templates(waveform))
    np.testing.assert_array_equal(given, waveform.T[None])
    assert given.dtype == np.float32


def test_sparse_templates_are_filled_up_with_zeros():
    dense = make_templates(make_waveform(3, 0, 1), make_waveform(0, 2, 0))
    sparse = dense.to_sparse(np.array([[True, False, True], [False, True, False]]))
    np.testing.assert_array_equal(
        templates_in_traces(make_recording(), sparse), templates_in_traces(make_recording(), dense)
    )


def test_channels_are_found_by_their_ids():
    swapped = make_templates(make_waveform(1, 3, 2), channel_ids=["c", "a", "b"])
    np.testing.assert_array_equal(templates_in_traces(make_recording(), swapped)[0], make_waveform(3, 2, 1).T)


def test_templates_without_channel_ids_are_in_the_order_of_the_recording():
    numbered = make_templates(make_waveform(3, 2, 1), channel_ids=None)
    np.testing.assert_array_equal(templates_in_traces(make_recording(), numbered)[0], make_waveform(3, 2, 1).T)


def test_templates_in_uv_are_divided_by_the_gains():
    recording = make_recording()
    recording.set_channel_gains([0.5, 1.0, 2.0])
    recording.set_channel_offsets(0.0)
    waveform = make_waveform(3, 2, 1)
    in_uv = templates_in_traces(recording, make_templates(waveform, is_in_uV=True))
    np.testing.assert_allclose(in_uv[0], waveform.T / np.array([[0.5], [1.0], [2.0]]))
    np.testing.assert_array_equal(templates_in_traces(recording, make_templates(waveform))[0], waveform.T)
    np.testing.assert_array_equal(
        templates_in_traces(make_recording(), make_templates(waveform, is_in_uV=True))[0], waveform.T
    )


def test_templates_of_another_rate_are_refused():
    with pytest.raises(ValueError, match="templates.sampling_frequency = 30000 Hz: the recording has 20000 Hz"):
        templates_in_traces(make_recording(), make_templates(make_waveform(3, 2, 1), sampling_frequency=30000.0))


def test_templates_of_other_channels_are_refused():
    templates = make_templates(make_waveform(3, 2, 1), channel_ids=["a", "b", "x"])
    with pytest.raises(ValueError, match=r"1 channels of the recording are missing \['c'\] and 1 are unknown \['x'\]"):
        templates_in_traces(make_recording(), templates)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_templates_that_are_not_finite_are_refused_by_unit(value):
    bad = make_waveform(3, 2, 1)
    bad[5, 1] = value
    templates = make_templates(make_waveform(1, 2, 3), bad, unit_ids=["good", "bad"])
    with pytest.raises(ValueError, match=r"templates of units \['bad'\] are NaN or infinite"):
        templates_in_traces(make_recording(), templates)


@pytest.mark.parametrize(("dtype", "baseline"), [("float32", -7.0), ("uint16", 32768.0)])
def test_normalization_gives_every_channel_noise_of_one(dtype, baseline):
    recording = make_recording(noise=(10.0, 20.0, 40.0), baseline=baseline, dtype=dtype)
    normalization = Normalization.of(recording, seed=0)
    traces = normalization.apply(recording).get_traces()
    np.testing.assert_allclose(traces.std(axis=0), 1, atol=0.05)
    np.testing.assert_allclose(traces.mean(axis=0), 0, atol=0.1)


def test_a_dead_channel_has_no_say():
    recording = make_recording(noise=(1.0, 0.0, 1.0))
    normalization = Normalization.of(recording, seed=0)
    assert normalization.gain[1] == 0
    assert not normalization.apply(recording).get_traces()[:, 1].any()


def encoder_for(recording, *waveforms):
    templates = np.stack([waveform.T for waveform in waveforms])
    gain = np.ones(recording.get_num_channels())
    return encoder_of_templates(recording, templates, CrsaeConfig(), num_before=NUM_BEFORE, gain=gain)


def test_the_noise_of_an_atom_is_that_without_spikes():
    waveform = make_waveform(30, 20, 10)
    spikes = [(start, waveform) for start in range(50, 99_000, 150)]
    encoder, unit_index = encoder_for(make_recording(spikes=spikes), waveform)
    assert unit_index.tolist() == [0]
    assert encoder.settings.noise == pytest.approx(1.0, abs=0.1)
    assert encoder.settings.regularization[0] == pytest.approx(4.0, abs=0.4)
    quiet, _ = encoder_for(make_recording(), waveform)
    assert encoder.settings.noise == pytest.approx(quiet.settings.noise, abs=0.1)


def test_templates_that_do_not_stand_out_of_the_noise_have_no_atom():
    loud, faint, zero = make_waveform(20, 0, 0), make_waveform(0, 0.6, 0), make_waveform(0, 0, 0)
    encoder, unit_index = encoder_for(make_recording(), zero, loud, faint, make_waveform(0, 0, 20))
    assert unit_index.tolist() == [1, 3]
    assert encoder.dictionary.num_atoms == 2
    torch.testing.assert_close(encoder.dictionary.templates[0, 0], torch.from_numpy(loud[:, 0]), atol=1.0, rtol=0)
    assert encoder_for(make_recording(), zero)[0] is None
    assert encoder_for(make_recording(), faint)[0] is None
