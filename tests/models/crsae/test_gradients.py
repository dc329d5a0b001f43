"""Claims about the gradients of CRsAE: those of the paper's appendix, once its slips are put right.

The recursion of Eqs. 27 to 41 (Algorithms 2 and 3) is written out below with an explicit Toeplitz matrix, for one
channel, sigma = 1 and one rate for all atoms. Taken literally it gives wrong gradients. What had to be corrected:

- Eqs. 30 and 40: ``z_t`` holds ``z_{t-1}^(1)`` in its second half, so that ``dz_t / dz_{t-1}`` has, besides the path
  through ``c_t``, a delay line that hands ``dL / dz_t^(2)`` on to ``z_{t-1}^(1)``. It is missing in print.
- Eqs. 23, 31: the reconstruction is ``H z_T^(1)``, the code after the shrinkage, not ``H c_T``.
- Eq. 29: the shrinkage is by ``lambda sigma^2 / L``, not by ``lambda sigma^2``.
- Eq. 35: both terms are divided by L, and that of the cross-correlations, which comes from ``-H^T H w``, is negative;
  lags run from ``1 - K`` to ``K - 1`` (in print ``k < K``).
- Eq. 36: for a negative lag the sum starts at ``-k``. Its derivative has both factors:
  ``1{a = b} h_g[m - k] + 1{a = g} h_b[m + k]``.
- Eq. 39: only the first half of ``z_T`` enters the l1 norm, so the second half of its gradient is zero.

Eq. 37 counts nothing twice: the second half of ``dz_t / dlambda``, which Eq. 41 leaves open, is zero, because
``z_{t-1}^(1)`` gets its share at ``t - 1``.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from si_crsae.core import correlate, objective
from si_crsae.models.crsae.autoencoder import Crsae, reconstruction_loss
from si_crsae.models.crsae.learning import RatePrior, rate_loss

NUM_ATOMS, WIDTH, NUM_SHIFTS = 2, 4, 9
NUM_SAMPLES = NUM_SHIFTS + WIDTH - 1
NUM_ITERATIONS = 12
INVERSE_STEP = 8.0  # L of the paper: no eigenvalue of two unit-norm atoms of four samples is larger
PRIOR = RatePrior(shape=3.0, rate=2.0)
seeds = st.integers(0, 2**16)
few_examples = settings(max_examples=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What the paper's recursion needs: one window, atoms (atom, width) of unit norm and their rate."""

    traces: np.ndarray
    atoms: np.ndarray
    rate: float


def draw_problem(seed):
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((NUM_ATOMS, WIDTH))
    return Problem(
        traces=rng.standard_normal(NUM_SAMPLES),
        atoms=atoms / np.linalg.norm(atoms, axis=1, keepdims=True),
        rate=rng.uniform(0.1, 0.4),
    )


def toeplitz(atoms):
    """Return H of Eq. 4, whose column ``c * num_shifts + n`` is atom c placed at n."""
    matrix = np.zeros((NUM_SAMPLES, NUM_ATOMS, NUM_SHIFTS))
    for shift in range(NUM_SHIFTS):
        matrix[shift : shift + WIDTH, :, shift] = atoms.T
    return matrix.reshape(NUM_SAMPLES, -1)


def encode(problem):
    """Return the momentum weights, w_t and c_t of every iteration, and the code: Algorithm 1."""
    matrix = toeplitz(problem.atoms)
    code = previous_code = np.zeros(matrix.shape[1])
    momenta, starts, descended = [], [], []
    s = 0.0
    for _ in range(NUM_ITERATIONS):
        previous_s, s = s, (1 + np.sqrt(1 + 4 * s**2)) / 2
        momenta.append((previous_s - 1) / s)
        starts.append(code + momenta[-1] * (code - previous_code))
        descended.append(starts[-1] + matrix.T @ (problem.traces - matrix @ starts[-1]) / INVERSE_STEP)
        shrunk = np.sign(descended[-1]) * np.maximum(np.abs(descended[-1]) - problem.rate / INVERSE_STEP, 0)
        previous_code, code = code, shrunk
    return momenta, starts, descended, code


def code_of(problem):
    return encode(problem)[-1]


def loss_of_the_atoms(problem):
    """Return Eq. 24."""
    return np.sum((problem.traces - toeplitz(problem.atoms) @ code_of(problem)) ** 2) / 2


def loss_of_the_rate(problem):
    """Return Eq. 25."""
    exponent = (NUM_SHIFTS + PRIOR.shape - 1) * NUM_ATOMS
    return problem.rate * (np.abs(code_of(problem)).sum() + NUM_ATOMS * PRIOR.rate) - exponent * np.log(problem.rate)


def cross_correlation(first, second, lag):
    """Return Eq. 36 for lags of either sign."""
    return sum(first[n + lag] * second[n] for n in range(max(0, -lag), min(WIDTH, WIDTH - lag)))


