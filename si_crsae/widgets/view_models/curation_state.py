"""What a user has decided about the units of a sorting: merges, splits, labels, removals; plain and immutable."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count

import numpy as np
from spikeinterface.core import BaseSorting

from si_crsae.names import check_property_name


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDefinition:
    """A category of labels.

    Parameters
    ----------
    name : str
    options : tuple of str
        At least two.
    exclusive : bool, default: True
        Whether a unit has one of them at most.
    """

    name: str
    options: tuple[str, ...]
    exclusive: bool = True


DEFAULT_LABELS = (LabelDefinition(name="quality", options=("good", "MUA", "noise")),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Units that become one."""

    unit_ids: tuple[int | str, ...]
    new_unit_id: int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A unit that becomes several; every one of its spikes, counted over all segments, is in one of the parts."""

    unit_id: int | str
    parts: tuple[tuple[int, ...], ...]
    new_unit_ids: tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One label of one unit."""

    unit_id: int | str
    category: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationState:
    """A sorting's units and what was decided about them: each is in a merge, or split, or removed, or none of these.

    Parameters
    ----------
    unit_ids : tuple of int or str
        Ids of the sorting's units, before anything was done.
    num_spikes : tuple of int
        Spikes of each unit, in all segments.
    definitions : tuple of LabelDefinition
    merges : tuple of Merge, default: ()
    splits : tuple of Split, default: ()
    labels : tuple of Label, default: ()
        In the order of the units, then of the definitions.
    removed : tuple of int or str, default: ()
        In the order of the units.
    """

    unit_ids: tuple[int | str, ...]
    num_spikes: tuple[int, ...]
    definitions: tuple[LabelDefinition, ...] = DEFAULT_LABELS
    merges: tuple[Merge, ...] = ()
    splits: tuple[Split, ...] = ()
    labels: tuple[Label, ...] = ()
    removed: tuple[int | str, ...] = ()

    @classmethod
    def of(cls, sorting: BaseSorting, *, definitions: Sequence[LabelDefinition] = DEFAULT_LABELS) -> "CurationState":
        """Return the state in which nothing has been decided.

        Raises
        ------
        ValueError
            If a category has fewer than two labels, or two labels would become the same property of the units, or one
            cannot be the name of a property.
        """
        _check_definitions(definitions)
        num_spikes = np.asarray(sorting.count_num_spikes_per_unit(outputs="array"))
        return cls(
            unit_ids=tuple(sorting.unit_ids.tolist()),
            num_spikes=tuple(num_spikes.tolist()),
            definitions=tuple(definitions),
        )

    @property
    def new_unit_ids(self) -> tuple[int | str, ...]:
        """Ids of the units that merges and splits make."""
        parts = tuple(unit_id for split in self.splits for unit_id in split.new_unit_ids)
        return tuple(merge.new_unit_id for merge in self.merges) + parts

    def merge_of(self, unit_id: int | str) -> Merge | None:
        """Return the merge that a unit is in."""
        return next((merge for merge in self.merges if unit_id in merge.unit_ids), None)

    def split_of(self, unit_id: int | str) -> Split | None:
        """Return how a unit is split."""
        return next((split for split in self.splits if split.unit_id == unit_id), None)

    def labels_of(self, unit_id: int | str) -> tuple[Label, ...]:
        """Return the labels of a unit."""
        return tuple(label for label in self.labels if label.unit_id == unit_id)


def merge(
    state: CurationState, unit_ids: Sequence[int | str], *, new_unit_id: int | str | None = None
) -> CurationState:
    """Make one unit of several; a unit that is in a merge brings the others of that merge along.

    Parameters
    ----------
    state : CurationState
    unit_ids : sequence of int or str
        At least two.
    new_unit_id : int, str or None, default: None
        None for that of the first merge joined, or one that is free.

    Raises
    ------
    ValueError
        If a unit is unknown, removed or split, there are fewer than two, or the new id is that of another unit.
    """
    unit_ids = _known(state, unit_ids)
    _refuse(state, unit_ids, "merged", removed=True, split=True)
    joined = [group for group in state.merges if set(group.unit_ids) & set(unit_ids)]
    members = _in_order(state, [*unit_ids, *(unit_id for group in joined for unit_id in group.unit_ids)])
    if len(members) < 2:
        raise ValueError(f"unit_ids = {unit_ids}: a merge needs two units at least; select another one, too")
    others = tuple(group for group in state.merges if group not in joined)
    remaining = replace(state, merges=others)
    if new_unit_id is None:
        is_free = _free_ids(remaining, 1, stem="+".join(map(str, members)))
        new_unit_id = joined[0].new_unit_id if joined else is_free[0]
    elif new_unit_id in remaining.new_unit_ids or new_unit_id in set(state.unit_ids) - set(members):
        raise ValueError(f"new_unit_id = {new_unit_id!r}: another unit is called so; choose another id")
    return replace(state, merges=(*others, Merge(unit_ids=members, new_unit_id=new_unit_id)))


