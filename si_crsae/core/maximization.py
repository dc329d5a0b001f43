"""The M-step for the atoms: the least-squares dictionary of a code, in closed form."""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.compiled import compile_loops

# Added to the diagonal, relative to its mean: keeps two atoms apart that always fire together.
_RIDGE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalEquations:
    """Normal equations of the least-squares atoms of a code; those of two sets of windows add up.

    Parameters
    ----------
    products : ndarray, shape (atom, atom, 2 * width - 1)
        At ``[b, a, width - 1 + lag]`` the sum of ``code[b, n] * code[a, n + lag]`` over shifts and windows.
    averages : ndarray, shape (atom, channel, width)
        Sum of ``code[a, n] * traces[:, n:n + width]`` over shifts and windows.
    """

    products: Float[np.ndarray, "atom atom lag"]
    averages: Float[np.ndarray, "atom channel width"]

    def __add__(self, other: "NormalEquations") -> "NormalEquations":
        """Return the equations of the windows of both."""
        return NormalEquations(products=self.products + other.products, averages=self.averages + other.averages)


def normal_equations(
    code: Float[Tensor, "batch atom shift"], traces: Float[Tensor, "batch channel sample"]
) -> NormalEquations:
    """Return the normal equations of the atoms that explain some traces best at a fixed code.

    Parameters
    ----------
    code : Tensor, shape (batch, atom, shift)
        Mostly zero: time grows with what is not.
    traces : Tensor, shape (batch, channel, sample)
        What the code stands for; ``width = sample - shift + 1``.

    Returns
    -------
    NormalEquations
        In float64.
    """
    num_atoms, width = code.shape[1], traces.shape[2] - code.shape[2] + 1
    window, atom, shift = code.nonzero(as_tuple=True)  # ordered by window, atom and shift
    amplitude = code[window, atom, shift].double()
    starts = torch.searchsorted(window * num_atoms + atom, torch.arange(len(code) * num_atoms + 1, device=code.device))
    products = np.zeros((num_atoms, num_atoms, 2 * width - 1))
    averages = np.zeros((num_atoms, traces.shape[1], width))
    seen, shifts, amplitudes, begins = (tensor.cpu().numpy() for tensor in (traces, shift, amplitude, starts))
    _accumulate(seen, shifts, amplitudes, begins, products, averages)
    return NormalEquations(products=products, averages=averages)


def update_atoms(
    equations: NormalEquations, atoms: Float[Tensor, "atom channel width"]
) -> Float[Tensor, "atom channel width"]:
    """Return the unit-norm atoms that explain the traces best at a fixed code: Eq. 19 of [1]_.

    The least-squares atoms are found together, so that overlapping events are shared out, and then scaled to norm 1.

    Parameters
    ----------
    equations : NormalEquations
        Made of the code and the traces.
    atoms : Tensor, shape (atom, channel, width)
        The atoms so far, which those without a code keep.

    Returns
    -------
    Tensor, shape (atom, channel, width)
        With the dtype of `atoms`.

    References
    ----------
    .. [1] Tolooshams, Dey and Ba, "Deep residual auto-encoders for expectation maximization-based dictionary
       learning", IEEE TNNLS, 2021, Eq. 19.
    """
    num_atoms, num_channels, width = atoms.shape
    is_used = np.diagonal(equations.products)[width - 1] > 0
    if not is_used.any():
        return atoms
    lag = np.arange(width)[:, None] - np.arange(width)[None, :] + width - 1
    blocks = equations.products[np.ix_(is_used, is_used)].transpose(1, 0, 2)[:, :, lag.T]
    num_unknowns = int(is_used.sum()) * width
    normal = blocks.transpose(0, 2, 1, 3).reshape(num_unknowns, num_unknowns)
    ridge = _RIDGE * np.trace(normal) / num_unknowns
    normal[np.diag_indices(num_unknowns)] += ridge
    current = atoms.detach().double().cpu().numpy()[is_used]
    targets = (equations.averages[is_used] + ridge * current).transpose(0, 2, 1).reshape(num_unknowns, num_channels)
    solved = np.linalg.solve(normal, targets).reshape(-1, width, num_channels).transpose(0, 2, 1)
    updated = atoms.detach().clone()
    scaled = solved / np.linalg.norm(solved, axis=(1, 2), keepdims=True)
    updated[torch.from_numpy(is_used)] = torch.from_numpy(scaled).to(atoms)
    return updated


@compile_loops()
@no_type_check
def _accumulate(traces, shift, amplitude, bounds, products, averages):
    """Add up products and averages; `bounds` tells where the events of each window and atom begin."""
    num_atoms, _, width = averages.shape
    for row in range(bounds.size - 1):
        window, atom = row // num_atoms, row % num_atoms
        for event in range(bounds[row], bounds[row + 1]):
            averages[atom] += amplitude[event] * traces[window, :, shift[event] : shift[event] + width]
        for other in range(num_atoms):
            begin = bounds[window * num_atoms + other]
            end = bounds[window * num_atoms + other + 1]
            for event in range(bounds[row], bounds[row + 1]):
                while begin < end and shift[begin] <= shift[event] - width:
                    begin += 1
                partner = begin
                while partner < end and shift[partner] < shift[event] + width:
                    lag = shift[partner] - shift[event] + width - 1
                    products[atom, other, lag] += amplitude[event] * amplitude[partner]
                    partner += 1
