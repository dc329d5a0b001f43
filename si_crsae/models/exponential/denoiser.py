"""A scikit-learn-like face of the exponential-family auto-encoder: fit, encode, denoise, score, save and load."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from numbers import Integral
from pathlib import Path

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from si_crsae.core.checks import check_at_least_one, check_positive, check_seed
from si_crsae.core.likelihoods import LIKELIHOODS, Likelihood
from si_crsae.core.priors import PRIORS, Prior, Sparse
from si_crsae.core.solvers.generalized import Placement, infer_baseline
from si_crsae.models.arrays import Array, as_atoms, as_tensor, check_device, check_values, choose_device, like
from si_crsae.models.checks import learned
from si_crsae.models.exponential.autoencoder import (
    ExponentialAutoencoder,
    LikelihoodTraining,
    NetworkTraining,
    Unrolling,
    Windows,
    as_baseline,
    check_prior,
    prior_tensors,
    with_tensors,
)
from si_crsae.models.saving import describe_dataclass, load_saved, revive, save_whole
from si_crsae.models.training import OnEpoch, Trainer, TrainingHistory, hold_out, train_as_set

_DEFAULT_LEVEL = 2.0
_VALIDATION_SHARE = 0.1
_KINDS = LIKELIHOODS | PRIORS


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """How a `Denoiser` learns.

    Parameters
    ----------
    num_epochs : int, default: 20
    batch_size : int, default: 32
    learning_rate : float, default: 0.01
        Step size of ADAM.
    seed : int, default: 0
        Decides the first atoms, which windows are held out, and the order.
    progress : bool, default: False
        If True, show a bar of epochs.
    """

    num_epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 0.01
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing can be learned."""
        check_at_least_one(num_epochs=self.num_epochs, batch_size=self.batch_size)
        check_positive("learning_rate", self.learning_rate)
        check_seed(self.seed)


