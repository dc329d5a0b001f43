from dataclasses import replace

import numpy as np
import pytest
import spikeinterface as si
from spikeinterface.core import NumpySorting

from si_crsae.evaluation import (
    CASES,
    align_truth,
    count_best_unit,
    estimate_lag,
    generate_case,
    load_case,
    score_sorting,
)
from si_crsae.evaluation.comparison import found_spikes, overlapping_spikes
from si_crsae.evaluation.simulation import add_collisions, simulate, spike_amplitudes

FREQUENCY = 10000.0


def make_sorting(*trains):
    units = {str(index): np.array(train, dtype="int64") for index, train in enumerate(trains)}
    return NumpySorting.from_unit_dict([units], FREQUENCY)


@pytest.fixture
def truth():
    return make_sorting([100, 500, 900, 1300], [105, 700, 1100, 1305])


def test_perfect_sorting_has_perfect_score(truth):
    score = score_sorting(truth, truth)
    assert (score.accuracy, score.recall, score.precision, score.overlapping_recall) == (1.0, 1.0, 1.0, 1.0)
    assert (score.num_well_detected, score.num_false_positive, score.num_redundant, score.num_overmerged) == (
        2,
        0,
        0,
        0,
    )
    assert score.per_unit["num_overlapping"].tolist() == [2, 2]


def test_missing_overlaps_lower_only_their_unit(truth):
    tested = make_sorting([100, 500, 900, 1300], [700, 1100, 1305])
    score = score_sorting(tested, truth)
    assert score.per_unit["recall"].tolist() == [1.0, 0.75]
    assert score.overlapping_recall == 0.75


def test_extra_merged_and_repeated_units_are_counted(truth):
    first, second = (truth.get_unit_spike_train(unit_id) for unit_id in truth.unit_ids)
    assert score_sorting(make_sorting(first, second, [200, 300]), truth).num_false_positive == 1
    assert score_sorting(make_sorting(first, second, first[:2]), truth).num_redundant == 1
    assert score_sorting(make_sorting(np.sort(np.append(first, second))), truth).num_overmerged == 1


def test_matched_units_keep_their_ids_beside_units_without_a_match(truth):
    tested = NumpySorting.from_unit_dict([{7: truth.get_unit_spike_train("0")}], FREQUENCY)
    assert score_sorting(tested, truth).per_unit["matched_unit"].tolist() == [7, None]


@pytest.mark.parametrize("saved", [False, True])
def test_sorting_without_units_scores_zero(truth, tmp_path, saved):
    tested = NumpySorting.from_unit_dict([{}], FREQUENCY)
    if saved:
        tested.save(folder=tmp_path / "sorting")
        tested = si.load(tmp_path / "sorting")
    score = score_sorting(tested, truth)
    assert (score.accuracy, score.overlapping_recall, score.num_tested_units) == (0.0, 0.0, 0)
    assert score.per_unit["matched_unit"].isna().all()


def test_sorting_without_units_scores_zero_in_two_segments():
    trains = {"0": np.array([100, 200])}
    truth = NumpySorting.from_unit_dict([trains, trains], FREQUENCY)
    assert score_sorting(NumpySorting.from_unit_dict([{}], FREQUENCY), truth).accuracy == 0.0
    assert score_sorting(truth, truth).accuracy == 1.0


def test_segments_do_not_overlap_each_other():
    truth = NumpySorting.from_unit_dict(
        [{"a": np.array([100]), "b": np.array([500])}, {"a": np.array([500]), "b": np.array([505])}], FREQUENCY
    )
    assert overlapping_spikes(truth).tolist() == [False, False, True, True]


def test_a_spike_is_found_by_the_unit_that_it_is_sought_under():
    truth = make_sorting([100, 500], [104, 900])
    tested = make_sorting([101], [500, 903])
    assert found_spikes(tested, truth, ["0", "1"], delta_ms=0.4).tolist() == [True, False, False, True]
    assert found_spikes(tested, truth, ["1", None], delta_ms=0.4).tolist() == [False, False, True, False]


def test_score_refuses_what_cannot_be_compared(truth):
    with pytest.raises(ValueError, match="truth has 0 units"):
        score_sorting(truth, NumpySorting.from_unit_dict([{}], FREQUENCY))
    with pytest.raises(ValueError, match="sampling_frequency"):
        score_sorting(NumpySorting.from_unit_dict([{"0": np.array([3])}], 30000.0), truth)


def test_lag_is_found_among_other_spikes():
    rng = np.random.default_rng(0)
    true_times = np.sort(rng.integers(0, 50000, 60))
    times = np.concatenate([true_times - 28 + rng.integers(-1, 2, 60), rng.integers(0, 50000, 300)])
    assert estimate_lag(times, true_times, sampling_frequency=FREQUENCY) == -28
    assert estimate_lag([], true_times, sampling_frequency=FREQUENCY) == 0


def test_align_truth_moves_each_unit_on_its_own(truth):
    first, second = (truth.get_unit_spike_train(unit_id) for unit_id in truth.unit_ids)
    moved = align_truth(truth, make_sorting(first + 15, second - 12))
    np.testing.assert_array_equal(moved.get_unit_spike_train("0"), first + 15)
    np.testing.assert_array_equal(moved.get_unit_spike_train("1"), second - 12)


