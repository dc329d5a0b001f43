"""Spikes that shrink within bursts: a neuron has an atom for each of their sizes, and its times say that it is one."""

from functools import partial

from scipy.stats import binom

from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.learning.coincidence import Timed, count_close_pairs
from si_crsae.sorting.learning.history import Reason, below


def share_bursts(
    first: Timed, second: Timed, *, sampling_frequency: float, assumed: Assumptions = ASSUMED
) -> Reason | None:
    """Tell why the events of two atoms are one neuron's: they follow each other in bursts, but hardly ever at once.

    Neurons that fire independently, or are driven together, have as many pairs of spikes per ms within a refractory
    period as in the ms that come after it. That so few are there by chance is a matter of the binomial distribution.
    """
    bursts, low, high = assumed.bursts, assumed.refractory.one_spike_ms, assumed.refractory.impossible_ms[1]
    count = partial(count_close_pairs, first, second, sampling_frequency=sampling_frequency)
    (violations, _), (later, _) = count(window_ms=(low, high)), count(window_ms=(high, bursts.burst_ms))
    share = (high - low) / (bursts.burst_ms - low)
    if violations * (1 - share) > bursts.max_violations * later * share:
        return None
    by_chance = float(binom.cdf(violations, violations + later, share))
    return below("chance_of_so_few_close_pairs", by_chance, bursts.max_false_joins)
