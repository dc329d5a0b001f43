"""Overlapping events, told apart together: what moving one event at a time cannot do."""

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Int

from si_crsae.core.compiled import compile_loops
from si_crsae.core.events.worth import Odds, Sighting, amplitude_of_one, worth_of_one, worth_of_two
from si_crsae.core.operators.gram import Pairs, correlation_at
from si_crsae.core.operators.interpolation import value_between
from si_crsae.core.solvers.descent import subtract_located
from si_crsae.core.types import Located

MAX_CANDIDATES = 48
NUM_PASSES = 3
# The least correlation with which an atom can be half of a pair, over its scale.
_LEAST_SHARE = 0.1
# Events less alike than this, where they stand, are told apart one at a time.
_LEAST_INTERACTION = 0.1
# Noise standard deviations that a residual may have, and spreads by which an amplitude may differ, where all is well.
_MISFIT, _SURPRISE = 4.0, 1.0


class Limits(NamedTuple):
    """How far new events may go.

    Parameters
    ----------
    max_move : int
        Furthest that one stands from those it replaces (samples).
    refractory : int
        Two of one atom are at least this far apart (samples).
    """

    max_move: int
    refractory: int


class Exchanged(NamedTuple):
    """Events of which some were exchanged for others.

    Parameters
    ----------
    events : Located
        Not in the order of time; those that are new stand on samples.
    new_shifts : ndarray of int64, shape (new,)
        Where the new ones stand, in the order of the events.
    """

    events: Located
    new_shifts: Int[np.ndarray, " new"]


class Scene(NamedTuple):
    """Everything that an exchange looks at and changes.

    Parameters
    ----------
    residual : ndarray of float32, shape (atom, shift)
        Correlation of every atom with what the events leave; kept up to date in place.
    events : Located
        Changed in place; an amplitude of zero is a place that is free.
    pairs : Pairs
    scales : ndarray of float32, shape (atom,)
        Typical amplitude of each atom; NaN for one that is out.
    odds : Odds
    """

    residual: Float[np.ndarray, "atom shift"]
    events: Located
    pairs: Pairs
    scales: Float[np.ndarray, " atom"]
    odds: Odds


class Candidates(NamedTuple):
    """Where an event might stand: arrays that are filled from the front.

    Parameters
    ----------
    atom_index, shift : ndarray of int64, shape (candidate,)
    value : ndarray of float32, shape (candidate,)
        Correlation with the atom, its sign that of the event to be exchanged.
    """

    atom_index: Int[np.ndarray, " candidate"]
    shift: Int[np.ndarray, " candidate"]
    value: Float[np.ndarray, " candidate"]


class Explanation(NamedTuple):
    """One or two candidates that explain best what is left without an event.

    Parameters
    ----------
    worth : float
        See `worth_of_one` and `worth_of_two`.
    first, second : int
        Which candidates they are; -1 for none.
    first_amplitude, second_amplitude : float
        Their most probable amplitudes.
    """

    worth: float
    first: int
    second: int
    first_amplitude: float
    second_amplitude: float


@compile_loops()
@no_type_check
def _interaction(scene, first, second):
    """Return the correlation of two events' atoms where they stand; zero for atoms that share no channel."""
    events, pairs = scene.events, scene.pairs
    pair = pairs.pair_index[events.atom_index[first], events.atom_index[second]]
    reach = pairs.values.shape[1] // 2
    lag = events.shift[second] - events.shift[first]
    if pair < 0 or abs(lag) > reach:
        return np.float32(0.0)
    return value_between(pairs.values[pair], reach + lag, events.offset[second] - events.offset[first])


