"""Greedy coordinate descent as a solver: for problems that know how their atoms overlap."""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from si_crsae.core.priors import Sparse
from si_crsae.core.solvers.problems import Problem, proximal_distance


@runtime_checkable
class Descendable(Protocol):
    """A least-squares problem that knows the correlations of its atoms."""

    def descend(self, prior: Sparse, *, tolerance: float) -> Float[Tensor, "batch atom shift"]:
        """Return the minimizer, no coefficient further than the tolerance from its own, the others fixed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """One place after the other moves, compiled by numba: for a CPU.

    The descent ends by itself: it is one step.

    Parameters
    ----------
    tolerance : float, default: None
        No coefficient is further than this from its minimum, the others fixed, for atoms of norm 1; if None, as near
        as float32 can tell.
    """

    problem_kind: ClassVar[type] = Descendable
    prior_kind: ClassVar[type] = Sparse
    tolerance: float | None = None

    def init(self, problem: Descendable, prior: Sparse) -> None:
        """Return None: no code yet."""

    def step(
        self, problem: Descendable, prior: Sparse, state: Float[Tensor, "batch atom shift"] | None
    ) -> Float[Tensor, "batch atom shift"]:
        """Return the minimizer, found by `descend`."""
        return problem.descend(prior, tolerance=self.tolerance or 0.0) if state is None else state

    def distance(self, problem: Problem, prior: Sparse, state: Float[Tensor, "batch atom shift"]) -> float:
        """Return the violation of the optimality conditions, for atoms of norm 1."""
        return proximal_distance(problem, prior, state, 1.0)

    def code(
        self, problem: Descendable, prior: Sparse, state: Float[Tensor, "batch atom shift"]
    ) -> Float[Tensor, "batch atom shift"]:
        """Return the state."""
        return state
