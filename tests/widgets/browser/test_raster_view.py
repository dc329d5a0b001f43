import numpy as np
import pytest
from spikeinterface.core import NumpySorting

from si_crsae.evaluation.sorted_recording import explain_like
from si_crsae.widgets import VIEWS
from si_crsae.widgets.raster import CodeRaster
from si_crsae.widgets.session import Session, open_session
from si_crsae.widgets.view_models import raster


@pytest.fixture
def view(run_folder):
    session = open_session(run_folder)
    session.go_to(6.0)
    return CodeRaster(session)


def place(live, time_share, row):
    """Position of a row at a share of the window."""
    box = live.locator("canvas").nth(1).bounding_box()
    rows = live.view.payload["row_unit"]["shape"][0]
    height = (box["height"] - 102 - 36) / rows
    x = 62 + float(time_share) * (box["width"] - 62 - 52)
    return box["x"] + x, box["y"] + box["height"] - 36 - (row + 0.5) * height


def press(live, key):
    live.locator("canvas").nth(1).focus()
    live.page.keyboard.press(key)
    live.settle()


def test_a_click_selects_the_unit_and_goes_to_its_spike(show, view):
    live = show(view)
    model = view.view_model()
    event = int(np.flatnonzero(model.event_row == len(model.row_unit) - 1)[0])
    at = place(live, model.event_after_s[event] / 2.0, len(model.row_unit) - 1)
    live.page.mouse.move(*at)
    assert "of its usual size" in live.text(".crsae-tip")
    live.page.mouse.click(*at)
    live.settle()
    session = view.session
    assert session.selected_units == [session.tested.unit_ids[model.row_unit[-1]]]
    assert session.time_s == pytest.approx(model.start_s + model.event_after_s[event], abs=3e-3)
    assert view.payload["start_s"] == 5.0
    assert live.page.evaluate("model.get('payload').cursor_s") == pytest.approx(session.time_s)


def test_keys_move_zoom_sort_and_select(show, view):
    live = show(view)
    press(live, "ArrowRight")
    assert view.payload["start_s"] == pytest.approx(6.0)
    assert view.session.time_s == 6.0
    press(live, "+")
    assert (view.payload["start_s"], view.payload["end_s"]) == (pytest.approx(6.5), pytest.approx(7.5))
    press(live, "a")
    assert view.payload["start_s"] == 0
    assert view.window_s == pytest.approx(view.session.tested.duration_s(0))
    press(live, "o")
    assert view.order == "id"
    assert live.locator("select").nth(1).input_value() == "id"
    rows = view.view_model().row_unit
    before = rows.tolist().index(view.session.index_of(view.session.selected_units[0]))
    press(live, "ArrowDown")
    assert view.session.index_of(view.session.selected_units[0]) == rows[max(before - 1, 0)]
    press(live, ".")
    assert view.session.time_s > 6.0


def test_wheel_and_drag(show, view):
    live = show(view)
    live.page.mouse.move(*place(live, 0.25, 0))
    live.page.keyboard.down("Control")
    live.page.mouse.wheel(0, -120)
    live.page.keyboard.up("Control")
    live.settle()
    assert view.window_s == pytest.approx(1.6)
    assert view.payload["start_s"] == pytest.approx(5.5 - 0.25 * 1.6, abs=2e-3)
    x, y = place(live, 0.5, 1)
    start_s, time_s = view.payload["start_s"], view.session.time_s
    live.page.mouse.move(x, y)
    live.page.mouse.down()
    live.page.mouse.move(x - 100, y, steps=3)
    live.page.mouse.up()
    live.settle()
    assert view.payload["start_s"] > start_s
    assert view.session.time_s == time_s


def test_the_selection_of_another_view_is_marked(show, view):
    live = show(view)
    view.session.selected_units = view.session.tested.unit_ids[-1:]
    view.session.go_to(0.5)
    live.push()
    assert live.page.evaluate("model.get('payload').start_s") == 0
    assert "0.00 s to 2.00 s" in live.text(".crsae-summary")


def test_counts_are_drawn_in_dark_and_narrow(show, view, monkeypatch):
    monkeypatch.setattr(raster, "MAX_EVENTS", 50)
    view.window_s = 12.0
    live = show(view, width=520, color_scheme="dark")
    assert "Too many spikes" in live.text()
    live.page.mouse.move(*place(live, 0.5, 0))
    assert "spikes in" in live.text(".crsae-tip")
    assert float(live.locator(".crsae").get_attribute("data-draw-ms")) < 300


def test_no_units_is_said(show, view):
    tested = view.session.tested
    nothing = explain_like(NumpySorting.from_unit_dict([{}], tested.sampling_frequency), tested, name="none")
    live = show(CodeRaster(Session(nothing)))
    assert "no units" in live.text(".crsae-empty")


def test_a_saved_page_zooms_by_itself(browser, view, tmp_path):
    page = browser.new_page()
    page.goto(view.save_html(tmp_path / "raster.html").as_uri())
    page.locator("canvas").nth(1).focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowUp")
    page.wait_for_function("document.querySelector('.crsae-summary').textContent.includes('5.50 s to 6.50 s')")
    page.close()


@pytest.mark.parametrize("kind", VIEWS)
def test_tools_of_a_view_without_units_do_no_harm(show, view, kind):
    tested = view.session.tested
    nothing = explain_like(NumpySorting.from_unit_dict([{}], tested.sampling_frequency), tested, name="none")
    live = show(kind(Session(nothing, truth=tested)))
    for button in live.locator(".crsae button:visible:not([disabled]):not(.crsae-help)").all():
        button.click()
    live.settle()
    assert not kind(Session(nothing)).error
