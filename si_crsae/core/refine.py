"""From a sparse code to events: group, refit without penalty, move, decide."""

from typing import no_type_check

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
@no_type_check
def group_code(code, max_gap):
    """Return the events of a code: runs of non-zeros of one atom, gaps up to `max_gap` allowed.

    An l1 code spreads a spike that falls between two samples, or differs a little from its atom, over neighboring
    shifts. A run becomes one event at its largest coefficient.

    Parameters
    ----------
    code : ndarray of float32, shape (atom, shift)
        Non-negative.
    max_gap : int
        Largest distance of two non-zeros of one event (samples).

    Returns
    -------
    atom_index, shift : ndarray of int64, shape (event,)
        Ordered by atom, then time.
    amplitude : ndarray of float32, shape (event,)
        Sum of the run.
    """
    atoms, shifts, amplitudes = [np.int64(0)][:0], [np.int64(0)][:0], [np.float32(0.0)][:0]
    for atom in range(code.shape[0]):
        last = -np.int64(2**62)
        peak = np.float32(0.0)
        for shift in np.flatnonzero(code[atom]):
            value = code[atom, shift]
            if shift - last > max_gap:
                atoms.append(np.int64(atom))
                shifts.append(np.int64(shift))
                amplitudes.append(value)
                peak = value
            else:
                amplitudes[-1] += value
                if value > peak:
                    shifts[-1] = np.int64(shift)
                    peak = value
            last = shift
    return np.array(atoms, np.int64), np.array(shifts, np.int64), np.array(amplitudes, np.float32)


@njit(nogil=True, cache=True)
@no_type_check
def interactions(atom_index, shift, gram, pair_index):
    """Return for every event the other events that overlap it, as compressed rows, and their correlations.

    Parameters
    ----------
    atom_index, shift : ndarray of int64, shape (event,)
        Sorted by shift.
    gram : ndarray of float32, shape (pair, 2 * width - 1)
        Correlations of the pairs of atoms that share a channel.
    pair_index : ndarray of int64, shape (atom, atom)
        Row of each pair in `gram`, -1 for atoms that share no channel.

    Returns
    -------
    start : ndarray of int64, shape (event + 1,)
    other : ndarray of int64, shape (interaction,)
    correlation : ndarray of float32, shape (interaction,)
        Correlation of the two unit-norm atoms where they stand.
    """
    reach = gram.shape[1] // 2
    start = np.zeros(shift.size + 1, np.int64)
    others, values = [np.int64(0)][:0], [np.float32(0.0)][:0]
    first = 0
    for event in range(shift.size):
        while shift[event] - shift[first] > reach:
            first += 1
        other = first
        while other < shift.size and shift[other] - shift[event] <= reach:
            pair = pair_index[atom_index[event], atom_index[other]]
            if other != event and pair >= 0:
                others.append(np.int64(other))
                values.append(gram[pair, shift[other] - shift[event] + reach])
            other += 1
        start[event + 1] = len(others)
    return start, np.array(others, np.int64), np.array(values, np.float32)


@njit(nogil=True, cache=True)
@no_type_check
def refit(observed, amplitude, start, other, correlation, tolerance):
    """Solve the non-negative least squares of the events' amplitudes, in place, by cyclic coordinate descent.

    Parameters
    ----------
    observed : ndarray of float32, shape (event,)
        Correlation of the traces with the atom of each event, where it stands.
    amplitude : ndarray of float32, shape (event,)
        Start; the minimizer on return.
    start, other, correlation : ndarray
        What `interactions` returns.
    tolerance : float
        Stop after a sweep whose largest change is below this, or after 200 sweeps.
    """
    for _ in range(200):
        largest = np.float32(0.0)
        for event in range(observed.size):
            wanted = observed[event]
            for entry in range(start[event], start[event + 1]):
                wanted -= correlation[entry] * amplitude[other[entry]]
            wanted = max(wanted, np.float32(0.0))
            largest = max(largest, abs(wanted - amplitude[event]))
            amplitude[event] = wanted
        if largest < tolerance:
            break


@njit(nogil=True, cache=True)
@no_type_check
def join_alike(events, start, other, correlation, max_gap, min_correlation):
    """Return which events to keep so that no spike is shared between atoms of one shape.

    Parameters
    ----------
    events : tuple of ndarray, shape (event,)
        Atom (int64), shift (int64) and amplitude (float32), sorted by shift.
    start, other, correlation : ndarray
        What `interactions` returns.
    max_gap : int
        Furthest apart that two parts of a spike stand (samples).
    min_correlation : float
        Of two atoms, where they stand, that may share a spike.

    Returns
    -------
    ndarray of bool, shape (event,)
        False for an event that a larger one makes superfluous. A spike that was really there shows again in the
        residual.
    """
    _, shift, amplitude = events
    keep = np.ones(shift.size, np.bool_)
    for event in np.argsort(-amplitude):
        if not keep[event]:
            continue
        for entry in range(start[event], start[event + 1]):
            rival = other[entry]
            near = abs(shift[rival] - shift[event]) <= max_gap
            if near and correlation[entry] >= min_correlation and amplitude[rival] <= amplitude[event]:
                keep[rival] = rival == event
    return keep


