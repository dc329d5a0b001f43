import numpy as np
import pytest
from spikeinterface.core import NumpySorting

from si_crsae.evaluation.calibration import expected_calibration_error, label_spikes, reliability_table

RATE_HZ = 30000.0


def make_sorting(trains, num_segments=1):
    return NumpySorting.from_unit_dict([trains] * num_segments, RATE_HZ)


def test_spikes_of_the_matched_unit_are_right_and_all_others_wrong():
    times = np.arange(1, 101) * 1000
    truth = make_sorting({"a": times})
    tested = make_sorting({3: np.sort(np.append(times[:80], 500)), 7: times[90:] + 300})
    is_right, missed_rate = label_spikes(tested, truth)
    spikes = tested.to_spike_vector()
    assert is_right[(spikes["unit_index"] == 0) & (spikes["sample_index"] != 500)].all()
    assert not is_right[spikes["sample_index"] == 500].any()
    assert not is_right[spikes["unit_index"] == 1].any()
    assert missed_rate[0] == pytest.approx(0.2)
    assert np.isnan(missed_rate[1])


def test_labels_of_several_segments_are_in_the_order_of_the_spike_vector():
    times = np.arange(1, 51) * 1000
    truth = make_sorting({1: times, 2: times + 400}, num_segments=2)
    moved = np.where(times > 40_000, times + 200, times)
    tested = NumpySorting.from_unit_dict([{1: times, 2: times + 400}, {1: moved, 2: times + 400}], RATE_HZ)
    is_right, _ = label_spikes(tested, truth)
    spikes = tested.to_spike_vector()
    wrong = (spikes["segment_index"] == 1) & (spikes["unit_index"] == 0) & (spikes["sample_index"] > 40_100)
    np.testing.assert_array_equal(is_right, ~wrong)


def test_nothing_found_is_nothing_right():
    is_right, missed_rate = label_spikes(make_sorting({}), make_sorting({1: np.array([10, 500])}))
    assert is_right.size == missed_rate.size == 0


def test_probabilities_that_are_kept_have_no_calibration_error():
    rng = np.random.default_rng(0)
    probability = rng.uniform(0, 1, 200_000)
    is_right = rng.uniform(0, 1, probability.size) < probability
    assert expected_calibration_error(probability, is_right) < 0.01
    table = reliability_table(probability, is_right)
    assert len(table) == 10
    np.testing.assert_allclose(table["mean"], table["right"], atol=0.02)
    assert table["count"].sum() == probability.size


def test_overconfidence_is_an_error():
    assert expected_calibration_error(np.full(100, 0.95), np.arange(100) < 60) == pytest.approx(0.35)


def test_bins_include_both_ends_and_leave_out_the_empty():
    table = reliability_table([0.0, 1.0, 1.0, 0.5], [False, True, True, True], edges=[0, 0.5, 0.9, 1])
    assert table[["low", "count"]].to_numpy().tolist() == [[0.0, 1], [0.5, 1], [0.9, 2]]
    assert np.isnan(expected_calibration_error([], []))


@pytest.mark.parametrize(
    ("probability", "is_right", "message"),
    [([0.5, 1.2], [True, True], r"ranges from 0.5 to 1.2"), ([0.5], [True, False], "one value per spike")],
)
def test_what_is_no_probability_is_refused(probability, is_right, message):
    with pytest.raises(ValueError, match=message):
        reliability_table(probability, is_right)
