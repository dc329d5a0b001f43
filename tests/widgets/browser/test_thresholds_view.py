import numpy as np
import pytest
import spikeinterface as si

from si_crsae.evaluation.sorted_recording import open_run
from si_crsae.widgets import thresholds
from si_crsae.widgets.session import Session, open_session
from si_crsae.widgets.thresholds import ThresholdExplorer


@pytest.fixture
def view(run_folder):
    return ThresholdExplorer(open_session(run_folder))


@pytest.fixture
def true_view(run_folder):
    return ThresholdExplorer(open_session(run_folder, truth=si.load(run_folder.parent / "truth")))


def x_of(live, view, value):
    """Place of an amplitude in the page, at half the height of the histogram."""
    box = live.locator("canvas").nth(0).bounding_box()
    grid = view.view_model().grid
    left, right = box["x"] + 52, box["x"] + box["width"] - 10
    return left + (value - grid[0]) / (grid[-1] - grid[0]) * (right - left), box["y"] + 120


def drag(live, view, value):
    live.page.mouse.move(*x_of(live, view, view.view_model().threshold))
    live.page.mouse.down()
    live.page.mouse.move(*x_of(live, view, value), steps=4)
    live.page.mouse.up()
    live.settle()


def test_a_dragged_line_becomes_the_threshold_of_the_unit(show, view):
    live = show(view)
    unit_id = view.session.selected_units[0]
    drag(live, view, 0.9)
    assert view.thresholds[unit_id] == pytest.approx(0.9, abs=0.01)
    model = view.view_model()
    at = int(np.abs(model.grid - view.thresholds[unit_id]).argmin())
    assert f"keeps {model.num_kept[at]} of {model.num_spikes} spikes" in live.text('[data-part="figures"]')
    kept = view.apply()
    assert kept.get_unit_spike_train(unit_id).size == model.num_kept[at]
    assert kept.get_property("snr") is not None
    assert view.parameters() == {"thresholds": {unit_id: view.thresholds[unit_id]}}


def test_keys_move_the_threshold_and_home_resets_it(show, view):
    live = show(view)
    unit_id = view.session.selected_units[0]
    model = view.view_model()
    live.locator("canvas").nth(0).focus()
    for key in ("PageUp", "ArrowRight"):
        live.page.keyboard.press(key)
        live.settle()
    assert view.thresholds[unit_id] == pytest.approx(model.grid[model.lowest_index + 11])
    live.page.keyboard.press("Home")
    live.settle()
    assert view.thresholds == {}
    live.locator('input[type="range"]').focus()
    live.page.keyboard.press("ArrowRight")
    live.settle()
    assert view.thresholds[unit_id] == pytest.approx(model.grid[model.lowest_index + 1])


def test_keys_that_come_faster_than_answers_are_gathered(show, view, monkeypatch):
    live = show(view)
    view.view_model()
    unit_id = view.session.selected_units[0]
    computed, answered = [], []
    monkeypatch.setattr(thresholds, "threshold_model", lambda *args, **options: computed.append(args))
    view.observe(answered.append, names="thresholds")
    canvas = live.locator("canvas").nth(0)
    canvas.evaluate(
        "(node) => { for (let i = 0; i < 30; i++)"
        " node.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' })); }"
    )
    live.settle()
    model = view.view_model()
    assert view.thresholds[unit_id] == pytest.approx(model.grid[model.lowest_index + 30])
    assert f"Threshold {view.thresholds[unit_id]:.2f}" in live.text('[data-part="figures"]')
    assert len(answered) == 2
    assert computed == []


def test_below_the_sorter_a_new_run_is_asked_for(show, view):
    live = show(view)
    unit_id = view.session.selected_units[0]
    assert live.locator('[data-part="warning"]').is_hidden()
    drag(live, view, 0.4)
    value = view.thresholds[unit_id]
    assert f"min_amplitude={value:.2f}" in live.text('[data-part="warning"]')
    assert view.parameters()["min_amplitude"] == value
    assert view.apply().count_total_num_spikes() == view.session.tested.units.spikes.size


def test_false_alarms_are_estimated_once_the_page_is_open(show, run_folder):
    session = open_session(run_folder)
    view = ThresholdExplorer(session)
    assert view.payload["is_pending"]
    live = show(view)
    assert not view.payload["is_pending"]
    assert "are false" in live.text('[data-part="figures"]')
    session.selected_units = session.tested.unit_ids[-1:]
    live.push()
    assert not view.payload["is_pending"]
    assert live.page.evaluate("document.querySelector('.crsae select').value") == str(session.tested.unit_ids[-1])


def test_the_truth_is_counted_and_the_best_threshold_taken(show, true_view):
    live = show(true_view)
    live.locator("summary").click()
    assert "are counted against unit" in live.text()
    assert "estimates" not in live.text().lower()
    live.locator("button", has_text="least errors").click()
    live.settle()
    model = true_view.view_model()
    best = model.grid[model.best_index]
    assert true_view.thresholds.get(true_view.session.selected_units[0], model.lowest) == pytest.approx(best)


def test_units_are_chosen_and_reset(show, view):
    view.thresholds = {unit_id: 0.8 for unit_id in view.session.tested.unit_ids}
    live = show(view)
    last = view.session.tested.unit_ids[-1]
    live.locator("select").select_option(str(last))
    live.settle()
    assert view.session.selected_units == [last]
    live.locator("button", has_text="reset").first.click()
    live.settle()
    assert set(view.thresholds) == set(view.session.tested.unit_ids) - {last}
    live.locator("button", has_text="reset all").click()
    live.settle()
    assert view.thresholds == {}


def test_without_traces_missed_spikes_are_left(show, run_folder):
    session = Session(open_run(run_folder))
    object.__setattr__(session.tested, "whitened", None)
    view = ThresholdExplorer(session)
    assert not view.payload["is_pending"]
    live = show(view)
    assert "not known without traces" in live.text('[data-part="figures"]')
    assert "of the real ones" in live.text('[data-part="figures"]')


def test_wrong_thresholds_are_refused(view):
    with pytest.raises(Exception, match="the units are"):
        view.thresholds = {"nobody": 0.5}
    with pytest.raises(Exception, match="must be positive"):
        view.thresholds = {view.session.tested.unit_ids[0]: -1}
    assert view.thresholds == {}


def test_the_saved_page_moves_without_a_kernel(browser, view, tmp_path):
    page = browser.new_page()
    page.goto(view.save_html(tmp_path / "thresholds.html").as_uri())
    page.locator("canvas").nth(0).focus()
    before = page.locator('[data-part="figures"]').inner_text()
    for _ in range(6):
        page.keyboard.press("PageUp")
    assert page.locator('[data-part="figures"]').inner_text() != before
    page.close()


def test_dark_theme_and_a_narrow_window_are_drawn(show, view):
    live = show(view, width=420, color_scheme="dark")
    assert "dark" in live.locator(".crsae").get_attribute("class")
    assert live.locator(".crsae").evaluate("(node) => node.scrollWidth <= node.clientWidth + 1")
    wide = show(view)
    assert float(wide.locator(".crsae").get_attribute("data-draw-ms")) < 200


def test_the_twin_tells_what_the_threshold_does(view):
    figure = view.to_matplotlib()
    assert f"keeps {view.view_model().num_spikes} of" in figure.get_suptitle()
