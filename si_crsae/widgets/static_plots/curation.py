"""The curation view as a picture."""

from typing import TYPE_CHECKING, Any

import numpy as np

from si_crsae.evaluation.plots import unit_color
from si_crsae.widgets.static_plots.templates import draw_templates
from si_crsae.widgets.view_models.curation import CurationModel, SplitRange
from si_crsae.widgets.view_models.curation_outcome import Outcome
from si_crsae.widgets.view_models.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_LISTED = 14


def draw_curation(figure: "Figure", model: CurationModel, *, cursor_s: float | None = None) -> None:
    """Draw the selected units as in the template inspector, where one would be split, and what was decided.

    Parameters
    ----------
    figure : Figure
        Empty.
    model : CurationModel
    cursor_s : float or None, default: None
        Time to mark (s).
    """
    if model.empty:
        figure.text(0.5, 0.5, model.empty, ha="center", wrap=True)
        return
    parts: Any = figure.subfigures(2, 1, height_ratios=(3, 1.1))
    upper, lower = parts
    draw_templates(upper, model.detail.pictures, quantity="atoms", cursor_s=cursor_s)
    if model.detail.split_range is None:
        _list_decisions(lower.subplots(), model)
        return
    heights, listed = lower.subplots(1, 2, width_ratios=(1, 2))
    _draw_split(heights, model, model.detail.split_range)
    _list_decisions(listed, model)


def _draw_split(axes: "Axes", model: CurationModel, found: SplitRange) -> None:
    assert model.threshold is not None
    unit = model.selected[0]
    axes.stairs(found.counts, found.edges, fill=True, color=unit_color(unit))
    axes.axvline(model.threshold, color="black", linestyle="--", linewidth=1.2)
    below = int(found.counts[found.edges[:-1] < model.threshold - 1e-12].sum())
    name = model.detail.pictures.overview.unit_ids[unit]
    axes.set_title(f"unit {name}: {below} below {model.threshold:.2f}, {found.counts.sum() - below} above",
                   fontsize="small")  # fmt: skip
    axes.set_xlabel("amplitude (of the typical one)")
    axes.set_ylabel("spikes")


def _list_decisions(axes: "Axes", model: CurationModel) -> None:
    axes.axis("off")
    made = "" if model.outcome is None else f"\n{_told(model.outcome)}"
    axes.set_title(model.summary + made, fontsize="small", loc="left")
    steps = [f"{number}. {text}" for number, text in enumerate(model.steps, start=1)]
    if len(steps) > MAX_LISTED:
        steps = [f"({len(steps) - MAX_LISTED} steps before)", *steps[-MAX_LISTED:]]
    columns = np.array_split(np.array(steps or ["nothing decided yet"]), 2 if len(steps) > MAX_LISTED // 2 else 1)
    for place, column in enumerate(columns):
        axes.text(place / 2, 1, "\n".join(column), va="top", fontsize="small", transform=axes.transAxes)


def _told(outcome: Outcome) -> str:
    """Return what a merge or split makes, in words."""
    rows = [f"{row.name}: {counted(row.num_spikes, 'spike')}, {row.violations_percent:.2f} %" for row in outcome.rows]
    return f"{outcome.title} ({'; '.join(rows)} of intervals too short)"
