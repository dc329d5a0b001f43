"""The motion view: where peaks were along the probe, how the tissue moved, and where they are with that taken off."""

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets

from si_crsae.evaluation.motion import TissueMotion, is_motion_followed, open_motion
from si_crsae.widgets.held import Held
from si_crsae.widgets.packing import pack
from si_crsae.widgets.session import Session
from si_crsae.widgets.static_plots.motion import draw_motion
from si_crsae.widgets.view import COMMON, WidgetView, load_module
from si_crsae.widgets.view_models.motion import MotionModel, MotionWindow, motion_model
from si_crsae.widgets.view_models.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIN_WINDOW_S = 1.0


class MotionView(WidgetView):
    """Depths of peaks over time as they were recorded, with the motion of the tissue on top, and at rest.

    What follows the motion well lies on level lines at rest. Peaks that are spikes of the selected units have their
    colors. Drag or use the arrow keys to move in time, press + and - to zoom, or turn the wheel with Ctrl or once the
    picture has been clicked; w changes between the whole probe and the depths around the selected units. A click goes
    to the time, and on a peak selects its unit; ? lists the keys.

    Parameters
    ----------
    session : Session
    group : int, default: 0
        Position among the groups of channels whose motion is known.
    whole_probe : bool, default: True
        Show all depths instead of those around the selected units.
    theme : {"auto", "light", "dark"}, default: "auto"

    Examples
    --------
    >>> from si_crsae.widgets import MotionView, open_session  # doctest: +SKIP
    >>> MotionView(open_session("run"))  # doctest: +SKIP
    """

    title: ClassVar[str] = "Motion of the tissue"
    tab_title: ClassVar[str] = "Motion"

    _esm = load_module(*COMMON, "motion_pictures.js", "motion.js")

    group = traitlets.Int(0, min=0)
    whole_probe = traitlets.Bool(True)

    def __init__(self, session: Session, **traits: Any) -> None:
        self._shown_s: tuple[float, float] | None = None
        super().__init__(session, **traits)
        # what was looked at was a part of another segment
        self.follow_session(lambda _: self._forget_window(), ["segment_index"])
        self.observe(lambda _: self.refresh(), names=["group", "whole_probe"])

    @classmethod
    def is_for(cls, session: Session) -> bool:
        """Tell whether the sorter has followed a motion."""
        return is_motion_followed(session.tested)

    @cached_property
    def motions(self) -> tuple[TissueMotion, ...]:
        """The motion of every group of channels in which it is known."""
        return open_motion(self.session.tested)

    def view_model(self) -> MotionModel:
        """Return the visible window."""
        return self._model_of(self.window())

    def window(self) -> MotionWindow:
        """Return what is looked at: all of the segment, unless a part was chosen."""
        session = self.session
        start_s, end_s = self._shown_s or (0.0, session.tested.duration_s(session.segment_index))
        return MotionWindow(
            group=self.group,
            segment_index=session.segment_index,
            start_s=start_s,
            end_s=end_s,
            is_whole=self.whole_probe,
        )

    def answers(self) -> dict[str, Any]:
        """Return what to do with each kind of message from the browser."""
        return super().answers() | {
            "show": self._show,
            "depths": lambda content: self.set_trait("whole_probe", bool(content["is_whole"])),
            "group": lambda content: self.set_trait("group", int(content["place"])),
        }

    def page_payload(self) -> Any:
        """Return the whole segment: the page shows any part of it."""
        window, session = self.window(), self.session
        whole = MotionWindow(
            group=window.group,
            segment_index=window.segment_index,
            start_s=0.0,
            end_s=session.tested.duration_s(window.segment_index),
            is_whole=window.is_whole,
        )
        return pack(self._model_of(whole)) | {"shown_s": [window.start_s, window.end_s]}

    def held(self, *, max_mb: float) -> Held:
        """Return the segment, with as many of its peaks as are drawn at once."""
        model = self._model_of(self.window())
        of_which = "all" if model.num_peaks <= model.point_time_s.size else f"{model.point_time_s.size:,} of"
        many = counted(model.num_peaks, "peak")
        return Held(says=f"the motion, and {of_which} {many}", kinds=("show", "select_units", "go_to"))

    def draw(self, figure: "Figure") -> None:
        """Draw the visible window with matplotlib."""
        draw_motion(figure, self.view_model())

    def _model_of(self, window: MotionWindow) -> MotionModel:
        session = self.session
        return motion_model(
            session.tested, self.motions, window, selected=session.selected_indices, cursor_s=session.time_s
        )

    def _show(self, content: dict[str, Any]) -> None:
        duration_s = self.session.tested.duration_s(self.session.segment_index)
        start_s, length_s = float(content["start_s"]), float(content["window_s"])
        length_s = min(max(length_s, MIN_WINDOW_S), duration_s)
        start_s = min(max(start_s, 0.0), duration_s - length_s)
        self._shown_s = (start_s, start_s + length_s)
        self.refresh()

    def _forget_window(self) -> None:
        self._shown_s = None
        self.refresh()

    @traitlets.validate("group")
    def _check_group(self, proposal: Any) -> int:
        number = len(self.motions)
        if proposal["value"] and proposal["value"] >= number:
            raise traitlets.TraitError(f"group = {proposal['value']}: the motion of {number} groups is known")
        return proposal["value"]
