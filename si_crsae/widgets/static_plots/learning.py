"""The learning monitor as a picture."""

from typing import TYPE_CHECKING, Any

import numpy as np

from si_crsae.evaluation.plots import TRACE_COLOR, unit_color
from si_crsae.widgets.view_models.learning import MonitorModel, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELLS_PER_ROW = 12
MAX_DRAWN_CELLS = 48
NO_UNIT_COLOR = "#9a9a9a"
LINE_COLORS = ("#4269d0", "#d57c1c", "#2a9d6f")
LINE_STYLES = ("o-", "s--", "^:")


def draw_learning(figure: "Figure", model: MonitorModel) -> None:
    """Draw the curves, and beneath them the atoms with their earlier versions.

    Parameters
    ----------
    figure : Figure
        Empty.
    model : MonitorModel
    """
    if model.empty:
        figure.text(0.5, 0.5, model.empty, ha="center", va="center", wrap=True, color=TRACE_COLOR)
        return
    num_cells = min(len(model.cell_name), MAX_DRAWN_CELLS)
    num_rows = -(-num_cells // CELLS_PER_ROW)
    parts: Any = figure.subfigures(2, 1, height_ratios=(2.0, 0.2 + 0.7 * num_rows))
    upper, lower = parts
    grid: Any = upper.subplots(2 if len(model.panels) > 3 else 1, min(max(len(model.panels), 1), 3), squeeze=False)
    for axes, panel in zip(grid.flat, model.panels, strict=False):
        _draw_panel(axes, panel, model.step_name)
    for axes in grid.flat[len(model.panels) :]:
        axes.set_axis_off()
    if num_cells == 0:
        return
    steps = ", ".join(str(step) for step in model.version_steps)
    lower.suptitle(f"atoms on their main channels after {model.step_name} {steps} (faint to dark)", fontsize="small")
    cells: Any = lower.subplots(num_rows, CELLS_PER_ROW, squeeze=False)
    for cell, axes in enumerate(cells.flat):
        axes.set_axis_off()
        if cell < num_cells:
            _draw_cell(axes, model, cell)


def _draw_panel(axes: "Axes", panel: Panel, step_name: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.plot(panel.dot_step, panel.dot_value, ".", color=NO_UNIT_COLOR, markersize=3, alpha=0.5, zorder=1)
    for line, color, style in zip(panel.lines, LINE_COLORS, LINE_STYLES, strict=False):
        axes.plot(line.steps, line.values, style, color=color, markersize=4, label=line.name)
    axes.set_title(panel.title, fontsize="small")
    axes.set_xlabel(step_name)
    axes.set_ylabel(panel.axis)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=panel.is_whole))
    if len(panel.lines) > 1:
        axes.legend(fontsize="x-small", frameon=False)


def _draw_cell(axes: "Axes", model: MonitorModel, cell: int) -> None:
    index = int(model.cell_color[cell])
    color = unit_color(index) if index >= 0 else NO_UNIT_COLOR
    versions = model.waveforms[cell]
    if model.picture_shape:
        axes.imshow(versions[-1].reshape(model.picture_shape), cmap="gray")
    else:
        for version, alpha in zip(versions, np.linspace(0.25, 1, len(versions)), strict=True):
            axes.plot(version, color=color, alpha=alpha, linewidth=1.2)
    axes.set_title(model.cell_name[cell], fontsize="x-small", color=color, pad=2)