def split(
    state: CurationState,
    unit_id: int | str,
    parts: Sequence[Iterable[int]],
    *,
    new_unit_ids: Sequence[int | str] | None = None,
) -> CurationState:
    """Make several units of one; a unit that was split before is split anew.

    Parameters
    ----------
    state : CurationState
    unit_id : int or str
    parts : sequence of iterable of int
        Positions among the unit's spikes, counted over all segments. Spikes in none of them make one more part.
    new_unit_ids : sequence of int or str, optional
        One per part. None for free ones.

    Raises
    ------
    ValueError
        If the unit is unknown, removed or in a merge, a part is empty, there is one only, or a spike is in two parts or
        does not exist; or if new ids are not as many as parts, or used already.
    """
    _known(state, [unit_id])
    _refuse(state, [unit_id], "split", removed=True, merge=True)
    complete = _complete(unit_id, parts, state.num_spikes[state.unit_ids.index(unit_id)])
    others = tuple(other for other in state.splits if other.unit_id != unit_id)
    remaining = replace(state, splits=others)
    ids = tuple(new_unit_ids or _free_ids(remaining, len(complete), stem=str(unit_id)))
    used = {*state.unit_ids, *remaining.new_unit_ids}
    if len(ids) != len(complete) or len(set(ids)) != len(ids) or used & set(ids):
        raise ValueError(f"new_unit_ids = {list(ids)}: {len(complete)} ids that no unit has are needed")
    return replace(state, splits=(*others, Split(unit_id=unit_id, parts=complete, new_unit_ids=ids)))


def label(
    state: CurationState, unit_ids: Sequence[int | str], category: str, value: str, *, on: bool = True
) -> CurationState:
    """Give units a label, or take it off; units of a merge are labeled together, as they will be one.

    Parameters
    ----------
    state : CurationState
    unit_ids : sequence of int or str
    category : str
        Name of a definition. If it is exclusive, the label replaces another one.
    value : str
        One of its options.
    on : bool, default: True
        False takes the label off.

    Raises
    ------
    ValueError
        If a unit is unknown or removed, or there is no such label.
    """
    unit_ids = _known(state, unit_ids)
    _refuse(state, unit_ids, "labeled", removed=True)
    groups = [group.unit_ids for group in state.merges if set(group.unit_ids) & set(unit_ids)]
    labeled = {*unit_ids, *(unit_id for group in groups for unit_id in group)}
    return replace(state, labels=label_alone(state, labeled, category, value, on=on))


def unlabel(state: CurationState, unit_ids: Sequence[int | str]) -> CurationState:
    """Take all labels off units, and off those with which they are merged.

    Raises
    ------
    ValueError
        If a unit is unknown or removed.
    """
    for given in [given for unit_id in _known(state, unit_ids) for given in state.labels_of(unit_id)]:
        state = label(state, unit_ids, given.category, given.value, on=False)
    return state


def label_alone(
    state: CurationState, unit_ids: Iterable[int | str], category: str, value: str, *, on: bool = True
) -> tuple[Label, ...]:
    """Return the labels of a state after some units got one, whatever else was decided about them."""
    definition = next((known for known in state.definitions if known.name == category), None)
    if definition is None or value not in definition.options:
        known = "; ".join(f"{known.name}: {', '.join(known.options)}" for known in state.definitions)
        raise ValueError(f"category = {category!r}, value = {value!r}: there is no such label; there are {known}")
    chosen = set(unit_ids)
    kept = [
        given
        for given in state.labels
        if given.unit_id not in chosen
        or given.category != category
        or not (definition.exclusive and on or given.value == value)
    ]
    added = [Label(unit_id=unit_id, category=category, value=value) for unit_id in chosen if on]
    names = [known.name for known in state.definitions]
    options = {known.name: known.options for known in state.definitions}
    position = {unit_id: index for index, unit_id in enumerate(state.unit_ids)}

    def place(given: Label) -> tuple[int, int, int]:
        rank = options[given.category].index(given.value)
        return position[given.unit_id], names.index(given.category), rank

    return tuple(sorted(kept + added, key=place))


def remove(state: CurationState, unit_ids: Sequence[int | str]) -> CurationState:
    """Leave units out.

    Raises
    ------
    ValueError
        If a unit is unknown, or in a merge or split.
    """
    unit_ids = _known(state, unit_ids)
    _refuse(state, unit_ids, "removed", merge=True, split=True)
    return replace(state, removed=_in_order(state, [*state.removed, *unit_ids]))


