"""Sparse codes behind a correlation map and a Gram: all that any number of linked dictionaries leave of their traces.

With the traces ``y_i`` and atoms ``H_i`` of view ``i`` and its weight ``w_i``, up to a constant,

    1/2 sum_i w_i ||y_i - H_i x||^2 = 1/2 x^T G x - b^T x,    b = sum_i w_i H_i^T y_i,    G = sum_i w_i H_i^T H_i

so that a solver sees one problem of one code, whatever the views are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from si_crsae.core.checks import check_at_least_one
from si_crsae.core.operators.convolution import atom_correlations, correlate, synthesize
from si_crsae.core.priors import Prior, Sparse
from si_crsae.core.solvers.by_name import find_solver
from si_crsae.core.solvers.iteration import MAX_ITERATIONS, iterate
from si_crsae.core.solvers.windows import descend_windows

# The bound of `lipschitz_bound` exceeds the true value by at most 1 / cos(pi / 16), that is 2 %.
_FREQUENCIES_PER_LAG = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedView:
    """What one view shows of a code that it shares with others.

    Parameters
    ----------
    atoms : Tensor, shape (atom, channel, width)
        As the view sees them. A vector is a window of one sample with as many channels as it has entries.
    weight : float, default: 1.0
        Weight of the squared error; one over the variance of the view's noise, if the traces are not whitened.
    stride : int, default: 1
        Samples of the view from one position of the code to the next: two for a view of twice the sampling rate.
    """

    atoms: Float[Tensor, "atom channel width"]
    weight: float = 1.0
    stride: int = 1

    def __post_init__(self) -> None:
        """Refuse a weight or a stride that is none."""
        if not self.weight > 0:
            raise ValueError(f"weight = {self.weight}: it must be positive; leave a view out that should not count")
        check_at_least_one(stride=self.stride)

    def correlate(self, traces: Float[Tensor, "batch channel sample"]) -> Float[Tensor, "batch atom shift"]:
        """Return how the traces drive the code."""
        return self.weight * correlate(traces, self.atoms, stride=self.stride)

    def synthesize(
        self, code: Float[Tensor, "batch atom shift"], *, num_samples: int | None = None
    ) -> Float[Tensor, "batch channel sample"]:
        """Return the traces that a code stands for in this view: the samples it covers, or up to a stride more."""
        shape = None if num_samples is None else (num_samples,)
        return synthesize(code, self.atoms, stride=self.stride, sample_shape=shape)

    def gram(self) -> Float[Tensor, "atom atom lag"]:
        """Return the correlations of the atoms at lags of whole positions of the code, lag zero in the middle."""
        lags = self.weight * atom_correlations(self.atoms)
        middle = lags.shape[2] // 2
        return lags[:, :, middle % self.stride :: self.stride]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quadratic:
    """A least-squares problem of many windows, without its penalty.

    Parameters
    ----------
    correlation : Tensor, shape (batch, atom, shift)
        Minus the gradient at the zero code.
    gram : Tensor, shape (atom, atom, lag)
        At ``[b, a, reach + lag]`` what atom ``a``, placed `lag` positions after atom ``b``, takes from its correlation.
    """

    correlation: Float[Tensor, "batch atom shift"]
    gram: Float[Tensor, "atom atom lag"]

    @classmethod
    def of(cls, views: Sequence[LinkedView], traces: Sequence[Tensor]) -> "Quadratic":
        """Add up what some views, of which there must be one, say about the code that they share.

        Raises
        ------
        ValueError
            If the views leave different numbers of positions to the code.
        """
        if len(views) == 0:
            raise ValueError("views is empty: there must be at least one")
        maps = [view.correlate(observed) for view, observed in zip(views, traces, strict=True)]
        if any(entry.shape != maps[0].shape for entry in maps):
            sizes = [tuple(entry.shape) for entry in maps]
            raise ValueError(
                f"the views have {sizes} windows, atoms and positions: they must be the same; cut the windows of all "
                "views from the same moments, so that (num_samples - width) // stride agrees"
            )
        grams = [view.gram() for view in views]
        reach = max(entry.shape[2] for entry in grams) // 2
        padded = [functional.pad(entry, [reach - entry.shape[2] // 2] * 2) for entry in grams]
        return cls(correlation=torch.stack(maps).sum(dim=0), gram=torch.stack(padded).sum(dim=0))

    def empty_code(self) -> Float[Tensor, "batch atom shift"]:
        """Return the zero code."""
        return torch.zeros_like(self.correlation)

    def descent_direction(self, code: Float[Tensor, "batch atom shift"]) -> Float[Tensor, "batch atom shift"]:
        """Return minus the gradient at a code."""
        return self.correlation - functional.conv1d(code, self.gram, padding=self.gram.shape[2] // 2)

    def value(self, code: Float[Tensor, "batch atom shift"]) -> Float[Tensor, " batch"]:
        """Return ``1/2 x^T G x - b^T x`` of every window: half the squared error, up to what no code changes."""
        return -0.5 * ((self.correlation + self.descent_direction(code)) * code).flatten(1).sum(dim=1)

    def norms(self) -> Float[Tensor, " atom"]:
        """Return the norm of every atom over all views, each weighted."""
        return self.gram[..., self.gram.shape[2] // 2].diagonal().clamp_min(0.0).sqrt()

    def lipschitz_bound(self) -> float:
        """Return an upper bound, at most 2 % too large, of the largest eigenvalue of ``G``: see the core's own.

        The quadratic form of a code is that of a trigonometric polynomial of the degree of the largest lag.
        """
        reach = self.gram.shape[2] // 2
        num_frequencies = max(_FREQUENCIES_PER_LAG * reach, 1)
        gains = torch.fft.rfft(self.gram, n=num_frequencies).permute(2, 0, 1)
        return float(torch.linalg.matrix_norm(gains, ord=2).amax()) / math.cos(math.pi * reach / num_frequencies)

    def step_size(self) -> float:
        """Return the inverse of `lipschitz_bound`."""
        return 1.0 / max(self.lipschitz_bound(), torch.finfo(self.gram.dtype).tiny)

    def solve(
        self,
        prior: Prior,
        *,
        solver: str = "descent",
        num_iterations: int = MAX_ITERATIONS,
        tolerance: float | None = 1e-3,
    ) -> Float[Tensor, "batch atom shift"]:
        """Return the code of every window under a prior.

        Parameters
        ----------
        prior : Prior
            For "descent" it must be `Sparse`, for "lca" it is usually `Sparse` or `Counted`.
        solver : str, default: "descent"
            See `find_solver`.
        num_iterations : int, default: 100,000
            At most; the descent ends by itself.
        tolerance : float, default: 1e-3
            How far the optimality conditions may be violated, in the unit of the regularization and for atoms of norm
            1; None for all iterations, and the most exact descent.

        Returns
        -------
        Tensor, shape (batch, atom, shift)
            Exactly sparse.

        Raises
        ------
        ValueError
            If there is no such solver, or it cannot have this prior.
        """
        kind = find_solver(solver, problem=type(self), prior=type(prior), device=self.correlation.device)
        return iterate(kind(tolerance=tolerance), self, prior, num_iterations=num_iterations)

    @torch.no_grad()
    def descend(self, prior: Sparse, *, tolerance: float) -> Float[Tensor, "batch atom shift"]:
        """Return the minimizer by greedy coordinate descent on the CPU, for which every atom is scaled to norm 1."""
        norms = self.norms()
        scale = torch.where(norms > 0, 1 / norms, 0.0)
        level = torch.where(norms > 0, prior.regularization * scale, torch.inf).float()
        code = descend_windows(
            (self.correlation * scale[:, None]).float(),
            (self.gram * scale[:, None, None] * scale[:, None]).float(),
            Sparse(regularization=level, nonnegative=prior.nonnegative).thresholds,
            tolerance=tolerance,
        )
        return (code * scale[:, None]).to(self.correlation)
