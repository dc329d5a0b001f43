"""Overlapping events, told apart together: what moving one event at a time cannot do."""

from typing import no_type_check

import numpy as np

from si_crsae.core.compiled import compile_loops
from si_crsae.core.operators.interpolation import NUM_TAPS, WEIGHTS, split_offset, value_between
from si_crsae.core.solvers.descent import subtract_event

MAX_CANDIDATES = 48
NUM_PASSES = 3
# Of its scale: the least correlation with which an atom can be half of a pair.
_LEAST_SHARE = 0.1
# Events less alike than this, where they stand, are told apart one at a time.
_LEAST_INTERACTION = 0.1
# Noise standard deviations that a residual may have, and spreads by which an amplitude may differ, where all is well.
_MISFIT, _SURPRISE = 4.0, 1.0


@compile_loops()
@no_type_check
def _correlation_of(first, second, events, pairs):
    """Return the correlation of two events' atoms where they stand; zero for atoms that share no channel."""
    atom_index, shift, offset, _ = events
    gram, pair_index = pairs
    pair = pair_index[atom_index[first], atom_index[second]]
    reach = gram.shape[1] // 2
    lag = shift[second] - shift[first]
    if pair < 0 or abs(lag) > reach:
        return np.float32(0.0)
    return value_between(gram[pair], reach + lag, offset[second] - offset[first])


@compile_loops()
@no_type_check
def _put(residual, event, events, pairs, sign):
    """Put an event into the residual correlation of every atom, or take it out where `sign` is -1, in place."""
    atom_index, shift, offset, amplitude = events
    gram, pair_index = pairs
    first, phase = split_offset(offset[event])
    for atom in range(residual.shape[0]):
        pair = pair_index[atom_index[event], atom]
        if pair >= 0:
            row, whole = gram[pair : pair + 1], np.zeros(1, np.int64)
            target = residual[atom : atom + 1]
            if offset[event] == 0:
                subtract_event(target, row, whole, shift[event], -sign * amplitude[event])
                continue
            for tap in range(NUM_TAPS):
                share = -sign * amplitude[event] * WEIGHTS[phase, tap]
                subtract_event(target, row, whole, shift[event] + first + tap, share)


@compile_loops()
@no_type_check
def worth_of_one(value, scale, odds):
    """Return by how much one event lowers the objective, less its price, at its most probable amplitude."""
    noise, spread, price = odds
    pull = (noise / (spread * scale)) ** 2
    return ((value + pull * scale) ** 2 / (1 + pull) - pull * scale**2) / 2 - price * noise**2


@compile_loops()
@no_type_check
def worth_of_two(values, scales, between, odds):
    """Return by how much two events with that correlation lower the objective, less their price, and their amplitudes.

    The amplitudes are the most probable ones; a pair of which one had to be negative is worth nothing.
    """
    noise, spread, price = odds
    pull_one, pull_two = (noise / (spread * scales[0])) ** 2, (noise / (spread * scales[1])) ** 2
    one, two = values[0] + pull_one * scales[0], values[1] + pull_two * scales[1]
    determinant = (1 + pull_one) * (1 + pull_two) - between**2
    first = (one * (1 + pull_two) - two * between) / determinant
    second = (two * (1 + pull_one) - one * between) / determinant
    if first <= 0 or second <= 0:
        return np.float32(-np.inf), first, second
    prior = pull_one * scales[0] ** 2 + pull_two * scales[1] ** 2
    return (one * first + two * second - prior) / 2 - 2 * price * noise**2, first, second


@compile_loops()
@no_type_check
def _find_candidates(residual, window, near, scales, sign, found):
    """Fill `found`, atoms, shifts and values, with where an event might stand; returns how many, the likeliest kept."""
    atoms, shifts, values = found
    count, least_likely, least_share = 0, -1, np.float32(_LEAST_SHARE)
    for atom in near:
        for shift in range(window[0], window[1]):
            value = sign * residual[atom, shift]
            if not value > least_share * scales[atom]:
                continue
            place = count if count < atoms.size else least_likely
            count = min(count + 1, atoms.size)
            atoms[place], shifts[place], values[place] = atom, shift, value
            if count == atoms.size:
                least_likely = np.argmin(values / scales[atoms])
                least_share = values[least_likely] / scales[atoms[least_likely]]
    return count


