"""The decomposition viewer as a picture."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from si_crsae.evaluation.plots import CONTACT_COLOR, TRACE_COLOR, unit_color
from si_crsae.widgets.view_models.decomposition import DecompositionModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_HEIGHT = 12.0
"""Noise standard deviations from one row to the next."""
MAX_LABELED_ROWS = 32
LEVEL_COLORS = "Oranges"
HIGHEST_LEVEL = 3.0


def draw_decomposition(
    figure: "Figure", model: DecompositionModel, *, color_of: Callable[[int], Any] = unit_color
) -> None:
    """Draw traces, spikes by unit and residual side by side, the residual last.

    Parameters
    ----------
    figure : Figure
        Empty.
    model : DecompositionModel
    color_of : function from int to color, default: unit_color
        Color of the unit of an index.
    """
    from matplotlib.ticker import MaxNLocator

    panels: Any = figure.subplots(1, 3, sharex=True, sharey=True)
    titles = ("whitened traces", "= spikes, by unit", "+ residual")
    for axes, values, title in zip(panels, (model.traces, None, model.residual), titles, strict=True):
        axes.set_title(title, fontsize="small")
        axes.set_xlabel("time (s)")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        if values is not None:
            _draw_rows(axes, values, model)
        elif title != titles[1]:
            axes.text(0.5, 0.5, "no traces", transform=axes.transAxes, ha="center", color=TRACE_COLOR)
    rows = np.arange(len(model.channels))
    panels[1].hlines(rows * ROW_HEIGHT, model.start_s, model.end_s, color=CONTACT_COLOR, linewidth=0.6)
    for event, row, onset, waveform in zip(
        model.waveform_event, model.waveform_row, model.waveform_onset, model.waveforms, strict=True
    ):
        unit = int(model.event_unit[event])
        if unit in model.hidden:
            continue
        times = model.start_s + (onset + np.arange(waveform.size)) / model.sampling_frequency
        panels[1].plot(times, waveform + row * ROW_HEIGHT, color=color_of(unit), linewidth=1.3)
    if model.residual_level is not None:
        _draw_levels(figure, panels[2], model, model.residual_level)
    every = -(-rows.size // MAX_LABELED_ROWS)
    panels[0].set_yticks(rows[::every] * ROW_HEIGHT, model.channels[::every])
    panels[0].set_ylabel(f"channel ({ROW_HEIGHT:g} noise sd from row to row)")
    panels[0].set_xlim(model.start_s, model.end_s)


def _draw_rows(axes: "Axes", values: np.ndarray, model: DecompositionModel) -> None:
    times = model.start_s + np.arange(values.shape[1]) * model.samples_per_column / model.sampling_frequency
    for bounds in values * model.resolution + ROW_HEIGHT * np.arange(len(values))[:, None, None]:
        if model.samples_per_column == 1:
            axes.plot(times, bounds[:, 0], color=TRACE_COLOR, linewidth=0.7, zorder=2)
        else:
            axes.fill_between(times, bounds[:, 0], bounds[:, 1], color=TRACE_COLOR, linewidth=0.4, zorder=2)


def _draw_levels(figure: "Figure", axes: "Axes", model: DecompositionModel, levels: np.ndarray) -> None:
    bottom, top = -0.5 * ROW_HEIGHT, (len(model.channels) - 0.5) * ROW_HEIGHT
    picture = axes.imshow(
        levels,
        extent=(model.start_s, model.end_s, bottom, top),
        origin="lower",
        aspect="auto",
        cmap=LEVEL_COLORS,
        vmin=model.noise_ceiling,
        vmax=max(HIGHEST_LEVEL, 2 * model.noise_ceiling),
        alpha=0.55,
        zorder=0,
    )
    figure.colorbar(picture, ax=axes, label="residual level (noise sd)", shrink=0.6)
