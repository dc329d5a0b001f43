"""Rates behind spike counts: the kernels that the units of a population share, and when each unit uses them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from si_crsae.core.checks import check_at_least_one, check_at_least_zero, check_positive, check_seed
from si_crsae.core.likelihoods import Likelihood, Poisson
from si_crsae.core.priors import Ridge, Sparse
from si_crsae.models.exponential.autoencoder import ExponentialAutoencoder, LikelihoodTraining, Unrolling, Windows
from si_crsae.models.exponential.trials import PooledTrials, checked_counts, support_of_events
from si_crsae.models.training import train

_MAX_FOLDS = 5
_VALIDATION_SHARE = 0.25
_WEAK_VARIANCE = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CountModel:
    """What `denoise_counts` assumes and how it learns.

    Parameters
    ----------
    likelihood : Likelihood, default: Poisson()
        Distribution of the count of one bin of one trial; ``Binomial(num_trials=1)`` for bins of at most one spike.
    num_kernels : int, default: 5
    width : int, default: 41
        Length of the kernels, in bins.
    levels : tuple of float, default: (1, 1.5, 2, 3, 4, 6)
        Thresholds to choose from by cross-validation over trials, in standard deviations of the noise. One alone is
        taken as it is. For single trials, which leave nothing out to choose by, several stand for the universal
        threshold, ``sqrt(2 log(num_coefficients))``, which noise alone hardly ever exceeds.
    num_iterations : int, default: 150
        Depth of the encoder.
    num_epochs : int, default: 40
        Passes over the units in which the kernels are learned; 0 leaves the first ones, Gaussians of several widths.
    learning_rate : float, default: 0.005
        Step size of ADAM, for the kernels.
    seed : int, default: 0
        Decides which trials are held out.
    """

    likelihood: Likelihood = field(default_factory=Poisson)
    num_kernels: int = 5
    width: int = 41
    levels: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
    num_iterations: int = 150
    num_epochs: int = 40
    learning_rate: float = 0.005
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing can be learned."""
        check_at_least_one(num_kernels=self.num_kernels, width=self.width, num_iterations=self.num_iterations)
        if self.num_epochs != 0:
            check_at_least_one(num_epochs=self.num_epochs)
        check_positive("learning_rate", self.learning_rate)
        check_seed(self.seed)
        if not isinstance(self.levels, Sequence) or len(self.levels) == 0:
            raise ValueError(f"levels = {self.levels!r}: it must be a sequence of at least one, all zero or more")
        for level in self.levels:
            check_at_least_zero(levels=level)


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoisedCounts:
    """Rates, and what they are made of.

    Parameters
    ----------
    rates : array, shape (unit, trial, bin)
        Expected spikes of a bin; one trial only if all were pooled.
    code : array, shape (unit, trial, kernel, shift)
        When and how strongly each kernel is used, in units of the noise; kernel ``k`` at shift ``s`` begins at bin
        ``s - width + 1``.
    kernels : array, shape (kernel, bin)
        Kernels of unit norm.
    baseline : array, shape (unit,)
        Expected spikes of a bin where the code is empty.
    level : float
        The threshold that was chosen, in standard deviations of the noise.
    scores : dict
        Held-out log-likelihood of each level, in nats; empty if there was nothing to choose.
    """

    rates: np.ndarray
    code: np.ndarray
    kernels: np.ndarray
    baseline: np.ndarray
    level: float
    scores: dict[float, float]


