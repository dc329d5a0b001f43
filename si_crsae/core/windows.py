"""The exact code of many short windows."""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.compiled import compile_loops
from si_crsae.core.convolution import atom_correlations, correlate
from si_crsae.core.descent import descend
from si_crsae.core.unrolled import in_threads


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
        Of the code: no coefficient is further than this from its minimum, the others fixed.
    nonnegative : bool, default: False
        If True, the code is kept at or above zero.

    Returns
    -------
    Tensor, shape (batch, atom, shift)
        Exactly sparse; carries no gradient.
    """
    with torch.no_grad():
        maps = correlate(traces, atoms).numpy()
        pairs = atom_correlations(atoms).flatten(0, 1).contiguous().numpy()
    level = regularization.detach().numpy().astype("float32")
    thresholds = np.stack([level, np.full_like(level, np.inf) if nonnegative else level], axis=1)
    num_atoms = len(atoms)
    neighbors = np.tile(np.arange(num_atoms), num_atoms)
    starts = np.arange(num_atoms + 1) * num_atoms
    codes = np.empty_like(maps)

    def solve(windows: slice) -> None:
        _descend_each(maps[windows], thresholds, pairs, neighbors, starts, np.float32(tolerance), codes[windows])

    list(in_threads(solve, len(maps)))
    return torch.from_numpy(codes)


@compile_loops()
@no_type_check
def _descend_each(maps, thresholds, pairs, neighbors, starts, tolerance, codes):
    """Fill the codes of windows that do not meet; the maps are left with what the codes leave."""
    for window in range(len(maps)):
        code, _ = descend(maps[window], thresholds, pairs, neighbors, starts, tolerance, np.iinfo(np.int64).max)
        codes[window] = code
