"""Arrays of numpy and tensors at the doors of the models: in as tensors on one device, out as what came in."""

import re

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from si_crsae.core.checks import check_fit

Array = np.ndarray | Tensor
# One number is an array too; checks of types do not take a float for a complex number.
Values = ArrayLike | Tensor | float
DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
_KINDS_OF_NUMBERS = "biuf"


def check_device(name: str) -> None:
    """Raise ValueError for what names no device."""
    if not isinstance(name, str) or not DEVICE.fullmatch(name):
        raise ValueError(f"device = {name!r}: it must be one of auto, cpu, cuda, or cuda:N for the GPU number N")


def choose_device(name: str) -> torch.device:
    """Return the device of a name, where "auto" is a GPU if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def as_floats(values: Values, *, name: str) -> Tensor:
    """Return floats, of single precision at least, or raise ValueError with the name of the argument.

    Tensors stay where they are and keep their graph; what is none gets single precision, on the CPU.
    """
    if isinstance(values, Tensor):
        if values.is_complex():
            raise ValueError(f"{name} is complex: it must be real")
        if values.is_meta or values.layout != torch.strided:
            raise ValueError(f"{name} is {values.layout} on {values.device}: it must be dense and have values")
        return values.to(_float_of(values.dtype))
    with np.errstate(over="ignore"):  # what is infinite then is told where values are checked
        return torch.from_numpy(_numbers(values, name).astype("float32"))


def as_tensor(values: Values, *, name: str, device: torch.device) -> Tensor:
    """Return floats on a device, of single precision at least, or raise ValueError with the name of the argument."""
    if isinstance(values, Tensor):
        return as_floats(values.detach(), name=name).to(device)
    array = _numbers(values, name)
    precision = "float64" if array.dtype.kind == "f" and array.dtype.itemsize >= 8 else "float32"
    return torch.from_numpy(array.astype(precision)).to(device)


def as_whole_numbers(values: Values, *, name: str) -> np.ndarray:
    """Return integers, or raise ValueError with the name of the argument; the shape is not looked at."""
    array = _numbers(values.detach().cpu() if isinstance(values, Tensor) else values, name)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} has dtype {array.dtype}: it must hold whole numbers")
    return array


def as_atoms(atoms: Values, *, name: str = "atoms") -> Tensor:
    """Return first atoms, each of which has a shape, or raise ValueError; a copy without a graph."""
    tensor = as_floats(atoms, name=name).detach().clone()
    if tensor.ndim not in (3, 4) or tensor.numel() == 0:
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}: it must be (atom, channel, width), or "
            "(atom, channel, height, width) for images, and not empty"
        )
    check_values(name, tensor)
    if not bool((tensor.flatten(1).norm(dim=1) > 0).all()):
        raise ValueError(f"{name}: one or more are all zero; each must have a shape, see initialize_atoms")
    return tensor


def as_windows(windows: Values, *, name: str, atoms: Tensor) -> Tensor:
    """Return windows, of the precision of the atoms, which fit into them; or raise ValueError."""
    tensor = as_floats(windows, name=name)
    # what has no device of its own goes to that of the atoms
    tensor = tensor.to(atoms.dtype) if isinstance(windows, Tensor) else tensor.to(atoms)
    check_fit(name, tensor, atoms)
    if tensor.numel() == 0:
        raise ValueError(f"{name} is empty, of shape {tuple(tensor.shape)}: it must have at least one window")
    if any(size < width for size, width in zip(tensor.shape[2:], atoms.shape[2:], strict=True)):
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}: a window must be at least as long as the atoms, "
            f"{tuple(atoms.shape[2:])}; use longer windows or shorter atoms"
        )
    check_values(name, tensor)
    return tensor


def check_broadcast(name: str, values: Tensor, shape: tuple[int, ...], *, to: str) -> None:
    """Raise ValueError for values that do not broadcast to a shape, which is that of what is called so."""
    try:
        values.broadcast_to(shape)
    except RuntimeError as error:
        raise ValueError(f"{name} has shape {tuple(values.shape)}: it must broadcast to {to}, {shape}") from error


def check_numbers(name: str, tensor: Tensor) -> None:
    """Raise ValueError for NaN and infinite values, however large the others are."""
    num_bad = int((~tensor.isfinite()).sum())
    if num_bad:
        raise ValueError(
            f"{name} has {num_bad} NaN or infinite values: replace them, with zeros for instance, or leave them out"
        )


@torch.no_grad()
def check_values(name: str, tensor: Tensor) -> None:
    """Raise ValueError for NaN, for infinite values, and for those whose squares are."""
    if bool(tensor.square().sum().isfinite()):
        return
    check_numbers(name, tensor)
    raise ValueError(
        f"{name} has values up to {float(tensor.abs().max()):.3g}, whose squares are infinite: scale it, or leave out "
        "what is no signal"
    )


def like(given: ArrayLike | Tensor, result: Tensor) -> Array:
    """Return a result as the kind of array that was given."""
    return result if isinstance(given, Tensor) else result.cpu().numpy()


def _float_of(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype if dtype.is_floating_point else torch.float32, torch.float32)


def _numbers(values: Values, name: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} is no array of numbers: {error}") from error
    if array.dtype.kind == "c":
        raise ValueError(f"{name} is complex: it must be real")
    if array.dtype.kind not in _KINDS_OF_NUMBERS:
        raise ValueError(f"{name} has dtype {array.dtype}: it must hold real numbers")
    return np.ascontiguousarray(array) if array.ndim else array
