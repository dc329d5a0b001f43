"""Every view tells its keys, and those that decide are the keys of spikeinterface-gui."""

import pytest
import spikeinterface as si
from curated_units import curated_units

from si_crsae.widgets import VIEWS, CurationView, Session, open_session


@pytest.fixture
def session(moving_run_folder):
    return open_session(moving_run_folder, truth=si.load(moving_run_folder.parent / "truth"))


@pytest.mark.parametrize("kind", VIEWS, ids=lambda kind: kind.__name__)
def test_a_question_mark_opens_and_closes_the_list(show, session, kind):
    live = show(kind(session))
    live.locator(".crsae [tabindex='0']:visible").first.focus()
    live.page.keyboard.press("?")
    dialog = live.locator("dialog.crsae-keys")
    assert dialog.is_visible()
    assert dialog.locator("tr kbd").count() >= 4
    live.page.keyboard.press("?")
    assert not dialog.is_visible()
    live.locator(".crsae-help").click()
    assert dialog.is_visible()
    live.page.keyboard.press("Escape")
    assert not dialog.is_visible()


@pytest.fixture
def curation(show):
    session = Session(curated_units())
    session.selected_units = [1]
    view = CurationView(session)
    live = show(view)
    live.locator(".crsae-unit-list").first.focus()
    return view, live


def press(live, *keys):
    for key in keys:
        live.page.keyboard.press(key)
        live.settle()


@pytest.mark.parametrize(("key", "label"), [("g", "good"), ("m", "MUA"), ("n", "noise")])
def test_letters_label_and_c_clears(curation, key, label):
    view, live = curation
    press(live, key, "ArrowUp")
    assert [given.value for given in view.state.labels] == [label]
    press(live, "c")
    assert view.state.labels == ()
    press(live, "Control+z")
    assert [given.value for given in view.state.labels] == [label]


def test_a_label_goes_on_to_the_next_unit_of_the_list(curation):
    view, live = curation
    press(live, "g", "n")
    assert [(given.unit_id, given.value) for given in view.state.labels] == [(1, "good"), (2, "noise")]
    assert view.session.selected_units == [3]
    press(live, "ArrowUp", "n")  # taken off again
    assert [given.unit_id for given in view.state.labels] == [1]
    assert view.session.selected_units == [2]
    press(live, "Shift+ArrowDown", "g")
    assert view.session.selected_units == [2, 3]
    press(live, "End", "g")
    assert view.session.selected_units == [4]


def test_ctrl_merges_removes_and_restores(curation):
    view, live = curation
    press(live, "Shift+ArrowDown", "Control+m")
    assert view.state.merges[0].unit_ids == (1, 2)
    press(live, "Control+u")
    assert not view.state.merges
    press(live, "Control+d")
    assert set(view.state.removed) == {1, 2}
    press(live, "Control+r")
    assert not view.state.removed


def test_the_list_has_no_keys_that_a_saved_page_cannot_answer(browser, session, tmp_path):
    page = browser.new_page()
    page.goto(CurationView(session).save_html(tmp_path / "curation.html").as_uri())
    page.locator(".crsae-unit-list").first.focus()
    page.keyboard.press("?")
    said = page.locator("dialog.crsae-keys").inner_text()
    assert "select the unit above" in said
    assert "merge" not in said
    page.close()
