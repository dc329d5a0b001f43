"""A page without a kernel: it says what it holds, holds what fits, and offers nothing else."""

import re

import numpy as np
import pytest
import spikeinterface as si

from si_crsae.widgets import VIEWS, CodeRaster, TemplateInspector, open_session
from si_crsae.widgets import raster as raster_module

DRAWN = "() => document.querySelector('.crsae').dataset.drawn"
SHOWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
SUMMARY = "document.querySelector('.crsae-summary').textContent"


@pytest.fixture
def session(moving_run_folder):
    session = open_session(moving_run_folder, truth=si.load(moving_run_folder.parent / "truth"))
    session.go_to(6.0)
    return session


@pytest.fixture
def open_saved(browser, tmp_path):
    """Function that saves a view and opens the file; no page may report an error."""
    pages, problems = [], []

    def open_page(view, **options):
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        pages.append(page)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(view.save_html(tmp_path / f"{len(pages)}.html", **options).as_uri())
        page.wait_for_function(DRAWN)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not problems


@pytest.mark.parametrize("kind", VIEWS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("max_mb", [0, 20])
def test_what_is_offered_is_held(open_saved, session, kind, max_mb):
    page = open_saved(kind(session), max_mb=max_mb)
    assert page.locator(".crsae-holds").inner_text().startswith("Saved page. It holds ")
    for button in page.locator(".crsae button:visible:not([disabled]):not([data-neighbor]):not(.crsae-help)").all():
        if button.is_visible() and button.is_enabled():
            button.click()
            page.evaluate(SHOWN)
            assert not page.evaluate("model.get('refused')"), button.get_attribute("title")
    for choice in page.locator(".crsae select:visible").all():
        for value in choice.evaluate("(node) => [...node.options].map((option) => option.value)"):
            choice.select_option(value)
            page.evaluate(SHOWN)
            assert not page.evaluate("model.get('refused')"), (choice.get_attribute("aria-label"), value)


@pytest.mark.parametrize("kind", [kind for kind in VIEWS if kind.__name__ in ("CodeRaster", "TemplateInspector")])
def test_what_is_not_held_is_refused_in_words(open_saved, session, kind):
    page = open_saved(kind(session))
    page.locator(".crsae [tabindex='0']").last.focus()
    page.keyboard.press(".")
    page.wait_for_function("() => document.querySelector('.crsae-refused')")
    assert page.locator(".crsae-holds").inner_text().endswith("For anything else, open the view in a notebook.")


def test_every_row_of_the_list_is_a_unit_that_is_held(open_saved, session):
    page = open_saved(TemplateInspector(session))
    for unit_id in session.tested.unit_ids:
        page.locator(f"tr[data-unit='{unit_id}']").click()
        page.wait_for_function(f"() => {SUMMARY}.startsWith('unit {unit_id} of')")
        index = session.index_of(unit_id)
        count = int(np.count_nonzero(session.tested.units.spikes["unit_index"] == index))
        assert page.evaluate("model.get('payload').amplitudes.num_spikes") == count


def test_few_units_are_held_where_not_all_fit(open_saved, session):
    page = open_saved(TemplateInspector(session), max_mb=0.03)
    assert re.search(r"and the first \d of the 8 units, one at a time", page.locator(".crsae-holds").inner_text())
    last = session.tested.unit_ids[-1]
    page.locator(f"tr[data-unit='{last}']").click()
    page.wait_for_function("() => document.querySelector('.crsae-refused')")


@pytest.mark.parametrize("max_events", [300_000, 10])
def test_the_raster_holds_the_whole_recording(open_saved, session, max_events, monkeypatch):
    """As marks, or as counts of which the page tells that they are no more."""
    monkeypatch.setattr(raster_module, "MAX_HELD_EVENTS", max_events)
    page = open_saved(CodeRaster(session))
    shown = page.locator(".crsae-summary").inner_text()
    assert shown.startswith("5.00 s to 7.00 s of 12 s")
    page.get_by_role("button", name="The whole segment (a)").click()
    total = session.tested.units.spikes.size
    page.wait_for_function(f"() => {SUMMARY}.includes('of 12 s; {total:,} spikes')")
    page.locator("canvas").first.click(position={"x": 500, "y": 10})
    page.evaluate(SHOWN)
    page.keyboard.press("Tab")
    page.locator("canvas").nth(1).focus()
    for _ in range(4):
        page.keyboard.press("+")
    page.evaluate(SHOWN)
    assert "spikes" in page.locator(".crsae-summary").inner_text()
    assert page.evaluate("model.get('refused')") is not True
    assert ("no more than these counts" in page.locator(".crsae").inner_text()) == (max_events == 10)


def test_the_raster_counts_what_is_visible(open_saved, session):
    page = open_saved(CodeRaster(session))
    samples = session.tested.units.spikes["sample_index"] / session.tested.sampling_frequency
    expected = int(np.count_nonzero((samples >= 5.0) & (samples < 7.0)))
    assert f"{expected} spikes" in page.locator(".crsae-summary").inner_text()
