import warnings
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import spikeinterface as si
import torch
from probeinterface import ProbeGroup, generate_linear_probe, generate_multi_columns_probe, generate_tetrode
from wideband import as_wideband

from si_crsae.config import CrsaeConfig
from si_crsae.sorting import checks
from si_crsae.sorting.checks import check_recording, resolve_device

SAMPLING_FREQUENCY = 30000.0


def make_noise(num_samples=90000, num_channels=4, dtype="float32"):
    noise = np.random.default_rng(0).standard_normal((num_samples, num_channels))
    return (noise if np.dtype(dtype).kind == "f" else 100 * noise).astype(dtype)


def make_recording(*segments, sampling_frequency=SAMPLING_FREQUENCY, probe=None):
    recording = si.NumpyRecording(list(segments), sampling_frequency)
    if recording.get_num_channels():
        probe = probe or generate_linear_probe(recording.get_num_channels(), ypitch=20)
        probe.set_device_channel_indices(np.arange(recording.get_num_channels()))
        recording.set_probe(probe)
    return recording


def refusal_of(recording, config=None, **kwargs):
    with pytest.raises(ValueError, match="crsae cannot sort this recording:\n  ") as refusal:
        check_recording(recording, config or CrsaeConfig(), **kwargs)
    return str(refusal.value).split("\n  ")[1:]


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "int32", "float16", "float32", "float64"])
def test_ordinary_noise_passes_without_a_warning(dtype):
    noise = make_noise(dtype="int32") // (4 if dtype == "int8" else 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_recording(make_recording((noise + 2**15 * (dtype == "uint16")).astype(dtype)), CrsaeConfig())


def test_all_problems_are_told_at_once():
    noise = make_noise()
    noise[777, 2] = np.nan
    config = CrsaeConfig(device="cuda:99", apply_motion_correction=True, motion_correction_preset="dredg", freq_min=160)
    problems = refusal_of(make_recording(noise, sampling_frequency=300.0), config)
    assert [problem.split(" ")[0] for problem in problems] == [
        "device",
        "sampling_frequency",
        "ms_before",
        "motion_correction_preset",
        "apply_motion_correction",
        "traces",
    ]


@pytest.mark.parametrize(
    ("segments", "problem"),
    [
        ([np.zeros((100, 0), "float32")], "num_channels = 0: at least one channel is needed"),
        ([np.zeros((0, 4), "float32")], "num_samples = 0 in every segment"),
        ([make_noise(89), make_noise(20)], "num_samples = 89 in the longest segment: one template takes 90 samples"),
    ],
)
def test_a_recording_with_nothing_to_sort_is_refused(segments, problem):
    (told,) = refusal_of(make_recording(*segments))
    assert problem in told


def test_a_short_segment_among_longer_ones_is_only_doubtful():
    with pytest.warns(UserWarning, match="segment 1 has 89 samples, less than the 90 of a template"):
        check_recording(make_recording(make_noise(), make_noise(89)), CrsaeConfig())


def test_a_rate_too_low_for_the_band_is_refused_unless_the_recording_is_already_filtered():
    recording = make_recording(make_noise(), sampling_frequency=3000.0)
    (told,) = refusal_of(recording, CrsaeConfig(freq_min=1350.0))
    assert "must start below 1350 Hz, freq_min = 1350 Hz does not" in told
    check_recording(recording, CrsaeConfig(freq_min=1350.0, apply_preprocessing=False))
    check_recording(recording, CrsaeConfig(freq_min=1349.0))


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"ms_after": 0.1}, "ms_before = 1, ms_after = 0.1: 3 + 0 samples at 3000 Hz; at least 8 are needed, one of"),
        ({"ms_before": 4.0, "ms_after": 0.1}, "12 + 0 samples at 3000 Hz; at least 8 are needed, one of them before"),
        ({"ms_before": 0.1, "ms_after": 4.0}, "0 + 12 samples at 3000 Hz; at least 8 are needed, one of them before"),
        ({"ms_after": 200.0}, "a template of 201 ms, longer than the waveform of any neuron or motor unit; 100 ms at"),
        ({"freq_min": 0.5}, "freq_min = 0.5 Hz: the band must start at 1 Hz or above, for every second of signal is"),
    ],
)
def test_windows_and_bands_that_cannot_be_used_are_refused(parameters, problem):
    recording = make_recording(make_noise(), sampling_frequency=3000.0)
    (told,) = refusal_of(recording, CrsaeConfig(**({"ms_before": 1.0, "ms_after": 2.0} | parameters)))
    assert problem in told


def test_a_rate_too_low_for_neurons_is_refused_with_what_to_set_for_slower_signals():
    (told,) = refusal_of(make_recording(make_noise(), sampling_frequency=2000.0))
    assert told.endswith("for them try ms_before = 10, ms_after = 15 and freq_min = 20)")
    check_recording(
        make_recording(make_noise(), sampling_frequency=2000.0), CrsaeConfig(ms_before=10, ms_after=15, freq_min=20)
    )


