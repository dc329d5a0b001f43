import numpy as np
import pytest

from si_crsae.widgets import DecompositionViewer, open_session


@pytest.fixture
def view(run_folder):
    session = open_session(run_folder)
    session.go_to(3.0)
    return DecompositionViewer(session)


def panel_center(live, panel, *, share=0.5, row_share=0.5):
    box = live.locator("canvas").nth(1).bounding_box()
    width = (box["width"] - 44 - 28 - 6) / 3
    return box["x"] + 44 + panel * (width + 14) + share * width, box["y"] + 30 + row_share * (box["height"] - 66)


def test_arrows_move_in_time_on_both_sides(show, view):
    live = show(view)
    before = view.session.time_s
    live.locator("canvas").nth(1).focus()
    live.page.keyboard.press("ArrowRight")
    live.settle()
    assert view.session.time_s == pytest.approx(before + 0.05, abs=1e-3)
    assert live.page.evaluate("model.get('payload').start_s") == pytest.approx(view.payload["start_s"])


def test_the_wheel_zooms_around_the_pointer(show, view):
    live = show(view)
    x, y = panel_center(live, 0, share=0.25)
    start, end = view.payload["start_s"], view.payload["end_s"]
    live.page.mouse.move(x, y)
    live.page.mouse.wheel(0, -120)
    live.settle()
    new_start, new_end = view.payload["start_s"], view.payload["end_s"]
    assert new_end - new_start == pytest.approx(0.8 * (end - start), rel=0.01)
    assert new_start + 0.25 * (new_end - new_start) == pytest.approx(start + 0.25 * (end - start), abs=1e-3)


def test_a_click_on_a_unit_moves_its_spikes_into_the_residual(show, view):
    session = view.session
    session.selected_units = [session.tested.unit_ids[session.tested.units.scales.argmax()]]
    session.go_to(session.next_spike_s())
    live = show(view)
    level = view.view_model().residual_level.max()
    live.locator(f'.crsae-chip[data-unit="{session.selected_units[0]}"]').click()
    live.settle()
    assert view.hidden_units == session.selected_units
    assert view.view_model().residual_level.max() > 1.5 * level
    live.locator("button", has_text="all units").click()
    live.settle()
    assert view.hidden_units == []


def test_a_click_on_a_bump_of_the_residual_names_the_atom(show, view):
    session = view.session
    session.selected_units = [session.tested.unit_ids[session.tested.units.scales.argmax()]]
    time_s = session.next_spike_s()
    session.go_to(time_s)
    view.hidden_units = session.selected_units
    live = show(view)
    rows = view.stretch().channels
    main = session.tested.units.main_channel[session.index_of(session.selected_units[0])]
    row_share = (len(rows) - 0.5 - float(np.flatnonzero(rows == main)[0])) / len(rows)
    live.page.mouse.click(*panel_center(live, 2, row_share=row_share))
    live.settle()
    assert view.finding["unit_id"] == str(session.selected_units[0])
    assert view.finding["similarity"] > 0.8
    assert view.finding["time_s"] == pytest.approx(time_s, abs=1e-3)
    assert f"Nearest atom: unit {session.selected_units[0]} at" in live.text()


def test_dark_theme_and_a_narrow_window_are_drawn(show, view):
    live = show(view, width=500, color_scheme="dark")
    assert "dark" in live.locator(".crsae").get_attribute("class")
    assert float(live.locator(".crsae").get_attribute("data-draw-ms")) < 500


def test_an_error_of_the_kernel_is_shown_in_the_view(show, view):
    live = show(view)
    live.page.evaluate("model.send({kind: 'nonsense'})")
    live.settle()
    assert "nonsense" in live.text(".crsae-error")
    live.page.evaluate("model.send({kind: 'go_to', time_s: 1.0})")
    live.settle()
    assert live.locator(".crsae-error").is_hidden()
