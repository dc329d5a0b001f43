"""Claims about the exact code of many windows: each holds the minimizer of the objective, whatever the others hold."""

from functools import partial

import numpy as np
import pytest
import torch
from drawing import draw_on
from hypothesis import given, settings
from hypothesis import strategies as st

from si_crsae.core import fista_solve, objective, optimality_residual
from si_crsae.core.solvers import descent as descent_module
from si_crsae.core.solvers import windows as windows_module
from si_crsae.core.solvers.windows import solve_windows

TOLERANCE = 1e-4
seeds = st.integers(0, 2**16)
few_examples = settings(max_examples=15)
any_problem = given(
    seed=seeds,
    shape=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 9)),
    num_shifts=st.integers(1, 40),
)
sides = pytest.mark.parametrize("nonnegative", [False, True])


def draw_problem(device, seed, *, shape=(3, 2, 6), num_windows=3, num_shifts=40):
    """Return noise traces, unit-norm atoms (atom, channel, width), and regularization that leaves few events."""
    draw = draw_on(device, seed, dtype=torch.float32)
    atoms = torch.nn.functional.normalize(draw(*shape).flatten(1)).view(shape)
    return draw(num_windows, shape[1], num_shifts + shape[2] - 1), atoms, 0.6 + 0.5 * draw(shape[0]).abs()


@sides
@few_examples
@any_problem
def test_every_window_meets_the_optimality_conditions(device, nonnegative, seed, shape, num_shifts):
    problem = draw_problem(device, seed, shape=shape, num_shifts=num_shifts)
    code = solve_windows(*problem, tolerance=TOLERANCE, nonnegative=nonnegative)
    residual = optimality_residual(code, *problem, nonnegative=nonnegative)
    assert residual.shape == (3,)
    assert residual.max() <= TOLERANCE + 1e-5


@sides
@settings(max_examples=8)
@any_problem
def test_the_code_is_that_of_fista(device, nonnegative, seed, shape, num_shifts):
    problem = draw_problem(device, seed, shape=shape, num_shifts=num_shifts)
    code = solve_windows(*problem, tolerance=1e-5, nonnegative=nonnegative).double()
    doubles = [tensor.double() for tensor in problem]
    reference = fista_solve(*doubles, num_iterations=400, nonnegative=nonnegative)
    torch.testing.assert_close(code, reference, atol=2e-3, rtol=0)
    torch.testing.assert_close(objective(code, *doubles), objective(reference, *doubles), atol=1e-6, rtol=0)


@sides
@few_examples
@given(seed=seeds, tolerance=st.sampled_from([1e-4, 1e-2, 0.2]))
def test_the_code_is_within_any_tolerance_of_its_minimum(device, nonnegative, seed, tolerance):
    traces, atoms, regularization = draw_problem(device, seed)
    code = solve_windows(traces, atoms, regularization, tolerance=tolerance, nonnegative=nonnegative)
    remaining = torch.nn.functional.conv1d(traces - torch.nn.functional.conv_transpose1d(code, atoms), atoms)
    value, level = remaining + code, regularization[:, None]
    wanted = (value - level).clamp_min(0) + (0 if nonnegative else (value + level).clamp_max(0))
    assert code.any()
    assert (wanted - code).abs().max() <= tolerance + 1e-5


@sides
@few_examples
@given(seed=seeds, window=st.integers(0, 39))
def test_a_window_has_no_say_in_another(device, nonnegative, seed, window):
    traces, atoms, regularization = draw_problem(device, seed, num_windows=40)
    solve = partial(
        solve_windows, atoms=atoms, regularization=regularization, tolerance=TOLERANCE, nonnegative=nonnegative
    )
    code = solve(traces)
    changed = traces.flip(0)
    changed[window] = traces[window]
    assert torch.equal(solve(changed)[window], code[window])
    torch.testing.assert_close(solve(traces[window : window + 1])[0], code[window], atol=1e-3, rtol=0)


def test_the_number_of_threads_does_not_change_a_bit(device):
    problem, num_threads = draw_problem(device, 0, num_windows=50), torch.get_num_threads()
    codes = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            codes.append(solve_windows(*problem, tolerance=TOLERANCE))
    finally:
        torch.set_num_threads(num_threads)
    assert codes[0].any()
    assert torch.equal(*codes)


def test_the_traces_are_left_as_they_were_and_the_code_carries_no_gradient(device):
    traces, atoms, regularization = draw_problem(device, 0)
    before = traces.clone()
    code = solve_windows(traces, atoms.requires_grad_(), regularization.requires_grad_(), tolerance=TOLERANCE)
    assert torch.equal(traces, before)
    assert not code.requires_grad


def test_an_atom_as_long_as_the_window_has_one_shift(device):
    problem = draw_problem(device, 0, num_shifts=1)
    code = solve_windows(*problem, tolerance=TOLERANCE)
    assert code.shape == (3, 3, 1)
    assert optimality_residual(code, *problem).max() <= TOLERANCE + 1e-5


@sides
def test_a_tolerance_beyond_float32_ends_too(device, nonnegative):
    traces, atoms, regularization = draw_problem(device, 0)
    problem = (1000 * traces, atoms, 100 * regularization)
    code = solve_windows(*problem, tolerance=0.0, nonnegative=nonnegative)
    assert optimality_residual(code, *problem, nonnegative=nonnegative).max() < 1e-3 * code.abs().max()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_traces_on_which_the_descent_would_never_end_are_refused(device, value):
    traces, *rest = draw_problem(device, 0)
    traces[1, 0, 5] = value
    with pytest.raises(ValueError, match=r"correlation is NaN or infinite: replace such traces"):
        solve_windows(traces, *rest, tolerance=TOLERANCE)


def test_atoms_that_are_not_of_unit_norm_are_refused(device):
    traces, atoms, regularization = draw_problem(device, 0)
    with pytest.raises(ValueError, match=r"atoms: each must have norm 1"):
        solve_windows(traces, 2 * atoms, regularization, tolerance=TOLERANCE)


def test_no_windows_have_an_empty_code(device):
    assert solve_windows(*draw_problem(device, 0, num_windows=0), tolerance=TOLERANCE).shape == (0, 3, 40)


@pytest.mark.parametrize("width", [1, 3, 6])
def test_without_a_compiler_the_code_is_the_same(device, width, monkeypatch):
    """In plain Python, an index beyond an array is an error."""
    problem = draw_problem(device, 0, shape=(2, 1, width), num_shifts=12)
    compiled = solve_windows(*problem, tolerance=TOLERANCE)
    for module in (windows_module, descent_module):
        for name, function in list(vars(module).items()):
            if hasattr(function, "py_func"):
                monkeypatch.setattr(module, name, function.py_func)
    np.testing.assert_allclose(
        solve_windows(*problem, tolerance=TOLERANCE).cpu().numpy(), compiled.cpu().numpy(), atol=1e-3
    )
