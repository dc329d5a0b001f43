"""Plain data to what a browser can read without copying: numbers as JSON, arrays as bytes."""

import base64
import math
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

# What JavaScript has typed arrays for; 64-bit integers are not among them.
_TYPES = {"f": "float32", "i": "int32", "u": "int32", "b": "uint8"}
_KEPT = ("float64", "float32", "int32", "int16", "uint8")


def pack(value: Any) -> Any:
    """Return a value as nested dictionaries and lists; an array becomes its type, its shape and its bytes.

    Parameters
    ----------
    value : dataclass, dict, sequence, ndarray, number, str, bool or None
        Arrays of integers must fit into 32 bits. NaN and infinity outside of arrays become None.

    Raises
    ------
    TypeError
        If something else is in it.
    OverflowError
        If an array holds integers that need more than 32 bits.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: pack(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(name): pack(entry) for name, entry in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind in _TYPES:
        dtype = _type_of(value)
        return {"dtype": dtype, "shape": list(value.shape), "data": np.ascontiguousarray(value, dtype).data}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [pack(entry) for entry in value]
    if isinstance(value, np.generic):
        return pack(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    raise TypeError(f"value of type {type(value).__name__} cannot be sent to a browser")


def _type_of(array: np.ndarray) -> str:
    """Return the type in which a browser reads all values of an array."""
    if array.dtype.name in _KEPT:
        return array.dtype.name
    if array.dtype.kind in "iu" and array.size:
        low, high, limits = int(array.min()), int(array.max()), np.iinfo("int32")
        if array.dtype.kind == "u" and limits.max < high <= np.iinfo("uint32").max:
            return "float64"
        if low < limits.min or high > limits.max:
            raise OverflowError(f"array holds integers from {low} to {high}: those sent to a browser fit into 32 bits")
    return _TYPES[array.dtype.kind]


def to_text(packed: Any) -> Any:
    """Return packed data with bytes as base64 text, for a file; what JSON has no number for becomes None."""
    if isinstance(packed, dict):
        return {name: to_text(entry) for name, entry in packed.items()}
    if isinstance(packed, (list, tuple)):
        return [to_text(entry) for entry in packed]
    if isinstance(packed, memoryview):
        return base64.b64encode(packed).decode("ascii")
    if isinstance(packed, float) and not math.isfinite(packed):
        return None
    return packed
