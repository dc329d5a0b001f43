"""Claims about the weights of explanations: they are integrals over amplitudes, and so is what is known of these."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import dblquad, quad
from scipy.special import logsumexp
from scipy.stats import norm

from si_crsae.core import Dictionary, Gram, correlate
from si_crsae.core.events import explanations, refine
from si_crsae.core.operators.filtering import filter_with_basis

WIDTH, NUM_CHANNELS, NUM_ATOMS, NUM_SAMPLES = 12, 3, 4, 90
NOISE, SPREAD, PRICE, MAX_MOVE = 1.3, 0.2, 3.0, 3
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
    return atom, shift, offset, amplitude


def make_traces(rng, events, dictionary):
    """Return noise and the events."""
    traces = rng.standard_normal((NUM_CHANNELS, NUM_SAMPLES)).astype("float32")
    with_events = traces.copy()
    atom, shift, offset, amplitude = events
    explanations.subtract_waveforms(with_events, (atom, shift, offset, -amplitude), dictionary.atoms.numpy())
    return traces, with_events


def correlation_of(traces, dictionary):
    return correlate(torch.from_numpy(traces)[None], dictionary.atoms)[0].numpy()


@pytest.mark.parametrize(("value", "scale"), [(0.0, 5.0), (4.0, 5.0), (6.5, 5.0), (20.0, 12.0)])
def test_the_evidence_of_one_event_is_an_integral_over_its_amplitude(value, scale):
    def weight(x):
        return norm.pdf(x, scale, SPREAD * scale) * np.exp((value * x - x**2 / 2) / NOISE**2)

    integral, _ = quad(weight, scale - 8 * SPREAD * scale, scale + 8 * SPREAD * scale, limit=200)
    assert explanations.log_evidence_of_one(value, scale, NOISE, SPREAD) == pytest.approx(np.log(integral), abs=1e-6)


@pytest.mark.parametrize("between", [-0.5, 0.0, 0.7])
def test_the_evidence_of_two_events_is_an_integral_over_both_amplitudes(between):
    values, scales = (6.0, 7.0), (5.0, 6.0)

    def weight(x, y):
        explained = values[0] * x + values[1] * y - x**2 / 2 - y**2 / 2 - between * x * y
        prior = norm.pdf(x, scales[0], SPREAD * scales[0]) * norm.pdf(y, scales[1], SPREAD * scales[1])
        return prior * np.exp(explained / NOISE**2)

    (a, b), reach = scales, 6 * SPREAD
    integral, _ = dblquad(weight, b - reach * b, b + reach * b, a - reach * a, a + reach * a, epsrel=1e-6)
    found = explanations.log_evidence_of_two(values, scales, between, NOISE, SPREAD)
    assert found == pytest.approx(np.log(integral), abs=1e-4)


def test_a_pair_of_which_one_would_be_negative_explains_nothing():
    assert explanations.log_evidence_of_two((9.0, -9.0), (5.0, 5.0), 0.0, NOISE, 1.0) == -np.inf


def brute_force_weights(residual, event, events, dictionary):
    """Return the log weights of the event's own atom, of each other one, and of pairs without it, from the traces."""
    atom, shift, offset, amplitude = (part[event : event + 1] for part in events)
    alone = residual.copy()
    explanations.subtract_waveforms(alone, (atom, shift, offset, -amplitude), dictionary.atoms.numpy())
    values, scales = correlation_of(alone, dictionary), dictionary.scales.numpy()
    places = range(shift[0] - MAX_MOVE, shift[0] + MAX_MOVE + 1)
    singles, best = {}, {}
    for other in range(NUM_ATOMS):
        weights = {
            place: explanations.log_evidence_of_one(values[other, place], scales[other], NOISE, SPREAD) - PRICE
            for place in places
            if values[other, place] > 0
        }
        if weights:
            singles[other], best[other] = logsumexp(list(weights.values())), max(weights, key=lambda x: weights[x])
    with_own, without = [singles[atom[0]]], []
    for one in best:
        for two in range(one):
            if two in best:
                delayed = np.zeros((NUM_CHANNELS, NUM_SAMPLES), "float32")
                delayed[:, best[two] : best[two] + WIDTH] = dictionary.atoms[two]
                between = correlation_of(delayed, dictionary)[one, best[one]]
                both = (values[one, best[one]], values[two, best[two]])
                weight = explanations.log_evidence_of_two(both, (scales[one], scales[two]), between, NOISE, SPREAD)
                (with_own if atom[0] in (one, two) else without).append(weight - 2 * PRICE)
    others = {other: weight for other, weight in singles.items() if other != atom[0]}
    return logsumexp(with_own), others, without


