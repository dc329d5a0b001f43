"""The view of spikeinterface-gui, in its web backend, and in its windows where PySide6 is installed."""

import importlib.util
import json
import os
import time

import matplotlib.colors
import pytest
import spikeinterface.full as si

from si_crsae import load_filtered
from si_crsae.widgets import CurationView, open_session
from si_crsae.widgets.view_models.curation_history import label_step, merge_step

gui = pytest.importorskip("spikeinterface_gui", reason="spikeinterface-gui is not installed")
LAYOUT = {"zone1": ["unitlist"], "zone3": ["crsae_decomposition"], "zone7": ["trace"]}
BACKENDS = {"web": "panel", "desktop": "PySide6"}

# what spikeinterface-gui and panel warn of is not ours
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def analyzer(run_folder):
    """The analyzer of another sorting than that of the run."""
    return analyze(si.load(run_folder.parent / "truth"), run_folder)


def analyze(sorting, run_folder):
    analyzer = si.create_sorting_analyzer(sorting, load_filtered(run_folder), sparse=False)
    analyzer.compute(["random_spikes", "waveforms", "templates", "noise_levels", "unit_locations"])
    return analyzer


@pytest.fixture(params=sorted(BACKENDS))
def mode(request, monkeypatch):
    if importlib.util.find_spec(BACKENDS[request.param]) is None:
        pytest.skip(f"{BACKENDS[request.param]} is not installed")
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    return request.param


def open_gui(mode, analyzer, **options):
    """Return the main window and our view in it, shown."""
    window = gui.run_mainwindow(
        analyzer, mode=mode, start_app=False, panel_window_servable=False, layout=LAYOUT, **options
    )
    settle(mode)
    return window, window.views["crsae_decomposition"]


def settle(mode):
    if mode == "desktop":
        from spikeinterface_gui.myqt import QT

        for _ in range(20):
            QT.QApplication.instance().processEvents()
            time.sleep(0.02)


def text_of(view):
    return " ".join(text.get_text() for text in view.figure.texts)


def colors_of(view):
    """Colors of the spikes in the middle panel."""
    return {matplotlib.colors.to_hex(line.get_color()) for line in view.figure.axes[1].lines}


def test_any_analyzer_is_explained_when_asked(mode, analyzer):
    window, view = open_gui(mode, analyzer)
    assert "Press compute" in text_of(view)
    view.compute()
    settle(mode)
    assert [axes.get_title() for axes in view.figure.axes[:3]] == ["whitened traces", "= spikes, by unit", "+ residual"]
    first = view.figure.axes[0].get_xlim()
    assert first == pytest.approx((0.0, 0.05))

    view.controller.set_time(time=5.0)
    window.views["trace"].notify_time_info_updated()
    settle(mode)
    assert view.figure.axes[0].get_xlim() == pytest.approx((4.975, 5.025))

    view.settings["window_ms"] = 200.0
    settle(mode)
    assert view.figure.axes[0].get_xlim() == pytest.approx((4.9, 5.1))
    unit_colors = {matplotlib.colors.to_hex(view.controller.get_unit_color(unit)) for unit in analyzer.unit_ids}
    assert colors_of(view)
    assert colors_of(view) <= unit_colors

    view.reinitialize()  # as after a curation, which gives other units
    settle(mode)
    assert "Press compute" in text_of(view)


def test_a_run_is_shown_at_once(mode, run_folder):
    analyzer = analyze(si.load(run_folder / "sorter_output" / "sorting"), run_folder)
    _, view = open_gui(mode, analyzer, external_data={"crsae": run_folder})
    assert [axes.get_title() for axes in view.figure.axes[:3]] == ["whitened traces", "= spikes, by unit", "+ residual"]
    unit_colors = {matplotlib.colors.to_hex(view.controller.get_unit_color(unit)) for unit in analyzer.unit_ids}
    assert set() != colors_of(view) <= unit_colors
    assert not text_of(view)


@pytest.mark.parametrize(
    ("external", "said"), [("nowhere", "give the folder passed to run_sorter"), (None, "has no recording")]
)
def test_what_cannot_be_shown_is_told(mode, analyzer, external, said):
    alone = si.create_sorting_analyzer(analyzer.sorting, analyzer.recording, sparse=False)
    alone.compute(["random_spikes", "templates", "noise_levels", "unit_locations"])
    alone._recording = None
    _, view = open_gui(mode, alone, with_traces=False, external_data=external and {"crsae": external})
    if external is None:
        view.compute()
        settle(mode)
    assert said in text_of(view)


def test_a_run_of_somebody_else_is_shown_once_it_is_trusted(mode, analyzer, pickled_run):
    _, view = open_gui(mode, analyzer, external_data={"crsae": pickled_run})
    assert "is a pickle" in text_of(view)
    assert "'trust': True}" in text_of(view)
    _, view = open_gui(mode, analyzer, external_data={"crsae": pickled_run, "trust": True})
    assert len(view.figure.axes) >= 3
    assert not text_of(view)


def test_clicks_move_the_gui_and_explain_the_residual(analyzer, run_folder):
    pytest.importorskip("PySide6", reason="PySide6 is not installed")
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from matplotlib.backend_bases import MouseEvent

    _, view = open_gui("desktop", analyzer, external_data={"crsae": run_folder})

    def click(panel, time_s, height):
        x, y = view.figure.axes[panel].transData.transform((time_s, height))
        MouseEvent("button_press_event", view.canvas, x, y, 1)._process()
        settle("desktop")

    click(0, 0.04, 12.0)
    assert view.controller.get_time()[0] == pytest.approx(0.04, abs=1e-4)
    click(2, 0.03, 0.0)
    assert view.controller.get_time()[0] == pytest.approx(0.04, abs=1e-4)
    assert "Nearest atom" in view.figure.get_suptitle() or "No atom resembles" in view.figure.get_suptitle()
    click(0, 0.03, 12.0)
    assert view.figure.get_suptitle() == ""


def test_the_gui_opens_our_curation(mode, run_folder, tmp_path):
    sorting = si.read_sorter_folder(run_folder, register_recording=False)
    analyzer = analyze(sorting, run_folder)
    view = CurationView(open_session(run_folder), path=tmp_path / "curation.json")
    first, second, third = sorting.unit_ids[:3].tolist()
    view.do(merge_step([first, second]))
    view.do(label_step([third], "quality", "noise"))
    curation = json.loads(view.save().read_text())
    window, _ = open_gui(mode, analyzer, curation=True, curation_dict=curation)
    assert [merge["unit_ids"] for merge in window.controller.curation_data["merges"]] == [[first, second]]
    assert window.controller.get_unit_label(third, "quality") == "noise"
