"""What parameters and observations must be."""

import math
from collections.abc import Collection

from torch import Tensor


def check_positive(name: str, value: float) -> None:
    """Raise ValueError for a number that is not positive and finite."""
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} = {value}: it must be positive and finite")


def check_at_least_one(**named: float | int) -> None:
    """Raise ValueError for a number, given by the name of its argument, that is below 1."""
    for name, value in named.items():
        if value < 1:
            raise ValueError(f"{name} = {value}: it must be at least 1")


def check_at_least_zero(**named: float | int) -> None:
    """Raise ValueError for a number, given by the name of its argument, that is negative or not finite."""
    for name, value in named.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} = {value}: it must be at least 0 and finite")


def check_one_of(name: str, value: str, choices: Collection[str]) -> None:
    """Raise ValueError for a word that is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name} = {value!r}: it must be one of {', '.join(choices)}")


def check_finite(observed: Tensor) -> None:
    """Raise ValueError for NaN and infinite values."""
    if not bool(observed.isfinite().all()):
        raise ValueError("observed has NaN or infinite values: fill them in, or leave their windows out")


def check_counts(observed: Tensor) -> None:
    """Raise ValueError for what is no count."""
    check_finite(observed)
    if bool((observed < 0).any()):
        raise ValueError(f"observed has values down to {float(observed.min()):g}: counts are zero or more")
    if bool((observed != observed.round()).any()):
        raise ValueError("observed has fractional values: counts are whole; do not divide by the bin or by the trials")
