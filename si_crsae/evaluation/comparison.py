"""How well a sorting agrees with the true one."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from spikeinterface.comparison import GroundTruthComparison, compare_sorter_to_ground_truth
from spikeinterface.core import BaseSorting, NumpySorting

from si_crsae.sorting.convert import samples_in, whole_samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Figures of merit of one sorting. Means are over true units, one without a match counts as zero."""

    accuracy: float
    """Mean of true positives / (true positives + misses + false positives)."""
    recall: float
    """Mean fraction of the true spikes that were found."""
    precision: float
    """Mean fraction of the matched unit's spikes that are true."""
    overlapping_recall: float
    """Fraction found of the true spikes that come close to a spike of another unit; NaN if there are none."""
    num_true_units: int
    """Units of the truth."""
    num_tested_units: int
    """Units of the tested sorting."""
    num_well_detected: int
    """True units found with an accuracy of at least 0.8."""
    num_false_positive: int
    """Tested units that resemble no true unit."""
    num_redundant: int
    """Tested units that repeat a true unit already matched by a better one."""
    num_overmerged: int
    """Tested units that hold spikes of several true units."""
    per_unit: pd.DataFrame
    """A row per true unit: its figures, matched unit and numbers of (overlapping) spikes; SNR where it is known."""

    def as_dict(self) -> dict[str, float | int]:
        """Every figure except the table by unit."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "per_unit"}


def score_sorting(tested: BaseSorting, truth: BaseSorting, *, delta_ms: float = 0.4, overlap_ms: float = 1.0) -> Score:
    """Compare a sorting with the true one.

    Parameters
    ----------
    tested : BaseSorting
        Result of a sorter; zero units are allowed.
    truth : BaseSorting
        All spikes that there are to find.
    delta_ms : float, default: 0.4
        Two spikes this close are taken for the same (ms).
    overlap_ms : float, default: 1.0
        A true spike overlaps if a spike of another true unit is this close (ms).

    Returns
    -------
    Score
        Means over units, counts of units and a table with a row per unit.

    Raises
    ------
    ValueError
        If the truth has no units, or the sampling frequencies or numbers of segments differ.
    """
    _check_sortings(tested, truth)
    if tested.get_num_units() == 0:
        # Saved and loaded again it has float ids and one segment, which SpikeInterface's comparison refuses.
        tested = truth.select_units(truth.unit_ids[:0])
    comparison = compare_sorter_to_ground_truth(
        truth, tested, exhaustive_gt=True, delta_time=delta_ms, well_detected_score=0.8
    )
    per_unit = _table_by_unit(comparison, tested, truth, delta_ms=delta_ms, overlap_ms=overlap_ms)
    num_overlapping = np.sum(per_unit["num_overlapping"].to_numpy())
    num_found = np.sum(per_unit["num_overlapping_found"].to_numpy())
    return Score(
        accuracy=float(per_unit["accuracy"].to_numpy().mean()),
        recall=float(per_unit["recall"].to_numpy().mean()),
        precision=float(per_unit["precision"].to_numpy().mean()),
        overlapping_recall=float(num_found / num_overlapping) if num_overlapping else float("nan"),
        num_true_units=truth.get_num_units(),
        num_tested_units=tested.get_num_units(),
        num_well_detected=len(comparison.get_well_detected_units()),
        num_false_positive=len(comparison.get_false_positive_units()),
        num_redundant=len(comparison.get_redundant_units()),
        num_overmerged=len(comparison.get_overmerged_units()),
        per_unit=per_unit,
    )


def overlapping_spikes(sorting: BaseSorting, *, overlap_ms: float = 1.0) -> np.ndarray:
    """Tell which spikes come close to a spike of another unit.

    Parameters
    ----------
    sorting : BaseSorting
        Usually the true one.
    overlap_ms : float, default: 1.0
        How close, in ms.

    Returns
    -------
    np.ndarray, shape (spike,)
        Booleans in the order of ``sorting.to_spike_vector()``.
    """
    spikes = np.asarray(sorting.to_spike_vector())
    window = samples_in(overlap_ms, sorting.sampling_frequency)
    overlaps = np.zeros(spikes.size, dtype=bool)
    for segment_index in range(sorting.get_num_segments()):
        in_segment = spikes["segment_index"] == segment_index
        for unit_index in range(sorting.get_num_units()):
            own = in_segment & (spikes["unit_index"] == unit_index)
            others = in_segment & ~own
            overlaps[own] = distance_to_nearest(spikes["sample_index"][own], spikes["sample_index"][others]) <= window
    return overlaps


def estimate_lag(times: ArrayLike, true_times: ArrayLike, *, sampling_frequency: float, max_lag_ms: float = 5.0) -> int:
    """Estimate the constant by which detected spikes come later than the true ones.

    It is the lag at which most pairs coincide. Files whose true times were taken at another point of the waveform than
    the trough need it before they can be compared.

    Parameters
    ----------
    times : array-like, shape (spike,)
        Detected spikes of all units (samples).
    true_times : array-like, shape (true spike,)
        True spikes (samples).
    sampling_frequency : float
        In hertz.
    max_lag_ms : float, default: 5.0
        Largest lag considered, in either direction (ms).

    Returns
    -------
    int
        Samples to add to the true times; 0 if no pair is within the largest lag.
    """
    times = np.sort(np.asarray(times, dtype="int64"))
    max_lag = whole_samples(max_lag_ms, sampling_frequency)
    lags = [
        times[np.searchsorted(times, true_time - max_lag) : np.searchsorted(times, true_time + max_lag + 1)] - true_time
        for true_time in np.asarray(true_times, dtype="int64")
    ]
    lags = np.concatenate([np.zeros(0, dtype="int64"), *lags])
    if lags.size == 0:
        return 0
    counts = np.bincount(lags + max_lag, minlength=2 * max_lag + 1)
    # A spike's extremum moves by a sample from one occurrence to the next, so three neighbouring lags count together.
    smooth = np.convolve(counts, [1.0, 2.0, 1.0], mode="same")
    return int(smooth.argmax()) - max_lag


def align_truth(truth: BaseSorting, tested: BaseSorting, *, max_lag_ms: float = 2.0) -> BaseSorting:
    """Move each true unit by the constant that makes it coincide best with the tested spikes.

    For recordings where the true time of a spike is no extremum of its waveform, and for units that one sorter times at
    the trough and another one at the peak.

    Parameters
    ----------
    truth : BaseSorting
        One segment.
    tested : BaseSorting
        Its spikes are pooled over units.
    max_lag_ms : float, default: 2.0
        Largest move, in either direction (ms).

    Returns
    -------
    BaseSorting
        The true units, moved.
    """
    pooled = np.asarray(tested.to_spike_vector())["sample_index"]
    trains = {}
    for unit_id in truth.unit_ids:
        train = truth.get_unit_spike_train(unit_id)
        lag = estimate_lag(pooled, train, sampling_frequency=truth.sampling_frequency, max_lag_ms=max_lag_ms)
        trains[unit_id] = train + lag
    return NumpySorting.from_unit_dict([trains], truth.sampling_frequency)


def count_best_unit(tested: BaseSorting, train: np.ndarray, *, delta_ms: float = 0.4) -> tuple[int, int]:
    """Count the true spikes of one cell in the tested unit that resembles it most, and that unit's other spikes.

    For recordings where only one of the cells is known.

    Parameters
    ----------
    tested : BaseSorting
        One segment; zero units are allowed.
    train : np.ndarray, shape (spike,)
        True spikes of the cell (samples), sorted.
    delta_ms : float, default: 0.4
        Two spikes this close are taken for the same (ms).

    Returns
    -------
    num_found : int
        True spikes that the unit holds.
    num_others : int
        The unit's remaining spikes.
    """
    delta = whole_samples(delta_ms, tested.sampling_frequency)
    best = (0, 0)
    best_agreement = 0.0
    for unit_id in tested.unit_ids:
        unit_train = tested.get_unit_spike_train(unit_id)
        num_found = int(np.sum(distance_to_nearest(train, unit_train) <= delta))
        num_others = max(unit_train.size - num_found, 0)
        agreement = num_found / (train.size + num_others)
        if agreement > best_agreement:
            best, best_agreement = (num_found, num_others), agreement
    return best


def _check_sortings(tested: BaseSorting, truth: BaseSorting) -> None:
    if truth.get_num_units() == 0:
        raise ValueError("truth has 0 units, at least one is needed; was the right sorting loaded?")
    for name, getter in (
        ("sampling_frequency", BaseSorting.get_sampling_frequency),
        ("num_segments", BaseSorting.get_num_segments),
    ):
        if tested.get_num_units() and not np.isclose(getter(tested), getter(truth)):
            raise ValueError(
                f"tested has {name} = {getter(tested)}, truth has {getter(truth)}; both must describe one recording"
            )


def _table_by_unit(
    comparison: GroundTruthComparison, tested: BaseSorting, truth: BaseSorting, *, delta_ms: float, overlap_ms: float
) -> pd.DataFrame:
    """Complete SpikeInterface's figures of each true unit by those of its overlapping spikes."""
    # SpikeInterface marks "no match" by -1 or "", after the type of the ids.
    matches = [None if match in (-1, "") else match for match in pd.Series(comparison.hungarian_match_12)]
    performance = comparison.get_performance(method="by_unit")
    table = pd.DataFrame({name: performance[name].astype(float) for name in ("accuracy", "recall", "precision")})
    unit_indices = np.asarray(truth.to_spike_vector())["unit_index"]
    overlaps = overlapping_spikes(truth, overlap_ms=overlap_ms)
    found = found_spikes(tested, truth, matches, delta_ms=delta_ms)
    num_units = truth.get_num_units()
    # pandas would turn integers beside None into floats, None into NaN
    table["matched_unit"] = pd.Series(matches, index=table.index, dtype=object)
    table["num_spikes"] = np.bincount(unit_indices, minlength=num_units)
    table["num_overlapping"] = np.bincount(unit_indices[overlaps], minlength=num_units)
    table["num_overlapping_found"] = np.bincount(unit_indices[overlaps & found], minlength=num_units)
    snr = truth.get_property("gt_snr")
    if snr is not None:
        table["snr"] = snr
    return table


