"""Lists of units are filtered by words and by expressions of what is known of the units."""

import pytest
from curated_units import curated_units

from si_crsae.widgets import CurationView, TemplateInspector
from si_crsae.widgets.session import Session
from si_crsae.widgets.view_models.curation_history import label_step, merge_step

SNR = {0: 5.0, 1: 6.0, 2: 7.0, 3: 8.0, 4: 9.0}


@pytest.fixture
def live(show):
    view = CurationView(Session(curated_units()))
    view.do(label_step([0, 3], "quality", "good"))
    return show(view)


def listed(live):
    return [row.get_attribute("data-unit") for row in live.locator(".crsae-row .crsae-unit-list tbody tr").all()]


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("snr > 6", [2, 3, 4]),
        ("SNR>=6 and snr != 7", [1, 3, 4]),
        ("snr < 6 or snr = 9", [0, 4]),
        ("good", [0, 3]),
        ("not good and snr<8", [1, 2]),
        ("not (good or snr > 7)", [1, 2]),
        ("snr > 5 snr < 8", [1, 2]),
        ("unit = 3", [3]),
        ("depth >= 40", [3, 4]),
        ('"and"', []),
        ("", [0, 1, 2, 3, 4]),
    ],
)
def test_an_expression_chooses_units(live, text, units):
    live.locator(".crsae-row .crsae-filter input").fill(text)
    live.settle()
    assert listed(live) == [str(unit) for unit in units]
    assert live.text(".crsae-row .crsae-filter .crsae-summary") == ("" if len(units) == 5 else f"{len(units)} of 5")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("snrr > 5", "there is no snrr, but unit, decided, snr, spikes"),
        ("snr >", "a value is missing at the end"),
        ("> 5", "> has nothing on its left"),
        ("(snr > 5", "a closing bracket is missing at the end"),
        ("snr > 5)", ") is one too many"),
        ('"good', "a quotation mark or a sign is alone"),
    ],
)
def test_what_is_wrong_with_an_expression_is_said_and_nothing_hidden(live, text, said):
    live.locator(".crsae-row .crsae-filter input").fill(text)
    live.settle()
    assert live.text(".crsae-row .crsae-filter .crsae-summary").startswith(said)
    assert live.locator(".crsae-row .crsae-filter input").get_attribute("aria-invalid") == "true"
    assert len(listed(live)) == 5


def test_f_goes_to_the_field_arrows_through_what_is_found_and_escape_shows_all(show):
    view = TemplateInspector(Session(curated_units()))
    live = show(view)
    live.locator(".crsae-unit-list").focus()
    for key in ("f", *"snr > 6", "Enter", "ArrowDown", "ArrowDown"):
        live.page.keyboard.press(key)
        live.settle()
    assert live.locator(".crsae-row .crsae-filter input").input_value() == "snr > 6"
    assert view.session.selected_units == [3]
    live.page.keyboard.press("f")
    live.page.keyboard.press("Escape")
    live.settle()
    assert len(listed(live)) == 5
    assert live.page.evaluate("document.activeElement.className") == "crsae-unit-list"


def test_units_that_decisions_make_are_filtered_too(show):
    view = CurationView(Session(curated_units()))
    view.do(merge_step([0, 1]))
    live = show(view)
    live.locator(".crsae-row .crsae-filter input").fill("rate > 29")
    live.settle()
    assert "5" in listed(live)
    live.locator(".crsae-row .crsae-filter input").fill("merged")
    live.settle()
    assert listed(live) == ["0", "1"]
