import numpy as np
import pytest
import spikeinterface as si
from spikeinterface.core import NumpySorting

from si_crsae.widgets.comparison import ComparisonView
from si_crsae.widgets.session import open_session

MATRIX_LEFT, MATRIX_TOP = 56, 40


@pytest.fixture
def view(run_folder):
    """The run beside a truth of which some spikes were moved to where nobody fires."""
    truth = si.load(run_folder.parent / "truth")
    trains = {unit_id: truth.get_unit_spike_train(unit_id).copy() for unit_id in truth.unit_ids}
    for train in trains.values():
        train[::5] += 45
    moved = {unit_id: np.unique(train[train < 12 * truth.sampling_frequency]) for unit_id, train in trains.items()}
    return ComparisonView(
        open_session(run_folder, truth=NumpySorting.from_unit_dict([moved], truth.sampling_frequency))
    )


def cell_size(live, view):
    width = live.locator("canvas").nth(0).bounding_box()["width"]
    matrix = view.agreement()
    body_width = live.page.evaluate("document.querySelector('.crsae').clientWidth - 20")
    width = min(int(0.46 * body_width), 560) if body_width >= 760 else width
    return min(44, (width - MATRIX_LEFT - 66) / len(matrix.columns), (520 - MATRIX_TOP) / len(matrix.rows))


def click_cell(live, view, row, column):
    box = live.locator("canvas").nth(0).bounding_box()
    cell = cell_size(live, view)
    live.page.mouse.click(
        box["x"] + MATRIX_LEFT + (column + 0.5) * cell,
        box["y"] + MATRIX_TOP + (row + 0.5) * cell,
    )
    live.settle()


def test_a_click_on_a_cell_compares_its_units_and_selects_the_tested_one(show, view):
    live = show(view)
    matrix = view.agreement()
    row, column = 1, 0
    click_cell(live, view, row, column)
    truth, tested = view.session.truth, view.session.tested
    assert view.pair == [truth.unit_ids[matrix.rows[row]], tested.unit_ids[matrix.columns[column]]]
    assert view.session.selected_units == [view.pair[1]]
    assert f"truth {view.pair[0]}" in live.text()
    cells = [cell.inner_text() for cell in live.locator("td").all()]
    assert cells[0] == str(matrix.counts[row, column])
    assert int(cells[0]) + int(cells[1]) == matrix.num_truth[row]


def test_keys_move_over_the_matrix_and_along_its_diagonal(show, view):
    live = show(view)
    click_cell(live, view, 0, 0)
    live.locator("canvas").nth(0).focus()
    live.page.keyboard.press("ArrowRight")
    live.settle()
    matrix = view.agreement()
    assert view.payload["truth_unit"] == matrix.rows[0]
    assert view.payload["tested_unit"] == matrix.columns[1]
    live.page.keyboard.press("PageDown")
    live.settle()
    position = matrix.rows.index(view.payload["truth_unit"])
    assert view.payload["tested_unit"] == matrix.columns[position]
    for key, place in (("End", matrix.num_matched - 1), ("Home", 0)):
        live.page.keyboard.press(key)
        live.settle()
        assert view.payload["truth_unit"] == matrix.rows[place]
        assert view.payload["tested_unit"] == matrix.columns[place]


def test_missed_spikes_are_browsed_one_by_one_in_all_views(show, view):
    live = show(view)
    click_cell(live, view, 0, 0)
    live.locator('[data-listed="missed"]').click()
    live.settle()
    missed = view.pair_model().lists["missed"]
    assert missed.size > 3
    assert live.text('[data-part="counter"]') == f"1 of {missed.size}"
    live.locator("canvas").nth(0).focus()
    for _ in range(2):
        live.page.keyboard.press(".")
        live.settle()
    assert live.text('[data-part="counter"]') == f"3 of {missed.size}"
    time_s = missed.sample_index[2] / view.session.tested.sampling_frequency
    assert view.session.time_s == pytest.approx(time_s, abs=1e-6)
    live.page.keyboard.press(",")
    live.settle()
    assert view.position == 1
    assert f"{view.session.time_s:.4f} s" in live.text('[data-part="spike"]')
    assert "fired" in live.text('[data-part="spike"]') or "Taken" in live.text('[data-part="spike"]')


def test_the_list_follows_the_time_of_the_session(show, view):
    live = show(view)
    matched = view.pair_model().lists["matched"]
    live.locator('[data-listed="matched"]').click()
    live.settle()
    view.session.go_to(matched.sample_index[7] / view.session.tested.sampling_frequency + 0.001)
    live.push()
    assert live.text('[data-part="counter"]') == f"8 of {matched.size}"


def test_the_pair_follows_the_selected_unit(show, view):
    live = show(view)
    unit_id = view.session.tested.unit_ids[-1]
    view.session.selected_units = [unit_id]
    live.push()
    assert view.payload["tested_unit"] == len(view.session.tested.unit_ids) - 1
    assert f"crsae {unit_id}" in live.text()


def test_a_tip_tells_ids_and_agreement(show, view):
    live = show(view)
    box = live.locator("canvas").nth(0).bounding_box()
    live.page.mouse.move(box["x"] + MATRIX_LEFT + 5, box["y"] + MATRIX_TOP + 5)
    assert "agreement" in live.text(".crsae-tip")


def test_no_truth_is_said_in_the_view(show, run_folder):
    view = ComparisonView(open_session(run_folder))
    live = show(view)
    assert "open_session(folder, truth=sorting)" in live.text(".crsae-empty")
    view.session.selected_units = view.session.tested.unit_ids[-1:]
    view.session.go_to(1.0)
    assert view.error == ""
    assert "open_session" in view.to_matplotlib().texts[0].get_text()


def test_wrong_ids_are_refused(view):
    with pytest.raises(Exception, match="give the ids of a unit of truth"):
        view.pair = ["nobody", view.session.tested.unit_ids[0]]
    view.session.selected_units = view.session.tested.unit_ids[-1:]
    assert view.payload["tested_unit"] == len(view.session.tested.unit_ids) - 1


def test_dark_theme_and_a_narrow_window_are_drawn(show, view):
    live = show(view, width=500, color_scheme="dark")
    assert "dark" in live.locator(".crsae").get_attribute("class")
    assert live.locator(".crsae").evaluate("(node) => node.scrollWidth <= node.clientWidth + 1")
    wide = show(view)
    assert float(wide.locator(".crsae").get_attribute("data-draw-ms")) < 500


def test_the_twin_shows_the_same_pair(view):
    figure = view.to_matplotlib()
    assert str(view.agreement().truth_ids[view.payload["truth_unit"]]) in figure.subfigs[1].get_suptitle()


def test_a_view_that_is_not_seen_computes_nothing_and_follows_once_it_wakes(run_folder):
    session = open_session(run_folder, truth=si.load(run_folder.parent / "truth"))
    view = ComparisonView(session, is_awake=False)
    session.selected_units = session.tested.unit_ids[-1:]
    session.go_to(3.0)
    assert view.payload == view.matrix == {}
    view.is_awake = True
    assert view.error == ""
    assert view.payload["tested_unit"] == len(session.tested.unit_ids) - 1


def test_another_delta_gives_another_matrix(view):
    before = view.agreement().counts.sum()
    view.delta_ms = 0.01
    assert view.agreement().counts.sum() < before
    assert view.matrix["delta_ms"] == view.payload["delta_ms"] == 0.01
