"""The decomposition viewer: traces as the sum of their spikes and what these leave."""

from typing import TYPE_CHECKING, Any, ClassVar

import traitlets

from si_crsae.widgets.held import Held
from si_crsae.widgets.packing import pack
from si_crsae.widgets.session import Session, finite
from si_crsae.widgets.static_plots.decomposition import draw_decomposition
from si_crsae.widgets.view import COMMON, WidgetView, load_module
from si_crsae.widgets.view_models.decomposition import DecompositionModel, decomposition_model
from si_crsae.widgets.view_models.explanation import explain_residual
from si_crsae.widgets.view_models.stretch import Stretch, stretch_around

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class DecompositionViewer(WidgetView):
    """Any stretch of traces as the sum of its spikes, colored by unit, and a residual.

    Drag or use the arrow keys to move in time, press + and - to zoom, or turn the wheel with Ctrl or once the picture
    has been clicked; click a unit to take its spikes out of the sum, click a bump of the residual to learn which atom
    comes nearest and what threshold would have caught it; period and comma go to the next and the previous spike of the
    selected units; ? lists the keys.

    Parameters
    ----------
    session : Session
    window_ms : float, default: 100
        Length of the stretch (ms).
    hidden_units : list, default: []
        Ids of the units left in the residual.
    first_channel : int or None, default: None
        Of more than 64 channels, show those from this one on, counted from the bottom of the probe; None for those
        nearest to the leading selected unit.
    theme : {"auto", "light", "dark"}, default: "auto"

    Examples
    --------
    >>> from si_crsae.widgets import DecompositionViewer, open_session  # doctest: +SKIP
    >>> DecompositionViewer(open_session("run"))  # doctest: +SKIP
    """

    title: ClassVar[str] = "Traces = spikes + residual"
    tab_title: ClassVar[str] = "Traces"

    _esm = load_module(*COMMON, "overview.js", "decomposition_marks.js", "decomposition.js")

    window_ms = traitlets.Float(100.0, min=1.0).tag(sync=True)
    width_px = traitlets.Int(1000, min=100, max=8000).tag(sync=True)
    hidden_units = traitlets.List().tag(sync=True)
    first_channel = traitlets.Int(None, allow_none=True, min=0).tag(sync=True)
    finding = traitlets.Dict().tag(sync=True)

    def __init__(self, session: Session, **traits: Any) -> None:
        super().__init__(session, **traits)
        self.observe(lambda _: self.refresh(), names=["window_ms", "width_px", "hidden_units", "first_channel"])
        # what was found belongs to the channels, the segment and the residual that were clicked
        self.observe(lambda _: self.set_trait("finding", {}), names=["hidden_units", "first_channel"])
        self.follow_session(lambda _: self.set_trait("finding", {}), names=["segment_index", "selected_units"])

    def view_model(self) -> DecompositionModel:
        """Return the visible stretch."""
        return decomposition_model(self.session.tested, self.stretch(), selected=self.session.selected_indices)

    def stretch(self) -> Stretch:
        """Return what is looked at: the window around the time of the session, inside of the segment."""
        session = self.session
        return stretch_around(
            session.tested,
            sample=round(session.time_s * session.tested.sampling_frequency),
            segment_index=session.segment_index,
            window_ms=self.window_ms,
            selected=session.selected_indices,
            num_columns=self.width_px,
            hidden_units=self.hidden_units,
            first_row=self.first_channel,
        )

    def answers(self) -> dict[str, Any]:
        """Return what to do with each kind of message from the browser."""
        return super().answers() | {
            "show": self._show,
            "hide": self._hide,
            "explain": self._explain,
            "channels": lambda content: self.set_trait("first_channel", content["first"]),
        }

    def held(self, *, max_mb: float) -> Held:
        """Return the visible stretch: any other needs the recording."""
        stretch, segment = self.stretch(), self.session.segment_index
        start_s, end_s = (sample / self.session.tested.sampling_frequency for sample in (stretch.start, stretch.end))
        of_segment = f" of segment {segment}" if len(self.session.tested.num_samples) > 1 else ""
        return Held(says=f"the traces from {start_s:.3f} s to {end_s:.3f} s{of_segment}", kinds=("select_units",))

    def draw(self, figure: "Figure") -> None:
        """Draw the visible stretch with matplotlib."""
        draw_decomposition(figure, self.view_model())

    @traitlets.validate("window_ms")
    def _check_window(self, proposal: Any) -> float:
        return finite(proposal)

    @traitlets.validate("hidden_units")
    def _check_hidden(self, proposal: Any) -> list[int | str]:
        return self.session.known_units("hidden_units", proposal["value"])

    def _show(self, content: dict[str, Any]) -> None:
        with self.one_refresh():
            self.window_ms = float(content["window_ms"])
            self.width_px = int(content["width_px"])
            self.session.go_to(float(content["time_s"]))

    def _hide(self, content: dict[str, Any]) -> None:
        self.hidden_units = [self.session.tested.unit_ids[index] for index in content["units"]]

    def _explain(self, content: dict[str, Any]) -> None:
        stretch = self.stretch()
        sample = round(float(content["time_s"]) * self.session.tested.sampling_frequency)
        channel = int(stretch.channels[content["row"]])
        found = explain_residual(self.session.tested, stretch, sample=sample, channel=channel)
        nothing = {"text": "No atom resembles the residual here.", "waveform_row": []}
        self.finding = pack(found) if found is not None else nothing