def derivative_of_cross_correlation(atoms, a, m, b, g, lag):
    """Return the derivative of Eq. 36, between atoms b and g, with respect to sample m of atom a."""
    from_first = atoms[g, m - lag] if a == b and 0 <= m - lag < WIDTH else 0.0
    from_second = atoms[b, m + lag] if a == g and 0 <= m + lag < WIDTH else 0.0
    return from_first + from_second


def descended_by_atoms(problem, start):
    """Return Eq. 35, put right: the derivative of c_t with respect to the atoms, (atom * width, atom * shift)."""
    derivative = np.zeros((NUM_ATOMS, WIDTH, NUM_ATOMS, NUM_SHIFTS))
    start = np.pad(start.reshape(NUM_ATOMS, NUM_SHIFTS), ((0, 0), (WIDTH, WIDTH)))
    for a, m, b in np.ndindex(NUM_ATOMS, WIDTH, NUM_ATOMS):
        if a == b:
            derivative[a, m, b] += problem.traces[m : m + NUM_SHIFTS]
        for g in range(NUM_ATOMS):
            for lag in range(1 - WIDTH, WIDTH):
                slope = derivative_of_cross_correlation(problem.atoms, a, m, b, g, lag)
                derivative[a, m, b] -= slope * start[g, WIDTH + lag :][:NUM_SHIFTS]
    return derivative.reshape(NUM_ATOMS * WIDTH, -1) / INVERSE_STEP


def reconstructed_by_atoms(code):
    """Return Eqs. 32 to 34: row k of atom c is its code delayed by k, (atom * width, sample)."""
    derivative = np.zeros((NUM_ATOMS, WIDTH, NUM_SAMPLES))
    for delay in range(WIDTH):
        derivative[:, delay, delay : delay + NUM_SHIFTS] = code.reshape(NUM_ATOMS, NUM_SHIFTS)
    return derivative.reshape(NUM_ATOMS * WIDTH, NUM_SAMPLES)


def propagate(problem, state_gradient, *, has_delay_line=True):
    """Yield the iteration and the gradient with respect to its c_t, from last to first: Eqs. 28 to 30, put right."""
    momenta, _, descended, _ = encode(problem)
    matrix = toeplitz(problem.atoms)
    identity = np.eye(matrix.shape[1])
    for iteration in reversed(range(NUM_ITERATIONS)):
        has_passed = np.abs(descended[iteration]) > problem.rate / INVERSE_STEP
        through_code, through_delay = np.split(state_gradient, 2)
        gradient = has_passed * through_code
        yield iteration, gradient
        momentum = momenta[iteration]
        extrapolation = np.concatenate([(1 + momentum) * identity, -momentum * identity])
        state_gradient = extrapolation @ (identity - matrix.T @ matrix / INVERSE_STEP) @ gradient
        if has_delay_line:
            state_gradient[: len(identity)] += through_delay


def gradient_of_the_atoms(problem, **changes):
    """Return Algorithm 2, (atom, width)."""
    _, starts, _, code = encode(problem)
    matrix = toeplitz(problem.atoms)
    misfit = matrix @ code - problem.traces
    gradient = reconstructed_by_atoms(code) @ misfit
    last = np.concatenate([matrix.T @ misfit, np.zeros_like(code)])
    for iteration, descended_gradient in propagate(problem, last, **changes):
        gradient += descended_by_atoms(problem, starts[iteration]) @ descended_gradient
    return gradient.reshape(NUM_ATOMS, WIDTH)


def gradient_of_the_rate(problem, **changes):
    """Return Algorithm 3."""
    _, _, descended, code = encode(problem)
    gradient = np.abs(code).sum() + NUM_ATOMS * PRIOR.rate - (NUM_SHIFTS + PRIOR.shape - 1) * NUM_ATOMS / problem.rate
    last = np.concatenate([np.sign(code), np.zeros_like(code)])
    for iteration, descended_gradient in propagate(problem, last, **changes):
        gradient -= problem.rate * np.sign(descended[iteration]) @ descended_gradient / INVERSE_STEP
    return gradient


def model_of(device, problem, *, num_iterations=NUM_ITERATIONS):
    atoms, rate = torch.from_numpy(problem.atoms)[:, None], torch.tensor(problem.rate, dtype=torch.float64)
    return Crsae(atoms, rate, num_iterations=num_iterations, step_size=1 / INVERSE_STEP).to(device)


def window_of(device, problem):
    return torch.from_numpy(problem.traces).to(device)[None, None]


def distance_to_a_kink(problem):
    return min(np.abs(np.abs(value) - problem.rate / INVERSE_STEP).min() for value in encode(problem)[2])


