"""The template inspector: units at their contacts, with their neighbors, firing and amplitudes."""

from typing import TYPE_CHECKING, Any, ClassVar

import traitlets

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.widgets.held import Held, hold_units, parts_of
from si_crsae.widgets.session import Session, finite
from si_crsae.widgets.static_plots.templates import draw_templates
from si_crsae.widgets.view import UNIT_LIST, WidgetView, load_module
from si_crsae.widgets.view_models.templates import TemplatesModel, templates_model
from si_crsae.widgets.view_models.unit_figures import UnitOverview, describe_units

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TemplateInspector(WidgetView):
    """Templates of the selected units at their contacts, with neighbors, correlograms, amplitudes and quality figures.

    Click a row of the list to select a unit, with Ctrl or Shift to add it or take it away; click a column's head to
    sort. In the list the arrows up and down select the unit above or below (with Shift: add it, with Ctrl: only go
    there), Enter or Space adds or removes it. Click a contact to select the unit that is largest there, again for the
    next one; click a neighbor to add it, the head of a unit's column to make it the leading one, an amplitude to go to
    its time in all views. Beside the list, t changes between atoms and templates, w between the neighborhood and the
    whole probe, + and - change the size of the waveforms, period and comma go to the next and the previous spike.
    Where templates move with the tissue, d changes between atoms at rest and where the tissue was at the time that all
    views look at.

    Parameters
    ----------
    session : Session
    quantity : {"atoms", "templates"}, default: "atoms"
        Whitened atoms at their typical size, or mean waveforms in uV.
    whole_probe : bool, default: False
        Show all contacts instead of those around the selected units.
    correlogram_ms : float, default: 50
        Largest lag of the correlograms (ms).
    at_cursor : bool, default: False
        Draw atoms where the tissue was at the session's time instead of at rest.
    theme : {"auto", "light", "dark"}, default: "auto"

    Examples
    --------
    >>> from si_crsae.widgets import TemplateInspector, open_session  # doctest: +SKIP
    >>> TemplateInspector(open_session("run"))  # doctest: +SKIP
    """

    title: ClassVar[str] = "Templates"
    tab_title: ClassVar[str] = "Templates"
    # A new time moves the cursor only.
    follows: ClassVar[tuple[str, ...]] = ("selected_units", "segment_index")

    _esm = load_module(*UNIT_LIST, "template_panels.js", "templates.js")

    quantity = traitlets.Enum(["atoms", "templates"], "atoms").tag(sync=True)
    whole_probe = traitlets.Bool(False).tag(sync=True)
    correlogram_ms = traitlets.Float(50.0, min=5.0, max=100.0).tag(sync=True)
    cursor_s = traitlets.Float(0.0).tag(sync=True)
    at_cursor = traitlets.Bool(False).tag(sync=True)

    def __init__(self, session: Session, **traits: Any) -> None:
        self._described: tuple[SortedRecording, UnitOverview] | None = None
        super().__init__(session, **traits)
        self.cursor_s = session.time_s
        self.follow_session(lambda change: self._follow_time(change["new"]), ["time_s"])
        self.observe(lambda _: self.refresh(), names=["correlogram_ms", "at_cursor"])

    def overview(self) -> UnitOverview:
        """Return what is known of all units, computed once for a sorting."""
        tested = self.session.tested
        if self._described is None or self._described[0] is not tested:
            self._described = tested, describe_units(tested)
        return self._described[1]

    def view_model(self) -> TemplatesModel:
        """Return what there is to see of the selected units."""
        return self._model_of(self.session.selected_indices)

    def held(self, *, max_mb: float) -> Held:
        """Return the panels of every unit by itself."""
        session = self.session
        answers, units = hold_units(
            session.tested.unit_ids, self._of_unit, max_mb=max_mb, present=session.selected_units
        )
        return Held(says=f"the list of all units, and the panels of {units}", kinds=("go_to",), answers=answers)

    def _of_unit(self, unit: int) -> dict[str, Any]:
        """Return what of the view changes with the unit that is selected alone."""
        return parts_of(self._model_of([unit]), leave_out="overview")

    def _model_of(self, selected: list[int]) -> TemplatesModel:
        session = self.session
        return templates_model(
            session.tested,
            self.overview(),
            selected=selected,
            segment_index=session.segment_index,
            correlogram_ms=self.correlogram_ms,
            at_s=session.time_s if self.at_cursor else None,
        )

    def _follow_time(self, time_s: float) -> None:
        self.cursor_s = time_s
        if self.at_cursor:
            self.refresh()

    def draw(self, figure: "Figure") -> None:
        """Draw the selected units with matplotlib."""
        draw_templates(
            figure,
            self.view_model(),
            quantity=self.quantity,
            whole_probe=self.whole_probe,
            cursor_s=self.cursor_s,
        )

    @traitlets.validate("correlogram_ms")
    def _check_correlogram(self, proposal: Any) -> float:
        return finite(proposal)
