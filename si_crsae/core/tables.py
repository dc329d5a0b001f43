"""Dataclasses of arrays: rows picked and joined along an axis, and all arrays by name, as files keep them.

The annotations say which fields have one entry per row: the first axis of ``Float[np.ndarray, "event channel"]`` is
"event".
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch

Table = TypeVar("Table")


@cache
def columns_along(kind: Any, axis: str) -> tuple[str, ...]:
    """Return the fields of a dataclass that have one entry per row of an axis."""
    names = tuple(field.name for field in fields(kind) if getattr(field.type, "dim_str", "").split()[:1] == [axis])
    if not names:
        raise TypeError(f"{kind.__name__} has no field whose first axis is {axis!r}")
    return names


def no_rows(*shape: int, dtype: str = "float32") -> np.ndarray:
    """Return an array without values: the default of a column, of axes of these lengths."""
    return np.zeros(shape, dtype)


def select_rows(table: Table, rows: np.ndarray | torch.Tensor | slice, axis: str) -> Table:
    """Return a dataclass with some rows of an axis; fields of other axes stay.

    Parameters
    ----------
    table : dataclass
    rows : ndarray, Tensor or slice
        Mask, indices or slice.
    axis : str
        Name of the axis in the annotations.

    Raises
    ------
    TypeError
        If no field has this axis.
    """
    chosen = {name: getattr(table, name)[rows] for name in columns_along(type(table), axis)}
    return replace(table, **chosen)  # pyright: ignore[reportArgumentType]


def joined_columns(tables: Sequence[Any], *axes: str) -> dict[str, np.ndarray]:
    """Return the fields of some axes by name, those of all tables, at least one, in a row."""
    names = [name for axis in axes for name in columns_along(type(tables[0]), axis)]
    return {name: np.concatenate([getattr(table, name) for table in tables]) for name in names}


def concatenate_rows(tables: Sequence[Table], *axes: str) -> Table:
    """Return the first table, of at least one, with the rows of all along some axes; its other fields stay."""
    return replace(tables[0], **joined_columns(tables, *axes))  # pyright: ignore[reportArgumentType]


def check_lengths(table: Any, axis: str) -> None:
    """Raise ValueError unless all fields of an axis are equally long."""
    names = columns_along(type(table), axis)
    if len({getattr(table, name).shape[:1] for name in names}) > 1:
        shapes = {name: getattr(table, name).shape for name in names}
        raise ValueError(f"every array must have one entry per {axis}, but their shapes are {shapes}")


def to_arrays(value: Any) -> dict[str, Any]:
    """Return the arrays, tensors and numbers of a dataclass by name, also those of dataclasses in it.

    Fields of one name are taken for the same.
    """
    arrays: dict[str, Any] = {}
    for field in fields(value):
        part = getattr(value, field.name)
        arrays |= to_arrays(part) if is_dataclass(part) else {field.name: np.asarray(part)}
    return arrays


def from_arrays(kind: type[Table], arrays: Mapping[str, np.ndarray]) -> Table:
    """Return the dataclass of which `to_arrays` made arrays.

    Fields without an array keep their defaults, arrays without a field are left out.
    """
    parts = {}
    for field in fields(kind):  # pyright: ignore[reportArgumentType]
        if isinstance(field.type, type) and is_dataclass(field.type):
            parts[field.name] = from_arrays(field.type, arrays)
        elif field.name in arrays:
            parts[field.name] = _as_annotated(arrays[field.name], field.type)
    return kind(**parts)


def _as_annotated(values: np.ndarray, annotation: Any) -> Any:
    kind = getattr(annotation, "array_type", annotation)
    if kind is np.ndarray:
        return values
    return torch.from_numpy(values) if kind is torch.Tensor else kind(values)
