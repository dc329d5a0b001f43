"""Claims about the unrolled encoder: `fista_solve` and its gradients, at the price of what is not zero."""

from functools import partial

import numpy as np
import pytest
import torch
from drawing import draw_on
from hypothesis import given, settings
from hypothesis import strategies as st

from si_crsae.core import atom_correlations, correlate, fista_solve, lipschitz_bound
from si_crsae.core.solvers import unrolled as unrolled_module
from si_crsae.core.solvers.unrolled import unroll

seeds = st.integers(0, 2**16)
more_examples = settings(max_examples=60)
any_problem = given(
    seed=seeds,
    shape=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 7)),
    num_shifts=st.integers(1, 25),
    num_iterations=st.integers(1, 40),
    nonnegative=st.booleans(),
)
sides = pytest.mark.parametrize("nonnegative", [False, True])


def draw_problem(device, seed, *, shape=(3, 2, 4), num_windows=2, num_shifts=15, dtype=torch.float64):
    """Return noise traces, unit-norm atoms (atom, channel, width), and regularization that leaves few events."""
    draw = draw_on(device, seed, dtype=dtype)
    atoms = torch.nn.functional.normalize(draw(*shape).flatten(1)).view(shape)
    return draw(num_windows, shape[1], num_shifts + shape[2] - 1), atoms, 0.3 + 0.5 * draw(shape[0]).abs()


def unroll_traces(traces, atoms, regularization, **changes):
    """Return what `fista_solve` returns, by the correlation map."""
    changes = {"step_size": 1 / float(lipschitz_bound(atoms.detach()))} | changes
    return unroll(correlate(traces, atoms), atom_correlations(atoms), regularization, **changes)


def draw_map_problem(device, seed, **changes):
    """Return the correlation map, the lags and the regularization of a problem, as inputs to differentiate."""
    traces, atoms, regularization = draw_problem(device, seed, **changes)
    tensors = correlate(traces, atoms), atom_correlations(atoms), regularization
    return tuple(tensor.detach().requires_grad_() for tensor in tensors)


def code_and_gradients(device, encode, inputs, seed=0):
    """Return the code and the gradients of a random weighted sum of it."""
    code = encode(*inputs)
    weights = draw_on(device, seed, dtype=code.dtype)(*code.shape)
    return code.detach(), *torch.autograd.grad((code * weights).sum(), inputs)


@more_examples
@any_problem
def test_every_iteration_is_that_of_fista(device, seed, shape, num_shifts, num_iterations, nonnegative):
    problem = draw_problem(device, seed, shape=shape, num_shifts=num_shifts)
    settings = {"num_iterations": num_iterations, "nonnegative": nonnegative}
    code = unroll_traces(*problem, **settings)
    torch.testing.assert_close(code, fista_solve(*problem, **settings), atol=1e-11, rtol=0)


@more_examples
@any_problem
def test_the_gradients_are_those_through_fista(device, seed, shape, num_shifts, num_iterations, nonnegative):
    inputs = [tensor.requires_grad_() for tensor in draw_problem(device, seed, shape=shape, num_shifts=num_shifts)]
    settings = {"num_iterations": num_iterations, "nonnegative": nonnegative}
    _, *gradients = code_and_gradients(device, partial(unroll_traces, **settings), inputs)
    _, *expected = code_and_gradients(device, partial(fista_solve, **settings), inputs)
    for gradient, reference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-9, rtol=1e-9)


@sides
@pytest.mark.parametrize("seed", range(3))
def test_the_gradients_of_map_lags_and_regularization_are_the_differences_of_the_code(device, seed, nonnegative):
    inputs = draw_map_problem(device, seed, shape=(2, 2, 3), num_shifts=7)
    encode = partial(unroll, num_iterations=8, step_size=0.3, nonnegative=nonnegative)
    assert encode(*inputs).any()
    assert torch.autograd.gradcheck(encode, inputs)


@sides
def test_the_path_is_the_same_whether_a_gradient_is_wanted_or_not(device, nonnegative):
    problem = draw_map_problem(device, 0, num_windows=5)
    encode = partial(unroll, num_iterations=25, step_size=0.2, nonnegative=nonnegative)
    assert encode(*problem).requires_grad
    assert torch.equal(encode(*(tensor.detach() for tensor in problem)), encode(*problem))


