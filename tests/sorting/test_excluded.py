"""Periods in which nothing is looked for, and artifacts: what a sorting makes of them."""

import re

import numpy as np
import pytest
import spikeinterface as si
from spikeinterface.comparison import compare_sorter_to_ground_truth
from spikeinterface.core.base import base_period_dtype
from spikeinterface.sorters import run_sorter

from si_crsae import load_filtered
from si_crsae.sorting.excluded import load_excluded_periods
from si_crsae.sorting.folder import load_whitened

RATE_HZ = 30000.0
PERIODS_S = [(1.0, 1.5), (4.0, 4.2)]
EXCLUDED = [slice(30000, 45000), slice(120000, 126000)]
LARGE_UV, NOISE_UV = 1e4, 5.0  # spikes have 100


def spoiled(traces, value=None):
    """Return traces with something else in the excluded periods."""
    for period in EXCLUDED:
        traces[period] = value if value is not None else np.random.default_rng(1).normal(0, 1000, traces[period].shape)
    return traces


def outside(sorting, mask):
    """Return the spikes that are not at samples of a mask."""
    spikes = sorting.to_spike_vector()
    return si.NumpySorting(spikes[~mask[spikes["sample_index"]]], sorting.sampling_frequency, sorting.unit_ids)


def log_of(folder):
    return (folder / "sorter_output" / "crsae.log").read_text(encoding="utf8")


def mask_of(periods, num_samples):
    mask = np.zeros(num_samples, bool)
    for period in periods:
        mask[period["start_sample_index"] : period["end_sample_index"]] = True
    return mask


@pytest.fixture(scope="module")
def excluding(simulation, tmp_path_factory):
    """Run on the simulation with two periods excluded, and with something else in them: (folder, sorting) of both."""
    runs = []
    for traces in (simulation.traces, spoiled(simulation.traces)):
        folder = tmp_path_factory.mktemp("excluding")
        recording = si.NumpyRecording([traces], RATE_HZ)
        recording.set_probe(simulation.probe)
        saved = recording.save(folder=folder / "recording", progress_bar=False)
        sorting = run_sorter(
            "crsae", saved, folder=folder / "run", excluded_periods=PERIODS_S, spike_probabilities=True
        )
        runs.append((folder / "run", sorting))
    return runs


def test_nothing_is_found_in_excluded_periods_and_all_is_outside(excluding, simulation, score):
    _, sorting = excluding[0]
    mask = np.zeros(180000, bool)
    for period in EXCLUDED:
        mask[period] = True
    spikes = sorting.to_spike_vector()
    assert not mask[spikes["sample_index"]].any()
    truth = outside(simulation.sorting, mask)
    assert len(truth.to_spike_vector()) < len(simulation.sorting.to_spike_vector())
    assert score(truth, sorting).min() > 0.95


def test_nothing_is_learned_from_what_was_recorded_in_them(excluding):
    """To the last bit: noise, whitening, templates, thresholds, probabilities and rates are the same."""
    (first, sorting), (second, other) = excluding
    assert np.array_equal(sorting.to_spike_vector(), other.to_spike_vector())
    for name in sorting.get_property_keys():
        np.testing.assert_array_equal(sorting.get_property(name), other.get_property(name))
    for name in ("dictionary.npz", "code.npz", "spike_probabilities.npz"):
        one, two = (np.load(folder / "sorter_output" / name) for folder in (first, second))
        for key in one.files:
            np.testing.assert_array_equal(one[key], two[key])
    np.testing.assert_array_equal(load_whitened(first).get_traces(), load_whitened(second).get_traces())


@pytest.mark.parametrize("value", [np.nan, 1e30])
def test_what_would_be_refused_elsewhere_may_be_in_them(simulation, excluding, save, sort, value):
    sorting = sort(
        save(simulation, spoiled(simulation.traces, value)), excluded_periods=PERIODS_S, spike_probabilities=True
    )
    assert np.array_equal(sorting.to_spike_vector(), excluding[0][1].to_spike_vector())


def test_rates_are_those_of_the_rest(excluding):
    _, sorting = excluding[0]
    expected = sorting.get_property("num_spikes") / (6.0 - 0.7)
    np.testing.assert_allclose(sorting.get_property("firing_rate"), expected, rtol=0.01)


def test_the_run_keeps_them_and_leaves_them_out_of_the_filtered_traces(excluding):
    folder, _ = excluding[0]
    periods = load_excluded_periods(folder)
    assert periods["start_sample_index"].tolist() == [30000, 120000]
    assert periods["end_sample_index"].tolist() == [45000, 126000]
    assert not periods["is_artifact"].any()
    filtered = load_filtered(excluding[1][0])
    inside = filtered.get_traces(start_frame=31000, end_frame=44000)
    assert np.abs(inside).max() < 0.1
    with pytest.raises(ValueError, match="holds no excluded_periods.npy: give the folder of a complete crsae run"):
        load_excluded_periods(folder / "nowhere")