def found_spikes(tested: BaseSorting, truth: BaseSorting, matches: list, *, delta_ms: float = 0.4) -> np.ndarray:
    """Tell which true spikes are close to a spike of the unit matched to theirs.

    Parameters
    ----------
    tested, truth : BaseSorting
    matches : list
        Id of a tested unit for each true one, None for none.
    delta_ms : float, default: 0.4
        How close, in ms.

    Returns
    -------
    np.ndarray, shape (spike,)
        Booleans in the order of ``truth.to_spike_vector()``.
    """
    spikes = np.asarray(truth.to_spike_vector())
    delta = whole_samples(delta_ms, truth.sampling_frequency)
    found = np.zeros(spikes.size, dtype=bool)
    for unit_index, match in enumerate(matches):
        if match is None:
            continue
        for segment_index in range(truth.get_num_segments()):
            own = (spikes["unit_index"] == unit_index) & (spikes["segment_index"] == segment_index)
            train = tested.get_unit_spike_train(match, segment_index=segment_index)
            found[own] = distance_to_nearest(spikes["sample_index"][own], train) <= delta
    return found


def distance_to_nearest(times: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Measure the samples from each time to the nearest sorted reference time, infinite without any."""
    if reference.size == 0:
        return np.full(times.size, np.inf)
    after = np.searchsorted(reference, times)
    to_previous = np.abs(times - reference[np.maximum(after - 1, 0)])
    to_next = np.abs(times - reference[np.minimum(after, reference.size - 1)])
    return np.minimum(to_previous, to_next)
