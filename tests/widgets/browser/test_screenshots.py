"""Pictures of every view, for the docs: SI_CRSAE_SCREENSHOTS=docs/images/widgets makes those anew."""

import os
from pathlib import Path

import pytest
import spikeinterface as si
from PIL import Image

from si_crsae import widgets
from si_crsae.evaluation import CaseSpec, generate_case, simulate
from si_crsae.evaluation.drift import Drift
from si_crsae.evaluation.recordings import columns_probe

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


@pytest.fixture(scope="module")
def moving_session(moving_run_folder, tmp_path_factory):
    """Tissue that moves by jumps and to and fro; for the docs sorted, else pretended."""
    import spikeinterface.sorters as ss

    if not FOR_THE_DOCS:
        return widgets.open_session(moving_run_folder)
    spec = CaseSpec(
        description="",
        make_probe=lambda: columns_probe(2, 16),
        num_units=20,
        snr_range=(5.0, 22.0),
        rate_range_hz=(2.0, 12.0),
        drift=Drift(kind="walk", range_um=50.0),
    )
    folder = tmp_path_factory.mktemp("moving")
    recording, _ = simulate(spec, duration_s=90.0, seed=1)
    recording.save(folder=folder / "recording", progress_bar=False)
    ss.run_sorter("crsae", si.load(folder / "recording"), folder=folder / "run")
    session = widgets.open_session(folder / "run")
    session.selected_units = session.tested.unit_ids[8:11]
    session.go_to(30.0)
    return session


@pytest.mark.slow
@pytest.mark.parametrize("view_class", widgets.VIEWS, ids=lambda view_class: view_class.__name__)
@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_a_picture_of_the_view(show, session, moving_session, view_class, color_scheme):
    view = view_class(moving_session if view_class is widgets.MotionView else session)
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
    # rare colors, such as those of units, keep their place in the palette
    picture = Image.open(path).convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)
