"""The code raster: every event of the sparse code as a mark, time against units."""

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets

from si_crsae.widgets.held import Held, hold
from si_crsae.widgets.packing import pack
from si_crsae.widgets.session import Session, finite
from si_crsae.widgets.static_plots.raster import draw_raster
from si_crsae.widgets.view import COMMON, WidgetView, load_module
from si_crsae.widgets.view_models.raster import MAX_COLUMNS, RasterModel, RasterWindow, raster_model
from si_crsae.widgets.view_models.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIN_WINDOW_S = 0.005
# So many marks of a saved page take 3 MB; of more, it holds counts.
MAX_HELD_EVENTS = 300_000


class CodeRaster(WidgetView):
    """The sparse code as a raster: a mark for every event, as long as its amplitude; counts where there are too many.

    Drag or use the arrow keys left and right to move in time, press + and - to zoom, or turn the wheel with Ctrl or
    once the picture has been clicked; a shows the whole segment, c goes to the cursor, Home and End to the ends. Click
    a mark or a row to select its unit and to go there (with shift: select it too); the arrow keys up and down select
    the next row, period and comma go to the next and the previous spike of the selected units, o changes the order of
    the units; ? lists the keys.

    Parameters
    ----------
    session : Session
    window_s : float, default: 2
        Length of the window (s).
    order : {"depth", "id"}, default: "depth"
        Order of the units, see `si_crsae.widgets.view_models.raster.raster_model`.
    theme : {"auto", "light", "dark"}, default: "auto"

    Examples
    --------
    >>> from si_crsae.widgets.raster import CodeRaster  # doctest: +SKIP
    >>> CodeRaster(open_session("run"), window_s=10)  # doctest: +SKIP
    """

    title: ClassVar[str] = "Code: time x unit"
    tab_title: ClassVar[str] = "Raster"
    _esm = load_module(*COMMON, "overview.js", "raster_pictures.js", "raster.js")

    window_s = traitlets.Float(2.0, min=MIN_WINDOW_S).tag(sync=True)
    width_px = traitlets.Int(1000, min=100, max=8000).tag(sync=True)
    order = traitlets.Enum(["depth", "id"], "depth").tag(sync=True)

    def __init__(self, session: Session, **traits: Any) -> None:
        self._start_s = 0.0
        # no cursor was seen yet: the first one is in the middle
        self._seen = (-1, 0.0)
        super().__init__(session, **traits)
        self.observe(self._keep_center, names=["window_s"])
        self.observe(lambda _: self.refresh(), names=["window_s", "width_px", "order"])

    def view_model(self) -> RasterModel:
        """Return the visible window."""
        session = self.session
        return raster_model(
            session.tested,
            self.window(),
            order=self.order,
            selected=session.selected_indices,
            cursor_s=session.time_s,
        )

    def window(self) -> RasterWindow:
        """Return what is looked at; it jumps only if the time of the session has left it."""
        session = self.session
        segment_index, time_s = session.segment_index, session.time_s
        duration_s = session.tested.duration_s(segment_index)
        length_s = min(self.window_s, duration_s)
        if (segment_index, time_s) != self._seen:
            is_inside = segment_index == self._seen[0] and self._start_s <= time_s <= self._start_s + length_s
            if not is_inside:
                self._start_s = time_s - length_s / 2
            self._seen = (segment_index, time_s)
        self._start_s = min(max(self._start_s, 0.0), duration_s - length_s)
        return RasterWindow(
            start_s=self._start_s,
            end_s=self._start_s + length_s,
            segment_index=segment_index,
            num_columns=self.width_px,
        )

    def answers(self) -> dict[str, Any]:
        """Return what to do with each kind of message from the browser."""
        return super().answers() | {"show": self._show, "order": self._order}

    def page_payload(self) -> Any:
        """Return the whole segment: the page shows any part of it."""
        window = self.window()
        return self._whole_segment() | {"shown_s": [window.start_s, window.end_s]}

    def held(self, *, max_mb: float) -> Held:
        """Return the whole segment, of the others as many as fit."""
        tested, segment = self.session.tested, self.session.segment_index
        others = [index for index in range(len(tested.num_samples)) if index != segment]
        messages = [{"kind": "go_to", "time_s": 0, "segment_index": index} for index in (segment, *others)]
        answers, are_all = hold(
            messages if others else [], lambda place: self._whole_segment((segment, *others)[place]), max_mb=max_mb
        )
        count = int(np.count_nonzero(tested.units.spikes["segment_index"] == segment))
        many = counted(count, "spike")
        what = f"all {many}" if count <= MAX_HELD_EVENTS else f"{many}, counted in parts of it"
        of_segment = f"segment {segment}" if others else "the recording"
        says = f"{what} of {of_segment}"
        if others and are_all:
            says += ", and all other segments"
        return Held(says=says, kinds=("show", "select_units", "go_to"), answers=answers)

    def _whole_segment(self, segment_index: int | None = None) -> dict[str, Any]:
        """Return a whole segment, packed, in which every mark can be seen if one comes near enough."""
        session = self.session
        segment_index = session.segment_index if segment_index is None else segment_index
        window = RasterWindow(
            start_s=0.0,
            end_s=session.tested.duration_s(segment_index),
            segment_index=segment_index,
            num_columns=MAX_COLUMNS,
        )
        model = raster_model(
            session.tested,
            window,
            order=self.order,
            selected=session.selected_indices,
            cursor_s=session.time_s if segment_index == session.segment_index else 0.0,
            max_events=MAX_HELD_EVENTS,
        )
        return pack(model)

    def draw(self, figure: "Figure") -> None:
        """Draw the visible window with matplotlib."""
        draw_raster(figure, self.view_model())

    @traitlets.validate("window_s")
    def _check_window(self, proposal: Any) -> float:
        return finite(proposal)

    def _keep_center(self, change: Any) -> None:
        self._start_s += (change["old"] - change["new"]) / 2

    def _show(self, content: dict[str, Any]) -> None:
        with self.one_refresh():
            self.window_s = float(content["window_s"])
            self.width_px = int(content["width_px"])
            start_s = float(content["start_s"])
            self._start_s = start_s if math.isfinite(start_s) else self._start_s

    def _order(self, content: dict[str, Any]) -> None:
        self.order = content["by"]
