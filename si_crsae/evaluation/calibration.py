"""Whether probabilities given to spikes are those with which they are right."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from spikeinterface.comparison import GroundTruthComparison, compare_sorter_to_ground_truth
from spikeinterface.core import BaseSorting

from si_crsae.evaluation.comparison import distance_to_nearest
from si_crsae.sorting.convert import whole_samples

DEFAULT_EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def label_spikes(
    tested: BaseSorting, truth: BaseSorting, *, delta_ms: float = 0.4
) -> tuple[Bool[np.ndarray, " spike"], Float[np.ndarray, " unit"]]:
    """Tell which spikes of a sorting are right, and what its units miss.

    A spike is right if it is matched to a spike of the true unit that its unit is matched to, as SpikeInterface's
    comparison with ground truth matches them, one true unit to one tested unit. All spikes of a unit without a match
    are wrong.

    Parameters
    ----------
    tested : BaseSorting
        Result of a sorter; zero units are allowed.
    truth : BaseSorting
        True spikes of all units.
    delta_ms : float, default: 0.4
        Two spikes this close are taken for the same (ms).

    Returns
    -------
    is_right : ndarray of bool, shape (spike,)
        In the order of ``tested.to_spike_vector()``.
    missed_rate : ndarray of float64, shape (unit,)
        Fraction of the matched true unit's spikes that the unit lacks; NaN for a unit without a match.
    """
    spikes = np.asarray(tested.to_spike_vector())
    is_right, missed_rate = np.zeros(spikes.size, bool), np.full(tested.get_num_units(), np.nan)
    if spikes.size == 0:
        return is_right, missed_rate
    comparison = compare_sorter_to_ground_truth(
        truth, tested, exhaustive_gt=True, delta_time=delta_ms, compute_labels=True
    )
    misses = pd.DataFrame(comparison.get_performance(method="by_unit"))["miss_rate"].astype(float)
    indices = {unit_id: unit_index for unit_index, unit_id in enumerate(tested.unit_ids)}
    for unit_id, match in _matches(comparison):
        unit_index = indices[unit_id]
        missed_rate[unit_index] = misses[match]
        for segment_index, labels in enumerate(comparison.get_labels2(unit_id)):
            own = (spikes["unit_index"] == unit_index) & (spikes["segment_index"] == segment_index)
            is_right[own] = np.asarray(labels) == "TP"
    return is_right, missed_rate


def judge_units(tested: BaseSorting, truth: BaseSorting, *, delta_ms: float = 0.4) -> pd.DataFrame:
    """Return how well the units of a sorting are isolated.

    Parameters
    ----------
    tested : BaseSorting
        Result of a sorter; zero units are allowed.
    truth : BaseSorting
        True spikes of all units.
    delta_ms : float, default: 0.4
        Two spikes this close are taken for the same (ms).

    Returns
    -------
    DataFrame
        A row for each tested unit: ``accuracy`` and ``precision``, those of the true unit that it is matched to, one to
        one, 0 without a match; ``of_neurons``, the part of its spikes that true units have fired, any of them, chance
        taken away.
    """
    units = pd.DataFrame(0.0, index=pd.Index(tested.unit_ids), columns=["accuracy", "precision", "of_neurons"])
    if not all(each.count_total_num_spikes() for each in (tested, truth)):
        return units
    comparison = compare_sorter_to_ground_truth(truth, tested, exhaustive_gt=True, delta_time=delta_ms)
    performance = pd.DataFrame(comparison.get_performance(method="by_unit"))
    for unit_id, match in _matches(comparison):
        units.loc[unit_id, ["accuracy", "precision"]] = performance.loc[match, ["accuracy", "precision"]]
    units["of_neurons"] = _share_of_true_spikes(tested, truth, delta_ms=delta_ms)
    return units


def _matches(comparison: GroundTruthComparison) -> Iterator[tuple[Any, Any]]:
    """Yield each tested unit that has a match, and the true unit that it is."""
    for unit_id, match in pd.Series(comparison.hungarian_match_21).items():
        if match not in (-1, ""):  # SpikeInterface's "none", after the type of the ids
            yield unit_id, match


def _share_of_true_spikes(tested: BaseSorting, truth: BaseSorting, *, delta_ms: float) -> Float[np.ndarray, " unit"]:
    """Return the part of each unit's spikes that coincides with true ones, beyond chance."""
    spikes, true_spikes = (np.asarray(each.to_spike_vector()) for each in (tested, truth))
    delta = whole_samples(delta_ms, tested.sampling_frequency)
    is_near, by_chance = np.zeros(spikes.size, bool), np.zeros(spikes.size)
    for segment_index in range(tested.get_num_segments()):
        own = spikes["segment_index"] == segment_index
        times = spikes["sample_index"][own]
        true_times = np.sort(true_spikes["sample_index"][true_spikes["segment_index"] == segment_index])
        is_near[own] = distance_to_nearest(times, true_times) <= delta
        covered = np.unique((true_times[:, None] + np.arange(-delta, delta + 1)).ravel()).size
        by_chance[own] = covered / max(times.max(initial=0), true_times.max(initial=0), 1)
    counts = np.maximum(np.bincount(spikes["unit_index"], minlength=tested.get_num_units()), 1)
    near, chance = (
        np.bincount(spikes["unit_index"], weights=values, minlength=counts.size) / counts
        for values in (is_near, by_chance)
    )
    return ((near - chance) / np.maximum(1 - chance, 1e-12)).clip(0, 1)


