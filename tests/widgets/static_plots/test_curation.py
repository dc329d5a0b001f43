import numpy as np
import pytest
from curated_units import curated_units

from si_crsae.widgets.curation import CurationView
from si_crsae.widgets.session import Session
from si_crsae.widgets.static_plots.curation import MAX_LISTED, draw_curation
from si_crsae.widgets.view_models.curation_history import label_step, merge_step


@pytest.fixture
def view():
    return CurationView(Session(curated_units()))


def test_the_histogram_of_a_split_is_drawn_with_its_threshold(figure, view):
    view.session.selected_units = [2]
    model = view.view_model()
    draw_curation(figure, model)
    found = model.detail.split_range
    (axes,) = [axes for axes in figure.axes if axes.get_xlabel() == "amplitude (of the typical one)"]
    np.testing.assert_array_equal(axes.patches[0].get_data().values, found.counts)
    assert axes.lines[0].get_xdata()[0] == model.threshold
    units = view.session.tested.units
    sizes = units.relative_amplitude(np.flatnonzero(units.spikes["unit_index"] == 2))
    below = int((sizes < model.threshold).sum())
    assert axes.get_title() == f"unit 2: {below} below {model.threshold:.2f}, {sizes.size - below} above"


def test_decisions_are_listed_the_last_ones_if_there_are_many(figure, view):
    view.do(merge_step([0, 1]))
    for turn in range(MAX_LISTED):
        view.do(label_step([4], "quality", ("good", "noise")[turn % 2]))
    model = view.view_model()
    draw_curation(figure, model)
    (axes,) = [axes for axes in figure.axes if axes.get_title(loc="left").startswith(model.summary)]
    listed = "\n".join(text.get_text() for text in axes.texts).splitlines()
    assert listed[0] == "(1 steps before)"
    assert listed[1:] == [f"{number + 1}. {model.steps[number]}" for number in range(1, MAX_LISTED + 1)]


def test_before_anything_is_decided_that_is_written(figure, view):
    draw_curation(figure, view.view_model())
    assert "nothing decided yet" in [text.get_text() for axes in figure.axes for text in axes.texts]


def test_without_units_the_reason_is_written(figure):
    view = CurationView(Session(curated_units(num_units=0)))
    draw_curation(figure, view.view_model())
    assert [text.get_text() for text in figure.texts] == [view.view_model().empty] != [""]
