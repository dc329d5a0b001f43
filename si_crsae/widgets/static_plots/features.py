"""The feature view as a picture."""

from typing import TYPE_CHECKING, Any

import numpy as np

from si_crsae.evaluation.plots import TRACE_COLOR, unit_color
from si_crsae.widgets.static_plots.templates import REFRACTORY_COLOR
from si_crsae.widgets.view_models.features import FeaturesModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_features(figure: "Figure", model: FeaturesModel, *, across: str = "pc1", up: str = "pc2") -> None:
    """Draw spikes as points, single waveforms over the mean, intervals and rate.

    Parameters
    ----------
    figure : Figure
        Empty.
    model : FeaturesModel
    across, up : str, default: "pc1", "pc2"
        What the first picture shows, by names of `FEATURE_LABELS`.
    """
    if model.empty:
        figure.text(0.5, 0.5, model.empty, ha="center", wrap=True)
        return
    grid: Any = figure.subplots(2, 3)
    colors = np.array([unit_color(unit) for unit in range(len(model.unit_ids))])
    points, amplitudes = model.points, model.amplitudes
    for axes, (x, y) in zip((grid[0, 0], grid[1, 1]), ((across, up), ("time", "depth")), strict=True):
        known = {"time": points.time_s} | points.features
        if y not in known:
            axes.text(0.5, 0.5, "no traces", transform=axes.transAxes, ha="center", color=TRACE_COLOR)
            continue
        axes.scatter(known[x], known[y], s=4, linewidth=0, color=colors[points.unit], alpha=0.7)
        axes.set_xlabel(model.labels.get(x, "time (s)"))
        axes.set_ylabel(model.labels[y])
    grid[1, 0].scatter(
        amplitudes.time_s, amplitudes.amplitude, s=4, linewidth=0, color=colors[amplitudes.unit], alpha=0.7
    )
    grid[1, 0].set_xlabel("time (s)")
    grid[1, 0].set_ylabel("amplitude (of the typical one)")
    _draw_waveforms(grid[0, 1], model)
    _draw_outlines(grid[0, 2], model.intervals, model.interval_edges_ms, model)
    grid[0, 2].axvspan(0, model.refractory_ms, color=REFRACTORY_COLOR, alpha=0.2, linewidth=0)
    grid[0, 2].set_xlabel("interval (ms)")
    _draw_outlines(grid[1, 2], model.rates_hz, model.rate_edges_s, model)
    grid[1, 2].set_xlabel("time (s)")
    grid[1, 2].set_ylabel("rate (Hz)")


def _draw_waveforms(axes: "Axes", model: FeaturesModel) -> None:
    """Draw waveforms on the channel where the leading unit is largest."""
    shown = model.waveforms
    if not len(shown.means):
        return
    time_ms = 1000 * np.arange(shown.means.shape[2]) / model.sampling_frequency
    for unit, values in zip(shown.unit.tolist(), shown.values, strict=True):
        axes.plot(time_ms, values[0], color=unit_color(unit), alpha=0.25, linewidth=0.6)
    for unit, mean in zip(model.drawn, shown.means, strict=True):
        axes.plot(time_ms, mean[0], color=unit_color(unit), linewidth=2, label=model.unit_ids[unit])
    axes.set_xlabel("time (ms)")
    axes.set_ylabel(f"channel {shown.channel_ids[0]} (noise sd)")
    axes.legend(fontsize="x-small", title="unit", title_fontsize="x-small")


def _draw_outlines(axes: "Axes", rows: np.ndarray, edges: np.ndarray, model: FeaturesModel) -> None:
    for unit, values in zip(model.drawn, rows, strict=True):
        axes.stairs(values, edges, color=unit_color(unit))