def reliability_table(probability: ArrayLike, is_right: ArrayLike, *, edges: ArrayLike = DEFAULT_EDGES) -> pd.DataFrame:
    """Return how often spikes of a probability are right, bin by bin.

    Parameters
    ----------
    probability : array-like, shape (spike,)
        In [0, 1].
    is_right : array-like of bool, shape (spike,)
    edges : array-like, shape (edge,), default: tenths
        Edges of the bins, increasing from 0 to 1.

    Returns
    -------
    DataFrame
        A row per bin that is not empty: ``low``, ``high``, ``count``, ``mean`` probability and the share that is right,
        ``right``.

    Raises
    ------
    ValueError
        If a probability lies outside [0, 1], or the two are not of one length.
    """
    probability, is_right = _checked(probability, is_right)
    edges = np.asarray(edges, dtype="float64")
    which = np.clip(np.searchsorted(edges, probability, side="right") - 1, 0, edges.size - 2)
    rows = []
    for index in np.unique(which):
        inside = which == index
        rows.append(
            {
                "low": edges[index],
                "high": edges[index + 1],
                "count": int(inside.sum()),
                "mean": float(probability[inside].mean()),
                "right": float(is_right[inside].mean()),
            }
        )
    return pd.DataFrame(rows, columns=["low", "high", "count", "mean", "right"])


def expected_calibration_error(probability: ArrayLike, is_right: ArrayLike, *, num_bins: int = 10) -> float:
    """Return by how much probabilities differ from the share that is right, on average over spikes, bin by bin.

    Parameters
    ----------
    probability : array-like, shape (spike,)
        In [0, 1].
    is_right : array-like of bool, shape (spike,)
    num_bins : int, default: 10
        Bins of equal width.

    Returns
    -------
    float
        0 at best; NaN without spikes.

    Raises
    ------
    ValueError
        As for `reliability_table`.

    Examples
    --------
    >>> expected_calibration_error([0.75, 0.75, 0.75, 0.75], [True, True, True, False])
    0.0
    """
    table = reliability_table(probability, is_right, edges=np.linspace(0, 1, num_bins + 1))
    if len(table) == 0:
        return float("nan")
    return float(np.average(np.abs(table["mean"] - table["right"]), weights=table["count"]))


def _checked(probability: ArrayLike, is_right: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    probability, is_right = np.asarray(probability, dtype="float64"), np.asarray(is_right, dtype=bool)
    if probability.shape != is_right.shape or probability.ndim != 1:
        raise ValueError(
            f"probability has shape {probability.shape} and is_right {is_right.shape}: one value per spike is needed "
            "of both"
        )
    if probability.size and not (probability.min() >= 0 and probability.max() <= 1):
        raise ValueError(
            f"probability ranges from {probability.min():g} to {probability.max():g}: it must lie in [0, 1]"
        )
    return probability, is_right
