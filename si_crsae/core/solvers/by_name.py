"""The solvers of the sparse code: one objective, one interface.

All minimize ``1/2 ||traces - synthesize(code)||^2 + sum_c lambda_c ||code_c||_1`` for a dictionary of unit-norm atoms.
"""

from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.compiled import HAS_NUMBA
from si_crsae.core.operators.convolution import correlate, synthesize
from si_crsae.core.operators.gram import Gram
from si_crsae.core.priors import Sparse
from si_crsae.core.solvers.descent import descend
from si_crsae.core.solvers.dynamics import WholeMapSolver, solve_whole_map
from si_crsae.core.solvers.fista import safe_step_size
from si_crsae.core.solvers.parallel import PaddedGram, descend_in_parallel
from si_crsae.core.types import Dictionary

SolverName = Literal["auto", "descent", "parallel", "fista", "lca"]


@runtime_checkable
class Solver(Protocol):
    """Finds the code behind a correlation map."""

    def solve(
        self, correlation: Float[Tensor, "atom shift"], thresholds: Float[Tensor, "atom sign"], *, tolerance: float
    ) -> Float[Tensor, "atom shift"]:
        """Return the minimizer of the objective.

        Parameters
        ----------
        correlation : Tensor, shape (atom, shift)
            ``correlate(traces, atoms)``; left as it was.
        thresholds : Tensor, shape (atom, 2)
            Lambda of each atom for positive and for negative coefficients; inf for the sign that is not allowed, and
            for both to take an atom out.
        tolerance : float
            No coefficient is further than this from its minimum, the others fixed.

        Returns
        -------
        Tensor, shape (atom, shift)
            Exactly sparse.
        """
        ...


class Descent:
    """Greedy coordinate descent, one coefficient after the other, compiled: for a CPU."""

    def __init__(self, gram: Gram) -> None:
        self.gram = gram

    def solve(
        self, correlation: Float[Tensor, "atom shift"], thresholds: Float[Tensor, "atom sign"], *, tolerance: float
    ) -> Float[Tensor, "atom shift"]:
        """Return the minimizer of the objective; see `Solver`."""
        gram = self.gram
        residual = correlation.cpu().numpy().copy()
        code, _ = descend(
            residual,
            thresholds.cpu().numpy(),
            gram.values,
            gram.neighbors,
            gram.neighbor_start,
            np.float32(tolerance),
            np.iinfo(np.int64).max,
        )
        return torch.from_numpy(code).to(correlation.device)


class ParallelDescent:
    """Greedy coordinate descent at many places at a time, in torch: for a GPU, and where numba cannot be had."""

    def __init__(self, gram: Gram, *, device: torch.device) -> None:
        self.gram = PaddedGram.of(gram, device=device)

    def solve(
        self, correlation: Float[Tensor, "atom shift"], thresholds: Float[Tensor, "atom sign"], *, tolerance: float
    ) -> Float[Tensor, "atom shift"]:
        """Return the minimizer of the objective; see `Solver`."""
        return descend_in_parallel(correlation, thresholds, self.gram, tolerance=tolerance)


class WholeMap:
    """A solver that moves all coefficients at once and needs no Gram: the reference, slow where spikes are sparse."""

    def __init__(self, dictionary: Dictionary, name: WholeMapSolver, *, device: torch.device) -> None:
        self.name: WholeMapSolver = name
        self.atoms = dictionary.atoms.to(device)
        self.step_size = safe_step_size(dictionary.atoms) if dictionary.num_atoms else 1.0

    def solve(
        self, correlation: Float[Tensor, "atom shift"], thresholds: Float[Tensor, "atom sign"], *, tolerance: float
    ) -> Float[Tensor, "atom shift"]:
        """Return the minimizer of the objective; see `Solver`.

        Raises
        ------
        ValueError
            If negative coefficients are allowed for some atoms only, or at another lambda than positive ones.
        """
        nonnegative = bool(thresholds[:, 1].isinf().all())
        if not nonnegative and not torch.equal(thresholds[:, 0], thresholds[:, 1]):
            raise ValueError(
                f"thresholds = {thresholds.tolist()}: {self.name} has one lambda for both signs, or none negative"
            )
        if len(correlation) == 0:
            return torch.zeros_like(correlation)

        def descent_direction(code: Tensor) -> Tensor:
            return correlation - correlate(synthesize(code, self.atoms), self.atoms)

        return solve_whole_map(
            self.name,
            descent_direction,
            Sparse(regularization=thresholds[:, 0], nonnegative=nonnegative),
            like=correlation[None],
            step_size=self.step_size,
            tolerance=tolerance,
        )[0]


def make_solver(name: SolverName, dictionary: Dictionary, gram: Gram, *, device: torch.device) -> Solver:
    """Return a solver for the codes of a dictionary.

    Parameters
    ----------
    name : {"auto", "descent", "parallel", "fista", "lca"}
        "auto" is "descent" on a CPU where numba is installed, else "parallel".
    dictionary : Dictionary
    gram : Gram
        ``Gram.of(dictionary)``.
    device : torch.device
        Where the correlation maps will be.

    Returns
    -------
    Solver

    Raises
    ------
    ValueError
        If there is no solver of that name.
    """
    if name == "auto":
        name = "descent" if HAS_NUMBA and device.type == "cpu" else "parallel"
    if name == "descent":
        return Descent(gram)
    if name == "parallel":
        return ParallelDescent(gram, device=device)
    if name in ("fista", "lca"):
        return WholeMap(dictionary, name, device=device)
    raise ValueError(f"solver = {name!r}: it must be auto, descent, parallel, fista or lca")
