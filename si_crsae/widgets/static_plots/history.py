"""The history of the units as a picture."""

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from si_crsae.evaluation.plots import TRACE_COLOR
from si_crsae.widgets.static_plots.templates import draw_at_contacts
from si_crsae.widgets.view_models.unit_history import HistoryModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHARACTERS_PER_LINE = 150


def draw_history(figure: "Figure", model: HistoryModel) -> None:
    """Draw how often what was decided in which round, and the chosen candidate with its life.

    Parameters
    ----------
    figure : Figure
        Empty.
    model : HistoryModel
    """
    if model.empty:
        figure.text(0.5, 0.5, model.empty, ha="center", va="center", wrap=True, color=TRACE_COLOR)
        return
    upper, lower = _halves(figure) if model.chosen >= 0 else (figure, None)
    pictures: Any = upper.subplots(1, 1 if lower is None else 2, squeeze=False)
    _draw_counts(pictures[0, 0], model)
    if lower is not None:
        draw_at_contacts(pictures[0, 1], model.atoms, model, model.neighborhood, name="templates")
        lines = [f"{one.when}: {one.what}: {one.because} ({one.measured})" for one in model.life]
        text = "\n".join(textwrap.fill(line, CHARACTERS_PER_LINE) for line in [*lines, model.not_drawn] if line)
        lower.text(0.05, 0.95, text, fontsize="small", va="top")


def _halves(figure: "Figure") -> Any:
    return figure.subfigures(2, 1, height_ratios=(3, 1))


def _draw_counts(axes: "Axes", model: HistoryModel) -> None:
    """Draw a row for each kind of decision, a column for each round."""
    kinds = [what for what, numbers in model.counts.items() if any(numbers)]
    counts = np.array([model.counts[what] for what in kinds])
    axes.imshow(np.log1p(counts), cmap="Greys", aspect="auto", vmax=2 * np.log1p(counts.max()))
    axes.set_xticks(range(len(model.rounds)), [name.replace(" ", "\n", 1) for name in model.rounds])
    axes.set_yticks(range(len(kinds)), kinds)
    for row, column in np.argwhere(counts):
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize="small")
