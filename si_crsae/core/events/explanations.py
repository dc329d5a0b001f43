"""What speaks for an event and against it: the weights of the explanations of what stands in its place."""

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Int

from si_crsae.core.compiled import compile_loops
from si_crsae.core.events.worth import Sighting, log_evidence_of_one, log_evidence_of_two, pull_of
from si_crsae.core.operators.gram import correlation_at
from si_crsae.core.operators.interpolation import NUM_TAPS, WEIGHTS, split_offset, value_between

# For explanations by two atoms the best place of so many atoms is tried with that of every other.
MAX_PAIRED = 6
# Overlapping events of which the uncertainty is carried over, those that overlap most.
MAX_PARTNERS = 8


class LogWeights(NamedTuple):
    """What may stand in the place of each event: log weights in nats, relative to nothing.

    Parameters
    ----------
    own : ndarray of float32, shape (event,)
        The atom of the event, alone or with another one.
    rival : ndarray of float32, shape (event,)
        The likeliest other atom; -inf if there is none.
    rest : ndarray of float32, shape (event,)
        All other atoms and pairs of them.
    rival_atom : ndarray of int64, shape (event,)
        Which atom the likeliest other one is; -1 if there is none.
    """

    own: Float[np.ndarray, " event"]
    rival: Float[np.ndarray, " event"]
    rest: Float[np.ndarray, " event"]
    rival_atom: Int[np.ndarray, " event"]


class Places(NamedTuple):
    """The atoms that could meet an event, each at its best place.

    Parameters
    ----------
    atom_index : ndarray of int64, shape (near,)
    shift : ndarray of int64, shape (near,)
        The best place.
    value : ndarray of float64, shape (near,)
        Correlation of the atom there, the event put back, its sign that of the event.
    weight : ndarray of float64, shape (near,)
        Log weight of all its places together (nats); -inf where it has none.
    """

    atom_index: Int[np.ndarray, " near"]
    shift: Int[np.ndarray, " near"]
    value: Float[np.ndarray, " near"]
    weight: Float[np.ndarray, " near"]


@compile_loops()
@no_type_check
def _add_logs(first, second):
    """Return the logarithm of the sum of two weights given by theirs."""
    larger, smaller = max(first, second), min(first, second)
    return larger if smaller == -np.inf else larger + np.log1p(np.exp(smaller - larger))


@compile_loops()
@no_type_check
def _weigh_atoms(residual, event, events, pairs, scales, odds, max_move):
    """Return, for each atom that could meet an event, the log weight of all its places, and the best place.

    The event itself is put back before.
    """
    own, shift, amplitude = events.atom_index[event], events.shift[event], events.amplitude[event]
    offset, sign = events.offset[event], np.sign(amplitude)
    reach = pairs.values.shape[1] // 2
    near = np.flatnonzero(pairs.pair_index[own] >= 0)
    weights, values = np.full(near.size, -np.inf), np.zeros(near.size)
    shifts = np.zeros(near.size, np.int64)
    start, end = max(shift - max_move, 0), min(shift + max_move + 1, residual.shape[1])
    for row in range(near.size):
        atom = near[row]
        lags, scale = pairs.values[pairs.pair_index[own, atom]], scales[atom]
        best = -np.inf
        for place in range(start, end):
            value = residual[atom, place]
            value = sign * (value + amplitude * value_between(lags, reach + place - shift, -offset))
            if not value > 0 or not scale > 0:
                continue
            evidence = log_evidence_of_one(value, scale, odds) - odds.price
            weights[row] = _add_logs(weights[row], evidence)
            if evidence > best:
                best, values[row], shifts[row] = evidence, value, place
    return Places(near, shifts, values, weights)