def test_contacts_beyond_the_reach_of_any_neuron_are_doubtful_where_templates_do_not_reach_the_next():
    probe = generate_linear_probe(4, ypitch=8000)
    with pytest.warns(UserWarning, match="contacts are 8000 um apart, template_radius_um = 120: every channel") as told:
        check_recording(make_recording(make_noise(), probe=probe), CrsaeConfig())
    radii = "template_radius_um = 48000, detection_radius_um = 20000, whitening_radius_um = 20000"
    assert f"{radii}, detect_threshold = 3;" in str(told[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_recording(make_recording(make_noise(), probe=probe), CrsaeConfig(template_radius_um=48000.0))
        check_recording(make_recording(make_noise(), probe=generate_linear_probe(4, ypitch=400)), CrsaeConfig())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_single_bad_sample_is_found_and_located(value, dtype):
    second = make_noise(40000, dtype=dtype)
    second[35001, 2] = value
    (told,) = refusal_of(make_recording(make_noise(dtype=dtype), second))
    assert "first in segment 1 at 1.1667 s (sample 35001) on channel 2" in told
    assert "remove_channels" in told
    assert "silence_periods" in told


@pytest.mark.parametrize("value", [1e10, -1e20, np.finfo("float32").max])
def test_a_sample_too_large_to_be_one_is_named(value):
    noise = make_noise(40000)
    noise[35001, 2] = value
    (told,) = refusal_of(make_recording(make_noise(), noise))
    assert f"traces reach {value:g}, first in segment 1 at 1.1667 s (sample 35001) on channel 2" in told
    assert "silence_periods" in told


@pytest.mark.parametrize("value", [1e3, -1e5, 1e6])
def test_artifacts_pass(value):
    noise = make_noise()
    noise[35001:35030, 2] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check_recording(make_recording(noise), CrsaeConfig())


def test_random_slices_of_a_large_recording_are_searched(monkeypatch):
    monkeypatch.setattr(checks, "MAX_SCANNED_VALUES", 1000)
    noise = make_noise(60000)
    noise[20000:40000, 1] = np.nan
    recording = make_recording(noise, make_noise(95))
    problems = refusal_of(recording)
    assert "segment 0" in problems[0]
    assert problems == refusal_of(recording)


def test_numbers_that_are_not_real_are_refused():
    (told,) = refusal_of(make_recording(make_noise().astype("complex64")))
    assert "dtype = complex64: integers or floating-point numbers are needed" in told


def test_three_coordinates_are_refused():
    probe = generate_linear_probe(4).to_3d()
    (told,) = refusal_of(make_recording(make_noise(), probe=probe))
    assert "channel locations have 3 coordinates, 2 are allowed" in told


def test_positions_that_are_not_finite_are_refused():
    probe = generate_linear_probe(4)
    probe.contact_positions[1, 0] = np.nan
    (told,) = refusal_of(make_recording(make_noise(), probe=probe))
    assert "channel locations hold NaN or inf" in told


def test_shared_positions_are_doubtful_within_a_group_only():
    probes = ProbeGroup()
    for _ in range(2):
        probes.add_probe(generate_linear_probe(2, ypitch=20))
    probes.set_global_device_channel_indices(np.arange(4))
    recording = si.NumpyRecording([make_noise()], SAMPLING_FREQUENCY)
    recording.set_probegroup(probes, check_overlap=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_recording(recording, CrsaeConfig())
    recording.set_property("group", [0, 0, 0, 0])
    with pytest.warns(UserWarning, match="4 channels share 2 contact positions: .* set the property 'group'"):
        check_recording(recording, CrsaeConfig())


def test_a_missing_probe_is_told_with_the_way_to_attach_one():
    recording = si.NumpyRecording([make_noise()], SAMPLING_FREQUENCY)
    with pytest.warns(UserWarning, match=r"line, 20 um apart.*generate_linear_probe\(num_elec=4, ypitch=20\)"):
        check_recording(recording, CrsaeConfig())


def test_one_channel_needs_no_probe():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_recording(si.NumpyRecording([make_noise(num_channels=1)], SAMPLING_FREQUENCY), CrsaeConfig())


def test_motion_correction_needs_contacts_that_show_motion():
    config = CrsaeConfig(apply_motion_correction=True)
    (told,) = refusal_of(make_recording(make_noise(), probe=generate_tetrode()), config)
    assert "needs 16 channels or more in every group, over 100 um" in told
    (told,) = refusal_of(si.NumpyRecording([make_noise()], SAMPLING_FREQUENCY), config)
    assert "needs channel locations: attach a probe" in told
    long_probe = generate_multi_columns_probe(2, 20, xpitch=20, ypitch=20)
    recording = make_recording(make_noise(num_channels=40), probe=long_probe)
    check_recording(recording, config)
    (told,) = refusal_of(recording, config.model_copy(update={"apply_preprocessing": False}))
    assert "needs apply_preprocessing = True" in told
    (told,) = refusal_of(recording, config.model_copy(update={"learning": "backpropagation"}))
    assert "needs learning = 'closed_form'" in told


def test_a_preset_that_does_not_exist_is_refused_wherever_motion_may_be_followed():
    (told,) = refusal_of(make_recording(make_noise()), CrsaeConfig(motion_correction_preset="dredg"))
    assert "motion_correction_preset = 'dredg' is unknown; choose one of dredge, medicine" in told
    config = CrsaeConfig(motion_correction_preset="dredg", apply_motion_correction=False)
    check_recording(make_recording(make_noise()), config)


def test_motion_is_corrected_unasked_only_where_it_can_be():
    """The default refuses nothing that has no motion to be corrected."""
    check_recording(make_recording(make_noise(), probe=generate_tetrode()), CrsaeConfig())
    check_recording(make_recording(make_noise()), CrsaeConfig(learning="backpropagation"))


@pytest.mark.parametrize("mode", ["folder", "zarr"])
def test_a_cache_larger_than_the_disk_is_refused(monkeypatch, tmp_path, mode):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda folder: usage(10**6, 10**6 - 1000, 1000))
    recording, config = make_recording(make_noise()), CrsaeConfig(cache_preprocessing_mode=mode)
    (told,) = refusal_of(recording, config, folder=tmp_path)
    assert f"cache_preprocessing_mode = '{mode}' needs up to 0.00 GB, {tmp_path} has 0.00 GB free" in told
    check_recording(recording, CrsaeConfig(cache_preprocessing_mode="no-cache"), folder=tmp_path)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
def test_clipped_traces_are_reported(dtype):
    offset = 2**15 if dtype == "uint16" else 0
    clipped = np.clip(make_noise(dtype="int16"), None, 250)
    clipped[:, 1:] = make_noise(dtype="int16")[:, 1:]
    with pytest.warns(UserWarning, match=r"channels \[0\] are saturated: up to 0\.[5-9]%"):
        check_recording(make_recording((clipped.astype("int32") + offset).astype(dtype)), CrsaeConfig())


def test_unsigned_samples_read_as_signed_are_guessed():
    unsigned = (make_noise(dtype="int16").astype("int32") + 2**15).astype("uint16")
    with pytest.warns(UserWarning, match="or unsigned samples were read as int16: read them as uint16"):
        check_recording(make_recording(unsigned.view("int16")), CrsaeConfig())


@pytest.mark.parametrize("probability", [0.0, 0.1])
def test_coarse_and_silent_traces_are_not_called_saturated(probability):
    coarse = (np.random.default_rng(0).random((90000, 4)) < probability).astype("int16")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_recording(make_recording(coarse), CrsaeConfig())


def test_a_sync_line_is_not_called_saturated():
    noise = make_noise(90000)
    noise[:, 2] = 3000 * (np.arange(len(noise)) // 15000 % 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_recording(make_recording(noise), CrsaeConfig())


@pytest.mark.parametrize(("share", "said"), [(0.4, "40%"), (0.9, "90%")])
def test_silence_is_told_once_with_its_share(share, said):
    noise = make_noise(90000)
    noise[: int(share * len(noise))] = 0
    with pytest.warns(UserWarning, match="silent") as warned:
        check_recording(make_recording(noise), CrsaeConfig())
    (message,) = [str(warning.message) for warning in warned]
    told = float(message.removeprefix("about ").partition("%")[0])
    assert abs(told - float(said.removesuffix("%"))) <= 4, message


@pytest.mark.parametrize(("duration_s", "is_short"), [(0.8, True), (2.9, True), (3.0, False)])
def test_a_recording_too_short_to_learn_from_is_told(duration_s, is_short):
    recording = make_recording(make_noise(round(30000 * duration_s)))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        check_recording(recording, CrsaeConfig())
    messages = [str(warning.message) for warning in told]
    expected = f"the recording lasts {duration_s:g} s: most neurons fire too few spikes"
    assert [message.startswith(expected) for message in messages] == [True] * is_short


def test_slow_waves_are_no_silence():
    generated, _ = si.generate_ground_truth_recording(durations=[5.0], num_channels=4, num_units=2, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_recording(as_wideband(generated, channel_ids=["a", "b", "c", "d"]), CrsaeConfig())


def test_contacts_in_mm_are_told():
    probe = generate_linear_probe(4, ypitch=0.02)
    with pytest.warns(UserWarning, match=r"0.02 um apart on average: they must be in um; if they are in mm"):
        check_recording(make_recording(make_noise(), probe=probe), CrsaeConfig())


@pytest.mark.parametrize("num_devices", [0, 2])
def test_devices_are_resolved_or_refused_with_what_there_is(monkeypatch, num_devices):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: num_devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_devices)
    assert resolve_device("cpu") == torch.device("cpu")
    if num_devices:
        assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda")
        assert resolve_device("cuda:1") == torch.device("cuda:1")
        with pytest.raises(ValueError, match=r"device = 'cuda:2': this machine has 2 CUDA .* 'cuda:0' to 'cuda:1'"):
            resolve_device("cuda:2")
    else:
        assert resolve_device("auto") == torch.device("cpu")
        with pytest.raises(ValueError, match="device = 'cuda': torch finds no CUDA device .* use 'auto' or 'cpu'"):
            resolve_device("cuda")


def test_checking_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_recording(make_recording(make_noise()), CrsaeConfig(), folder=tmp_path)
    assert list(Path.cwd().iterdir()) == []