def test_best_unit_is_the_one_that_resembles_most():
    train = np.array([100, 500, 900, 1300])
    everything = np.arange(100, 5000, 100)
    assert count_best_unit(make_sorting(everything, [101, 500, 900, 2000]), train) == (3, 1)
    assert count_best_unit(NumpySorting.from_unit_dict([{}], FREQUENCY), train) == (0, 0)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if "32" in name or "64" in name else ()) for name in CASES]
)
def test_generated_case_has_the_units_it_names(name):
    recording, sorting = generate_case(name, duration_s=2.0, seed=5)
    spec = CASES[name]
    assert sorting.get_num_units() == spec.num_units
    assert recording.get_num_channels() == spec.make_probe().get_contact_count()
    assert recording.get_num_samples() == 2 * spec.sampling_frequency
    assert recording.dtype == "int16"
    last = sorting.to_spike_vector()["sample_index"][-1]
    assert last < recording.get_num_samples()
    for unit_id in sorting.unit_ids:
        intervals = np.diff(sorting.get_unit_spike_train(unit_id))
        assert intervals.min(initial=1000) >= 0.0029 * spec.sampling_frequency


def test_same_seed_gives_the_same_case():
    traces = [generate_case("mono", duration_s=1.0, seed=seed)[0].get_traces() for seed in (1, 1, 2)]
    np.testing.assert_array_equal(traces[0], traces[1])
    assert not np.array_equal(traces[0], traces[2])


def test_units_have_the_signal_to_noise_ratio_they_claim():
    recording, sorting = generate_case("tetrode", duration_s=10.0, seed=3)
    recording.set_channel_gains(1.0)
    traces = recording.get_traces()
    noise = np.median(np.abs(traces - np.median(traces, axis=0)), axis=0) / 0.6745
    for unit_id, claimed in zip(sorting.unit_ids, sorting.get_property("gt_snr"), strict=True):
        spikes = sorting.get_unit_spike_train(unit_id)
        spikes = spikes[(spikes > 5) & (spikes < traces.shape[0] - 5)]
        snippets = traces[spikes[:, None] + np.arange(-5, 6)]
        assert np.abs(snippets.mean(axis=0) / noise).max() == pytest.approx(claimed, rel=0.2)


def test_collisions_are_as_frequent_as_promised():
    _, sorting = generate_case("collisions16", duration_s=20.0, seed=4)
    assert overlapping_spikes(sorting).mean() == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize("bursts", [False, True])
def test_sizes_of_spikes_are_those_in_the_traces(bursts):
    loud = replace(
        CASES["mono"], num_units=1, snr_range=(60.0, 60.0), amplitude_spread=0.0 if bursts else 0.3, bursts=bursts
    )
    recording, truth = simulate(loud, duration_s=10.0, seed=2)
    sizes = spike_amplitudes(loud, duration_s=10.0, seed=2)
    times = truth.to_spike_vector()["sample_index"]
    assert sizes.shape == times.shape
    assert sizes.std() > 0.1
    troughs = -recording.get_traces()[times, 0].astype(float)
    assert np.corrcoef(troughs, sizes)[0, 1] > 0.9


def test_spikes_are_of_one_size_unless_told_otherwise():
    _, truth = simulate(CASES["mono"], duration_s=2.0, seed=2)
    assert spike_amplitudes(CASES["mono"], duration_s=2.0, seed=2).tolist() == [1.0] * len(truth.to_spike_vector())


def test_saved_case_is_loaded(tmp_path):
    recording, sorting = generate_case("mono", duration_s=1.0)
    recording.save(folder=tmp_path / "recording", n_jobs=1, progress_bar=False)
    sorting.save(folder=tmp_path / "sorting")
    loaded_recording, loaded_sorting = load_case(tmp_path)
    np.testing.assert_array_equal(loaded_recording.get_traces(), recording.get_traces())
    np.testing.assert_array_equal(loaded_sorting.to_spike_vector(), sorting.to_spike_vector())


def test_spikes_of_one_cell_and_reference_labels_are_loaded(tmp_path):
    traces = np.arange(400, dtype="int16").reshape(100, 4)
    common = {"traces": traces, "gain": 0.5, "sampling_frequency": 15000.0}
    np.savez(tmp_path / "one.npz", true_samples=[3, 50], **common)
    np.savez(tmp_path / "several.npz", reference_samples=[3, 50], reference_labels=[2, 1], **common)
    recording, truth = load_case(tmp_path / "one.npz")
    np.testing.assert_array_equal(recording.get_traces(), traces)
    np.testing.assert_array_equal(recording.get_channel_gains(), [0.5] * 4)
    assert truth.get_unit_spike_train(truth.unit_ids[0]).tolist() == [3, 50]
    _, reference = load_case(tmp_path / "several.npz")
    assert [reference.get_unit_spike_train(unit_id).tolist() for unit_id in reference.unit_ids] == [[50], [3]]


def test_added_spikes_belong_to_the_partners_of_a_unit():
    sorting = make_sorting(np.arange(100, 90000, 100), [5], [6])
    added = add_collisions(sorting, 0.3, 0, partners=[np.array([2]), np.array([0]), np.array([0])])
    assert added.get_unit_spike_train("1").tolist() == [5]
    assert added.get_unit_spike_train("2").size > 100


def test_wrong_cases_are_refused(tmp_path):
    with pytest.raises(ValueError, match="name = 'tetrod' is not a generated case; choose one of mono"):
        generate_case("tetrod")
    with pytest.raises(ValueError, match="duration_s = 0"):
        generate_case("mono", duration_s=0)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_case(tmp_path / "nothing")