def test_periods_of_segments_and_of_spikeinterface_are_the_same(make_simulation, save, sort):
    simulation = make_simulation(durations=(4.0, 3.0))
    recording = save(simulation)
    array = np.array([(1, 30000, 45000)], base_period_dtype)
    sortings = [sort(recording, excluded_periods=periods) for periods in ([[], [(1.0, 1.5)]], array)]
    spikes = sortings[0].to_spike_vector()
    assert np.array_equal(spikes, sortings[1].to_spike_vector())
    in_second = spikes["sample_index"][spikes["segment_index"] == 1]
    assert not ((in_second >= 30000) & (in_second < 45000)).any()
    in_first = spikes["sample_index"][spikes["segment_index"] == 0]
    assert ((in_first >= 30000) & (in_first < 45000)).any()


def test_periods_that_leave_nothing_are_refused_and_leave_no_folder(simulation, save, tmp_path):
    recording = save(simulation)
    with pytest.raises(ValueError, match="excluded_periods leave nothing of the recording"):
        run_sorter("crsae", recording, folder=tmp_path / "run", excluded_periods=[(0, 6)])
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def disturbed(make_simulation, tmp_path_factory):
    """20 s of a tetrode with 0.5 % of the time in artifacts: (simulation, mask of them, recording, clean recording)."""
    simulation = make_simulation(num_units=4, durations=(20.0,), seed=3)
    traces, random = simulation.traces, np.random.default_rng(0)
    mask = np.zeros(len(traces), bool)
    for index, start in enumerate(range(20000, 590000, 60000)):
        length = (60, 900)[index % 2]
        stretch = slice(start, start + length)
        values = LARGE_UV * random.uniform(0.6, 1.4, traces.shape[1]) * random.choice([-1, 1])
        traces[stretch] += values if length == 60 else values * random.standard_normal((length, 1))
        mask[stretch] = True
    folder, saved = tmp_path_factory.mktemp("disturbed"), []
    for name, each in (("disturbed", traces), ("clean", simulation.traces)):
        recording = si.NumpyRecording([each], RATE_HZ)
        recording.set_probe(simulation.probe)
        saved.append(recording.save(folder=folder / name, progress_bar=False))
    return simulation, mask, *saved


def test_artifacts_are_found_by_themselves_and_cost_less_than_one_percent_outside_them(disturbed, tmp_path):
    simulation, mask, recording, clean = disturbed
    assert 0.004 < mask.mean() < 0.01
    sorting = run_sorter("crsae", recording, folder=tmp_path / "run")
    assert re.search(r"10 artifacts, .* left out \(the first at 0\.66\d s", log_of(tmp_path / "run"))
    expected = run_sorter("crsae", clean, folder=tmp_path / "clean")
    periods = load_excluded_periods(tmp_path / "run")
    assert periods["is_artifact"].all()
    excluded = mask_of(periods, mask.size)
    assert excluded[mask].mean() > 0.99
    assert excluded.mean() < 2 * mask.mean()
    truth = outside(simulation.sorting, excluded)
    of_both = [
        compare_sorter_to_ground_truth(truth, outside(each, excluded), exhaustive_gt=True).get_performance()["accuracy"]
        for each in (expected, sorting)
    ]
    assert of_both[1].mean() > of_both[0].mean() - 0.01
    learned, usual = (
        si.load(tmp_path / run / "sorter_output" / "templates.zarr").get_dense_templates() for run in ("run", "clean")
    )
    assert learned.shape == usual.shape
    from_50_spikes = NOISE_UV * np.sqrt(2 / 50)
    assert np.sqrt(np.mean((learned - usual) ** 2, axis=(1, 2))).max() < from_50_spikes


def test_artifacts_are_sorted_like_the_rest_if_asked_for(disturbed, tmp_path):
    run_sorter("crsae", disturbed[2], folder=tmp_path / "run", exclude_artifacts=False)
    assert len(load_excluded_periods(tmp_path / "run")) == 0
    assert not list((tmp_path / "run").rglob("excluded.npz"))


def test_where_there_are_none_nothing_is_excluded_and_nothing_changes(reference, sort):
    recording, expected = reference
    sorting = sort(recording, exclude_artifacts=False)
    assert np.array_equal(sorting.to_spike_vector(), expected.to_spike_vector())


def test_an_artifact_on_one_shank_is_excluded_there_only(simulation, make_simulation, tmp_path):
    traces = np.hstack([simulation.traces, make_simulation(seed=2).traces])
    traces[50000:50060, :4] += LARGE_UV
    recording = si.NumpyRecording([traces], RATE_HZ)
    recording.set_dummy_probe_from_locations(
        np.vstack([simulation.probe.contact_positions, simulation.probe.contact_positions + [500, 0]])
    )
    recording.set_property("group", ["left"] * 4 + ["right"] * 4)
    saved = recording.save(folder=tmp_path / "recording", progress_bar=False)
    run_sorter("crsae", saved, folder=tmp_path / "run")
    assert re.search(r"group 1 of 2: 1 artifact, .* left out \(the first at 1\.66", log_of(tmp_path / "run"))
    (period,) = load_excluded_periods(tmp_path / "run")
    assert period["group_index"] == 0
    filtered = load_filtered(tmp_path / "run").get_traces(start_frame=50020, end_frame=50040)
    assert np.abs(filtered[:, :4]).max() < LARGE_UV / 20
