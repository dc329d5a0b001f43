"""What a solver minimizes: the smooth part of an objective, to which a prior adds its penalty."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.operators.convolution import correlate, count_shifts, lipschitz_bound, synthesize
from si_crsae.core.priors import Prior, StepSize


@runtime_checkable
class Problem(Protocol):
    """The smooth part of the objective of some windows, as a function of their codes."""

    def empty_code(self) -> Float[Tensor, "batch atom *shift"]:
        """Return the zero code, of the shape, type and device of all codes."""
        ...

    def descent_direction(self, code: Float[Tensor, "batch atom *shift"]) -> Float[Tensor, "batch atom *shift"]:
        """Return minus the gradient at a code."""
        ...

    def step_size(self) -> StepSize:
        """Return the inverse of a Lipschitz constant of the gradient: the largest step that is sure to converge."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolutional:
    """Traces or images as sums of convolutions: ``1/2 ||y - sum_c h_c * x_c||^2``.

    Parameters
    ----------
    traces : Tensor, shape (batch, channel, ...)
        Whitened traces.
    atoms : Tensor, shape (atom, channel, ...)
        Dictionary, in whitened units.
    analysis_atoms : Tensor, shape (atom, channel, ...), default: None
        Filters that the residual is correlated with; if None, the atoms, as the gradient has it.
    """

    traces: Float[Tensor, "batch channel *sample"]
    atoms: Float[Tensor, "atom channel *width"]
    analysis_atoms: Float[Tensor, "atom channel *width"] | None = None

    def empty_code(self) -> Float[Tensor, "batch atom *shift"]:
        """Return the zero code, or raise ValueError if the traces are shorter than the atoms."""
        sizes = zip(self.traces.shape[2:], self.atoms.shape[2:], strict=True)
        shifts = [count_shifts(num_samples, width=width) for num_samples, width in sizes]
        return self.traces.new_zeros(len(self.traces), len(self.atoms), *shifts)

    def descent_direction(self, code: Float[Tensor, "batch atom *shift"]) -> Float[Tensor, "batch atom *shift"]:
        """Return the correlation of the residual."""
        filters = self.atoms if self.analysis_atoms is None else self.analysis_atoms
        return correlate(self.traces - synthesize(code, self.atoms), filters)

    def step_size(self) -> float:
        """Return `safe_step_size` of the atoms, a constant for the gradient: it moves the path, not the minimizer."""
        return safe_step_size(self.atoms)


def safe_step_size(atoms: Float[Tensor, "atom channel *width"]) -> float:
    """Return the largest step size with which a proximal gradient is sure to converge.

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


def proximal_step(problem: Problem, prior: Prior, code: Tensor, step_size: StepSize) -> Tensor:
    """Return where one step along the descent direction and the activation of the prior take a code."""
    direction = problem.descent_direction(code)
    # In one pass over memory each.
    if isinstance(step_size, Tensor):
        moved = torch.addcmul(code, per_window(step_size, code), direction)
    else:
        moved = torch.add(code, direction, alpha=step_size)
    return prior.activation(moved, step_size)


@torch.no_grad()
def proximal_distance(problem: Problem, prior: Prior, code: Tensor, step_size: StepSize) -> float:
    """Return how far one proximal step moves any coefficient, divided by the step size: zero at the minimizer.

    On the support of the code it is the violation of the optimality conditions, in the unit of the regularization.
    """
    moved = proximal_step(problem, prior, code, step_size) - code
    return float((moved.abs().flatten(1).amax(dim=1) / step_size).max())


def per_window(values: Float[Tensor, " batch"], code: Tensor) -> Tensor:
    """Return one value per window so that it broadcasts to the code."""
    return values.reshape(-1, *[1] * (code.ndim - 1))
