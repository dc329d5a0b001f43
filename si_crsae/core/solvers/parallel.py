"""Greedy coordinate descent on the correlation map in torch operations: many places at a time, on any device."""

from copy import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.priors import Sparse
from si_crsae.core.solvers.maps import MapProblem, PaddedGram

SAMPLES_PER_WORD = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelDescent:
    """Every place that is the largest around it moves at once, in torch: for a GPU, and where numba cannot be had.

    Time is cut into stretches of two atom widths. In each round the coordinate that would move most is moved to its
    minimum in every stretch where it exceeds what its two neighboring stretches ask for. What is moved in one round is
    then more than two atoms apart: no write meets another, and the result is always the same. It is the one of
    `Descent`, up to the tolerance.

    Parameters
    ----------
    tolerance : float, default: None
        No coefficient is further than this from its minimum, the others fixed; if None, as near as rounding allows.

    References
    ----------
    .. [1] Moreau, Oudre and Vayatis, "DICOD: distributed convolutional coordinate descent for convolutional sparse
       coding", ICML 2018.
    """

    problem_kind: ClassVar[type] = MapProblem
    prior_kind: ClassVar[type] = Sparse
    tolerance: float | None = None

    def init(self, problem: MapProblem, prior: Sparse) -> "ParallelState":
        """Return the state at the zero code."""
        tolerance = problem.reachable_tolerance(self.tolerance or 0.0)
        thresholds = problem.solvable_thresholds(prior)
        return ParallelState(problem.correlation, thresholds, problem.dictionary.padded_gram, tolerance=tolerance)

    def step(self, problem: MapProblem, prior: Sparse, state: "ParallelState") -> "ParallelState":
        """Return the state after one more round, which takes over the memory of the one that was given."""
        return copy(state) if state.move_largest() else state

    def distance(self, problem: MapProblem, prior: Sparse, state: "ParallelState") -> float:
        """Return how far the furthest coefficient is from its minimum."""
        return float(state.steps.max())

    def code(self, problem: MapProblem, prior: Sparse, state: "ParallelState") -> Float[Tensor, "1 atom shift"]:
        """Return the code without what it was padded with."""
        num_atoms, num_shifts = problem.correlation.shape
        return state.code[None, :num_atoms, :num_shifts]


class ParallelState:
    """Residual correlation and code, padded: a row for atoms that are not there, an atom width on both sides."""

    def __init__(
        self,
        correlation: Float[Tensor, "atom shift"],
        thresholds: Float[Tensor, "atom sign"],
        gram: PaddedGram,
        *,
        tolerance: float,
    ) -> None:
        self.tolerance = tolerance
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

    def move_largest(self) -> bool:
        """Move one coefficient in every stretch that goes first; returns whether any moved."""
        step, atom = self.steps.max(dim=0)
        before = torch.nn.functional.pad(step[:-1], (1, 0))
        after = torch.nn.functional.pad(step[1:], (0, 1))
        stretch = ((step > self.tolerance) & (step > before) & (step >= after)).nonzero().flatten()
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
