"""Claims about atoms whose times say that they are one neuron, however their spikes differ in size."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_units import RATE_HZ, draw_bursts, draw_times, make_template, make_unit

from si_crsae.sorting.assumptions import ASSUMED, Assumptions, BurstAssumptions
from si_crsae.sorting.learning.bursts import share_bursts

TEMPLATE = make_template((1.0, 0.6, 0.3, 0.2), norm=30)
TIMES, PLACES = draw_bursts(1, count=100)


def atom(times):
    return make_unit(TEMPLATE, times, seed=0)


def why(first, second, assumed=ASSUMED):
    return share_bursts(atom(first), atom(second), sampling_frequency=RATE_HZ, assumed=assumed)


def halves(times, seed=0):
    is_first = np.random.default_rng(seed).random(times.size) < 0.5
    return times[is_first], times[~is_first]


@pytest.mark.parametrize("parts", [(TIMES[PLACES < 2], TIMES[PLACES >= 2]), halves(TIMES)], ids=["sizes", "halves"])
def test_the_atoms_of_a_bursting_neuron_are_one(parts):
    reason = why(*parts)
    assert reason.figure == "chance_of_so_few_close_pairs"
    assert reason.value < reason.threshold == ASSUMED.bursts.max_false_joins


@pytest.mark.parametrize("seed", range(5))
def test_two_bursting_neurons_of_the_same_rate_are_two(seed):
    other, _ = draw_bursts(10 + seed, count=100)
    assert why(TIMES, other) is None


@pytest.mark.parametrize("seed", range(5))
def test_two_neurons_that_burst_together_are_two(seed):
    onsets = TIMES[PLACES == 0] + np.random.default_rng(seed).integers(-60, 60, 100)
    other, _ = draw_bursts(20 + seed, count=100, onsets=onsets)
    assert why(TIMES, other) is None


def test_a_neuron_that_fires_fast_needs_no_bursts():
    steady = draw_times(3, count=800, refractory=90)
    assert why(*halves(steady))
    assert why(steady, draw_times(4, count=800, refractory=90)) is None


def test_few_pairs_say_nothing():
    first, second = TIMES[PLACES == 0], TIMES[PLACES == 1]  # one pair of each burst
    assert why(first[:60], second[:60])
    assert why(first[:30], second[:30]) is None
    likelier = Assumptions(bursts=BurstAssumptions(max_false_joins=0.02))
    assert why(first[:30], second[:30], likelier)


@pytest.mark.parametrize(("violations", "is_one"), [(15, True), (33, False)])
def test_some_pairs_within_a_refractory_period_are_forgiven(violations, is_one):
    """Beside 400 at the burst's own intervals, two neurons would have 65."""
    first, second = TIMES[PLACES % 2 == 0], TIMES[PLACES % 2 == 1]
    false = first[np.linspace(0, first.size - 1, violations).astype(int)] + 45
    second = np.sort(np.concatenate([second, false]))
    assert bool(why(first, second)) == is_one
    for max_violations, expected in ((0.05, False), (0.7, True)):
        assumed = Assumptions(bursts=BurstAssumptions(max_violations=max_violations))
        assert bool(why(first, second, assumed)) == expected


def test_intervals_longer_than_those_of_a_burst_say_nothing():
    slow, place = draw_bursts(5, count=80, interval_ms=(12.0, 15.0))
    parts = slow[place % 2 == 0], slow[place % 2 == 1]
    assert why(*parts) is None
    assert why(*parts, Assumptions(bursts=BurstAssumptions(burst_ms=20.0)))


def test_bursts_join_within_a_segment_only():
    first, second = atom(TIMES[PLACES < 2]), atom(TIMES[PLACES >= 2])
    elsewhere = replace(second, segment_index=np.ones(second.num_events, "int64"))
    assert share_bursts(first, second, sampling_frequency=RATE_HZ)
    assert share_bursts(first, elsewhere, sampling_frequency=RATE_HZ) is None


@pytest.mark.parametrize("count", [0, 1])
def test_atoms_of_no_or_one_event_are_joined_to_none(count):
    assert why(TIMES, TIMES[:count] + 100) is None
    assert why(TIMES[:count], TIMES[:count]) is None