@few_examples
@given(seed=seeds)
def test_the_derivative_of_a_descent_step_is_equation_35_put_right(device, seed):
    problem = draw_problem(seed)
    start = torch.from_numpy(np.random.default_rng(seed + 1).standard_normal((1, NUM_ATOMS, NUM_SHIFTS))).to(device)
    traces = window_of(device, problem)

    def descend(atoms):
        remaining = traces - torch.nn.functional.conv_transpose1d(start, atoms)
        return (start + correlate(remaining, atoms) / INVERSE_STEP).flatten()

    atoms = torch.from_numpy(problem.atoms).to(device)[:, None]
    expected = torch.autograd.functional.jacobian(descend, atoms).flatten(1).T.cpu().numpy()
    np.testing.assert_allclose(descended_by_atoms(problem, start.cpu().numpy().ravel()), expected, atol=1e-12)
    gram = toeplitz(problem.atoms).T @ toeplitz(problem.atoms)
    for b, g, lag in np.ndindex(NUM_ATOMS, NUM_ATOMS, WIDTH):
        for signed in (-lag, lag):
            row, column = b * NUM_SHIFTS + WIDTH, g * NUM_SHIFTS + WIDTH + signed
            correlation = cross_correlation(problem.atoms[b], problem.atoms[g], signed)
            assert gram[row, column] == pytest.approx(correlation, abs=1e-12)


@few_examples
@given(seed=seeds)
def test_the_encoder_of_the_model_is_algorithm_1(device, seed):
    problem = draw_problem(seed)
    code = model_of(device, problem).encode(window_of(device, problem))
    np.testing.assert_allclose(code.detach().cpu().numpy().ravel(), code_of(problem), atol=1e-12)


@few_examples
@given(seed=seeds)
def test_the_gradient_of_the_atoms_is_algorithm_2(device, seed):
    problem = draw_problem(seed)
    model, traces = model_of(device, problem), window_of(device, problem)
    loss = reconstruction_loss(traces, model(traces))
    loss.backward()
    assert loss.item() == pytest.approx(loss_of_the_atoms(problem))
    np.testing.assert_allclose(model.atoms.grad[:, 0].cpu().numpy(), gradient_of_the_atoms(problem), atol=1e-10)


@few_examples
@given(seed=seeds)
def test_the_gradient_of_the_rate_is_algorithm_3(device, seed):
    problem = draw_problem(seed)
    model, traces = model_of(device, problem), window_of(device, problem)
    loss = rate_loss(model, model.encode(traces), PRIOR)
    loss.backward()
    assert loss.item() == pytest.approx(loss_of_the_rate(problem))
    assert model.rate.grad.item() == pytest.approx(gradient_of_the_rate(problem), abs=1e-10)


@few_examples
@given(seed=seeds)
def test_algorithms_2_and_3_are_the_differences_of_the_losses(seed):
    problem, step = draw_problem(seed), 1e-6
    assume(distance_to_a_kink(problem) > 100 * step)

    def slope(loss, *, atoms=0.0, rate=0.0):
        ends = [replace(problem, atoms=problem.atoms + way * atoms, rate=problem.rate + way * rate) for way in (1, -1)]
        return (loss(ends[0]) - loss(ends[1])) / (2 * step)

    changes = step * np.eye(problem.atoms.size).reshape(-1, *problem.atoms.shape)
    differences = [slope(loss_of_the_atoms, atoms=change) for change in changes]
    np.testing.assert_allclose(gradient_of_the_atoms(problem).ravel(), differences, atol=1e-7)
    assert gradient_of_the_rate(problem) == pytest.approx(slope(loss_of_the_rate, rate=step), abs=1e-6)


def test_without_the_delay_line_the_printed_recursion_is_wrong():
    problem = draw_problem(0)
    printed = gradient_of_the_atoms(problem, has_delay_line=False)
    error = np.linalg.norm(printed - gradient_of_the_atoms(problem)) / np.linalg.norm(printed)
    assert error > 0.01
    assert gradient_of_the_rate(problem, has_delay_line=False) != pytest.approx(gradient_of_the_rate(problem), rel=1e-3)


@few_examples
@given(seed=seeds)
def test_at_a_converged_code_the_objective_does_not_feel_the_code_move(device, seed):
    """The envelope theorem: its unrolled gradient is that at a fixed code. The reconstruction's alone is not."""
    problem = replace(draw_problem(seed), rate=0.6)  # the larger the rate, the sooner the code converges
    model, traces = model_of(device, problem, num_iterations=3000), window_of(device, problem)
    unrolled = model.encode(traces)
    fixed = unrolled.detach()

    def gradients(loss):
        return [torch.autograd.grad(loss(code), model.atoms, retain_graph=True)[0] for code in (unrolled, fixed)]

    moving, held = gradients(lambda code: objective(code, traces, model.atoms, model.regularization).sum())
    torch.testing.assert_close(moving, held, atol=1e-6, rtol=0)
    moving, held = gradients(lambda code: reconstruction_loss(traces, model.decode(code)))
    assert (moving - held).norm() > 0.1 * held.norm()