def denoise_counts(
    counts: ArrayLike,
    *,
    model: CountModel | None = None,
    single_trials: bool = False,
    event_bins: ArrayLike | None = None,
) -> DenoisedCounts:
    """Return the rates behind the spike counts of a population, and the kernels that its units share.

    The natural parameter of a unit's counts, for Poisson the logarithm of its rate, is its baseline plus a sparse sum
    of kernels. With the trials pooled that is a histogram over trials (PSTH) without its noise; trial by trial it is a
    deconvolution, with event times that are found, or given.

    Parameters
    ----------
    counts : array of int, shape (unit, trial, bin)
        From `si_crsae.sorting.counts.bin_spikes`.
    model : CountModel, default: None
        If None, the default one.
    single_trials : bool, default: False
        If True, each trial has a code of its own; if False, all trials of a unit share one.
    event_bins : array of int, shape (event,) or (trial, event), default: None
        If given, kernels begin at these bins only, in all trials alike or in each; what begins there is learned without
        a threshold.

    Returns
    -------
    DenoisedCounts

    Raises
    ------
    ValueError
        If these are no counts of the likelihood, axes are missing, or the bins of the events lie outside.

    Examples
    --------
    >>> counts = np.random.default_rng(0).poisson(0.2, (3, 10, 60))
    >>> denoise_counts(counts, model=CountModel(width=21, levels=(2.0,), num_epochs=2)).rates.shape
    (3, 1, 60)
    """
    model = model or CountModel()
    observed = checked_counts(counts, model.likelihood, width=model.width)
    support = None
    if event_bins is not None:
        support = support_of_events(event_bins, observed, width=model.width, single_trials=single_trials)
    scores: dict[float, float] = {}
    level = model.levels[0]
    if support is not None:
        level = 0.0
    elif len(model.levels) > 1 and single_trials:
        level = math.sqrt(2 * math.log(model.num_kernels * (observed.shape[2] + model.width - 1)))
    elif len(model.levels) > 1 and observed.shape[1] > 1:
        scores = {candidate: _held_out_score(observed, candidate, model) for candidate in model.levels}
        level = max(scores, key=scores.__getitem__)
    network = _network(model, level, is_supported=support is not None)
    if support is not None:
        with torch.no_grad():
            network.atoms.copy_(_triggered_kernels(observed, support, model)[:, None])
    windows = PooledTrials.of(observed, model.likelihood, single_trials=single_trials)
    if model.num_epochs:
        _learn_kernels(network, observed, model, single_trials=single_trials, support=support)
    rates, code, baseline = _decomposed(network, windows, support)
    return DenoisedCounts(
        rates=rates.unflatten(0, (len(observed), -1)).numpy(),
        code=code.unflatten(0, (len(observed), -1)).numpy(),
        kernels=network.atoms.detach()[:, 0].numpy(),
        baseline=baseline.view(len(observed), -1)[:, 0].numpy(),
        level=level,
        scores=scores,
    )


@torch.no_grad()
def _decomposed(
    network: ExponentialAutoencoder, windows: PooledTrials, support: Tensor | None
) -> tuple[Float[Tensor, "batch bin"], Float[Tensor, "batch kernel shift"], Float[Tensor, "batch 1 1"]]:
    """Return the rates of one trial, the code behind them, and the rate where it is empty."""
    network = windows.adapted(network)
    code = network.encode(windows.observed, baseline=windows.baseline, support=support)
    natural = network.decode(code, like=windows.observed, baseline=windows.baseline)
    rates = network.likelihood.mean(natural) / windows.number
    return rates[:, 0], code, network.likelihood.mean(windows.baseline) / windows.number


def _network(model: CountModel, level: float, *, is_supported: bool) -> ExponentialAutoencoder:
    """Return the auto-encoder before learning, its kernels Gaussians of several widths."""
    atoms = gaussian_kernels(model.num_kernels, model.width)[:, None]
    per_atom = torch.ones(model.num_kernels)
    prior = Ridge(variance=_WEAK_VARIANCE * per_atom) if is_supported else Sparse(regularization=level * per_atom)
    return ExponentialAutoencoder(
        atoms, model.likelihood, prior, unrolling=Unrolling(num_iterations=model.num_iterations)
    )


def gaussian_kernels(num_kernels: int, width: int) -> Float[Tensor, "kernel width"]:
    """Return Gaussians of unit norm, their standard deviations evenly spaced in logarithm from 1 bin to width / 6."""
    bins = torch.arange(width) - (width - 1) / 2
    widest = max(width / 6, 1.0)
    deviations = widest ** torch.linspace(0, 1, num_kernels)
    return torch.nn.functional.normalize(torch.exp(-0.5 * (bins / deviations[:, None]).square()))


