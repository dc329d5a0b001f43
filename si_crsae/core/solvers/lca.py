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

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.priors import Prior, StepSize
from si_crsae.core.solvers.problems import Problem, per_window


@dataclass(frozen=True, slots=True, kw_only=True)
class LcaState:
    """What one moment hands to the next.

    Parameters
    ----------
    potential : Tensor, shape (batch, atom, ...)
        Membrane potentials ``u``.
    rate : float or Tensor of shape (batch,)
        Time step over time constant, ``dt / tau``.
    """

    potential: Float[Tensor, "batch atom *shift"]
    rate: StepSize


@dataclass(frozen=True, slots=True, kw_only=True)
class Lca:
    """All coefficients move, as neurons that inhibit each other: the locally competitive algorithm.

    Parameters
    ----------
    tolerance : float, default: None
        If given, stop once no potential is further than this from where it is driven to: a bound on the violation of
        the optimality conditions.
    rate : float, default: None
        Time step over time constant, above 0 and at most 1. If None, the step size of the problem, or 1 if that is
        less: with a larger one the potentials may oscillate.
    """

    problem_kind: ClassVar[type] = object
    prior_kind: ClassVar[type] = object
    tolerance: float | None = None
    rate: float | None = None

    def __post_init__(self) -> None:
        """Refuse a rate with which time stands still or runs too fast."""
        if self.rate is not None and not 0 < self.rate <= 1:
            raise ValueError(f"rate = {self.rate}: it must be above 0 and at most 1, time step over time constant")

    def init(self, problem: Problem, prior: Prior) -> LcaState:
        """Return potentials of zero."""
        rate = problem.step_size() if self.rate is None else self.rate
        rate = rate.clamp_max(1.0) if isinstance(rate, Tensor) else min(rate, 1.0)
        return LcaState(potential=problem.empty_code(), rate=rate)

    def step(self, problem: Problem, prior: Prior, state: LcaState) -> LcaState:
        """Return the potentials a moment later: Euler's step of the dynamics."""
        rate = per_window(state.rate, state.potential) if isinstance(state.rate, Tensor) else state.rate
        return replace(state, potential=torch.lerp(state.potential, _goal(problem, prior, state), rate))

    @torch.no_grad()
    def distance(self, problem: Problem, prior: Prior, state: LcaState) -> float:
        """Return how far the potentials are from where they are driven to."""
        return float((_goal(problem, prior, state) - state.potential).abs().max())

    def code(self, problem: Problem, prior: Prior, state: LcaState) -> Float[Tensor, "batch atom *shift"]:
        """Return what the potentials make fire."""
        return prior.activation(state.potential, 1.0)


def _goal(problem: Problem, prior: Prior, state: LcaState) -> Tensor:
    """Return where the potentials are driven to, ``H^T (y - H a) + a``."""
    code = prior.activation(state.potential, 1.0)
    return code + problem.descent_direction(code)
