from dataclasses import replace

import numpy as np
import pytest

from si_crsae.widgets import VIEWS, DecompositionViewer, Session, open_session


@pytest.fixture
def view(run_folder):
    session = open_session(run_folder)
    session.go_to(3.0)
    return DecompositionViewer(session)


def panel_center(live, panel, *, share=0.5, row_share=0.5):
    box = live.locator("canvas").nth(1).bounding_box()
    width = (box["width"] - 44 - 28 - 6) / 3
    return box["x"] + 44 + panel * (width + 14) + share * width, box["y"] + 42 + row_share * (box["height"] - 78)


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
    live.page.keyboard.down("Control")
    live.page.mouse.wheel(0, -120)
    live.page.keyboard.up("Control")
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
    assert "nonsense" in live.text(".crsae-error[role=alert]")
    live.page.evaluate("model.send({kind: 'go_to', time_s: 1.0})")
    live.settle()
    assert live.locator(".crsae-error").is_hidden()


def contrast(live, selector):
    """Ratio of the luminances of a text and of the view's ground; opacity counts."""
    return live.page.evaluate(
        """(selector) => {
          const numbers = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
          const linear = (value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
          const shares = [0.2126, 0.7152, 0.0722];
          const level = (rgb) => rgb.reduce((sum, value, at) => sum + shares[at] * linear(value / 255), 0);
          const style = getComputedStyle(document.querySelector(selector));
          const ground = numbers(getComputedStyle(document.querySelector(".crsae")).backgroundColor);
          const text = numbers(style.color).map((value, at) => ground[at] + style.opacity * (value - ground[at]));
          const [dark, light] = [level(text), level(ground)].sort((a, b) => a - b);
          return (light + 0.05) / (dark + 0.05);
        }""",
        selector,
    )


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_units_left_out_can_be_read(show, view, color_scheme):
    view.hidden_units = view.session.tested.unit_ids
    live = show(view, color_scheme=color_scheme)
    assert contrast(live, ".crsae-chip[aria-pressed=false]") >= 4.5


def test_names_that_look_like_elements_are_only_names(show, view):
    names = ["unit a", "</script><b>x", "<!--<script>", "q\"uo'te", "ü µ", "", "a" * 60, "__proto__"]
    tested = view.session.tested
    names = names[: len(tested.unit_ids)]
    named = replace(tested, sorting=tested.sorting.rename_units(names))
    live = show(DecompositionViewer(Session(named), window_ms=1000.0))
    shown = live.page.eval_on_selector_all(".crsae-chip", "nodes => nodes.map((node) => node.textContent)")
    assert set(shown) <= set(names)
    assert len(shown) > 4


@pytest.mark.parametrize("kind", VIEWS)
def test_a_view_that_could_not_be_computed_takes_clicks_and_keys(show, view, kind, monkeypatch):
    monkeypatch.setattr(kind, "view_model", lambda self: 1 / 0)
    live = show(kind(view.session))
    assert "ZeroDivisionError" in live.text(".crsae-error[role=alert]")
    for node in live.locator(".crsae button:visible:not([disabled]):not(.crsae-help), .crsae canvas:visible").all():
        node.click()
        node.hover()
        for key in ("ArrowRight", "Enter", "n", "+"):
            live.page.keyboard.press(key)
    live.settle()
