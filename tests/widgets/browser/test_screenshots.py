"""Pictures of every view, for the docs: SI_CRSAE_SCREENSHOTS=docs/images/widgets makes those anew."""

import os
from pathlib import Path

import pytest
import spikeinterface as si
from PIL import Image

from si_crsae import widgets
from si_crsae.evaluation import generate_case

FOR_THE_DOCS = os.environ.get("SI_CRSAE_SCREENSHOTS")


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """32 channels with faint units, sorted, with the truth; longer for the docs."""
    import spikeinterface.sorters as ss

    folder = tmp_path_factory.mktemp("screenshots")
    recording, truth = generate_case("lowsnr32", duration_s=40.0 if FOR_THE_DOCS else 12.0)
    recording.save(folder=folder / "recording", progress_bar=False)
    ss.run_sorter("crsae", si.load(folder / "recording"), folder=folder / "run", spike_probabilities=True)
    session = widgets.open_session(folder / "run", truth=truth)
    doubtful = session.tested.sorting.get_property("expected_false_positive_rate").argsort()[::-1]
    session.selected_units = [session.tested.unit_ids[unit] for unit in doubtful[[0, -1]]]
    session.go_to(9.0)
    session.go_to(session.next_spike_s())
    return session


@pytest.mark.slow
@pytest.mark.parametrize("view_class", widgets.VIEWS, ids=lambda view_class: view_class.__name__)
@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_a_picture_of_the_view(show, session, view_class, color_scheme):
    view = view_class(session)
    if isinstance(view, widgets.HistoryView):
        fates = [candidate.fate for candidate in view.history.candidates]
        view.chosen = fates.index("merged" if "merged" in fates else "refused")
    if isinstance(view, widgets.FeatureView):
        corners = [[0, 1], [session.tested.duration_s(0), 1], [session.tested.duration_s(0), 9], [0, 9]]
        view.answers()["lasso"]({"x": "time", "y": "amplitude", "corners": corners})
    live = show(view, width=1180, height=1000, color_scheme=color_scheme)
    assert view.error == ""
    assert int(live.locator(".crsae").get_attribute("data-drawn")) >= 1
    folder = Path(FOR_THE_DOCS or Path(__file__).parents[3] / "build" / "widgets")
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "" if color_scheme == "light" else "_dark"
    path = folder / f"{view_class.__name__}{suffix}.png"
    live.screenshot(path)
    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)
