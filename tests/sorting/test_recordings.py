"""Every kind of recording that is fit to be sorted gives the true units."""

import numpy as np
import pytest
import spikeinterface as si
from probeinterface import ProbeGroup, generate_linear_probe, generate_multi_columns_probe
from spikeinterface.preprocessing import bandpass_filter
from spikeinterface.sorters import run_sorter

from si_crsae.sorting.folder import load_units

GOOD = 0.95


def wired(probe):
    probe.set_device_channel_indices(np.arange(probe.get_contact_count()))
    return probe


def two_shanks(probe):
    """Return a group of two copies of a probe, 500 um apart."""
    probes = ProbeGroup()
    for shift_um in (0, 500):
        shank = probe.copy()
        shank.move([shift_um, 0])
        probes.add_probe(shank)
    probes.set_global_device_channel_indices(np.arange(probes.get_contact_count()))
    return probes


def test_the_simulation_is_sorted_completely(simulation, reference, score):
    _, sorting = reference
    assert sorting.get_num_units() == simulation.sorting.get_num_units()
    assert score(simulation.sorting, sorting).min() > GOOD


def test_learning_by_back_propagation_sorts_it_too(simulation, reference, save, sort, score):
    sorting = sort(save(simulation), learning="backpropagation")
    assert sorting.get_num_units() == reference[1].get_num_units()
    assert score(simulation.sorting, sorting).min() > GOOD


@pytest.mark.parametrize(
    ("dtype", "gain", "offset"),
    [
        ("int16", 0.195, 0.0),
        ("int16", 2.34, 150.0),
        ("uint16", 0.195, -0.195 * 2**15),
        ("int32", 1e-3, 0.0),
        ("float32", 1e-6, 0.0),
        ("float32", 1e6, 0.0),
        ("float64", 1.0, 3e4),
    ],
)
def test_data_type_gain_and_offset_change_nothing(simulation, reference, save, sort, score, dtype, gain, offset):
    stored = (simulation.traces.astype("float64") - offset) / gain
    if np.dtype(dtype).kind != "f":
        stored = np.round(stored)
    sorting = sort(save(simulation, stored.astype(dtype), gain=gain, offset=offset))
    assert sorting.get_num_units() == reference[1].get_num_units()
    assert score(reference[1], sorting).min() > GOOD


@pytest.mark.parametrize("sampling_frequency", [10000.0, 24414.0625, 50000.0])
def test_sampling_rates(make_simulation, save, sort, score, sampling_frequency):
    simulation = make_simulation(sampling_frequency=sampling_frequency)
    sorting = sort(save(simulation))
    assert sorting.sampling_frequency == sampling_frequency
    assert score(simulation.sorting, sorting).min() > 0.9


@pytest.mark.parametrize("parameters", [{}, {"peak_sign": "pos"}, {"peak_sign": "both"}])
def test_positive_spikes_are_found_unless_only_negative_ones_are_asked_for(simulation, save, sort, score, parameters):
    sorting = sort(save(simulation, -simulation.traces), **parameters)
    assert score(simulation.sorting, sorting).min() > GOOD


def test_units_of_both_signs_on_the_same_channels_are_each_found_once(simulation, make_simulation, save, sort, score):
    other = make_simulation(seed=2)
    sorting = sort(save(simulation, simulation.traces - other.traces))
    assert sorting.get_num_units() == 6
    assert score(simulation.sorting, sorting).min() > 0.9
    assert score(other.sorting, sorting).min() > 0.9


def test_spikes_of_both_signs_are_found_together(simulation, save, sort, score):
    recording = save(simulation, np.hstack([simulation.traces, -simulation.traces]), probe=None)
    recording.set_probegroup(two_shanks(simulation.probe))
    sorting = sort(recording)
    for group in np.unique(recording.get_channel_groups()):
        of_group = sorting.select_units(sorting.unit_ids[sorting.get_property("group") == group])
        assert score(simulation.sorting, of_group).min() > GOOD


@pytest.mark.parametrize(("num_channels", "num_units"), [(1, 1), (1, 2), (2, 2), (16, 6)])
def test_few_and_many_channels(make_simulation, save, sort, score, num_channels, num_units):
    probe = wired(generate_linear_probe(num_channels, ypitch=20))
    simulation = make_simulation(num_channels=num_channels, num_units=num_units, probe=probe)
    assert score(simulation.sorting, sort(save(simulation))).min() > GOOD