@compile_loops()
@no_type_check
def _find_candidates(scene, start, end, near, sign, candidates):
    """Fill the candidates with where an event might stand; returns how many there are, the likeliest kept."""
    residual, scales = scene.residual, scene.scales
    atoms, shifts, values = candidates
    count, least_likely, least_share = 0, -1, np.float32(_LEAST_SHARE)
    for atom in near:
        for shift in range(start, end):
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
def _best_explanation(scene, candidates, count, refractory):
    """Return the one or two of so many candidates that are worth most."""
    atoms, shifts, values = candidates
    scales, odds = scene.scales, scene.odds
    gram, pair_index = scene.pairs.values, scene.pairs.pair_index
    best, one, two = -np.inf, -1, -1
    amplitude_one, amplitude_two = 0.0, 0.0
    for first in range(count):
        scale = scales[atoms[first]]
        worth = worth_of_one(values[first], scale, odds)
        if worth > best:
            best, one, two = worth, first, -1
            amplitude_one = amplitude_of_one(values[first], scale, odds)
        for second in range(first):
            lag = shifts[second] - shifts[first]
            if atoms[first] == atoms[second] and abs(lag) < refractory:
                continue
            between = correlation_at(gram, pair_index, atoms[first], atoms[second], lag)
            other = Sighting(values[second], scales[atoms[second]])
            both = worth_of_two(Sighting(values[first], scale), other, between, odds)
            if both.worth > best:
                best, one, two = both.worth, first, second
                amplitude_one, amplitude_two = both.first, both.second
    return Explanation(best, one, two, amplitude_one, amplitude_two)


@compile_loops()
@no_type_check
def _is_doubtful(scene, event, near, max_move):
    """Tell whether something is left around an event, or its amplitude is unusual."""
    residual, events, odds = scene.residual, scene.events, scene.odds
    size, shift = abs(events.amplitude[event]), events.shift[event]
    if abs(size / scene.scales[events.atom_index[event]] - 1) > _SURPRISE * odds.spread:
        return True
    start, end = max(shift - max_move, 0), min(shift + max_move + 1, residual.shape[1])
    for atom in near:
        for place in range(start, end):
            if abs(residual[atom, place]) > _MISFIT * odds.noise:
                return True
    return False


@compile_loops()
@no_type_check
def _value_without(scene, event, sign):
    """Return the correlation of an event's atom, where it stands, with what is left without the event."""
    events = scene.events
    left = value_between(scene.residual[events.atom_index[event]], events.shift[event], events.offset[event])
    return sign * (left + events.amplitude[event])


@compile_loops()
@no_type_check
def _worth_now(scene, event, partner, between):
    """Return what an event, or two if the partner is another one, are worth where they stand."""
    events, scales, odds = scene.events, scene.scales, scene.odds
    amplitude = events.amplitude
    sign = np.sign(amplitude[event])
    scale = scales[events.atom_index[event]]
    own = _value_without(scene, event, sign)
    if partner == event:
        return worth_of_one(own, scale, odds)
    other = _value_without(scene, partner, sign)
    one = Sighting(own + between * sign * amplitude[partner], scale)
    two = Sighting(other + between * sign * amplitude[event], scales[events.atom_index[partner]])
    return worth_of_two(one, two, between, odds).worth


@compile_loops()
@no_type_check
def _explain_anew(scene, event, partner, candidates, limits):
    """Return what explains best what is left without an event and its partner: see `_best_explanation`."""
    events = scene.events
    one, other = events.shift[event], events.shift[partner]
    start = max(min(one, other) - limits.max_move, 0)
    end = min(max(one, other) + limits.max_move + 1, scene.residual.shape[1])
    near = np.flatnonzero(scene.pairs.pair_index[events.atom_index[event]] >= 0)
    count = _find_candidates(scene, start, end, near, np.sign(events.amplitude[event]), candidates)
    return _best_explanation(scene, candidates, count, limits.refractory)


@compile_loops()
@no_type_check
def _store(events, slot, candidates, candidate, amplitude):
    """Put an event on a candidate's place."""
    events.atom_index[slot], events.shift[slot] = candidates.atom_index[candidate], candidates.shift[candidate]
    events.offset[slot], events.amplitude[slot] = np.float32(0.0), amplitude


