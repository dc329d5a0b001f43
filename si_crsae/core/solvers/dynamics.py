"""The solvers that move all coefficients at once: proximal gradient with momentum, and the dynamics of neurons."""

from typing import Literal

import torch
from torch import Tensor

from si_crsae.core.priors import Prior
from si_crsae.core.solvers.fista import DescentDirection, FistaState, fista_iterate
from si_crsae.core.solvers.lca import lca_iterate

WholeMapSolver = Literal["fista", "lca"]
MAX_ITERATIONS = 100_000


def solve_whole_map(
    name: WholeMapSolver,
    descent_direction: DescentDirection,
    prior: Prior,
    *,
    like: Tensor,
    step_size: float,
    num_iterations: int = MAX_ITERATIONS,
    tolerance: float | None,
) -> Tensor:
    """Return the code that one of the solvers ends at from zero.

    Parameters
    ----------
    name : {"fista", "lca"}
    descent_direction : callable
        Returns minus the gradient, without the penalty, at a code.
    prior : Prior
    like : Tensor, shape (batch, atom, ...)
        Of the code's shape, type and device.
    step_size : float
        At most the inverse of the Lipschitz constant of the gradient.
    num_iterations : int, default: 100,000
        At most; all of them without a tolerance.
    tolerance : float or None
        How far the optimality conditions may be violated, in the unit of the regularization.

    Returns
    -------
    Tensor, shape (batch, atom, ...)
    """
    start = torch.zeros_like(like)
    if name == "fista":
        state = FistaState(code=start, extrapolated_code=start, momentum=1.0)
        return fista_iterate(
            state, descent_direction, prior, num_iterations=num_iterations, tolerance=tolerance, step_size=step_size
        )
    rate = min(step_size, 1.0)
    return lca_iterate(start, descent_direction, prior, rate=rate, num_iterations=num_iterations, tolerance=tolerance)
