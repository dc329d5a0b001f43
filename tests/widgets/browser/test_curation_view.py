import json

import numpy as np
import pytest
from curated_units import LARGE, SMALL, curated_units
from spikeinterface.curation import load_curation

from si_crsae.widgets.curation import CurationView
from si_crsae.widgets.session import Session, open_session
from si_crsae.widgets.view_models.curation_history import merge_step, remove_step, split_step
from si_crsae.widgets.view_models.curation_state import LabelDefinition
from si_crsae.widgets.view_models.templates import NO_UNITS

AMPLITUDES, HEIGHTS = 2, 3


@pytest.fixture
def view():
    session = Session(curated_units(num_segments=2))
    session.selected_units = [2]
    return CurationView(session)


def select(live, *units):
    for place, unit in enumerate(units):
        live.locator(f'tr[data-unit="{unit}"]').click(modifiers=["Control"] if place else [])
        live.settle()


def press(live, *keys):
    for key in keys:
        live.page.keyboard.press(key)
        live.settle()


def steps(live):
    return [text.removesuffix(" ×") for text in live.locator(".crsae-steps button").all_inner_texts()]


def test_clicks_and_arrows_select_units_on_both_sides(show, view):
    live = show(view)
    select(live, 0, 1)
    assert view.session.selected_units == [0, 1]
    assert live.locator('tr[data-unit][aria-selected="true"]').count() == 2
    press(live, "ArrowDown")
    assert view.session.selected_units == [2]
    press(live, "Shift+ArrowDown", "End")
    assert view.session.selected_units == [4]
    view.session.selected_units = [0]
    live.push()
    assert live.locator('tr[data-unit][aria-selected="true"]').get_attribute("data-unit") == "0"


def test_keys_merge_label_remove_and_undo(show, view):
    live = show(view)
    select(live, 0, 1)
    press(live, "Control+m", "g")
    assert view.state.merges[0].unit_ids == (0, 1)
    assert [given.value for given in view.state.labels] == ["good", "good"]
    assert live.text('tr[data-unit="1"] .crsae-decided').split() == ["good", "merged", "→", "5"]
    press(live, "g", "3")
    assert {given.value for given in view.state.labels} == {"noise"}
    select(live, 4)
    press(live, "Control+d")
    assert view.state.removed == (4,)
    assert "removed" in live.locator('tr[data-unit="4"]').get_attribute("class")
    assert steps(live) == ["merge 0, 1", "label 0, 1: good", "unlabel 0, 1: good", "label 0, 1: noise", "remove 4"]
    press(live, "Control+z", "Control+z")
    assert view.state.removed == ()
    assert view.state.labels == ()
    press(live, "Control+y", "Control+y")
    assert view.state.removed == (4,)
    press(live, "Control+d")
    assert view.state.removed == ()


def test_buttons_say_what_is_possible(show, view):
    live = show(view)
    possible = {
        name: live.locator(f'[data-act="{name}"]').is_enabled()
        for name in ("merge", "split", "restore", "quality: good")
    }
    assert possible == {"merge": False, "split": True, "restore": False, "quality: good": True}
    live.locator('[data-act="quality: good"]').click()
    live.settle()
    assert live.locator('[data-act="quality: good"]').get_attribute("aria-pressed") == "true"
    select(live, 0, 1)
    assert live.locator('[data-act="merge"]').is_enabled()
    assert live.locator('[data-act="split"]').is_disabled()
    assert live.locator("button", has_text="save").is_disabled()
    assert "view.save(path)" in live.locator("button", has_text="save").get_attribute("title")


