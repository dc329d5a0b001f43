"""Which spikes of two sortings are the same."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Shaped

NOBODY = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """Pairs of a true and a tested spike; with each unit of the other sorting a spike is in one pair at most.

    Parameters
    ----------
    truth, tested : ndarray of int64, shape (pair,)
        Indices of the two spikes.
    truth_unit, tested_unit : ndarray of int64, shape (pair,)
        Their units.
    num_truth, num_tested : ndarray of int64, shape (unit,)
        All spikes of every unit.
    """

    truth: Int[np.ndarray, " pair"]
    tested: Int[np.ndarray, " pair"]
    truth_unit: Int[np.ndarray, " pair"]
    tested_unit: Int[np.ndarray, " pair"]
    num_truth: Int[np.ndarray, " truth_unit"]
    num_tested: Int[np.ndarray, " tested_unit"]

    @property
    def counts(self) -> Int[np.ndarray, "truth_unit tested_unit"]:
        """Number of pairs of every two units."""
        shape = (self.num_truth.size, self.num_tested.size)
        cells = self.truth_unit * self.num_tested.size + self.tested_unit
        return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)


def match_spikes(
    truth: Shaped[np.ndarray, " truth_spike"],
    tested: Shaped[np.ndarray, " tested_spike"],
    *,
    num_units: tuple[int, int],
    delta: int,
) -> Matching:
    """Pair the spikes of every true with those of every tested unit.

    In order of time, every true spike takes the earliest spike of a tested unit that is left and close enough. These
    are the counts of SpikeInterface's ``make_match_count_matrix``, but one knows which spikes they are, for all units
    at once and without a compiler. In bursts faster than delta that function takes some spikes for two pairs.

    Parameters
    ----------
    truth, tested : ndarray of SpikeInterface's spike dtype
        Ordered by segment, then time.
    num_units : pair of int
        How many units the truth and the tested sorting have.
    delta : int
        Two spikes at most this far apart are taken for the same (samples).
    """
    truth_clock, tested_clock = common_clocks(truth, tested, gap=2 * delta + 1)
    first = np.searchsorted(tested_clock, truth_clock - delta, side="left")
    counts = np.searchsorted(tested_clock, truth_clock + delta, side="right") - first
    truth_index = np.repeat(np.arange(truth.size), counts)
    tested_index = np.arange(truth_index.size) + np.repeat(first - np.cumsum(counts) + counts, counts)
    truth_unit = truth["unit_index"][truth_index].astype("int64")
    tested_unit = tested["unit_index"][tested_index].astype("int64")
    cells = truth_unit * num_units[1] + tested_unit
    small = np.min_scalar_type(num_units[0] * num_units[1])  # 16 bits are sorted several times faster than 64
    by_cell = np.argsort(cells.astype(small), kind="stable")
    accepted = by_cell[_one_to_one(cells[by_cell], truth_index[by_cell], tested_index[by_cell])]
    return Matching(
        truth=truth_index[accepted],
        tested=tested_index[accepted],
        truth_unit=truth_unit[accepted],
        tested_unit=tested_unit[accepted],
        num_truth=np.bincount(truth["unit_index"], minlength=num_units[0]),
        num_tested=np.bincount(tested["unit_index"], minlength=num_units[1]),
    )


def common_clocks(*sortings: Shaped[np.ndarray, " spike"], gap: int) -> list[Int[np.ndarray, " spike"]]:
    """Return times that go on from one segment to the next, after at least a gap (samples)."""
    last = max((int(spikes["sample_index"].max()) for spikes in sortings if spikes.size), default=0)
    return [
        spikes["segment_index"].astype("int64") * (last + gap + 1) + spikes["sample_index"].astype("int64")
        for spikes in sortings
    ]


def _one_to_one(
    cells: Int[np.ndarray, " pair"], truth: Int[np.ndarray, " pair"], tested: Int[np.ndarray, " pair"]
) -> Bool[np.ndarray, " pair"]:
    """Tell which of the possible pairs to keep, so that no spike is in two pairs of a cell."""
    same_cell = cells[1:] == cells[:-1]
    clashes = same_cell & ((truth[1:] == truth[:-1]) | (tested[1:] <= tested[:-1]))
    kept = np.ones(cells.size, bool)
    previous = last = NOBODY
    # a pair clashes with the last one kept, which need not be the one before: only bursts are walked through
    for index in (np.flatnonzero(clashes) + 1).tolist():
        if previous != index - 1:
            last = index - 1
        is_free = truth[index] != truth[last] and tested[index] > tested[last]
        kept[index] = is_free
        last = index if is_free else last
        previous = index
    return kept


def nearest_spikes(
    clock: Int[np.ndarray, " time"], others: Int[np.ndarray, " other"], *, reach: int
) -> tuple[Int[np.ndarray, " time"], Int[np.ndarray, " time"]]:
    """Return which of other times is nearest to each time, NOBODY beyond the reach, and by how much it is later.

    Parameters
    ----------
    clock : ndarray of int64, shape (time,)
    others : ndarray of int64, shape (other,)
        Sorted.
    reach : int
        In samples.
    """
    if others.size == 0:
        return np.full(clock.size, NOBODY), np.zeros(clock.size, "int64")
    after = np.searchsorted(others, clock)
    before = np.maximum(after - 1, 0)
    after = np.minimum(after, others.size - 1)
    nearest = np.where(np.abs(others[after] - clock) < np.abs(others[before] - clock), after, before)
    lag = others[nearest] - clock
    return np.where(np.abs(lag) <= reach, nearest, NOBODY), lag
