"""Units of a sorting from the annotations of neo's spike trains: which train is whose, and what is known of each."""

from __future__ import annotations

from typing import Any

import numpy as np

from si_crsae.names import check_property_name

# Annotations that describe a spike train, not its unit; NixIO adds the last one.
_RESERVED_ANNOTATIONS = frozenset({"unit_id", "waveform_kind", "nix_name"})
_INT64 = np.iinfo("int64")


def match_units(trains_by_segment: list[list]) -> dict[int | str, dict[int, Any]]:
    """Return, for each unit id, the spike train of each segment where the unit has one.

    Ids are all of one type: where some are strings, all are.

    Raises
    ------
    ValueError
        If units cannot be matched: without ids, or with ids that are no integers or strings, or the same.
    """
    has_ids = all("unit_id" in train.annotations for trains in trains_by_segment for train in trains)
    counts = [len(trains) for trains in trains_by_segment]
    if not has_ids and len(set(counts)) > 1:
        raise ValueError(
            f"source has {counts} spike trains in its segments and not all carry a unit_id, so units cannot be "
            "matched: call spike_train.annotate(unit_id=...) on each"
        )
    units: dict[int | str, dict[int, Any]] = {}
    for segment_index, trains in enumerate(trains_by_segment):
        for position, train in enumerate(trains):
            unit_id = _unit_id(train.annotations["unit_id"]) if has_ids else position
            own_trains = units.setdefault(unit_id, {})
            if segment_index in own_trains:
                raise ValueError(
                    f"source has two spike trains with unit_id = {unit_id!r} in segment {segment_index}: must be one; "
                    "merge them or annotate another unit_id"
                )
            own_trains[segment_index] = train
    return _with_ids_of_one_type(units)


def unit_properties(trains_by_unit: dict[int | str, dict[int, Any]]) -> dict[str, np.ndarray]:
    """Return the annotations that all spike trains have, the same on all of a unit, as one scalar of one type each.

    Raises
    ------
    ValueError
        If an annotation cannot be the name of a property.
    """
    units = [
        [{key: _plain(value) for key, value in train.annotations.items()} for train in trains.values()]
        for trains in trains_by_unit.values()
    ]
    properties = {}
    for key in units[0][0] if units else ():
        if key in _RESERVED_ANNOTATIONS or not all(key in train for trains in units for train in trains):
            continue
        values = _array_of_scalars([trains[0][key] for trains in units])
        if values is not None and all(_same(train[key], trains[0][key]) for trains in units for train in trains):
            properties[check_property_name(key, argument="annotation of a spike train")] = values
    return properties


def _unit_id(annotation: Any) -> int | str:
    """Return the integer or text of an annotation, which files hold in many types."""
    unit_id = annotation
    if isinstance(unit_id, list | tuple | np.ndarray) and np.size(unit_id) == 1:
        is_in_a_unit = bool(getattr(unit_id, "dimensionality", None))
        unit_id = annotation if is_in_a_unit else np.asarray(unit_id).item()
    unit_id = _plain(unit_id)
    if isinstance(unit_id, bytes):
        unit_id = unit_id.decode("utf8", errors="replace")
    if isinstance(unit_id, float) and unit_id.is_integer():
        unit_id = int(unit_id)
    if isinstance(unit_id, str) and not unit_id.endswith("\0"):  # which NumPy would take off
        return unit_id
    if isinstance(unit_id, int) and not isinstance(unit_id, bool) and _INT64.min <= unit_id <= _INT64.max:
        return unit_id
    raise ValueError(
        f"unit_id = {annotation!r} on a spike train: must be an integer or a string; annotate it with another unit_id"
    )


def _with_ids_of_one_type(units: dict[int | str, dict[int, Any]]) -> dict[int | str, dict[int, Any]]:
    """Return the same units by texts if any id is one: an array of ids makes texts of all of them."""
    if not any(isinstance(unit_id, str) for unit_id in units):
        return units
    texts = {str(unit_id): trains for unit_id, trains in units.items()}
    if len(texts) < len(units):
        clashing = next(unit_id for unit_id in units if isinstance(unit_id, int) and str(unit_id) in units)
        raise ValueError(
            f"source has spike trains with unit_id = {clashing!r} and {str(clashing)!r}: ids of a sorting are all "
            "integers or all strings, so these would be the same; annotate ids of one type"
        )
    return {**texts}


def _array_of_scalars(values: list) -> np.ndarray | None:
    """Return values that are all booleans, all numbers or all texts as an array; None for others, and huge integers."""
    types = {type(value) for value in values}
    if types not in ({bool}, {int}, {float}, {int, float}, {str}):
        return None
    array = np.array(values)
    return array if array.dtype.kind in "biufU" and (types != {int} or array.dtype.kind in "iu") else None


def _same(first: Any, second: Any) -> bool:
    """Tell whether two scalars are equal; NaN is itself."""
    is_number = {type(first), type(second)} <= {int, float}
    is_nan = is_number and first != first and second != second
    return is_nan or ((is_number or type(first) is type(second)) and first == second)


def _plain(value: Any) -> Any:
    """Return the Python value of a NumPy scalar, as which some readers give annotations."""
    return value.item() if isinstance(value, np.generic) else value
