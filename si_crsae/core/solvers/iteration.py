"""Steps of a solver, taken until they move nothing any more."""

import math
import warnings
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor

from si_crsae.core.checks import check_at_least_one
from si_crsae.core.priors import Prior
from si_crsae.core.solvers.problems import Problem

MAX_ITERATIONS = 100_000
# Measuring the distance costs as much as a step; every tenth step it costs a tenth of the time.
_STEPS_PER_CHECK = 10


@runtime_checkable
class Solver(Protocol):
    """Frozen settings of a way to the minimum; what it has found so far is in a state that goes from step to step.

    To be found by name it must be one that `tolerance`, given by keyword, is enough to make.

    Attributes
    ----------
    problem_kind, prior_kind : type
        Problems and priors that it can have; ``object`` for all.
    """

    problem_kind: ClassVar[type]
    prior_kind: ClassVar[type]

    @property
    def tolerance(self) -> float | None:
        """Distance at which to stop; None for all iterations."""
        ...

    def init(self, problem: Any, prior: Any) -> Any:
        """Return the state before the first step."""
        ...

    def step(self, problem: Any, prior: Any, state: Any) -> Any:
        """Return the state after one more step, or the very state that was given if nothing is left to move."""
        ...

    def distance(self, problem: Any, prior: Any, state: Any) -> float:
        """Return how far the optimality conditions are violated, in the unit of the regularization."""
        ...

    def code(self, problem: Any, prior: Any, state: Any) -> Tensor:
        """Return the code that a state holds, exactly sparse."""
        ...


def iterate(
    solver: Solver, problem: Problem, prior: Prior, *, num_iterations: int = MAX_ITERATIONS, state: Any = None
) -> Tensor:
    """Return the code after some steps of a solver.

    Every step stays in the autograd graph if the solver is one that can be differentiated, as `Fista` is.

    Parameters
    ----------
    solver : Solver
        Its `tolerance` ends the iteration, looked at every 10 steps; without one, all steps are made.
    problem : Problem
    prior : Prior
    num_iterations : int, default: 100,000
        Steps, at least 1; with a tolerance, the most that are made.
    state : default: None
        Where to start, such as ``FistaState.at(code, step_size=...)``; if None, at the zero code.

    Returns
    -------
    Tensor, shape (batch, atom, ...)

    Raises
    ------
    ValueError
        If there is to be no step, the solver cannot have the problem or the prior, or it comes to NaN.

    Warns
    -----
    RuntimeWarning
        If there is a tolerance and `num_iterations` did not suffice.

    Examples
    --------
    >>> import torch
    >>> from si_crsae.core import Lca, LinkedView, Quadratic, Sparse
    >>> view = LinkedView(atoms=torch.tensor([[[1.0], [0.0]], [[0.8], [0.6]]]))
    >>> problem = Quadratic.of([view], [torch.tensor([[[2.0], [0.0]]])])
    >>> prior = Sparse(regularization=torch.tensor([0.1, 0.1]), nonnegative=True)
    >>> iterate(Lca(tolerance=1e-4), problem, prior).round(decimals=3).flatten()
    tensor([1.9000, 0.0000])
    """
    check_at_least_one(num_iterations=num_iterations)
    for name, given, kind in (("problem", problem, solver.problem_kind), ("prior", prior, solver.prior_kind)):
        if not isinstance(given, kind):
            raise ValueError(
                f"{name} = {type(given).__name__}: {type(solver).__name__} needs {kind.__name__}; use Fista"
            )
    state = solver.init(problem, prior) if state is None else state
    for iteration in range(1, num_iterations + 1):
        before, state = state, solver.step(problem, prior, state)
        if state is before:
            break
        is_last = iteration == num_iterations
        if solver.tolerance is None or not (is_last or iteration % _STEPS_PER_CHECK == 0):
            continue
        reached = solver.distance(problem, prior, state)
        if math.isnan(reached):
            raise ValueError(
                f"{type(solver).__name__} came to NaN after {iteration} steps: the observations hold NaN or infinite "
                "values, or values too large for their type; replace them, with zeros for instance"
            )
        if reached <= solver.tolerance:
            break
        if is_last:
            warnings.warn(
                f"num_iterations = {num_iterations} did not bring the violation of the optimality conditions, "
                f"{reached:.3g}, down to tolerance = {solver.tolerance:.3g}; raise num_iterations or tolerance",
                RuntimeWarning,
                stacklevel=3,
            )
    return solver.code(problem, prior, state)