@compile_loops()
@no_type_check
def _weigh_pairs(places, own, pairs, scales, odds):
    """Return the log weights of pairs of atoms, each at its best place: those with the event's own atom, and others."""
    atoms, shifts, values, weights = places
    with_own, without = -np.inf, -np.inf
    likely = np.argsort(-weights)[:MAX_PAIRED]
    for one in range(likely.size):
        for two in range(one):
            first, second = likely[one], likely[two]
            if weights[first] == -np.inf or weights[second] == -np.inf:
                continue
            lag = shifts[second] - shifts[first]
            between = correlation_at(pairs.values, pairs.pair_index, atoms[first], atoms[second], lag)
            seen_first = Sighting(values[first], scales[atoms[first]])
            seen_second = Sighting(values[second], scales[atoms[second]])
            weight = log_evidence_of_two(seen_first, seen_second, between, odds) - 2 * odds.price
            if atoms[first] == own or atoms[second] == own:
                with_own = _add_logs(with_own, weight)
            else:
                without = _add_logs(without, weight)
    return with_own, without


@compile_loops()
@no_type_check
def weigh_explanations(residual, events, pairs, scales, odds, max_move):
    """Return the log weights of what may stand in the place of each event, all other events held fixed.

    The explanations are: nothing; one atom, at any sample near; two atoms, each at its best sample. A weight is the
    evidence, amplitudes integrated, times the prior of events, relative to nothing.

    Parameters
    ----------
    residual : ndarray of float32, shape (atom, shift)
        Correlation of the residual with every atom.
    events : Located
    pairs : Pairs
    scales : ndarray of float32, shape (atom,)
        Typical amplitude of each atom; NaN for one that is out.
    odds : Odds
    max_move : int
        How far from an event another explanation may stand (samples).

    Returns
    -------
    LogWeights
    """
    num_events = events.shift.size
    own, rival = np.full(num_events, -np.inf, np.float32), np.full(num_events, -np.inf, np.float32)
    rest, rival_atom = np.full(num_events, -np.inf, np.float32), np.full(num_events, -1, np.int64)
    for event in range(num_events):
        atom = events.atom_index[event]
        places = _weigh_atoms(residual, event, events, pairs, scales, odds, max_move)
        near, weights = places.atom_index, places.weight
        with_own, without = _weigh_pairs(places, atom, pairs, scales, odds)
        own_weight, best, rest_weight = with_own, -1, without
        for row in range(near.size):
            if near[row] == atom:
                own_weight = _add_logs(own_weight, weights[row])
            elif weights[row] > -np.inf and (best < 0 or weights[row] > weights[best]):
                rest_weight = rest_weight if best < 0 else _add_logs(rest_weight, weights[best])
                best = row
            elif weights[row] > -np.inf:
                rest_weight = _add_logs(rest_weight, weights[row])
        own[event], rest[event] = own_weight, rest_weight
        if best >= 0:
            rival[event], rival_atom[event] = weights[best], near[best]
    return LogWeights(own, rival, rest, rival_atom)


@compile_loops()
@no_type_check
def amplitude_information(events, overlaps, scales, odds):
    """Return how much is known of each amplitude from the traces: 1 for an event alone, less where others overlap it.

    It is the Schur complement of the other events in the Gram of all, their amplitudes having a prior: the variance of
    a fitted amplitude is the noise variance over it.

    Parameters
    ----------
    events : Located
    overlaps : Interactions
    scales : ndarray of float32, shape (atom,)
        Typical amplitude of each atom.
    odds : Odds

    Returns
    -------
    ndarray of float32, shape (event,)
        In (0, 1].
    """
    start, other, correlation = overlaps
    information = np.ones(events.shift.size, np.float32)
    for event in range(information.size):
        entries = np.arange(start[event], start[event + 1])
        if entries.size > MAX_PARTNERS:
            entries = entries[np.argsort(-np.abs(correlation[entries]))[:MAX_PARTNERS]]
        if entries.size == 0:
            continue
        matrix, coupling = np.zeros((entries.size, entries.size)), np.zeros(entries.size)
        for row in range(entries.size):
            partner = other[entries[row]]
            coupling[row] = correlation[entries[row]]
            matrix[row, row] = 1 + pull_of(scales[events.atom_index[partner]], odds)
            for entry in range(start[partner], start[partner + 1]):
                for column in range(entries.size):
                    if other[entries[column]] == other[entry]:
                        matrix[row, column] = correlation[entry]
        explained = _quadratic_form_of_inverse(matrix, coupling)
        information[event] = max(1 - explained, 1e-3)
    return information


