"""Steps of a curation that can be undone, one after the other or any of them alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from si_crsae.widgets.view_models.curation_state import (
    CurationState,
    label,
    label_alone,
    merge,
    remove,
    restore,
    split,
    unlabel,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that was done, in words, and how to do it to a state."""

    text: str
    do: Callable[[CurationState], CurationState]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Steps from a state in which nothing has been decided, with all that was done and undone on the way.

    Parameters
    ----------
    states : tuple of CurationState
        The state after each change of the list of steps.
    versions : tuple of tuple of Step
        The list of steps after each change.
    position : int, default: 0
        The present one.
    """

    states: tuple[CurationState, ...]
    versions: tuple[tuple[Step, ...], ...] = ((),)
    position: int = 0

    @classmethod
    def of(cls, state: CurationState) -> "History":
        """Return a history that begins with a state, whose merges, splits, labels and removals are its first steps."""
        return cls(states=(state,), versions=(steps_of(state),))

    @property
    def present(self) -> CurationState:
        """What holds now."""
        return self.states[self.position]

    @property
    def steps(self) -> tuple[Step, ...]:
        """What led to it."""
        return self.versions[self.position]

    @property
    def can_undo(self) -> bool:
        """Whether there is something to undo."""
        return self.position > 0

    @property
    def can_redo(self) -> bool:
        """Whether something was undone."""
        return self.position < len(self.states) - 1

    def do(self, step: Step) -> "History":
        """Do something; what was undone before is forgotten.

        Raises
        ------
        ValueError
            If it cannot be done.
        """
        return self._changed((*self.steps, step), step.do(self.present))

    def undo(self) -> "History":
        """Take back the last change, if there is one."""
        return replace(self, position=max(self.position - 1, 0))

    def redo(self) -> "History":
        """Do again what was undone last, if there is something."""
        return replace(self, position=min(self.position + 1, len(self.states) - 1))

    def drop(self, index: int) -> "History":
        """Take one step out, all others stay; this is itself a change that can be undone.

        Raises
        ------
        ValueError
            If there is no such step, or another one needs it.
        """
        if not 0 <= index < len(self.steps):
            raise ValueError(f"index = {index}: there are {len(self.steps)} steps")
        left = self.steps[:index] + self.steps[index + 1 :]
        state = _undecided(self.present)
        for step in left:
            try:
                state = step.do(state)
            except ValueError as error:
                raise ValueError(
                    f"{self.steps[index].text!r} cannot be undone alone, {step.text!r} needs it: undo that first"
                ) from error
        return self._changed(left, state)

    def _changed(self, steps: tuple[Step, ...], state: CurationState) -> "History":
        kept = slice(self.position + 1)
        return History(
            states=(*self.states[kept], state), versions=(*self.versions[kept], steps), position=self.position + 1
        )


def merge_step(unit_ids: Sequence[int | str]) -> Step:
    """Return the step that merges units."""
    return Step(text=f"merge {_listed(unit_ids)}", do=partial(merge, unit_ids=unit_ids))


def split_step(unit_id: int | str, parts: Sequence[Sequence[int]], *, reason: str) -> Step:
    """Return the step that splits a unit; the reason is said in its text."""
    return Step(text=f"split {unit_id} {reason}", do=partial(split, unit_id=unit_id, parts=parts))


def label_step(unit_ids: Sequence[int | str], category: str, value: str, *, on: bool = True) -> Step:
    """Return the step that gives a label to units, or takes it off."""
    text = f"{'label' if on else 'unlabel'} {_listed(unit_ids)}: {value}"
    return Step(text=text, do=partial(label, unit_ids=unit_ids, category=category, value=value, on=on))


def unlabel_step(unit_ids: Sequence[int | str]) -> Step:
    """Return the step that takes all labels off units."""
    return Step(text=f"unlabel {_listed(unit_ids)}", do=partial(unlabel, unit_ids=unit_ids))


def remove_step(unit_ids: Sequence[int | str]) -> Step:
    """Return the step that removes units."""
    return Step(text=f"remove {_listed(unit_ids)}", do=partial(remove, unit_ids=unit_ids))


def restore_step(unit_ids: Sequence[int | str]) -> Step:
    """Return the step that restores units."""
    return Step(text=f"restore {_listed(unit_ids)}", do=partial(restore, unit_ids=unit_ids))


def steps_of(state: CurationState) -> tuple[Step, ...]:
    """Return steps that lead to a state from one in which nothing has been decided."""
    steps = []
    for category, value in dict.fromkeys((given.category, given.value) for given in state.labels):
        mine = [given.unit_id for given in state.labels if (given.category, given.value) == (category, value)]
        # before the merges: units of one may have different labels in a file
        again = partial(_label_alone, unit_ids=mine, category=category, value=value)
        steps.append(Step(text=f"label {_listed(mine)}: {value}", do=again))
    for group in state.merges:
        again = partial(merge, unit_ids=group.unit_ids, new_unit_id=group.new_unit_id)
        steps.append(Step(text=f"merge {_listed(group.unit_ids)}", do=again))
    for given in state.splits:
        again = partial(split, unit_id=given.unit_id, parts=given.parts, new_unit_ids=given.new_unit_ids)
        steps.append(Step(text=f"split {given.unit_id} in {len(given.parts)}", do=again))
    return (*steps, remove_step(state.removed)) if state.removed else tuple(steps)


def _label_alone(state: CurationState, *, unit_ids: Sequence[int | str], category: str, value: str) -> CurationState:
    return replace(state, labels=label_alone(state, unit_ids, category, value))


def _undecided(state: CurationState) -> CurationState:
    return replace(state, merges=(), splits=(), labels=(), removed=())


def _listed(unit_ids: Sequence[int | str]) -> str:
    shown = ", ".join(map(str, unit_ids[:6]))
    return shown if len(unit_ids) <= 6 else f"{shown} and {len(unit_ids) - 6} more"
