"""What the curation view shows: all units with what was decided, the selected ones in detail, what is worth a look."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.widgets.view_models.curation_history import History
from si_crsae.widgets.view_models.curation_outcome import MadeUnit, Outcome
from si_crsae.widgets.view_models.curation_state import CurationState, LabelDefinition
from si_crsae.widgets.view_models.curation_suggestions import Suggestion, label_called
from si_crsae.widgets.view_models.templates import NO_UNITS, TemplatesModel, templates_model
from si_crsae.widgets.view_models.unit_activity import correlogram, relative_amplitudes
from si_crsae.widgets.view_models.unit_figures import UnitOverview

# More units are neither compared by eye nor merged with certainty.
MAX_DRAWN = 2
NUM_LEVELS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRange:
    """The amplitudes of all spikes of a unit, and where they might be divided."""

    edges: Float[np.ndarray, " edge"]
    """In units of the unit's typical amplitude."""
    counts: Int[np.ndarray, " bin"]
    """Spikes from each edge to the next."""
    proposed: float
    """An edge, between two heaps if there are two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """What is to be seen of the selected units, of which two are drawn; it does not change with what is decided."""

    pictures: TemplatesModel
    """Waveforms, correlograms, amplitudes; also what is known of all units."""
    split_range: SplitRange | None
    """None unless one unit is selected, whose amplitudes differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The suggestion that is shown."""

    text: str
    units: list[int]
    can_accept: bool
    index: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationModel:
    """What the curation view shows."""

    decided: list[str]
    """What becomes of each unit, in short; empty where it stays."""
    is_removed: list[bool]
    labels: list[list[str]]
    definitions: list[LabelDefinition]
    selected: list[int]
    detail: Detail
    made: list[MadeUnit]
    """Units that the decisions make, numbered after those of the sorting."""
    outcome: Outcome | None
    """What merging the selected units, or splitting the one at the threshold, makes or has made."""
    threshold: float | None
    """Amplitude at which a split would divide the selected unit."""
    prompt: Prompt | None
    steps: list[str]
    can_undo: bool
    can_redo: bool
    path: str
    """Where the button saves; empty if nowhere."""
    is_saved: bool
    summary: str
    notes: list[str]
    empty: str


def curation_model(
    history: History,
    detail: Detail,
    *,
    selected: Sequence[int] = (),
    threshold: float | None = None,
    made: Sequence[MadeUnit] = (),
    outcome: Outcome | None = None,
    prompt: Prompt | None = None,
    saved: tuple[str, CurationState | None] = ("", None),
) -> CurationModel:
    """Return what the curation view shows.

    Parameters
    ----------
    history : History
    detail : Detail
        What is to be seen of the selected units, from `unit_detail`.
    selected : sequence of int, default: ()
        Indices of the selected units.
    threshold : float or None, default: None
        Relative amplitude at which to split; None for the one that `detail` proposes.
    made : sequence of MadeUnit, default: ()
        From `made_units`.
    outcome : Outcome or None, default: None
        From `outcome_of`.
    prompt : Prompt or None, default: None
    saved : tuple of str and CurationState or None, default: ("", None)
        Where the button saves, and what was saved there last.
    """
    state = history.present
    if threshold is None and detail.split_range is not None:
        threshold = detail.split_range.proposed
    return CurationModel(
        decided=[_decided(state, unit_id) for unit_id in state.unit_ids],
        is_removed=[unit_id in state.removed for unit_id in state.unit_ids],
        labels=[[given.value for given in state.labels_of(unit_id)] for unit_id in state.unit_ids],
        definitions=list(state.definitions),
        selected=list(selected),
        detail=detail,
        made=list(made),
        outcome=outcome,
        threshold=threshold,
        prompt=prompt,
        steps=[step.text for step in history.steps],
        can_undo=history.can_undo,
        can_redo=history.can_redo,
        path=saved[0],
        is_saved=state == saved[1],
        summary=summarize_state(state),
        notes=[*detail.pictures.notes, *_conflicts(state)],
        empty="" if state.unit_ids else NO_UNITS,
    )


def summarize_state(state: CurationState) -> str:
    """Return in words how many units there are, how many will be, and what was decided."""
    gone = sum(len(group.unit_ids) - 1 for group in state.merges) + len(state.removed)
    left = len(state.unit_ids) - gone + sum(len(given.parts) - 1 for given in state.splits)
    labeled = len({given.unit_id for given in state.labels})
    decided = (
        (len(state.merges), "merge" if len(state.merges) == 1 else "merges"),
        (len(state.splits), "split" if len(state.splits) == 1 else "splits"),
        (len(state.removed), "removed"),
        (labeled, "labeled"),
    )
    said = ", ".join(f"{number} {what}" for number, what in decided if number)
    now = "1 unit" if len(state.unit_ids) == 1 else f"{len(state.unit_ids)} units"
    return now + (f" → {left}" if left != len(state.unit_ids) else "") + (said and f"; {said}")


def unit_detail(
    sorted_recording: SortedRecording, overview: UnitOverview, units: Sequence[int], *, segment_index: int = 0
) -> Detail:
    """Return what is to be seen of some units.

    Parameters
    ----------
    sorted_recording : SortedRecording
    overview : UnitOverview
        What is known of every unit, from `describe_units`.
    units : sequence of int
        Indices of the selected units, of which the first two are drawn.
    segment_index : int, default: 0
        Whose amplitudes are shown.
    """
    drawn = units[:MAX_DRAWN]
    pictures = templates_model(sorted_recording, overview, selected=drawn, segment_index=segment_index)
    if len(drawn) > 1:
        # the template inspector has those of the first one only
        second = correlogram(sorted_recording, drawn[1])
        pictures = replace(pictures, correlograms=[*pictures.correlograms, second])
    notes = list(pictures.notes)
    if len(units) > MAX_DRAWN:
        notes.append(f"the first {MAX_DRAWN} of the {len(units)} selected units are drawn")
    if pictures.num_segments > 1:
        notes.append(f"the amplitudes are those of segment {segment_index}; a split is of the spikes of all segments")
    return Detail(
        pictures=replace(pictures, notes=notes),
        split_range=split_range(sorted_recording, units[0]) if len(units) == 1 else None,
    )


def split_range(sorted_recording: SortedRecording, unit: int) -> SplitRange | None:
    """Return where a unit may be split by amplitude; None if all its spikes have the same, or there are none.

    The edge that is proposed makes the two sides differ most, compared with the spread within them (Otsu's method).
    """
    amplitudes = relative_amplitudes(sorted_recording, unit)
    if amplitudes.size < 2 or np.ptp(amplitudes) <= 1e-6 * np.abs(amplitudes).max():
        return None
    counts, edges = np.histogram(amplitudes, bins=NUM_LEVELS)
    below = np.cumsum(counts)[:-1]
    sums = np.cumsum(counts * (edges[:-1] + edges[1:]) / 2)
    above = amplitudes.size - below
    apart = (sums[-1] - sums[:-1]) / np.maximum(above, 1) - sums[:-1] / np.maximum(below, 1)
    between = below * above * apart**2
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    # in a gap between two heaps all edges are equally good
    return SplitRange(edges=edges, counts=counts, proposed=float(edges[1 + best[best.size // 2]]))


def parts_by_amplitude(sorted_recording: SortedRecording, unit: int, threshold: float) -> tuple[list[int], list[int]]:
    """Return the positions of a unit's spikes below a relative amplitude, and of those at or above it.

    Raises
    ------
    ValueError
        If all its spikes lie on one side.
    """
    is_below = relative_amplitudes(sorted_recording, unit) < threshold
    below, above = np.flatnonzero(is_below).tolist(), np.flatnonzero(~is_below).tolist()
    if not below or not above:
        amplitudes = relative_amplitudes(sorted_recording, unit)
        span = f"from {amplitudes.min():.3f} to {amplitudes.max():.3f}" if amplitudes.size else "nowhere, it has none"
        raise ValueError(
            f"threshold = {threshold:.3f}: all spikes of unit {sorted_recording.unit_ids[unit]} lie on one side, their "
            f"relative amplitudes are {span}; choose a threshold between"
        )
    return below, above


def prompt_for(suggestion: Suggestion, state: CurationState, *, index: int, number: int) -> Prompt:
    """Return a suggestion as it is shown, the index-th of so many."""
    names = " and ".join(map(str, suggestion.unit_ids))
    label = label_called(state.definitions, suggestion.value)
    if suggestion.kind == "label" and not suggestion.value:
        text = f"Look at unit {names}: {suggestion.reason}."
    elif suggestion.kind == "merge":
        text = f"Merge units {names}? {suggestion.reason[:1].upper()}{suggestion.reason[1:]}."
    elif label is None:
        text = f"Look at unit {names}: {suggestion.reason}. None of the labels is called {suggestion.value}."
    else:
        text = f"Label unit {names} {label[1]}? {suggestion.reason[:1].upper()}{suggestion.reason[1:]}."
    return Prompt(
        text=text,
        units=[state.unit_ids.index(unit_id) for unit_id in suggestion.unit_ids],
        can_accept=suggestion.kind == "merge" or label is not None,
        index=index,
        number=number,
    )


def _decided(state: CurationState, unit_id: int | str) -> str:
    if unit_id in state.removed:
        return "removed"
    group, given = state.merge_of(unit_id), state.split_of(unit_id)
    if group is not None:
        return f"merged → {group.new_unit_id}"
    return f"split → {', '.join(map(str, given.new_unit_ids))}" if given is not None else ""


def _conflicts(state: CurationState) -> list[str]:
    """Return what to say of merges whose units have different labels."""
    notes = []
    for group in state.merges:
        for definition in state.definitions if len(state.labels) else ():
            of_members = {
                tuple(given.value for given in state.labels_of(unit_id) if given.category == definition.name)
                for unit_id in group.unit_ids
            }
            if definition.exclusive and len(of_members) > 1:
                notes.append(
                    f"units {', '.join(map(str, group.unit_ids))} differ in their label of {definition.name}: unit "
                    f"{group.new_unit_id} gets none; label it again"
                )
    return notes
