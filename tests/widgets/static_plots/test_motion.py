import numpy as np
import pytest
from matplotlib.colors import to_rgb

from si_crsae.evaluation.motion import open_motion
from si_crsae.evaluation.plots import unit_color
from si_crsae.evaluation.sorted_recording import open_run
from si_crsae.widgets.static_plots.motion import draw_motion
from si_crsae.widgets.view_models.motion import NO_MOTION, MotionWindow, motion_model

WINDOW = MotionWindow(group=0, segment_index=0, start_s=0.0, end_s=12.0, is_whole=True)


def test_peaks_are_drawn_before_and_after_with_the_motion_on_top(figure, moving_run_folder):
    shown = open_run(moving_run_folder)
    model = motion_model(shown, open_motion(shown), WINDOW, selected=[1], cursor_s=3.0)
    draw_motion(figure, model)
    recorded, at_rest, course = figure.axes
    for axes, depths in ((recorded, model.point_depth_um), (at_rest, model.point_depth_um - model.point_moved_um)):
        others, mine = axes.collections
        is_mine = model.point_unit == 1
        assert np.asarray(mine.get_offsets())[:, 1] == pytest.approx(depths[is_mine])
        assert len(others.get_offsets()) == np.sum(~is_mine)
        assert to_rgb(mine.get_facecolor()[0]) == to_rgb(unit_color(1))
    curve, cursor = recorded.lines
    assert curve.get_ydata() == pytest.approx(20.0 + model.displacement_um[:, 0])
    assert cursor.get_xdata()[0] == 3.0
    assert course.lines[0].get_ydata() == pytest.approx(model.displacement_um[:, 0])


def test_without_a_motion_the_reason_is_written(figure, run_folder):
    draw_motion(figure, motion_model(open_run(run_folder), (), WINDOW))
    assert [text.get_text() for text in figure.texts] == [NO_MOTION]
