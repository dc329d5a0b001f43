"""Views for everybody: WCAG 2.2 AA as far as axe-core tells, all by keyboard, visible focus, no wider at 200 %."""

import numpy as np
import pytest
import spikeinterface as si
from spikeinterface.core import NumpySorting

from si_crsae.evaluation.sorted_recording import explain_like
from si_crsae.widgets import VIEWS, TemplateInspector, open_session
from si_crsae.widgets.session import Session

LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
NAMES = [kind.__name__ for kind in VIEWS]
# What acts on a click and is seen, but cannot be reached by the Tab key. Rows are reached by the arrow keys of their
# list, contacts through the list of units.
UNREACHED = """
() => [...document.querySelectorAll(".crsae :is(button, select, input, summary, canvas, [role=grid])")]
  .filter((node) => node.checkVisibility() && !node.disabled && node.tabIndex < 0 && node.hasAttribute("tabindex"))
  .map((node) => node.outerHTML.slice(0, 100))
"""
OUTLINE = """
() => {
  const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
  return [outlineStyle, outlineWidth];
}
"""
COLORS = """
() => {
  const style = getComputedStyle(document.querySelector(".crsae"));
  const names = ["background", "text", "muted", "accent", "trace", "warning"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--crsae-${name}`).trim()]));
}
"""
AA, AA_PICTURES = 4.5, 3.0
DOT_COLORS = "[...document.querySelectorAll('.crsae-dot')].map((dot) => dot.style.getPropertyValue('--unit-color'))"
# Parts that stick out of the view, apart from those in a part that scrolls.
OUTSIDE = """
() => {
  const root = document.querySelector(".crsae");
  const right = root.getBoundingClientRect().right + 0.5;
  const scrolls = (node) => {
    for (let at = node.parentElement; at !== root; at = at.parentElement) {
      if (["auto", "scroll"].includes(getComputedStyle(at).overflowX)) return true;
    }
    return false;
  };
  return [...root.querySelectorAll("*")]
    .filter((node) => node.checkVisibility() && node.getBoundingClientRect().right > right && !scrolls(node))
    .map((node) => node.outerHTML.slice(0, 100));
}
"""


@pytest.fixture(scope="module")
def session(moving_run_folder):
    session = open_session(moving_run_folder, truth=si.load(moving_run_folder.parent / "truth"))
    session.selected_units = session.tested.unit_ids[:2]
    return session


@pytest.mark.parametrize("kind", VIEWS, ids=NAMES)
@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_axe_finds_nothing_against_wcag(show, session, kind, color_scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    live = show(kind(session), color_scheme=color_scheme)
    for summary in live.locator("summary").all():
        summary.click()
    found = axe.Axe().run(live.page, options={"runOnly": LEVELS}).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


@pytest.mark.parametrize("kind", VIEWS, ids=NAMES)
def test_the_tab_key_reaches_all_and_the_focus_is_seen(show, session, kind):
    live = show(kind(session))
    assert live.page.evaluate(UNREACHED) == []
    for _ in range(12):
        live.page.keyboard.press("Tab")
        style, width = live.page.evaluate(OUTLINE)
        if live.page.evaluate("document.activeElement === document.body"):
            break
        assert (style, width) == ("solid", "2px"), live.page.evaluate("document.activeElement.outerHTML.slice(0, 100)")


@pytest.mark.parametrize("kind", VIEWS, ids=NAMES)
def test_nothing_sticks_out_of_a_window_of_1280_pixels_at_200_percent(show, session, kind):
    live = show(kind(session), width=640)
    assert live.page.evaluate(OUTSIDE) == []


def test_a_head_sorts_by_keyboard(show, session):
    live = show(VIEWS[0](session))
    live.locator("[data-sort='num_spikes']").focus()
    live.page.keyboard.press("Enter")
    live.settle()
    heads = live.locator("th[aria-sort='descending']").all_inner_texts()
    assert heads == ["spikes ▼"]


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_what_is_written_and_drawn_on_a_canvas_has_contrast(show, session, color_scheme):
    live = show(VIEWS[0](session), color_scheme=color_scheme)
    colors = live.page.evaluate(COLORS)
    ground = luminance(colors.pop("background"))
    for name, color in colors.items():
        brighter, darker = sorted((luminance(color), ground), reverse=True)
        assert (brighter + 0.05) / (darker + 0.05) >= AA, (name, color)


@pytest.mark.parametrize(("color_scheme", "grounds"), [("light", ["#ffffff"]), ("dark", ["#111111", "#1e1e1e"])])
def test_units_have_contrast_to_the_ground_and_differ(show, session, color_scheme, grounds):
    """On those of JupyterLab and VS Code, too; three to one is what WCAG asks for pictures."""
    tested = session.tested
    trains = {f"u{unit}": np.array([1000 + 100 * unit]) for unit in range(48)}
    many = explain_like(NumpySorting.from_unit_dict([trains], tested.sampling_frequency), tested, name="many")
    live = show(TemplateInspector(Session(many)), color_scheme=color_scheme)
    own = live.page.evaluate(COLORS)["background"]
    dots = live.page.evaluate(DOT_COLORS)[:48]
    assert len(set(dots)) == 48
    for ground in (own, *grounds):
        for color in dots:
            brighter, darker = sorted((luminance(color), luminance(ground)), reverse=True)
            assert (brighter + 0.05) / (darker + 0.05) >= AA_PICTURES, (color, ground)


def luminance(color):
    """Relative luminance of #rrggbb, as WCAG defines it."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
