"""Whatever is wrong with a recording, the run ends in a valid sorting or in one clear error."""

import errno
import re
import warnings

import numpy as np
import pytest
import spikeinterface as si
import spikeinterface.sorters as ss
from probeinterface import ProbeGroup, generate_linear_probe
from spikeinterface.comparison import compare_sorter_to_ground_truth
from spikeinterface.sorters.utils import SpikeSortingError

import si_crsae

GOOD = 0.9
NO_UNIT = r"crsae found no unit: .*detect_threshold = 5 .*noise level"


@pytest.fixture
def refuse(tmp_path):
    """Function that expects an error before the work starts, which leaves no folder."""

    def expect_refusal(recording, message, **parameters):
        with pytest.raises(ValueError, match=message):
            ss.run_sorter("crsae", recording, folder=tmp_path / "refused", **parameters)
        assert not (tmp_path / "refused").exists()

    return expect_refusal


def line_of(num_channels):
    probe = generate_linear_probe(num_channels, ypitch=20)
    probe.set_device_channel_indices(np.arange(num_channels))
    return probe


def white_noise(num_samples, num_channels=4, seed=0):
    return (5 * np.random.default_rng(seed).standard_normal((num_samples, num_channels))).astype("float32")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(simulation, save, refuse, value):
    traces = simulation.traces
    traces[100_000, 3] = value
    refuse(save(simulation, traces), r"traces hold NaN or inf, first in segment 0 at 3\.3333 s .* on channel 3")


@pytest.mark.parametrize("constant", [0.0, -40.0])
def test_dead_channels_are_left_out(simulation, save, sort, score, constant):
    traces = np.insert(simulation.traces, [0, 2], constant, axis=1)
    probe = line_of(6)
    with pytest.warns(UserWarning, match=r"channels \[0, 3\] are constant: they are left out"):
        sorting = sort(save(simulation, traces, probe=probe))
    assert score(simulation.sorting, sorting).min() > GOOD
    assert not set(sorting.get_property("main_channel_id")) & {0, 3}


def test_the_loss_of_a_channel_spares_the_units_on_others(simulation, reference, save, sort, score):
    main_channels = reference[1].get_property("main_channel_id")
    traces = simulation.traces
    traces[:, main_channels[0]] = 0
    with pytest.warns(UserWarning, match="are constant"):
        sorting = sort(save(simulation, traces))
    elsewhere = reference[1].select_units(reference[1].unit_ids[main_channels != main_channels[0]])
    assert score(elsewhere, sorting).min() > GOOD


def test_a_repeated_channel_is_left_out(simulation, save, sort, score):
    traces = np.hstack([simulation.traces, simulation.traces[:, :1]])
    with pytest.warns(UserWarning, match=r"channels \[4\] are copies of an earlier channel"):
        sorting = sort(save(simulation, traces, probe=line_of(5)))
    assert sorting.get_num_units() == simulation.sorting.get_num_units()
    assert score(simulation.sorting, sorting).min() > GOOD


def test_saturated_traces_are_sorted_with_a_warning(simulation, save, sort, score):
    lowest = np.quantile(simulation.traces, 0.005)
    with pytest.warns(UserWarning, match="are saturated: up to"):
        sorting = sort(save(simulation, np.clip(simulation.traces, lowest, None)))
    assert sorting.get_num_units() == simulation.sorting.get_num_units()
    assert score(simulation.sorting, sorting).min() > 0.95


@pytest.mark.parametrize("size_uV", [1e4, 1e6])
def test_huge_artifacts_cost_only_the_spikes_below_them(simulation, save, sort, score, size_uV):
    traces = simulation.traces
    for start in (20_000, 90_000, 150_000):
        traces[start : start + 300] += size_uV
    assert score(simulation.sorting, sort(save(simulation, traces))).min() > 0.85


@pytest.mark.parametrize(
    "traces",
    [np.zeros((60_000, 4), "int16"), np.zeros((60_000, 4), "float32"), np.full((60_000, 4), 7, "uint16")],
    ids=["int16", "float32", "uint16"],
)
def test_a_silent_recording_has_no_unit(simulation, save, sort, traces):
    with pytest.warns(UserWarning, match=r"channels \[0, 1, 2, 3\] are constant"):
        assert sort(save(simulation, traces)).get_num_units() == 0


@pytest.mark.parametrize("num_channels", [1, 4])
def test_noise_alone_has_no_unit(simulation, save, sort, num_channels):
    recording = save(simulation, white_noise(180_000, num_channels), probe=line_of(num_channels))
    with pytest.warns(UserWarning, match=NO_UNIT):
        assert sort(recording).get_num_units() == 0


@pytest.mark.parametrize("num_samples", [90, 91, 300, 6000, 15_000, 24_000])
def test_very_little_signal_gives_a_valid_sorting(simulation, save, sort, num_samples):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sort(save(simulation, simulation.traces[:num_samples]))


