"""The curation view: merge, split, label and remove units, and save that for SpikeInterface."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets
from spikeinterface.core import BaseSorting

from si_crsae.widgets.held import Held, hold_units, parts_of
from si_crsae.widgets.packing import pack
from si_crsae.widgets.session import ProposedSplit, Session
from si_crsae.widgets.static_plots.curation import draw_curation
from si_crsae.widgets.view import UNIT_LIST, WidgetView, load_module
from si_crsae.widgets.view_models.curation import (
    CurationModel,
    Detail,
    Prompt,
    curation_model,
    parts_by_amplitude,
    prompt_for,
    unit_detail,
)
from si_crsae.widgets.view_models.curation_file import apply_state, load_curation, save_curation, to_curation
from si_crsae.widgets.view_models.curation_history import (
    History,
    Step,
    label_step,
    merge_step,
    remove_step,
    restore_step,
    split_step,
    unlabel_step,
)
from si_crsae.widgets.view_models.curation_outcome import Outcome, made_units, outcome_of
from si_crsae.widgets.view_models.curation_state import DEFAULT_LABELS, CurationState, LabelDefinition
from si_crsae.widgets.view_models.curation_suggestions import Suggestion, is_open, label_called, suggest
from si_crsae.widgets.view_models.similarity import ranked_pairs, similarity_of_all
from si_crsae.widgets.view_models.unit_figures import UnitOverview, describe_units

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class CurationView(WidgetView):
    """Merge, split by amplitude, label and remove units, with a queue of what is worth a look.

    What a merge of the selected units, or a split of the one at its line, would make is shown below, beside its parts;
    what a decision has made has a row of its own in the list.

    Select units with a click, several with ctrl or shift, or with the arrow keys (shift adds). The keys are those of
    spikeinterface-gui, ? lists them; they act on the selected units: g, m and n label them good, MUA and noise, as the
    digits do, c takes the labels off; ctrl-m merges, ctrl-d removes, ctrl-r restores, ctrl-s splits at the line drawn
    through the amplitudes (drag it, or move it with the arrow keys when the amplitudes have the focus). j shows the
    next suggestion, a accepts it, x skips it. ctrl-z and ctrl-y undo and redo; any step in the list below can be
    undone alone. Below are the pairs of units that look most alike, of which a click selects both, and what a lasso in
    the feature view of the same session has caught is previewed and split here.

    Parameters
    ----------
    session : Session
    path : str, Path or None, default: None
        Where the save button writes. If there is such a file, its decisions are taken up.
    definitions : sequence of LabelDefinition, optional
        Labels to choose from; good, MUA and noise if not given. Those of a file go first.
    theme : {"auto", "light", "dark"}, default: "auto"

    Examples
    --------
    >>> from si_crsae.widgets import open_session  # doctest: +SKIP
    >>> view = CurationView(open_session("run"), path="curation.json")  # doctest: +SKIP
    >>> view.apply()  # doctest: +SKIP
    """

    title: ClassVar[str] = "Curation"
    tab_title: ClassVar[str] = "Curation"
    # A new time moves the cursor only.
    follows: ClassVar[tuple[str, ...]] = ("selected_units", "segment_index", "proposed_split")

    _esm = load_module(*UNIT_LIST, "template_panels.js", "curation_outcome.js", "curation_table.js", "curation.js")

    cursor_s = traitlets.Float(0.0).tag(sync=True)
    pairs = traitlets.Any(None, help="Units that look alike, packed; None until they are asked for.").tag(sync=True)

    def __init__(
        self,
        session: Session,
        *,
        path: str | Path | None = None,
        definitions: Sequence[LabelDefinition] = DEFAULT_LABELS,
        **traits: Any,
    ) -> None:
        sorting = session.tested.sorting
        self.path = None if path is None else Path(path)
        self._history = History.of(CurationState.of(sorting, definitions=definitions))
        self._saved: CurationState | None = None
        if self.path is not None and self.path.is_file():
            self._saved = load_curation(self.path, sorting)
            self._history = History.of(self._saved)
        self._skipped: list[Suggestion] = []
        self._place = 0
        self._threshold: tuple[int | str, float] | None = None
        self._detail: tuple[Any, Detail] | None = None
        self._outcome: tuple[Any, Outcome | None] | None = None
        super().__init__(session, **traits)
        self.cursor_s = session.time_s
        self.follow_session(lambda change: self.set_trait("cursor_s", change["new"]), ["time_s"])

    @cached_property
    def overview(self) -> UnitOverview:
        """What is known of all units."""
        return describe_units(self.session.tested)

    @cached_property
    def suggestions(self) -> list[Suggestion]:
        """What is worth a look, whatever has been decided since."""
        return suggest(self.session.tested)

    @property
    def state(self) -> CurationState:
        """What has been decided so far."""
        return self._history.present

    def curation(self) -> dict[str, Any]:
        """Return the decisions in SpikeInterface's curation format, version 2."""
        return to_curation(self.state)

    def apply(self) -> BaseSorting:
        """Return the sorting after all decisions, labels as properties; see `apply_state`."""
        return apply_state(self.session.tested.sorting, self.state)

    def save(self, path: str | Path | None = None) -> Path:
        """Write the decisions into a file that SpikeInterface and its graphical interface read.

        Parameters
        ----------
        path : str, Path or None, default: None
            None for the one given when the view was made. One given here is that of the button from now on.

        Raises
        ------
        ValueError
            If there is no path, or its folder does not exist.
        """
        path = self.path if path is None else Path(path)
        if path is None:
            raise ValueError("path = None: the view was made without one; say where to save, view.save(path)")
        self.path = save_curation(self.state, path)
        self._saved = self.state
        self.refresh()
        return self.path

    def load(self, path: str | Path) -> None:
        """Take up the decisions of a file in SpikeInterface's curation format, in place of the present ones.

        Raises
        ------
        ValueError
            If it is the curation of another sorting, or contradicts itself.
        """
        self._change(History.of(load_curation(path, self.session.tested.sorting)))

    def do(self, step: Step) -> None:
        """Do something: a step from `label_step`, `merge_step`, `split_step`, `remove_step` or `restore_step`.

        Raises
        ------
        ValueError
            If it cannot be done.
        """
        self._change(self._history.do(step))

    def undo(self) -> None:
        """Take back the last change, if there is one."""
        self._change(self._history.undo())

    def redo(self) -> None:
        """Do again what was undone, if there is something."""
        self._change(self._history.redo())

    def view_model(self) -> CurationModel:
        """Return all units, the selected ones in detail, and what is worth a look."""
        selected = self.session.selected_indices
        detail = self._detail_of(selected)
        threshold = self._chosen_threshold()
        if threshold is None and detail.split_range is not None:
            threshold = detail.split_range.proposed
        return curation_model(
            self._history,
            detail,
            selected=selected,
            threshold=threshold,
            made=made_units(self.session.tested, self.state),
            outcome=self._outcome_of(selected, threshold),
            prompt=self._prompt(),
            saved=("" if self.path is None else str(self.path), self._saved),
        )

    def answers(self) -> dict[str, Any]:
        """Return what to do with each kind of message from the browser."""
        return super().answers() | {
            "merge": lambda _: self.do(merge_step(self.session.selected_units)),
            "split": self._split,
            "threshold": self._set_threshold,
            "label": self._label,
            "clear_labels": lambda _: self.do(unlabel_step(self.session.selected_units)),
            "remove": lambda _: self.do(self._remove_or_restore()),
            "restore": lambda _: self.do(restore_step(self.session.selected_units)),
            "undo": lambda _: self.undo(),
            "redo": lambda _: self.redo(),
            "drop": lambda content: self._change(self._history.drop(content["index"])),
            "pairs": lambda _: self._find_pairs(),
            "next": lambda _: self._next(),
            "accept": lambda _: self._accept(),
            "skip": lambda _: self._skip(),
            "save": lambda _: self.save(),
        }

    def held(self, *, max_mb: float) -> Held:
        """Return every unit by itself, and what was decided."""
        session = self.session
        answers, units = hold_units(
            session.tested.unit_ids, self._of_unit, max_mb=max_mb, present=session.selected_units
        )
        says = f"what was decided, and the pictures of {units}: decisions are taken in a notebook"
        return Held(says=says, kinds=("go_to", "threshold"), answers=answers)

    def _of_unit(self, unit: int) -> dict[str, Any]:
        """Return what of the view changes with the unit that is selected alone."""
        session = self.session
        detail = unit_detail(session.tested, self.overview, [unit], segment_index=session.segment_index)
        split = detail.split_range
        threshold = None if split is None else split.proposed
        return {
            "selected": [unit],
            "threshold": threshold,
            "outcome": self._outcome_of([unit], threshold),
            "detail": {"pictures": parts_of(detail.pictures, leave_out="overview"), "split_range": split},
        }

    def draw(self, figure: "Figure") -> None:
        """Draw the selected units and what was decided with matplotlib."""
        draw_curation(figure, self.view_model(), cursor_s=self.cursor_s)

    def _change(self, history: History) -> None:
        self._history = history
        self.refresh()

    def _detail_of(self, selected: list[int]) -> Detail:
        """Return what is to be seen of units; decisions do not change it, so the last one is kept."""
        key = (tuple(selected), self.session.segment_index)
        if self._detail is None or self._detail[0] != key:
            self._detail = key, unit_detail(self.session.tested, self.overview, selected, segment_index=key[1])
        return self._detail[1]

    def _outcome_of(self, selected: list[int], threshold: float | None) -> Outcome | None:
        """Return what a merge or split of units makes; labels do not change it, so the last one is kept."""
        state, segment_index = self.state, self.session.segment_index
        key = (tuple(selected), threshold, self._proposed, segment_index, state.merges, state.splits, state.removed)
        if self._outcome is None or self._outcome[0] != key:
            tested = self.session.tested
            parts = None if self._proposed is None else self._proposed.parts
            if parts is None and threshold is not None and len(selected) == 1:
                parts = parts_by_amplitude(tested, selected[0], threshold)
            said = "" if self._proposed is None else self._proposed.said
            found = outcome_of(tested, state, selected, parts=parts, said=said, segment_index=segment_index)
            self._outcome = key, found
        return self._outcome[1]

    @property
    def _proposed(self) -> ProposedSplit | None:
        """The split that another view proposes of the one unit that is selected."""
        proposed = self.session.proposed_split
        return proposed if proposed is not None and self.session.selected_units == [proposed.unit_id] else None

    def _chosen_threshold(self) -> float | None:
        """Return where the user has put the line for the selected unit."""
        if self._threshold is not None and self.session.selected_units == [self._threshold[0]]:
            return self._threshold[1]
        return None

    def _set_threshold(self, content: dict[str, Any]) -> None:
        with self.one_refresh():
            self._threshold = self._one_selected(), float(content["value"])
            self.session.proposed_split = None

    def _one_selected(self) -> int | str:
        if len(self.session.selected_units) != 1:
            raise ValueError(f"{len(self.session.selected_units)} units are selected: select the one to split")
        return self.session.selected_units[0]

    def _split(self, content: dict[str, Any]) -> None:
        proposed = self._proposed
        if proposed is not None:
            with self.one_refresh():
                self.do(split_step(proposed.unit_id, proposed.parts, reason=proposed.said))
                self.session.proposed_split = None
            return
        unit_id, threshold = self._one_selected(), float(content["threshold"])
        parts = parts_by_amplitude(self.session.tested, self.session.index_of(unit_id), threshold)
        self._threshold = unit_id, threshold
        self.do(split_step(unit_id, parts, reason=f"at {threshold:.2f}"))

    def _label(self, content: dict[str, Any]) -> None:
        unit_ids, category, value = self.session.selected_units, content["category"], content["value"]
        labeled = [given.unit_id for given in self.state.labels if (given.category, given.value) == (category, value)]
        self.do(label_step(unit_ids, category, value, on=not set(unit_ids) <= set(labeled)))

    def _remove_or_restore(self) -> Step:
        unit_ids = self.session.selected_units
        is_removed = unit_ids and set(unit_ids) <= set(self.state.removed)
        return restore_step(unit_ids) if is_removed else remove_step(unit_ids)

    def _find_pairs(self) -> None:
        """Rank the pairs of all units, which takes seconds where there are hundreds."""
        if self.pairs is None:
            self.pairs = pack(ranked_pairs(similarity_of_all(self.session.tested)))

    def _open(self) -> list[Suggestion]:
        return [found for found in self.suggestions if found not in self._skipped and is_open(found, self.state)]

    def _prompt(self) -> Prompt | None:
        found = self._open()
        if not found:
            return None
        index = self._place % len(found)
        return prompt_for(found[index], self.state, index=index, number=len(found))

    def _present(self) -> Suggestion:
        found = self._open()
        if not found:
            raise ValueError("there is no suggestion left")
        return found[self._place % len(found)]

    def _next(self) -> None:
        if self.session.selected_units == list(self._present().unit_ids):
            self._place += 1
        self._look()

    def _accept(self) -> None:
        found = self._present()
        if found.kind == "merge":
            self.do(merge_step(found.unit_ids))
        else:
            label = label_called(self.state.definitions, found.value)
            if label is None and not found.value:
                raise ValueError("nothing is suggested but a look: label the unit, or skip")
            if label is None:
                raise ValueError(f"none of the labels is called {found.value}: give another one, or skip")
            self.do(label_step(found.unit_ids, *label))
        self._look()

    def _skip(self) -> None:
        self._skipped.append(self._present())
        self._look()

    def _look(self) -> None:
        """Select the units of the suggestion that is shown now."""
        with self.one_refresh():
            found = self._open()
            if found:
                self.session.selected_units = list(found[self._place % len(found)].unit_ids)
