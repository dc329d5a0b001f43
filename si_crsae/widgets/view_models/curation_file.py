"""Decisions about units in SpikeInterface's curation format, version 2, and applied to a sorting."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from spikeinterface.core import BaseSorting
from spikeinterface.curation import apply_curation
from spikeinterface.curation.curation_model import Curation
from spikeinterface.curation.curation_model import Split as SplitModel

from si_crsae.files import written_whole
from si_crsae.sorting.convert import with_all_segments
from si_crsae.widgets.view_models.curation_state import (
    DEFAULT_LABELS,
    CurationState,
    LabelDefinition,
    label_alone,
    merge,
    remove,
    split,
)

FORMAT_VERSION = "2"


def to_curation(state: CurationState) -> dict[str, Any]:
    """Return decisions as SpikeInterface's curation format has them, checked by its model.

    Splits are lists of the positions of spikes among those of their unit, over all segments.
    """
    labels: dict[int | str, dict[str, list[str]]] = {}
    for given in state.labels:
        labels.setdefault(given.unit_id, {}).setdefault(given.category, []).append(given.value)
    curation = {
        "format_version": FORMAT_VERSION,
        "unit_ids": list(state.unit_ids),
        "label_definitions": {
            definition.name: {"label_options": list(definition.options), "exclusive": definition.exclusive}
            for definition in state.definitions
        },
        "manual_labels": [{"unit_id": unit_id, "labels": values} for unit_id, values in labels.items()],
        "removed": list(state.removed),
        "merges": [{"unit_ids": list(group.unit_ids), "new_unit_id": group.new_unit_id} for group in state.merges],
        "splits": [
            {
                "unit_id": given.unit_id,
                "mode": "indices",
                "indices": [list(part) for part in given.parts],
                "new_unit_ids": list(given.new_unit_ids),
            }
            for given in state.splits
        ],
    }
    return Curation.model_validate(curation).model_dump(mode="json", exclude={"supported_versions"}, exclude_none=True)


def from_curation(
    curation: dict[str, Any], sorting: BaseSorting, *, definitions: Sequence[LabelDefinition] = DEFAULT_LABELS
) -> CurationState:
    """Return the decisions of a dictionary in SpikeInterface's curation format, of whatever version and origin.

    Parameters
    ----------
    curation : dict
    sorting : BaseSorting
        What was curated.
    definitions : sequence of LabelDefinition, optional
        Labels to choose from where the dictionary defines none.

    Raises
    ------
    ValueError
        If the dictionary contradicts itself or the sorting.
    """
    model = Curation.model_validate(curation)
    defined = [
        LabelDefinition(name=name, options=tuple(given.label_options), exclusive=given.exclusive)
        for name, given in (model.label_definitions or {}).items()
    ]
    state = CurationState.of(sorting, definitions=defined or definitions)
    if set(model.unit_ids) != set(state.unit_ids):
        raise ValueError(
            f"the curation is of units {model.unit_ids}, the sorting has {list(state.unit_ids)}: give the curation of "
            "this sorting"
        )
    for given in model.manual_labels or []:
        for category, values in given.labels.items():
            for value in values:
                state = replace(state, labels=label_alone(state, [given.unit_id], category, value))
    for given in model.merges or []:
        state = merge(state, given.unit_ids, new_unit_id=given.new_unit_id)
    for given in model.splits or []:
        state = split(state, given.unit_id, _parts_of(given, state), new_unit_ids=given.new_unit_ids)
    return remove(state, model.removed) if model.removed else state


def save_curation(state: CurationState, path: str | Path) -> Path:
    """Write decisions into a JSON file that SpikeInterface and its graphical interface read.

    Raises
    ------
    ValueError
        If the folder of the file does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"path = {path}: its folder does not exist; make it, or choose another")
    # one line for each entry: readable, without a line for each spike of a split
    lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in to_curation(state).items()]
    with written_whole(path) as unfinished:
        unfinished.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf8")
    return path


def load_curation(path: str | Path, sorting: BaseSorting) -> CurationState:
    """Return the decisions of a file, see `from_curation`."""
    return from_curation(json.loads(Path(path).read_text(encoding="utf8")), sorting)


def apply_state(sorting: BaseSorting, state: CurationState) -> BaseSorting:
    """Return a sorting after all that was decided about it, by SpikeInterface's `apply_curation`.

    Labels become properties of the units: the label of an exclusive category under its name (a merged unit has that of
    its members, where they agree), others as true or false under their own (a merged unit has those of any member).
    What was measured of a unit does not hold for what was made of it: such properties are NaN there, spikes are counted
    anew.

    Parameters
    ----------
    sorting : BaseSorting
        Left as it is.
    state : CurationState
        What was decided about this sorting.
    """
    # a copy: SpikeInterface sets the labels on what it is given
    curated = apply_curation(sorting.select_units(sorting.unit_ids), to_curation(state))
    assert isinstance(curated, BaseSorting)
    curated = with_all_segments(curated, sorting.get_num_segments())
    origins = _origins(state, curated.unit_ids.tolist())
    for definition in state.definitions:
        for name, values in _label_properties(state, definition, origins).items():
            curated.set_property(name, values)
    is_new = np.isin(curated.unit_ids, state.new_unit_ids)
    for name in curated.get_property_keys():
        values = curated.get_property(name)
        if is_new.any() and values is not None and values.dtype.kind == "f":
            curated.set_property(name, np.where(is_new.reshape(-1, *[1] * (values.ndim - 1)), np.nan, values))
    if "num_spikes" in sorting.get_property_keys():
        curated.set_property("num_spikes", np.asarray(curated.count_num_spikes_per_unit(outputs="array")))
    return curated


def _parts_of(given: SplitModel, state: CurationState) -> list[list[int]]:
    """Return the parts of a split of either mode."""
    if given.mode == "indices":
        return given.indices or []
    labels = np.asarray(given.labels)
    num_spikes = state.num_spikes[state.unit_ids.index(given.unit_id)]
    if labels.size != num_spikes:
        raise ValueError(f"the split of unit {given.unit_id} has {labels.size} labels, the unit {num_spikes} spikes")
    return [np.flatnonzero(labels == value).tolist() for value in np.unique(labels)]


def _origins(state: CurationState, unit_ids: Sequence[int | str]) -> list[tuple[int | str, ...]]:
    """Return of what units of the sorting each unit of the curated one was made."""
    made = {group.new_unit_id: group.unit_ids for group in state.merges}
    made |= {new: (given.unit_id,) for given in state.splits for new in given.new_unit_ids}
    return [made.get(unit_id, (unit_id,)) for unit_id in unit_ids]


def _label_properties(
    state: CurationState, definition: LabelDefinition, origins: Sequence[tuple[int | str, ...]]
) -> dict[str, np.ndarray]:
    values_of = {unit_id: set[str]() for unit_id in state.unit_ids}
    for given in state.labels:
        if given.category == definition.name:
            values_of[given.unit_id].add(given.value)
    if not definition.exclusive:
        has = {option: [any(option in values_of[unit] for unit in origin) for origin in origins]
               for option in definition.options}  # fmt: skip
        return {option: np.array(values, dtype=bool) for option, values in has.items()}
    agreed = [set.intersection(*(values_of[unit] for unit in origin)) for origin in origins]
    return {definition.name: np.array([next(iter(values), "") for values in agreed], dtype=str)}
