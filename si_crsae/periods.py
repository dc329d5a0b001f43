"""Periods of a recording as a user may write them, in one form that a JSON file can hold."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

# SpikeInterface's `base_period_dtype`, and what its and neo's events and epochs call the beginning of one.
SAMPLE_FIELDS = ("segment_index", "start_sample_index", "end_sample_index")
TIME_FIELDS = ("time", "timestamp")
SECOND_FIELDS = ("segment_index", "start_s", "end_s")
WANTED = (
    "write pairs (start, end) in s, one list of pairs for each segment where there are several, or an array of "
    "SpikeInterface's: periods with segment_index, start_sample_index and end_sample_index, or events with time and "
    "duration"
)

Period = dict[str, Any]


def plain_periods(given: Any) -> list[Period]:
    """Return periods as dictionaries of numbers.

    Parameters
    ----------
    given : list or ndarray
        Pairs (start, end) in s; a list of such pairs for each segment; an array of SpikeInterface's
        ``base_period_dtype``, or of events with the fields ``time`` and ``duration``, both in s, or a list of them, one
        for each segment; or what this function has returned.

    Returns
    -------
    list of dict
        With either ``start_s`` and ``end_s`` or ``start_sample_index`` and ``end_sample_index``, and ``segment_index``,
        None where no segment was named.

    Raises
    ------
    ValueError
        If it is something else, or a period does not end after its start.

    Examples
    --------
    >>> plain_periods([(1.5, 2)])
    [{'segment_index': None, 'start_s': 1.5, 'end_s': 2.0}]
    >>> plain_periods([[], [(0, 3)]])
    [{'segment_index': 1, 'start_s': 0.0, 'end_s': 3.0}]
    """
    if _has_fields(given) or not isinstance(given, Sequence | np.ndarray) or isinstance(given, str):
        return _of_list(given, None)
    items = list(given)
    if items and all(_is_list_of_periods(item) for item in items):
        return [period for segment, item in enumerate(items) for period in _of_list(item, segment)]
    return _of_list(items, None)


def _has_fields(given: Any) -> bool:
    return isinstance(given, np.ndarray) and given.dtype.names is not None


def _is_list_of_periods(item: Any) -> bool:
    """Tell whether something is the list of one segment, and not a period."""
    if _has_fields(item):
        return item.ndim == 1
    if not isinstance(item, Sequence | np.ndarray) or isinstance(item, str):
        return False
    return all(isinstance(each, Sequence | np.ndarray | dict) and not isinstance(each, str) for each in item)


def _of_list(given: Any, segment: int | None) -> list[Period]:
    if _has_fields(given):
        return [_checked(_of_record(dict(zip(given.dtype.names, row.tolist(), strict=True)), segment)) for row in given]
    if not isinstance(given, Iterable) or isinstance(given, str | dict):
        raise ValueError(f"{given!r} is no list of periods: {WANTED}")
    return [_checked(_of_item(item, segment)) for item in given]


def _of_item(item: Any, segment: int | None) -> Period:
    if isinstance(item, dict):
        return _of_record(item, segment)
    if isinstance(item, np.void) and item.dtype.names:
        return _of_record(dict(zip(item.dtype.names, item.tolist(), strict=True)), segment)
    try:
        start, end = (float(value) for value in item)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{item!r} is no period: {WANTED}") from error
    return {"segment_index": segment, "start_s": start, "end_s": end}


def _of_record(record: dict[str, Any], segment: int | None) -> Period:
    time = next((name for name in TIME_FIELDS if name in record), None)
    if time is not None and "duration" in record:
        start = float(record[time])
        return {"segment_index": segment, "start_s": start, "end_s": start + float(record["duration"])}
    for names, kind in ((SAMPLE_FIELDS, int), (SECOND_FIELDS, float)):
        if all(name in record for name in names):
            own = segment if record["segment_index"] is None else int(record["segment_index"])
            return {"segment_index": own} | {name: kind(record[name]) for name in names[1:]}
    raise ValueError(f"fields {', '.join(map(repr, record))} do not tell a period: {WANTED}")


def _checked(period: Period) -> Period:
    start, end = (value for name, value in period.items() if name != "segment_index")
    if not (np.isfinite(start) and np.isfinite(end)):
        raise ValueError(f"({start}, {end}) is no period: both ends must be finite")
    if end <= start:
        raise ValueError(f"({start}, {end}) is no period: it must end after its start")
    if period["segment_index"] is not None and period["segment_index"] < 0:
        raise ValueError(f"segment_index = {period['segment_index']}: segments are counted from 0")
    return period
