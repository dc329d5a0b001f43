"""FISTA, unrolled and differentiable: for any problem and any prior, and for the convolutional Lasso of CRsAE.

The objective of one window of the latter, with one regularization per atom, is

    F(x) = 1/2 || y - sum_c h_c * x_c ||^2 + sum_c lambda_c || x_c ||_1
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.checks import check_fit
from si_crsae.core.operators.convolution import correlate, synthesize
from si_crsae.core.priors import Prior, Sparse, StepSize
from si_crsae.core.solvers.iteration import iterate
from si_crsae.core.solvers.problems import Convolutional, Problem, proximal_distance, proximal_step


@dataclass(frozen=True, slots=True, kw_only=True)
class FistaState:
    """What one iteration hands to the next.

    Parameters
    ----------
    code : Tensor, shape (batch, atom, ...)
        The estimate so far, exactly sparse.
    extrapolated_code : Tensor, shape (batch, atom, ...)
        Where the next gradient is taken.
    momentum : float
        The sequence ``s_t`` of FISTA, at least 1.
    step_size : float or Tensor of shape (batch,)
        How far the next iteration moves along the gradient.
    """

    code: Float[Tensor, "batch atom *shift"]
    extrapolated_code: Float[Tensor, "batch atom *shift"]
    momentum: float
    step_size: StepSize

    def __post_init__(self) -> None:
        """Refuse a state that no iteration can have produced."""
        if self.code.shape != self.extrapolated_code.shape:
            raise ValueError(
                f"extrapolated_code has shape {tuple(self.extrapolated_code.shape)}: it must have the shape of code, "
                f"{tuple(self.code.shape)}; start with FistaState.at"
            )
        if self.momentum < 1.0:
            raise ValueError(f"momentum = {self.momentum}: it must be at least 1; start with FistaState.at")

    @classmethod
    def at(cls, code: Float[Tensor, "batch atom *shift"], *, step_size: StepSize) -> "FistaState":
        """Return the state that rests at a code."""
        return cls(code=code, extrapolated_code=code, momentum=1.0, step_size=step_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fista:
    """All coefficients move along the gradient, with momentum.

    Algorithm 1 of [1]_, for any problem and any prior.

    Parameters
    ----------
    tolerance : float, default: None
        If given, stop once one more step, divided by the step size, would move no coefficient by more than this.
    step_size : float or Tensor of shape (batch,), default: None
        At most the inverse of the Lipschitz constant of the gradient, else the iteration may diverge; if None, the step
        size of the problem.
    accelerated : bool, default: True
        If False, no momentum is built up, which is ISTA: with a valid step size the objective then falls in every
        iteration.

    References
    ----------
    .. [1] Tolooshams, Dey and Ba, "Deep residual auto-encoders for expectation maximization-based dictionary
       learning", IEEE TNNLS, 2021, Algorithm 1 and Eq. 22.
    """

    problem_kind: ClassVar[type] = object
    prior_kind: ClassVar[type] = object
    tolerance: float | None = None
    step_size: StepSize | None = None
    accelerated: bool = True

    def __post_init__(self) -> None:
        """Refuse a step size that is none."""
        if not isinstance(self.step_size, Tensor) and self.step_size is not None and not self.step_size > 0:
            raise ValueError(f"step_size = {self.step_size}: it must be positive; pass None for one that is safe")

    def init(self, problem: Problem, prior: Prior) -> FistaState:
        """Return the state at the zero code."""
        code = problem.empty_code()
        return FistaState.at(code, step_size=problem.step_size() if self.step_size is None else self.step_size)

    def step(self, problem: Problem, prior: Prior, state: FistaState) -> FistaState:
        """Return the state after one more iteration: lines 3 to 6 of Algorithm 1."""
        code = proximal_step(problem, prior, state.extrapolated_code, state.step_size)
        if not self.accelerated:
            return FistaState.at(code, step_size=state.step_size)
        momentum = next_momentum(state.momentum)
        # Beyond the new code by as much of the last move as the momentum allows, in one pass over memory.
        extrapolated_code = torch.lerp(state.code, code, 1.0 + (state.momentum - 1.0) / momentum)
        return FistaState(code=code, extrapolated_code=extrapolated_code, momentum=momentum, step_size=state.step_size)

    def distance(self, problem: Problem, prior: Prior, state: FistaState) -> float:
        """Return how far a step without momentum moves any coefficient, divided by the step size."""
        return proximal_distance(problem, prior, state.code, state.step_size)

    def code(self, problem: Problem, prior: Prior, state: FistaState) -> Float[Tensor, "batch atom *shift"]:
        """Return the estimate so far."""
        return state.code


def next_momentum(momentum: float) -> float:
    """Return the sequence ``s_t`` of FISTA one iteration later."""
    return (1.0 + math.sqrt(1.0 + 4.0 * momentum**2)) / 2.0


def fista_solve(
    traces: Float[Tensor, "batch channel *sample"],
    atoms: Float[Tensor, "atom channel *width"],
    regularization: Float[Tensor, " atom"],
    *,
    num_iterations: int,
    tolerance: float | None = None,
    step_size: float | None = None,
    nonnegative: bool = False,
    initial_code: Float[Tensor, "batch atom *shift"] | None = None,
) -> Float[Tensor, "batch atom *shift"]:
    """Return the code of every window: the minimizer of `objective`, up to the number of iterations.

    Every iteration stays in the autograd graph, so the result can be differentiated with respect to the traces, the
    atoms and the regularization; wrap the call in ``torch.no_grad()`` where that is not wanted.

    Parameters
    ----------
    traces : Tensor, shape (batch, channel, ...)
        Whitened traces.
    atoms : Tensor, shape (atom, channel, ...)
        Dictionary, in whitened units.
    regularization : Tensor, shape (atom,)
        Non-negative weight of the l1 norm of each atom's code, in whitened units.
    num_iterations : int
        Iterations, at least 1; with a tolerance, the most that are made.
    tolerance : float, default: None
        If given, stop once one more step, divided by the step size, would move no coefficient by more than this, in
        the unit of `regularization`: on the support of the code, `optimality_residual`. It is looked at every 10
        iterations. If None, all iterations are made, and no window depends on another.
    step_size : float, default: None
        If None, the inverse of `lipschitz_bound`, taken as a constant: it moves the path, not the minimizer.
    nonnegative : bool, default: False
        If True, the code is kept at or above zero.
    initial_code : Tensor, shape (batch, atom, ...), default: None
        Where to start; if None, the zero code.

    Returns
    -------
    Tensor, shape (batch, atom, ...)
        The code, exactly sparse.

    Raises
    ------
    ValueError
        If a number is out of range, or the shapes do not fit.

    Warns
    -----
    RuntimeWarning
        If a tolerance was given and `num_iterations` did not suffice.
    """
    check_fit("traces", traces, atoms)
    if regularization.shape[-1:] != (len(atoms),):
        raise ValueError(
            f"regularization has shape {tuple(regularization.shape)}: it must have one value per atom, {len(atoms)}"
        )
    problem = Convolutional(traces=traces, atoms=atoms)
    solver = Fista(tolerance=tolerance, step_size=step_size)
    prior = Sparse(regularization=regularization, nonnegative=nonnegative)
    state = solver.init(problem, prior)
    if initial_code is not None:
        if initial_code.shape != state.code.shape:
            raise ValueError(
                f"initial_code has shape {tuple(initial_code.shape)}: these traces and atoms need "
                f"{tuple(state.code.shape)}; pass a code of the same windows and dictionary, or None"
            )
        state = FistaState.at(initial_code, step_size=state.step_size)
    return iterate(solver, problem, prior, num_iterations=num_iterations, state=state)


def objective(
    code: Float[Tensor, "batch atom *shift"],
    traces: Float[Tensor, "batch channel *sample"],
    atoms: Float[Tensor, "atom channel *width"],
    regularization: Float[Tensor, " atom"],
) -> Float[Tensor, " batch"]:
    """Return what the encoder minimizes, for each window.

    Parameters
    ----------
    code : Tensor, shape (batch, atom, ...)
        Coefficients.
    traces : Tensor, shape (batch, channel, ...)
        Whitened traces.
    atoms : Tensor, shape (atom, channel, ...)
        Dictionary, in whitened units.
    regularization : Tensor, shape (atom,)
        Weight of the l1 norm of each atom's code.

    Returns
    -------
    Tensor, shape (batch,)
        ``1/2 ||y - H x||^2 + sum_c lambda_c ||x_c||_1``, dimensionless.
    """
    squared_error = (traces - synthesize(code, atoms)).square().flatten(1).sum(dim=1)
    return squared_error / 2 + code.abs().flatten(2).sum(dim=2) @ regularization


def optimality_residual(
    code: Float[Tensor, "batch atom *shift"],
    traces: Float[Tensor, "batch channel *sample"],
    atoms: Float[Tensor, "atom channel *width"],
    regularization: Float[Tensor, " atom"],
    *,
    nonnegative: bool = False,
) -> Float[Tensor, " batch"]:
    """Return how far each window is from the optimality conditions of `objective`; zero at the minimizer.

    With ``g`` the correlation of the residual, the conditions are ``g = lambda_c * sign(x)`` where ``x != 0`` and
    ``|g| <= lambda_c`` (``g <= lambda_c`` for non-negative codes) where ``x = 0``.

    Parameters
    ----------
    code : Tensor, shape (batch, atom, ...)
        Coefficients.
    traces : Tensor, shape (batch, channel, ...)
        Whitened traces.
    atoms : Tensor, shape (atom, channel, ...)
        Dictionary, in whitened units.
    regularization : Tensor, shape (atom,)
        Weight of the l1 norm of each atom's code.
    nonnegative : bool, default: False
        If True, the conditions of the problem restricted to ``x >= 0``.

    Returns
    -------
    Tensor, shape (batch,)
        The largest violation over atoms and shifts, in the unit of `regularization`; infinite for a negative
        coefficient where only non-negative ones are allowed.
    """
    correlation = correlate(traces - synthesize(code, atoms), atoms)
    level = regularization.reshape(-1, *[1] * (code.ndim - 2))
    on_support = (correlation - level * code.sign()).abs()
    off_support = ((correlation if nonnegative else correlation.abs()) - level).clamp_min(0.0)
    violation = torch.where(code == 0, off_support, on_support)
    if nonnegative:
        violation = violation.masked_fill(code < 0, math.inf)
    return violation.flatten(1).amax(dim=1)
