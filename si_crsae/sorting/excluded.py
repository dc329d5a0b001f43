"""Excluded periods of all groups of channels: a recording without them, and what a run keeps of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped
from spikeinterface.core import BaseRecording
from spikeinterface.core.base import base_period_dtype

from si_crsae.config import CrsaeConfig
from si_crsae.core.tables import select_rows
from si_crsae.sorting.inventory import GroupResult, Inventory
from si_crsae.sorting.runs.manifest import noted_whole
from si_crsae.sorting.signal.periods import ExcludedPeriods, exclude
from si_crsae.sorting.signal.recording import channel_groups

PERIODS_FILE = "excluded_periods.npy"
PERIODS_DTYPE = [*base_period_dtype, ("is_artifact", "bool"), ("group_index", "int64")]


def excluded_everywhere(groups: list[GroupResult]) -> ExcludedPeriods:
    """Return the periods that are excluded in all groups: given ones, and the artifacts of a single group."""
    if not groups:
        return ExcludedPeriods()
    periods = groups[0].excluded
    return periods if len(groups) == 1 else select_rows(periods, ~periods.is_artifact, "period")


def without_excluded(recording: BaseRecording, excluded: list[ExcludedPeriods], config: CrsaeConfig) -> BaseRecording:
    """Return a raw recording without what was recorded in the periods that each of its groups excludes."""
    if len(excluded) == 1:
        return exclude(recording, excluded[0], config)
    group_of_channel = channel_groups(recording)
    filled = recording
    for value, periods in zip(np.unique(group_of_channel), excluded, strict=True):
        channel_ids = recording.channel_ids[group_of_channel == value].tolist()
        filled = exclude(filled, periods, config, channel_ids=channel_ids)
    return filled


def outside_excluded(units: Inventory, groups: list[GroupResult]) -> Inventory:
    """Return the units with no spike in a period that their group excludes: where a shift put it there, beside it."""
    spikes = units.spikes.copy()
    group_of_spike = np.array([group for group, _ in units.sources], "int64")[spikes["unit_index"]]
    for index, group in enumerate(groups):
        mine = np.flatnonzero(group_of_spike == index)
        if len(group.excluded) and mine.size:
            times = group.excluded.nearest_outside(spikes["segment_index"][mine], spikes["sample_index"][mine])
            spikes["sample_index"][mine] = times
    return replace(units, spikes=spikes).in_order_of_time()


def save_excluded(groups: list[GroupResult], segments: Int[np.ndarray, " segment"], folder: Path) -> None:
    """Save the periods of all groups; `segments` are those of the user's recording that were sorted."""
    parts = [np.zeros(0, PERIODS_DTYPE)]
    for index, group in enumerate(groups):
        part = np.zeros(len(group.excluded), PERIODS_DTYPE)
        part["segment_index"] = segments[group.excluded.segment_index]
        part["start_sample_index"] = group.excluded.start_sample
        part["end_sample_index"] = group.excluded.end_sample
        part["is_artifact"], part["group_index"] = group.excluded.is_artifact, index
        parts.append(part)
    with noted_whole(folder / PERIODS_FILE) as unfinished:
        np.save(unfinished, np.concatenate(parts))


def load_excluded_periods(folder: str | Path) -> Shaped[np.ndarray, " period"]:
    """Return the periods in which a run has looked for nothing, those given and those found as artifacts.

    Parameters
    ----------
    folder : str or Path
        The folder given to ``run_sorter``.

    Returns
    -------
    ndarray, shape (period,)
        Fields of SpikeInterface's ``base_period_dtype``, ``segment_index``, ``start_sample_index`` and
        ``end_sample_index`` (one after the last); ``is_artifact``; and ``group_index``, the group of channels, counted
        in the order of their property ``group``.

    Raises
    ------
    ValueError
        If the folder is not that of a complete crsae run.
    """
    path = Path(folder) / "sorter_output" / PERIODS_FILE
    if not path.is_file():
        raise ValueError(f"folder = {str(folder)!r} holds no {PERIODS_FILE}: give the folder of a complete crsae run")
    return np.load(path, allow_pickle=False)


def excluded_of_run(folder: Path, num_groups: int) -> list[ExcludedPeriods]:
    """Return the periods of every group of a run, in segments of the user's recording; none of an older run."""
    if not (folder / "sorter_output" / PERIODS_FILE).is_file():
        return [ExcludedPeriods()] * num_groups
    saved = load_excluded_periods(folder)
    return [
        ExcludedPeriods(
            segment_index=mine["segment_index"],
            start_sample=mine["start_sample_index"],
            end_sample=mine["end_sample_index"],
            is_artifact=mine["is_artifact"],
        )
        for mine in (saved[saved["group_index"] == group] for group in range(num_groups))
    ]