def restore(state: CurationState, unit_ids: Sequence[int | str]) -> CurationState:
    """Make units what they were in the sorting: not removed, in no merge, not split; their labels stay.

    Raises
    ------
    ValueError
        If a unit is unknown, or nothing of the kind was done to any of them.
    """
    unit_ids = _known(state, unit_ids)
    left = [
        replace(group, unit_ids=tuple(unit_id for unit_id in group.unit_ids if unit_id not in unit_ids))
        for group in state.merges
    ]
    restored = replace(
        state,
        merges=tuple(group for group in left if len(group.unit_ids) > 1),
        splits=tuple(given for given in state.splits if given.unit_id not in unit_ids),
        removed=tuple(unit_id for unit_id in state.removed if unit_id not in unit_ids),
    )
    if restored == state:
        raise ValueError(
            f"unit_ids = {unit_ids}: none of them is removed, merged or split; there is nothing to restore"
        )
    return restored


def _check_definitions(definitions: Sequence[LabelDefinition]) -> None:
    properties: list[str] = []
    for definition in definitions:
        if len(set(definition.options)) < max(len(definition.options), 2):
            raise ValueError(
                f"definition {definition.name!r} has options {definition.options}: at least two different ones are "
                "needed"
            )
        properties += [definition.name] if definition.exclusive else definition.options
    for name in properties:
        check_property_name(name, argument="a label of definitions")
    doubled = sorted({name for name in properties if properties.count(name) > 1})
    if doubled:
        raise ValueError(
            f"definitions have {doubled} twice: names of exclusive categories and labels of others become properties "
            "of the units and must differ"
        )


def _known(state: CurationState, unit_ids: Sequence[int | str]) -> list[int | str]:
    unknown = [unit_id for unit_id in unit_ids if unit_id not in state.unit_ids]
    if unknown or not unit_ids:
        raise ValueError(f"unit_ids = {list(unit_ids)}: one or more of the units {list(state.unit_ids)} are needed")
    return list(dict.fromkeys(unit_ids))


def _refuse(
    state: CurationState,
    unit_ids: Sequence[int | str],
    what: str,
    *,
    removed: bool = False,
    merge: bool = False,
    split: bool = False,
) -> None:
    """Raise if a unit is what it must not be in order to be merged, split, labeled or removed."""
    for unit_id in unit_ids:
        if removed and unit_id in state.removed:
            raise ValueError(f"unit {unit_id} is removed and cannot be {what}: restore it first")
        if merge and state.merge_of(unit_id):
            raise ValueError(f"unit {unit_id} is in a merge and cannot be {what}: restore it first")
        if split and state.split_of(unit_id):
            raise ValueError(f"unit {unit_id} is split and cannot be {what}: restore it first")


def _complete(unit_id: int | str, parts: Sequence[Iterable[int]], num_spikes: int) -> tuple[tuple[int, ...], ...]:
    """Return the parts in order, with one more of the spikes that are in none."""
    found = [tuple(sorted(int(index) for index in part)) for part in parts]
    if any(not part for part in found):
        raise ValueError(f"the split of unit {unit_id} leaves one side without spikes: choose another threshold")
    taken = {index for part in found for index in part}
    if len(taken) < sum(map(len, found)) or (taken and not 0 <= min(taken) <= max(taken) < num_spikes):
        raise ValueError(
            f"the split of unit {unit_id} must have every spike at most once, by its position from 0 to "
            f"{num_spikes - 1}"
        )
    if len(taken) < num_spikes:
        found.append(tuple(sorted(set(range(num_spikes)) - taken)))
    if len(found) < 2:
        raise ValueError(f"the split of unit {unit_id} leaves all spikes in one part: it needs two at least")
    return tuple(found)


def _in_order(state: CurationState, unit_ids: Iterable[int | str]) -> tuple[int | str, ...]:
    chosen = set(unit_ids)
    return tuple(unit_id for unit_id in state.unit_ids if unit_id in chosen)


def _free_ids(state: CurationState, number: int, *, stem: str) -> list[int | str]:
    """Return new ids: the next numbers where ids are numbers, else names that begin with a stem."""
    used = {*state.unit_ids, *state.new_unit_ids}
    numbers = [int(unit_id) for unit_id in used if not isinstance(unit_id, str) or unit_id.isdecimal()]
    if len(numbers) == len(used):
        following = range(max(numbers, default=-1) + 1, max(numbers, default=-1) + 1 + number)
        return [str(new) if isinstance(state.unit_ids[0], str) else new for new in following]
    names = chain([stem] if number == 1 else [], (f"{stem}-{index}" for index in count()))
    free = (name for name in names if name not in used)
    return [next(free) for _ in range(number)]
