"""What a merge or a split makes, before it is decided and afterwards: the units that come out beside their parts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.convert import samples_in
from si_crsae.sorting.inventory import Inventory
from si_crsae.widgets.view_models.curation_state import CurationState, Merge, Split, merge, split
from si_crsae.widgets.view_models.spike_features import mean_waveforms
from si_crsae.widgets.view_models.templates import Waveforms, atom_waveforms, neighborhood_of
from si_crsae.widgets.view_models.unit_activity import (
    Correlogram,
    ThinnedAmplitudes,
    correlogram,
    spikes_of_units,
    thinned_amplitudes,
)
from si_crsae.widgets.view_models.unit_figures import searched_s

# Parts of a merge that are drawn beside it; the figures are of all.
MAX_DRAWN_PARTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUnit:
    """A unit that a decision makes, as a row of the list."""

    name: str
    made_of: str
    units: list[int]
    """Indices of the units that its spikes come from."""
    num_spikes: int
    rate_hz: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRow:
    """One line of the table beside the pictures."""

    name: str
    num_spikes: int
    rate_hz: float
    violations_percent: float
    """Share of intervals in the refractory period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomePictures:
    """The made units and their parts; numbers of units are those of the list, made ones after the sorting's."""

    drawn: list[int]
    neighborhood: list[float]
    atoms: Waveforms
    correlograms: list[Correlogram]
    amplitudes: ThinnedAmplitudes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What comes out of a merge or a split of the selected units."""

    title: str
    is_decided: bool
    said: str
    """How the parts of a split came about, if not by the threshold."""
    names: list[str]
    """Of the made units, which have the numbers from `first_number` on."""
    first_number: int
    rows: list[UnitRow]
    pictures: OutcomePictures


def made_units(sorted_recording: SortedRecording, state: CurationState) -> list[MadeUnit]:
    """Return the units that the decisions so far make, merges first."""
    seconds, found = searched_s(sorted_recording), []
    for given in (*state.merges, *state.splits):
        units, ids, parts = _parts_of(state, given)
        names = [str(state.unit_ids[unit]) for unit in units]
        for place, (unit_id, count) in enumerate(zip(ids, parts, strict=True)):
            made_of = " + ".join(names) if isinstance(given, Merge) else f"part {place + 1} of {names[0]}"
            found.append(
                MadeUnit(
                    name=str(unit_id),
                    made_of=made_of,
                    units=units,
                    num_spikes=count,
                    rate_hz=count / float(seconds[units[0]]),
                )
            )
    return found


def outcome_of(
    sorted_recording: SortedRecording,
    state: CurationState,
    units: Sequence[int],
    *,
    parts: Sequence[Sequence[int]] | None = None,
    said: str = "",
    segment_index: int = 0,
) -> Outcome | None:
    """Return what a merge of some units, or a split of one, makes; None where neither can be.

    Parameters
    ----------
    sorted_recording : SortedRecording
    state : CurationState
        What has been decided. A merge or split that is part of it is shown as it is.
    units : sequence of int
        Indices of the selected units: several may be merged, one may be split.
    parts : sequence of sequence of int, optional
        How the one unit would be split: positions among its spikes.
    said : str, default: ""
        How these parts came about.
    segment_index : int, default: 0
        Whose amplitudes are shown.
    """
    given, is_decided = _decision(state, [state.unit_ids[unit] for unit in units], parts)
    if given is None:
        return None
    of_units, ids, _ = _parts_of(state, given)
    first_number = _number_of(state, given)
    made = _made_of(sorted_recording, given, of_units)
    numbers = [*range(first_number, first_number + len(ids)), *of_units]
    names = [str(unit_id) for unit_id in ids]
    verb = "merged" if isinstance(given, Merge) else f"split {said}".rstrip()
    parts_named = " + ".join(str(state.unit_ids[unit]) for unit in of_units)
    title = f"{parts_named} {verb} → {', '.join(names)}"
    return Outcome(
        title=title if is_decided else f"Preview: {title}",
        is_decided=is_decided,
        said=said,
        names=names,
        first_number=first_number,
        rows=_rows(
            made,
            [*names, *(str(state.unit_ids[unit]) for unit in of_units)],
            seconds=float(searched_s(sorted_recording)[of_units[0]]),
        ),
        pictures=_pictures(made, len(ids), numbers, is_merge=isinstance(given, Merge), segment_index=segment_index),
    )


def _decision(
    state: CurationState, unit_ids: list[int | str], parts: Sequence[Sequence[int]] | None
) -> tuple[Merge | Split | None, bool]:
    """Return the merge or split that some units are in or might be, and whether it has been decided."""
    if len(unit_ids) == 1:
        known = state.merge_of(unit_ids[0]) or state.split_of(unit_ids[0])
        if known is not None:
            return known, True
    try:
        if len(unit_ids) > 1:
            given = merge(state, unit_ids).merge_of(unit_ids[0])
        elif unit_ids and parts is not None:
            given = split(state, unit_ids[0], parts).split_of(unit_ids[0])
        else:
            return None, False
    except ValueError:  # removed, or split already
        return None, False
    return given, given in state.merges


def _parts_of(state: CurationState, given: Merge | Split) -> tuple[list[int], tuple[int | str, ...], list[int]]:
    """Return the units that go into a merge or split, the ids that come out, and how many spikes these have."""
    if isinstance(given, Merge):
        units = [state.unit_ids.index(unit_id) for unit_id in given.unit_ids]
        return units, (given.new_unit_id,), [sum(state.num_spikes[unit] for unit in units)]
    return [state.unit_ids.index(given.unit_id)], given.new_unit_ids, [len(part) for part in given.parts]


def _number_of(state: CurationState, given: Merge | Split) -> int:
    """Return the number of the first unit made: that of its row in the list, or the one after all rows."""
    number = len(state.unit_ids)
    for known in (*state.merges, *state.splits):
        if known == given:
            return number
        number += 1 if isinstance(known, Merge) else len(known.new_unit_ids)
    return number


def _made_of(sorted_recording: SortedRecording, given: Merge | Split, units: list[int]) -> SortedRecording:
    """Return the made units, then their parts, as the units of a sorting of their own."""
    positions = [spikes_of_units(sorted_recording)[unit] for unit in units]
    if isinstance(given, Merge):
        made = [np.sort(np.concatenate(positions))]
        atoms, scales, before = _mean_atom(sorted_recording.units, units)
    else:
        made = [positions[0][np.asarray(part, "int64")] for part in given.parts]
        inventory = sorted_recording.units
        atoms = np.repeat(inventory.atoms[units], len(made), axis=0)
        # all in units of what is typical for the whole
        scales = np.repeat(inventory.scales[units], len(made))
        before = np.repeat(inventory.num_before[units], len(made))
    return _with_units(sorted_recording, [*made, *positions], units, (atoms, scales, before))


def _with_units(
    sorted_recording: SortedRecording,
    positions: list[Int[np.ndarray, " spike"]],
    parts: list[int],
    made: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> SortedRecording:
    inventory, (atoms, scales, before) = sorted_recording.units, made
    chosen = np.concatenate(positions)
    spikes = inventory.spikes[chosen]
    spikes["unit_index"] = np.repeat(np.arange(len(positions)), [mine.size for mine in positions])
    units = Inventory(
        atoms=np.concatenate([atoms, inventory.atoms[parts]]),
        scales=np.concatenate([scales, inventory.scales[parts]]),
        noise=np.ones(len(positions), "float32"),
        regularization=np.zeros(len(positions), "float32"),
        num_before=np.concatenate([before, inventory.num_before[parts]]),
        main_channel=np.zeros(len(positions), "int64"),
        spikes=spikes,
        sample_offset=inventory.sample_offset[chosen],
        amplitude=inventory.amplitude[chosen],
    )
    return replace(sorted_recording, units=units.in_order_of_time(), posterior=None, templates=None)


def _mean_atom(
    inventory: Inventory, units: list[int]
) -> tuple[Float[np.ndarray, "one channel width"], Float[np.ndarray, " one"], Int[np.ndarray, " one"]]:
    """Return the mean of the atoms of some units at their spikes, each as often and as large as it fires."""
    counts = np.bincount(inventory.spikes["unit_index"], minlength=inventory.num_units)[units]
    before = int(inventory.num_before[units].max())
    mean = np.zeros(inventory.atoms.shape[1:], "float64")
    for unit, count in zip(units, counts.tolist(), strict=True):
        shift = before - int(inventory.num_before[unit])
        width = inventory.atoms.shape[2] - shift
        mean[:, shift:] += count * inventory.scales[unit] * inventory.atoms[unit, :, :width]
    mean /= max(int(counts.sum()), 1)
    norm = float(np.linalg.norm(mean)) or 1.0
    return (mean / norm)[None].astype("float32"), np.array([norm], "float32"), np.array([before])


def _rows(made: SortedRecording, names: list[str], *, seconds: float) -> list[UnitRow]:
    limit = samples_in(ASSUMED.refractory.reported_ms, made.sampling_frequency)
    rows = []
    for unit, name in enumerate(names):
        spikes = made.units.spikes[spikes_of_units(made)[unit]]
        intervals = np.diff(spikes["sample_index"])[np.diff(spikes["segment_index"]) == 0]
        share = float(np.mean(intervals < limit)) if intervals.size else 0.0
        rows.append(
            UnitRow(name=name, num_spikes=spikes.size, rate_hz=spikes.size / seconds, violations_percent=100 * share)
        )
    return rows


def _pictures(
    made: SortedRecording, num_made: int, numbers: list[int], *, is_merge: bool, segment_index: int
) -> OutcomePictures:
    """Draw the made units first; of the parts of a merge a few, of a split none, as the whole hides them.

    The parts of a split are drawn as their spikes look; without traces, as atoms as large as their spikes are.
    """
    units = list(range(num_made)) + (list(range(num_made, len(numbers)))[:MAX_DRAWN_PARTS] if is_merge else [])
    atoms = atom_waveforms(made, units)
    measured = None if is_merge else mean_waveforms(made, units)
    if measured is not None:
        atoms = measured
    elif not is_merge:
        sizes = [made.units.relative_amplitude(mine).mean() for mine in spikes_of_units(made)[:num_made]]
        atoms = replace(atoms, values=atoms.values * np.array(sizes, "float32")[atoms.unit][:, None])
    pairs = [(unit, unit) for unit in units] + ([] if is_merge else [(0, 1)])
    number = np.array(numbers)
    correlograms = [
        replace(correlogram(made, unit, other), unit=numbers[unit], other=numbers[other]) for unit, other in pairs
    ]
    amplitudes = thinned_amplitudes(made, list(range(num_made)), segment_index=segment_index)
    return OutcomePictures(
        drawn=[numbers[unit] for unit in units],
        neighborhood=neighborhood_of(made, atoms),
        atoms=replace(atoms, unit=number[atoms.unit]),
        correlograms=correlograms,
        amplitudes=replace(amplitudes, unit=number[amplitudes.unit]),
    )
