"""Every view saves what it shows as a file, from the browser."""

import pytest
import spikeinterface as si

from si_crsae.widgets import VIEWS, TemplateInspector, open_session

BEGINS = {"SVG": b"<?xml", "PNG": b"\x89PNG"}


@pytest.fixture(scope="module")
def session(moving_run_folder):
    return open_session(moving_run_folder, truth=si.load(moving_run_folder.parent / "truth"))


@pytest.mark.parametrize("kind", VIEWS, ids=lambda kind: kind.__name__)
def test_a_view_is_saved_as_svg_and_png(show, session, kind):
    live = show(kind(session))
    for name, begins in [*BEGINS.items(), ("PNG", BEGINS["PNG"])]:  # the same once more, too
        with live.page.expect_download() as saved:
            live.locator(".crsae-tools button", has_text=name).click()
        assert saved.value.suggested_filename == f"{kind.__name__}.{name.lower()}"
        content = saved.value.path().read_bytes()
        assert content.startswith(begins)
        assert len(content) > 5000


def test_other_formats_are_refused(session):
    view = TemplateInspector(session)
    view._receive(view, {"kind": "picture", "format": "exe"}, [])
    assert view.error == "ValueError: format = 'exe': pictures are svg or png"
    assert view.picture == {}
