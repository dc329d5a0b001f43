"""Units where the tissue was at a time."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.drift.moved import AT_REST
from si_crsae.widgets.view_models.unit_activity import spikes_of_units


def displacements_um(
    sorted_recording: SortedRecording, spikes: Int[np.ndarray, " spike"]
) -> Float[np.ndarray, " spike"]:
    """Return how far the tissue was up the probe at some spikes, 0 where nothing moves.

    Parameters
    ----------
    sorted_recording : SortedRecording
    spikes : ndarray of int64, shape (spike,)
        Positions among all spikes.
    """
    moved = sorted_recording.units.moved
    if not moved.num_places:
        return np.zeros(len(spikes))
    place = moved.place[spikes]
    return np.where(place == AT_REST, 0.0, moved.displacement_um[place])


def spikes_near(
    sorted_recording: SortedRecording, units: Sequence[int], *, segment_index: int, sample: int
) -> Int[np.ndarray, " unit"]:
    """Return the spike of each unit that is nearest to a sample of a segment; -1 for units without one there.

    Parameters
    ----------
    sorted_recording : SortedRecording
    units : sequence of int
        Indices of the units.
    segment_index : int
    sample : int
    """
    spikes, nearest = sorted_recording.units.spikes, np.full(len(units), -1)
    of_units = spikes_of_units(sorted_recording)
    for row, unit in enumerate(units):
        mine = of_units[unit]
        first, last = np.searchsorted(spikes["segment_index"][mine], [segment_index, segment_index + 1])
        if first == last:
            continue
        mine = mine[first:last]
        times = spikes["sample_index"][mine]
        after = min(int(np.searchsorted(times, sample)), mine.size - 1)
        before = max(after - 1, 0)
        nearest[row] = mine[before if abs(times[before] - sample) <= abs(times[after] - sample) else after]
    return nearest


def atoms_at(
    sorted_recording: SortedRecording, units: Sequence[int], *, segment_index: int, sample: int
) -> tuple[Float[np.ndarray, "unit channel width"], Float[np.ndarray, " unit"]]:
    """Return the atoms of units where the tissue was at a sample, and how far up the probe that is (um).

    That is what the spike of the unit nearest to the sample was explained with; units without one there are at rest.

    Parameters
    ----------
    sorted_recording : SortedRecording
    units : sequence of int
        Indices of the units.
    segment_index : int
    sample : int
    """
    inventory, chosen = sorted_recording.units, np.asarray(units, "int64")
    atoms, displacement = inventory.atoms[chosen], np.zeros(chosen.size)
    if not inventory.moved.num_places:
        return atoms, displacement
    nearest = spikes_near(sorted_recording, units, segment_index=segment_index, sample=sample)
    fires = np.flatnonzero(nearest >= 0)
    atoms[fires] = inventory.atoms_of(nearest[fires])
    displacement[fires] = displacements_um(sorted_recording, nearest[fires])
    return atoms, displacement
