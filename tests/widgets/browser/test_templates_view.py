import dataclasses

import numpy as np
import pytest
from spikeinterface.core import NumpySorting

from si_crsae.evaluation.sorted_recording import explain_like
from si_crsae.widgets.session import Session, open_session
from si_crsae.widgets.templates import TemplateInspector

WAVEFORMS, CORRELOGRAMS, AMPLITUDES = ".crsae-picture canvas", ".crsae-row > canvas", ".crsae > div > canvas"


@pytest.fixture
def session(run_folder):
    session = open_session(run_folder)
    session.go_to(3.0)
    return session


@pytest.fixture
def view(session):
    return TemplateInspector(session)


def rows(live):
    return [row.get_attribute("data-unit") for row in live.locator(".crsae-unit-list tbody tr").all()]


def selected_rows(live):
    return [row.get_attribute("data-unit") for row in live.locator('.crsae-unit-list tr[aria-selected="true"]').all()]


def pixels(live, selector):
    """Return the mean color of a canvas, to tell whether it has changed."""
    return live.page.evaluate(
        """(selector) => {
          const canvas = document.querySelector(selector);
          const values = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          return values.reduce((sum, value, index) => sum + value * (1 + (index % 7919)), 0);
        }""",
        selector,
    )


def test_a_click_in_the_list_selects_and_with_ctrl_adds(show, view, session):
    ids = session.tested.unit_ids
    live = show(view)
    before = pixels(live, WAVEFORMS)
    live.locator(f'.crsae-unit-list tr[data-unit="{ids[1]}"]').click()
    live.settle()
    assert session.selected_units == [ids[1]]
    assert selected_rows(live) == [str(ids[1])]
    assert pixels(live, WAVEFORMS) != before
    live.locator(f'.crsae-unit-list tr[data-unit="{ids[0]}"]').click(modifiers=["Control"])
    live.settle()
    assert session.selected_units == [ids[1], ids[0]]
    assert live.locator(".crsae-quality thead button").count() == 2
    live.locator(f'[data-lead="{ids[0]}"]').click()
    live.settle()
    assert session.selected_units == [ids[0], ids[1]]


def test_the_arrows_go_through_the_list_as_it_is_sorted(show, view, session):
    live = show(view)
    live.locator('[data-sort="num_spikes"]').click()
    live.settle()
    counts = session.tested.sorting.count_num_spikes_per_unit()
    order = rows(live)
    assert order == [str(unit) for unit in sorted(session.tested.unit_ids, key=lambda unit: -counts[unit])]
    live.locator(".crsae-unit-list").focus()
    live.page.keyboard.press("Home")
    live.settle()
    assert [str(unit) for unit in session.selected_units] == order[:1]
    live.page.keyboard.press("ArrowDown")
    live.settle()
    assert [str(unit) for unit in session.selected_units] == order[1:2]
    live.page.keyboard.press("Control+ArrowUp")
    live.page.keyboard.press(" ")
    live.settle()
    assert [str(unit) for unit in session.selected_units] == [order[1], order[0]]
    live.page.keyboard.press("Enter")
    live.settle()
    assert [str(unit) for unit in session.selected_units] == order[1:2]
    assert live.page.evaluate("document.activeElement.className") == "crsae-unit-list"


def test_clicks_on_a_contact_go_through_its_units(show, view, session):
    tested = session.tested
    contact = int(tested.units.main_channel[0])
    heights = np.abs(tested.units.atoms[:, contact]).max(axis=1) * tested.units.scales
    order = [tested.unit_ids[unit] for unit in np.argsort(-heights)]
    live = show(view)
    for expected in order[:2]:
        live.locator(f'[data-contact="{tested.channel_ids[contact]}"]').click(force=True)
        live.settle()
        assert session.selected_units == [expected]


