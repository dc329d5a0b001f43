import numpy as np
import pytest
import spikeinterface as si
from simulated_rounds import dictionary, learning_round

from si_crsae.widgets.learning import LearningMonitor
from si_crsae.widgets.session import open_session


@pytest.fixture
def view(run_folder):
    return LearningMonitor(open_session(run_folder, truth=si.load(run_folder.parent / "truth")))


def cell_center(live, index):
    box = live.locator("canvas").nth(1).bounding_box()
    return box["x"] + (index + 0.5) * 96, box["y"] + 35


def test_a_click_on_an_atom_selects_its_unit(show, view):
    live = show(view)
    last = [cell for cell, unit in enumerate(view.view_model().cell_unit) if unit][-1]
    live.page.mouse.click(*cell_center(live, last))
    live.settle()
    assert view.session.selected_units == [view.session.tested.unit_ids[-1]]
    assert live.page.evaluate("model.get('payload').selected") == [str(view.session.tested.unit_ids[-1])]
    live.locator("canvas").nth(1).focus()
    live.page.keyboard.press("ArrowRight")
    live.page.keyboard.press("Enter")
    live.settle()
    assert view.session.selected_units == view.session.tested.unit_ids[:1]


def test_curves_tell_their_numbers_to_pointer_and_keyboard(show, view):
    live = show(view)
    canvas = live.locator("canvas").nth(0)
    box = canvas.bounding_box()
    live.page.mouse.move(box["x"] + 70, box["y"] + 90)
    objective = view.session.tested.learning_curves[0].objective
    assert live.text(".crsae-tip").startswith("round 1\nobjective: ")
    assert f"{objective[0]:.5g}" in live.text(".crsae-tip")
    live.page.mouse.move(5, 5)
    canvas.focus()
    live.page.keyboard.press("Home")
    live.page.keyboard.press("End")
    assert f"objective: {objective[-1]:.5g}" in live.text(".crsae-tip")
    assert "error to truth, median:" in live.text(".crsae-tip")


def test_what_is_learned_now_appears_round_by_round(show):
    view = LearningMonitor()
    live = show(view, width=500, color_scheme="dark")
    assert "with monitor.watching()" in live.text(".crsae-empty")
    versions = [dictionary(2, 0), dictionary(3, 0), dictionary(2, 1)]
    with view.watching():
        live.push()
        assert "Waiting" in live.text(".crsae-empty")
        view.on_round(learning_round(0, *versions[:2]))
        live.push()
        assert "● live: round 1 of 3" in live.text(".crsae-summary")
        view.on_round(learning_round(1, *versions[1:], num_rounds=2))
        view.on_round(learning_round(0, *versions[:2], group_index=1))
    live.push()
    assert "round 1 of 3" in live.text(".crsae-summary")
    assert "live" not in live.text(".crsae-summary")
    live.locator("select").select_option("group 0")
    live.settle()
    assert view.shown == "group 0"
    assert "round 2 of 3" in live.text(".crsae-summary")
    assert live.page.evaluate("document.querySelectorAll('canvas')[1].height") > 0


def test_a_saved_page_and_many_atoms_are_drawn(show):
    view = LearningMonitor()
    with view.watching():
        view.on_round(learning_round(0, dictionary(200, 0), dictionary(200, 1)))
    live = show(view)
    assert float(live.locator(".crsae").get_attribute("data-draw-ms")) < 300
    live.page.evaluate("model.isStatic = true")
    assert np.prod(view.payload["waveforms"]["shape"]) == 200 * 2 * 9
