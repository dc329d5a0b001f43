"""A view for spikeinterface-gui: the traces around its time as the sum of their spikes and a residual."""

from typing import TYPE_CHECKING, Any, ClassVar

from spikeinterface_gui.view_base import ViewBase

from si_crsae.evaluation.figures import new_figure
from si_crsae.evaluation.sorted_recording import SortedRecording, explain_sorting, open_run
from si_crsae.sorting.runs.trust import UntrustedError
from si_crsae.widgets.static_plots.decomposition import ROW_HEIGHT, draw_decomposition
from si_crsae.widgets.view_models.decomposition import decomposition_model
from si_crsae.widgets.view_models.explanation import explain_residual
from si_crsae.widgets.view_models.stretch import Stretch, stretch_around

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXTERNAL_NAME = "crsae"
"""What of ``external_data`` of the GUI is the run to show."""
TRUST = "trust"
"""What of it says whether to load all that the run describes, as ``trust=True`` of `open_run` does."""
NOTHING_YET = (
    "Press compute: the mean waveform of every unit is measured,\n"
    "and the traces are shown as their sum and a residual.\n\n"
    f'A run of crsae is shown at once, with its own code: external_data={{"{EXTERNAL_NAME}": folder}}'
)


class GuiDecompositionView(ViewBase):
    """The decomposition viewer inside of spikeinterface-gui, which finds it by its entry point.

    It follows the time, the visible units and the colors of the GUI. Any analyzer with a recording will do, whatever
    its sorter: `explain_sorting` gives each unit its mean waveform. With ``external_data={"crsae": run}``, a folder or
    a `SortedRecording`, the code of that run is shown instead; ``"trust": True`` beside it loads what the folder
    describes even if that may run what somebody has written there, see `open_run`. In a window, a click moves the time
    of the GUI, and one on a bump of the residual names the nearest atom and the threshold that would have caught it.
    """

    controller: Any
    settings: Any
    id = "crsae_decomposition"
    _supported_backend: ClassVar[list[str]] = ["qt", "panel"]
    _settings: ClassVar[list[dict[str, Any]]] = [{"name": "window_ms", "type": "float", "value": 50.0}]
    _need_compute = True
    _gui_help_txt = """
## Decomposition (si_crsae)

The whitened traces around the time of the GUI, the spikes that explain them in the colors of their units, and what
they leave; behind the residual its level, 1 for noise alone. **compute** measures the mean waveform of every unit.

### Controls
- **click** : move the time of all views there; in the residual, name the nearest atom and the threshold that would
  have caught it (window only)
- **window_ms** in the settings : length of the stretch
"""

    def __init__(self, controller: Any = None, parent: Any = None, backend: str = "qt") -> None:
        self._sorted: SortedRecording | None = None
        self._said = ""
        super().__init__(controller=controller, parent=parent, backend=backend)

    def _compute(self) -> None:
        analyzer = self.controller.analyzer
        if not (analyzer.has_recording() or analyzer.has_temporary_recording()):
            self._said = "The analyzer has no recording: give one with run_mainwindow(analyzer, recording=recording)."
            return
        try:
            self._sorted, self._said = explain_sorting(analyzer.sorting, analyzer.recording, name="sorting"), ""
        except ValueError as error:
            self._said = str(error)

    def _reinitialize(self, **kwargs: Any) -> None:
        # after a curation the analyzer has other units
        self._sorted = None
        self._refresh(**kwargs)

    def draw(self, figure: "Figure") -> None:
        """Draw the stretch around the time of the GUI, or what keeps it from being drawn."""
        figure.clear()
        shown = self._shown()
        if shown is None:
            figure.text(0.5, 0.5, self._said or NOTHING_YET, ha="center", va="center", wrap=True)
            return
        colors = {unit_id: self.controller.get_unit_color(unit_id) for unit_id in self.controller.unit_ids}
        model = decomposition_model(shown, self.stretch(shown))
        draw_decomposition(figure, model, color_of=lambda unit: colors.get(shown.unit_ids[unit], "gray"))
        if self._said or model.empty:
            figure.suptitle(self._said or model.empty, fontsize="small", wrap=True)

    def stretch(self, shown: SortedRecording) -> Stretch:
        """Return the stretch around the time of the GUI, on the channels near its first visible unit."""
        time, segment_index = self.controller.get_time()
        visible = [unit_id for unit_id in self.controller.get_visible_unit_ids() if unit_id in shown.unit_ids]
        return stretch_around(
            shown,
            sample=int(self.controller.time_to_sample_index(time)),
            segment_index=int(segment_index),
            window_ms=min(max(self.settings["window_ms"], 1.0), 1000.0),
            selected=[shown.unit_ids.index(unit_id) for unit_id in visible],
        )

    def _shown(self) -> SortedRecording | None:
        if self._sorted is None:
            external = self.controller.external_data
            given = external if isinstance(external, dict) else {}
            run = given.get(EXTERNAL_NAME)
            try:
                if run is None or isinstance(run, SortedRecording):
                    self._sorted = run
                else:
                    self._sorted = open_run(run, trust=given.get(TRUST) is True)
            except UntrustedError as error:
                self._said = f"{error}: external_data={{{EXTERNAL_NAME!r}: folder, {TRUST!r}: True}}"
            except ValueError as error:
                self._said = str(error)
        return self._sorted

    def _explain(self, shown: SortedRecording, *, time_s: float, row: int) -> str:
        """Return what the nearest atom would make of a point of the residual."""
        stretch = self.stretch(shown)
        channel = int(stretch.channels[min(max(row, 0), stretch.channels.size - 1)])
        sample = round(time_s * shown.sampling_frequency)
        found = explain_residual(shown, stretch, sample=sample, channel=channel)
        return found.text if found is not None else "No atom resembles the residual here."

    def _qt_make_layout(self) -> None:
        from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
        from spikeinterface_gui import myqt

        qt: Any = myqt.QT
        self.figure = new_figure(figsize=(12, 6))
        self.canvas = FigureCanvasQTAgg(self.figure)
        self.canvas.mpl_connect("button_press_event", self._qt_on_click)
        self.layout = qt.QVBoxLayout()
        self.layout.addWidget(self.canvas)

    def _qt_refresh(self) -> None:
        self.draw(self.figure)
        self.canvas.draw_idle()

    def _qt_on_click(self, event: Any) -> None:
        shown = self._shown()
        if shown is None or event.inaxes is None or event.inaxes not in self.figure.axes[:3]:
            return
        if event.inaxes is self.figure.axes[2]:
            self._said = self._explain(shown, time_s=event.xdata, row=round(event.ydata / ROW_HEIGHT))
        else:
            self._said = ""
            sample = round(event.xdata * shown.sampling_frequency)
            self.controller.set_time(time=self.controller.sample_index_to_time(sample))
            self.notify_time_info_updated()
        self.refresh()

    def _qt_on_time_info_updated(self) -> None:
        self._follow()

    def _panel_make_layout(self) -> None:
        import panel

        self.figure = new_figure(figsize=(12, 6))
        self.pane = panel.pane.Matplotlib(self.figure, format="png", sizing_mode="stretch_both")
        self.layout = panel.Column(self.pane, styles={"flex": "1"}, sizing_mode="stretch_both")

    def _panel_refresh(self) -> None:
        self.draw(self.figure)
        self.pane.param.trigger("object")

    def _panel_on_time_info_updated(self) -> None:
        self._follow()

    def _follow(self) -> None:
        self._said = ""
        self.refresh()