@given(seed=seeds)
def test_explanations_weigh_what_enumerating_them_on_the_traces_gives(seed):
    rng = np.random.default_rng(seed)
    dictionary = make_dictionary(rng)
    events = make_events(rng, dictionary)
    residual, _ = make_traces(rng, events, dictionary)
    gram = Gram.of(dictionary)
    odds = (dictionary.scales.numpy(), np.float32(NOISE), np.float32(SPREAD), np.float32(PRICE))
    own, rival, rest, rival_atom = explanations.weigh_explanations(
        correlation_of(residual, dictionary), events, (gram.values, gram.pair_index), odds, MAX_MOVE
    )
    for event in range(own.size):
        expected_own, others, pairs = brute_force_weights(residual, event, events, dictionary)
        assert own[event] == pytest.approx(expected_own, abs=2e-2)
        if not others:
            assert (rival[event], rival_atom[event]) == (-np.inf, -1)
            continue
        assert rival[event] == pytest.approx(max(others.values()), abs=2e-2)
        assert others[rival_atom[event]] == pytest.approx(max(others.values()), abs=2e-2)
        other_weights = [weight for atom, weight in others.items() if atom != rival_atom[event]] + pairs
        if np.isfinite(other_weights).any():
            assert rest[event] == pytest.approx(logsumexp(other_weights), abs=2e-2)


@given(seed=seeds, offsets=st.booleans())
def test_the_information_is_the_precision_of_an_amplitude_when_the_others_are_integrated_out(seed, offsets):
    rng = np.random.default_rng(seed)
    dictionary = make_dictionary(rng)
    events = make_events(rng, dictionary, offsets=offsets)
    gram = Gram.of(dictionary)
    overlaps = refine.interactions(events, gram.values, gram.pair_index)
    scales = dictionary.scales.numpy()
    found = explanations.amplitude_information(events, overlaps, (scales, np.float32(NOISE), np.float32(SPREAD)))
    start, other, correlation = overlaps
    matrix = np.eye(found.size)
    for event in range(found.size):
        matrix[event, other[start[event] : start[event + 1]]] = correlation[start[event] : start[event + 1]]
    pull = (NOISE / (SPREAD * scales[events[0]])) ** 2
    for event in range(found.size):
        neighbors = np.append(other[start[event] : start[event + 1]], event)
        local = matrix[np.ix_(neighbors, neighbors)] + np.diag(np.append(pull[neighbors[:-1]], 0.0))
        expected = 1 / np.linalg.inv(local)[-1, -1]
        assert found[event] == pytest.approx(max(expected, 1e-3), abs=1e-4)


def test_an_event_alone_is_known_as_well_as_the_noise_allows():
    dictionary = make_dictionary(np.random.default_rng(0))
    gram = Gram.of(dictionary)
    events = (np.array([0]), np.array([20]), np.zeros(1, "float32"), np.ones(1, "float32"))
    overlaps = refine.interactions(events, gram.values, gram.pair_index)
    odds = (dictionary.scales.numpy(), np.float32(NOISE), np.float32(SPREAD))
    assert explanations.amplitude_information(events, overlaps, odds).tolist() == [1.0]


@given(seed=seeds)
def test_waveforms_taken_out_leave_what_the_gram_says(seed):
    rng = np.random.default_rng(seed)
    dictionary = make_dictionary(rng)
    events = make_events(rng, dictionary)
    noise, traces = make_traces(rng, events, dictionary)
    for atom, shift, amplitude in zip(events[0], events[1], events[3], strict=True):
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
    events = (np.zeros(shift.size, "int64"), shift, np.zeros(shift.size, "float32"), np.ones(shift.size, "float32"))
    shares = np.array([[1.0, 0.0]], "float32")
    usual = explanations.relative_misfit(residual, events, shares, (2, 22))
    assert usual.mean() == pytest.approx(1.0, abs=0.02)
    residual[0, shift[7] + 2 : shift[7] + 22] += 3
    assert explanations.relative_misfit(residual, events, shares, (2, 22))[7] > usual[7] + 5
