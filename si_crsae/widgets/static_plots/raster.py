"""The code raster as a picture."""

from typing import TYPE_CHECKING, Any

import numpy as np

from si_crsae.evaluation.plots import CONTACT_COLOR, TRACE_COLOR, unit_color
from si_crsae.widgets.view_models.raster import RasterModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_LABELED_ROWS = 32
CURSOR_COLOR = "#0b62c4"
COUNT_COLORS = "Greys"
# An event of the usual size fills this much of its row.
USUAL_HEIGHT = 0.64


def draw_raster(figure: "Figure", model: RasterModel) -> None:
    """Draw the population rate, and beneath it the events by unit, or their counts.

    Parameters
    ----------
    figure : Figure
        Empty.
    model : RasterModel
    """
    if model.empty:
        figure.text(0.5, 0.5, model.empty, ha="center", va="center", wrap=True, color=TRACE_COLOR)
        return
    panels: Any = figure.subplots(2, 1, sharex=True, height_ratios=(1, 6))
    rate, raster = panels
    edges = np.linspace(model.start_s, model.end_s, model.rate_hz.size + 1)
    rate.stairs(model.rate_hz, edges, fill=True, color=TRACE_COLOR, alpha=0.5)
    rate.set_ylabel("spikes/s")
    rows = np.arange(model.row_unit.size)
    for row in rows[np.isin(model.row_unit, model.selected)]:
        raster.axhspan(row - 0.5, row + 0.5, color=CURSOR_COLOR, alpha=0.12, linewidth=0)
    if model.counts is not None:
        picture = raster.imshow(
            np.sqrt(model.counts),
            extent=(model.start_s, model.end_s, -0.5, rows.size - 0.5),
            origin="lower",
            aspect="auto",
            cmap=COUNT_COLORS,
        )
        figure.colorbar(picture, ax=raster, label="square root of spikes per column", shrink=0.6)
    else:
        _draw_events(raster, model)
    if model.start_s <= model.cursor_s <= model.end_s:
        for axes in panels:
            axes.axvline(model.cursor_s, color=CURSOR_COLOR, linewidth=1)
    every = max(-(-rows.size // MAX_LABELED_ROWS), 1)
    raster.set_yticks(rows[::every], [model.unit_ids[unit] for unit in model.row_unit[::every]])
    raster.set_ylabel("unit, by " + model.order)
    raster.set_xlabel("time (s)")
    raster.set_xlim(model.start_s, model.end_s)
    raster.set_ylim(-0.5, rows.size - 0.5)


def _draw_events(axes: "Axes", model: RasterModel) -> None:
    axes.hlines(np.arange(model.row_unit.size), model.start_s, model.end_s, color=CONTACT_COLOR, linewidth=0.4)
    half = 0.5 * np.clip(USUAL_HEIGHT * model.event_size * model.size_step, 0.15, 0.95)
    probability = None if model.event_probability is None else model.event_probability * model.size_step
    for row, unit in enumerate(model.row_unit):
        mine = model.event_row == row
        if not mine.any():  # matplotlib takes no empty list of opacities
            continue
        times = model.start_s + model.event_after_s[mine]
        alpha = 1.0 if probability is None else 0.25 + 0.75 * np.minimum(probability[mine], 1)
        axes.vlines(times, row - half[mine], row + half[mine], color=unit_color(unit), alpha=alpha, linewidth=1)
