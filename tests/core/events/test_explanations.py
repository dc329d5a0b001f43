"""Claims about the weights of explanations, what is known of amplitudes, and what events leave."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from si_crsae.core import Dictionary, Gram, correlate
from si_crsae.core.events import explanations, refine
from si_crsae.core.events.worth import Odds, Sighting, log_evidence_of_one, log_evidence_of_two
from si_crsae.core.operators.filtering import filter_with_basis
from si_crsae.core.types import Located

WIDTH, NUM_CHANNELS, NUM_ATOMS, NUM_SAMPLES = 12, 3, 4, 90
NOISE, SPREAD, PRICE, MAX_MOVE = 1.3, 0.2, 3.0, 3
ODDS = Odds(NOISE, SPREAD, PRICE)
SINGLE_ODDS = Odds(*np.array(ODDS, "float32"))
seeds = st.integers(0, 2**16)


def make_dictionary(rng):
    """Return atoms that look a little alike."""
    basis = torch.from_numpy(np.linalg.qr(rng.standard_normal((WIDTH, 4)))[0].T.astype("float32").copy())
    coefficients = rng.standard_normal((NUM_ATOMS, NUM_CHANNELS, 4)) + rng.standard_normal((1, NUM_CHANNELS, 4))
    norms = np.linalg.norm(coefficients, axis=(1, 2), keepdims=True)
    coefficients *= rng.uniform(4, 9, NUM_ATOMS)[:, None, None] / norms
    return Dictionary.from_coefficients(torch.from_numpy(coefficients.astype("float32")), basis, num_before=4)


def make_events(rng, dictionary, *, offsets=False):
    """Return four events, sorted by shift, some of which overlap."""
    shift = np.sort(rng.choice(np.arange(15, 60), 4, replace=False)).astype("int64")
    atom = rng.integers(0, NUM_ATOMS, 4)
    amplitude = (dictionary.scales.numpy()[atom] * rng.uniform(0.8, 1.2, 4)).astype("float32")
    offset = rng.uniform(-0.5, 0.5, 4).astype("float32") if offsets else np.zeros(4, "float32")
    return Located(atom, shift, offset, amplitude)


def put_back(traces, events, dictionary):
    """Return the traces with the events in them."""
    with_events = traces.copy()
    negative = events._replace(amplitude=-events.amplitude)
    explanations.subtract_waveforms(with_events, negative, dictionary.atoms.numpy())
    return with_events


def make_traces(rng, events, dictionary):
    """Return noise and the events."""
    traces = rng.standard_normal((NUM_CHANNELS, NUM_SAMPLES)).astype("float32")
    return traces, put_back(traces, events, dictionary)


def correlation_of(traces, dictionary):
    return correlate(torch.from_numpy(traces)[None], dictionary.atoms)[0].numpy()


def brute_force_weights(residual, event, events, dictionary):
    """Return the log weights of the event's own atom, of each other one, and of pairs without it, from the traces."""
    alone = put_back(residual, Located(*(part[event : event + 1] for part in events)), dictionary)
    values, scales = correlation_of(alone, dictionary), dictionary.scales.numpy()
    atom, shift = events.atom_index[event], events.shift[event]
    places = range(shift - MAX_MOVE, shift + MAX_MOVE + 1)
    singles, best = {}, {}
    for other in range(NUM_ATOMS):
        weights = {
            place: log_evidence_of_one(values[other, place], scales[other], ODDS) - PRICE
            for place in places
            if values[other, place] > 0
        }
        if weights:
            singles[other], best[other] = logsumexp(list(weights.values())), max(weights, key=lambda x: weights[x])
    with_own, without = [singles[atom]], []
    for one in best:
        for two in range(one):
            if two in best:
                delayed = np.zeros((NUM_CHANNELS, NUM_SAMPLES), "float32")
                delayed[:, best[two] : best[two] + WIDTH] = dictionary.atoms[two]
                between = correlation_of(delayed, dictionary)[one, best[one]]
                both = (Sighting(values[other, best[other]], scales[other]) for other in (one, two))
                weight = log_evidence_of_two(*both, between, ODDS)
                (with_own if atom in (one, two) else without).append(weight - 2 * PRICE)
    others = {other: weight for other, weight in singles.items() if other != atom}
    return logsumexp(with_own), others, without


