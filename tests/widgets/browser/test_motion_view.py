"""The motion view, beside what its plain data say."""

import numpy as np
import pytest

from si_crsae.widgets import MotionView, open_session

LEFT, RIGHT = 62, 64
HEAD, PEAKS, FOOT, MARGIN_UM = 22, 250, 26, 20


@pytest.fixture
def view(moving_run_folder):
    session = open_session(moving_run_folder)
    session.go_to(6.0)
    return MotionView(session)


def place(live, time_s, depth_um, *, panel=0):
    """Where a time and a depth are in the upper panel, or the one below."""
    box = live.locator("canvas").bounding_box()
    payload = live.view.view_model()
    share = (time_s - payload.start_s) / (payload.end_s - payload.start_s)
    lowest, highest = payload.depths_um
    up = (depth_um - lowest + MARGIN_UM) / (highest - lowest + 2 * MARGIN_UM)
    top = HEAD + panel * (HEAD + PEAKS + FOOT)
    return float(box["x"] + LEFT + share * (box["width"] - LEFT - RIGHT)), float(box["y"] + top + (1 - up) * PEAKS)


def press(live, *keys):
    live.locator("canvas").focus()
    for key in keys:
        live.page.keyboard.press(key)
        live.settle()


def test_a_click_on_a_peak_goes_there_and_selects_its_unit(show, view):
    live = show(view)
    model = view.view_model()
    session = view.session
    (other,) = session.tested.unit_ids[3:4]
    point = int(np.flatnonzero(model.point_unit == 3)[5])
    at = place(live, model.point_time_s[point], model.point_depth_um[point])
    live.page.mouse.move(*at)
    tip = live.text(".crsae-tip")
    assert f"moved by {model.point_moved_um[point]:.1f} µm" in tip
    live.page.mouse.click(*at)
    live.settle()
    assert session.time_s == pytest.approx(model.point_time_s[point], abs=0.02)
    assert session.selected_units == [other] or "a spike of unit" in tip
    assert f"spikes of unit {session.selected_units[0]}" in live.text()


def test_a_peak_at_rest_is_told_by_the_depth_at_which_it_was_recorded(show, view):
    live = show(view)
    model = view.view_model()
    point = int(np.flatnonzero(model.point_unit >= 0)[40])
    rest = model.point_depth_um[point] - model.point_moved_um[point]
    live.page.mouse.move(*place(live, model.point_time_s[point], rest, panel=1))
    tip = live.text(".crsae-tip")
    assert "at rest" in tip
    assert f"moved by {model.point_moved_um[point]:.1f} µm" in tip
    assert "a spike of unit" in tip


def test_keys_zoom_move_and_show_all(show, view):
    live = show(view)
    assert "0.0 s to 12.0 s of 12 s; moves by 7.1 µm" in live.text(".crsae-summary")
    press(live, "+", "ArrowRight")
    model = view.view_model()
    assert (model.start_s, model.end_s) == (pytest.approx(6.0), pytest.approx(12.0))
    assert "6.0 s to 12.0 s" in live.text(".crsae-summary")
    assert view.session.time_s == 6.0
    press(live, "a")
    assert view.view_model().start_s == 0.0


def test_depths_around_the_units_on_demand(show, view):
    live = show(view)
    press(live, "w")
    assert not view.whole_probe
    assert live.locator("button", has_text="whole probe").count() == 1
    press(live, "w")
    assert view.whole_probe


def test_the_curve_is_named_by_its_depth(show, view):
    live = show(view)
    assert [one["text"] for one in live.drawn_texts("canvas")].count("20 µm") == 2


def test_a_saved_page_shows_any_part_and_colors_other_units(browser, view, tmp_path):
    page = browser.new_page()
    page.goto(view.save_html(tmp_path / "motion.html").as_uri())
    assert "the motion, and all" in page.locator(".crsae-holds").inner_text()
    canvas = page.locator("canvas")
    canvas.focus()
    page.keyboard.press("+")
    page.wait_for_function("document.querySelector('.crsae-summary').textContent.startsWith('3.0 s to 9.0 s')")
    model = view.view_model()
    point = int(np.flatnonzero((model.point_unit == 2) & (model.point_time_s > 4) & (model.point_time_s < 8))[0])
    box = canvas.bounding_box()
    lowest, highest = model.depths_um
    x = LEFT + (model.point_time_s[point] - 3.0) / 6.0 * (box["width"] - LEFT - RIGHT)
    up = (model.point_depth_um[point] - lowest + MARGIN_UM) / (highest - lowest + 2 * MARGIN_UM)
    canvas.click(position={"x": float(x), "y": float(HEAD + (1 - up) * PEAKS)})
    page.wait_for_function("document.querySelector('.crsae').textContent.includes('Colored: spikes of unit')")
    assert page.evaluate("model.get('refused')") is not True
    page.close()


def test_a_group_that_is_not_there_is_refused(view):
    with pytest.raises(Exception, match="group = 3: the motion of 1 groups is known"):
        view.group = 3
