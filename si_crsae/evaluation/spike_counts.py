"""Spike counts of a simulated population, what else is used to estimate their rates, and how estimates are judged."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from si_crsae.core.likelihoods import Binomial, Likelihood, Poisson

_FOLDS = 5
# A histogram that is zero where a held-out spike falls has no likelihood: rates are kept above this share of the mean.
_LEAST_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedCounts:
    """Counts whose rates are known.

    Parameters
    ----------
    counts : array of int, shape (unit, trial, bin)
    rates : array, shape (unit, bin)
        Expected count of a bin of one trial.
    bin_s : float
        Length of a bin (s).
    likelihood : Likelihood
        What they were drawn from, for one bin of one trial.
    """

    counts: np.ndarray
    rates: np.ndarray
    bin_s: float
    likelihood: Likelihood


def simulate_counts(
    *,
    rate_hz: float,
    num_trials: int,
    num_units: int = 30,
    num_bins: int = 150,
    bin_s: float = 0.01,
    is_binary: bool = False,
    seed: int = 0,
) -> SimulatedCounts:
    """Return counts of units that respond to an event in the middle third of the trial.

    The logarithm (for binary bins the log-odds) of each unit's rate is a baseline plus a fast transient, a slower bump,
    a sustained response with sharp onset and slow decay, each with its own size and latency, and for a third of the
    units a suppression. A fifth of the units do not respond.

    Parameters
    ----------
    rate_hz : float
        Rate without a response (Hz).
    num_trials : int
    num_units : int, default: 30
    num_bins : int, default: 150
    bin_s : float, default: 0.01
        Length of a bin (s).
    is_binary : bool, default: False
        If True, a bin of a trial has at most one spike.
    seed : int, default: 0

    Returns
    -------
    SimulatedCounts
    """
    if not rate_hz > 0:
        raise ValueError(f"rate_hz = {rate_hz}: it must be positive")
    rng = np.random.default_rng(seed)
    time_s = bin_s * np.arange(num_bins)
    event_s = time_s[-1] / 3
    change = np.zeros((num_units, num_bins))
    for unit in range(num_units):
        if unit % 5 == 4:
            continue
        latency_s = event_s + rng.uniform(0.03, 0.15)
        after_s = time_s - latency_s
        change[unit] += rng.uniform(0.5, 2.0) * np.exp(-0.5 * (after_s / 0.012) ** 2)
        change[unit] += rng.uniform(0.0, 1.0) * np.exp(-0.5 * ((after_s - 0.2) / 0.06) ** 2)
        change[unit] += rng.uniform(0.0, 1.0) * (after_s > 0) * np.exp(-np.maximum(after_s, 0) / 0.15)
        if unit % 3 == 0:
            change[unit] -= rng.uniform(0.5, 1.5) * np.exp(-0.5 * ((after_s - 0.45) / 0.08) ** 2)
    resting = rate_hz * bin_s
    if is_binary:
        rates = 1 / (1 + (1 - resting) / resting * np.exp(-change))
        return SimulatedCounts(
            counts=rng.binomial(1, rates[:, None], (num_units, num_trials, num_bins)),
            rates=rates,
            bin_s=bin_s,
            likelihood=Binomial(num_trials=1),
        )
    rates = resting * np.exp(change)
    counts = rng.poisson(rates[:, None], (num_units, num_trials, num_bins))
    return SimulatedCounts(counts=counts, rates=rates, bin_s=bin_s, likelihood=Poisson())


def histogram_rates(counts: np.ndarray) -> np.ndarray:
    """Return the mean over trials (PSTH), shape (unit, bin): expected counts of a bin of one trial."""
    return counts.mean(axis=1)


def smoothed_rates(
    counts: np.ndarray,
    log_likelihood: Callable[[np.ndarray, np.ndarray], float],
    *,
    widths: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 14.0, 20.0, 40.0),
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the histogram of each unit, smoothed by a Gaussian whose width is cross-validated over trials.

    Parameters
    ----------
    counts : array of int, shape (unit, trial, bin)
    log_likelihood : callable
        Called with counts, shape (trial, bin), and rates, shape (bin,); returns the log-likelihood of the counts.
    widths : tuple of float
        Standard deviations to choose from, for every unit on its own (bins).
    seed : int, default: 0
        Decides which trials form a fold.

    Returns
    -------
    rates : array, shape (unit, bin)
    chosen : array, shape (unit,)
        Width of each unit (bins).
    """
    num_units, num_trials, _ = counts.shape
    order = np.random.default_rng(seed).permutation(num_trials)
    folds = np.array_split(order, min(_FOLDS, num_trials))
    scores = np.zeros((len(widths), num_units))
    for held_out in folds:
        kept = np.setdiff1d(order, held_out) if len(folds) > 1 else held_out
        histogram = histogram_rates(counts[:, kept])
        for index, width in enumerate(widths):
            rates = smooth(histogram, width)
            scores[index] += [log_likelihood(counts[unit, held_out], rates[unit]) for unit in range(num_units)]
    chosen = np.array(widths)[scores.argmax(axis=0)]
    histogram = histogram_rates(counts)
    return np.stack([smooth(histogram[unit], chosen[unit]) for unit in range(num_units)]), chosen