def test_segments_shorter_than_a_template_have_no_spikes(simulation, save, sort, score):
    lengths = (180_000, 1, 60, 89, 90)
    recording = save(simulation, *(simulation.traces[:length] for length in lengths))
    with pytest.warns(UserWarning, match=r"3 of 5 segments \(1, 2, 3\) have less than the 90 samples of a template"):
        sorting = sort(recording)
    trains = {unit_id: sorting.get_unit_spike_train(unit_id, segment_index=0) for unit_id in sorting.unit_ids}
    first = si.NumpySorting.from_unit_dict([trains], sorting.sampling_frequency)
    assert score(simulation.sorting, first).min() > GOOD
    assert np.all(sorting.to_spike_vector()["segment_index"] == 0)


def test_a_recording_shorter_than_a_template_is_refused(simulation, save, refuse):
    recording = save(simulation, simulation.traces[:50], simulation.traces[:89])
    refuse(recording, "num_samples = 89 in the longest segment: one template takes 90 samples")


@pytest.mark.parametrize("gain", [[0.0] * 4, [0.2, 0.2, np.nan, 0.2]], ids=str)
def test_gains_that_are_none_leave_templates_in_the_units_of_the_traces(
    simulation, reference, save, sort, gain, tmp_path
):
    with pytest.warns(
        UserWarning, match=r"channels \[.*2.*\] have a gain of zero, or a gain or offset that is NaN or inf"
    ):
        sorting = sort(save(simulation, gain=gain))
    assert np.array_equal(sorting.to_spike_vector(), reference[1].to_spike_vector())
    templates = si.load(tmp_path / "run_0" / "sorter_output" / "templates.zarr")
    assert not templates.is_in_uV
    assert (np.abs(templates.templates_array).max(axis=(1, 2)) > 50).all()


def test_the_sign_of_the_gain_does_not_change_signal_to_noise_ratios(simulation, reference, save, sort):
    sorting = sort(save(simulation, -simulation.traces, gain=-1.0), peak_sign="pos")
    expected = np.sort(reference[1].get_property("snr"))
    np.testing.assert_allclose(np.sort(sorting.get_property("snr")), expected, rtol=0.05)


@pytest.mark.parametrize("num_samples", [1, 10])
def test_a_handful_of_samples_is_refused(simulation, save, refuse, num_samples):
    refuse(save(simulation, simulation.traces[:num_samples]), f"num_samples = {num_samples} in the longest segment")


def test_thousands_of_segments_of_one_sample_cost_one_warning(simulation, reference, save, sort):
    samples = [simulation.traces[sample : sample + 1] for sample in range(300)]
    recording = save(simulation, *samples, simulation.traces)
    with pytest.warns(UserWarning, match=r"300 of 301 segments \(0, 1, 2, 3, 4, ...\) have less") as told:
        sorting = sort(recording)
    assert sum("of 301 segments" in str(warning.message) for warning in told) == 1
    expected = reference[1].to_spike_vector()
    spikes = sorting.to_spike_vector()
    assert np.array_equal(spikes["sample_index"], expected["sample_index"])
    assert np.array_equal(spikes["unit_index"], expected["unit_index"])
    assert np.all(spikes["segment_index"] == 300)


@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_integers_near_the_end_of_their_range_are_sorted(simulation, reference, save, sort, score, offset):
    traces = simulation.traces.astype("float64")
    stored = traces * 1e9 / np.abs(traces).max() if offset == 0 else 100 * traces + offset
    sorting = sort(save(simulation, np.round(stored).astype("int32")))
    assert sorting.get_num_units() == reference[1].get_num_units()
    assert score(reference[1], sorting).min() > 0.99


@pytest.mark.parametrize("value", [10**6, 4 * 10**7])
def test_one_loud_sample_costs_only_the_spikes_near_it(simulation, save, sort, score, value):
    traces = (10 * simulation.traces).astype("int32")
    traces[90_000, 2] = value
    assert score(simulation.sorting, sort(save(simulation, traces))).min() > GOOD


@pytest.mark.parametrize(("dtype", "value"), [("int32", -(10**9)), ("float32", 1e10), ("float64", 1e20)])
def test_one_implausible_sample_is_refused(simulation, save, refuse, dtype, value):
    traces = (10 * simulation.traces).astype(dtype)
    traces[90_000, 2] = value
    told = re.escape(f"traces reach {value:g}, first in segment 0 at 3.0000 s (sample 90000) on channel 2, where")
    refuse(save(simulation, traces), told)


