"""Claims about the M-step for the regularization."""

from functools import partial

import pytest
import torch
from drawing import draw_on
from hypothesis import given
from hypothesis import strategies as st

from si_crsae.core import centered_prior, fista_solve, regularization_loss, update_regularization

seeds = st.integers(0, 2**16)
counts = st.integers(1, 10**5)
strengths = st.floats(1e-2, 1e3)


def draw_with(device, seed):
    return draw_on(device, seed, kind=torch.rand)


def draw_posterior(device, seed):
    """Return l1 norms, a number of coefficients and a Gamma prior with one rate per atom."""
    draw = draw_with(device, seed)
    prior = {"prior_shape": 1.0 + 50.0 * float(draw(1)), "prior_rate": 0.1 + 10.0 * draw(4)}
    return 30.0 * draw(4), 1 + int(200 * draw(1)), prior


@given(seed=seeds)
def test_the_closed_form_is_where_the_gradient_of_the_loss_vanishes(device, seed):
    code_l1, num_coefficients, prior = draw_posterior(device, seed)
    estimate = update_regularization(code_l1, num_coefficients, **prior).requires_grad_()
    (gradient,) = torch.autograd.grad(regularization_loss(estimate, code_l1, num_coefficients, **prior), estimate)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-10, rtol=0)


@given(seed=seeds, factor=st.sampled_from([0.5, 0.99, 1.01, 2.0]), atom_index=st.integers(0, 3))
def test_the_closed_form_beats_other_values(device, seed, factor, atom_index):
    code_l1, num_coefficients, prior = draw_posterior(device, seed)
    loss = partial(regularization_loss, code_l1=code_l1, num_coefficients=num_coefficients, **prior)
    estimate = update_regularization(code_l1, num_coefficients, **prior)
    other = estimate.clone()
    other[atom_index] *= factor
    assert loss(estimate) < loss(other)


def test_descending_the_gradient_of_the_loss_ends_at_the_closed_form(device):
    code_l1, num_coefficients, prior = draw_posterior(device, 0)
    log_regularization = torch.zeros(4, dtype=torch.float64, requires_grad=True, device=device)
    optimizer = torch.optim.LBFGS(
        [log_regularization], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-9
    )

    def evaluate():
        optimizer.zero_grad()
        loss = regularization_loss(log_regularization.exp(), code_l1, num_coefficients, **prior)
        loss.backward()
        return loss

    optimizer.step(evaluate)
    expected = update_regularization(code_l1, num_coefficients, **prior)
    torch.testing.assert_close(log_regularization.detach().exp(), expected, rtol=1e-6, atol=0)


def test_the_loss_is_the_negative_log_of_laplace_times_gamma(device):
    draw = draw_with(device, 0)
    regularization, code = 1.0 + draw(3), draw(3, 7) - 0.5

    def loss(value):
        return regularization_loss(value, code.abs().sum(dim=1), 7, prior_shape=2.5, prior_rate=4.0)

    def negative_log_posterior(value):
        laplace = torch.distributions.Laplace(torch.zeros_like(code), 1 / value[:, None]).log_prob(code).sum()
        gamma = (
            torch.distributions.Gamma(*torch.tensor([2.5, 4.0], dtype=torch.float64, device=device))
            .log_prob(value)
            .sum()
        )
        return -laplace - gamma

    other = 1.0 + draw(3)
    torch.testing.assert_close(
        loss(other) - loss(regularization), negative_log_posterior(other) - negative_log_posterior(regularization)
    )


def test_the_gradient_through_the_encoder_is_equation_37_of_the_paper(device):
    draw = draw_with(device, 3)
    traces, atoms, prior = 4.0 * draw(1, 2, 12) - 2.0, draw(2, 2, 3) - 0.5, {"prior_shape": 3.0, "prior_rate": 2.0}
    regularization = torch.tensor([0.3, 0.5], dtype=torch.float64, requires_grad=True, device=device)

    def encoded_l1(value):
        return fista_solve(traces, atoms, value, num_iterations=15).abs().sum(dim=(0, 2))

    code_l1 = encoded_l1(regularization)
    (gradient,) = torch.autograd.grad(regularization_loss(regularization, code_l1, 10, **prior), regularization)
    with torch.no_grad():
        slopes = [
            (encoded_l1(regularization + step) - encoded_l1(regularization - step)) / 2e-6
            for step in 1e-6 * torch.eye(2, device=device)
        ]
        shared = code_l1 + prior["prior_rate"] - (10 + prior["prior_shape"] - 1) / regularization
    expected = shared + torch.stack(slopes) @ regularization.detach()
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(gradient, shared)


