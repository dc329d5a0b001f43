"""The training loop that all models share, and what it keeps."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor
from tqdm.auto import tqdm

from si_crsae.core.checks import check_at_least_one, check_seed
from si_crsae.models.arrays import as_floats
from si_crsae.models.checks import check_windows


@runtime_checkable
class Trainer(Protocol):
    """One way to train one model."""

    @property
    def model(self) -> torch.nn.Module:
        """The model that is trained, in place."""
        ...

    def step(self, windows: Tensor) -> float:
        """Change the model for a mini-batch; returns its loss before the change."""
        ...

    def loss(self, windows: Tensor) -> float:
        """Return the loss of some windows, per window."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingHistory:
    """What happened in each epoch; entry 0 of all but `training_loss` is what training started from.

    Parameters
    ----------
    training_loss : tuple of float
        Mean loss of the epoch's mini-batches, each before its step.
    validation_loss : tuple of float
        Loss of the validation windows after each epoch.
    parameters : tuple of dict
        The model's parameters after each epoch, by name.
    best_epoch : int
        The epoch of least validation loss, whose parameters the model has.
    """

    training_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    parameters: tuple[dict[str, Tensor], ...]
    best_epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport:
    """How far training is.

    Parameters
    ----------
    epoch, num_epochs : int
        Epochs that are over, 0 before the first, and how many there will be.
    training_loss : float or None
        Mean loss of the epoch's mini-batches, each before its step; None before the first epoch.
    validation_loss : float
        Loss of the validation windows after the epoch.
    parameters : dict
        The model's parameters after the epoch, by name; copies.
    """

    epoch: int
    num_epochs: int
    training_loss: float | None
    validation_loss: float
    parameters: dict[str, Tensor]


OnEpoch = Callable[[EpochReport], None]


@runtime_checkable
class FittingSettings(Protocol):
    """What the settings have in common with which the faces of the models learn."""

    @property
    def num_epochs(self) -> int:
        """Passes over the windows."""
        ...

    @property
    def batch_size(self) -> int:
        """Windows of a step."""
        ...

    @property
    def seed(self) -> int:
        """What decides all that is drawn at random."""
        ...

    @property
    def progress(self) -> bool:
        """Whether a bar of epochs is shown."""
        ...


def train(
    trainer: Trainer,
    windows: Float[Tensor, "batch channel *sample"] | ArrayLike,
    validation: Float[Tensor, "held_out channel *sample"] | ArrayLike,
    *,
    num_epochs: int,
    batch_size: int,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    seed: int = 0,
    progress: bool | OnEpoch = False,
) -> TrainingHistory:
    """Train a model and leave it with the parameters of the epoch of least validation loss.

    Parameters
    ----------
    trainer : Trainer
        The model and how it learns.
    windows : Tensor, shape (batch, channel, ...)
        What it learns from.
    validation : Tensor, shape (held_out, channel, ...)
        What decides which epoch is best.
    num_epochs : int
        Passes over the windows.
    batch_size : int
        Windows of a step; see `choose_batch_size`.
    augment : callable, default: None
        Turns a mini-batch into another that the model should explain as well; see `flip_and_rotate`.
    seed : int, default: 0
        Decides the order of the windows and the augmentation.
    progress : bool or callable, default: False
        If True, show a bar of epochs. A function is called with an `EpochReport` before the first epoch and after each.

    Returns
    -------
    TrainingHistory

    Raises
    ------
    ValueError
        If there is nothing to learn from, or a number is out of range.
    """
    check_at_least_one(num_epochs=num_epochs, batch_size=batch_size)
    check_seed(seed)
    windows, validation = as_both(windows, validation)
    generator = torch.Generator().manual_seed(seed)
    model = trainer.model
    training_loss: list[float] = []
    validation_loss = [trainer.loss(validation)]
    parameters = [_snapshot(model)]
    _report(progress, num_epochs, training_loss, validation_loss, parameters)
    for _ in tqdm(range(num_epochs), desc="train", disable=callable(progress) or not progress):
        order = torch.randperm(len(windows), generator=generator)
        if batch_size >= len(windows):
            order = order.sort().values  # no need to mix what one step takes whole
        losses = []
        for chosen in order.split(batch_size):
            batch = windows[chosen]
            losses.append(trainer.step(batch if augment is None else augment(batch, generator)))
        training_loss.append(math.fsum(losses) / len(losses))
        validation_loss.append(trainer.loss(validation))
        parameters.append(_snapshot(model))
        _report(progress, num_epochs, training_loss, validation_loss, parameters)
    best_epoch = min(range(len(validation_loss)), key=validation_loss.__getitem__)
    model.load_state_dict(parameters[best_epoch])
    return TrainingHistory(
        training_loss=tuple(training_loss),
        validation_loss=tuple(validation_loss),
        parameters=tuple(parameters),
        best_epoch=best_epoch,
    )


