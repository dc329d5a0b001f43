"""Claims about what events are worth: the best amplitudes, or integrals over all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import dblquad, quad
from scipy.stats import norm

from si_crsae.core.events.worth import (
    Odds,
    Sighting,
    WorthOfTwo,
    amplitude_of_one,
    log_evidence_of_one,
    log_evidence_of_two,
    pull_of,
    worth_of_one,
    worth_of_two,
)

NOISE, SPREAD, PRICE = 1.3, 0.2, 3.0
ODDS = Odds(NOISE, SPREAD, PRICE)
values, scales, betweens = st.floats(-5, 20), st.floats(3, 15), st.floats(-0.9, 0.9)


def worth_at(value, scale, amplitude):
    """Return the log posterior of one event of some amplitude against none, times the squared noise."""
    surprise = (amplitude / scale - 1) / SPREAD
    return value * amplitude - amplitude**2 / 2 - NOISE**2 * (surprise**2 / 2 + PRICE)


@given(value=values, scale=scales, other=st.floats(-5, 20))
def test_no_amplitude_is_worth_more_than_the_most_probable_one(value, scale, other):
    best, worth = amplitude_of_one(value, scale, ODDS), worth_of_one(value, scale, ODDS)
    assert worth == pytest.approx(worth_at(value, scale, best), abs=1e-9)
    assert worth >= worth_at(value, scale, other) - 1e-9


@given(
    value=st.tuples(values, values),
    scale=st.tuples(scales, scales),
    between=betweens,
    other=st.tuples(*[st.floats(0, 20)] * 2),
)
def test_no_two_amplitudes_are_worth_more_than_the_most_probable_ones(value, scale, between, other):
    found = worth_of_two(Sighting(value[0], scale[0]), Sighting(value[1], scale[1]), between, ODDS)
    assert type(found) is WorthOfTwo

    def worth_of(first, second):
        alone = worth_at(value[0], scale[0], first) + worth_at(value[1], scale[1], second)
        return alone - between * first * second

    if min(found.first, found.second) <= 0:
        assert found.worth == -np.inf
        return
    assert found.worth == pytest.approx(worth_of(found.first, found.second), abs=1e-9)
    assert found.worth >= worth_of(*other) - 1e-9


@given(value=values, scale=scales)
def test_two_events_that_do_not_meet_are_worth_their_sum(value, scale):
    one, two = Sighting(value, scale), Sighting(9.0, 8.0)
    both = worth_of_two(one, two, 0.0, ODDS)
    if both.worth > -np.inf:
        assert both.worth == pytest.approx(worth_of_one(*one, ODDS) + worth_of_one(*two, ODDS), abs=1e-9)
        assert both.first == pytest.approx(amplitude_of_one(*one, ODDS), abs=1e-9)


def test_the_pull_is_the_variance_of_the_noise_over_that_of_amplitudes():
    assert pull_of(5.0, ODDS) == pytest.approx(NOISE**2 / (SPREAD * 5.0) ** 2)


@pytest.mark.parametrize(("value", "scale"), [(0.0, 5.0), (4.0, 5.0), (6.5, 5.0), (20.0, 12.0)])
def test_the_evidence_of_one_event_is_an_integral_over_its_amplitude(value, scale):
    def weight(x):
        return norm.pdf(x, scale, SPREAD * scale) * np.exp((value * x - x**2 / 2) / NOISE**2)

    integral, _ = quad(weight, scale - 8 * SPREAD * scale, scale + 8 * SPREAD * scale, limit=200)
    assert log_evidence_of_one(value, scale, ODDS) == pytest.approx(np.log(integral), abs=1e-6)


@pytest.mark.parametrize("between", [-0.5, 0.0, 0.7])
def test_the_evidence_of_two_events_is_an_integral_over_both_amplitudes(between):
    values, scales = (6.0, 7.0), (5.0, 6.0)
    one, two = map(Sighting, values, scales)

    def weight(x, y):
        explained = values[0] * x + values[1] * y - x**2 / 2 - y**2 / 2 - between * x * y
        prior = norm.pdf(x, scales[0], SPREAD * scales[0]) * norm.pdf(y, scales[1], SPREAD * scales[1])
        return prior * np.exp(explained / NOISE**2)

    (a, b), reach = scales, 6 * SPREAD
    integral, _ = dblquad(weight, b - reach * b, b + reach * b, a - reach * a, a + reach * a, epsrel=1e-6)
    assert log_evidence_of_two(one, two, between, ODDS) == pytest.approx(np.log(integral), abs=1e-4)


def test_a_pair_of_which_one_would_be_negative_explains_nothing():
    one, two = Sighting(9.0, 5.0), Sighting(-9.0, 5.0)
    assert log_evidence_of_two(one, two, 0.0, ODDS._replace(spread=1.0)) == -np.inf
