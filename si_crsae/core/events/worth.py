"""What one or two events are worth: by what they explain, by how usual their amplitudes are, and by their rarity.

An event of amplitude x and scale a, where the traces have the correlation v with its atom, lowers the objective by
``v x - x^2 / 2 - pull (x - a)^2 / 2`` and costs its price; the pull is the variance of the noise over the amplitudes'.
Gain and worth are in the units of the objective, nats times the variance of the noise; the evidence is in nats.
"""

from typing import NamedTuple, no_type_check

import numpy as np

from si_crsae.core.compiled import compile_loops


class Odds(NamedTuple):
    """What is believed of events before the traces are seen, as compiled functions take it.

    Parameters
    ----------
    noise : float32
        Standard deviation of the correlation of noise with a unit-norm atom; one for all, so that what atoms explain
        is compared alike.
    spread : float32
        Standard deviation of a unit's amplitudes relative to its scale.
    price : float32
        How much rarer an event at one sample is than none (nats).
    """

    noise: np.float32
    spread: np.float32
    price: np.float32


class Sighting(NamedTuple):
    """An atom at a place where it might have an event.

    Parameters
    ----------
    value : float
        Correlation of the unit-norm atom with what there is to explain.
    scale : float
        Typical amplitude of the atom.
    """

    value: float
    scale: float


class WorthOfTwo(NamedTuple):
    """Two events at their most probable amplitudes.

    Parameters
    ----------
    worth : float
        By how much they lower the objective; -inf where one of the amplitudes would be negative.
    first, second : float
        Amplitudes.
    """

    worth: float
    first: float
    second: float


@compile_loops()
@no_type_check
def pull_of(scale, odds):
    """Return how strongly the prior pulls an amplitude to its scale: the variance of the noise over its own."""
    return (odds.noise / (odds.spread * scale)) ** 2


@compile_loops()
@no_type_check
def amplitude_of_one(value, scale, odds):
    """Return the most probable amplitude of one event."""
    pull = pull_of(scale, odds)
    return (value + pull * scale) / (1 + pull)


@compile_loops()
@no_type_check
def gain_of_one(value, scale, odds):
    """Return by how much one event lowers the objective at its most probable amplitude, its price not paid."""
    pull = pull_of(scale, odds)
    return ((value + pull * scale) ** 2 / (1 + pull) - pull * scale**2) / 2


@compile_loops()
@no_type_check
def gain_of_two(one, two, between, odds):
    """Return by how much two events lower the objective, their price not paid, and their amplitudes.

    Parameters
    ----------
    one, two : Sighting
    between : float
        Correlation of the two atoms where they stand.
    odds : Odds

    Returns
    -------
    WorthOfTwo
    """
    pull_one, pull_two = pull_of(one.scale, odds), pull_of(two.scale, odds)
    target_one, target_two = one.value + pull_one * one.scale, two.value + pull_two * two.scale
    determinant = (1 + pull_one) * (1 + pull_two) - between**2
    first = (target_one * (1 + pull_two) - target_two * between) / determinant
    second = (target_two * (1 + pull_one) - target_one * between) / determinant
    if first <= 0 or second <= 0:
        return WorthOfTwo(-np.inf, first, second)
    prior = pull_one * one.scale**2 + pull_two * two.scale**2
    return WorthOfTwo((target_one * first + target_two * second - prior) / 2, first, second)


@compile_loops()
@no_type_check
def worth_of_one(value, scale, odds):
    """Return by how much one event lowers the objective, less its price, at its most probable amplitude."""
    return gain_of_one(value, scale, odds) - odds.price * odds.noise**2


@compile_loops()
@no_type_check
def worth_of_two(one, two, between, odds):
    """Return by how much two events lower the objective, less their price, and their amplitudes.

    The amplitudes are the most probable ones; a pair of which one had to be negative is worth -inf.

    Parameters
    ----------
    one, two : Sighting
    between : float
        Correlation of the two atoms where they stand.
    odds : Odds

    Returns
    -------
    WorthOfTwo
    """
    gain, first, second = gain_of_two(one, two, between, odds)
    return WorthOfTwo(gain - 2 * odds.price * odds.noise**2, first, second)


@compile_loops()
@no_type_check
def log_evidence_of_one(value, scale, odds):
    """Return the logarithm of how much likelier the traces are with one event than without, its amplitude integrated.

    The amplitude has the prior N(scale, (spread * scale)^2) and, for a correlation with the atom of `value`, the
    likelihood ``exp((value * x - x^2 / 2) / noise^2)``. How rare events are is left out.

    Parameters
    ----------
    value : float
        Correlation of the traces with the unit-norm atom.
    scale : float
        Typical amplitude.
    odds : Odds

    Returns
    -------
    float
        In nats.
    """
    pull = pull_of(scale, odds)
    return gain_of_one(value, scale, odds) / odds.noise**2 + np.log(pull / (1 + pull)) / 2


@compile_loops()
@no_type_check
def log_evidence_of_two(one, two, between, odds):
    """Return the same for two events at once, or -inf where one of them would be negative.

    Parameters
    ----------
    one, two : Sighting
    between : float
        Correlation of the two atoms where they stand.
    odds : Odds

    Returns
    -------
    float
        In nats.
    """
    gain, first, second = gain_of_two(one, two, between, odds)
    if first <= 0 or second <= 0:
        return -np.inf
    pull_one, pull_two = pull_of(one.scale, odds), pull_of(two.scale, odds)
    determinant = (1 + pull_one) * (1 + pull_two) - between**2
    return gain / odds.noise**2 + np.log(pull_one * pull_two / determinant) / 2
