"""From a sparse code to events: group, refit without penalty, decide."""

from typing import no_type_check

import numpy as np

from si_crsae.core.compiled import compile_loops
from si_crsae.core.operators.interpolation import value_between


@compile_loops()
@no_type_check
def group_code(code, max_gap):
    """Return the events of a code: runs of non-zeros of one atom and sign, gaps up to `max_gap` allowed.

    An l1 code spreads a spike that falls between two samples, or differs a little from its atom, over neighboring
    shifts. A run becomes one event, at its center of mass.

    Parameters
    ----------
    code : ndarray of float32, shape (atom, shift)
    max_gap : int
        Largest distance of two non-zeros of one event (samples).

    Returns
    -------
    atom_index, shift : ndarray of int64, shape (event,)
        Ordered by atom, then time; the largest coefficient of the run.
    offset : ndarray of float32, shape (event,)
        From there to the center of mass, at most half a sample.
    amplitude : ndarray of float32, shape (event,)
        Sum of the run.
    """
    atoms, shifts = [np.int64(0)][:0], [np.int64(0)][:0]
    amplitudes, moments, peaks = [np.float32(0.0)][:0], [np.float32(0.0)][:0], [np.float32(0.0)][:0]
    for atom in range(code.shape[0]):
        last = -np.int64(2**62)
        for shift in np.flatnonzero(code[atom]):
            value = code[atom, shift]
            if shift - last > max_gap or value * amplitudes[-1] < 0:
                atoms.append(np.int64(atom))
                shifts.append(np.int64(shift))
                amplitudes.append(value)
                moments.append(np.float32(0.0))
                peaks.append(value)
            else:
                if abs(value) > abs(peaks[-1]):
                    moments[-1] += np.float32(shifts[-1] - shift) * amplitudes[-1]
                    shifts[-1] = np.int64(shift)
                    peaks[-1] = value
                amplitudes[-1] += value
                moments[-1] += np.float32(shift - shifts[-1]) * value
            last = shift
    amplitude = np.array(amplitudes, np.float32)
    offset = np.minimum(np.maximum(np.array(moments, np.float32) / amplitude, np.float32(-0.5)), np.float32(0.5))
    return np.array(atoms, np.int64), np.array(shifts, np.int64), offset, amplitude


@compile_loops()
@no_type_check
def interactions(events, gram, pair_index):
    """Return for every event the other events that overlap it, as compressed rows, and their correlations.

    Parameters
    ----------
    events : tuple of ndarray, shape (event,)
        Atom (int64), shift (int64), offset (float32) and amplitude (float32), sorted by shift.
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
    atom_index, shift, offset, _ = events
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
                lag = shift[other] - shift[event] + reach
                others.append(np.int64(other))
                values.append(value_between(gram[pair], lag, offset[other] - offset[event]))
            other += 1
        start[event + 1] = len(others)
    return start, np.array(others, np.int64), np.array(values, np.float32)


@compile_loops()
@no_type_check
def observe(correlation, events):
    """Return the correlation of the traces with the atom of each event, where it stands.

    Parameters
    ----------
    correlation : ndarray of float32, shape (atom, shift)
    events : tuple of ndarray, shape (event,)
        Atom (int64), shift (int64), offset (float32) and amplitude (float32).

    Returns
    -------
    ndarray of float32, shape (event,)
    """
    atom_index, shift, offset, _ = events
    observed = np.empty(shift.size, np.float32)
    for event in range(shift.size):
        observed[event] = value_between(correlation[atom_index[event]], shift[event], offset[event])
    return observed


@compile_loops()
@no_type_check
def refit(observed, amplitude, sign, start, other, correlation, tolerance):
    """Solve the least squares of the events' amplitudes, signs kept, in place, by cyclic coordinate descent.

    Parameters
    ----------
    observed : ndarray of float32, shape (event,)
        What `observe` returns.
    amplitude : ndarray of float32, shape (event,)
        Start; the minimizer on return.
    sign : ndarray of float32, shape (event,)
        1 or -1 for the sign that an amplitude must have, 0 for an event that is out.
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
            wanted = sign[event] * max(sign[event] * wanted, np.float32(0.0))
            largest = max(largest, abs(wanted - amplitude[event]))
            amplitude[event] = wanted
        if largest < tolerance:
            break


