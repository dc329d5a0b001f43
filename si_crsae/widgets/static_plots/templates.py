"""The template inspector as a picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from si_crsae.evaluation.plots import CELL_FILL, CONTACT_COLOR, TRACE_COLOR, unit_color
from si_crsae.widgets.view_models.templates import ShowsUnits, TemplatesModel, Waveforms
from si_crsae.widgets.view_models.unit_activity import Correlogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE_STYLES = ("-", "--", ":", "-.")
MARKERS = "os^D"
WAVEFORM_ROWS = 1.3
"""Rows of contacts that the tallest waveform fills."""
IMPROBABLE = 0.5
TABLE_FONT_SIZE = 7.0
REFRACTORY_COLOR = "#d1495b"


def draw_templates(
    figure: "Figure", model: TemplatesModel, *, quantity: str, whole_probe: bool = False, cursor_s: float | None = None
) -> None:
    """Draw waveforms at their contacts, correlograms, amplitudes over time and the quality figures.

    Parameters
    ----------
    figure : Figure
        Empty.
    model : TemplatesModel
    quantity : {"atoms", "templates"}
    whole_probe : bool, default: False
    cursor_s : float or None, default: None
        Time to mark (s).
    """
    if model.empty:
        figure.text(0.5, 0.5, model.empty, ha="center", wrap=True)
        return
    halves: Any = figure.subfigures(1, 2, width_ratios=(2, 3))
    left, right = halves
    _draw_waveforms(left.subplots(), model, quantity, whole_probe)
    top, middle, bottom = right.subfigures(3, 1, height_ratios=(1, 1, 1.3))
    for axes, one in zip(_row_of(top, len(model.correlograms)), model.correlograms, strict=True):
        _draw_correlogram(axes, one, model)
    _draw_amplitudes(middle.subplots(), model, cursor_s)
    _draw_figures(bottom.subplots(), model)


def _row_of(figure: Any, count: int) -> list["Axes"]:
    return list(np.ravel(figure.subplots(1, count, squeeze=False))) if count else []


def _draw_waveforms(axes: "Axes", model: TemplatesModel, quantity: str, whole_probe: bool) -> None:
    x, y = model.overview.locations.T
    bounds = [float(x.min()), float(x.max()), float(y.min()), float(y.max())] if whole_probe else model.neighborhood
    waveforms = model.atoms if quantity == "atoms" else model.templates
    draw_at_contacts(axes, waveforms, model, bounds, name=_named(model, quantity))


def _named(model: TemplatesModel, quantity: str) -> str:
    """Return what the waveforms are, and where the tissue is."""
    if not model.has_moved:
        return quantity
    if quantity != "atoms":
        return f"{quantity} (mean over the motion)"
    if model.at_s is None:
        return "atoms (tissue at rest)"
    moved = ", ".join(f"{displacement:+.1f}" for displacement in model.displacement_um)
    return f"atoms at {model.at_s:.1f} s (moved by {moved} µm)"


def draw_at_contacts(
    axes: "Axes", waveforms: Waveforms | None, model: ShowsUnits, bounds: Sequence[float], *, name: str
) -> None:
    """Draw waveforms with their peaks at the contacts.

    Parameters
    ----------
    axes : Axes
    waveforms : Waveforms or None
    model : TemplatesModel or alike
        Names of the units, those that are drawn, and the probe.
    bounds : sequence of float
        Least and largest x, least and largest y of what is drawn (um).
    name : str
        What the waveforms are.
    """
    across, along = model.overview.pitch
    x, y = model.overview.locations.T
    axes.plot(x, y, linestyle="none", marker="s", markersize=3, color=CONTACT_COLOR, zorder=0)
    axes.set_xlim(bounds[0] - 0.5 * across, bounds[1] + 0.8 * across)
    axes.set_ylim(bounds[2] - 0.9 * along, bounds[3] + 0.9 * along)
    axes.set_xlabel("x (µm)")
    axes.set_ylabel("y (µm)")
    if waveforms is None or len(waveforms.values) == 0:
        text = "no templates in uV" if waveforms is None else "no waveforms"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=TRACE_COLOR)
        return
    per_unit = WAVEFORM_ROWS * along / float(np.abs(waveforms.values).max())
    _draw_lines(axes, waveforms, model, bounds, per_unit)
    height = WAVEFORM_ROWS * along / per_unit
    axes.set_title(f"{name}; the tallest has {height:.3g} {waveforms.unit_of_measurement}", fontsize="small")
    axes.legend(fontsize="x-small", loc="upper right", title="unit", title_fontsize="x-small")


def _draw_lines(
    axes: "Axes", waveforms: Waveforms, model: ShowsUnits, bounds: Sequence[float], per_unit: float
) -> None:
    across = model.overview.pitch[0]
    width = waveforms.values.shape[1]
    labeled = set()
    for unit, channel, num_before, values in zip(
        waveforms.unit.tolist(), waveforms.channel, waveforms.num_before, waveforms.values, strict=True
    ):
        x, y = model.overview.locations[channel]
        if not (bounds[0] <= x <= bounds[1] and bounds[2] <= y <= bounds[3]):
            continue
        place = model.drawn.index(unit)
        time = (np.arange(width) - num_before) / width
        axes.plot(
            x + time * CELL_FILL * across,
            y + values * per_unit,
            color=unit_color(unit),
            linestyle=LINE_STYLES[place % len(LINE_STYLES)],
            linewidth=1.6 if place == 0 else 1.1,
            label=None if unit in labeled else model.overview.unit_ids[unit],
            clip_on=True,
        )
        labeled.add(unit)


def _draw_correlogram(axes: "Axes", one: Correlogram, model: TemplatesModel) -> None:
    unit_ids = model.overview.unit_ids
    is_auto = one.unit == one.other
    axes.stairs(one.counts, one.edges_ms, fill=True, color=unit_color(one.unit) if is_auto else TRACE_COLOR)
    axes.axvspan(-model.refractory_ms, model.refractory_ms, color=REFRACTORY_COLOR, alpha=0.2, linewidth=0)
    title = f"unit {unit_ids[one.unit]}" if is_auto else f"unit {unit_ids[one.other]} after {unit_ids[one.unit]}"
    axes.set_title(f"{title} (shaded: {model.refractory_ms:g} ms)", fontsize="small")
    axes.set_xlabel("lag (ms)")
    axes.set_ylabel("pairs of spikes")
    axes.set_xlim(one.edges_ms[0], one.edges_ms[-1])


def _draw_amplitudes(axes: "Axes", model: TemplatesModel, cursor_s: float | None) -> None:
    amplitudes = model.amplitudes
    for place, unit in enumerate(model.drawn):
        mine = amplitudes.unit == unit
        marker = MARKERS[place % len(MARKERS)]
        times, sizes = amplitudes.time_s[mine], amplitudes.amplitude[mine]
        if not mine.any():  # matplotlib takes no empty list of opacities
            continue
        if amplitudes.probability is None:
            axes.scatter(times, sizes, s=4, marker=marker, color=unit_color(unit), linewidth=0)
            continue
        probability = amplitudes.probability[mine]
        alpha: Any = 0.25 + 0.75 * probability.astype(float)
        axes.scatter(times, sizes, s=4, marker=marker, color=unit_color(unit), alpha=alpha, linewidth=0)
        doubtful = probability < IMPROBABLE
        axes.scatter(times[doubtful], sizes[doubtful], s=14, marker="x", color=unit_color(unit), linewidth=0.8)
    if cursor_s is not None:
        axes.axvline(cursor_s, color=TRACE_COLOR, linewidth=0.8)
    axes.set_xlim(0, model.duration_s)
    sizes = np.append(amplitudes.amplitude, (0.9, 1.1))
    axes.set_ylim(sizes.min() - 0.02, sizes.max() + 0.02)
    segment = f" of segment {model.segment_index}" if model.num_segments > 1 else ""
    has_doubtful = amplitudes.probability is not None and bool((amplitudes.probability < IMPROBABLE).any())
    axes.set_xlabel(f"time{segment} (s)" + (f"; x: probability below {IMPROBABLE:g}" if has_doubtful else ""))
    axes.set_ylabel("amplitude\n(of the typical one)")


def _draw_figures(axes: "Axes", model: TemplatesModel) -> None:
    axes.axis("off")
    if not model.drawn:
        return
    overview = model.overview
    rows = [f"{one.label} ({one.unit})" if one.unit else one.label for one in overview.figures]
    cells = [[f"{one.values[unit]:.4g}" for unit in model.drawn] for one in overview.figures]
    for text in overview.texts:
        rows.append(text.label)
        cells.append([text.values[unit] for unit in model.drawn])
    whole: Any = (0.3, 0.0, 0.7, 1.0)
    table = axes.table(
        cells,
        rowLabels=rows,
        colLabels=[overview.unit_ids[unit] for unit in model.drawn],
        edges="horizontal",
        bbox=whole,
    )
    similar = [
        f"{overview.unit_ids[unit]} ({cosine:.2f})"
        for unit, cosine in zip(model.neighbors, model.similarity, strict=True)
    ]
    if similar:
        axes.set_title(f"similar to unit {overview.unit_ids[model.drawn[0]]}: {', '.join(similar)}", fontsize="small")
    table.auto_set_font_size(False)
    table.set_fontsize(TABLE_FONT_SIZE)
    for cell in table.get_celld().values():
        cell.set_edgecolor(CONTACT_COLOR)
    for place, unit in enumerate(model.drawn):
        table[0, place].get_text().set_color(unit_color(unit))
