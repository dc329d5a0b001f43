"""Claims about the greedy coordinate descent: it minimizes the objective over non-negative codes."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso

from si_crsae.core import Gram, correlate, descend, fista_solve, objective, synthesize
from si_crsae.core.solvers.descent import BLOCK

WIDTH = 6
REGULARIZATION = np.array([0.8, 1.1, 1.4], "float32")
seeds = st.integers(0, 2**16)
few_examples = settings(max_examples=20)


def draw_traces(seed, num_samples=45):
    return torch.randn(1, 2, num_samples, generator=torch.Generator().manual_seed(seed))


def correlation_of(traces, dictionary):
    return correlate(traces, dictionary.atoms)[0].numpy()


def run_descent(correlation, dictionary, regularization=REGULARIZATION, *, tolerance=1e-5, max_updates=10**6):
    """Return the code, the number of updates and the correlation of the residual."""
    gram, residual = Gram.of(dictionary), correlation.copy()
    thresholds = np.stack([regularization, np.full_like(regularization, np.inf)], axis=1)
    code, num_updates = descend(
        residual,
        thresholds,
        gram.values,
        gram.neighbors,
        gram.neighbor_start,
        np.float32(tolerance),
        max_updates,
    )
    return code, num_updates, residual


def distance_to_optimum(code, residual):
    """Return how far each coefficient is from its minimum with the others fixed."""
    return np.abs(np.maximum(residual + code - REGULARIZATION[:, None], 0) - code)


def double_objective(code, traces, dictionary):
    values = (torch.as_tensor(code)[None].double(), traces.double(), dictionary.atoms.double())
    return objective(*values, torch.from_numpy(REGULARIZATION).double()).item()


@few_examples
@given(seed=seeds, tolerance=st.sampled_from([1e-4, 1e-2, 0.3]))
def test_descent_leaves_every_coefficient_within_the_tolerance_of_its_minimum(draw_dictionary, seed, tolerance):
    dictionary = draw_dictionary(seed)
    code, num_updates, residual = run_descent(
        correlation_of(draw_traces(seed), dictionary), dictionary, tolerance=tolerance
    )
    assert 0 < np.count_nonzero(code) <= BLOCK * num_updates
    assert code.min() >= 0
    assert distance_to_optimum(code, residual).max() <= tolerance + 1e-6


@few_examples
@given(seed=seeds)
def test_descent_leaves_the_correlation_of_the_residual(draw_dictionary, seed):
    dictionary, traces = draw_dictionary(seed), draw_traces(seed)
    code, _, residual = run_descent(correlation_of(traces, dictionary), dictionary)
    expected = correlation_of(traces - synthesize(torch.as_tensor(code)[None], dictionary.atoms), dictionary)
    np.testing.assert_allclose(residual, expected, atol=1e-4)


@settings(max_examples=5)
@given(seed=seeds)
def test_descent_agrees_with_fista(draw_dictionary, seed):
    dictionary, traces = draw_dictionary(seed), draw_traces(seed)
    code, _, _ = run_descent(correlation_of(traces, dictionary), dictionary)
    level = torch.from_numpy(REGULARIZATION)
    reference = fista_solve(traces, dictionary.atoms, level, num_iterations=400, nonnegative=True)
    np.testing.assert_allclose(code, reference[0].numpy(), atol=1e-3)


@few_examples
@given(seed=seeds)
def test_descent_reaches_the_objective_of_the_lasso_of_scikit_learn(draw_dictionary, seed):
    dictionary, traces = draw_dictionary(seed), draw_traces(seed)
    code, _, _ = run_descent(correlation_of(traces, dictionary), dictionary)
    unit_codes = torch.eye(code.size).view(-1, *code.shape)
    # scikit-learn has one penalty for all columns and a mean instead of a sum: columns / lambda_c and 1 / rows do it.
    weights = np.repeat(REGULARIZATION, code.shape[1])
    design = synthesize(unit_codes, dictionary.atoms).flatten(1).T.double().numpy() / weights
    lasso = Lasso(alpha=1 / len(design), fit_intercept=False, positive=True, tol=1e-10, max_iter=10**5)
    lasso.fit(design, traces.flatten().double().numpy())
    lowest = double_objective((lasso.coef_ / weights).reshape(code.shape), traces, dictionary)
    assert double_objective(code, traces, dictionary) == pytest.approx(lowest, rel=1e-6)


@few_examples
@given(seed=seeds)
def test_every_update_lowers_the_objective(draw_dictionary, seed):
    dictionary, traces = draw_dictionary(seed), draw_traces(seed)
    solve = partial(run_descent, correlation_of(traces, dictionary), dictionary)
    codes = [solve(max_updates=number)[0] for number in range(8)]
    assert (np.diff([double_objective(code, traces, dictionary) for code in codes]) < 0).all()


@few_examples
@given(seed=seeds)
def test_the_first_update_settles_what_moves_furthest_and_the_shifts_next_to_it(draw_dictionary, seed):
    dictionary = draw_dictionary(seed)
    correlation = correlation_of(draw_traces(seed, num_samples=2 * WIDTH), dictionary)
    code, num_updates, residual = run_descent(correlation, dictionary, max_updates=1)
    wanted = np.maximum(correlation - REGULARIZATION[:, None], 0)
    assert num_updates == (wanted.max() > 0)
    atom, shift = np.unravel_index(wanted.argmax(), wanted.shape)
    first = min(max(shift - BLOCK // 2, 0), code.shape[1] - BLOCK)
    block = (atom, slice(first, first + BLOCK))
    assert distance_to_optimum(code, residual)[block].max() < 1e-5
    code[block] = 0
    assert not code.any()


@few_examples
@given(seed=seeds, max_updates=st.integers(0, 4))
def test_descent_stops_at_the_most_updates(draw_dictionary, seed, max_updates):
    dictionary, traces = draw_dictionary(seed), draw_traces(seed)
    code, num_updates, residual = run_descent(correlation_of(traces, dictionary), dictionary, max_updates=max_updates)
    assert num_updates == max_updates
    assert np.count_nonzero(code) <= BLOCK * max_updates
    expected = correlation_of(traces - synthesize(torch.as_tensor(code)[None], dictionary.atoms), dictionary)
    np.testing.assert_allclose(residual, expected, atol=1e-5)


@few_examples
@given(seed=seeds)
def test_nothing_happens_where_no_correlation_exceeds_the_regularization(draw_dictionary, seed):
    dictionary = draw_dictionary(seed)
    correlation = correlation_of(draw_traces(seed), dictionary)
    code, num_updates, residual = run_descent(correlation, dictionary, correlation.max(axis=1))
    assert num_updates == 0
    assert not code.any()
    np.testing.assert_array_equal(residual, correlation)


@few_examples
@given(seed=seeds, num_silent=st.integers(0, 5))
def test_what_silence_separates_is_encoded_as_if_alone(draw_dictionary, seed, num_silent):
    dictionary = draw_dictionary(seed)
    silence = torch.zeros(1, 2, 3 * WIDTH)
    bursts = [
        correlation_of(torch.cat([silence, draw_traces(number, 19), silence], dim=2), dictionary)
        for number in (seed, seed + 1)
    ]
    # Stretches are one width long: whole stretches of silence leave those of the second burst where they were.
    ends = np.zeros((3, num_silent * WIDTH - bursts[0].shape[1] % WIDTH + WIDTH), "float32")
    code, num_updates, residual = run_descent(np.concatenate([bursts[0], ends, bursts[1]], axis=1), dictionary)
    first, second = (run_descent(burst, dictionary) for burst in bursts)
    np.testing.assert_array_equal(code, np.concatenate([first[0], ends, second[0]], axis=1))
    np.testing.assert_array_equal(residual, np.concatenate([first[2], ends, second[2]], axis=1))
    assert num_updates == first[1] + second[1]


@few_examples
@given(seed=seeds)
def test_an_atom_with_a_high_regularization_might_as_well_be_absent(draw_dictionary, seed):
    dictionary = draw_dictionary(seed)
    correlation = correlation_of(draw_traces(seed), dictionary)
    high = REGULARIZATION * np.array([1, 1e3, 1], "float32")
    code, _, _ = run_descent(correlation, dictionary, high)
    others = replace(dictionary, weights=dictionary.weights[[0, 2]], scales=dictionary.scales[[0, 2]])
    expected, _, _ = run_descent(correlation[[0, 2]], others, REGULARIZATION[[0, 2]])
    assert not code[1].any()
    np.testing.assert_allclose(code[[0, 2]], expected, atol=1e-4)


@few_examples
@given(seed=seeds, exponent=st.integers(-20, 20))
def test_scaling_correlation_and_regularization_scales_the_code(draw_dictionary, seed, exponent):
    # A power of two, so that rounding is the same.
    dictionary, factor = draw_dictionary(seed), np.float32(2.0**exponent)
    correlation = correlation_of(draw_traces(seed), dictionary)
    code, num_updates, residual = run_descent(correlation, dictionary, tolerance=1e-3)
    scaled = run_descent(factor * correlation, dictionary, factor * REGULARIZATION, tolerance=factor * 1e-3)
    np.testing.assert_array_equal(scaled[0], factor * code)
    np.testing.assert_array_equal(scaled[2], factor * residual)
    assert scaled[1] == num_updates


def test_no_atoms_have_an_empty_code(draw_dictionary):
    dictionary = draw_dictionary(0, shape=(0, 2, 3))
    code, num_updates, _ = run_descent(correlation_of(draw_traces(0), draw_dictionary(0))[:0], dictionary)
    assert code.shape == (0, 40)
    assert num_updates == 0
