"""Claims about the curve of missed spikes against false alarms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from si_crsae.evaluation import missed_false_alarm_curve

times = st.lists(st.integers(0, 40), max_size=12)
seeds = st.integers(0, 2**16)


def draw_spikes(seed, *, num_true=60, num_false=40):
    """Draw true times, found times in any order and amplitudes that are mostly larger for the true ones."""
    rng = np.random.default_rng(seed)
    true_times = 20 * rng.permutation(500)[:num_true]
    found_times = np.append(true_times + rng.integers(-2, 3, num_true), rng.uniform(0, 10_000, num_false))
    amplitudes = np.append(rng.normal(5, 1, num_true), rng.normal(3, 1, num_false))
    order = rng.permutation(found_times.size)
    return true_times, found_times[order], amplitudes[order]


@given(true_times=times, found_times=times, tolerance=st.integers(0, 6))
def test_pairs_are_as_many_as_in_a_maximum_bipartite_matching(true_times, found_times, tolerance):
    is_close = np.abs(np.subtract.outer(np.array(true_times, int), np.array(found_times, int))) <= tolerance
    num_pairs = 0
    if is_close.size:
        num_pairs = np.sum(maximum_bipartite_matching(csr_array(is_close), perm_type="column") >= 0)
    curve = missed_false_alarm_curve(
        true_times, found_times, np.ones(len(found_times)), tolerance=tolerance, thresholds=[0.5]
    )
    assert curve.missed[0] == pytest.approx(1 - num_pairs / len(true_times) if true_times else 0)
    assert curve.false_alarm[0] == pytest.approx(1 - num_pairs / len(found_times) if found_times else 0)


@given(seed=seeds)
def test_every_point_is_that_of_the_spikes_which_reach_the_threshold(seed):
    true_times, found_times, amplitudes = draw_spikes(seed)
    curve = missed_false_alarm_curve(true_times, found_times, amplitudes, tolerance=3, num_thresholds=7)
    for threshold, missed, false_alarm in zip(curve.thresholds, curve.missed, curve.false_alarm, strict=True):
        kept = np.abs(amplitudes) >= threshold
        alone = missed_false_alarm_curve(
            true_times, found_times[kept], amplitudes[kept], tolerance=3, thresholds=[-1.0]
        )
        assert (missed, false_alarm) == (alone.missed[0], alone.false_alarm[0])


@given(seed=seeds)
def test_a_higher_threshold_misses_no_less(seed):
    curve = missed_false_alarm_curve(*draw_spikes(seed), tolerance=3)
    assert (np.diff(curve.missed) >= 0).all()


@given(seed=seeds)
def test_order_of_spikes_and_sign_of_amplitudes_do_not_matter(seed):
    true_times, found_times, amplitudes = draw_spikes(seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(found_times.size)
    signs = rng.choice([-1, 1], amplitudes.size)
    curve = missed_false_alarm_curve(true_times, found_times, amplitudes, tolerance=3)
    other = missed_false_alarm_curve(
        rng.permutation(true_times), found_times[order], (signs * amplitudes)[order], tolerance=3
    )
    for name in ("thresholds", "missed", "false_alarm"):
        np.testing.assert_array_equal(getattr(curve, name), getattr(other, name))


def test_one_found_spike_stands_for_one_true_spike_only():
    curve = missed_false_alarm_curve([10, 11], [10], [1.0], tolerance=5)
    assert (curve.missed[0], curve.false_alarm[0]) == (0.5, 0)
    curve = missed_false_alarm_curve([10], [10, 11], [1.0, 1.0], tolerance=5)
    assert (curve.missed[0], curve.false_alarm[0]) == (0, 0.5)


@pytest.mark.parametrize(("distance", "missed"), [(3, 0), (-3, 0), (3.5, 1), (-3.5, 1)])
def test_the_tolerance_itself_is_still_close_enough(distance, missed):
    curve = missed_false_alarm_curve([100], [100 + distance], [1.0], tolerance=3)
    assert curve.missed[0] == missed


def test_thresholds_run_from_the_smallest_to_the_largest_amplitude_and_each_drops_a_spike():
    _, found_times, amplitudes = draw_spikes(0, num_true=300, num_false=200)
    curve = missed_false_alarm_curve([], found_times, amplitudes, tolerance=3, num_thresholds=50)
    sizes = np.abs(amplitudes)
    assert curve.thresholds.size == 50
    assert (curve.thresholds[0], curve.thresholds[-1]) == (sizes.min(), sizes.max())
    num_kept = (sizes >= curve.thresholds[:, None]).sum(axis=1)
    assert (np.diff(num_kept) < 0).all()


def test_repeated_amplitudes_give_fewer_thresholds():
    curve = missed_false_alarm_curve([1], [1, 2, 3], [2.0, -2.0, 5.0], tolerance=0)
    np.testing.assert_array_equal(curve.thresholds, [2, 5])


def test_given_thresholds_are_kept_in_their_order():
    curve = missed_false_alarm_curve([1, 50], [1, 50], [2.0, 4.0], tolerance=0, thresholds=[5, 1, 3])
    np.testing.assert_array_equal(curve.thresholds, [5, 1, 3])
    np.testing.assert_array_equal(curve.missed, [1, 0, 0.5])
    np.testing.assert_array_equal(curve.false_alarm, 0)


def test_the_best_point_has_the_least_sum():
    true_times, found_times, amplitudes = draw_spikes(2)
    curve = missed_false_alarm_curve(true_times, found_times, amplitudes, tolerance=3)
    total = curve.missed + curve.false_alarm
    assert total[curve.best_index] == total.min()
    assert total.min() < total[0]
    assert total.min() < total[-1]


def test_without_found_spikes_everything_is_missed_and_nothing_false():
    curve = missed_false_alarm_curve([10, 20], [], [], tolerance=3)
    assert (curve.thresholds.tolist(), curve.missed.tolist(), curve.false_alarm.tolist()) == ([0], [1], [0])


def test_without_true_spikes_nothing_is_missed_and_everything_false():
    curve = missed_false_alarm_curve([], [10, 20], [1.0, 2.0], tolerance=3)
    assert (curve.missed.tolist(), curve.false_alarm.tolist()) == ([0, 0], [1, 1])


def test_without_any_spikes_there_is_no_error():
    curve = missed_false_alarm_curve([], [], [], tolerance=3)
    assert (curve.missed.tolist(), curve.false_alarm.tolist(), curve.best_index) == ([0], [0], 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"true_times": [np.nan]}, "true_times holds NaN or infinity; remove"),
        ({"found_times": [np.inf, 1.0]}, "found_times holds NaN or infinity; remove"),
        ({"found_amplitudes": [np.nan, 1.0]}, "found_amplitudes holds NaN or infinity; remove"),
        ({"thresholds": [np.nan]}, "thresholds holds NaN or infinity; remove"),
        ({"thresholds": []}, "thresholds is empty; give at least one"),
        ({"thresholds": 0.5}, r"thresholds has shape \(\): one axis is needed"),
        ({"true_times": [[1, 2]]}, r"true_times has shape \(1, 2\): one axis is needed"),
        ({"found_amplitudes": [1.0]}, "found_amplitudes has 1 entries, found_times 2; give one amplitude per found"),
        ({"tolerance": -1}, "tolerance = -1: at least 0 samples is needed"),
        ({"tolerance": np.nan}, "tolerance = nan: at least 0 samples is needed"),
        ({"num_thresholds": 1}, "num_thresholds = 1: at least 2 is needed, or give thresholds"),
    ],
)
def test_input_that_makes_no_curve_is_refused(changes, message):
    arguments = {"true_times": [1, 2], "found_times": [1, 2], "found_amplitudes": [1.0, 2.0], "tolerance": 1}
    with pytest.raises(ValueError, match=message):
        missed_false_alarm_curve(**{**arguments, **changes})