@compile_loops()
@no_type_check
def _best_explanation(found, count, scales, pairs, odds, refractory):
    """Return the worth of the best one or two candidates, which they are (-1 for no second), and their amplitudes."""
    atoms, shifts, values = found
    gram, pair_index = pairs
    reach = gram.shape[1] // 2
    best, one, two = np.float32(-np.inf), -1, -1
    amplitude_one, amplitude_two = np.float32(0.0), np.float32(0.0)
    for first in range(count):
        scale = scales[atoms[first]]
        worth = worth_of_one(values[first], scale, odds)
        if worth > best:
            pull = (odds[0] / (odds[1] * scale)) ** 2
            best, one, two = worth, first, -1
            amplitude_one = (values[first] + pull * scale) / (1 + pull)
        for second in range(first):
            lag = shifts[second] - shifts[first]
            pair = pair_index[atoms[first], atoms[second]]
            if atoms[first] == atoms[second] and abs(lag) < refractory:
                continue
            between = gram[pair, reach + lag] if pair >= 0 and abs(lag) <= reach else np.float32(0.0)
            both = (values[first], values[second])
            worth, x_first, x_second = worth_of_two(both, (scale, scales[atoms[second]]), between, odds)
            if worth > best:
                best, one, two, amplitude_one, amplitude_two = worth, first, second, x_first, x_second
    return best, one, two, (amplitude_one, amplitude_two)


@compile_loops()
@no_type_check
def _is_doubtful(residual, event, events, near, odds, max_move):
    """Tell whether something is left around an event, or its amplitude is unusual."""
    atom_index, shift, _, amplitude = events
    scales, noise, spread, _ = odds
    if abs(abs(amplitude[event]) / scales[atom_index[event]] - 1) > _SURPRISE * spread:
        return True
    start, end = max(shift[event] - max_move, 0), min(shift[event] + max_move + 1, residual.shape[1])
    for atom in near:
        for place in range(start, end):
            if abs(residual[atom, place]) > _MISFIT * noise:
                return True
    return False


@compile_loops()
@no_type_check
def _worth_now(residual, event, partner, between, events, odds):
    """Return what an event, or two if the partner is another one, are worth where they stand."""
    atom_index, shift, offset, amplitude = events
    scales = odds[0]
    sign = np.sign(amplitude[event])
    scale = scales[atom_index[event]]
    own = sign * (value_between(residual[atom_index[event]], shift[event], offset[event]) + amplitude[event])
    if partner == event:
        return worth_of_one(own, scale, odds[1:])
    other = sign * (value_between(residual[atom_index[partner]], shift[partner], offset[partner]) + amplitude[partner])
    values = (own + between * sign * amplitude[partner], other + between * sign * amplitude[event])
    return worth_of_two(values, (scale, scales[atom_index[partner]]), between, odds[1:])[0]


@compile_loops()
@no_type_check
def _explain_anew(residual, event, partner, model, found, limits):
    """Return what explains best what is left without an event and its partner: see `_best_explanation`."""
    (atom_index, shift, _, amplitude), pairs, odds = model
    max_move, refractory = limits
    start = max(min(shift[event], shift[partner]) - max_move, 0)
    end = min(max(shift[event], shift[partner]) + max_move + 1, residual.shape[1])
    near = np.flatnonzero(pairs[1][atom_index[event]] >= 0)
    count = _find_candidates(residual, (start, end), near, odds[0], np.sign(amplitude[event]), found)
    return _best_explanation(found, count, odds[0], pairs, odds[1:], refractory)


@compile_loops()
@no_type_check
def _store(events, slot, found, candidate, amplitude):
    """Put an event on a candidate's place."""
    atoms, shifts, _ = found
    events[0][slot], events[1][slot], events[2][slot] = atoms[candidate], shifts[candidate], np.float32(0.0)
    events[3][slot] = amplitude


