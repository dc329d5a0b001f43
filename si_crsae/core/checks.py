"""What likelihoods ask of numbers and observations."""

import math

from torch import Tensor


def check_positive(name: str, value: float) -> None:
    """Raise ValueError for a number that is not positive and finite."""
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} = {value}: it must be positive and finite")


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