@compile_loops()
@no_type_check
def _exchange(scene, event, partner, free, candidates, limits):
    """Exchange an event, or two if the partner is another one, for the one or two that are worth more, if any are.

    A second event goes to the place of the partner, or to `free` where there was none. Returns how many new ones
    there are.
    """
    residual, events, pairs = scene.residual, scene.events, scene.pairs
    amplitude = events.amplitude
    sign = np.sign(amplitude[event])
    between = _interaction(scene, event, partner)
    is_full = partner == event and free == amplitude.size
    if is_full or amplitude[partner] * sign <= 0 or abs(between) < _LEAST_INTERACTION:
        return 0
    worth = _worth_now(scene, event, partner, between)
    members = np.array([event]) if partner == event else np.array([event, partner])
    for member in members:
        subtract_located(residual, pairs, events, member, np.float32(-1.0))
    best = _explain_anew(scene, event, partner, candidates, limits)
    number = 0
    if best.first >= 0 and best.worth > worth + scene.odds.noise**2:
        amplitude[partner] = 0
        _store(events, event, candidates, best.first, sign * best.first_amplitude)
        members, number = np.array([event]), 1
        if best.second >= 0:
            second = free if partner == event else partner
            _store(events, second, candidates, best.second, sign * best.second_amplitude)
            members, number = np.array([event, second]), 2
    for member in members:
        subtract_located(residual, pairs, events, member, np.float32(1.0))
    return number


@compile_loops()
@no_type_check
def _twice_as_long(values):
    """Return the values in an array twice as long, the second half zeros."""
    longer = np.zeros(2 * values.size, values.dtype)
    longer[: values.size] = values
    return longer


@compile_loops()
@no_type_check
def _with_room(events):
    """Return the events in arrays twice as long, the second half empty."""
    atom_index, shift = _twice_as_long(events.atom_index), _twice_as_long(events.shift)
    return Located(atom_index, shift, _twice_as_long(events.offset), _twice_as_long(events.amplitude))


@compile_loops()
@no_type_check
def _compress(events, is_new, count):
    """Return the first so many events without the free places among them."""
    amplitude = events.amplitude[:count]
    stays = amplitude != 0
    shift = events.shift[:count]
    kept = Located(events.atom_index[:count][stays], shift[stays], events.offset[:count][stays], amplitude[stays])
    return Exchanged(kept, shift[is_new[:count] & stays])


@compile_loops()
@no_type_check
def resolve_overlaps(residual, events, active, pairs, scales, odds, limits):
    """Return the events with single ones, and overlapping pairs, exchanged for the one or two that explain them best.

    Two spikes within a few samples look like one of a third unit, or like two of others. Moved one at a time, an event
    finds the best place beside the wrong partner. Here one event, or two that overlap, are taken out, and every atom
    and every pair of atoms is tried in their place. What is gained is the log posterior: an event of amplitude x and
    scale a is worth what it lowers the squared error, less ``(x / a - 1)^2 / (2 spread^2)`` and a price.

    Parameters
    ----------
    residual : ndarray of float32, shape (atom, shift)
        Correlation of the residual with every atom; kept up to date in place.
    events : Located
    active : ndarray of bool, shape (event,)
        The events to look at.
    pairs : Pairs
    scales : ndarray of float32, shape (atom,)
        Typical amplitude of each atom; NaN for one that is out.
    odds : Odds
    limits : Limits

    Returns
    -------
    Exchanged
    """
    num_events = count = events.shift.size
    current = _with_room(events)
    shift, amplitude = current.shift, current.amplitude
    scene = Scene(residual, current, pairs, scales, odds)
    numbers = np.zeros((2, MAX_CANDIDATES), np.int64)
    candidates = Candidates(numbers[0], numbers[1], np.ones(MAX_CANDIDATES, np.float32))
    is_new = np.zeros(shift.size, np.bool_)
    doubtful = active.copy()
    for event in np.flatnonzero(active):
        near = np.flatnonzero(pairs.pair_index[current.atom_index[event]] >= 0)
        doubtful[event] = _is_doubtful(scene, event, near, limits.max_move)
    reach = pairs.values.shape[1] // 2
    for _ in range(NUM_PASSES):
        changed = np.zeros(num_events, np.bool_)
        for event in range(num_events):
            partner = event
            while partner < num_events and amplitude[event] != 0 and shift[partner] - shift[event] <= reach:
                number = 0
                if amplitude[partner] != 0 and (doubtful[event] or doubtful[partner]):
                    number = _exchange(scene, event, partner, count, candidates, limits)
                if number > 0:
                    changed[event] = changed[partner] = is_new[event] = True
                    second = count if partner == event else partner
                    is_new[second] = is_new[second] or number == 2
                    count += number == 2 and partner == event
                partner += 1
        doubtful = changed
    return _compress(current, is_new, count)