def smooth(histogram: np.ndarray, width: float) -> np.ndarray:
    """Return a histogram smoothed by a Gaussian of some standard deviation (bins), without loss at the borders."""
    smoothed = ndimage.gaussian_filter1d(histogram.astype(float), width, axis=-1, mode="constant")
    return smoothed / ndimage.gaussian_filter1d(np.ones(histogram.shape[-1]), width, mode="constant")


def bits_per_spike(
    counts: np.ndarray,
    rates: np.ndarray,
    mean_rates: np.ndarray,
    log_likelihood: Callable[[np.ndarray, np.ndarray], float],
) -> float:
    """Return how much better rates predict held-out counts than a constant does, in bits per spike of the population.

    Parameters
    ----------
    counts : array of int, shape (unit, trial, bin)
        That the rates have not seen.
    rates : array, shape (unit, bin)
    mean_rates : array, shape (unit,)
        The constant, estimated from the data that the rates have seen.
    log_likelihood : callable
        Called with counts, shape (trial, bin), and rates, shape (bin,); returns nats.

    Returns
    -------
    float
        NaN without a spike.

    References
    ----------
    .. [1] Pei et al., "Neural latents benchmark '21", NeurIPS 2021, section 4.
    """
    gain = 0.0
    for unit_counts, unit_rates, mean_rate in zip(counts, rates, mean_rates, strict=True):
        constant = np.full_like(unit_rates, mean_rate)
        gain += log_likelihood(unit_counts, unit_rates) - log_likelihood(unit_counts, constant)
    return gain / counts.sum() / np.log(2) if counts.sum() else float("nan")


def rate_error(rates: np.ndarray, true_rates: np.ndarray) -> float:
    """Return the root of the mean squared error of the rates, in units of each unit's mean rate."""
    relative = (rates - true_rates) / true_rates.mean(axis=1, keepdims=True)
    return float(np.sqrt(np.square(relative).mean()))


def poisson_log_likelihood(counts: np.ndarray, rates: np.ndarray) -> float:
    """Return the log-likelihood of counts, up to a constant of the counts; rates are kept above zero."""
    floored = np.maximum(rates, _least(rates, counts))
    return float((counts * np.log(floored) - floored).sum())


def binary_log_likelihood(counts: np.ndarray, rates: np.ndarray) -> float:
    """Return the log-likelihood of bins of at most one spike; rates are kept above zero and below one."""
    least = _least(rates, counts)
    floored = np.clip(rates, least, 1 - least)
    return float((counts * np.log(floored) + (1 - counts) * np.log1p(-floored)).sum())


def _least(rates: np.ndarray, counts: np.ndarray) -> float:
    """Return the rate that none may fall below: a share of the mean, or of one spike in these counts."""
    return _LEAST_SHARE * max(float(rates.mean()), 1 / counts.size)
