"""What parameters and observations must be."""

import math
from collections.abc import Collection
from numbers import Integral, Real

from torch import Tensor, is_autocast_enabled


def check_positive(name: str, value: float, *, remedy: str = "") -> None:
    """Raise ValueError for a number that is not positive and finite; the remedy says what to do instead."""
    if not (_is_real(value) and 0 < value < math.inf):
        raise ValueError(f"{name} = {_shown(value)}: it must be positive and finite{remedy and f'; {remedy}'}")


def check_at_least_one(**named: int) -> None:
    """Raise ValueError for what, given by the name of its argument, is no whole number or below 1."""
    for name, value in named.items():
        if not (isinstance(value, Integral) and value >= 1):
            raise ValueError(f"{name} = {_shown(value)}: it must be at least 1, a whole number")


def check_at_least_zero(**named: float | int) -> None:
    """Raise ValueError for a number, given by the name of its argument, that is negative or not finite."""
    for name, value in named.items():
        if not (_is_real(value) and 0 <= value < math.inf):
            raise ValueError(f"{name} = {_shown(value)}: it must be at least 0 and finite")


def check_share(**named: float) -> None:
    """Raise ValueError for a number, given by the name of its argument, that is not from 0 to 1."""
    for name, value in named.items():
        if not (_is_real(value) and 0 <= value <= 1):
            raise ValueError(f"{name} = {_shown(value)}: it must be from 0 to 1")


def check_seed(seed: int) -> None:
    """Raise ValueError for what no generator can start from."""
    if not (isinstance(seed, Integral) and 0 <= seed < 2**63):
        raise ValueError(f"seed = {seed!r}: it must be a whole number from 0 to {2**63 - 1}")


def check_one_of(name: str, value: str, choices: Collection[str]) -> None:
    """Raise ValueError for a word that is none of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} = {value!r}: it must be one of {', '.join(choices)}")


def check_finite(observed: Tensor, *, name: str = "observed") -> None:
    """Raise ValueError for NaN and infinite values."""
    if not bool(observed.isfinite().all()):
        raise ValueError(f"{name} has NaN or infinite values: fill them in, or leave their windows out")


def check_counts(observed: Tensor, *, name: str = "observed") -> None:
    """Raise ValueError for what is no count."""
    check_finite(observed, name=name)
    if bool((observed < 0).any()):
        raise ValueError(f"{name} has values down to {float(observed.min()):g}: counts are zero or more")
    if bool((observed != observed.round()).any()):
        raise ValueError(f"{name} has fractional values: counts are whole; do not divide by the bin or by the trials")


def check_tensor(name: str, values: object) -> None:
    """Raise ValueError for what is no tensor."""
    if not isinstance(values, Tensor):
        raise ValueError(f"{name} is a {type(values).__name__}: it must be a tensor, such as torch.as_tensor makes")


def check_fit(name: str, windows: Tensor, atoms: Tensor, *, axis: int = 1) -> None:
    """Raise ValueError for windows, or with axis 0 codes, that atoms do not fit; the name is that of the argument."""
    check_tensor(name, windows)
    check_tensor("atoms", atoms)
    shape, wanted = tuple(windows.shape), tuple(atoms.shape)
    if windows.ndim != atoms.ndim or atoms.ndim not in (3, 4):
        raise ValueError(
            f"{name} has shape {shape} and atoms {wanted}: both must have three axes, such as (batch, channel, sample) "
            "and (atom, channel, width), or, for images, four"
        )
    if shape[1] != wanted[axis]:
        what = ("atoms", "channels")[axis]
        raise ValueError(f"{name} has {shape[1]} {what} and atoms {wanted[axis]}: there must be as many")
    if windows.device != atoms.device:
        raise ValueError(
            f"{name} lies on {windows.device} and atoms on {atoms.device}: move one, as in {name}.to(atoms.device)"
        )
    if windows.dtype != atoms.dtype and not is_autocast_enabled(windows.device.type):
        raise ValueError(f"{name} is {windows.dtype} and atoms {atoms.dtype}: convert one with {name}.to(atoms.dtype)")


def _is_real(value: object) -> bool:
    return isinstance(value, Real) or (isinstance(value, Tensor) and value.ndim == 0)


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else str(value)