@given(seed=seeds)
def test_explanations_weigh_what_enumerating_them_on_the_traces_gives(seed):
    rng = np.random.default_rng(seed)
    dictionary = make_dictionary(rng)
    events = make_events(rng, dictionary)
    residual, _ = make_traces(rng, events, dictionary)
    pairs, scales = Gram.of(dictionary).pairs, dictionary.scales.numpy()
    own, rival, rest, rival_atom = explanations.weigh_explanations(
        correlation_of(residual, dictionary), events, pairs, scales, SINGLE_ODDS, MAX_MOVE
    )
    for event in range(own.size):
        expected_own, others, without_own = brute_force_weights(residual, event, events, dictionary)
        assert own[event] == pytest.approx(expected_own, abs=2e-2)
        if not others:
            assert (rival[event], rival_atom[event]) == (-np.inf, -1)
            continue
        assert rival[event] == pytest.approx(max(others.values()), abs=2e-2)
        assert others[rival_atom[event]] == pytest.approx(max(others.values()), abs=2e-2)
        other_weights = [weight for atom, weight in others.items() if atom != rival_atom[event]] + without_own
        if np.isfinite(other_weights).any():
            assert rest[event] == pytest.approx(logsumexp(other_weights), abs=2e-2)


@given(seed=seeds, offsets=st.booleans())
def test_the_information_is_the_precision_of_an_amplitude_when_the_others_are_integrated_out(seed, offsets):
    rng = np.random.default_rng(seed)
    dictionary = make_dictionary(rng)
    events = make_events(rng, dictionary, offsets=offsets)
    overlaps = refine.interactions(events, Gram.of(dictionary).pairs)
    scales = dictionary.scales.numpy()
    found = explanations.amplitude_information(events, overlaps, scales, SINGLE_ODDS)
    start, other, correlation = overlaps
    matrix = np.eye(found.size)
    for event in range(found.size):
        matrix[event, other[start[event] : start[event + 1]]] = correlation[start[event] : start[event + 1]]
    pull = (NOISE / (SPREAD * scales[events.atom_index])) ** 2
    for event in range(found.size):
        neighbors = np.append(other[start[event] : start[event + 1]], event)
        local = matrix[np.ix_(neighbors, neighbors)] + np.diag(np.append(pull[neighbors[:-1]], 0.0))
        expected = 1 / np.linalg.inv(local)[-1, -1]
        assert found[event] == pytest.approx(max(expected, 1e-3), abs=1e-4)


def test_an_event_alone_is_known_as_well_as_the_noise_allows():
    dictionary = make_dictionary(np.random.default_rng(0))
    events = Located(np.array([0]), np.array([20]), np.zeros(1, "float32"), np.ones(1, "float32"))
    overlaps = refine.interactions(events, Gram.of(dictionary).pairs)
    found = explanations.amplitude_information(events, overlaps, dictionary.scales.numpy(), SINGLE_ODDS)
    assert found.tolist() == [1.0]


@given(seed=seeds)
def test_waveforms_taken_out_leave_what_the_gram_says(seed):
    rng = np.random.default_rng(seed)
    dictionary = make_dictionary(rng)
    events = make_events(rng, dictionary)
    noise, traces = make_traces(rng, events, dictionary)
    for atom, shift, amplitude in zip(events.atom_index, events.shift, events.amplitude, strict=True):
        traces[:, shift : shift + WIDTH] -= amplitude * dictionary.atoms[atom].numpy()
    np.testing.assert_allclose(traces, noise, atol=1e-4)


@given(seed=seeds)
def test_the_residual_on_the_components_is_what_filtering_gives(seed):
    rng = np.random.default_rng(seed)
    dictionary = make_dictionary(rng)
    residual = rng.standard_normal((NUM_CHANNELS, NUM_SAMPLES)).astype("float32")
    places, channels = np.array([0, 7, 60]), np.array([[0, 2], [1, -1], [2, 0]])
    found = explanations.project_residual(residual, places, channels, dictionary.basis.numpy())
    filtered = filter_with_basis(torch.from_numpy(residual), dictionary.basis).numpy()
    for row, place in enumerate(places):
        for local, channel in enumerate(channels[row]):
            expected = filtered[channel, :, place] if channel >= 0 else 0
            np.testing.assert_allclose(found[row, local], expected, atol=1e-4)


def test_a_residual_at_the_ends_of_the_traces_counts_as_far_as_it_goes():
    basis = np.full((1, 4), 0.5, "float32")
    residual = np.ones((1, 10), "float32")
    found = explanations.project_residual(residual, np.array([-2, 0, 8, 20]), np.zeros((4, 1), "int64"), basis)
    assert found.ravel().tolist() == [1.0, 2.0, 1.0, 0.0]


def test_the_misfit_is_one_in_noise_and_larger_where_something_is_left():
    rng = np.random.default_rng(3)
    residual = rng.standard_normal((2, 200_000)).astype("float32") * np.array([[1.0], [5.0]], "float32")
    shift = np.arange(100, 190_000, 100)
    zeros = np.zeros(shift.size, "float32")
    events = Located(zeros.astype("int64"), shift, zeros, zeros + 1)
    shares = np.array([[1.0, 0.0]], "float32")
    usual = explanations.relative_misfit(residual, events, shares, 2, 22)
    assert usual.mean() == pytest.approx(1.0, abs=0.02)
    residual[0, shift[7] + 2 : shift[7] + 22] += 3
    assert explanations.relative_misfit(residual, events, shares, 2, 22)[7] > usual[7] + 5
