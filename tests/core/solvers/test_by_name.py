"""Claims about the solvers: whichever is chosen, the code is the minimizer of one and the same objective."""

import pytest
import torch
from drawing import draw_on
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso

from si_crsae.core import (
    Descent,
    Dictionary,
    Fista,
    Gram,
    ParallelDescent,
    Quadratic,
    Sparse,
    correlate,
    find_solver,
    make_solver,
    objective,
    solver_names,
    synthesize,
)
from si_crsae.core.solvers import by_name as by_name_module
from si_crsae.core.solvers.maps import MapProblem

WIDTH = 6
CPU = torch.device("cpu")
TOLERANCE = 1e-4
REGULARIZATION = torch.tensor([0.8, 1.1, 1.4])
seeds = st.integers(0, 2**16)
few_examples = settings(max_examples=6)
NAMES = solver_names(problem=MapProblem, prior=Sparse)[1:]
solvers = pytest.mark.parametrize("name", NAMES)
sides = pytest.mark.parametrize("two_sided", [False, True])


def draw_traces(device, seed, num_samples=45):
    return draw_on(device, seed, dtype=torch.float32)(2, num_samples)


def solve(name, traces, dictionary, *, two_sided=False, regularization=REGULARIZATION, tolerance=TOLERANCE):
    """Return the code of traces (channel, sample)."""
    correlation = correlate(traces[None], dictionary.atoms)[0]
    before = correlation.clone()
    solver = make_solver(name, dictionary, Gram.of(dictionary), device=traces.device)
    prior = Sparse(regularization=regularization, nonnegative=not two_sided)
    code = solver.solve(correlation, prior, tolerance=tolerance)
    torch.testing.assert_close(correlation, before, rtol=0, atol=0)
    return code


def distance_to_optimum(code, traces, dictionary, *, two_sided):
    """Return how far each coefficient is from its minimum with the others fixed."""
    remaining = correlate(traces[None] - synthesize(code[None], dictionary.atoms), dictionary.atoms)[0]
    value, level = remaining + code, REGULARIZATION.to(code.device)[:, None]
    wanted = (value - level).clamp_min(0) + ((value + level).clamp_max(0) if two_sided else 0)
    return (wanted - code).abs()


@solvers
@sides
@few_examples
@given(seed=seeds)
def test_every_coefficient_is_within_the_tolerance_of_its_minimum(device, draw_dictionary, name, two_sided, seed):
    dictionary, traces = draw_dictionary(seed, device=device), draw_traces(device, seed)
    code = solve(name, traces, dictionary, two_sided=two_sided)
    assert code.count_nonzero() > 0
    assert two_sided == bool((code < 0).any())
    assert distance_to_optimum(code, traces, dictionary, two_sided=two_sided).max() <= TOLERANCE + 1e-5


@solvers
@sides
@few_examples
@given(seed=seeds)
def test_the_objective_is_that_of_the_lasso_of_scikit_learn(device, draw_dictionary, name, two_sided, seed):
    dictionary, traces = draw_dictionary(seed, device=device), draw_traces(device, seed)
    code = solve(name, traces, dictionary, two_sided=two_sided)
    # scikit-learn has one penalty for all columns and a mean instead of a sum: columns / lambda_c and 1 / rows do it.
    weights = REGULARIZATION.numpy().repeat(code.shape[1])
    columns = synthesize(torch.eye(code.numel(), device=device).view(-1, *code.shape), dictionary.atoms)
    design = columns.flatten(1).T.double().cpu().numpy() / weights
    lasso = Lasso(alpha=1 / len(design), fit_intercept=False, positive=not two_sided, tol=1e-10, max_iter=10**5)
    lasso.fit(design, traces.flatten().double().cpu().numpy())
    reference = torch.as_tensor(lasso.coef_ / weights, device=device).view_as(code)
    problem = (traces[None].double(), dictionary.atoms.double(), REGULARIZATION.double().to(device))
    values = [objective(each[None].double(), *problem).item() for each in (code, reference)]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


@sides
@few_examples
@given(seed=seeds, num_samples=st.integers(WIDTH, 300))
def test_the_solvers_agree_on_the_code(device, draw_dictionary, two_sided, seed, num_samples):
    dictionary, traces = draw_dictionary(seed, device=device), draw_traces(device, seed, num_samples)
    codes = [solve(name, traces, dictionary, two_sided=two_sided, tolerance=1e-5) for name in NAMES]
    for code in codes[1:]:
        torch.testing.assert_close(code, codes[0], rtol=0, atol=5e-3)


