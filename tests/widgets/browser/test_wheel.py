"""The wheel belongs to the page, unless it is turned with Ctrl or over a picture that has the focus."""

import pytest

from si_crsae.widgets import VIEWS, CodeRaster, DecompositionViewer, MotionView, open_session

ZOOMED = [CodeRaster, DecompositionViewer, MotionView]
NOTCH = 120
FACTOR = 1.25


@pytest.fixture
def session(moving_run_folder):
    session = open_session(moving_run_folder)
    session.go_to(6.0)
    return session


def span(view):
    return view.payload["end_s"] - view.payload["start_s"]


@pytest.fixture
def open_view(session):
    """Function that makes a view of a part of the recording, which can be zoomed both ways."""

    def make(kind):
        view = kind(session)
        if kind is MotionView:
            view.answers()["show"]({"start_s": 4.0, "window_s": 4.0})
        return view

    return make


def picture(live):
    """The picture that moves; some views have an overview above it."""
    return live.locator(".crsae canvas").nth(0 if isinstance(live.view, MotionView) else 1)


def turn(live, *steps, key=None):
    """Turn the wheel over the main picture, in steps of some pixels."""
    box = picture(live).bounding_box()
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
def test_without_ctrl_and_focus_nothing_moves(show, open_view, kind):
    view = open_view(kind)
    live = show(view)
    before = view.payload
    turn(live, NOTCH)
    assert view.payload == before


@pytest.mark.parametrize("kind", ZOOMED)
@pytest.mark.parametrize("steps", [[NOTCH], [30] * 4], ids=["wheel", "trackpad"])
def test_a_focused_picture_zooms_by_what_was_turned(show, open_view, kind, steps):
    view = open_view(kind)
    live = show(view)
    before = span(view)
    picture(live).focus()
    turn(live, *steps)
    assert span(view) == pytest.approx(before * FACTOR, rel=0.01)


@pytest.mark.parametrize("kind", ZOOMED)
def test_ctrl_zooms_and_a_pinch_is_as_fast(show, open_view, kind):
    """A pinch comes with Ctrl, in steps of a few pixels."""
    view = open_view(kind)
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