@compile_loops()
@no_type_check
def _quadratic_form_of_inverse(matrix, vector):
    """Return ``vector' inverse(matrix) vector`` of a small positive definite matrix, which is overwritten."""
    total = 0.0
    for pivot in range(vector.size):
        total += vector[pivot] ** 2 / matrix[pivot, pivot]
        for row in range(pivot + 1, vector.size):
            factor = matrix[row, pivot] / matrix[pivot, pivot]
            vector[row] -= factor * vector[pivot]
            for column in range(pivot + 1, vector.size):
                matrix[row, column] -= factor * matrix[pivot, column]
    return total


@compile_loops()
@no_type_check
def subtract_waveforms(traces, events, atoms):
    """Subtract the events from the traces, in place.

    Parameters
    ----------
    traces : ndarray of float32, shape (channel, sample)
    events : Located
        In any order.
    atoms : ndarray of float32, shape (atom, channel, width)
    """
    atom_index, shift, offset, amplitude = events
    num_channels, width = atoms.shape[1:]
    for event in range(shift.size):
        first, phase = split_offset(offset[event])
        for channel in range(num_channels):
            atom = atoms[atom_index[event], channel]
            if atom[width // 2] == 0 and not atom.any():
                continue
            for tap in range(NUM_TAPS):
                weight = amplitude[event] * WEIGHTS[phase, tap]
                if weight == 0:
                    continue
                onset = shift[event] + first + tap
                for sample in range(max(0, -onset), min(width, traces.shape[1] - onset)):
                    traces[channel, onset + sample] -= weight * atom[sample]


@compile_loops()
@no_type_check
def relative_misfit(residual, events, shares, start, end):
    """Return the mean square of the residual around each event over that of the whole stretch on the same channels.

    Parameters
    ----------
    residual : ndarray of float32, shape (channel, sample)
        Traces without all events.
    events : Located
        In any order.
    shares : ndarray of float32, shape (atom, channel)
        Energy of each atom on each channel, by which the channels are weighted.
    start, end : int
        First sample of the atom to look at and the one after the last.

    Returns
    -------
    ndarray of float32, shape (event,)
        1 where an event leaves no more than is left elsewhere.
    """
    atom_index, shift = events.atom_index, events.shift
    num_channels, num_samples = residual.shape
    usual = np.zeros(num_channels, np.float32)
    for channel in range(num_channels):
        usual[channel] = np.mean(residual[channel] ** 2)
    misfit = np.ones(shift.size, np.float32)
    for event in range(shift.size):
        first, last = max(shift[event] + start, 0), min(shift[event] + end, num_samples)
        found, expected = np.float32(0.0), np.float32(0.0)
        for channel in range(num_channels):
            share = shares[atom_index[event], channel]
            if share == 0 or usual[channel] == 0 or last <= first:
                continue
            found += share * np.mean(residual[channel, first:last] ** 2)
            expected += share * usual[channel]
        if expected > 0:
            misfit[event] = found / expected
    return misfit


@compile_loops()
@no_type_check
def project_residual(residual, places, channels, basis):
    """Return the residual at some places and channels on the temporal components.

    Parameters
    ----------
    residual : ndarray of float32, shape (channel, sample)
        Traces without all events.
    places : ndarray of int64, shape (row,)
        First sample of the components.
    channels : ndarray of int64, shape (row, local)
        Where to look; -1 gives zeros.
    basis : ndarray of float32, shape (component, width)

    Returns
    -------
    ndarray of float32, shape (row, local, component)
    """
    num_components, width = basis.shape
    features = np.zeros((places.size, channels.shape[1], num_components), np.float32)
    for row in range(places.size):
        start, end = max(0, -places[row]), min(width, residual.shape[1] - places[row])
        for local in range(channels.shape[1]):
            channel = channels[row, local]
            if channel < 0 or end <= start:
                continue
            samples = residual[channel, places[row] + start : places[row] + end]
            for component in range(num_components):
                features[row, local, component] = np.sum(basis[component, start:end] * samples)
    return features
