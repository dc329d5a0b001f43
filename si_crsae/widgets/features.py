"""The feature view: spikes as points, with a lasso that proposes a split, and what else tells units apart."""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets
from jaxtyping import Int

from si_crsae.widgets.curation import CurationView
from si_crsae.widgets.held import Held, hold_units, parts_of
from si_crsae.widgets.packing import pack
from si_crsae.widgets.session import ProposedSplit, Session
from si_crsae.widgets.static_plots.features import draw_features
from si_crsae.widgets.view import UNIT_LIST, WidgetView, load_module
from si_crsae.widgets.view_models.features import MAX_DRAWN_UNITS, FeaturesModel, Lasso, features_model
from si_crsae.widgets.view_models.similarity import similarity_matrix, similarity_of_all
from si_crsae.widgets.view_models.spike_features import (
    BATCH,
    MAX_READ,
    FeatureSpace,
    Snippets,
    affordable,
    channels_of,
    evenly_chosen,
    fit_features,
    is_inside,
    read_all,
    read_snippets,
)
from si_crsae.widgets.view_models.unit_activity import (
    relative_amplitudes,
    spike_times_s,
    spikes_in_segment,
    spikes_of_units,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Units whose waveforms are kept.
MAX_KEPT = 24
# Of all waveforms of a unit, which a second line around its points needs again.
MAX_KEPT_BYTES = 256 * 2**20


class FeatureView(WidgetView):
    """Spikes of the selected units as points: principal components, amplitude and depth over time; and their waveforms.

    Draw a line around points, with the mouse held down, to catch them: what is caught of the leading unit is
    proposed as a split, which the curation view of the session previews and decides. With the keyboard, space in a
    picture sets a corner at the cross, which the arrow keys move, and Enter closes the line. Below are single waveforms
    over the mean, intervals, rate, a list of spikes of which a click goes to the time of one, and the similarity of all
    units, of which a click selects two.

    Parameters
    ----------
    session : Session
    across, up : str, default: "pc1", "pc2"
        What the first picture shows: "pc1", "pc2", "pc3" or "depth".
    theme : {"auto", "light", "dark"}, default: "auto"

    Examples
    --------
    >>> from si_crsae.widgets import FeatureView, open_session  # doctest: +SKIP
    >>> FeatureView(open_session("run"))  # doctest: +SKIP
    """

    title: ClassVar[str] = "Features of the spikes"
    tab_title: ClassVar[str] = "Features"
    follows: ClassVar[tuple[str, ...]] = ("segment_index",)

    _esm = load_module(*UNIT_LIST, "scatter.js", "feature_panels.js", "features.js")

    across = traitlets.Enum(["pc1", "pc2", "pc3", "depth"], "pc1").tag(sync=True)
    up = traitlets.Enum(["pc1", "pc2", "pc3", "depth"], "pc2").tag(sync=True)
    cursor_s = traitlets.Float(0.0).tag(sync=True)
    matrix = traitlets.Dict().tag(sync=True)
    progress = traitlets.Float(1.0, help="Share of the waveforms that a line needs that were read.").tag(sync=True)

    def __init__(self, session: Session, **traits: Any) -> None:
        self._kept: dict[tuple[int, int, int], Snippets] = {}
        self._whole: tuple[int, list[Snippets]] = (-1, [])
        self._lasso: Lasso | None = None
        self._sort = ("time", False)
        super().__init__(session, **traits)
        self.cursor_s = session.time_s
        self.follow_session(lambda change: self.set_trait("cursor_s", change["new"]), ["time_s"])
        self.follow_session(lambda _: self._forget_lasso(), ["selected_units"])

    def view_model(self) -> FeaturesModel:
        """Return what there is to see of the selected units."""
        if not self.matrix:
            self.matrix = pack(similarity_matrix(self.session.tested, self._similarity))
        return self._model_of(self.session.selected_indices)

    def answers(self) -> dict[str, Any]:
        """Return what to do with each kind of message from the browser."""
        return super().answers() | {
            "lasso": self._catch,
            "clear": lambda _: self._drop_lasso(),
            "decide": lambda _: self.session.set_trait("tab", CurationView.tab_title),
            "sort": self._sort_by,
        }

    def held(self, *, max_mb: float) -> Held:
        """Return every unit by itself."""
        session = self.session
        answers, units = hold_units(
            session.tested.unit_ids,
            lambda unit: parts_of(self._model_of([unit]), leave_out="unit_ids"),
            max_mb=max_mb,
            present=session.selected_units,
        )
        return Held(says=f"the similarity of all units, and the pictures of {units}", kinds=("go_to",), answers=answers)

    def draw(self, figure: "Figure") -> None:
        """Draw the points, waveforms, intervals and rate with matplotlib."""
        draw_features(figure, self.view_model(), across=self.across, up=self.up)

    def parts(self) -> list[list[int]]:
        """Return what the lasso has caught, for `split_step`: positions among the spikes of the leading unit.

        Raises
        ------
        ValueError
            If it has caught nothing.
        """
        if self._lasso is None or not self._lasso.inside.size:
            raise ValueError("no spike of the leading unit has been caught: draw a line around some")
        mine = spikes_of_units(self.session.tested)[self.session.selected_indices[0]]
        return [np.flatnonzero(np.isin(mine, self._lasso.inside)).tolist()]

    @cached_property
    def _similarity(self) -> np.ndarray:
        return similarity_of_all(self.session.tested)

    def _model_of(self, selected: list[int]) -> FeaturesModel:
        tested, drawn = self.session.tested, selected[:MAX_DRAWN_UNITS]
        snippets = {unit: self._snippets_of(unit, drawn[0]) for unit in drawn}
        space = self._space(snippets, drawn)
        return features_model(
            tested,
            snippets,
            space,
            selected=selected,
            segment_index=self.session.segment_index,
            lasso=self._lasso,
            sort=self._sort,
        )

    def _space(self, snippets: dict[int, Snippets], drawn: list[int]) -> FeatureSpace | None:
        return fit_features(self.session.tested, list(snippets.values()), drawn[0]) if drawn else None

    def _snippets_of(self, unit: int, leading: int) -> Snippets:
        """Return waveforms of a unit on the channels of the leading one; the last ones that were read are kept."""
        segment, tested = self.session.segment_index, self.session.tested
        key = unit, leading, segment
        if key not in self._kept:
            spikes = evenly_chosen(spikes_in_segment(tested, unit, segment), affordable(MAX_READ, tested))
            self._kept[key] = read_snippets(tested, spikes, channels_of(tested, leading))
        while len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        return self._kept[key]

    def _catch(self, content: dict[str, Any]) -> None:
        """Propose to split what lies within a line off the leading unit."""
        session = self.session
        if not session.selected_units:
            raise ValueError("no unit is selected: select the one to split")
        corners = [[float(x), float(y)] for x, y in content["corners"]]
        inside = self._spikes_inside(str(content["x"]), str(content["y"]), corners)
        self._lasso = Lasso(x=str(content["x"]), y=str(content["y"]), corners=corners, inside=inside)
        session.proposed_split = None
        if inside.size:
            session.proposed_split = ProposedSplit(
                unit_id=session.selected_units[0], parts=self.parts(), said="by lasso"
            )
        self.refresh()

    def _spikes_inside(self, x: str, y: str, corners: list[list[float]]) -> Int[np.ndarray, " spike"]:
        """Return which spikes of the leading unit lie within a line, also of those that are not drawn."""
        tested, selected = self.session.tested, self.session.selected_indices
        unit, segment = selected[0], self.session.segment_index
        mine = spikes_of_units(tested)[unit]
        known = {"time": spike_times_s(tested, mine), "amplitude": relative_amplitudes(tested, unit)}
        found = [np.zeros(0, "int64")]
        if {x, y} <= known.keys():
            found.append(mine[is_inside(known[x], known[y], corners)])
        else:
            drawn = selected[:MAX_DRAWN_UNITS]
            space = self._space({other: self._snippets_of(other, unit) for other in drawn}, drawn)
            assert space is not None, "without components there is no picture of them"
            for snippets in self._all_of(unit):
                features = {**space.of(snippets), "time": spike_times_s(tested, snippets.spikes)}
                found.append(snippets.spikes[is_inside(features[x], features[y], corners)])
        caught = np.concatenate(found)
        # times are those of the segment that is shown
        is_timed = "time" in (x, y)
        return caught[tested.units.spikes["segment_index"][caught] == segment] if is_timed else caught

    def _all_of(self, unit: int) -> Iterator[Snippets]:
        """Yield the waveforms of all spikes of a unit; those of the last one are kept, if they are not too many."""
        tested = self.session.tested
        if self._whole[0] == unit:
            yield from self._whole[1]
            return
        number, num_read, size, kept = spikes_of_units(tested)[unit].size, 0, 0, []
        try:
            for snippets in read_all(tested, unit, channels_of(tested, unit)):
                num_read, size = num_read + BATCH, size + snippets.values.nbytes
                kept = [*kept, snippets] if size <= MAX_KEPT_BYTES else []
                self.progress = min(num_read / number, 1.0)
                yield snippets
        finally:
            self.progress = 1.0
        if size <= MAX_KEPT_BYTES:
            self._whole = unit, kept

    def _drop_lasso(self) -> None:
        self.session.proposed_split = None
        self._forget_lasso()

    def _forget_lasso(self) -> None:
        self._lasso = None
        self.refresh()

    def _sort_by(self, content: dict[str, Any]) -> None:
        self._sort = str(content["by"]), bool(content["is_down"])
        self.refresh()
