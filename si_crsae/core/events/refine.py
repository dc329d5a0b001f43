"""From a sparse code to events: group, refit without penalty, decide."""

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int

from si_crsae.core.compiled import compile_loops
from si_crsae.core.operators.interpolation import value_between
from si_crsae.core.types import Located


class Interactions(NamedTuple):
    """For every event the other events that overlap it, as compressed rows.

    Parameters
    ----------
    start : ndarray of int64, shape (event + 1,)
        Where the rows of each event begin.
    other : ndarray of int64, shape (interaction,)
        The event that overlaps it.
    correlation : ndarray of float32, shape (interaction,)
        Correlation of the two unit-norm atoms where they stand.
    """

    start: Int[np.ndarray, " start"]
    other: Int[np.ndarray, " interaction"]
    correlation: Float[np.ndarray, " interaction"]


class AmplitudeWindow(NamedTuple):
    """Sizes that the amplitude of an accepted event may have, in whitened units.

    Parameters
    ----------
    low, high : ndarray of float32, shape (event,)
        The smallest and the largest, of each event.
    """

    low: Float[np.ndarray, " event"]
    high: Float[np.ndarray, " event"]


class Pruned(NamedTuple):
    """Events of which the worst were dropped.

    Parameters
    ----------
    amplitude : ndarray of float32, shape (event,)
        Fitted to those that stay; zero for the others.
    stays : ndarray of bool, shape (event,)
    """

    amplitude: Float[np.ndarray, " event"]
    stays: Bool[np.ndarray, " event"]


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
    Located
        Ordered by atom, then time: at the largest coefficient of the run, offset to the center of mass, at most half
        a sample, with the sum of the run as amplitude.
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
    return Located(np.array(atoms, np.int64), np.array(shifts, np.int64), offset, amplitude)


@compile_loops()
@no_type_check
def interactions(events, pairs):
    """Return for every event the other events that overlap it, and their correlations.

    Parameters
    ----------
    events : Located
    pairs : Pairs

    Returns
    -------
    Interactions
    """
    atom_index, shift, offset = events.atom_index, events.shift, events.offset
    gram, pair_index = pairs.values, pairs.pair_index
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
    return Interactions(start, np.array(others, np.int64), np.array(values, np.float32))


@compile_loops()
@no_type_check
def observe(correlation, events):
    """Return the correlation of the traces with the atom of each event, where it stands.

    Parameters
    ----------
    correlation : ndarray of float32, shape (atom, shift)
    events : Located
        In any order.

    Returns
    -------
    ndarray of float32, shape (event,)
    """
    atom_index, shift, offset = events.atom_index, events.shift, events.offset
    observed = np.empty(shift.size, np.float32)
    for event in range(shift.size):
        observed[event] = value_between(correlation[atom_index[event]], shift[event], offset[event])
    return observed


@compile_loops()
@no_type_check
def refit(observed, amplitude, sign, overlaps, tolerance):
    """Solve the least squares of the events' amplitudes, signs kept, in place, by cyclic coordinate descent.

    Parameters
    ----------
    observed : ndarray of float32, shape (event,)
        What `observe` returns.
    amplitude : ndarray of float32, shape (event,)
        Start; the minimizer on return.
    sign : ndarray of float32, shape (event,)
        1 or -1 for the sign that an amplitude must have, 0 for an event that is out.
    overlaps : Interactions
    tolerance : float
        Stop after a sweep whose largest change is below this, or after 200 sweeps.
    """
    start, other, correlation = overlaps
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
def join_alike(events, overlaps, max_gap, min_correlation):
    """Return which events to keep so that no spike is shared between atoms of one shape.

    Parameters
    ----------
    events : Located
    overlaps : Interactions
    max_gap : int
        Furthest apart that two parts of a spike stand (samples).
    min_correlation : float
        Least correlation of two atoms, where they stand, that may share a spike.

    Returns
    -------
    ndarray of bool, shape (event,)
        False for an event that a larger one makes superfluous. A spike that was really there shows again in the
        residual.
    """
    start, other, correlation = overlaps
    shift = events.shift
    size = np.abs(events.amplitude)
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
def _larger_repeat(event, badness, events, overlaps, refractory):
    """Return 1 and the size of the largest event of the same atom within its refractory period; 0 if there is none."""
    atom_index, shift, amplitude = events.atom_index, events.shift, events.amplitude
    size = abs(amplitude[event])
    largest = np.float32(0.0)
    for entry in range(overlaps.start[event], overlaps.start[event + 1]):
        rival = overlaps.other[entry]
        is_close = atom_index[rival] == atom_index[event] and abs(shift[rival] - shift[event]) < refractory
        if is_close and badness[rival] > -np.inf:
            rival_size = abs(amplitude[rival])
            if rival_size > size or (rival_size == size and event > rival):
                largest = max(largest, np.float32(1.0) + rival_size)
    return largest


@compile_loops()
@no_type_check
def worst_events(badness, events, overlaps, refractory):
    """Return which events to drop now: the bad ones that no overlapping event exceeds in badness.

    Where two events of one atom are nearer than `refractory` samples, the smaller one is bad whatever its amplitude.
    Dropping the worst first gives the others a chance to become good once their rival is gone.

    Parameters
    ----------
    badness : ndarray of float32, shape (event,)
        An event is bad where it is positive, and out where it is -inf.
    events : Located
    overlaps : Interactions
    refractory : int
        At most the width of the atoms (samples).

    Returns
    -------
    ndarray of bool, shape (event,)
    """
    badness = badness.copy()
    for event in range(badness.size):
        if badness[event] > -np.inf:
            larger = _larger_repeat(event, badness, events, overlaps, refractory)
            badness[event] = max(badness[event], larger)
    drop = badness > 0
    for event in range(badness.size):
        if badness[event] > 0:
            for entry in range(overlaps.start[event], overlaps.start[event + 1]):
                if badness[overlaps.other[entry]] > badness[event]:
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
    events : Located
    overlaps : Interactions
    window : AmplitudeWindow
    refractory : int
        As for `worst_events`.
    tolerance : float
        As for `refit`.

    Returns
    -------
    Pruned
    """
    low, high = window
    amplitude, sign = events.amplitude.copy(), np.sign(events.amplitude)
    fitted = Located(events.atom_index, events.shift, events.offset, amplitude)
    while True:
        refit(observed, amplitude, sign, overlaps, tolerance)
        size = np.abs(amplitude)
        badness = np.maximum((low - size) / low, (size - high) / high)
        badness[sign == 0] = -np.inf
        drop = worst_events(badness, fitted, overlaps, refractory)
        if not drop.any():
            return Pruned(amplitude, sign != 0)
        amplitude[drop] = 0
        sign[drop] = 0
