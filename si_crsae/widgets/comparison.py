"""The ground-truth comparison: agreement of all units, templates and spikes of a pair."""

from typing import TYPE_CHECKING, Any, ClassVar

import traitlets

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.widgets.held import Held, hold
from si_crsae.widgets.packing import pack
from si_crsae.widgets.session import Session, finite
from si_crsae.widgets.static_plots.comparison import draw_comparison
from si_crsae.widgets.view import COMMON, WidgetView, load_module
from si_crsae.widgets.view_models.comparison import (
    LISTS,
    AgreementMatrix,
    PairModel,
    agreement_matrix,
    match_sortings,
    pair_model,
)
from si_crsae.widgets.view_models.matching import Matching
from si_crsae.widgets.view_models.spike_browser import (
    ComparisonModel,
    comparison_model,
    empty_comparison,
    nothing_to_compare,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ComparisonView(WidgetView):
    """How two sortings agree, unit by unit and spike by spike; the session's truth is compared with its sorting.

    Click a cell of the agreement matrix, or move over it with the arrow keys (Page Up and Page Down go along the
    diagonal, Home and End to the pairs that agree best and worst), to compare two units; click a tab to list their
    missed, false or matched spikes; period and comma go to the next and the previous one, in all views of the session;
    ? lists the keys.

    Parameters
    ----------
    session : Session
        With a truth, which may be the sorting of another sorter.
    delta_ms : float, default: 0.4
        Two spikes this close are taken for the same (ms).
    pair : list, default: the pair that agrees worst, then that of the leading selected unit
        Ids of the true and the tested unit that are compared.
    listed : {"missed", "false", "matched"}, default: "missed"
        Which of their spikes are browsed.
    position : int, default: 0
        Which of these is shown.
    theme : {"auto", "light", "dark"}, default: "auto"

    Examples
    --------
    >>> from si_crsae.widgets import ComparisonView, open_session  # doctest: +SKIP
    >>> ComparisonView(open_session("run", truth=true_sorting))  # doctest: +SKIP
    """

    title: ClassVar[str] = "Comparison, unit by unit"
    tab_title: ClassVar[str] = "Comparison"
    follows: ClassVar[tuple[str, ...]] = ()

    _esm = load_module(*COMMON, "comparison_pictures.js", "comparison_table.js", "comparison.js")

    delta_ms = traitlets.Float(0.4, min=0.0).tag(sync=True)
    pair = traitlets.List().tag(sync=True)
    listed = traitlets.Enum(LISTS, "missed").tag(sync=True)
    position = traitlets.Int(0, min=0).tag(sync=True)
    matrix = traitlets.Dict(help="The agreement matrix, sent once.").tag(sync=True)

    def __init__(self, session: Session, **traits: Any) -> None:
        self._matching: tuple[Matching, AgreementMatrix] | None = None
        self._pair_model: tuple[AgreementMatrix, tuple[int, int], PairModel] | None = None
        # until a unit is chosen, the one that needs a look most is shown
        self._is_opening = session.selected_units == session.tested.unit_ids[:1]
        super().__init__(session, **traits)
        self.follow_session(lambda _: self._attempt(self._follow_choice), ["selected_units"])
        self.follow_session(lambda _: self._attempt(self._follow_time), ["time_s", "segment_index"])
        self.observe(lambda _: self._attempt(self._follow_unit), names=["is_awake"])
        self.observe(lambda _: self._forget(), names=["delta_ms"])
        self.observe(lambda _: self.refresh(), names=["delta_ms", "pair", "listed", "position"])

    def view_model(self) -> ComparisonModel:
        """Return the pair of units and its present spike."""
        truth = self.session.truth
        reason = nothing_to_compare(self.session.tested, truth)
        if reason or truth is None:
            return empty_comparison(reason)
        return comparison_model(
            self.session.tested,
            truth,
            self.agreement(),
            self.pair_model(),
            listed=self.listed,
            position=self.position,
        )

    def agreement(self) -> AgreementMatrix:
        """Return the agreement of all units; it is computed once.

        Raises
        ------
        ValueError
            If the session has no truth.
        """
        tested, truth = self.session.tested, self.session.truth
        if truth is None:
            raise ValueError(nothing_to_compare(tested, truth))
        if self._matching is None:
            matching = match_sortings(tested, truth, delta_ms=self.delta_ms)
            matrix = agreement_matrix(tested, truth, matching, delta_ms=self.delta_ms)
            self._matching = (matching, matrix)
            self.set_trait("matrix", pack(matrix))
        return self._matching[1]

    def answers(self) -> dict[str, Any]:
        """Return what to do with each kind of message from the browser."""
        return super().answers() | {"choose": self._choose, "browse": self._browse}

    def held(self, *, max_mb: float) -> Held:
        """Return the agreement of all units, and every pair that belongs together."""
        tested, truth = self.session.tested, self.session.truth
        reason = nothing_to_compare(tested, truth)
        if reason or truth is None:
            return Held(says="nothing to compare")
        matrix = self.agreement()
        pairs = [(matrix.rows[place], matrix.columns[place]) for place in range(matrix.num_matched)]
        messages = [{"kind": "choose", "truth_unit": mine, "tested_unit": other} for mine, other in pairs]
        answers, are_all = hold(messages, lambda place: self._of_pair(truth, pairs[place]), max_mb=max_mb)
        of_pairs = "every pair on the diagonal" if are_all else f"{max(len(answers), 1)} of the pairs on the diagonal"
        says = f"the agreement of all units, and templates, lags and one {self.listed} spike of {of_pairs}"
        return Held(says=says, answers=answers)

    def _of_pair(self, truth: SortedRecording, pair: tuple[int, int]) -> ComparisonModel:
        """Return what is shown of a pair of units, with the first spike of the present list."""
        assert self._matching is not None
        matching, matrix = self._matching
        found = pair_model(self.session.tested, truth, pair, matching, delta_ms=self.delta_ms)
        return comparison_model(self.session.tested, truth, matrix, found, listed=self.listed, position=0)

    def draw(self, figure: "Figure") -> None:
        """Draw matrix, pair and present spike with matplotlib."""
        model = self.view_model()
        draw_comparison(figure, None if model.empty else self.agreement(), model)

    def pair_model(self) -> PairModel:
        """Return the matched, missed and false spikes of the chosen pair.

        Raises
        ------
        ValueError
            If there is nothing to compare.
        """
        tested, truth = self.session.tested, self.session.truth
        reason = nothing_to_compare(tested, truth)
        if reason or truth is None:
            raise ValueError(reason)
        matrix = self.agreement()
        pair = self._chosen_pair(truth, matrix)
        if self._pair_model is None or self._pair_model[0] is not matrix or self._pair_model[1] != pair:
            assert self._matching is not None
            found = pair_model(tested, truth, pair, self._matching[0], delta_ms=self.delta_ms)
            self._pair_model = (matrix, pair, found)
        return self._pair_model[2]

    def _chosen_pair(self, truth: SortedRecording, matrix: AgreementMatrix) -> tuple[int, int]:
        if self.pair:
            return truth.unit_ids.index(self.pair[0]), self.session.index_of(self.pair[1])
        if self._is_opening:
            return matrix.worst_pair()
        selected = self.session.selected_units
        unit = self.session.index_of(selected[0]) if selected else matrix.columns[0]
        return matrix.match_of(unit), unit

    @traitlets.validate("pair")
    def _check_pair(self, proposal: Any) -> list[int | str]:
        pair, truth = proposal["value"], self.session.truth
        if pair and truth is not None:
            if len(pair) != 2 or pair[0] not in truth.unit_ids:
                raise traitlets.TraitError(
                    f"pair = {pair}: give the ids of a unit of {truth.name}, one of {truth.unit_ids}, and of one of "
                    f"{self.session.tested.name}"
                )
            self.session.known_units("pair", pair[1:])
        return pair

    @traitlets.validate("delta_ms")
    def _check_delta(self, proposal: Any) -> float:
        return finite(proposal)

    def _forget(self) -> None:
        self._matching = None

    def _can_follow(self) -> bool:
        return self.is_awake and not nothing_to_compare(self.session.tested, self.session.truth)

    def _follow_choice(self) -> None:
        self._is_opening = False
        self._follow_unit()

    def _follow_unit(self) -> None:
        """Compare the leading selected unit, unless it already is."""
        selected = self.session.selected_units
        if not self._can_follow() or self._is_opening or not selected or (self.pair and self.pair[1] == selected[0]):
            return
        with self.one_refresh():
            self.pair = []
            self.position = self._position_now()

    def _follow_time(self) -> None:
        """Show that spike of the list which is nearest to the session's time."""
        if self._can_follow():
            self.position = self._position_now()

    def _position_now(self) -> int:
        spikes, session = self.pair_model().lists[self.listed], self.session
        now = session.time_s * session.tested.sampling_frequency
        is_there = self.position < spikes.size and (
            spikes.segment_index[self.position] == session.segment_index
            and abs(spikes.sample_index[self.position] - now) < 1
        )
        return self.position if is_there else spikes.nearest_to(session.segment_index, now)

    def _choose(self, content: dict[str, Any]) -> None:
        truth, tested = self.session.truth, self.session.tested
        if truth is None:
            return
        with self.one_refresh():
            self.pair = [truth.unit_ids[content["truth_unit"]], tested.unit_ids[content["tested_unit"]]]
            self.position = self._position_now()
            self.session.selected_units = self.pair[1:]

    def _browse(self, content: dict[str, Any]) -> None:
        with self.one_refresh():
            self.listed = content["listed"]
            spikes = self.pair_model().lists[self.listed]
            position = content.get("position")
            last = max(spikes.size - 1, 0)
            self.position = self._position_now() if position is None else min(max(int(position), 0), last)
            if spikes.size:
                time_s = spikes.sample_index[self.position] / self.session.tested.sampling_frequency
                self.session.go_to(float(time_s), segment_index=int(spikes.segment_index[self.position]))
