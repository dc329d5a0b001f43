"""What is chosen before training: how many windows make a mini-batch, and which learning rate."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from si_crsae.core.checks import check_at_least_one, check_positive, check_seed
from si_crsae.models.training import Trainer, as_both

# The range in which the paper looks for the learning rate of the atoms.
PAPER_RATES = tuple(10 ** (-5 + step / 3) for step in range(13))


def choose_batch_size(
    num_windows: int, *, spikes_per_window: float, min_spikes: int = 10_000, min_batches: int = 8
) -> int:
    """Return how many windows make a mini-batch with enough spikes, yet enough mini-batches in an epoch.

    Parameters
    ----------
    num_windows : int
        Windows of an epoch.
    spikes_per_window : float
        Expected number of spikes in a window: its duration times the sum of the firing rates.
    min_spikes : int, default: 10,000
        Wanted in a mini-batch, if the windows suffice. Table III of [1]_ has 12 in each of 1024 windows.
    min_batches : int, default: 8
        Wanted in an epoch, if the windows suffice; goes first.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    .. [1] Tolooshams, Dey and Ba, "Deep residual auto-encoders for expectation maximization-based dictionary
       learning", IEEE TNNLS, 2021, section VI-C.

    Examples
    --------
    >>> choose_batch_size(9000, spikes_per_window=12.0)
    834
    """
    check_at_least_one(num_windows=num_windows, min_spikes=min_spikes, min_batches=min_batches)
    check_positive("spikes_per_window", spikes_per_window, remedy="use a rough firing rate")
    enough = math.ceil(min_spikes / spikes_per_window)
    return max(min(enough, num_windows // min_batches), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeTest:
    """Validation loss against the learning rate that was reached.

    Parameters
    ----------
    rates, losses : tuple of float
        One of each per step.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def best_rate(self) -> float:
        """The rate at which the loss fell most steeply, per decade of the rate, smoothed over three steps."""
        if len(self.losses) < 3:
            return self.rates[-1]
        drops = [self.losses[step + 1] - self.losses[step - 1] for step in range(1, len(self.losses) - 1)]
        return self.rates[1 + min(range(len(drops)), key=drops.__getitem__)]


def learning_rate_range_test(
    make_trainer: Callable[[float], Trainer],
    windows: Float[Tensor, "batch channel *sample"] | ArrayLike,
    validation: Float[Tensor, "held_out channel *sample"] | ArrayLike,
    *,
    batch_size: int,
    rates: tuple[float, ...] = PAPER_RATES,
    num_steps: int = 4,
    seed: int = 0,
) -> RangeTest:
    """Return how far the loss falls in a few steps at each of a range of learning rates [1]_.

    Every rate starts from a fresh trainer, so that ADAM's memory of small steps does not blur what a large one does.

    Parameters
    ----------
    make_trainer : callable
        Given a learning rate, returns a trainer of a fresh model.
    windows : Tensor, shape (batch, channel, ...)
        What it learns from.
    validation : Tensor, shape (held_out, channel, ...)
        What the loss is measured on.
    batch_size : int
        Windows of a step.
    rates : tuple of float, default: 1e-5 to 1e-1
        Rising; evenly spaced in their logarithm.
    num_steps : int, default: 4
        Steps taken at each rate.
    seed : int, default: 0
        Decides which windows a step takes, the same for every rate.

    Returns
    -------
    RangeTest

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    .. [1] Smith, "Cyclical learning rates for training neural networks", WACV 2017, section 3.3.
    """
    windows, validation = as_both(windows, validation)
    check_seed(seed)
    check_at_least_one(num_steps=num_steps, batch_size=batch_size)
    if len(rates) == 0 or any(not rate > 0 for rate in rates) or list(rates) != sorted(rates):
        raise ValueError(f"rates = {rates}: they must be positive and rising")
    losses = []
    for rate in rates:
        trainer = make_trainer(rate)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(num_steps):
            chosen = torch.randperm(len(windows), generator=generator)[:batch_size]
            trainer.step(windows[chosen])
        losses.append(trainer.loss(validation))
    return RangeTest(rates=rates, losses=tuple(losses))
