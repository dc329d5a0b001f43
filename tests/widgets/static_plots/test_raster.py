from dataclasses import replace

import numpy as np
import pytest
from curated_units import curated_units
from matplotlib.colors import to_rgb

from si_crsae.evaluation.plots import unit_color
from si_crsae.widgets.static_plots.raster import draw_raster
from si_crsae.widgets.view_models import raster
from si_crsae.widgets.view_models.raster import RasterWindow, raster_model

WINDOW = RasterWindow(start_s=2.0, end_s=4.0, segment_index=0, num_columns=100)


def test_every_spike_is_a_line_in_the_row_and_color_of_its_unit(figure):
    tested = curated_units()
    model = raster_model(tested, WINDOW, order="id", selected=[1], cursor_s=3.0)
    draw_raster(figure, model)
    rate, rows = figure.axes
    assert [label.get_text() for label in rows.get_yticklabels()] == ["4", "3", "2", "1", "0"]
    _, *drawn = rows.collections  # the first are the lines of the rows
    for collection in drawn:
        (color,) = {tuple(each[:3]) for each in collection.get_colors()}
        segments = np.array(collection.get_segments())
        (height,) = set(segments.mean(axis=1)[:, 1].round(6))
        unit = 4 - int(height)
        assert color == to_rgb(unit_color(unit))
        times_s = tested.sorting.get_unit_spike_train(unit) / tested.sampling_frequency
        shown = times_s[(times_s >= 2.0) & (times_s < 4.0)]
        np.testing.assert_allclose(segments[:, 0, 0], shown, atol=1e-4)
    assert len(drawn) == 5
    assert [line.get_xdata()[0] for axes in (rate, rows) for line in axes.lines] == [3.0, 3.0]
    (band,) = rows.patches
    assert band.get_y() == pytest.approx(2.5)  # unit 1, in the fourth row from below


def test_the_rate_is_that_of_all_units(figure):
    model = raster_model(curated_units(), WINDOW)
    draw_raster(figure, model)
    values, edges, _ = figure.axes[0].patches[0].get_data()
    np.testing.assert_array_equal(values, model.rate_hz)
    assert (edges[0], edges[-1]) == (2.0, 4.0)


def test_many_spikes_are_drawn_as_counts(figure, monkeypatch):
    monkeypatch.setattr(raster, "MAX_EVENTS", 10)
    model = raster_model(curated_units(), WINDOW)
    draw_raster(figure, model)
    np.testing.assert_allclose(figure.axes[1].images[0].get_array(), np.sqrt(model.counts))


def test_a_cursor_outside_of_the_window_is_not_drawn(figure):
    model = raster_model(curated_units(), WINDOW, cursor_s=9.0)
    draw_raster(figure, model)
    assert [line for axes in figure.axes for line in axes.lines] == []


def test_without_units_the_reason_is_written(figure):
    model = replace(raster_model(curated_units(), WINDOW), empty="nothing here")
    draw_raster(figure, model)
    assert [text.get_text() for text in figure.texts] == ["nothing here"]
