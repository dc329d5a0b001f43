"""Claims about the encoder: it minimizes the objective, and has the symmetries of the model."""

from functools import partial

import numpy as np
import pytest
import torch
from drawing import draw_on
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso

from si_crsae.core import (
    Convolutional,
    Fista,
    FistaState,
    Sparse,
    correlate,
    fista_solve,
    lipschitz_bound,
    objective,
    optimality_residual,
    synthesize,
)

seeds = st.integers(0, 2**16)
few_examples = settings(max_examples=8)
sides = pytest.mark.parametrize("nonnegative", [False, True])


def draw_problem(device, seed, *, num_windows=2, num_samples=16):
    """Return noise traces, three unit-norm atoms of two channels, and unequal regularization that leaves few events."""
    draw = draw_on(device, seed)
    atoms = torch.nn.functional.normalize(draw(3, 2, 4).flatten(1)).view(3, 2, 4)
    return draw(num_windows, 2, num_samples), atoms, torch.tensor([0.5, 0.8, 1.1], dtype=torch.float64, device=device)


def draw_image_problem(device, seed, *, num_images=2):
    """Return noise images of two channels, three unit-norm atoms, and unequal regularization that leaves few events."""
    draw = draw_on(device, seed)
    atoms = torch.nn.functional.normalize(draw(3, 2, 3, 2).flatten(1)).view(3, 2, 3, 2)
    return draw(num_images, 2, 9, 8), atoms, torch.tensor([0.9, 1.2, 1.5], dtype=torch.float64, device=device)


def explicit_matrix(device, atoms, num_shifts):
    """Return H, one column per coefficient, as the response to each unit code."""
    unit_codes = torch.eye(len(atoms) * num_shifts, dtype=atoms.dtype, device=device).view(-1, len(atoms), num_shifts)
    return synthesize(unit_codes, atoms).flatten(1).T.cpu().numpy()


@sides
@few_examples
@given(seed=seeds)
def test_fista_meets_the_optimality_conditions(device, seed, nonnegative):
    traces, atoms, regularization = draw_problem(device, seed)
    code = fista_solve(traces, atoms, regularization, num_iterations=3000, tolerance=1e-8, nonnegative=nonnegative)
    correlation = correlate(traces - synthesize(code, atoms), atoms)
    level = regularization[:, None].expand_as(code)
    support = code != 0
    assert 0 < support.sum() < support.numel() / 2
    torch.testing.assert_close(correlation[support], (level * code.sign())[support], atol=1e-7, rtol=0)
    off_support = (correlation if nonnegative else correlation.abs())[~support]
    assert (off_support <= level[~support] + 1e-7).all()
    assert not nonnegative or (code >= 0).all()


@sides
@few_examples
@given(seed=seeds)
def test_fista_meets_the_optimality_conditions_on_images(device, seed, nonnegative):
    images, atoms, regularization = draw_image_problem(device, seed)
    code = fista_solve(images, atoms, regularization, num_iterations=3000, tolerance=1e-8, nonnegative=nonnegative)
    assert code.shape == (2, 3, 7, 7)
    assert 0 < code.count_nonzero() < code.numel() / 2
    residual = optimality_residual(code, images, atoms, regularization, nonnegative=nonnegative)
    assert residual.max() <= 1e-8
    correlation, level = correlate(images - synthesize(code, atoms), atoms), regularization[:, None, None]
    distance = (correlation - level * code.sign()).abs()[code != 0].max()
    assert distance <= 1e-8
    assert ((correlation if nonnegative else correlation.abs()) <= level + 1e-8)[code == 0].all()


