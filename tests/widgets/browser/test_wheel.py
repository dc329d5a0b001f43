"""The wheel belongs to the page, unless it is turned with Ctrl or over a picture that has the focus."""

import pytest

from si_crsae.widgets import VIEWS, CodeRaster, DecompositionViewer, open_session

ZOOMED = [CodeRaster, DecompositionViewer]
NOTCH = 120
FACTOR = 1.25


@pytest.fixture
def session(run_folder):
    session = open_session(run_folder)
    session.go_to(6.0)
    return session


def span(view):
    return view.payload["end_s"] - view.payload["start_s"]


def turn(live, *steps, key=None):
    """Turn the wheel over the main picture, in steps of some pixels."""
    box = live.locator(".crsae canvas").nth(1).bounding_box()
    live.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3)
    if key:
        live.page.keyboard.down(key)
    for step in steps:
        live.page.mouse.wheel(0, step)
    if key:
        live.page.keyboard.up(key)
    live.settle()
    live.page.wait_for_timeout(100)
    live.settle()


@pytest.mark.parametrize("kind", VIEWS, ids=lambda kind: kind.__name__)
def test_the_page_scrolls_past_every_view(show, session, kind):
    live = show(kind(session), height=300)
    for canvas in live.locator(".crsae canvas:visible").all():
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        live.page.evaluate("scrollTo(0, 0)")
        live.page.mouse.move(box["x"] + box["width"] / 2, min(max(box["y"], 0) + 20, 290))
        live.page.mouse.wheel(0, 40)
        live.page.wait_for_function("() => scrollY > 0")


@pytest.mark.parametrize("kind", ZOOMED)
def test_without_ctrl_and_focus_nothing_moves(show, session, kind):
    view = kind(session)
    live = show(view)
    before = view.payload
    turn(live, NOTCH)
    assert view.payload == before


@pytest.mark.parametrize("kind", ZOOMED)
@pytest.mark.parametrize("steps", [[NOTCH], [30] * 4], ids=["wheel", "trackpad"])
def test_a_focused_picture_zooms_by_what_was_turned(show, session, kind, steps):
    view = kind(session)
    live = show(view)
    before = span(view)
    live.locator(".crsae canvas").nth(1).focus()
    turn(live, *steps)
    assert span(view) == pytest.approx(before * FACTOR, rel=0.01)


@pytest.mark.parametrize("kind", ZOOMED)
def test_ctrl_zooms_and_a_pinch_is_as_fast(show, session, kind):
    """A pinch comes with Ctrl, in steps of a few pixels."""
    view = kind(session)
    live = show(view)
    before = span(view)
    turn(live, -NOTCH, key="Control")
    assert span(view) == pytest.approx(before / FACTOR, rel=0.01)
    turn(live, *[5] * 3, key="Control")
    assert span(view) == pytest.approx(before, rel=0.01)


def test_a_tip_goes_away_when_a_key_moves_the_picture(show, session):
    live = show(CodeRaster(session))
    box = live.locator(".crsae canvas").nth(1).bounding_box()
    live.locator(".crsae canvas").nth(1).focus()
    live.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert live.locator(".crsae-tip").count() == 1
    live.page.keyboard.press("+")
    live.settle()
    assert live.locator(".crsae-tip").count() == 0
