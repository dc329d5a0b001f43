"""The locally competitive algorithm: neurons that charge with what drives them, inhibited by those that fire.

Every coefficient of a code has a membrane potential ``u``. With the atoms ``H``, traces ``y`` and the activation ``T``
of a prior [1]_,

    tau du/dt = -u + H^T (y - H a) + a,    a = T(u)

Where it rests, the code is the minimizer of ``1/2 ||y - H a||^2 + penalty(a)`` for the Lasso, whose ``T`` is the soft
threshold, and a local one for the count of non-zeros, whose ``T`` is the hard threshold.

References
----------
.. [1] Rozell, Johnson, Baraniuk and Olshausen, "Sparse coding via thresholding and local competition in neural
   circuits", Neural Computation 20, 2008.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.priors import Prior
from si_crsae.core.solvers.fista import DescentDirection
from si_crsae.core.solvers.iteration import iterate


def lca_step(
    potential: Float[Tensor, "batch atom *shift"],
    descent_direction: DescentDirection,
    prior: Prior,
    *,
    rate: float,
) -> Float[Tensor, "batch atom *shift"]:
    """Return the potentials a moment later: Euler's step of the dynamics.

    Parameters
    ----------
    potential : Tensor, shape (batch, atom, ...)
        ``u``; left as it was.
    descent_direction : callable
        Returns ``H^T (y - H a)`` at a code ``a``.
    prior : Prior
        Whose activation, at a step size of 1, is ``T``.
    rate : float
        ``dt / tau``, from 0 to 1. At most the inverse of the largest eigenvalue of ``H^T H``, else the potentials may
        oscillate.

    Returns
    -------
    Tensor, shape (batch, atom, ...)
    """
    code = prior.activation(potential, 1.0)
    return torch.lerp(potential, code + descent_direction(code), rate)


def lca_iterate(
    potential: Float[Tensor, "batch atom *shift"],
    descent_direction: DescentDirection,
    prior: Prior,
    *,
    rate: float,
    num_iterations: int,
    tolerance: float | None = None,
) -> Float[Tensor, "batch atom *shift"]:
    """Return the code once the potentials have come to rest, or after some iterations.

    Parameters
    ----------
    potential : Tensor, shape (batch, atom, ...)
        Where to start: zeros, or what is left of the window before.
    descent_direction, prior, rate
        As for `lca_step`.
    num_iterations : int
        At least 1; with a tolerance, the most that are made.
    tolerance : float, default: None
        If given, stop once no potential is further than this from where it is driven to: a bound on the violation of
        the optimality conditions, in the unit of the regularization. It is looked at every 10 iterations.

    Returns
    -------
    Tensor, shape (batch, atom, ...)
        Exactly sparse.

    Raises
    ------
    ValueError
        If a number is out of range.

    Warns
    -----
    RuntimeWarning
        If a tolerance was given and `num_iterations` did not suffice.

    Examples
    --------
    >>> import torch
    >>> from si_crsae.core.priors import Sparse
    >>> drive, gram = torch.tensor([[[2.0], [1.5]]]), torch.tensor([[1.0, 0.8], [0.8, 1.0]])
    >>> prior = Sparse(regularization=torch.tensor([0.1, 0.1]), nonnegative=True)
    >>> code = lca_iterate(
    ...     torch.zeros(1, 2, 1), lambda code: drive - gram @ code, prior, rate=0.5, num_iterations=100
    ... )
    >>> code.round(decimals=3).flatten()
    tensor([1.9000, 0.0000])
    """
    if not 0 < rate <= 1:
        raise ValueError(f"rate = {rate}: it must be above 0 and at most 1, time step over time constant")

    def step(current: Tensor) -> Tensor:
        return lca_step(current, descent_direction, prior, rate=rate)

    def distance(current: Tensor) -> float:
        return float((lca_step(current, descent_direction, prior, rate=1.0) - current).abs().max())

    rested = iterate(
        potential,
        step,
        distance,
        num_iterations=num_iterations,
        tolerance=tolerance,
        quantity="the potentials' distance from rest",
    )
    return prior.activation(rested, 1.0)