def as_both(
    windows: ArrayLike | Tensor, validation: ArrayLike | Tensor
) -> tuple[Float[Tensor, "batch channel *sample"], Float[Tensor, "held_out channel *sample"]]:
    """Return what is learned from and what decides as floats, or raise ValueError if one is not like the other."""
    windows, validation = as_floats(windows, name="windows"), as_floats(validation, name="validation")
    check_windows(windows=windows, validation=validation)
    if validation.ndim != windows.ndim or validation.shape[1] != windows.shape[1]:
        raise ValueError(
            f"validation has shape {tuple(validation.shape)} and windows {tuple(windows.shape)}: they must have the "
            "same axes and channels"
        )
    return windows, validation


def train_as_set(
    trainer: Trainer,
    windows: Float[Tensor, "batch channel *sample"],
    validation: Float[Tensor, "held_out channel *sample"],
    *,
    fitting: FittingSettings,
    on_epoch: OnEpoch | None = None,
) -> TrainingHistory:
    """Train a model by the settings of its face, see `train`; `on_epoch` takes the place of a bar of epochs."""
    return train(
        trainer,
        windows,
        validation,
        num_epochs=fitting.num_epochs,
        batch_size=fitting.batch_size,
        seed=fitting.seed,
        progress=on_epoch or fitting.progress,
    )


def count_steps(windows: Float[Tensor, "batch channel *sample"], fitting: FittingSettings) -> int:
    """Return how many steps a training on some windows takes."""
    return fitting.num_epochs * -(-len(windows) // fitting.batch_size)


def hold_out(
    windows: Float[Tensor, "batch channel *sample"], share: float, *, generator: torch.Generator
) -> tuple[Float[Tensor, "training channel *sample"], Float[Tensor, "held_out channel *sample"]]:
    """Return windows to learn from and windows to validate with, drawn at random; one alone serves for both."""
    order = torch.randperm(len(windows), generator=generator).to(windows.device)
    number = max(round(share * len(windows)), 1)
    return windows[order[number:] if len(windows) > number else order], windows[order[:number]]


def flip_and_rotate(windows: Tensor, generator: torch.Generator) -> Tensor:
    """Return the windows, each with a random sign and circularly moved by a random number of samples: section VI-C.

    The sign is for models with two-sided shrinkage only.
    """
    num_samples = windows.shape[-1]
    sign = 1 - 2 * torch.randint(2, (len(windows), *[1] * (windows.ndim - 1)), generator=generator)
    delay = torch.randint(num_samples, (len(windows), 1), generator=generator)
    source = ((torch.arange(num_samples) - delay) % num_samples).to(windows.device)
    index = source.view(len(windows), *[1] * (windows.ndim - 2), num_samples).expand_as(windows)
    return sign.to(windows.device) * windows.gather(-1, index)


def _report(
    progress: bool | OnEpoch,
    num_epochs: int,
    training_loss: list[float],
    validation_loss: list[float],
    parameters: list[dict[str, Tensor]],
) -> None:
    if callable(progress):
        report = EpochReport(
            epoch=len(training_loss),
            num_epochs=num_epochs,
            training_loss=training_loss[-1] if training_loss else None,
            validation_loss=validation_loss[-1],
            parameters=parameters[-1],
        )
        progress(report)


def _snapshot(model: torch.nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())
