"""FISTA, unrolled and differentiable: for any data term and any prior, and for the convolutional Lasso of CRsAE.

The objective of one window of the latter, with one regularization per atom, is

    F(x) = 1/2 || y - sum_c h_c * x_c ||^2 + sum_c lambda_c || x_c ||_1
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.operators.convolution import correlate, count_shifts, lipschitz_bound, synthesize
from si_crsae.core.priors import Prior, Sparse, StepSize
from si_crsae.core.solvers.iteration import iterate

DescentDirection = Callable[[Tensor], Tensor]


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
    """

    code: Float[Tensor, "batch atom *shift"]
    extrapolated_code: Float[Tensor, "batch atom *shift"]
    momentum: float

    def __post_init__(self) -> None:
        """Refuse a state that no iteration can have produced."""
        if self.code.shape != self.extrapolated_code.shape:
            raise ValueError(
                f"extrapolated_code has shape {tuple(self.extrapolated_code.shape)}: it must have the shape of code, "
                f"{tuple(self.code.shape)}; start with fista_init"
            )
        if self.momentum < 1.0:
            raise ValueError(f"momentum = {self.momentum}: it must be at least 1; start with fista_init")


def fista_init(
    traces: Float[Tensor, "batch channel *sample"],
    atoms: Float[Tensor, "atom channel *width"],
    *,
    initial_code: Float[Tensor, "batch atom *shift"] | None = None,
) -> FistaState:
    """Return the state before the first iteration.

    Parameters
    ----------
    traces : Tensor, shape (batch, channel, ...)
        Whitened traces.
    atoms : Tensor, shape (atom, channel, ...)
        Dictionary, in whitened units.
    initial_code : Tensor, shape (batch, atom, ...), default: None
        Where to start; if None, the zero code.

    Returns
    -------
    FistaState
        On the device and with the dtype of `traces`, or of `initial_code` if given.

    Raises
    ------
    ValueError
        If the traces are shorter than the atoms, or `initial_code` does not fit them.
    """
    shifts = [count_shifts(size, width=width) for size, width in zip(traces.shape[2:], atoms.shape[2:], strict=True)]
    shape = (len(traces), len(atoms), *shifts)
    if initial_code is None:
        initial_code = traces.new_zeros(shape)
    elif initial_code.shape != shape:
        raise ValueError(
            f"initial_code has shape {tuple(initial_code.shape)}: these traces and atoms need {shape}; "
            "pass a code of the same windows and dictionary, or None"
        )
    return FistaState(code=initial_code, extrapolated_code=initial_code, momentum=1.0)


def fista_step(
    state: FistaState,
    descent_direction: DescentDirection,
    prior: Prior,
    *,
    step_size: StepSize,
    accelerated: bool = True,
) -> FistaState:
    """Return the state after one more iteration: lines 3 to 6 of Algorithm 1 of [1]_, for any prior.

    Parameters
    ----------
    state : FistaState
        From `fista_init` or the iteration before; left as it was.
    descent_direction : callable
        Returns the negative gradient, without the penalty, at a code: the correlation of its residual.
    prior : Prior
        Whose activation is applied.
    step_size : float or Tensor of shape (batch,)
        At most the inverse of the Lipschitz constant of the gradient, else the iteration may diverge.
    accelerated : bool, default: True
        If False, no momentum is built up: with a valid step size the objective then falls in every iteration.

    Returns
    -------
    FistaState
        A new state.

    References
    ----------
    .. [1] Tolooshams, Dey and Ba, "Deep residual auto-encoders for expectation maximization-based dictionary
       learning", IEEE TNNLS, 2021, Algorithm 1 and Eq. 22.
    """
    start = state.extrapolated_code
    code = prior.activation(_moved(start, descent_direction(start), step_size), step_size)
    if not accelerated:
        return FistaState(code=code, extrapolated_code=code, momentum=1.0)
    momentum = (1.0 + math.sqrt(1.0 + 4.0 * state.momentum**2)) / 2.0
    # Beyond the new code by as much of the last move as the momentum allows, in one pass over memory.
    extrapolated_code = torch.lerp(state.code, code, 1.0 + (state.momentum - 1.0) / momentum)
    return FistaState(code=code, extrapolated_code=extrapolated_code, momentum=momentum)