@few_examples
@given(seed=seeds)
def test_the_objective_of_an_image_is_that_of_its_matrix(device, seed):
    images, atoms, regularization = draw_image_problem(device, seed)
    code = draw_on(device, seed + 1)(2, 3, 7, 7)
    unit_codes = torch.eye(3 * 49, dtype=torch.float64, device=device).view(-1, 3, 7, 7)
    misfit = images.flatten(1) - code.flatten(1) @ synthesize(unit_codes, atoms).flatten(1)
    expected = misfit.square().sum(dim=1) / 2 + (regularization.repeat_interleave(49) * code.flatten(1).abs()).sum(
        dim=1
    )
    torch.testing.assert_close(objective(code, images, atoms, regularization), expected)


@few_examples
@given(seed=seeds)
def test_turning_the_image_and_the_atoms_turns_the_code(device, seed):
    images, atoms, regularization = draw_image_problem(device, seed)
    encode = partial(fista_solve, num_iterations=50)
    turned = encode(images.mT.contiguous(), atoms.mT.contiguous(), regularization)
    torch.testing.assert_close(turned, encode(images, atoms, regularization).mT, atol=1e-9, rtol=0)


@sides
@few_examples
@given(seed=seeds)
def test_fista_agrees_with_the_lasso_of_scikit_learn(device, seed, nonnegative):
    traces, atoms, regularization = draw_problem(device, seed, num_windows=1)
    code = fista_solve(traces, atoms, regularization, num_iterations=3000, tolerance=1e-8, nonnegative=nonnegative)
    # scikit-learn has one penalty for all columns and a mean instead of a sum: columns / lambda_c and 1 / rows do it.
    weights = np.repeat(regularization.cpu().numpy(), code.shape[-1])
    design = explicit_matrix(device, atoms, code.shape[-1]) / weights
    lasso = Lasso(alpha=1 / len(design), fit_intercept=False, positive=nonnegative, tol=1e-12, max_iter=10**5)
    lasso.fit(design, traces.flatten().cpu().numpy())
    np.testing.assert_allclose(code.flatten().cpu().numpy(), lasso.coef_ / weights, atol=1e-5)


