"""Greedy coordinate descent on the correlation map, local in time."""

import math
from typing import no_type_check

import numpy as np

from si_crsae.core.compiled import compile_loops
from si_crsae.core.operators.interpolation import NUM_TAPS, WEIGHTS, split_offset

# Neighboring shifts that are moved together, at most a width, and how long they may hand a spike back and forth.
BLOCK = 5
MAX_SWEEPS = 100
# Share of the largest correlation that float32 cannot settle, however long the descent goes on.
RESOLUTION = 1e-5
# Where rounding hands the same spike to and fro forever; a descent that ends takes far fewer.
MAX_UPDATES_PER_COEFFICIENT = 100


@compile_loops(reorder_sums=True)
@no_type_check
def _minimizer(value, thresholds):
    """Return the minimizer of one coordinate whose correlation, without its own part of the code, is `value`."""
    return max(value - thresholds[0], np.float32(0.0)) + min(value + thresholds[1], np.float32(0.0))


@compile_loops(reorder_sums=True)
@no_type_check
def _largest_step(residual, code, thresholds):
    """Return the largest change that one coordinate of a stretch of one atom asks for.

    Positive floats are in the order of their bits, and a maximum of integers is sought in vectors, one of floats is
    not: six times faster.
    """
    largest = np.int32(0)
    for shift in range(residual.size):
        wanted = _minimizer(residual[shift] + code[shift], thresholds)
        largest = max(largest, np.float32(abs(wanted - code[shift])).view(np.int32))
    return np.int32(largest).view(np.float32)


@compile_loops()
@no_type_check
def _find_step(residual, code, thresholds, step):
    """Return where in the stretch the change of that size stands: what `_largest_step` found."""
    best, best_distance = 0, np.float32(np.inf)
    for shift in range(residual.size):
        wanted = _minimizer(residual[shift] + code[shift], thresholds)
        distance = abs(abs(wanted - code[shift]) - step)
        if distance < best_distance:
            best, best_distance = shift, distance
    return best


@compile_loops()
@no_type_check
def _measure_steps(steps, window, atoms, residual, code, thresholds):
    """Store the largest change that each of the atoms asks for in a stretch of time, in place."""
    for atom in atoms:
        steps[atom] = _largest_step(residual[atom, window], code[atom, window], thresholds[atom])


@compile_loops()
@no_type_check
def _settle(residual, code, center, lags, thresholds, tolerance, change):
    """Fill `change` with what takes a few neighboring shifts of one atom to their common minimum.

    Neighboring shifts are so much alike that they share every spike between two samples: moved one at a time, they
    hand it back and forth dozens of times.
    """
    reach, middle = lags.size // 2, change.size // 2
    start = min(max(center - middle, 0), max(residual.size - change.size, 0))
    change[:] = 0
    size = min(change.size, residual.size)
    for _ in range(MAX_SWEEPS):
        largest = np.float32(0.0)
        for position in range(size):
            current = code[start + position] + change[position]
            value = residual[start + position] + current
            for other in range(size):
                value -= change[other] * lags[reach + position - other]
            wanted = _minimizer(value, thresholds)
            largest = max(largest, abs(wanted - current))
            change[position] += wanted - current
        if largest <= tolerance:
            break
    return start


@compile_loops(reorder_sums=True)
@no_type_check
def subtract_event(residual, gram_rows, neighbors, shift, amplitude):
    """Take an event out of the residual correlation of every atom that meets it, in place.

    Parameters
    ----------
    residual : ndarray of float32, shape (atom, shift)
        Correlation of the residual with every atom; changed in place.
    gram_rows : ndarray of float32, shape (neighbor, 2 * width - 1)
        Correlation of the event's atom with its neighbors at every lag.
    neighbors : ndarray of int64, shape (neighbor,)
        Atoms that share a channel with the event's atom.
    shift : int
        Where the event stands.
    amplitude : float
        What is subtracted; negative to put the event back.
    """
    reach = gram_rows.shape[1] // 2
    start = max(shift - reach, 0)
    end = min(shift + reach + 1, residual.shape[1])
    offset = start - shift + reach
    for row in range(neighbors.size):
        target = residual[neighbors[row], start:end]
        lags = gram_rows[row, offset : offset + end - start]
        for position in range(target.size):
            target[position] -= amplitude * lags[position]


@compile_loops()
@no_type_check
def _apply(residual, code, gram_rows, neighbors, start, change):
    """Add a change of neighboring shifts to the code of one atom, and take it out of the residual, in place."""
    for position in range(change.size):
        if change[position] != 0:
            subtract_event(residual, gram_rows, neighbors, start + position, change[position])
            code[start + position] += change[position]


@compile_loops()
@no_type_check
def subtract_located(residual, pairs, events, event, sign):
    """Take one of the events, which may lie between samples, out of the residual correlation, in place.

    Parameters
    ----------
    residual : ndarray of float32, shape (atom, shift)
        Correlation of the residual with every atom; changed in place.
    pairs : Pairs
    events : Located
    event : int
        Which one.
    sign : float32
        1, or -1 to put the event back.
    """
    atom, shift, amplitude = events.atom_index[event], events.shift[event], sign * events.amplitude[event]
    mine = slice(pairs.neighbor_start[atom], pairs.neighbor_start[atom + 1])
    rows, neighbors = pairs.values[mine], pairs.neighbors[mine]
    if events.offset[event] == 0:
        subtract_event(residual, rows, neighbors, shift, amplitude)
        return
    first, phase = split_offset(events.offset[event])
    for tap in range(NUM_TAPS):
        subtract_event(residual, rows, neighbors, shift + first + tap, amplitude * WEIGHTS[phase, tap])


