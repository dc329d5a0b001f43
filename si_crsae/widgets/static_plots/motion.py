"""How the tissue has moved, as a picture."""

from typing import TYPE_CHECKING, Any

import numpy as np

from si_crsae.evaluation.plots import TRACE_COLOR, unit_color
from si_crsae.widgets.static_plots.raster import CURSOR_COLOR
from si_crsae.widgets.view_models.motion import MotionModel, points_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOTION_COLOR = "#d1495b"
# Around the contacts, where peaks are placed, too.
MARGIN_UM = 20.0


def draw_motion(figure: "Figure", model: MotionModel) -> None:
    """Draw the depths of peaks over time as they were recorded, with the motion on top, and at rest; below, the motion.

    Parameters
    ----------
    figure : Figure
        Empty.
    model : MotionModel
    """
    if model.empty:
        figure.text(0.5, 0.5, model.empty, ha="center", va="center", wrap=True, color=TRACE_COLOR)
        return
    panels: Any = figure.subplot_mosaic([["recorded", "at rest"], ["course", "course"]], height_ratios=(3, 1))
    recorded, at_rest, course = panels.values()
    at_rest.sharex(recorded)
    at_rest.sharey(recorded)
    _draw_peaks(recorded, model, model.point_depth_um)
    _draw_peaks(at_rest, model, model.point_depth_um - model.point_moved_um)
    for window, depth in enumerate(model.window_depth_um):
        moved = model.displacement_um[:, window]
        recorded.plot(model.bin_time_s, depth + moved, color=MOTION_COLOR, linewidth=1.2)
        course.plot(model.bin_time_s, moved, color=MOTION_COLOR, linewidth=1.0)
    recorded.set(title="as recorded", xlabel="time (s)", ylabel="depth (µm)", xlim=(model.start_s, model.end_s))
    recorded.set_ylim(model.depths_um[0] - MARGIN_UM, model.depths_um[1] + MARGIN_UM)
    at_rest.set(title="at rest", xlabel="time (s)")
    course.set(xlabel="time (s)", ylabel="moved by (µm)", xlim=(model.start_s, model.end_s))
    if model.start_s < model.cursor_s < model.end_s:
        for axes in (recorded, at_rest, course):
            axes.axvline(model.cursor_s, color=CURSOR_COLOR, linewidth=1)


def _draw_peaks(axes: "Axes", model: MotionModel, depths: np.ndarray) -> None:
    """Draw peaks in gray, those of the selected units in their colors."""
    others = ~points_of(model, model.selected)
    axes.scatter(model.point_time_s[others], depths[others], s=0.5, c="0.4", linewidths=0, rasterized=True)
    for unit in model.selected:
        mine = points_of(model, [unit])
        axes.scatter(model.point_time_s[mine], depths[mine], s=4, color=unit_color(unit), linewidths=0, rasterized=True)
