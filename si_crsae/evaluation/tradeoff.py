"""The exchange between missed spikes and false alarms as the threshold on amplitudes rises."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from si_crsae.core.compiled import compile_loops


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeoffCurve:
    """Missed and false proportions at each threshold; from `missed_false_alarm_curve`."""

    thresholds: Float[np.ndarray, " threshold"]
    """Least absolute amplitude of a found spike that counts."""
    missed: Float[np.ndarray, " threshold"]
    """Proportion of the true spikes that were not found; 0 if there is none."""
    false_alarm: Float[np.ndarray, " threshold"]
    """Proportion of the counting found spikes that are not true; 0 if there is none."""

    @property
    def best_index(self) -> int:
        """Position of the threshold with the least sum of missed and false alarm, the first one of several."""
        return int(np.argmin(self.missed + self.false_alarm))


def missed_false_alarm_curve(
    true_times: ArrayLike,
    found_times: ArrayLike,
    found_amplitudes: ArrayLike,
    *,
    tolerance: float,
    num_thresholds: int = 100,
    thresholds: ArrayLike | None = None,
) -> TradeoffCurve:
    """Return the proportions of missed and of false spikes of one unit as a function of the threshold [1]_.

    At each threshold the found spikes that reach it are paired with true ones, each with one at most and within the
    tolerance. The pairs are as many as possible: in order of time, every found spike takes the earliest true one that
    is left and close enough, which no other pairing of points on a line exceeds.

    Parameters
    ----------
    true_times : array-like, shape (true spike,)
        In samples, in any order. Times of several windows or segments must be put one after the other, with gaps
        longer than the tolerance.
    found_times : array-like, shape (found spike,)
        Likewise.
    found_amplitudes : array-like, shape (found spike,)
        Only their absolute values count.
    tolerance : float
        Two spikes are the same if they are at most this far apart (samples).
    num_thresholds : int, default: 100
        How many thresholds to take from the amplitudes, at least 2; fewer come out where amplitudes repeat.
    thresholds : array-like or None, default: None
        Where to evaluate instead. None for quantiles of the absolute amplitudes, from the smallest, which keeps every
        spike, to the largest; without spikes, for a threshold of 0.

    Returns
    -------
    TradeoffCurve
        In the order of the thresholds; rising if they were chosen here.

    Raises
    ------
    ValueError
        If an array has more than one axis or NaN, times and amplitudes differ in number, or a number is out of range.

    References
    ----------
    .. [1] Tolooshams, Dey and Ba, "Deep residual auto-encoders for expectation maximization-based dictionary
       learning", IEEE TNNLS, 2021, section VII-A and Fig. 10.

    Examples
    --------
    >>> curve = missed_false_alarm_curve([10, 50], [11, 30, 49], [3.0, 1.0, -2.0], tolerance=2)
    >>> curve.thresholds.tolist(), curve.missed.tolist()
    ([1.0, 2.0, 3.0], [0.0, 0.0, 0.5])
    >>> curve.false_alarm.round(2).tolist(), curve.best_index
    ([0.33, 0.0, 0.0], 1)
    """
    true_times = np.sort(_check_vector("true_times", true_times))
    found_times = _check_vector("found_times", found_times)
    amplitudes = np.abs(_check_vector("found_amplitudes", found_amplitudes))
    if found_times.size != amplitudes.size:
        raise ValueError(
            f"found_amplitudes has {amplitudes.size} entries, found_times {found_times.size}; give one amplitude per "
            "found spike"
        )
    if not tolerance >= 0:
        raise ValueError(f"tolerance = {tolerance}: at least 0 samples is needed")
    if thresholds is None:
        levels = _choose_thresholds(amplitudes, num_thresholds)
    else:
        levels = _check_vector("thresholds", thresholds)
        if levels.size == 0:
            raise ValueError("thresholds is empty; give at least one, or None to take them from the amplitudes")
    order = np.argsort(found_times)
    found_times, amplitudes = found_times[order], amplitudes[order]
    kept = [found_times[amplitudes >= level] for level in levels]
    num_kept = np.array([times.size for times in kept])
    num_pairs = np.array([_count_pairs(true_times, times, float(tolerance)) for times in kept])
    return TradeoffCurve(
        thresholds=levels,
        missed=(true_times.size - num_pairs) / max(true_times.size, 1),
        false_alarm=(num_kept - num_pairs) / np.maximum(num_kept, 1),
    )


def _check_vector(name: str, values: ArrayLike) -> Float[np.ndarray, " entry"]:
    vector = np.asarray(values, dtype="float64")
    if vector.ndim != 1:
        raise ValueError(f"{name} has shape {vector.shape}: one axis is needed")
    if not np.all(np.isfinite(vector)):
        raise ValueError(f"{name} holds NaN or infinity; remove these entries")
    return vector


def _choose_thresholds(amplitudes: np.ndarray, num_thresholds: int) -> Float[np.ndarray, " threshold"]:
    """Take quantiles that are amplitudes themselves: between two thresholds at least one spike stops counting."""
    if num_thresholds < 2:
        raise ValueError(f"num_thresholds = {num_thresholds}: at least 2 is needed, or give thresholds instead")
    if amplitudes.size == 0:
        return np.zeros(1)
    return np.unique(np.quantile(amplitudes, np.linspace(0, 1, num_thresholds), method="inverted_cdf"))


@compile_loops()
def _count_pairs(true_times: np.ndarray, found_times: np.ndarray, tolerance: float) -> int:
    """Count the pairs of sorted times that are close enough, each time in one pair at most, as many as possible."""
    num_pairs, earliest = 0, 0
    for found_time in found_times:
        while earliest < true_times.size and found_time - true_times[earliest] > tolerance:
            earliest += 1
        if earliest < true_times.size and true_times[earliest] - found_time <= tolerance:
            num_pairs += 1
            earliest += 1
    return num_pairs