@njit(nogil=True, cache=True)
@no_type_check
def place_events(correlation, events, pairs, similar, odds, max_move):
    """Return the events with each, in turn, given to the atom and the shift that explain it best, others held fixed.

    An l1 code does not tell atoms of one shape and different size apart: both leave the same residual for nearly the
    same penalty. The posterior does: an amplitude x of an atom with scale a is worth
    ``x^2 / (2 noise^2) - (x / a - 1)^2 / (2 spread^2)``.

    Parameters
    ----------
    correlation : ndarray of float32, shape (atom, shift)
        Correlation of the traces with every atom.
    events : tuple of ndarray, shape (event,)
        Atom (int64), shift (int64) and amplitude (float32), sorted by shift.
    pairs : tuple of ndarray
        `values` and `pair_index` of the Gram.
    similar : tuple of ndarray
        `similar_start`, `similar_atom` and `similar_lag` of the Gram.
    odds : tuple
        Scale of every atom (float32), standard deviation of the noise, one for all so that what an atom explains
        is compared alike, and the relative spread of amplitudes.
    max_move : int
        Furthest move of an event beyond the delay between two atoms (samples).

    Returns
    -------
    atom_index, shift, amplitude : ndarray, shape (event,)
        In the order of the events given, not of time.
    """
    gram, pair_index = pairs
    similar_start, similar_atom, similar_lag = similar
    scales, noise, spread = odds
    reach = gram.shape[1] // 2
    atom_index, shift, amplitude = events[0].copy(), events[1].copy(), events[2].copy()
    first = 0
    for event in range(shift.size):
        while events[1][event] - events[1][first] > 2 * reach:
            first += 1
        atom, place, best = atom_index[event], shift[event], np.float32(-np.inf)
        for candidate in range(similar_start[atom], similar_start[atom + 1]):
            other = similar_atom[candidate]
            for move in range(-max_move, max_move + 1):
                position = place + similar_lag[candidate] + move
                if position < 0 or position >= correlation.shape[1]:
                    continue
                value = correlation[other, position]
                for rival in range(first, shift.size):
                    if events[1][rival] - place > 2 * reach:
                        break
                    lag = shift[rival] - position
                    pair = pair_index[other, atom_index[rival]]
                    if rival != event and pair >= 0 and abs(lag) <= reach:
                        value -= amplitude[rival] * gram[pair, lag + reach]
                surprise = (value / scales[other] - 1) / spread
                worth = ((value / noise) ** 2 - surprise**2) / 2
                if value > 0 and worth > best:
                    best = worth
                    atom_index[event], shift[event], amplitude[event] = other, position, value
    return atom_index, shift, amplitude


@njit(nogil=True, cache=True)
@no_type_check
def worst_events(badness, atom_index, shift, amplitude, start, other, refractory):
    """Return which events to drop now: the bad ones that no overlapping event exceeds in badness.

    Of two events of one atom nearer than `refractory` samples, the smaller one is bad whatever its amplitude.
    Dropping the worst first gives the others a chance to become good once their rival is gone.

    Parameters
    ----------
    badness : ndarray of float32, shape (event,)
        An event is bad where it is positive.
    atom_index, shift : ndarray of int64, shape (event,)
    amplitude : ndarray of float32, shape (event,)
    start, other : ndarray of int64
        What `interactions` returns.
    refractory : int
        At most the width of the atoms (samples).

    Returns
    -------
    ndarray of bool, shape (event,)
    """
    badness = badness.copy()
    for event in range(shift.size):
        for entry in range(start[event], start[event + 1]):
            rival = other[entry]
            if atom_index[rival] == atom_index[event] and abs(shift[rival] - shift[event]) < refractory:
                smaller = amplitude[event] < amplitude[rival]
                if smaller or (amplitude[event] == amplitude[rival] and event > rival):
                    badness[event] = max(badness[event], np.float32(1.0) + amplitude[rival])
    drop = badness > 0
    for event in range(shift.size):
        if badness[event] > 0:
            for entry in range(start[event], start[event + 1]):
                if badness[other[entry]] > badness[event]:
                    drop[event] = False
    return drop