@solvers
@few_examples
@given(seed=seeds, factor=st.sampled_from([0.01, 3.0, 1000.0]))
def test_scaling_traces_and_lambda_scales_the_code(device, draw_dictionary, name, seed, factor):
    dictionary, traces = draw_dictionary(seed, device=device), draw_traces(device, seed)
    scaled = solve(
        name, factor * traces, dictionary, regularization=factor * REGULARIZATION, tolerance=factor * TOLERANCE
    )
    torch.testing.assert_close(scaled / factor, solve(name, traces, dictionary), rtol=0, atol=1e-2)


@solvers
@few_examples
@given(seed=seeds, delay=st.integers(0, 40))
def test_delaying_the_traces_delays_the_code(device, draw_dictionary, name, seed, delay):
    dictionary, silence = draw_dictionary(seed, device=device), torch.zeros(2, 50, device=device)
    traces = torch.cat([silence, draw_traces(device, seed), silence], dim=1)
    code, delayed = (solve(name, each, dictionary) for each in (traces, traces.roll(delay, dims=1)))
    torch.testing.assert_close(delayed, code.roll(delay, dims=1), rtol=0, atol=1e-2)


@solvers
@few_examples
@given(seed=seeds)
def test_the_order_of_channels_has_no_say(device, draw_dictionary, name, seed):
    dictionary = draw_dictionary(seed, occupied=[[1, 0], [1, 1], [0, 1]], device=device)
    traces = draw_traces(device, seed)
    swapped = Dictionary(
        weights=dictionary.weights.flip(1),
        basis=dictionary.basis,
        scales=dictionary.scales,
        num_before=dictionary.num_before,
    )
    torch.testing.assert_close(solve(name, traces.flip(0), swapped), solve(name, traces, dictionary), rtol=0, atol=1e-2)


@solvers
@few_examples
@given(seed=seeds)
def test_the_order_of_atoms_has_no_say_and_each_has_its_own_lambda(device, draw_dictionary, name, seed):
    dictionary, traces = draw_dictionary(seed, device=device), draw_traces(device, seed)
    order = [2, 0, 1]
    reordered = Dictionary(
        weights=dictionary.weights[order],
        basis=dictionary.basis,
        scales=dictionary.scales[order],
        num_before=dictionary.num_before,
    )
    torch.testing.assert_close(
        solve(name, traces, reordered, regularization=REGULARIZATION[order]),
        solve(name, traces, dictionary)[order],
        rtol=0,
        atol=1e-2,
    )


@solvers
@few_examples
@given(seed=seeds)
def test_where_no_correlation_exceeds_lambda_the_code_is_exactly_zero(device, draw_dictionary, name, seed):
    dictionary = draw_dictionary(seed, device=device)
    silence, burst = torch.zeros(2, 40, device=device), draw_traces(device, seed)
    code = solve(name, torch.cat([silence, burst, silence], dim=1), dictionary)
    assert not code[:, : 40 - 2 * WIDTH].any()
    assert not code[:, 40 + 45 + WIDTH :].any()
    quiet = correlate(burst[None], dictionary.atoms).abs().max()
    assert not solve(name, burst, dictionary, regularization=torch.full((3,), float(quiet), device=device)).any()


@solvers
@few_examples
@given(seed=seeds)
def test_an_atom_of_infinite_lambda_might_as_well_be_absent(device, draw_dictionary, name, seed):
    dictionary, traces = draw_dictionary(seed, device=device), draw_traces(device, seed)
    code = solve(name, traces, dictionary, regularization=torch.tensor([0.8, torch.inf, 1.4], device=device))
    kept = [0, 2]
    others = Dictionary(
        weights=dictionary.weights[kept],
        basis=dictionary.basis,
        scales=dictionary.scales[kept],
        num_before=dictionary.num_before,
    )
    assert not code[1].any()
    expected = solve(name, traces, others, regularization=REGULARIZATION[kept])
    torch.testing.assert_close(code[kept], expected, rtol=0, atol=1e-2)


@solvers
def test_no_atoms_have_an_empty_code(device, draw_dictionary, name):
    dictionary = draw_dictionary(0, shape=(0, 2, 3), device=device)
    solver = make_solver(name, dictionary, Gram.of(dictionary), device=device)
    prior = Sparse(regularization=torch.zeros(0, device=device))
    assert solver.solve(torch.zeros(0, 40, device=device), prior, tolerance=TOLERANCE).shape == (0, 40)


@pytest.mark.parametrize(
    ("has_numba", "kind", "linked_kind"), [(True, Descent, Descent), (False, ParallelDescent, Fista)]
)
def test_auto_needs_numba_for_the_descent_on_a_cpu(draw_dictionary, monkeypatch, has_numba, kind, linked_kind):
    monkeypatch.setattr(by_name_module, "HAS_NUMBA", has_numba)
    dictionary = draw_dictionary(0)
    assert make_solver("auto", dictionary, Gram.of(dictionary), device=CPU).kind is kind
    assert find_solver("auto", problem=Quadratic, prior=Sparse, device=CPU) is linked_kind
