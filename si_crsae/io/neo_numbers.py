"""Numbers and quantities in the units of SpikeInterface; what could be misread is refused."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

# Attributes by which quantities of other packages (astropy, pint, brian2) are known; as arrays they lose their unit.
_FOREIGN = ("unit", "units", "dim", "dimensionality")
_EXAMPLES = {"Hz": "30 * quantities.kHz", "s": "20 * quantities.ms"}


def number_in(unit: str, value: Any, *, name: str) -> float:
    """Return a finite number in a unit.

    Parameters
    ----------
    unit : {"Hz", "s"}
    value : float or Quantity
        A plain number is in that unit. Arrays of one element and texts of a number are taken as well.
    name : str
        What it is, for the message.

    Raises
    ------
    TypeError
        If it is neither a number nor a quantity of the package `quantities`.
    ValueError
        If it is several numbers, of another dimension, or not finite.
    """
    number = _plain_number(unit, value, name)
    if not math.isfinite(number):
        raise ValueError(f"{name} = {value}: must be finite; {_remedy(unit)}")
    return number


def rate_in_hz(value: Any, *, name: str) -> float:
    """Return a sampling rate in Hz, see `number_in`; it must be positive."""
    rate = number_in("Hz", value, name=name)
    if rate <= 0:
        raise ValueError(f"{name} = {value}: must be positive; {_remedy('Hz')}")
    return rate


def refuse_foreign_quantity(value: Any, *, name: str) -> None:
    """Raise for a quantity of another package, or several in a list: as an array it would silently lose its unit.

    Raises
    ------
    TypeError
    """
    import quantities

    if isinstance(value, quantities.Quantity):
        return
    entries = value if isinstance(value, list | tuple) else [value]
    attributes = [getattr(entry, attribute, None) for entry in entries for attribute in _FOREIGN]
    if any(attribute is not None and not callable(attribute) for attribute in attributes):
        raise TypeError(
            f"{name} is a {type(value).__name__} with units: must be numbers or one quantity of the package "
            "quantities, such as numpy.array([1.0, 2.0]) * quantities.uV"
        )


def _plain_number(unit: str, value: Any, name: str) -> float:
    import quantities

    if isinstance(value, quantities.Quantity):
        return _rescaled(unit, value, name)
    if isinstance(value, list | tuple) and len(value) == 1:
        return _plain_number(unit, value[0], name)
    if isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
        return _plain_number(unit, value.item(), name)
    refuse_foreign_quantity(value, name=name)
    try:
        if isinstance(value, str | bytes) or (isinstance(value, Real) and not isinstance(value, bool | np.generic)):
            return float(value)
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name} = {value!r}: must be one finite number; {_remedy(unit)}") from error
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} = {value!r}: must be a number or a quantity; {_remedy(unit)}")
    if array.size != 1:
        raise ValueError(f"{name} = {value!r}: must be one number; {_remedy(unit)}")
    return float(array.item())


def _rescaled(unit: str, quantity: Any, name: str) -> float:
    import quantities

    if quantity.size != 1 or quantity.dtype.kind not in "iuf":
        raise ValueError(f"{name} = {quantity}: must be one real number; {_remedy(unit)}")
    try:
        return quantities.Quantity(quantity.magnitude.astype("float64"), quantity.units).rescale(unit).item()
    except ValueError as error:
        raise ValueError(
            f"{name} = {quantity}: {quantity.dimensionality} cannot be converted to {unit}; {_remedy(unit)}"
        ) from error


def _remedy(unit: str) -> str:
    return f"give it in {unit}, or as a quantity such as {_EXAMPLES[unit]}"