def test_the_line_is_dragged_and_the_unit_split_there(show, view):
    live = show(view)
    proposed = view.payload["threshold"]
    assert SMALL < proposed < LARGE
    box = live.locator("canvas").nth(HEIGHTS).bounding_box()
    x, height = box["x"] + 20, box["height"]
    # the axis goes from the lowest amplitude to the highest; the line begins between the heaps
    live.page.mouse.move(x, box["y"] + 0.5 * height)
    live.page.mouse.down()
    live.page.mouse.move(x, box["y"] + 0.45 * height)
    live.page.mouse.move(x, box["y"] + 0.4 * height)
    live.page.mouse.up()
    live.settle()
    moved = view.payload["threshold"]
    edges = view.view_model().detail.split_range.edges
    assert moved != proposed
    assert np.abs(edges - moved).min() < 1e-9
    live.locator("canvas").nth(AMPLITUDES).focus()
    press(live, "ArrowDown")
    assert view.payload["threshold"] == pytest.approx(moved - np.diff(edges)[0])
    press(live, "Control+s")
    counts = view.view_model().detail.split_range.counts
    below = counts[edges[:-1] < view.payload["threshold"] - 1e-9].sum()
    assert [len(part) for part in view.state.splits[0].parts] == [below, counts.sum() - below]
    assert live.text('tr[data-unit="2"] .crsae-decided') == "split → 5, 6"


def test_a_click_on_the_amplitudes_goes_to_that_time(show, view):
    live = show(view)
    box = live.locator("canvas").nth(AMPLITUDES).bounding_box()
    live.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 0.6 * box["height"])
    live.settle()
    assert view.session.time_s == pytest.approx(30, abs=4)
    assert live.page.evaluate("model.get('cursor_s')") == view.session.time_s


def test_a_step_is_undone_alone(show, view):
    view.do(merge_step([0, 1]))
    view.do(remove_step([4]))
    live = show(view)
    live.locator(".crsae-steps button").first.click()
    live.settle()
    assert view.state.merges == ()
    assert view.state.removed == (4,)
    assert steps(live) == ["remove 4"]


def test_suggestions_are_looked_at_accepted_and_skipped(show, view):
    live = show(view)
    assert "Suggestion 1 of 2: Merge units 0 and 1?" in live.text(".crsae-prompt")
    live.locator(".crsae-prompt button", has_text="look").click()
    live.settle()
    assert view.session.selected_units == [0, 1]
    press(live, "j")
    assert view.session.selected_units == [3]
    press(live, "a")
    assert view.state.labels == ()  # few spikes are worth a look, no label
    press(live, "n")
    assert [(given.unit_id, given.value) for given in view.state.labels] == [(3, "noise")]
    assert "Suggestion 1 of 1: Merge units 0 and 1?" in live.text(".crsae-prompt")
    press(live, "x")
    assert "No suggestion" in live.text(".crsae-prompt")
    assert view.state.merges == ()


def test_what_is_refused_is_said_in_the_view(show, view):
    view.do(merge_step([0, 1]))
    live = show(view)
    select(live, 0)
    press(live, "Control+d")
    assert "unit 0 is in a merge and cannot be removed: restore it first" in live.text(".crsae-error")
    press(live, "Control+r")
    assert live.locator(".crsae-error").is_hidden()
    assert view.state.merges == ()


def test_a_click_saves_and_the_next_view_goes_on_from_there(show, tmp_path):
    path = tmp_path / "curation.json"
    made = curated_units()
    view = CurationView(Session(made), path=path)
    live = show(view)
    select(live, 0, 1)
    press(live, "Control+m")
    assert "not saved" in live.text("header")
    live.locator("button", has_text="save").click()
    live.settle()
    assert "not saved" not in live.text("header")
    assert load_curation(path).merges[0].unit_ids == [0, 1]
    again = CurationView(Session(made), path=path)
    assert again.state == view.state
    assert again.curation() == json.loads(path.read_text())
    assert again.apply().unit_ids.tolist() == [2, 3, 4, 5]


def test_python_saves_loads_and_says_what_is_missing(view, tmp_path):
    view.do(split_step(2, [[0, 1]], reason="by hand"))
    with pytest.raises(ValueError, match="say where to save"):
        view.save()
    path = view.save(tmp_path / "curation.json")
    view.undo()
    assert view.state.splits == ()
    view.redo()
    view.load(path)
    assert view.view_model().steps == ["split 2 in 2"]
    assert view.payload["is_saved"]