@compile_loops()
@no_type_check
def join_alike(events, start, other, correlation, max_gap, min_correlation):
    """Return which events to keep so that no spike is shared between atoms of one shape.

    Parameters
    ----------
    events : tuple of ndarray, shape (event,)
        Atom (int64), shift (int64), offset (float32) and amplitude (float32), sorted by shift.
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
    _, shift, _, amplitude = events
    size = np.abs(amplitude)
    keep = np.ones(shift.size, np.bool_)
    for event in np.argsort(-size):
        if not keep[event]:
            continue
        for entry in range(start[event], start[event + 1]):
            rival = other[entry]
            near = abs(shift[rival] - shift[event]) <= max_gap
            if near and correlation[entry] >= min_correlation and size[rival] <= size[event]:
                keep[rival] = rival == event
    return keep


@compile_loops()
@no_type_check
def _larger_repeat(event, badness, events, start, other, refractory):
    """Return 1 and the size of the largest event of the same atom within its refractory period; 0 if there is none."""
    atom_index, shift, _, amplitude = events
    size = abs(amplitude[event])
    largest = np.float32(0.0)
    for entry in range(start[event], start[event + 1]):
        rival = other[entry]
        is_close = atom_index[rival] == atom_index[event] and abs(shift[rival] - shift[event]) < refractory
        if is_close and badness[rival] > -np.inf:
            rival_size = abs(amplitude[rival])
            if rival_size > size or (rival_size == size and event > rival):
                largest = max(largest, np.float32(1.0) + rival_size)
    return largest


@compile_loops()
@no_type_check
def worst_events(badness, events, start, other, refractory):
    """Return which events to drop now: the bad ones that no overlapping event exceeds in badness.

    Of two events of one atom nearer than `refractory` samples, the smaller one is bad whatever its amplitude.
    Dropping the worst first gives the others a chance to become good once their rival is gone.

    Parameters
    ----------
    badness : ndarray of float32, shape (event,)
        An event is bad where it is positive, and out where it is -inf.
    events : tuple of ndarray, shape (event,)
        Atom (int64), shift (int64), offset (float32) and amplitude (float32), sorted by shift.
    start, other : ndarray of int64
        What `interactions` returns.
    refractory : int
        At most the width of the atoms (samples).

    Returns
    -------
    ndarray of bool, shape (event,)
    """
    badness = badness.copy()
    for event in range(badness.size):
        if badness[event] > -np.inf:
            larger = _larger_repeat(event, badness, events, start, other, refractory)
            badness[event] = max(badness[event], larger)
    drop = badness > 0
    for event in range(badness.size):
        if badness[event] > 0:
            for entry in range(start[event], start[event + 1]):
                if badness[other[entry]] > badness[event]:
                    drop[event] = False
    return drop


@compile_loops()
@no_type_check
def prune(observed, events, overlaps, window, refractory, tolerance):
    """Return the amplitudes fitted to the events that stay when, again and again, the worst of them are dropped.

    Parameters
    ----------
    observed : ndarray of float32, shape (event,)
        What `observe` returns.
    events : tuple of ndarray, shape (event,)
        Atom (int64), shift (int64), offset (float32) and amplitude (float32), sorted by shift.
    overlaps : tuple of ndarray
        What `interactions` returns.
    window : tuple of ndarray of float32, shape (event,)
        Smallest and largest size of the amplitude of each event.
    refractory : int
        As for `worst_events`.
    tolerance : float
        As for `refit`.

    Returns
    -------
    amplitude : ndarray of float32, shape (event,)
    stays : ndarray of bool, shape (event,)
    """
    start, other, correlation = overlaps
    low, high = window
    atom_index, shift, offset, before = events
    amplitude, sign = before.copy(), np.sign(before)
    while True:
        refit(observed, amplitude, sign, start, other, correlation, tolerance)
        size = np.abs(amplitude)
        badness = np.maximum((low - size) / low, (size - high) / high)
        badness[sign == 0] = -np.inf
        drop = worst_events(badness, (atom_index, shift, offset, amplitude), start, other, refractory)
        if not drop.any():
            return amplitude, sign != 0
        amplitude[drop] = 0
        sign[drop] = 0