def _learn_kernels(
    network: ExponentialAutoencoder,
    observed: Float[Tensor, "unit trial bin"],
    model: CountModel,
    *,
    single_trials: bool,
    support: Tensor | None,
) -> None:
    """Learn the kernels from most trials; those of the epoch whose rates predict the other trials best are kept."""
    num_trials = observed.shape[1]
    num_held_out = max(round(_VALIDATION_SHARE * num_trials), 1)
    order = torch.randperm(num_trials, generator=torch.Generator().manual_seed(model.seed))
    held_out, kept = order[:num_held_out], order[num_held_out:]
    if single_trials or num_trials == 1 or support is not None:
        # Each trial is a window of its own, or there is none to spare: all are learned from.
        training = PooledTrials.of(observed, model.likelihood, single_trials=single_trials)
        trainer = LikelihoodTraining(training.adapted(network), learning_rate=model.learning_rate, support=support)
        validation = training
    else:
        training, validation = (
            PooledTrials.of(observed[:, part], model.likelihood, single_trials=False) for part in (kept, held_out)
        )
        trainer = _PredictiveTraining(
            training.adapted(network), learning_rate=model.learning_rate, training=training, validation=validation
        )
    stacked, held_back = training.stacked(), validation.stacked()
    train(trainer, stacked, held_back, num_epochs=model.num_epochs, batch_size=len(stacked), seed=model.seed)


class _PredictiveTraining(LikelihoodTraining):
    """Learning from sums of trials, judged by how well their rates predict other trials of the same units."""

    def __init__(
        self, model: ExponentialAutoencoder, *, learning_rate: float, training: PooledTrials, validation: PooledTrials
    ) -> None:
        super().__init__(model, learning_rate=learning_rate)
        self._training, self._validation = training, validation

    @torch.no_grad()
    def loss(self, windows: Tensor) -> float:
        """Return the negative log-likelihood of the validation trials, whatever windows are given."""
        training, validation = self._training, self._validation
        code = self._encode(Windows.of(training.stacked(), num_channels=1))
        reached = self.model.decode(code, like=training.observed, baseline=training.baseline)
        rates = self.model.likelihood.mean(reached) / training.number
        natural = validation.likelihood.natural(rates * validation.number)
        return float(validation.likelihood.negative_log_likelihood(validation.observed, natural).mean())


def _held_out_score(observed: Float[Tensor, "unit trial bin"], level: float, model: CountModel) -> float:
    """Return the log-likelihood of held-out trials under the pooled rates of the others, with the first kernels."""
    num_trials = observed.shape[1]
    order = torch.randperm(num_trials, generator=torch.Generator().manual_seed(model.seed))
    total = 0.0
    for held_out in order.chunk(min(_MAX_FOLDS, num_trials)):
        kept = torch.ones(num_trials, dtype=torch.bool)
        kept[held_out] = False
        windows = PooledTrials.of(observed[:, kept], model.likelihood, single_trials=False)
        network = _network(model, level, is_supported=False)
        natural = model.likelihood.natural(windows.rates(network))
        total -= float(model.likelihood.negative_log_likelihood(observed[:, held_out], natural).sum())
    return total


def _triggered_kernels(
    observed: Float[Tensor, "unit trial bin"], support: Tensor, model: CountModel
) -> Float[Tensor, "kernel width"]:
    """Return the principal components, mean included, of what follows the known events."""
    residual = torch.nn.functional.pad(observed - observed.mean(dim=(1, 2), keepdim=True), (0, model.width - 1))
    snippets = residual.unfold(2, model.width, 1)
    begins = support[: observed.shape[1], 0, model.width - 1 :].expand(observed.shape[1], -1)
    chosen = snippets[:, begins].flatten(0, 1)
    components = torch.linalg.svd(chosen, full_matrices=False).Vh[: model.num_kernels]
    missing = gaussian_kernels(model.num_kernels, model.width)[len(components) :]
    return torch.cat([components, missing])
