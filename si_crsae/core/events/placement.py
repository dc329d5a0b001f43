"""Events to the atom and the time that explain them best, between samples."""

from typing import no_type_check

import numpy as np

from si_crsae.core.compiled import compile_loops
from si_crsae.core.operators.interpolation import NUM_TAPS, WEIGHTS, split_offset
from si_crsae.core.types import Located


@compile_loops()
@no_type_check
def _read_map(values, correlation, begin):
    """Fill `values` with an atom's correlations from a shift on, NaN beyond the map."""
    for position in range(values.size):
        inside = 0 <= begin + position < correlation.size
        values[position] = correlation[begin + position] if inside else np.nan


@compile_loops(reorder_sums=True)
@no_type_check
def _subtract_row(values, row, start, weights, amplitude):
    """Subtract from consecutive values a Gram row, interpolated with the weights from `start` on, in place."""
    if start - values.size + 1 >= 0 and start + NUM_TAPS <= row.size:
        for move in range(values.size):
            total = np.float32(0.0)
            for tap in range(NUM_TAPS):
                total += weights[tap] * row[start - move + tap]
            values[move] -= amplitude * total
        return
    for move in range(values.size):
        for tap in range(max(0, move - start), min(NUM_TAPS, row.size + move - start)):
            values[move] -= amplitude * weights[tap] * row[start - move + tap]


@compile_loops()
@no_type_check
def _take_out_rivals(values, atom, begin, skipped, first, events, pairs):
    """Subtract from an atom's correlations at `begin` and the samples after it every event but one, in place."""
    atom_index, shift, offset, amplitude = events
    gram, pair_index = pairs.values, pairs.pair_index
    reach = gram.shape[1] // 2
    for rival in range(first, shift.size):
        lag = shift[rival] - begin
        if lag > 2 * reach:  # events move while they are placed, by less than a width
            break
        if rival == skipped or lag < -reach - NUM_TAPS or lag > reach + values.size + NUM_TAPS:
            continue
        pair = pair_index[atom, atom_index[rival]]
        if pair >= 0:
            start, phase = split_offset(offset[rival])
            _subtract_row(values, gram[pair], start + lag + reach, WEIGHTS[phase], amplitude[rival])


@compile_loops()
@no_type_check
def _largest(values):
    """Return where the largest value stands, which is never NaN unless all are."""
    best = 0
    for position in range(1, values.size):
        if values[position] > values[best] or np.isnan(values[best]):
            best = position
    return best


@compile_loops()
@no_type_check
def _vertex(values, center):
    """Return the offset and the height of the parabola through a value of the largest size and its two neighbors."""
    left, middle, right = values[center - 1], values[center], values[center + 1]
    curvature = 2 * middle - left - right
    slope = (right - left) / 2
    if curvature * middle <= 0:
        return np.float32(0.0), middle
    offset = min(max(slope / curvature, np.float32(-0.5)), np.float32(0.5))
    return np.float32(offset), np.float32(middle + slope * offset - curvature * offset**2 / 2)


@compile_loops()
@no_type_check
def place_events(correlation, events, active, pairs, similar, scales, odds, max_move):
    """Return the events with each, in turn, given to the atom and the time that explain it best, others held fixed.

    An l1 code does not tell atoms of one shape and different size apart: both leave the same residual for nearly the
    same penalty. The posterior does: an amplitude x of an atom with scale a is worth
    ``x^2 / (2 noise^2) - (|x| / a - 1)^2 / (2 spread^2)``. Between samples it is sought on a parabola.

    Parameters
    ----------
    correlation : ndarray of float32, shape (atom, shift)
        Correlation of the traces with every atom.
    events : Located
    active : ndarray of bool, shape (event,)
        The events to place; the others stay as they are.
    pairs : Pairs
    similar : Similar
    scales : ndarray of float32, shape (atom,)
        Typical amplitude of each atom; NaN for one that is out.
    odds : Odds
    max_move : int
        Furthest move of an event beyond the delay between two atoms (samples).

    Returns
    -------
    Located
        In the order of the events given, not of time.
    """
    reach = pairs.values.shape[1] // 2
    before = events.shift
    placed = Located(events.atom_index.copy(), before.copy(), events.offset.copy(), events.amplitude.copy())
    atom_index, shift, offset, amplitude = placed
    values = np.zeros(2 * max_move + 3, np.float32)
    first = 0
    for event in range(before.size):
        while before[event] - before[first] > 2 * reach:
            first += 1
        if not active[event]:
            continue
        atom, sign, best = atom_index[event], np.sign(amplitude[event]), np.float32(-np.inf)
        for candidate in range(similar.start[atom], similar.start[atom + 1]):
            other = similar.atom[candidate]
            begin = before[event] + similar.lag[candidate] - max_move - 1
            _read_map(values, correlation[other], begin)
            _take_out_rivals(values, other, begin, event, first, placed, pairs)
            values *= sign
            center = 1 + _largest(values[1:-1])
            delay, value = np.float32(0.0), values[center]
            if NUM_TAPS // 2 <= begin + center < correlation.shape[1] - NUM_TAPS // 2:
                delay, value = _vertex(values, center)
            surprise = (value / scales[other] - 1) / odds.spread
            worth = ((value / odds.noise) ** 2 - surprise**2) / 2
            if value > 0 and worth > best:
                best = worth
                new = (other, begin + center, delay, sign * value)
        if best > -np.inf:
            atom_index[event], shift[event], offset[event], amplitude[event] = new
    return placed
