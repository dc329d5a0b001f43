"""Greedy coordinate descent on the correlation map in torch operations: many places at a time, on any device."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from si_crsae.core.operators.gram import Gram

SAMPLES_PER_WORD = 32


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


def descend_in_parallel(
    correlation: Float[Tensor, "atom shift"],
    thresholds: Float[Tensor, "atom sign"],
    gram: PaddedGram,
    *,
    tolerance: float,
) -> Float[Tensor, "atom shift"]:
    """Return the minimizer that `descend` returns, up to the tolerance, found at many places at a time.

    Time is cut into stretches of two atom widths. In each round the coordinate that would move most is moved to its
    minimum in every stretch where it exceeds what its two neighboring stretches ask for. What is moved in one round is
    then more than two atoms apart: no write meets another, and the result is always the same.

    Parameters
    ----------
    correlation : Tensor, shape (atom, shift)
        ``correlate(traces, atoms)``, on the device of `gram`; left as it was.
    thresholds : Tensor, shape (atom, 2)
        Lambda of each atom for positive and for negative coefficients; inf for the sign that is not allowed.
    gram : PaddedGram
    tolerance : float
        Of the code: no coefficient is further than this from its minimum, the others fixed.

    Returns
    -------
    Tensor, shape (atom, shift)

    References
    ----------
    .. [1] Moreau, Oudre and Vayatis, "DICOD: distributed convolutional coordinate descent for convolutional sparse
       coding", ICML 2018.
    """
    num_atoms, num_shifts = correlation.shape
    if num_atoms == 0 or num_shifts == 0:
        return torch.zeros_like(correlation)
    state = _State(correlation, thresholds, gram)
    while state.move_largest(tolerance):
        pass
    return state.code[:num_atoms, :num_shifts]


class _State:
    """Residual correlation and code, padded: a row for atoms that are not there, an atom width on both sides."""

    def __init__(
        self, correlation: Float[Tensor, "atom shift"], thresholds: Float[Tensor, "atom sign"], gram: PaddedGram
    ) -> None:
        num_atoms, num_shifts = correlation.shape
        num_lags = gram.values.shape[2]
        self.gram, self.reach = gram, num_lags // 2
        self.length = SAMPLES_PER_WORD * -(-num_lags // SAMPLES_PER_WORD)
        num_stretches = -(-num_shifts // self.length) + 2  # an empty one at either end has no neighbor beyond
        padding = (self.length, (num_stretches - 1) * self.length - num_shifts, 0, 1)
        self.residual = torch.nn.functional.pad(correlation, padding)
        self.stretches = self.residual.unflatten(1, (num_stretches, self.length))
        self.padded_code = torch.zeros_like(self.stretches)
        absent = thresholds.new_full((1, 2), torch.inf)
        self.thresholds = torch.cat([thresholds, absent])
        self.within = torch.zeros(num_stretches * self.length, dtype=torch.bool, device=correlation.device)
        self.within[self.length : self.length + num_shifts] = True
        self.within = self.within.unflatten(0, (num_stretches, self.length))
        rows = torch.arange(num_atoms + 1, device=correlation.device)
        self.steps = self._moves(rows[:, None], torch.arange(num_stretches, device=rows.device)[None])[0].amax(dim=2)

    @property
    def code(self) -> Float[Tensor, "row shift"]:
        """The code without the empty stretch before it."""
        return self.padded_code[:, 1:].flatten(1)

    def _moves(self, rows: Tensor, stretches: Tensor) -> tuple[Tensor, Tensor]:
        """Return how far each coefficient of some rows and stretches is from its minimum, and that minimum."""
        code = self.padded_code[rows, stretches]
        value = self.stretches[rows, stretches] + code
        thresholds = self.thresholds[rows]
        wanted = (value - thresholds[..., :1]).clamp_min(0) + (value + thresholds[..., 1:]).clamp_max(0)
        return torch.where(self.within[stretches], (wanted - code).abs(), 0), wanted

    def move_largest(self, tolerance: float) -> bool:
        """Move one coefficient in every stretch that goes first; returns whether any moved."""
        step, atom = self.steps.max(dim=0)
        before = torch.nn.functional.pad(step[:-1], (1, 0))
        after = torch.nn.functional.pad(step[1:], (0, 1))
        stretch = ((step > tolerance) & (step > before) & (step >= after)).nonzero().flatten()
        if stretch.numel() == 0:
            return False
        atom = atom[stretch]
        moves, wanted = self._moves(atom, stretch)
        place = moves.argmax(dim=1)
        wanted = wanted.gather(1, place[:, None])[:, 0]
        change = wanted - self.padded_code[atom, stretch, place]
        self.padded_code[atom, stretch, place] = wanted
        neighbors = self.gram.neighbors[atom]
        lags = torch.arange(-self.reach, self.reach + 1, device=atom.device)
        window = (neighbors[:, :, None], (stretch * self.length + place)[:, None, None] + lags)
        self.residual[window] = self.residual[window] - change[:, None, None] * self.gram.values[atom]
        for near in (stretch - 1, stretch, stretch + 1):
            touched = (neighbors, near[:, None].expand_as(neighbors))
            self.steps[touched] = self._moves(*touched)[0].amax(dim=2)
        return True
