"""The history view: what learning made of every unit that it ever looked at, and why one is not in the sorting."""

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets

from si_crsae.widgets.held import Held, hold, parts_of
from si_crsae.widgets.session import Session
from si_crsae.widgets.static_plots.history import draw_history
from si_crsae.widgets.view import UNIT_LIST, WidgetView, load_module
from si_crsae.widgets.view_models.unit_history import HistoryModel, UnitHistory, history_model, open_history
from si_crsae.widgets.view_models.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class HistoryView(WidgetView):
    """What was split, merged, born and dropped while units were learned: when, and why.

    The table lists what may have become a unit; it begins with those that are not in the sorting. Click one, or choose
    it with the arrow keys, to see its template beside those of the units because of which it went, and its life from
    the first cluster on. A number of the small table shows what was decided in that round; the field above filters, by
    a word or as in ``channel = 12 and spikes > 50``; ? lists the keys.

    Parameters
    ----------
    session : Session
    chosen : int, default: -1
        Which candidate is looked at: those of the sorting's units have their indices; -1 for none.
    theme : {"auto", "light", "dark"}, default: "auto"

    Examples
    --------
    >>> from si_crsae.widgets import HistoryView, open_session  # doctest: +SKIP
    >>> HistoryView(open_session("run"))  # doctest: +SKIP
    """

    title: ClassVar[str] = "History of the units"
    tab_title: ClassVar[str] = "History"
    follows: ClassVar[tuple[str, ...]] = ()

    _esm = load_module(*UNIT_LIST, "template_panels.js", "history_table.js", "history.js")

    chosen = traitlets.Int(-1)

    def __init__(self, session: Session, **traits: Any) -> None:
        super().__init__(session, **traits)
        self.follow_session(lambda _: self._follow(), ["selected_units"])
        self.observe(lambda _: self.refresh(), names=["chosen"])

    @cached_property
    def history(self) -> UnitHistory | None:
        """What was decided; None where that is not known."""
        return open_history(self.session.tested)

    def view_model(self) -> HistoryModel:
        """Return all candidates, and the chosen one in detail."""
        return history_model(self.session.tested, self.history, chosen=self.chosen)

    def answers(self) -> dict[str, Any]:
        """Return what to do with each kind of message from the browser."""
        return super().answers() | {"choose": self._choose}

    def held(self, *, max_mb: float) -> Held:
        """Return the candidates one at a time."""
        history = self.history
        number = 0 if history is None else len(history.candidates)
        messages = [{"kind": "choose", "candidate": index} for index in range(number)]
        answers, are_all = hold(messages, self._of_candidate, max_mb=max_mb)
        of_which = "each" if are_all else f"the first {len(answers)}"
        return Held(says=f"the list of {counted(number, 'candidate')}, and the life of {of_which}", answers=answers)

    def draw(self, figure: "Figure") -> None:
        """Draw the rounds, and the chosen candidate with its life, with matplotlib."""
        draw_history(figure, self.view_model())

    def _of_candidate(self, index: int) -> dict[str, Any]:
        """Return what of the view changes with the chosen candidate."""
        model = parts_of(history_model(self.session.tested, self.history, chosen=index), leave_out="overview")
        return {name: model[name] for name in ("chosen", "life", "drawn", "atoms", "neighborhood", "not_drawn")}

    def _choose(self, content: dict[str, Any]) -> None:
        self.chosen = int(content["candidate"])
        if 0 <= self.chosen < self.session.tested.units.num_units:
            self.session.selected_units = [self.session.tested.unit_ids[self.chosen]]

    def _follow(self) -> None:
        """Look at the unit that was selected elsewhere."""
        if self.session.selected_units:
            self.chosen = self.session.index_of(self.session.selected_units[0])

    @traitlets.validate("chosen")
    def _check_chosen(self, proposal: Any) -> int:
        number = 0 if self.history is None else len(self.history.candidates)
        if not -1 <= proposal["value"] < number:
            raise traitlets.TraitError(f"chosen = {proposal['value']}: there are {number} candidates, -1 is none")
        return proposal["value"]