def test_a_click_on_a_neighbor_adds_it(show, view, session):
    live = show(view)
    neighbor = live.locator("[data-neighbor]").first
    name = neighbor.get_attribute("data-neighbor")
    neighbor.click()
    live.settle()
    assert [str(unit) for unit in session.selected_units] == [str(session.tested.unit_ids[0]), name]
    assert len(view.view_model().correlograms) == 2


def test_atoms_and_templates_and_the_whole_probe_are_toggled(show, view):
    live = show(view)
    before = pixels(live, WAVEFORMS)
    live.locator("button", has_text="templates (µV)").click()
    live.settle()
    assert view.quantity == "templates"
    assert pixels(live, WAVEFORMS) != before
    live.locator(WAVEFORMS).focus()
    live.page.keyboard.press("t")
    live.page.keyboard.press("w")
    live.settle()
    assert view.quantity == "atoms"
    assert view.whole_probe
    assert live.locator("button", has_text="whole probe").get_attribute("aria-pressed") == "true"


def test_a_click_on_an_amplitude_goes_to_its_time_in_all_views(show, view, session):
    live = show(view)
    before = pixels(live, AMPLITUDES)
    amplitudes = view.view_model().amplitudes
    box = live.locator(AMPLITUDES).bounding_box()
    x = box["x"] + 52 + 0.75 * (box["width"] - 64)
    live.page.mouse.click(x, box["y"] + 20)
    live.settle()
    expected = 0.75 * session.tested.duration_s(0)
    assert session.time_s == pytest.approx(expected, abs=0.2)
    assert view.cursor_s == session.time_s
    assert f"{session.time_s:.3f} s" in live.text(".crsae header")
    assert pixels(live, AMPLITUDES) != before
    live.page.keyboard.press(".")
    live.settle()
    assert np.abs(amplitudes.time_s - session.time_s).min() < 1e-3


def test_the_session_moves_the_view_without_sending_it_anew(show, view, session):
    live = show(view)
    session.go_to(5.5)
    assert set(live.changed) == {"cursor_s"}
    live.push()
    assert "5.500 s" in live.text(".crsae header")
    session.selected_units = session.tested.unit_ids[1:3]
    live.push()
    assert selected_rows(live) == [str(unit) for unit in session.tested.unit_ids[1:3]]


def test_the_window_of_the_correlograms_is_chosen(show, view):
    live = show(view)
    before = pixels(live, CORRELOGRAMS)
    live.locator("select").select_option("10")
    live.settle()
    assert view.correlogram_ms == 10
    assert view.view_model().correlograms[0].edges_ms[-1] == pytest.approx(10, rel=0.1)
    assert pixels(live, CORRELOGRAMS) != before


def test_nothing_selected_says_what_to_do(show, view, session):
    session.selected_units = []
    live = show(view)
    assert "Select a unit in the list" in live.text()
    assert not live.locator(".crsae-quality").is_visible()
    live.locator(".crsae-unit-list tbody tr").first.click()
    live.settle()
    assert live.locator(".crsae-quality").is_visible()


def test_no_units_say_what_to_do(show, session):
    tested = session.tested
    empty = explain_like(NumpySorting.from_unit_dict({}, tested.sampling_frequency), tested, name="none")
    view = TemplateInspector(Session(empty))
    live = show(view)
    assert "The sorting has no units" in live.text()
    assert view.to_matplotlib().texts


def test_another_sorting_has_no_templates_in_uv(show, session, run_folder):
    import spikeinterface as si

    truth = si.load(run_folder.parent / "truth")
    other = explain_like(truth, session.tested, name="truth")
    live = show(TemplateInspector(Session(other), quantity="templates"))
    assert "no templates in µV" in live.text()
    live.locator(WAVEFORMS).focus()
    live.page.keyboard.press("t")
    live.settle()
    assert "no templates in µV" not in live.text()


