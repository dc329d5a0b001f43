"""The comparison of two sortings as a picture."""

from typing import TYPE_CHECKING, Any

import numpy as np

from si_crsae.evaluation.plots import CELL_FILL, CONTACT_COLOR, REFERENCE_COLOR, TRACE_COLOR, unit_color
from si_crsae.widgets.view_models.comparison import AgreementMatrix, TemplatePair
from si_crsae.widgets.view_models.spike_browser import ComparisonModel, SpikeModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AGREEMENT_COLORS = "Blues"
MAX_LABELS = 40
MAX_WRITTEN = 12


def draw_comparison(figure: "Figure", matrix: AgreementMatrix | None, model: ComparisonModel) -> None:
    """Draw the agreement matrix, templates and lags of a pair, and one of its spikes.

    Parameters
    ----------
    figure : Figure
        Empty.
    matrix : AgreementMatrix or None
        None where there is nothing to compare.
    model : ComparisonModel
    """
    if matrix is None:
        figure.text(0.5, 0.5, model.empty, ha="center", va="center", wrap=True, color=TRACE_COLOR)
        return
    parts: Any = figure.subfigures(1, 2, width_ratios=(5, 6))
    left, right = parts
    _draw_matrix(left, matrix, model)
    panels: Any = right.subplots(2, 2)
    color = unit_color(model.tested_unit)
    _draw_templates(panels[0, 0], model, color)
    _draw_lags(panels[0, 1], model, color)
    _draw_spike(panels[1], model, matrix)
    figures = f"accuracy {model.accuracy:.2f}, recall {model.recall:.2f}, precision {model.precision:.2f}"
    counts = ", ".join(f"{number} {name}" for name, number in model.num_listed.items())
    pair = (
        f"{matrix.truth_name} {matrix.truth_ids[model.truth_unit]} (dashed) / "
        f"{matrix.tested_name} {matrix.tested_ids[model.tested_unit]}"
    )
    right.suptitle(f"{pair}: {counts}\n{figures}", fontsize="small")


def _draw_matrix(figure: Any, matrix: AgreementMatrix, model: ComparisonModel) -> None:
    axes = figure.subplots()
    agreement = matrix.agreement
    picture = axes.imshow(agreement, cmap=AGREEMENT_COLORS, vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(picture, ax=axes, label="agreement (matched / spikes of either)", shrink=0.7)
    ids = [matrix.truth_ids[row] for row in matrix.rows], [matrix.tested_ids[column] for column in matrix.columns]
    for axis, labels in zip((axes.yaxis, axes.xaxis), ids, strict=True):
        every = -(-len(labels) // MAX_LABELS)
        axis.set_ticks(np.arange(len(labels))[::every], labels[::every], fontsize="x-small")
    axes.tick_params(axis="x", labelrotation=90 if len(ids[1]) > MAX_WRITTEN else 0)
    if max(agreement.shape) <= MAX_WRITTEN:
        for row, column in np.argwhere(agreement >= 0.005):
            shade = "white" if agreement[row, column] > 0.6 else "black"
            axes.text(column, row, f"{agreement[row, column]:.2f}", ha="center", va="center", color=shade, fontsize=7)
    row, column = matrix.rows.index(model.truth_unit), matrix.columns.index(model.tested_unit)
    axes.plot(column, row, "s", markerfacecolor="none", markeredgecolor=unit_color(model.tested_unit), markersize=9)
    axes.set_ylabel(f"units of {matrix.truth_name}")
    axes.set_xlabel(f"units of {matrix.tested_name}")


def _draw_templates(axes: "Axes", model: ComparisonModel, color: str) -> None:
    axes.set_title("templates (whitened)", fontsize="small")
    if model.templates is None:
        axes.text(0.5, 0.5, "no waveforms", transform=axes.transAxes, ha="center", color=TRACE_COLOR)
        return
    pair = model.templates
    locations = pair.locations[pair.channels]
    axes.plot(*locations.T, linestyle="none", marker="s", markersize=2, color=CONTACT_COLOR, zorder=0)
    height = max(np.abs(pair.truth).max(initial=0), np.abs(pair.tested).max(initial=0), 1e-9)
    for values, start_ms, style, shade in (
        (pair.tested, pair.tested_start_ms, "-", color),
        (pair.truth, pair.truth_start_ms, "--", REFERENCE_COLOR),
    ):
        offsets = _offsets_um(pair, start_ms, values.shape[1])
        for waveform, (x, y) in zip(values, locations, strict=True):
            axes.plot(x + offsets, y + waveform * pair.pitch / height, style, color=shade, linewidth=1.0)
    axes.set_xlabel("x (µm)")
    axes.set_ylabel("y (µm)")


def _offsets_um(pair: TemplatePair, start_ms: float, width: int) -> np.ndarray:
    times = start_ms + pair.step_ms * np.arange(width)
    longest = pair.step_ms * max(pair.truth.shape[1], pair.tested.shape[1])
    return (times - pair.truth_start_ms - longest / 2) / longest * CELL_FILL * pair.pitch


def _draw_lags(axes: "Axes", model: ComparisonModel, color: str) -> None:
    axes.stairs(model.lag_counts, model.lag_edges_ms, fill=True, color=color)
    axes.axvline(0, color=CONTACT_COLOR, linewidth=0.8, zorder=0)
    axes.set_xlabel("lag of the tested spike (ms)")
    axes.set_ylabel("matched spikes")
    axes.set_title("lags", fontsize="small")


def _draw_spike(panels: Any, model: ComparisonModel, matrix: AgreementMatrix) -> None:
    """Draw traces and residual around the present spike."""
    spike = model.spike
    number = model.num_listed[model.listed]
    titles = (f"{model.listed} spike {model.position + 1} of {number}: traces", "residual") if number else ("", "")
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, fontsize="small")
        axes.set_xlabel("time from the spike on (ms)")
        if spike is None or spike.snippet is None:
            reason = f"no {model.listed} spikes" if spike is None else "no traces"
            axes.set_axis_off()
            axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", color=TRACE_COLOR)
    if spike is None or spike.snippet is None:
        return
    snippet = spike.snippet
    spacing = max(float(np.ptp(snippet.traces)) / 2, 4.0)
    times = snippet.start_ms + snippet.step_ms * np.arange(snippet.traces.shape[1])
    rows = spacing * np.arange(len(snippet.channels))
    for axes, values in zip(panels, (snippet.traces, snippet.residual), strict=True):
        axes.plot(times, (values + rows[:, None]).T, color=TRACE_COLOR, linewidth=0.7)
        axes.set_yticks(rows, snippet.channels)
        axes.set_ylim(-spacing, rows[-1] + spacing)
    panels[0].set_ylabel(f"channel ({spacing:.0f} noise sd apart)")
    _draw_marks(panels[0], spike, matrix)


def _draw_marks(axes: "Axes", spike: SpikeModel, matrix: AgreementMatrix) -> None:
    """Draw true spikes as dashed, tested ones as solid lines with the unit's id."""
    for time_ms, unit, is_true in zip(spike.mark_ms, spike.mark_unit, spike.mark_is_true, strict=True):
        color = REFERENCE_COLOR if is_true else unit_color(int(unit))
        axes.axvline(time_ms, color=color, linestyle="--" if is_true else "-", linewidth=0.8, zorder=0)
        name = (matrix.truth_ids if is_true else matrix.tested_ids)[unit]
        axes.annotate(
            name,
            (time_ms, 0.01 if is_true else 0.99),
            xycoords=("data", "axes fraction"),
            va="bottom" if is_true else "top",
            fontsize=6,
            color=color,
        )
