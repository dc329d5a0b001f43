"""Sparse codes behind correlation maps of a dictionary, one long map at a time: what the sorter solves."""

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from si_crsae.core.operators.convolution import correlate, synthesize
from si_crsae.core.operators.gram import Gram
from si_crsae.core.priors import Sparse
from si_crsae.core.solvers.descent import MAX_UPDATES_PER_COEFFICIENT, RESOLUTION, descend_further
from si_crsae.core.solvers.problems import safe_step_size
from si_crsae.core.types import Dictionary

# So many take well below a second, after which an interrupt is heard; what is found in fewer is found in one call.
UPDATES_PER_CALL = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedGram:
    """The Gram with as many neighbors for every atom, which torch can index.

    Parameters
    ----------
    neighbors : Tensor of int64, shape (atom, neighbor)
        Atoms that share a channel with each atom; filled up with the number of atoms.
    values : Tensor, shape (atom, neighbor, 2 * width - 1)
        Correlations at every lag; zero where filled up.
    """

    neighbors: Int[Tensor, "atom neighbor"]
    values: Float[Tensor, "atom neighbor lag"]

    @classmethod
    def of(cls, gram: Gram, *, device: torch.device) -> "PaddedGram":
        """Copy a Gram to a device."""
        counts = np.diff(gram.neighbor_start)
        num_atoms = counts.size
        position = np.arange(gram.neighbors.size) - np.repeat(gram.neighbor_start[:-1], counts)
        first = np.repeat(np.arange(num_atoms), counts)
        neighbors = np.full((num_atoms, counts.max(initial=1)), num_atoms, "int64")
        neighbors[first, position] = gram.neighbors
        values = np.zeros((*neighbors.shape, gram.values.shape[1]), "float32")
        values[first, position] = gram.values
        return cls(neighbors=torch.from_numpy(neighbors).to(device), values=torch.from_numpy(values).to(device))


@dataclass(frozen=True, kw_only=True)  # slots have no room for what is made once
class DictionaryOnDevice:
    """What the solvers need of a dictionary, whatever the map; each part is made once, when it is first asked for.

    Parameters
    ----------
    dictionary : Dictionary
    gram : Gram
        ``Gram.of(dictionary)``.
    device : torch.device
        Where the correlation maps are.
    """

    dictionary: Dictionary
    gram: Gram
    device: torch.device

    @cached_property
    def atoms(self) -> Float[Tensor, "atom channel width"]:
        """Atoms of the dictionary."""
        return self.dictionary.atoms.to(self.device)

    @cached_property
    def step_size(self) -> float:
        """Inverse of the Lipschitz constant."""
        return safe_step_size(self.dictionary.atoms)

    @cached_property
    def padded_gram(self) -> PaddedGram:
        """Gram that torch can index."""
        return PaddedGram.of(self.gram, device=self.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class MapProblem:
    """The least-squares problem of one long window: ``1/2 ||y - H x||^2``, with the traces in ``H^T y``.

    Parameters
    ----------
    correlation : Tensor, shape (atom, shift)
        ``correlate(traces, atoms)``; left as it was.
    dictionary : DictionaryOnDevice

    Raises
    ------
    ValueError
        If the correlation is NaN or infinite: no solver would end.
    """

    correlation: Float[Tensor, "atom shift"]
    dictionary: DictionaryOnDevice

    def __post_init__(self) -> None:
        """Refuse traces that are not finite: one sum tells, and one over all values says whether it overflowed."""
        if not bool(self.correlation.sum().isfinite()) and not bool(self.correlation.isfinite().all()):
            raise ValueError("the correlation is NaN or infinite: replace such traces, with zeros for instance")

    def empty_code(self) -> Float[Tensor, "1 atom shift"]:
        """Return the zero code."""
        return torch.zeros_like(self.correlation)[None]

    def descent_direction(self, code: Float[Tensor, "1 atom shift"]) -> Float[Tensor, "one atom shift"]:
        """Return minus the gradient at a code."""
        return self.correlation - correlate(synthesize(code, self.dictionary.atoms), self.dictionary.atoms)

    def step_size(self) -> float:
        """Return the inverse of the Lipschitz constant."""
        return self.dictionary.step_size

    def solvable_thresholds(self, prior: Sparse) -> Float[Tensor, "atom sign"]:
        """Return the thresholds of a prior, which a descent needs above zero to come to an end.

        Raises
        ------
        ValueError
            If a lambda is zero, or too small for float32, or NaN.
        """
        thresholds = prior.thresholds.to(self.correlation)
        if not bool((thresholds > 0).all()):
            raise ValueError(
                f"regularization = {float(thresholds.min()):g}: a descent needs a lambda above zero for every atom; "
                "raise it, or use inf to take an atom out"
            )
        return thresholds

    def reachable_tolerance(self, tolerance: float) -> float:
        """Return a tolerance no finer than float32 can tell beside the largest correlation."""
        largest = float(self.correlation.abs().max()) if self.correlation.numel() else 0.0
        return max(tolerance, RESOLUTION * largest)

    def descend(self, prior: Sparse, *, tolerance: float) -> Float[Tensor, "1 atom shift"]:
        """Return the minimizer by greedy coordinate descent, on the CPU.

        Warns
        -----
        RuntimeWarning
            If the descent was cut short.
        """
        thresholds, gram = self.solvable_thresholds(prior).cpu().numpy(), self.dictionary.gram
        residual = self.correlation.cpu().numpy().copy()
        code, reachable = np.zeros_like(residual), np.float32(self.reachable_tolerance(tolerance))
        shared = gram.values, gram.neighbors, gram.neighbor_start, reachable, UPDATES_PER_CALL
        for _ in range(MAX_UPDATES_PER_COEFFICIENT * code.size // UPDATES_PER_CALL + 1):
            if descend_further(residual, code, thresholds, *shared) < UPDATES_PER_CALL:
                break
        else:
            warnings.warn(
                f"the descent was cut short before its tolerance = {reachable:.3g} was met: raise the regularization",
                RuntimeWarning,
                stacklevel=2,
            )
        return torch.from_numpy(code).to(self.correlation.device)[None]