def test_two_hundred_units_scroll_in_a_dark_narrow_window(show, session):
    tested = session.tested
    times = np.arange(100, tested.num_samples[0] - 100, 3000)
    trains = {f"unit {index}": times + index for index in range(200)}
    many = explain_like(
        NumpySorting.from_unit_dict(trains, tested.sampling_frequency),
        dataclasses.replace(tested, whitened=None),
        name="many",
    )
    view = TemplateInspector(Session(many))
    live = show(view, width=480, color_scheme="dark")
    assert "dark" in live.locator(".crsae").get_attribute("class")
    live.locator(".crsae-unit-list").focus()
    live.page.keyboard.press("End")
    live.settle()
    assert view.session.selected_units == ["unit 199"]
    assert live.page.evaluate("document.querySelector('.crsae-unit-list').scrollTop") > 1000
    assert float(live.locator(".crsae").get_attribute("data-draw-ms")) < 500
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert live.page.evaluate(overflow) <= 0


def test_a_saved_page_shows_each_unit_and_says_what_it_cannot(browser, view, tmp_path):
    page = browser.new_page()
    page.goto(view.save_html(tmp_path / "view.html").as_uri())
    page.locator("button", has_text="templates (µV)").click()
    page.wait_for_timeout(100)
    assert page.evaluate("model.get('quantity')") == "templates"
    page.locator(".crsae-unit-list tbody tr").nth(1).click()
    page.wait_for_function("() => document.querySelector('.crsae-summary').textContent.startsWith('unit 1 of')")
    page.locator(".crsae-unit-list tbody tr").nth(2).click(modifiers=["Control"])
    page.wait_for_function("() => document.querySelector('.crsae-refused')")
    assert "one at a time. For anything else, open the view in a notebook." in page.locator(".crsae-holds").inner_text()
    page.locator(AMPLITUDES).click(position={"x": 300, "y": 15})
    page.wait_for_timeout(100)
    assert page.evaluate("model.get('cursor_s')") > 1
    assert view.cursor_s == 3.0
    page.close()


def test_the_picture_of_some_units_has_five_panels(view, session):
    session.selected_units = session.tested.unit_ids[:3]
    figure = view.to_matplotlib()
    assert len(figure.axes) == 5


def test_the_picture_of_no_selection_is_drawn(view, session):
    session.selected_units = []
    assert view.to_matplotlib().axes
    session.selected_units = session.tested.unit_ids[:1]
    view.quantity = "templates"
    assert len(view.to_matplotlib().axes) == 4


def test_atoms_are_drawn_where_the_tissue_was_at_the_cursor(show, moving_run_folder):
    session = open_session(moving_run_folder)
    session.selected_units = session.tested.unit_ids[:1]
    session.go_to(2.5)  # when the tissue is highest
    view = TemplateInspector(session)
    live = show(view)
    said = live.locator(".crsae-note[role=status]:not(.crsae-holds)")
    assert said.inner_text().startswith(
        "The tissue moves; these atoms are those at rest. Spikes were between: unit 0 −10.0"
    )
    before = pixels(live, WAVEFORMS)
    live.locator("button", has_text="at the cursor").click()
    live.settle()
    assert said.inner_text() == "Where the tissue was at 2.500 s: unit 0 +10.0 µm up the probe."
    assert pixels(live, WAVEFORMS) != before
    session.go_to(7.5)
    live.push()
    assert "unit 0 −10.0 µm" in said.inner_text()
    live.locator("canvas").first.focus()
    live.page.keyboard.press("t")
    live.settle()
    assert said.inner_text().startswith("The tissue moves; these are means over all of it: unit 0")
    live.page.keyboard.press("d")
    live.settle()
    assert not view.at_cursor


def test_where_nothing_moves_there_is_no_choice_of_a_time(show, view):
    live = show(view)
    assert live.locator("button:visible", has_text="at the cursor").count() == 0
    live.locator("canvas").first.focus()
    live.page.keyboard.press("d")
    live.settle()
    assert not view.at_cursor