@few_examples
@given(seed=seeds)
def test_fista_step_follows_algorithm_1_of_the_paper(device, seed):
    traces, atoms, regularization = draw_problem(device, seed, num_windows=1)
    step_size = 1 / float(lipschitz_bound(atoms))
    problem, solver = Convolutional(traces=traces, atoms=atoms), Fista()
    prior = Sparse(regularization=regularization)
    state = solver.init(problem, prior)
    matrix, observed = explicit_matrix(device, atoms, state.code.shape[-1]), traces.flatten().cpu().numpy()
    threshold = step_size * np.repeat(regularization.cpu().numpy(), state.code.shape[-1])
    code = previous_code = np.zeros(matrix.shape[1])
    momentum = 0.0
    for _ in range(8):
        previous_momentum, momentum = momentum, (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        start = code + (previous_momentum - 1) / momentum * (code - previous_code)
        descended = start + step_size * matrix.T @ (observed - matrix @ start)
        previous_code, code = code, np.sign(descended) * np.maximum(np.abs(descended) - threshold, 0)
        state = solver.step(problem, prior, state)
        np.testing.assert_allclose(state.code.flatten().cpu().numpy(), code, atol=1e-12)


@sides
@few_examples
@given(seed=seeds)
def test_no_nearby_code_has_a_lower_objective(device, seed, nonnegative):
    traces, atoms, regularization = draw_problem(device, seed)
    code = fista_solve(traces, atoms, regularization, num_iterations=3000, tolerance=1e-8, nonnegative=nonnegative)
    lowest = objective(code, traces, atoms, regularization)
    draw = draw_on(device, seed + 1)
    for radius in (1e-3, 1e-1):
        nearby = code + radius * draw(*code.shape)
        if nonnegative:
            nearby = nearby.clamp_min(0.0)
        assert (lowest <= objective(nearby, traces, atoms, regularization) + 1e-9).all()


def test_objective_is_half_the_squared_error_plus_the_weighted_l1_norm(device):
    traces, atoms = torch.tensor([[[1.0, 2.0]]], device=device), torch.tensor([[[1.0]], [[0.0]]], device=device)
    code = torch.tensor([[[0.0, -1.0], [3.0, 0.0]]], device=device)
    value = objective(code, traces, atoms, torch.tensor([10.0, 100.0], device=device))
    torch.testing.assert_close(value, torch.tensor([(1 + 9) / 2 + 10 + 300.0], device=device))


@sides
@few_examples
@given(seed=seeds, factor=st.floats(1e-3, 1e3))
def test_scaling_traces_and_regularization_scales_the_code(device, seed, nonnegative, factor):
    traces, atoms, regularization = draw_problem(device, seed)
    encode = partial(fista_solve, num_iterations=50, nonnegative=nonnegative)
    scaled = encode(factor * traces, atoms, factor * regularization)
    torch.testing.assert_close(scaled / factor, encode(traces, atoms, regularization), atol=1e-9, rtol=0)


@few_examples
@given(seed=seeds, offset=st.integers(1, 6))
def test_delaying_the_traces_delays_the_code(device, seed, offset):
    num_iterations, width = 10, 4
    traces, atoms, regularization = draw_problem(device, seed)
    # One iteration carries information by less than a width: within this margin no window edge is felt.
    margin = num_iterations * width
    early = torch.nn.functional.pad(traces, (margin, margin + offset))
    encode = partial(fista_solve, num_iterations=num_iterations)
    delayed_code = encode(early.roll(offset, dims=-1), atoms, regularization)
    torch.testing.assert_close(delayed_code, encode(early, atoms, regularization).roll(offset, dims=-1))
    assert delayed_code.any()


@few_examples
@given(seed=seeds)
def test_the_order_of_the_channels_does_not_matter(device, seed):
    traces, atoms, regularization = draw_problem(device, seed)
    encode = partial(fista_solve, num_iterations=50)
    code = encode(traces.flip(1), atoms.flip(1), regularization)
    torch.testing.assert_close(code, encode(traces, atoms, regularization), atol=1e-9, rtol=0)


@few_examples
@given(seed=seeds)
def test_a_window_is_encoded_the_same_alone_and_in_a_batch(device, seed):
    traces, atoms, regularization = draw_problem(device, seed, num_windows=3)
    encode = partial(fista_solve, num_iterations=50)
    alone = torch.cat([encode(window[None], atoms, regularization) for window in traces])
    torch.testing.assert_close(alone, encode(traces, atoms, regularization), atol=1e-9, rtol=0)


@few_examples
@given(seed=seeds)
def test_an_atom_with_a_huge_regularization_is_as_good_as_absent(device, seed):
    traces, atoms, regularization = draw_problem(device, seed)
    encode = partial(fista_solve, num_iterations=3000, tolerance=1e-8)
    regularization[1] = 1e6
    code = encode(traces, atoms, regularization)
    assert not code[:, 1].any()
    kept = [0, 2]
    torch.testing.assert_close(code[:, kept], encode(traces, atoms[kept], regularization[kept]), atol=1e-6, rtol=0)


@sides
@few_examples
@given(seed=seeds)
def test_the_code_is_empty_exactly_where_no_correlation_exceeds_the_regularization(device, seed, nonnegative):
    traces, atoms, _ = draw_problem(device, seed, num_windows=1)
    correlation = correlate(traces, atoms)
    largest = (correlation if nonnegative else correlation.abs()).amax(dim=(0, 2)).clamp_min(1e-3)
    encode = partial(fista_solve, num_iterations=5, nonnegative=nonnegative)
    assert not encode(traces, atoms, largest * 1.001).any()
    assert encode(traces, atoms, largest * 0.999).any()


def test_optimality_residual_is_the_largest_violation(device):
    traces, atoms = torch.tensor([[[3.0, 0.5, -4.0]]], device=device), torch.tensor([[[1.0]]], device=device)
    residual = partial(
        optimality_residual, traces=traces, atoms=atoms, regularization=torch.tensor([1.0], device=device)
    )
    optimum = torch.tensor([[[2.0, 0.0, -3.0]]], device=device)
    torch.testing.assert_close(residual(optimum), torch.tensor([0.0], device=device))
    torch.testing.assert_close(residual(optimum * 0), torch.tensor([3.0], device=device))
    torch.testing.assert_close(residual(optimum * 2), torch.tensor([3.0], device=device))
    torch.testing.assert_close(residual(optimum.clamp_min(0.0), nonnegative=True), torch.tensor([0.0], device=device))
    torch.testing.assert_close(residual(optimum, nonnegative=True), torch.tensor([torch.inf], device=device))


def test_a_tolerance_stops_the_iterations_early(device):
    traces, atoms, regularization = draw_problem(device, 0)
    code = fista_solve(traces, atoms, regularization, num_iterations=3000, tolerance=1e-2)
    residual = float(optimality_residual(code, traces, atoms, regularization).max())
    assert 1e-5 < residual <= 1e-2


def test_a_tolerance_that_is_not_reached_warns(device):
    traces, atoms, regularization = draw_problem(device, 0)
    with pytest.warns(RuntimeWarning, match=r"num_iterations = 3 did not bring .* raise num_iterations"):
        fista_solve(traces, atoms, regularization, num_iterations=3, tolerance=1e-8)


def test_a_warm_start_at_the_solution_stays_there(device):
    traces, atoms, regularization = draw_problem(device, 0)
    code = fista_solve(traces, atoms, regularization, num_iterations=3000, tolerance=1e-9)
    again = fista_solve(traces, atoms, regularization, num_iterations=1, initial_code=code)
    torch.testing.assert_close(again, code, atol=1e-8, rtol=0)


@sides
@pytest.mark.parametrize("seed", range(2))
def test_the_unrolled_encoder_has_the_right_gradients(device, seed, nonnegative):
    traces, atoms, regularization = draw_problem(device, seed, num_windows=1, num_samples=9)
    inputs = tuple(tensor.requires_grad_() for tensor in (traces, atoms, regularization))
    encode = partial(fista_solve, num_iterations=6, step_size=0.3, nonnegative=nonnegative)
    assert encode(*inputs).any()
    assert torch.autograd.gradcheck(encode, inputs)


def test_the_unrolled_encoder_of_images_has_the_right_gradients(device):
    images, atoms, regularization = draw_image_problem(device, 0, num_images=1)
    inputs = tuple(tensor.requires_grad_() for tensor in (images[..., :5, :5], atoms, regularization / 2))
    encode = partial(fista_solve, num_iterations=4, step_size=0.2)
    assert encode(*inputs).any()
    assert torch.autograd.gradcheck(encode, inputs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_iterations": 0}, r"num_iterations = 0: it must be at least 1"),
        ({"step_size": -1.0}, r"step_size = -1.0: it must be positive; pass None"),
        (
            {"regularization": torch.tensor([0.5, -0.8, 1.1])},
            r"regularization = \[.*\]: every value must be zero or more",
        ),
        ({"atoms": torch.zeros(3, 2, 4)}, r"atoms are all zero: .* initialize the dictionary"),
        ({"initial_code": torch.zeros(2, 3, 5)}, r"initial_code has shape \(2, 3, 5\): .* need \(2, 3, 13\)"),
    ],
)
def test_settings_that_make_no_sense_are_refused(device, changes, message):
    traces, atoms, regularization = (tensor.float() for tensor in draw_problem(device, 0))
    arguments = {"traces": traces, "atoms": atoms, "regularization": regularization, "num_iterations": 5} | changes
    with pytest.raises(ValueError, match=message):
        fista_solve(**arguments)


def test_a_state_that_no_iteration_can_have_produced_is_refused():
    code = torch.zeros(1, 1, 3)
    with pytest.raises(ValueError, match=r"momentum = 0.5: it must be at least 1; start with FistaState.at"):
        FistaState(code=code, extrapolated_code=code, momentum=0.5, step_size=1.0)