def test_shared_contact_positions_are_sorted_with_a_warning(simulation, make_simulation, save, sort, score):
    probes = ProbeGroup()
    for _ in range(2):
        probes.add_probe(simulation.probe.copy())
    probes.set_global_device_channel_indices(np.arange(8))
    other = make_simulation(seed=2)
    recording = save(simulation, np.hstack([simulation.traces, other.traces]), probe=None)
    recording.set_probegroup(probes, check_overlap=False)
    recording.set_property("group", np.zeros(8, "int64"))
    with pytest.warns(UserWarning, match="8 channels share 4 contact positions"):
        sorting = sort(recording)
    assert sorting.get_num_units() == simulation.sorting.get_num_units() + other.sorting.get_num_units()
    for truth, channels in ((simulation.sorting, range(4)), (other.sorting, range(4, 8))):
        is_near = np.isin(sorting.get_property("main_channel_id"), recording.channel_ids[channels])
        assert score(truth, sorting.select_units(sorting.unit_ids[is_near])).min() > GOOD


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"detect_treshold": 5.0}, "detect_treshold: unknown parameter; did you mean detect_threshold"),
        ({"detect_threshold": -1.0}, "detect_threshold = -1.0: Input should be greater than 0"),
        ({"device": "cuda:99"}, "device = 'cuda:99': (torch finds no|this machine has)"),
        ({"freq_min": 14000.0, "freq_max": 14500.0}, "must start below 13500 Hz, freq_min = 14000 Hz does not"),
        ({"apply_motion_correction": True}, "needs 16 channels or more in every group"),
    ],
)
def test_parameters_that_cannot_work_are_refused(simulation, save, refuse, parameters, message):
    refuse(save(simulation), message, **parameters)


EXTREMES = [
    {"ms_before": 0.1, "ms_after": 0.3},
    {"num_rounds": 0},
    {"detect_threshold": 1e6},
    {"learning_duration_s": 0.5},
]
MORE_EXTREMES = [
    {"ms_before": 5.0, "ms_after": 10.0},
    {"rank": 1},
    {"rank": 64},
    {"template_radius_um": 1.0, "detection_radius_um": 1.0, "whitening_radius_um": 1.0},
    {"min_firing_rate": 1e6},
    {"regularization_scale": 1e6},
    {"min_amplitude": 0.999},
    {"common_reference": "yes"},
    {"save_array": False},
]


@pytest.mark.parametrize(
    "parameters", [*EXTREMES, *(pytest.param(extreme, marks=pytest.mark.slow) for extreme in MORE_EXTREMES)], ids=str
)
def test_extreme_parameters_give_a_valid_sorting(simulation, save, sort, parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sort(save(simulation), **parameters)


@pytest.fixture
def nothing_found(simulation, save, sort):
    """A recording in which nothing is found, and its sorting."""
    recording = save(simulation)
    with pytest.warns(UserWarning, match="crsae found no unit: .*detect_threshold = 1e[+]06"):
        return recording, sort(recording, detect_threshold=1e6)


def test_a_sorting_without_units_serves_everything_downstream(simulation, reference, nothing_found, tmp_path):
    recording, sorting = nothing_found
    assert sorting.get_num_units() == 0

    comparison = compare_sorter_to_ground_truth(simulation.sorting, sorting)
    assert (comparison.get_performance()["recall"] == 0).all()
    assert si.create_sorting_analyzer(sorting, recording, sparse=False).get_num_units() == 0
    sorting.save(folder=tmp_path / "saved")
    assert si.load(tmp_path / "saved").get_num_units() == 0
    assert ss.read_sorter_folder(tmp_path / "run_0").unit_ids.dtype == np.int64

    together = si.aggregate_units([sorting, reference[1]])
    assert together.get_num_units() == reference[1].get_num_units()
    assert together.get_property("main_channel_id").tolist() == reference[1].get_property("main_channel_id").tolist()


def test_an_empty_group_does_not_disturb_another(simulation, save, sort, score):
    traces = np.hstack([np.zeros_like(simulation.traces), simulation.traces])
    recording = save(simulation, traces, probe=line_of(8), group=[0] * 4 + [1] * 4)
    with pytest.warns(UserWarning, match=r"channels \[0, 1, 2, 3\] are constant"):
        sorting = sort(recording)
    assert sorting.get_property("group").tolist() == [1] * sorting.get_num_units()
    assert score(simulation.sorting, sorting).min() > GOOD


@pytest.mark.parametrize(
    ("full_at", "kept"),
    [
        ("initialize", []),
        ("learn", ["initialize"]),
        ("encode", ["initialize", "learn"]),
        ("clean", ["initialize", "learn", "encode"]),
        ("dictionary", ["initialize", "learn", "encode", "clean"]),
    ],
)
def test_a_full_disk_loses_nothing_that_was_computed(reference, tmp_path, monkeypatch, full_at, kept):
    recording, expected = reference
    write = np.savez

    def write_until_full(file, **arrays):
        if str(file.name).startswith(full_at):
            file.write_bytes(b"half a file")
            raise OSError(errno.ENOSPC, "No space left on device", str(file))
        write(file, **arrays)

    monkeypatch.setattr(np, "savez", write_until_full)
    with pytest.raises(SpikeSortingError, match="No space left on device") as failure:
        ss.run_sorter("crsae", recording, folder=tmp_path / "run")
    assert "si_crsae.resume_sorter(folder)" in str(failure.value)
    stages = tmp_path / "run" / "sorter_output" / "stages" / "group_0"
    written = {name: (stages / f"{name}.npz").stat().st_mtime_ns for name in kept}

    monkeypatch.undo()
    sorting = si_crsae.resume_sorter(tmp_path / "run")

    assert np.array_equal(sorting.to_spike_vector(), expected.to_spike_vector())
    assert written == {name: (stages / f"{name}.npz").stat().st_mtime_ns for name in kept}
