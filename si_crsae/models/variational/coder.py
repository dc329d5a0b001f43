"""A scikit-learn-like face of variational sparse coding: fit, encode, reconstruct, score, save and load."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from si_crsae.core import bases, code_distribution
from si_crsae.core.checks import check_at_least_one, check_one_of, check_seed
from si_crsae.core.code_distribution import CodeDistribution, sparse_prior
from si_crsae.models.arrays import Array, as_tensor, check_device, check_numbers, check_values, choose_device, like
from si_crsae.models.atoms import draw_pieces
from si_crsae.models.checks import learned
from si_crsae.models.saving import dataclasses_of, describe_dataclass, load_saved, plain, revive, save_whole
from si_crsae.models.training import OnEpoch, TrainingHistory, count_steps, hold_out, train_as_set
from si_crsae.models.variational import model as variational
from si_crsae.models.variational.model import Objective, VariationalFitting, VariationalModel, VariationalTraining
from si_crsae.models.variational.networks import PerceptronEncoder, UnrolledEncoder
from si_crsae.models.variational.statistics import CodeStatistics, describe_codes

_VALIDATION_SHARE = 0.1
_WINDOWS_PER_STATISTIC = 4000
_NETWORKS = ("unrolled", "perceptron")
_SETTINGS = ("num_atoms", "width", "network", "depth")
_KINDS = dataclasses_of(bases, code_distribution, variational)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedWindows:
    """The posterior of the codes of some windows.

    Parameters
    ----------
    mean : array, shape (batch, atom), or (batch, atom, shift) for signals
        Mean of the posterior.
    probability_active : array of the same shape
        That a coefficient is not zero.
    samples : array, shape (sample, batch, atom) or (sample, batch, atom, shift)
        Draws.
    parameters : dict of str to array
        What the network says of each coefficient: ``shift``, ``log_scale``, and as the distribution needs it
        ``gate_logit``, or ``log_concentration`` and ``log_rate`` of a learned threshold.
    """

    mean: Array
    probability_active: Array
    samples: Array
    parameters: dict[str, Array]


@dataclass(kw_only=True)
class VariationalSparseCoder:
    """Sparse coding by a network that tells the posterior of the code, with a linear decoder [1]_.

    Arrays of numpy and tensors are taken and the same kind comes back: windows of shape (batch, ...), each of which has
    one code, or, with a width, signals of shape (batch, channel, sample), whose atoms may lie at any shift. Data are
    brought to unit variance with one factor; codes, noise and priors are relative to that.

    Parameters
    ----------
    num_atoms : int, default: 64
    width : int, default: None
        Samples of an atom of signals; None for windows with one code each.
    distribution : CodeDistribution, default: sparse_prior()
        Base and threshold, and their priors.
    objective : Objective, default: Objective()
        Noise, and how draws are combined.
    network : {"unrolled", "perceptron"}, default: "unrolled"
        Some iterations of a sparse solver with learned filters, or the published one of some twenty times its size.
    depth : int, default: 8
        Iterations of the unrolled network.
    device : str, default: "auto"
        "cpu", "cuda", "cuda:1" for the second GPU, or "auto" for a GPU if there is one.

    Attributes
    ----------
    model : VariationalModel or None
        What `fit` has learned.
    history : TrainingHistory or None
        Losses and parameters of every epoch of `fit`.
    shape : tuple of int
        Shape of a window, as `fit` has seen it.
    scale : float
        What data are divided by.

    References
    ----------
    .. [1] Fallah and Rozell, "Variational sparse coding with learned thresholding", ICML 2022.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> code = rng.laplace(size=(500, 8)) * (rng.random((500, 8)) < 0.2)
    >>> windows = code @ rng.standard_normal((8, 12))
    >>> coder = VariationalSparseCoder(num_atoms=8).fit(windows, fitting=VariationalFitting(num_epochs=2))
    >>> coder.encode(windows).probability_active.shape
    (500, 8)
    """

    num_atoms: int = 64
    width: int | None = None
    distribution: CodeDistribution = field(default_factory=sparse_prior)
    objective: Objective = Objective()
    network: str = "unrolled"
    depth: int = 8
    device: str = "auto"
    model: VariationalModel | None = field(default=None, init=False, repr=False)
    history: TrainingHistory | None = field(default=None, init=False, repr=False)
    shape: tuple[int, ...] = field(default=(), init=False, repr=False)
    scale: float = field(default=1.0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing can be learned."""
        check_at_least_one(num_atoms=self.num_atoms, depth=self.depth)
        if self.width is not None and not (isinstance(self.width, Integral) and self.width >= 1):
            raise ValueError(f"width = {self.width}: it must be at least 1, or None for windows with one code each")
        check_one_of("network", self.network, _NETWORKS)
        check_device(self.device)

    def fit(
        self,
        observed: ArrayLike | Tensor,
        *,
        initial_atoms: ArrayLike | Tensor | None = None,
        fitting: VariationalFitting | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> "VariationalSparseCoder":
        """Learn the network and the atoms.

        Parameters
        ----------
        observed : array, shape (batch, ...), or (batch, channel, sample) for signals
        initial_atoms : array, shape (atom, ...), or (atom, channel, width), default: None
            Where learning starts, in the unit of the data; if None, white noise, for signals pieces with much energy.
        fitting : VariationalFitting, default: None
            If None, the default one.
        on_epoch : callable, default: None
            Called with an `EpochReport` before the first epoch and after each, in place of a bar.

        Returns
        -------
        VariationalSparseCoder
            Itself.

        Raises
        ------
        ValueError
            If the data are no finite numbers, all the same, or too few; nothing learned before is lost.

        Warns
        -----
        RuntimeWarning
            If every atom's posterior collapsed to its prior, or gradients were not finite.
        """
        fitting = fitting or VariationalFitting()
        windows = self._checked(observed)
        shape = tuple(windows.shape[1:])
        scale = float(windows.double().square().mean().sqrt())
        if len(windows) < 2 or not float(windows.double().var(dim=0).mean()) > 1e-12 * scale**2:
            raise ValueError(
                f"observed has {len(windows)} windows and a standard deviation of {float(windows.std()):.3g}: "
                "there must be at least two that differ"
            )
        with _seeded(fitting.seed, windows.device):
            generator = torch.Generator().manual_seed(fitting.seed)
            scaled = self._as_windows(windows / scale)
            model = self._first_model(scaled, shape, initial_atoms, scale, fitting)
            training, validation = hold_out(scaled, _VALIDATION_SHARE, generator=generator)
            num_steps = count_steps(training, fitting)
            trainer = VariationalTraining(model, self.objective, fitting, num_steps=num_steps)
            history = train_as_set(trainer, training, validation, fitting=fitting, on_epoch=on_epoch)
            statistics = describe_codes(model, scaled[:_WINDOWS_PER_STATISTIC])
        _warn_of_failure(statistics, trainer.num_skipped, num_steps)
        self.model, self.history, self.shape, self.scale = model, history, shape, scale
        return self

    @torch.no_grad()
    def encode(self, observed: ArrayLike | Tensor, *, num_samples: int = 1, seed: int = 0) -> EncodedWindows:
        """Return the posterior of the code of every window, and draws from it.

        Parameters
        ----------
        observed : array, shape (batch, ...), or (batch, channel, sample) for signals
            Signals may be of any length.
        num_samples : int, default: 1
        seed : int, default: 0
            Decides the draws.

        Returns
        -------
        EncodedWindows
        """
        model, windows = self._ready(observed)
        check_at_least_one(num_samples=num_samples)
        check_seed(seed)
        distribution = model.distribution
        heads = model.infer(windows)
        with _seeded(seed, windows.device):
            samples = distribution.codes(heads, distribution.noise(heads, num_samples))

        def shaped(code: Tensor) -> Array:
            return like(observed, code if self.width is not None else code[..., 0])

        return EncodedWindows(
            mean=shaped(distribution.mean(heads)),
            probability_active=shaped(distribution.probability_active(heads)),
            samples=shaped(samples),
            parameters={name: shaped(head) for name, head in heads.items()},
        )

    @torch.no_grad()
    def reconstruct(self, observed: ArrayLike | Tensor) -> Array:
        """Return what the mean of the posterior stands for, of the shape of `observed`."""
        model, windows = self._ready(observed)
        decoded = model.decode(model.distribution.mean(model.infer(windows))[None])[0] * self.scale
        return like(observed, decoded if self.width is not None else decoded.reshape(-1, *self.shape))

    @torch.no_grad()
    def elbo(self, observed: ArrayLike | Tensor, *, num_samples: int = 10, seed: int = 0) -> Array:
        """Return the lower bound of the log density of every window, in nats; the mean over some draws of the code.

        The weight of a learned threshold's divergence, where it is not 1, is part of it, so that it then is no bound.

        Parameters
        ----------
        observed : array, shape (batch, ...), or (batch, channel, sample) for signals
        num_samples, seed : int
            How many draws, and what decides them.

        Returns
        -------
        array, shape (batch,)
        """
        model, windows = self._ready(observed)
        check_at_least_one(num_samples=num_samples)
        distribution, variance = model.distribution, self.objective.noise_variance
        heads = model.infer(windows)
        with _seeded(seed, windows.device):
            codes = distribution.codes(heads, distribution.noise(heads, num_samples))
        nats = model.costs(windows, codes, variance).mean(dim=0) + distribution.kl(heads).sum(dim=(1, 2))
        constant = windows[0].numel() * (0.5 * math.log(2 * math.pi * variance) + math.log(self.scale))
        return like(observed, -nats - constant)

    def score(self, observed: ArrayLike | Tensor) -> float:
        """Return the mean of `elbo` over the windows; the higher the better."""
        return float(torch.as_tensor(self.elbo(observed)).mean())

    def statistics(self, observed: ArrayLike | Tensor, *, seed: int = 0) -> CodeStatistics:
        """Return which atoms collapsed and more, in the unit of the scaled data: see `CodeStatistics`."""
        model, windows = self._ready(observed)
        with _seeded(seed, windows.device):
            return describe_codes(model, windows)

    def atoms(self) -> np.ndarray:
        """Return the dictionary in the unit of the data, of shape (atom, ...), for signals (atom, channel, width)."""
        atoms = learned(self.model, VariationalSparseCoder).atoms.detach().cpu().numpy() * self.scale
        return atoms if self.width is not None else atoms.reshape(-1, *self.shape)

    def save(self, path: str | Path) -> None:
        """Write what was learned to a file that torch can read without running code."""
        model = learned(self.model, VariationalSparseCoder)
        save_whole(
            {
                "variational": {name: plain(getattr(self, name)) for name in _SETTINGS},
                "distribution": describe_dataclass(self.distribution, _KINDS),
                "objective": describe_dataclass(self.objective, _KINDS),
                "shape": list(self.shape),
                "scale": self.scale,
                "state": model.state_dict(),
            },
            path,
        )

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto") -> "VariationalSparseCoder":
        """Return a coder that `save` has written.

        Raises
        ------
        ValueError
            If the file is something else.
        """
        entries = ("variational", "distribution", "objective", "shape", "scale", "state")
        saved = load_saved(path, entries=entries, what="variational sparse coder")
        distribution, objective = (revive(saved[name], _KINDS) for name in ("distribution", "objective"))
        coder = cls(distribution=distribution, objective=objective, device=device, **saved["variational"])
        coder.shape, coder.scale = tuple(saved["shape"]), saved["scale"]
        model = coder._model_of(torch.ones_like(saved["state"]["atoms"]))
        model.load_state_dict(saved["state"])
        coder.model = model.to(choose_device(device))
        return coder

    def _checked(self, observed: ArrayLike | Tensor) -> Tensor:
        """Return finite numbers, or raise ValueError."""
        windows = as_tensor(observed, name="observed", device=choose_device(self.device)).float()
        if self.width is not None and windows.ndim != 3:
            raise ValueError(f"observed has shape {tuple(windows.shape)}: it must be (batch, channel, sample)")
        if windows.ndim < 2 or windows.numel() == 0:
            raise ValueError(f"observed has shape {tuple(windows.shape)}: it must be (batch, ...) and not empty")
        if self.width is not None and windows.shape[2] < self.width:
            raise ValueError(
                f"observed has shape {tuple(windows.shape)}: a window must be at least as long as the atoms, width = "
                f"{self.width} samples; use longer windows or a smaller width"
            )
        check_numbers("observed", windows)
        return windows

    def _as_windows(self, windows: Tensor) -> Tensor:
        """Return windows of shape (batch, channel, sample)."""
        return windows if self.width is not None else windows.flatten(1)[:, :, None]

    def _ready(self, observed: ArrayLike | Tensor) -> tuple[VariationalModel, Tensor]:
        """Return what was learned, and scaled windows that fit it, or raise ValueError."""
        model = learned(self.model, VariationalSparseCoder)
        windows = self._checked(observed)
        wanted, given = self.shape, tuple(windows.shape[1:])
        if given != wanted and (self.width is None or given[0] != wanted[0]):
            raise ValueError(f"observed has shape {tuple(windows.shape)}: it must be (batch, ...) as in fit, {wanted}")
        return model, self._as_windows(windows / self.scale)

    def _first_model(
        self,
        windows: Tensor,
        shape: tuple[int, ...],
        initial_atoms: ArrayLike | Tensor | None,
        scale: float,
        fitting: VariationalFitting,
    ) -> VariationalModel:
        atom_shape = (self.num_atoms, windows.shape[1], self.width or 1)
        if initial_atoms is not None:
            atoms = as_tensor(initial_atoms, name="initial_atoms", device=windows.device).float() / scale
            wanted = atom_shape if self.width is not None else (self.num_atoms, *shape)
            if tuple(atoms.shape) != wanted or not bool(atoms.any()):
                raise ValueError(
                    f"initial_atoms has shape {tuple(atoms.shape)}: it must have that of {wanted}, and not be all zero"
                )
            check_values("initial_atoms", atoms)
            return self._model_of(atoms.reshape(atom_shape))
        if self.width is None:
            atoms = torch.randn(atom_shape).to(windows)
        else:
            generator = torch.Generator().manual_seed(fitting.seed)
            pieces = draw_pieces({"all": windows}, {"all": self.width}, {"all": 1}, self.num_atoms, generator)
            atoms = pieces["all"]
        norms = atoms.flatten(1).norm(dim=1).clamp_min(torch.finfo(atoms.dtype).tiny)
        return self._model_of(atoms * (fitting.initial_norm / norms)[:, None, None])

    def _model_of(self, atoms: Tensor) -> VariationalModel:
        if self.network == "unrolled":
            network = UnrolledEncoder(atoms, self.distribution, num_iterations=self.depth)
        else:
            network = PerceptronEncoder((len(atoms), atoms.shape[1], atoms.shape[2]), self.distribution)
        return VariationalModel(atoms, network.to(atoms.device), self.distribution)


def _warn_of_failure(statistics: CodeStatistics, num_skipped: int, num_steps: int) -> None:
    if statistics.posterior_collapse == 1 or statistics.silent == 1:
        warnings.warn(
            "every atom's posterior collapsed to its prior, or to zero: the code tells nothing; lower "
            "objective.noise_variance or the prior's penalty, or start with a smaller fitting.first_kl",
            RuntimeWarning,
            stacklevel=3,
        )
    if num_skipped:
        warnings.warn(
            f"{num_skipped} of {num_steps} steps had a gradient that is not finite and were left out; lower "
            "fitting.learning_rate or fitting.dictionary_rate",
            RuntimeWarning,
            stacklevel=3,
        )


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from torch's global generators as from fresh ones, and leave them as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
