import pytest

from si_crsae.widgets import HistoryView, TemplateInspector, open_session
from si_crsae.widgets.dashboard import Dashboard
from si_crsae.widgets.session import Session


@pytest.fixture
def view(run_folder):
    return HistoryView(open_session(run_folder))


def listed(live):
    return [row.get_attribute("data-candidate") for row in live.locator(".crsae-unit-list tbody tr").all()]


def test_what_is_not_in_the_sorting_is_listed_first_and_all_of_it_on_demand(show, view):
    live = show(view)
    gone = [candidate.name for candidate in view.history.candidates if candidate.fate != "kept"]
    assert sorted(listed(live)) == sorted(gone)
    live.locator(".crsae-filter input").fill("")
    live.settle()
    assert len(listed(live)) == len(view.history.candidates)
    live.locator("table[aria-label^=Decisions] tr", has_text="kept").locator("button").click()
    live.settle()
    assert sorted(listed(live)) == sorted(f"unit {name}" for name in view.session.tested.unit_ids)


def test_a_click_shows_a_candidate_with_its_life_and_a_unit_is_selected_everywhere(show, view):
    live = show(view)
    live.locator(".crsae-filter input").fill('"unit 2"')
    live.settle()
    live.locator("tr[data-candidate='unit 2']").click()
    live.settle()
    assert view.session.selected_units == [2]
    assert live.text("section h5").startswith("unit 2, largest on channel")
    events = live.locator(".crsae-life li").all_inner_texts()
    assert len(events) == len(view.history.life_of(2))
    assert "found" in events[0] or "born" in events[0]
    assert "it is in the sorting (events" in events[-1]
    texts = {one["text"] for one in live.drawn_texts("canvas")}
    assert "unit 2" in texts


def test_arrows_choose_and_the_selection_of_another_view_is_followed(show, view):
    live = show(view)
    live.locator(".crsae-filter input").fill('"in the sorting"')
    live.settle()
    live.locator("[data-sort='id']").click()
    live.settle()
    live.locator(".crsae-unit-list").focus()
    for key in ("Home", "ArrowDown"):
        live.page.keyboard.press(key)
        live.settle()
    assert view.chosen == 1
    view.session.selected_units = [3]
    live.push()
    assert view.chosen == 3
    assert live.locator("tr[aria-selected='true']").get_attribute("data-candidate") == "unit 3"


def test_a_saved_page_holds_every_life(browser, view, tmp_path):
    page = browser.new_page()
    page.goto(view.save_html(tmp_path / "history.html").as_uri())
    assert "the life of each" in page.locator(".crsae-holds").inner_text()
    page.locator(".crsae-filter input").fill("")
    page.locator("tr[data-candidate='unit 1']").click()
    page.wait_for_function("() => document.querySelector('section h5').textContent.startsWith('unit 1,')")
    assert page.locator(".crsae-life li").count() == len(view.history.life_of(1))
    page.close()


def test_the_history_is_a_tab_and_other_sortings_are_told_why_they_have_none(show, run_folder):
    dashboard = Dashboard(open_session(run_folder), views=[TemplateInspector, HistoryView])
    assert dashboard.titles == ("Templates", "History")
    from curated_units import curated_units

    live = show(HistoryView(Session(curated_units())))
    assert "open the folder of a crsae run" in live.text(".crsae-empty")
