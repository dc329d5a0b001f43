"""The exact code of many short windows."""

import math
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.compiled import compile_loops
from si_crsae.core.convolution import atom_correlations, correlate
from si_crsae.core.descent import descend
from si_crsae.core.threads import in_threads

# Of the largest correlation: what float32 cannot settle, however long the descent goes on.
_RESOLUTION = 1e-5
# Where rounding hands the same spike to and fro forever; a descent that ends takes far fewer.
_MAX_UPDATES_PER_COEFFICIENT = 100


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
        Of the code: no coefficient is further than this from its minimum, the others fixed. At least 1e-5 of the
        largest correlation, the resolution of float32. Where rounding keeps a descent going, as it may near that
        resolution or without a penalty, it is cut short.
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
    with torch.no_grad():
        maps = correlate(traces, atoms).numpy()
        pairs = atom_correlations(atoms).flatten(0, 1).contiguous().numpy()
    largest = float(np.abs(maps).max(initial=0.0))
    if not math.isfinite(largest):
        raise ValueError("traces are NaN or infinite: replace them, with zeros for instance")
    if not bool(((atoms.detach().flatten(1).norm(dim=1) - 1).abs() < 1e-3).all()):
        raise ValueError("atoms: each must have norm 1, see with_unit_norm")
    accuracy = np.float32(max(tolerance, _RESOLUTION * largest))
    level = regularization.detach().numpy().astype("float32")
    thresholds = np.stack([level, np.full_like(level, np.inf) if nonnegative else level], axis=1)
    num_atoms = len(atoms)
    neighbors = np.tile(np.arange(num_atoms), num_atoms)
    starts = np.arange(num_atoms + 1) * num_atoms
    codes = np.empty_like(maps)

    def solve(windows: slice) -> None:
        _descend_each(maps[windows], thresholds, pairs, neighbors, starts, accuracy, codes[windows])

    list(in_threads(solve, len(maps)))
    return torch.from_numpy(codes)


@compile_loops()
@no_type_check
def _descend_each(maps, thresholds, pairs, neighbors, starts, tolerance, codes):
    """Fill the codes of windows that do not meet; the maps are left with what the codes leave."""
    for window in range(len(maps)):
        most = _MAX_UPDATES_PER_COEFFICIENT * maps[window].size
        code, _ = descend(maps[window], thresholds, pairs, neighbors, starts, tolerance, most)
        codes[window] = code
