"""What all models ask of the windows that they get, and their faces of what they have learned."""

from typing import TypeVar

from torch import Tensor
from torch.nn import Module

from si_crsae.models.arrays import check_values

Model = TypeVar("Model", bound=Module)


def check_windows(**named: Tensor) -> None:
    """Raise ValueError if windows, given by the name of their argument, are none or not finite."""
    for name, windows in named.items():
        if windows.ndim < 2 or windows.numel() == 0:
            raise ValueError(
                f"{name} is empty or has no axis of windows, its shape is {tuple(windows.shape)}: it must be "
                "(batch, channel, ...) with at least one window"
            )
        check_values(name, windows)


def learned(model: Model | None, face: type) -> Model:
    """Return what a face has learned, or raise ValueError if that is nothing yet."""
    if model is None:
        raise ValueError(f"nothing has been learned yet: call fit, or {face.__name__}.load")
    return model