def test_other_labels_have_digits_as_keys(show):
    kinds = LabelDefinition(name="kind", options=("pyramidal", "basket"), exclusive=False)
    view = CurationView(Session(curated_units()), definitions=[kinds])
    live = show(view)
    live.locator(".crsae-unit-list").first.focus()
    press(live, "1", "2")
    assert [given.value for given in view.state.labels] == ["pyramidal", "basket"]


def test_a_saved_page_shows_the_units_and_says_why_it_decides_nothing(browser, view, tmp_path):
    view.do(merge_step([0, 1]))
    page = browser.new_page()
    page.goto(view.save_html(tmp_path / "view.html").as_uri())
    page.wait_for_function("() => document.querySelector('.crsae').dataset.drawn")
    text = page.locator(".crsae").inner_text()
    assert "decisions are taken in a notebook" in text
    assert page.locator(".crsae button:not([data-sort]):not(.crsae-help):visible").count() == 0
    page.locator('tr[data-unit="4"]').click()
    page.wait_for_function("() => model.get('payload').selected[0] === 4")
    page.keyboard.press("Control+d")
    page.wait_for_function("() => document.querySelector('.crsae-refused')")
    page.locator('[data-sort="snr"]').click()
    page.wait_for_function("() => document.querySelector('tbody tr').dataset.unit === '4'")
    page.close()


def test_no_units_one_unit_and_none_selected(show):
    assert NO_UNITS in show(CurationView(Session(curated_units(num_units=0)))).text()
    view = CurationView(Session(curated_units(num_units=1)))
    live = show(view)
    assert "1 unit" in live.text("header")
    view.session.selected_units = []
    live.push()
    assert live.locator("canvas").first.is_hidden()
    assert live.locator('[data-act="remove"]').is_disabled()


def test_dark_theme_and_a_narrow_window_are_drawn(show, view):
    view.session.selected_units = [0, 1]
    live = show(view, width=480, color_scheme="dark")
    assert "dark" in live.locator(".crsae").get_attribute("class")
    assert float(live.locator(".crsae").get_attribute("data-draw-ms")) < 500
    assert live.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_run_is_curated_and_pictured(show, run_folder):
    session = open_session(run_folder)
    view = CurationView(session)
    ids = session.tested.unit_ids
    view.do(remove_step(ids[-1:]))
    session.selected_units = ids[:1]
    live = show(view)
    assert live.text(".crsae-steps") == f"remove {ids[-1]} ×"
    assert view.apply().unit_ids.tolist() == ids[:-1]
    figure = view.to_matplotlib()
    figure.canvas.draw()
    assert any("removed" in text.get_text() for sub in figure.subfigs for axes in sub.axes
               for text in [axes.title, axes._left_title])  # fmt: skip


def test_a_merge_is_seen_before_and_after_it_is_decided(show, view):
    live = show(view)
    outcome = live.locator(".crsae-outcome")
    select(live, 0, 1)
    assert outcome.inner_text().startswith("Preview: 0 + 1 merged → 5")
    figures = outcome.locator("table").inner_text()
    press(live, "Control+m")
    assert outcome.inner_text().startswith("0 + 1 merged → 5")
    assert outcome.locator("table").inner_text() == figures
    select(live, 3)
    live.locator('tr[data-unit="5"]').click()
    live.settle()
    assert view.session.selected_units == [0, 1]
    assert outcome.inner_text().startswith("0 + 1 merged → 5")
    press(live, "Control+z")
    assert live.locator('tr[data-unit="5"]').count() == 0


def test_a_split_is_previewed_where_the_line_is(show, view):
    live = show(view)
    outcome = live.locator(".crsae-outcome")
    assert outcome.inner_text().startswith("Preview: 2 split → 5, 6")
    before = outcome.locator("table").inner_text()
    live.locator("canvas").nth(AMPLITUDES).focus()
    press(live, *["Shift+ArrowUp"] * 6)
    assert outcome.locator("table").inner_text() != before
    press(live, "Control+s")
    assert outcome.inner_text().startswith("2 split → 5, 6")
    live.locator(".crsae-unit-list").first.focus()
    press(live, "End")
    assert live.locator("tr.cursor").get_attribute("data-unit") == "6"
    assert view.session.selected_units == [2]
