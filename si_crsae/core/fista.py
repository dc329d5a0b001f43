"""The encoder of CRsAE: FISTA on the convolutional Lasso, unrolled and differentiable.

The objective of one window, with one regularization per atom, is

    F(x) = 1/2 || y - sum_c h_c * x_c ||^2 + sum_c lambda_c || x_c ||_1
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.convolution import correlate, count_shifts, lipschitz_bound, synthesize
from si_crsae.core.proximal import soft_threshold

# Measuring the optimality costs as much as an iteration; every tenth iteration it costs a tenth of the time.
_ITERATIONS_PER_CHECK = 10

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
    regularization: Float[Tensor, " atom"],
    *,
    step_size: float,
    nonnegative: bool = False,
) -> FistaState:
    """Return the state after one more iteration: lines 3 to 6 of Algorithm 1 of [1]_.

    Parameters
    ----------
    state : FistaState
        From `fista_init` or the iteration before; left as it was.
    descent_direction : callable
        Returns the negative gradient, without the penalty, at a code: the correlation of its residual.
    regularization : Tensor, shape (atom,)
        Non-negative weight of the l1 norm of each atom's code, in whitened units.
    step_size : float
        At most the inverse of `lipschitz_bound`, else the iteration may diverge.
    nonnegative : bool, default: False
        If True, the code is kept at or above zero.

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
    descended = start + step_size * descent_direction(start)
    code = soft_threshold(descended, step_size * regularization, nonnegative=nonnegative)
    momentum = (1.0 + math.sqrt(1.0 + 4.0 * state.momentum**2)) / 2.0
    extrapolated_code = code + (state.momentum - 1.0) / momentum * (code - state.code)
    return FistaState(code=code, extrapolated_code=extrapolated_code, momentum=momentum)


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
        If given, stop once `optimality_residual` is at most this in every window, in the unit of `regularization`.
        It is looked at every 10 iterations. If None, all iterations are made, and no window depends on another.
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
    _check_settings(regularization, num_iterations, step_size)
    if step_size is None:
        step_size = safe_step_size(atoms)

    def descent_direction(code: Tensor) -> Tensor:
        return correlate(traces - synthesize(code, atoms), atoms)

    state = fista_init(traces, atoms, initial_code=initial_code)
    return fista_iterate(
        state,
        descent_direction,
        regularization,
        num_iterations=num_iterations,
        tolerance=tolerance,
        step_size=step_size,
        nonnegative=nonnegative,
    )


def fista_iterate(
    state: FistaState,
    descent_direction: DescentDirection,
    regularization: Float[Tensor, " atom"],
    *,
    num_iterations: int,
    tolerance: float | None,
    step_size: float,
    nonnegative: bool,
) -> Float[Tensor, "batch atom *shift"]:
    """Return the code after some iterations: `fista_solve` for any smooth data term.

    Parameters
    ----------
    state : FistaState
        Where to start.
    descent_direction : callable
        Returns the negative gradient, without the penalty, at a code.
    regularization : Tensor, shape (atom,)
    num_iterations, tolerance, step_size, nonnegative
        As for `fista_solve`.

    Returns
    -------
    Tensor, shape (batch, atom, ...)

    Warns
    -----
    RuntimeWarning
        If a tolerance was given and `num_iterations` did not suffice.
    """
    for iteration in range(1, num_iterations + 1):
        state = fista_step(state, descent_direction, regularization, step_size=step_size, nonnegative=nonnegative)
        is_last = iteration == num_iterations
        if tolerance is None or not (is_last or iteration % _ITERATIONS_PER_CHECK == 0):
            continue
        with torch.no_grad():
            remaining = descent_direction(state.code)
            residual = _violation(state.code, remaining, regularization, nonnegative=nonnegative).max()
        if residual <= tolerance:
            break
        if is_last:
            warnings.warn(
                f"num_iterations = {num_iterations} did not bring the optimality residual, {residual:.3g}, down to "
                f"tolerance = {tolerance:.3g}; raise num_iterations or tolerance",
                RuntimeWarning,
                stacklevel=3,
            )
    return state.code


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
    remaining = correlate(traces - synthesize(code, atoms), atoms)
    return _violation(code, remaining, regularization, nonnegative=nonnegative)


def _violation(
    code: Float[Tensor, "batch atom *shift"],
    correlation: Float[Tensor, "batch atom *shift"],
    regularization: Float[Tensor, " atom"],
    *,
    nonnegative: bool,
) -> Float[Tensor, " batch"]:
    """Return `optimality_residual`, given the correlation of the residual."""
    level = regularization.reshape(-1, *[1] * (code.ndim - 2))
    on_support = (correlation - level * code.sign()).abs()
    off_support = ((correlation if nonnegative else correlation.abs()) - level).clamp_min(0.0)
    violation = torch.where(code == 0, off_support, on_support)
    if nonnegative:
        violation = violation.masked_fill(code < 0, math.inf)
    return violation.flatten(1).amax(dim=1)


def _check_settings(
    regularization: Float[Tensor, " atom"],
    num_iterations: int,
    step_size: float | None,
) -> None:
    """Raise ValueError for numbers with which no iteration makes sense."""
    if num_iterations < 1:
        raise ValueError(f"num_iterations = {num_iterations}: it must be at least 1")
    if step_size is not None and not step_size > 0:
        raise ValueError(f"step_size = {step_size}: it must be positive; pass None to derive it from the atoms")
    if not bool((regularization >= 0).all()):
        raise ValueError(
            f"regularization = {regularization.tolist()}: every value must be zero or more; "
            "4 standard deviations of the correlation map is a good start"
        )


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