@given(seed=seeds)
def test_without_a_prior_the_estimate_is_the_rate_of_a_laplace_variable(device, seed):
    code_l1 = 0.1 + draw_with(device, seed)(4)
    estimate = update_regularization(code_l1, 50, prior_shape=1.0, prior_rate=0.0)
    torch.testing.assert_close(estimate, 50 / code_l1)


def test_one_regularization_for_all_atoms_is_the_estimate_of_their_mean(device):
    code_l1, num_coefficients, _ = draw_posterior(device, 0)
    shared = update_regularization(code_l1.mean(0, keepdim=True), num_coefficients, prior_shape=4.0, prior_rate=2.0)
    shared.requires_grad_()
    loss = regularization_loss(shared.expand(4), code_l1, num_coefficients, prior_shape=4.0, prior_rate=2.0)
    (gradient,) = torch.autograd.grad(loss, shared)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-10, rtol=0)


def test_the_value_learned_in_the_paper_is_that_of_an_empty_code(device):
    # Table III and figure 5: 983 shifts, delta = 50, r = delta * 168.04; lambda went from 168.04 to 187.68.
    estimate = update_regularization(torch.zeros(1, device=device), 983, prior_shape=50 * 168.04, prior_rate=50.0)
    torch.testing.assert_close(estimate, torch.tensor([187.68], device=device), atol=0.005, rtol=0)


@given(seed=seeds, num_coefficients=counts, strength=strengths)
def test_the_mode_of_the_centered_prior_is_the_start(device, seed, num_coefficients, strength):
    start = 0.5 + 10.0 * draw_with(device, seed)(4)
    shape, rate = centered_prior(start, num_coefficients=num_coefficients, strength=strength)
    torch.testing.assert_close((shape - 1.0) / rate, start)


@given(seed=seeds, num_coefficients=counts, strength=strengths)
def test_the_centered_prior_bounds_the_estimate(device, seed, num_coefficients, strength):
    start = 0.5 + 10.0 * draw_with(device, seed)(4)
    shape, rate = centered_prior(start, num_coefficients=num_coefficients, strength=strength)
    update = partial(update_regularization, num_coefficients=num_coefficients, prior_shape=shape, prior_rate=rate)
    expected_l1 = num_coefficients / start
    torch.testing.assert_close(update(torch.zeros_like(start)), start * (1 + 1 / strength))
    torch.testing.assert_close(update(expected_l1), start)
    assert (update(expected_l1 * 0.5) > start).all()
    assert (update(expected_l1 * 2.0) < start).all()


def test_a_strong_prior_keeps_the_start_and_a_weak_one_leaves_it(device):
    start, code_l1 = torch.tensor([5.0], device=device), torch.tensor([2.0], device=device)
    for strength, expected in ((1e6, 5.0), (1e-6, 100 / 2.0)):
        shape, rate = centered_prior(start, num_coefficients=100, strength=strength)
        estimate = update_regularization(code_l1, 100, prior_shape=shape, prior_rate=rate)
        torch.testing.assert_close(estimate, torch.tensor([expected], device=device), rtol=1e-4, atol=0)


def test_an_atom_without_code_and_prior_is_refused():
    with pytest.raises(ValueError, match=r"code_l1 \+ prior_rate = \[1.0, 0.0\]: .* needs a prior, see centered_prior"):
        update_regularization(torch.tensor([1.0, 0.0]), 10, prior_shape=1.0, prior_rate=0.0)
    with pytest.raises(ValueError, match=r"num_coefficients = 0, prior_shape = 1.0: .* must exceed 1"):
        update_regularization(torch.tensor([1.0]), 0, prior_shape=1.0, prior_rate=0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_coefficients": 0}, r"num_coefficients = 0: it must be at least 1"),
        ({"strength": 0.0}, r"strength = 0.0: it must be positive; 10 keeps"),
        ({"regularization": torch.tensor([5.0, 0.0])}, r"regularization = \[5.0, 0.0\]: every value must be positive"),
    ],
)
def test_a_prior_that_makes_no_sense_is_refused(changes, message):
    arguments = {"regularization": torch.tensor([5.0]), "num_coefficients": 10, "strength": 1.0} | changes
    with pytest.raises(ValueError, match=message):
        centered_prior(**arguments)