@dataclass(kw_only=True)
class Denoiser:
    """Denoises observations of the exponential family, and learns how from them alone or from clean targets.

    Arrays of numpy and tensors are taken, of shape (batch, channel, sample) or (batch, channel, row, column); what
    comes back is of the kind that was given.

    Parameters
    ----------
    likelihood : Likelihood
        Distribution of the observations: ``Poisson()``, ``Binomial(num_trials=30)``, ...
    width : int or tuple of int
        Size of the atoms: samples, or rows and columns.
    num_atoms : int, default: 8
    prior : Prior, default: None
        Prior of the codes, whose tensors have one value per atom (or group of atoms); if None, two-sided sparse at 2
        standard deviations of the noise.
    unrolling : Unrolling, default: Unrolling()
        Depth, stride, tied or not, ...
    device : str, default: "auto"
        "cpu", "cuda", "cuda:1" for the second GPU, or "auto" for a GPU if there is one.

    Attributes
    ----------
    model : ExponentialAutoencoder or None
        What `fit` has learned.
    history : TrainingHistory or None
        Losses and parameters of every epoch of `fit`.
    pooled_baseline : Tensor or None
        Of windows of one sample, the natural parameter of the mean of each channel.

    Examples
    --------
    >>> import numpy as np
    >>> from si_crsae.core.likelihoods import Poisson
    >>> counts = np.random.default_rng(0).poisson(2.0, (20, 1, 50))
    >>> denoiser = Denoiser(likelihood=Poisson(), width=9, num_atoms=2).fit(counts, fitting=Fitting(num_epochs=1))
    >>> denoiser.denoise(counts).shape
    (20, 1, 50)
    """

    likelihood: Likelihood
    width: int | tuple[int, ...]
    num_atoms: int = 8
    prior: Prior | None = None
    unrolling: Unrolling = Unrolling()
    device: str = "auto"
    model: ExponentialAutoencoder | None = field(default=None, init=False, repr=False)
    history: TrainingHistory | None = field(default=None, init=False, repr=False)
    pooled_baseline: Tensor | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing can be learned."""
        check_at_least_one(num_atoms=self.num_atoms)
        widths = self._widths
        if not 1 <= len(widths) <= 2 or any(not (isinstance(width, Integral) and width >= 1) for width in widths):
            raise ValueError(f"width = {self.width}: it must be one or two numbers of at least 1")
        check_device(self.device)

    def fit(
        self,
        observed: ArrayLike | Tensor,
        targets: ArrayLike | Tensor | None = None,
        *,
        baseline: ArrayLike | Tensor | None = None,
        initial_atoms: ArrayLike | Tensor | None = None,
        fitting: Fitting | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> "Denoiser":
        """Learn atoms, and with targets also the prior's parameters.

        Parameters
        ----------
        observed : array, shape (batch, channel, sample) or (batch, channel, row, column)
        targets : array of the same shape, default: None
            The means that `denoise` should return; if None, the likelihood of the observations decides.
        baseline : array, broadcast to `observed`, default: None
            Natural parameter where the code is empty; if None, that of the mean of each channel of each window. A
            window of one sample would be its own mean: there it is that of each channel over all windows, which
            `encode`, `denoise` and `score` then take as well.
        initial_atoms : array, shape (atom, channel, ...), default: None
            Where learning starts; if None, from white noise.
        fitting : Fitting, default: None
            If None, the default one.
        on_epoch : callable, default: None
            Called with an `EpochReport` before the first epoch and after each, in place of a bar.

        Returns
        -------
        Denoiser
            Itself.

        Raises
        ------
        ValueError
            If the observations are none of the likelihood's, or shapes do not fit; nothing learned before is lost.
        """
        fitting = fitting or Fitting()
        windows = self._checked(observed)
        pooled = infer_baseline(self.likelihood, windows.transpose(0, 2)) if _is_single(windows) else None
        base = self._baseline_of(windows, baseline, pooled)
        clean = None if targets is None else as_tensor(targets, name="targets", device=self._torch_device).to(windows)
        if clean is not None and clean.shape != windows.shape:
            raise ValueError(
                f"targets has shape {tuple(clean.shape)}: it must be that of observed, {tuple(windows.shape)}"
            )
        if clean is not None:
            check_values("targets", clean)
        generator = torch.Generator().manual_seed(fitting.seed)
        model = self._first_model(windows, initial_atoms, generator)
        stacked = Windows(observed=windows, baseline=base.expand_as(windows), targets=clean).stacked()
        trainer = _trainer(model, fitting, is_supervised=clean is not None)
        parts = hold_out(stacked, _VALIDATION_SHARE, generator=generator)
        self.history = train_as_set(trainer, *parts, fitting=fitting, on_epoch=on_epoch)
        self.model, self.pooled_baseline = model, pooled
        return self

    @torch.no_grad()
    def encode(self, observed: ArrayLike | Tensor, *, baseline: ArrayLike | Tensor | None = None) -> Array:
        """Return the code, of shape (batch, atom, ...)."""
        model, windows, base = self._ready(observed, baseline)
        return like(observed, model.encode(windows, baseline=base))

    def denoise(self, observed: ArrayLike | Tensor, *, baseline: ArrayLike | Tensor | None = None) -> Array:
        """Return the mean of the observations as the auto-encoder sees it, of their shape."""
        model, windows, base = self._ready(observed, baseline)
        return like(observed, model.denoise(windows, baseline=base))

    reconstruct = denoise

    @torch.no_grad()
    def score(
        self,
        observed: ArrayLike | Tensor,
        held_out: ArrayLike | Tensor | None = None,
        *,
        baseline: ArrayLike | Tensor | None = None,
    ) -> float:
        """Return the mean log-likelihood of an observation, in nats; the higher the better.

        Parameters
        ----------
        observed : array, shape (batch, channel, ...)
            What is encoded.
        held_out : array of the same shape, default: None
            What the reconstruction is compared with, such as another trial; if None, `observed` itself.
        baseline : array, broadcast to `observed`, default: None
            As for `fit`.

        Returns
        -------
        float
        """
        model, windows, base = self._ready(observed, baseline)
        compared = windows if held_out is None else self._checked(held_out).to(windows)
        natural = model(windows, baseline=base)
        return -float(self.likelihood.negative_log_likelihood(compared, natural).mean())

    def save(self, path: str | Path) -> None:
        """Write what was learned to a file that torch can read without running code."""
        model = learned(self.model, Denoiser)
        unrolling = asdict(model.unrolling)
        save_whole(
            {
                "likelihood": describe_dataclass(model.likelihood, _KINDS),
                "prior": describe_dataclass(model.prior, _KINDS),
                "unrolling": unrolling,
                "width": [int(width) for width in self._widths],
                "state": model.state_dict(),
                "pooled_baseline": self.pooled_baseline,
            },
            path,
        )

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto") -> "Denoiser":
        """Return a denoiser that `save` has written.

        Raises
        ------
        ValueError
            If the file is something else.
        """
        saved = load_saved(path, entries=("likelihood", "prior", "unrolling", "state"), what="denoiser")
        unrolling = Unrolling(**saved["unrolling"] | {"placement": Placement(**saved["unrolling"]["placement"])})
        likelihood, prior = (revive(saved[name], _KINDS) for name in ("likelihood", "prior"))
        atoms = saved["state"]["atoms"]
        denoiser = cls(
            likelihood=likelihood,
            width=tuple(saved["width"]),
            num_atoms=len(atoms),
            prior=prior,
            unrolling=unrolling,
            device=device,
        )
        model = ExponentialAutoencoder(torch.ones_like(atoms), likelihood, prior, unrolling=unrolling)
        model.load_state_dict(saved["state"])
        denoiser.model = model.to(denoiser._torch_device)
        denoiser.pooled_baseline = saved.get("pooled_baseline")  # files of version 0.1 have none
        return denoiser

    @property
    def _widths(self) -> tuple[int, ...]:
        return tuple(self.width) if isinstance(self.width, Sequence) else (self.width,)

    @property
    def _torch_device(self) -> torch.device:
        return choose_device(self.device)

    def _ready(
        self, observed: ArrayLike | Tensor, baseline: ArrayLike | Tensor | None
    ) -> tuple[ExponentialAutoencoder, Tensor, Tensor]:
        """Return what was learned, and observations and baseline of its precision, or raise ValueError."""
        model = learned(self.model, Denoiser)
        windows = self._checked(observed)
        num_channels = model.atoms.shape[1]
        if windows.shape[1] != num_channels:
            raise ValueError(f"observed has {windows.shape[1]} channels: the denoiser has learned from {num_channels}")
        if baseline is None and self.pooled_baseline is None and _is_single(windows):
            raise ValueError(
                f"observed has shape {tuple(windows.shape)}: a window of one sample does not tell its mean, and the "
                "denoiser has learned from longer ones; pass baseline"
            )
        base = self._baseline_of(windows, baseline, self.pooled_baseline)
        return model, windows.to(model.atoms), base.to(model.atoms)

    def _first_model(
        self, windows: Tensor, initial_atoms: ArrayLike | Tensor | None, generator: torch.Generator
    ) -> ExponentialAutoencoder:
        shape = (self.num_atoms, windows.shape[1], *self._widths)
        if initial_atoms is None:
            atoms = torch.randn(shape, generator=generator).to(windows)
        else:
            atoms = as_atoms(initial_atoms, name="initial_atoms").to(windows)
            if atoms.shape != shape:
                raise ValueError(f"initial_atoms has shape {tuple(atoms.shape)}: it must be {shape}")
        prior = self.prior or Sparse(regularization=torch.full((self.num_atoms,), _DEFAULT_LEVEL))
        check_prior(prior, self.num_atoms)
        prior = with_tensors(prior, {name: tensor.to(windows) for name, tensor in prior_tensors(prior).items()})
        return ExponentialAutoencoder(atoms, self.likelihood, prior, unrolling=self.unrolling).to(windows.device)

    def _checked(self, observed: ArrayLike | Tensor) -> Tensor:
        """Return observations as a tensor, or raise ValueError."""
        windows = as_tensor(observed, name="observed", device=self._torch_device)
        num_axes = 2 + len(self._widths)
        if windows.ndim != num_axes:
            axes = "(batch, channel, sample)" if num_axes == 3 else "(batch, channel, row, column)"
            raise ValueError(f"observed has shape {tuple(windows.shape)}: it must have {num_axes} axes, {axes}")
        if windows.numel() == 0:
            raise ValueError(f"observed has shape {tuple(windows.shape)}: it must not be empty")
        if any(size < width for size, width in zip(windows.shape[2:], self._widths, strict=True)):
            raise ValueError(
                f"observed has shape {tuple(windows.shape)}: it must be at least width = {self.width} long"
            )
        check_values("observed", windows)
        self.likelihood.check(windows)
        return windows

    def _baseline_of(self, windows: Tensor, given: ArrayLike | Tensor | None, pooled: Tensor | None) -> Tensor:
        if given is not None:
            return as_baseline(given, windows).broadcast_to(windows.shape)
        if pooled is not None and _is_single(windows):
            return pooled.to(windows).expand_as(windows)
        return infer_baseline(self.likelihood, windows)


def _is_single(windows: Tensor) -> bool:
    """Tell whether every window is a single sample."""
    return windows[0, 0].numel() == 1


def _trainer(model: ExponentialAutoencoder, fitting: Fitting, *, is_supervised: bool) -> Trainer:
    if is_supervised or not model.unrolling.tied:
        return NetworkTraining(model, learning_rate=fitting.learning_rate)
    return LikelihoodTraining(model, learning_rate=fitting.learning_rate)
