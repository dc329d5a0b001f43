import numpy as np
import pytest
from curated_units import curated_units, with_traces

from si_crsae.widgets import CurationView, Dashboard, FeatureView, features, split_step
from si_crsae.widgets.session import Session
from si_crsae.widgets.view_models import spike_features
from si_crsae.widgets.view_models.unit_activity import relative_amplitudes, spike_times_s, spikes_of_units


@pytest.fixture(scope="module")
def made():
    return with_traces(curated_units(num_segments=2))


@pytest.fixture
def view(made):
    session = Session(made)
    session.selected_units = [2]
    return FeatureView(session)


def draw_line(live, name, corners):
    """Draw a line with the mouse through corners, as shares of the plane of a picture from its top left corner."""
    box = live.locator(f"canvas[aria-label^={name}]").bounding_box()
    left, right, top, bottom = 52, 12, 12, 38
    at = [
        (
            box["x"] + left + across * (box["width"] - left - right),
            box["y"] + top + down * (box["height"] - top - bottom),
        )
        for across, down in corners
    ]
    live.page.mouse.move(*at[0])
    live.page.mouse.down()
    for place in at[1:]:
        live.page.mouse.move(*place, steps=4)
    live.page.mouse.up()
    live.settle()


# The lower half of amplitudes over all of the time.
BELOW = [(-0.01, 0.5), (-0.01, 0.999), (1.005, 0.999), (1.005, 0.5)]


def test_a_line_around_small_amplitudes_proposes_them_and_curation_splits_there(show, made, view):
    live = show(view)
    assert "Draw a line around points of unit 2" in live.text(".crsae-prompt")
    draw_line(live, "Amplitudes", BELOW)
    amplitudes = relative_amplitudes(made, 2)
    in_segment = made.units.spikes["segment_index"][spikes_of_units(made)[2]] == 0
    small = np.flatnonzero((amplitudes < 0.75) & in_segment)
    assert view.parts() == [small.tolist()]
    assert f"{small.size:,} spikes of {amplitudes.size:,} of unit 2 caught." in live.text(".crsae-prompt")
    curation = CurationView(view.session)
    shown = show(curation)
    assert shown.text(".crsae-outcome h5") == "Preview: 2 split by lasso → 5, 6"
    shown.locator(".crsae-unit-list").first.focus()
    shown.page.keyboard.press("Control+s")
    shown.settle()
    assert [len(part) for part in curation.state.splits[0].parts] == [small.size, amplitudes.size - small.size]
    assert view.session.proposed_split is None
    assert curation.view_model().steps == ["split 2 by lasso"]


def test_a_line_in_the_plane_of_components_catches_spikes_that_are_not_drawn(show, made, view):
    live = show(view)
    points = view.view_model().points
    assert points.unit.size < spikes_of_units(made)[2].size
    is_left = points.features["pc1"] < 0
    draw_line(live, "Components", [(0.001, 0.001), (0.001, 0.999), (0.5, 0.999), (0.5, 0.001)])
    caught = view.session.proposed_split.parts[0]
    inside = view.view_model().points.is_inside
    assert len(caught) > inside.sum() > 10
    low, high = points.features["pc1"].min(), points.features["pc1"].max()
    assert (points.features["pc1"][inside] < (low + high) / 2 + 0.05 * (high - low)).all()
    assert is_left.any()


def test_the_keyboard_draws_a_line_and_escape_lets_go(show, view):
    live = show(view)
    live.locator("canvas[aria-label^=Amplitudes]").focus()
    far = ["Shift+ArrowLeft"] * 20
    for key in [" ", *far, " ", *["Shift+ArrowDown"] * 5, " ", *["Shift+ArrowRight"] * 30, " ", "Enter"]:
        live.page.keyboard.press(key)
    live.settle()
    assert view.session.proposed_split is not None
    assert not live.locator(".crsae-prompt button", has_text="decide").is_disabled()
    live.page.keyboard.press("Escape")
    live.settle()
    assert view.session.proposed_split is None
    assert live.locator(".crsae-prompt button", has_text="decide").is_disabled()
    with pytest.raises(ValueError, match="draw a line around some"):
        view.parts()


def test_an_empty_line_proposes_nothing_and_another_unit_forgets_the_line(show, view):
    live = show(view)
    draw_line(live, "Amplitudes", [(0.3, 0.3), (0.3, 0.32), (0.31, 0.31)])
    assert view.session.proposed_split is None
    assert "0 spikes of" in live.text(".crsae-prompt")
    draw_line(live, "Amplitudes", BELOW)
    assert view.session.proposed_split is not None
    live.locator(".crsae-chip[data-unit='4']").click()
    live.settle()
    assert view.session.selected_units == [4]
    assert view.session.proposed_split is None
    assert view.view_model().lasso == []


def test_waveforms_are_read_once_for_all_lines_and_the_page_says_what_was_read(show, made, view, monkeypatch):
    read = []
    monkeypatch.setattr(features, "BATCH", 50)
    monkeypatch.setattr(spike_features, "BATCH", 50)
    original = features.read_all
    monkeypatch.setattr(features, "read_all", lambda *of_what: read.append(of_what[1]) or original(*of_what))
    shares = []
    view.observe(lambda change: shares.append(change["new"]), names="progress")
    live = show(view)
    total = spikes_of_units(made)[2].size
    assert f"are drawn of 300 of its {total:,} spikes" in live.text(".crsae-prompt")
    around_all = [(-0.01, -0.01), (1.01, -0.01), (1.01, 1.01), (-0.01, 1.01)]
    draw_line(live, "Components", around_all)
    (caught,) = view.parts()
    assert len(caught) > 0.9 * total  # but for some beyond the outermost ones that are drawn
    said = f"{len(caught):,} spikes of {total:,} of unit 2 caught. The waveforms of all were read for that."
    assert said in live.text(".crsae-prompt")
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] == 1.0
    draw_line(live, "Components", [(0.1, 0.1), (0.6, 0.1), (0.6, 0.9)])
    assert read == [2]
    assert not live.locator("progress").is_visible()
    draw_line(live, "Amplitudes", BELOW)
    assert "waveforms" not in live.text(".crsae-prompt")