def _moved(code: Tensor, direction: Tensor, step_size: StepSize) -> Tensor:
    """Return the code moved along a direction, in one pass over memory."""
    if isinstance(step_size, Tensor):
        return torch.addcmul(code, step_size.reshape(-1, *[1] * (code.ndim - 1)), direction)
    return torch.add(code, direction, alpha=step_size)


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
    prior = Sparse(regularization=regularization, nonnegative=nonnegative)
    if step_size is not None and not step_size > 0:
        raise ValueError(f"step_size = {step_size}: it must be positive; pass None to derive it from the atoms")
    if step_size is None:
        step_size = safe_step_size(atoms)

    def descent_direction(code: Tensor) -> Tensor:
        return correlate(traces - synthesize(code, atoms), atoms)

    state = fista_init(traces, atoms, initial_code=initial_code)
    return fista_iterate(
        state, descent_direction, prior, num_iterations=num_iterations, tolerance=tolerance, step_size=step_size
    )


def fista_iterate(
    state: FistaState,
    descent_direction: DescentDirection,
    prior: Prior,
    *,
    num_iterations: int,
    tolerance: float | None,
    step_size: StepSize,
    accelerated: bool = True,
) -> Float[Tensor, "batch atom *shift"]:
    """Return the code after some iterations: `fista_solve` for any smooth data term and any prior.

    Parameters
    ----------
    state : FistaState
        Where to start.
    descent_direction : callable
        Returns the negative gradient, without the penalty, at a code.
    prior : Prior
    num_iterations, tolerance
        As for `fista_solve`; the tolerance is on how far one more step would go, divided by the step size.
    step_size, accelerated
        As for `fista_step`.

    Returns
    -------
    Tensor, shape (batch, atom, ...)

    Raises
    ------
    ValueError
        If there is to be no iteration.

    Warns
    -----
    RuntimeWarning
        If a tolerance was given and `num_iterations` did not suffice.
    """

    def step(current: FistaState) -> FistaState:
        return fista_step(current, descent_direction, prior, step_size=step_size, accelerated=accelerated)

    def distance(current: FistaState) -> float:
        return float(_distance_to_fixed_point(current.code, descent_direction, prior, step_size))

    return iterate(
        state,
        step,
        distance,
        num_iterations=num_iterations,
        tolerance=tolerance,
        quantity="the optimality residual",
    ).code


@torch.no_grad()
def _distance_to_fixed_point(
    code: Tensor, descent_direction: DescentDirection, prior: Prior, step_size: StepSize
) -> Float[Tensor, ""]:
    """Return how far a step without momentum moves any coefficient, divided by the step size: zero at the minimizer."""
    still = FistaState(code=code, extrapolated_code=code, momentum=1.0)
    moved = fista_step(still, descent_direction, prior, step_size=step_size).code - code
    return (moved.abs().flatten(1).amax(dim=1) / step_size).max()


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


def safe_step_size(atoms: Float[Tensor, "atom channel *width"]) -> float:
    """Return the largest step size with which FISTA is sure to converge.

    Parameters
    ----------
    atoms : Tensor, shape (atom, channel, ...)
        Dictionary, in whitened units.

    Returns
    -------
    float
        The inverse of `lipschitz_bound`.

    Raises
    ------
    ValueError
        If all atoms are zero.
    """
    bound = float(lipschitz_bound(atoms.detach()))
    if bound == 0.0:
        raise ValueError("atoms are all zero: at least one must have a shape; initialize the dictionary from data")
    return 1.0 / bound
