"""Spike counts of trials as windows of an auto-encoder: one by one or pooled, and where known events let codes be."""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from torch import Tensor

from si_crsae.core.likelihoods import Likelihood
from si_crsae.models.arrays import as_tensor, as_whole_numbers, check_values
from si_crsae.models.exponential.autoencoder import ExponentialAutoencoder, Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledTrials:
    """Windows, each the sum of a number of trials, with the baseline of such a sum.

    Parameters
    ----------
    observed : Tensor, shape (batch, 1, bin)
    baseline : Tensor, shape (batch, 1, 1)
        Natural parameter of the mean count of the unit.
    number : int
        Trials of a window.
    likelihood : Likelihood
        Distribution of the sum of so many counts.
    """

    observed: Float[Tensor, "batch 1 bin"]
    baseline: Float[Tensor, "batch 1 1"]
    number: int
    likelihood: Likelihood

    @classmethod
    def of(
        cls, counts: Float[Tensor, "unit trial bin"], likelihood: Likelihood, *, single_trials: bool
    ) -> "PooledTrials":
        """Return one window per unit, or per unit and trial, with the baseline of the unit."""
        num_units, num_trials, num_bins = counts.shape
        number = 1 if single_trials else num_trials
        pooled = likelihood.pooled(number)
        mean = counts.mean(dim=(1, 2), keepdim=True)
        resting = likelihood.inside(mean, margin=0.5 / (num_trials * num_bins)) * number
        baseline = pooled.natural(resting)
        if single_trials:
            baseline = baseline.expand(num_units, num_trials, 1).reshape(-1, 1, 1)
            return cls(observed=counts.reshape(-1, 1, num_bins), baseline=baseline, number=1, likelihood=pooled)
        return cls(observed=counts.sum(dim=1, keepdim=True), baseline=baseline, number=number, likelihood=pooled)

    def adapted(self, network: ExponentialAutoencoder) -> ExponentialAutoencoder:
        """Return the network with the likelihood of these windows; the parameters are shared with the one given."""
        adapted = copy.copy(network)
        adapted.likelihood = self.likelihood
        return adapted

    def rates(self, network: ExponentialAutoencoder) -> Float[Tensor, "batch 1 bin"]:
        """Return the expected count of each bin of one trial."""
        return self.adapted(network).denoise(self.observed, baseline=self.baseline) / self.number

    def stacked(self) -> Float[Tensor, "batch 2 bin"]:
        """Return one tensor, which `train` can shuffle: see `Windows`."""
        return Windows(observed=self.observed, baseline=self.baseline.expand_as(self.observed)).stacked()


def support_of_events(
    event_bins: ArrayLike, counts: Float[Tensor, "unit trial bin"], *, width: int, single_trials: bool
) -> Bool[Tensor, "batch 1 shift"]:
    """Return where codes may be other than zero, broadcast to (batch, atom, shift), or raise ValueError.

    Parameters
    ----------
    event_bins : array of int, shape (event,) or (trial, event)
        Bins at which kernels of a `width` may begin.
    counts : Tensor, shape (unit, trial, bin)
    width : int
    single_trials : bool
        Whether each trial has a code of its own.
    """
    bins = torch.from_numpy(as_whole_numbers(event_bins, name="event_bins").astype("int64"))
    num_units, num_trials, num_bins = counts.shape
    if bins.ndim not in (1, 2) or (bins.ndim == 2 and len(bins) != num_trials) or bins.numel() == 0:
        raise ValueError(
            f"event_bins has shape {tuple(bins.shape)}: it must be (event,) or (trial, event) with {num_trials} "
            "trials, and not empty"
        )
    if bins.ndim == 2 and not single_trials:
        raise ValueError("event_bins differ from trial to trial: pass single_trials=True")
    if bool((bins < 0).any()) or bool((bins >= num_bins).any()):
        raise ValueError(f"event_bins has values outside 0 to {num_bins - 1}, the bins of a trial")
    per_trial = bins.expand(num_trials, -1) if bins.ndim == 1 else bins
    support = torch.zeros(num_trials, num_bins + width - 1, dtype=torch.bool)
    support.scatter_(1, per_trial + width - 1, True)
    return support.repeat(num_units, 1)[:, None] if single_trials else support[:1, None]


def checked_counts(counts: ArrayLike, likelihood: Likelihood, *, width: int) -> Float[Tensor, "unit trial bin"]:
    """Return counts as a tensor, or raise ValueError if the likelihood has none such or kernels do not fit in."""
    checked = as_tensor(counts, name="counts", device=torch.device("cpu")).float()
    if checked.ndim != 3:
        raise ValueError(f"counts has shape {tuple(checked.shape)}: it must have three axes, (unit, trial, bin)")
    if checked.numel() == 0:
        raise ValueError(f"counts has shape {tuple(checked.shape)}: it must not be empty")
    if checked.shape[2] < width:
        raise ValueError(
            f"counts has {checked.shape[2]} bins: there must be at least width = {width}; use a longer window, "
            "shorter bins or a smaller width"
        )
    check_values("counts", checked)
    likelihood.check(checked, name="counts")
    return checked