def test_the_number_of_threads_does_not_change_a_bit(device, restored_threads):
    problem = draw_map_problem(device, 0, num_windows=50, dtype=torch.float32)
    results = []
    for num_threads in (1, 2):
        torch.set_num_threads(num_threads)
        results.append(code_and_gradients(device, partial(unroll, num_iterations=30, step_size=0.2), problem))
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


@pytest.mark.parametrize("num_windows", [1, 16, 17, 40])
def test_other_windows_do_not_change_a_bit_of_a_window(device, num_windows):
    maps, lags, regularization = draw_map_problem(device, 0, num_windows=num_windows, dtype=torch.float32)
    encode = partial(unroll, num_iterations=30, step_size=0.2)
    together = encode(maps, lags, regularization)
    together.square().sum().backward()
    for window in {0, num_windows // 2, num_windows - 1}:
        alone = maps[window : window + 1].detach().requires_grad_()
        code = encode(alone, lags, regularization)
        (gradient,) = torch.autograd.grad(code.square().sum(), alone)
        assert code.any()
        assert torch.equal(code[0], together[window])
        assert torch.equal(gradient[0], maps.grad[window])


def test_the_gradients_of_lags_and_regularization_are_sums_over_windows(device):
    maps, lags, regularization = draw_map_problem(device, 0, num_windows=40)
    encode = partial(unroll, num_iterations=20, step_size=0.2)

    def gradients(windows):
        return torch.autograd.grad(encode(windows, lags, regularization).square().sum(), (lags, regularization))

    together, apart = gradients(maps), [gradients(window) for window in maps.split(1)]
    for total, parts in zip(together, zip(*apart, strict=True), strict=True):
        torch.testing.assert_close(total, torch.stack(parts).sum(dim=0))


def test_float32_in_is_float32_out(device):
    singles = draw_map_problem(device, 0, dtype=torch.float32)
    doubles = [tensor.detach().double().requires_grad_() for tensor in singles]
    encode = partial(unroll, num_iterations=20, step_size=0.2)
    code = encode(*singles)
    code.square().sum().backward()
    reference = encode(*doubles)
    reference.square().sum().backward()
    torch.testing.assert_close(code, reference.float(), atol=1e-5, rtol=0)
    for single, double in zip(singles, doubles, strict=True):
        torch.testing.assert_close(single.grad, double.grad.float(), atol=1e-3, rtol=1e-4)


def test_no_windows_have_an_empty_code_and_no_gradient(device):
    problem = draw_map_problem(device, 0, num_windows=0)
    code = unroll(*problem, num_iterations=5, step_size=0.2)
    assert code.shape == (0, 3, 15)
    code.sum().backward()
    assert [tensor.grad.shape for tensor in problem] == [tensor.shape for tensor in problem]
    assert not any(tensor.grad.any() for tensor in problem)


def test_a_code_that_is_all_zero_has_no_gradient(device):
    maps, lags, regularization = draw_map_problem(device, 0)
    _, *gradients = code_and_gradients(
        device,
        partial(unroll, num_iterations=5, step_size=0.2),
        (maps, lags, (100 * regularization).detach().requires_grad_()),
    )
    assert not any(gradient.any() for gradient in gradients)


@sides
def test_without_a_compiler_the_code_and_its_gradients_are_the_same(device, nonnegative, monkeypatch):
    problem = draw_map_problem(device, 0, num_windows=3)
    encode = partial(unroll, num_iterations=12, step_size=0.2, nonnegative=nonnegative)
    compiled = code_and_gradients(device, encode, problem)
    for name, function in list(vars(unrolled_module).items()):
        if hasattr(function, "py_func"):
            monkeypatch.setattr(unrolled_module, name, function.py_func)
    for plain, fast in zip(code_and_gradients(device, encode, problem), compiled, strict=True):
        np.testing.assert_allclose(plain.cpu().numpy(), fast.cpu().numpy(), atol=1e-10)
