"""The exact code of many short windows."""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.compiled import compile_loops
from si_crsae.core.operators.convolution import atom_correlations, correlate
from si_crsae.core.priors import Sparse
from si_crsae.core.solvers.descent import MAX_UPDATES_PER_COEFFICIENT, RESOLUTION, descend
from si_crsae.core.solvers.vectors import descend_vectors
from si_crsae.core.threads import WINDOWS_PER_TASK, in_threads

_VECTORS_PER_TASK = 512


def solve_windows(
    traces: Float[Tensor, "batch channel sample"],
    atoms: Float[Tensor, "atom channel width"],
    regularization: Float[Tensor, " atom"],
    *,
    tolerance: float,
    nonnegative: bool = False,
) -> Float[Tensor, "batch atom shift"]:
    """Return the code of every window: the minimizer of `objective`, by greedy coordinate descent on a CPU.

    Parameters
    ----------
    traces : Tensor, shape (batch, channel, sample)
        Whitened traces, float32.
    atoms : Tensor, shape (atom, channel, width)
        Dictionary of unit-norm atoms.
    regularization : Tensor, shape (atom,)
        Non-negative weight of the l1 norm of each atom's code.
    tolerance : float
        No coefficient is further than this from its minimum, the others fixed. At least 1e-5 of the largest correlation
        of each window, the resolution of float32. Where rounding keeps a descent going, as it may near that resolution
        or without a penalty, it is cut short.
    nonnegative : bool, default: False
        If True, the code is kept at or above zero.

    Returns
    -------
    Tensor, shape (batch, atom, shift)
        Exactly sparse; carries no gradient.

    Raises
    ------
    ValueError
        If the traces are NaN or infinite, or an atom has not norm 1: the descent would never end.
    """
    if not bool(((atoms.detach().flatten(1).norm(dim=1) - 1).abs() < 1e-3).all()):
        raise ValueError("atoms: each must have norm 1, see with_unit_norm")
    prior = Sparse(regularization=regularization.detach().float(), nonnegative=nonnegative)
    with torch.no_grad():
        maps, gram = correlate(traces, atoms), atom_correlations(atoms)
        return descend_windows(maps, gram, prior.thresholds, tolerance=tolerance)


@torch.no_grad()
def descend_windows(
    correlation: Float[Tensor, "batch atom shift"],
    gram: Float[Tensor, "atom atom lag"],
    thresholds: Float[Tensor, "atom sign"],
    *,
    tolerance: float,
) -> Float[Tensor, "batch atom shift"]:
    """Return the code of every window from its correlation map, by greedy coordinate descent on a CPU.

    Parameters
    ----------
    correlation : Tensor, shape (batch, atom, shift)
        Correlation of the traces with unit-norm atoms, float32; left as it was.
    gram : Tensor, shape (atom, atom, lag)
        ``atom_correlations`` of the atoms, or a sum of such with ones at lag zero of each atom with itself.
    thresholds : Tensor, shape (atom, 2)
        Lambda of each atom for positive and for negative coefficients; inf for the sign that is not allowed, and for
        both to take an atom out.
    tolerance : float
        As for `solve_windows`.

    Returns
    -------
    Tensor, shape (batch, atom, shift)
        Exactly sparse; on the device of `correlation`.

    Raises
    ------
    ValueError
        If the correlation is NaN or infinite: the descent would never end.
    """
    maps = correlation.cpu().numpy().copy()
    levels = thresholds.cpu().numpy()
    largest = np.abs(maps).max(axis=(1, 2), initial=0.0)
    if not np.isfinite(largest).all():
        raise ValueError("the correlation is NaN or infinite: replace such traces, with zeros for instance")
    accuracy = np.maximum(np.float32(tolerance), np.float32(RESOLUTION) * largest)
    codes = np.zeros_like(maps)
    if maps.shape[2] == 1:
        rows = gram[:, :, gram.shape[2] // 2].contiguous().cpu().numpy()

        def solve(windows: slice) -> None:
            descend_vectors(maps[windows, :, 0], levels, rows, accuracy[windows], codes[windows, :, 0])

        per_task = _VECTORS_PER_TASK
    else:
        pairs = gram.flatten(0, 1).contiguous().cpu().numpy()
        neighbors = np.tile(np.arange(len(gram)), len(gram))
        starts = np.arange(len(gram) + 1) * len(gram)

        def solve(windows: slice) -> None:
            _descend_each(maps[windows], levels, pairs, neighbors, starts, accuracy[windows], codes[windows])

        per_task = WINDOWS_PER_TASK
    list(in_threads(solve, len(maps), per_task=per_task))
    return torch.from_numpy(codes).to(correlation.device)


@compile_loops()
@no_type_check
def _descend_each(maps, thresholds, pairs, neighbors, starts, tolerances, codes):
    """Fill the codes of windows that do not meet; the maps are left with what the codes leave."""
    for window in range(len(maps)):
        most = MAX_UPDATES_PER_COEFFICIENT * maps[window].size
        code, _ = descend(maps[window], thresholds, pairs, neighbors, starts, tolerances[window], most)
        codes[window] = code