@compile_loops()
@no_type_check
def _exchange(residual, event, partner, free, model, found, limits):
    """Exchange an event, or two if the partner is another one, for the one or two that are worth more, if any are.

    A second event goes to the place of the partner, or to `free` where there was none. Returns how many new ones
    there are.
    """
    events, pairs, odds = model
    amplitude, noise = events[3], odds[1]
    sign = np.sign(amplitude[event])
    between = _correlation_of(event, partner, events, pairs)
    is_full = partner == event and free == amplitude.size
    if is_full or amplitude[partner] * sign <= 0 or abs(between) < _LEAST_INTERACTION:
        return 0
    worth = _worth_now(residual, event, partner, between, events, odds)
    members = np.array([event]) if partner == event else np.array([event, partner])
    for member in members:
        _put(residual, member, events, pairs, np.float32(1.0))
    best, one, two, amplitudes = _explain_anew(residual, event, partner, model, found, limits)
    number = 0
    if one >= 0 and best > worth + noise**2:
        amplitude[partner] = 0
        _store(events, event, found, one, sign * amplitudes[0])
        members, number = np.array([event]), 1
        if two >= 0:
            second = free if partner == event else partner
            _store(events, second, found, two, sign * amplitudes[1])
            members, number = np.array([event, second]), 2
    for member in members:
        _put(residual, member, events, pairs, np.float32(-1.0))
    return number


@compile_loops()
@no_type_check
def _with_room(events):
    """Return the events in arrays twice as long, the second half empty."""
    num_events = events[0].size
    atom_index, shift = np.zeros(2 * num_events, np.int64), np.zeros(2 * num_events, np.int64)
    offset, amplitude = np.zeros(2 * num_events, np.float32), np.zeros(2 * num_events, np.float32)
    atom_index[:num_events], shift[:num_events] = events[0], events[1]
    offset[:num_events], amplitude[:num_events] = events[2], events[3]
    return atom_index, shift, offset, amplitude


@compile_loops()
@no_type_check
def resolve_overlaps(residual, events, active, pairs, odds, limits):
    """Return the events with single ones, and overlapping pairs, exchanged for the one or two that explain them best.

    Two spikes within a few samples look like one of a third unit, or like two of others. Moved one at a time, an event
    finds the best place beside the wrong partner. Here one event, or two that overlap, are taken out, and every atom
    and every pair of atoms is tried in their place. What is gained is the log posterior: an event of amplitude x and
    scale a is worth what it lowers the squared error, less ``(x / a - 1)^2 / (2 spread^2)`` and a price.

    Parameters
    ----------
    residual : ndarray of float32, shape (atom, shift)
        Correlation of the residual with every atom; kept up to date in place.
    events : tuple of ndarray, shape (event,)
        Atom (int64), shift (int64), offset (float32) and amplitude (float32), sorted by shift.
    active : ndarray of bool, shape (event,)
        The events to look at.
    pairs : tuple of ndarray
        `values` and `pair_index` of the Gram.
    odds : tuple
        Scale of every atom (float32; NaN for one that is out), and standard deviation of the noise, relative spread of
        amplitudes and price of an event (nats) as float32.
    limits : tuple of int
        Furthest move of an event, and refractory period (samples).

    Returns
    -------
    events : tuple of ndarray, shape (event,)
        Not in the order of time; those that are new stand on samples.
    new_shifts : ndarray of int64
        Where the new ones stand.
    """
    num_events = count = events[0].size
    current = atom_index, shift, offset, amplitude = _with_room(events)
    model = (current, pairs, odds)
    candidates = np.zeros((2, MAX_CANDIDATES), np.int64)
    found = (candidates[0], candidates[1], np.ones(MAX_CANDIDATES, np.float32))
    is_new = np.zeros(shift.size, np.bool_)
    doubtful = active.copy()
    for event in np.flatnonzero(active):
        near = np.flatnonzero(pairs[1][atom_index[event]] >= 0)
        doubtful[event] = _is_doubtful(residual, event, current, near, odds, limits[0])
    reach = pairs[0].shape[1] // 2
    for _ in range(NUM_PASSES):
        changed = np.zeros(num_events, np.bool_)
        for event in range(num_events):
            partner = event
            while partner < num_events and amplitude[event] != 0 and shift[partner] - shift[event] <= reach:
                number = 0
                if amplitude[partner] != 0 and (doubtful[event] or doubtful[partner]):
                    number = _exchange(residual, event, partner, count, model, found, limits)
                if number > 0:
                    changed[event] = changed[partner] = is_new[event] = True
                    second = count if partner == event else partner
                    is_new[second] = is_new[second] or number == 2
                    count += number == 2 and partner == event
                partner += 1
        doubtful = changed
    stays = amplitude[:count] != 0
    kept = (atom_index[:count][stays], shift[:count][stays], offset[:count][stays], amplitude[:count][stays])
    return kept, shift[:count][is_new[:count] & stays]