@compile_loops()
@no_type_check
def subtract_events(residual, pairs, events):
    """Take events out of the residual correlation, in place.

    Parameters
    ----------
    residual : ndarray of float32, shape (atom, shift)
        Correlation of the residual with every atom; changed in place.
    pairs : Pairs
    events : Located
    """
    for event in range(events.shift.size):
        subtract_located(residual, pairs, events, event, np.float32(1.0))


@compile_loops()
@no_type_check
def descend_further(residual, code, thresholds, gram, neighbors, neighbor_start, tolerance, max_updates):
    """Take a code nearer to the minimum that `descend` finds, in place, and return the number of updates.

    A compiled loop cannot be interrupted: in calls of some updates each, a long descent can.

    Parameters
    ----------
    residual, code : ndarray of float32, shape (atom, shift)
        The code, and the correlation of what it leaves of the traces; both are changed in place.
    thresholds, gram, neighbors, neighbor_start, tolerance, max_updates
        As for `descend`.

    Returns
    -------
    int
        Fewer than `max_updates` where the code is at the minimum, within the tolerance.
    """
    num_atoms, num_shifts = residual.shape
    length = 32 * math.ceil((gram.shape[1] + 1) / 64)
    num_stretches = math.ceil(num_shifts / length)
    change = np.zeros(min(BLOCK, gram.shape[1] // 2 + 1), np.float32)
    steps = np.zeros((num_stretches, num_atoms), np.float32)
    for stretch in range(num_stretches):
        window = slice(stretch * length, (stretch + 1) * length)
        _measure_steps(steps[stretch], window, np.arange(num_atoms), residual, code, thresholds)
    num_updates = 0
    moved = num_atoms > 0
    while moved and num_updates < max_updates:
        moved = False
        for stretch in range(num_stretches):
            first, end = max(stretch - 1, 0), min(stretch + 2, num_stretches)
            while num_updates < max_updates:
                atom = np.argmax(steps[stretch])
                step = steps[stretch, atom]
                if step <= tolerance or steps[first:end].max() > step:
                    break
                window = slice(stretch * length, (stretch + 1) * length)
                shift = window.start + _find_step(residual[atom, window], code[atom, window], thresholds[atom], step)
                pairs = slice(neighbor_start[atom], neighbor_start[atom + 1])
                rows, atoms = gram[pairs], neighbors[pairs]
                own = rows[np.searchsorted(atoms, atom)]
                start = _settle(residual[atom], code[atom], shift, own, thresholds[atom], tolerance / 4, change)
                _apply(residual, code[atom], rows, atoms, start, change)
                num_updates += 1
                moved = True
                for near in range(first, end):
                    window = slice(near * length, (near + 1) * length)
                    _measure_steps(steps[near], window, atoms, residual, code, thresholds)
    return num_updates


@compile_loops()
@no_type_check
def descend(residual, thresholds, gram, neighbors, neighbor_start, tolerance, max_updates):
    """Minimize 1/2 ||traces - synthesize(code)||^2 + sum_c regularization_c ||code_c||_1.

    The coordinate that would move most is moved to its minimum together with the shifts next to it, as long as it is
    the largest among the stretches of one atom width around it, so that what is far apart in time never waits for each
    other. A stretch in which no correlation exceeds the regularization is never entered: its zero code is optimal.

    Parameters
    ----------
    residual : ndarray of float32, shape (atom, shift)
        ``correlate(traces, atoms)``; holds the correlation of the residual on return.
    thresholds : ndarray of float32, shape (atom, 2)
        Lambda of each atom for positive and for negative coefficients; inf for the sign that is not allowed.
    gram : ndarray of float32, shape (pair, 2 * width - 1)
        Correlations of the pairs of atoms that share a channel, pairs of one atom together.
    neighbors : ndarray of int64, shape (pair,)
        Second atom of each pair.
    neighbor_start : ndarray of int64, shape (atom + 1,)
        Where the pairs of each atom begin.
    tolerance : float
        No coefficient of the code is further than this from its minimum, the others fixed.
    max_updates : int
        Give up after so many updates.

    Returns
    -------
    code : ndarray of float32, shape (atom, shift)
        The minimizer, within the tolerance.
    num_updates : int
        How often a few neighboring coordinates were moved; `max_updates` if the descent was cut short.

    References
    ----------
    .. [1] Moreau, Oudre and Vayatis, "DICOD: distributed convolutional coordinate descent for convolutional sparse
       coding", ICML 2018: the greedy update and its locality.
    """
    code = np.zeros(residual.shape, np.float32)
    num_updates = descend_further(residual, code, thresholds, gram, neighbors, neighbor_start, tolerance, max_updates)
    return code, num_updates
