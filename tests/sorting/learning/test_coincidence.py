"""Claims about the company of events: at one lag, and where a neuron cannot fire again."""

import numpy as np
import pytest
from simulated_units import RATE_HZ, draw_bursts, draw_times, make_template, make_unit

from si_crsae.sorting.learning.coincidence import are_accompanied, excess_fraction, steady_fraction
from si_crsae.sorting.learning.structure import fraction_in_company

TEMPLATE = make_template((1.0, 0.6, 0.3, 0.2), norm=30)
LARGE = draw_times(1, count=300, refractory=400)
NEAR, FAR = (16, 60), 300


def atom(times):
    return make_unit(TEMPLATE, times, seed=0)


def company(times, other=LARGE):
    return fraction_in_company(atom(times), atom(other), sampling_frequency=RATE_HZ)


def test_both_ends_of_the_lags_count():
    one, two = atom([1000, 2000, 3000]), atom([995, 2003, 3004])
    assert are_accompanied(one, two, lags=(-5, 3)).tolist() == [True, True, False]
    assert are_accompanied(one, two, lags=(4, 4)).tolist() == [False, False, True]


@pytest.mark.parametrize("lag", [-11, 0, 7])
def test_company_at_one_lag_is_found_whatever_the_lag(lag):
    jittered = LARGE + lag + np.random.default_rng(0).integers(-4, 5, LARGE.size)
    assert steady_fraction(atom(jittered), atom(LARGE), max_lag=15, jitter=4) == 1.0
    assert steady_fraction(atom(jittered), atom(LARGE), max_lag=15, jitter=1) < 0.6


def test_company_at_any_lag_is_not_steady():
    spread = LARGE + np.random.default_rng(0).integers(-15, 16, LARGE.size)
    assert steady_fraction(atom(spread), atom(LARGE), max_lag=15, jitter=4) < 0.4


def test_company_beyond_chance_is_measured():
    beside = LARGE[:150] + np.random.default_rng(0).integers(*NEAR, 150)
    chance = draw_times(2, count=150)
    half = atom(np.concatenate([beside, chance]))
    assert excess_fraction(half, atom(LARGE), near=NEAR, far=FAR) == pytest.approx(0.5, abs=0.05)
    assert excess_fraction(atom(chance), atom(LARGE), near=NEAR, far=FAR) == pytest.approx(0, abs=0.05)


def test_chance_is_told_of_units_that_fire_fast():
    fast = draw_times(3, count=3000)
    other = atom(draw_times(4, count=500))
    assert are_accompanied(other, atom(fast), lags=(-60, 60)).mean() > 0.5
    assert excess_fraction(other, atom(fast), near=NEAR, far=FAR) == pytest.approx(0, abs=0.08)


def test_bursts_of_both_are_no_excess():
    onsets = draw_times(5, count=150, refractory=800)
    one, _ = draw_bursts(6, count=150, onsets=onsets + np.random.default_rng(0).integers(0, 300, 150))
    two, _ = draw_bursts(7, count=150, onsets=onsets)
    assert are_accompanied(atom(one), atom(two), lags=(-60, 60)).mean() > 0.4
    assert excess_fraction(atom(one), atom(two), near=NEAR, far=FAR) < 0.1


@pytest.mark.parametrize("count", [0, 1])
def test_no_or_one_event_has_no_fraction_by_division(count):
    few = atom(LARGE[:count] + 120)
    assert steady_fraction(few, atom(LARGE), max_lag=15, jitter=4) == 0.0
    assert excess_fraction(few, atom(LARGE), near=NEAR, far=FAR) == 0.0
    assert steady_fraction(atom(LARGE), atom([]), max_lag=15, jitter=4) == 0.0
    assert excess_fraction(atom(LARGE), atom([]), near=NEAR, far=FAR) == 0.0
    assert company([]) == 0.0


@pytest.mark.parametrize("lag_ms", [0.13, -0.3, 1.07, -1.8], ids="{} ms".format)
def test_a_part_of_a_spike_is_in_company(lag_ms):
    """Within half a millisecond, or a phase beyond the window of the template."""
    assert company(LARGE[::2] + round(lag_ms * RATE_HZ / 1000)) > 0.9


@pytest.mark.parametrize("synchrony", [0.2, 0.6])
def test_neurons_in_synchrony_are_in_no_company(synchrony):
    rng = np.random.default_rng(0)
    together = LARGE[rng.random(LARGE.size) < synchrony]
    times = np.concatenate([together + rng.integers(-30, 31, together.size), draw_times(2, count=300 - together.size)])
    assert are_accompanied(atom(times), atom(LARGE), lags=(-30, 30)).mean() > synchrony - 0.1
    assert company(times) < 0.4
