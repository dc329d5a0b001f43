"""Spikes as rows of a list, which one column sorts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.widgets.view_models.unit_activity import spike_times_s, spikes_in_segment

MAX_LISTED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSpikes:
    """A part of the spikes as rows, sorted by one column."""

    time_s: Float[np.ndarray, " row"]
    unit: Int[np.ndarray, " row"]
    amplitude: Float[np.ndarray, " row"]
    probability: Float[np.ndarray, " row"] | None
    sort: str
    is_down: bool
    num_spikes: int
    """How many there are in the segment."""


def listed_spikes(
    sorted_recording: SortedRecording,
    units: Sequence[int],
    *,
    segment_index: int = 0,
    sort: tuple[str, bool] = ("time", False),
) -> ListedSpikes:
    """Return the first spikes of some units in a segment, sorted by a column.

    Parameters
    ----------
    sorted_recording : SortedRecording
    units : sequence of int
        Indices of the units.
    segment_index : int, default: 0
    sort : tuple of str and bool, default: ("time", False)
        "time", "unit", "amplitude" or "probability", and whether the largest comes first.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    inventory, posterior = sorted_recording.units, sorted_recording.posterior
    parts = [spikes_in_segment(sorted_recording, unit, segment_index) for unit in units]
    spikes = np.sort(np.concatenate(parts or [np.zeros(0, "int64")]))
    columns = {
        "time": spike_times_s(sorted_recording, spikes),
        "unit": inventory.spikes["unit_index"][spikes],
        "amplitude": inventory.relative_amplitude(spikes).astype("float32"),
    }
    if posterior is not None:
        columns["probability"] = posterior.probability[spikes]
    name, is_down = sort
    if name not in columns:
        raise ValueError(f"sort = {name!r}: spikes have {', '.join(columns)}")
    order = np.argsort(-columns[name] if is_down else columns[name], kind="stable")[:MAX_LISTED]
    shown = {title: values[order] for title, values in columns.items()}
    return ListedSpikes(
        time_s=shown["time"],
        unit=shown["unit"],
        amplitude=shown["amplitude"],
        probability=shown.get("probability"),
        sort=name,
        is_down=is_down,
        num_spikes=spikes.size,
    )
