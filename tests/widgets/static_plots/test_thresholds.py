from dataclasses import replace

import numpy as np
import pytest
import spikeinterface as si

from si_crsae.widgets.session import open_session
from si_crsae.widgets.static_plots.thresholds import describe_threshold, draw_thresholds
from si_crsae.widgets.thresholds import ThresholdExplorer


@pytest.fixture
def explorer(run_folder):
    return ThresholdExplorer(open_session(run_folder, truth=si.load(run_folder.parent / "truth")))


def line_named(axes, name):
    return next(line for line in axes.lines if line.get_label() == name)


def test_amplitudes_are_drawn_with_the_threshold_and_the_sorters_own(figure, explorer):
    model = explorer.view_model()
    draw_thresholds(figure, model)
    axes = figure.axes[0]
    (spikes,) = [patch for patch in axes.patches if patch.get_label() == "spikes"]
    np.testing.assert_array_equal(spikes.get_data().values, model.counts)
    assert line_named(axes, "threshold").get_xdata()[0] == model.threshold
    assert line_named(axes, "sorter's minimum").get_xdata()[0] == model.lowest


def test_the_line_of_text_counts_the_spikes_above_the_threshold(explorer):
    tested = explorer.session.tested
    explorer.thresholds = {tested.unit_ids[0]: 1.0}
    model = explorer.view_model()
    sizes = tested.units.relative_amplitude(np.flatnonzero(tested.units.spikes["unit_index"] == model.unit_index))
    at = np.abs(model.grid - 1.0).argmin()
    kept = int((sizes >= model.grid[at]).sum())
    said = describe_threshold(model)
    assert f"unit {tested.unit_ids[0]}, threshold 1.00, keeps {kept} of {sizes.size} spikes" in said
    assert f"misses {100 * model.missed[at]:.1f} %" in said  # counted, not "about"


def test_the_curve_goes_through_the_present_threshold(figure, explorer):
    model = explorer.view_model()
    draw_thresholds(figure, model)
    axes = figure.axes[1]
    at = np.abs(model.grid - model.threshold).argmin()
    assert axes.get_title() == "counted"
    np.testing.assert_allclose(axes.lines[0].get_xydata(), 100 * np.column_stack([model.false_alarm, model.missed]))
    np.testing.assert_allclose(axes.lines[2].get_xydata(), [[100 * model.false_alarm[at], 100 * model.missed[at]]])


def test_what_is_not_known_is_not_drawn(figure, explorer):
    model = replace(explorer.view_model(), missed=None, false_alarm=None)
    draw_thresholds(figure, model)
    assert [text.get_text() for text in figure.axes[1].texts] == ["not known, see the notes"]
    assert figure.axes[1].lines[:] == []


def test_without_units_the_reason_is_written(figure, explorer):
    draw_thresholds(figure, replace(explorer.view_model(), empty="nothing here"))
    assert [text.get_text() for text in figure.texts] == ["nothing here"]