def test_a_bar_shows_how_much_was_read(show, view):
    live = show(view)
    view.progress = 0.4
    live.push()
    assert live.locator("progress").is_visible()
    assert live.text(".crsae-prompt").startswith("Reading the waveforms of ")
    assert "40 %" in live.text(".crsae-prompt")


def test_moving_the_threshold_takes_the_place_of_the_lasso(view):
    view.session.selected_units = [2]
    view.answers()["lasso"]({"x": "time", "y": "amplitude", "corners": [[0, 0], [60, 0], [60, 0.75], [0, 0.75]]})
    curation = CurationView(view.session)
    assert curation.view_model().outcome.said == "by lasso"
    curation.answers()["threshold"]({"value": 0.8})
    assert curation.view_model().outcome.said == ""
    assert view.session.proposed_split is None
    curation.do(split_step(2, [[0, 1]], reason="by hand"))
    assert curation.view_model().outcome.is_decided


def test_a_click_on_a_point_or_a_row_goes_to_its_time(show, made, view):
    live = show(view)
    box = live.locator("canvas[aria-label^=Depths]").bounding_box()
    live.page.mouse.click(box["x"] + 52 + 0.5 * (box["width"] - 64), box["y"] + 13)
    live.settle()
    assert view.session.time_s == pytest.approx(30, abs=1.5)
    live.locator("[data-sort='amplitude']").click()
    live.settle()
    rows = live.locator(".crsae-unit-list tbody tr")
    mine = spikes_of_units(made)[2]
    mine = mine[made.units.spikes["segment_index"][mine] == 0]
    largest = mine[np.argmax(made.units.amplitude[mine])]
    rows.first.click()
    live.settle()
    assert view.session.time_s == pytest.approx(spike_times_s(made, np.array([largest]))[0], abs=1e-6)


def test_a_cell_of_the_matrix_selects_its_two_units(show, view):
    live = show(view)
    canvas = live.locator("canvas[aria-label^=Similarity]")
    cell = 22
    canvas.click(position={"x": 40 + 1.5 * cell, "y": 22 + 0.5 * cell})
    live.settle()
    assert view.session.selected_units == [0, 1]
    canvas.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "Enter"):
        live.page.keyboard.press(key)
        live.settle()
    assert view.session.selected_units == [1, 3]


def test_similar_pairs_are_a_list_from_which_curation_merges(show, made):
    view = CurationView(Session(made))
    live = show(view)
    assert view.pairs is None  # until somebody looks: hundreds of units take seconds
    live.locator(".crsae-pairs summary").click()
    live.settle()
    live.locator("tr[data-pair='0+1']").click()
    live.settle()
    assert view.session.selected_units == [0, 1]
    assert live.text(".crsae-outcome h5") == "Preview: 0 + 1 merged → 5"
    live.page.keyboard.press("Control+m")
    live.settle()
    assert view.state.merges[0].unit_ids == (0, 1)
    assert "merged → 5" in live.text("tr[data-pair='0+1'] .crsae-decided")


def test_where_no_units_look_alike_that_is_said(show):
    view = CurationView(Session(curated_units(num_units=1)))
    live = show(view)
    live.locator(".crsae-pairs summary").click()
    live.settle()
    assert "No two units look alike." in live.text(".crsae-pairs")


def test_without_traces_the_rest_is_drawn_and_axes_can_be_chosen_with_them(show, view):
    live = show(view)
    live.locator("select[aria-label='What is up']").select_option("depth")
    live.settle()
    assert view.up == "depth"
    bare = FeatureView(Session(curated_units()))
    live = show(bare)
    assert "need the recording" in live.text()
    assert live.locator("canvas[aria-label^=Components]").is_hidden()
    assert live.locator("canvas[aria-label^=Amplitudes]").is_visible()
    assert live.locator("select").first.is_disabled()


def test_decide_opens_the_tab_of_curation(made):
    dashboard = Dashboard(Session(made), views=[FeatureView, CurationView])
    dashboard.view(FeatureView).answers()["decide"]({})
    assert dashboard.selected_index == 1


def test_a_saved_page_shows_units_one_by_one_and_offers_no_lasso(browser, view, tmp_path):
    page = browser.new_page()
    page.goto(view.save_html(tmp_path / "features.html").as_uri())
    page.wait_for_function("() => document.querySelector('.crsae').dataset.drawn")
    assert page.locator(".crsae-prompt").is_hidden()
    page.locator(".crsae-chip[data-unit='4']").click()
    page.wait_for_function("() => document.querySelector('.crsae-summary').textContent.startsWith('unit 4 of 5')")
    page.close()


@pytest.mark.parametrize("selected", [[], [3], [0, 1, 2, 3, 4]])
def test_none_one_and_all_units_are_drawn_and_pictured(show, made, selected):
    session = Session(made)
    session.selected_units = selected
    view = FeatureView(session)
    live = show(view, width=500, color_scheme="dark")
    assert view.error == ""
    assert ("the first 4 of the 5 selected units are drawn" in live.text()) == (len(selected) == 5)
    assert view.to_matplotlib().axes