@pytest.mark.slow
@pytest.mark.parametrize("num_channels", [32, 64, 128])
def test_a_long_probe(make_simulation, save, sort, score, num_channels):
    probe = wired(generate_multi_columns_probe(2, num_channels // 2, xpitch=20, ypitch=20))
    simulation = make_simulation(num_channels=num_channels, num_units=10, probe=probe)
    accuracy = score(simulation.sorting, sort(save(simulation)))
    assert np.sum(accuracy > 0.9) >= 8  # on 32 channels, two of the units have a signal-to-noise ratio of 1.7 and 4.4


def test_segments_keep_their_spikes(make_simulation, save, sort, score):
    simulation = make_simulation(durations=(4.0, 3.0))
    sorting = sort(save(simulation))
    assert score(simulation.sorting, sorting).min() > GOOD
    assert np.unique(sorting.to_spike_vector()["segment_index"]).tolist() == [0, 1]


def test_a_unit_seen_by_two_groups_is_kept_apart_in_them(simulation, save, tmp_path):
    recording = save(simulation)
    recording.set_property("group", [0, 1, 0, 1])
    run_sorter("crsae", recording, folder=tmp_path / "crsae")
    units = load_units(tmp_path / "crsae")
    assert units.num_units > simulation.sorting.get_num_units()
    for occupied in units.atoms.any(axis=2):
        assert np.unique(recording.get_channel_groups()[occupied]).size == 1


def test_no_unit_spans_two_groups(simulation, make_simulation, save, sort, score):
    other = make_simulation(seed=2)
    recording = save(simulation, np.hstack([simulation.traces, other.traces]), probe=None)
    recording.set_probegroup(two_shanks(simulation.probe))
    recording.set_property("group", ["left"] * 4 + ["right"] * 4)

    sorting = sort(recording)

    group_of_channel = dict(zip(recording.channel_ids, recording.get_property("group"), strict=True))
    main_channels = sorting.get_property("main_channel_id")
    groups = sorting.get_property("group")
    assert [group_of_channel[channel] for channel in main_channels] == groups.tolist()
    for truth, group in ((simulation.sorting, "left"), (other.sorting, "right")):
        assert score(truth, sorting.select_units(sorting.unit_ids[groups == group])).min() > GOOD


def test_spikes_of_one_shank_do_not_change_another(simulation, make_simulation, save, sort):
    recording = save(simulation, np.hstack([simulation.traces, make_simulation(seed=2).traces]), probe=None)
    recording.set_probegroup(two_shanks(simulation.probe))
    both = sort(recording)
    alone = sort(recording.select_channels(recording.channel_ids[:4]))
    of_first = both.unit_ids[np.isin(both.get_property("main_channel_id"), recording.channel_ids[:4])]
    together = both.select_units(of_first)
    trains = [together.get_unit_spike_train(unit_id) for unit_id in together.unit_ids]
    assert len(trains) == alone.get_num_units()
    for train, unit_id in zip(trains, alone.unit_ids, strict=True):
        assert np.array_equal(train, alone.get_unit_spike_train(unit_id))


def test_a_recording_without_a_probe_is_sorted_with_a_warning(simulation, save, sort, score):
    recording = save(simulation, probe=None)
    with pytest.warns(UserWarning, match="recording has no probe: its contacts are taken for a line"):
        sorting = sort(recording)
    assert score(simulation.sorting, sorting).min() > GOOD


def test_a_zarr_recording_gives_what_a_binary_one_gives(simulation, reference, save, sort):
    sorting = sort(save(simulation, file_format="zarr"))
    assert np.array_equal(sorting.to_spike_vector(), reference[1].to_spike_vector())


@pytest.mark.parametrize("apply_preprocessing", [True, False])
def test_a_lazily_filtered_recording(simulation, save, sort, score, apply_preprocessing):
    recording = bandpass_filter(save(simulation), freq_min=300.0, freq_max=6000.0, dtype="float32")
    sorting = sort(recording, apply_preprocessing=apply_preprocessing)
    assert score(simulation.sorting, sorting).min() > GOOD


def test_a_slice_of_channels_and_time(simulation, save, sort, score):
    recording = save(simulation)
    part = recording.frame_slice(30000, 150000).select_channels(recording.channel_ids[[3, 1, 0, 2]])
    truth = simulation.sorting.frame_slice(30000, 150000)
    assert score(truth, sort(part)).min() > GOOD


@pytest.mark.parametrize(
    "mode", ["folder", "no-cache", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("memory", "zarr"))]
)
def test_where_the_preprocessed_signal_is_kept_changes_nothing(reference, sort, mode, tmp_path):
    recording, expected = reference
    sorting = sort(recording, cache_preprocessing_mode=mode)
    assert np.array_equal(sorting.to_spike_vector(), expected.to_spike_vector())
    assert list(tmp_path.rglob("cache*")) == []


@pytest.mark.parametrize(
    "job_kwargs",
    [
        {"n_jobs": 2},
        {"n_jobs": 1, "chunk_duration": "300ms"},
        {"n_jobs": 1, "chunk_size": 7001},
        {"n_jobs": 2, "chunk_duration": "10s"},
    ],
    ids=str,
)
def test_jobs_and_chunks_change_nothing(reference, sort, job_kwargs):
    recording, expected = reference
    sorting = sort(recording, job_kwargs=job_kwargs)
    assert np.array_equal(sorting.to_spike_vector(), expected.to_spike_vector())


def test_the_same_seed_gives_the_same_result(reference, sort):
    recording, expected = reference
    sorting = sort(recording)
    assert np.array_equal(sorting.to_spike_vector(), expected.to_spike_vector())
    for name in expected.get_property_keys():
        np.testing.assert_array_equal(sorting.get_property(name), expected.get_property(name))


def test_the_result_serves_an_analyzer(reference):
    recording, sorting = reference
    analyzer = si.create_sorting_analyzer(sorting, recording, sparse=True)
    analyzer.compute(["random_spikes", "templates"], progress_bar=False)
    assert analyzer.get_num_units() == sorting.get_num_units()
