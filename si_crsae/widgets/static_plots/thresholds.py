"""The threshold explorer as a picture."""

from typing import TYPE_CHECKING, Any

import numpy as np

from si_crsae.evaluation.plots import CONTACT_COLOR, TRACE_COLOR, unit_color
from si_crsae.widgets.view_models.thresholds import ThresholdModel
from si_crsae.widgets.view_models.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NULL_COLOR = "#9aa3ab"
THRESHOLD_COLOR = "#0b62c4"


def draw_thresholds(figure: "Figure", model: ThresholdModel) -> None:
    """Draw the amplitudes of a unit with its threshold, and missed against false spikes over all thresholds.

    Parameters
    ----------
    figure : Figure
        Empty.
    model : ThresholdModel
    """
    if model.empty:
        figure.text(0.5, 0.5, model.empty, ha="center", va="center", wrap=True, color=TRACE_COLOR)
        return
    panels: Any = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_amplitudes(panels[0], model)
    _draw_tradeoff(panels[1], model)
    figure.legend(loc="outside lower center", ncols=5, fontsize="small", frameon=False)
    figure.suptitle(describe_threshold(model), fontsize="small")


def describe_threshold(model: ThresholdModel) -> str:
    """Return what the present threshold does, in one line."""
    at = int(np.abs(model.grid - model.threshold).argmin())
    said = [f"unit {model.unit_ids[model.unit_index]}, threshold {model.threshold:.2f}"]
    said.append(f"keeps {model.num_kept[at]} of {counted(model.num_spikes, 'spike')}")
    about = "" if model.source == "truth" else "about "
    if model.missed is not None:
        said.append(f"misses {about}{100 * model.missed[at]:.1f} %")
    if model.false_alarm is not None:
        said.append(f"{about}{100 * model.false_alarm[at]:.1f} % of the kept are false")
    return ", ".join(said)


def _draw_amplitudes(axes: "Axes", model: ThresholdModel) -> None:
    color = unit_color(model.unit_index)
    top = 1.15 * max(int(model.counts.max(initial=0)), 1)
    if model.null_counts is not None:
        axes.stairs(
            np.minimum(model.null_counts, top),
            model.edges,
            fill=True,
            color=NULL_COLOR,
            label="residual like this unit",
        )
    axes.stairs(model.counts, model.edges, fill=True, color=color, label="spikes")
    if model.fit_counts is not None and model.source == "estimate":
        centers = (model.edges[1:] + model.edges[:-1]) / 2
        axes.plot(centers, model.fit_counts, "--", color=TRACE_COLOR, linewidth=1.0, label="fitted Gaussian")
    axes.axvline(model.lowest, color=TRACE_COLOR, linestyle=":", linewidth=1.0, label="sorter's minimum")
    axes.axvline(model.threshold, color=THRESHOLD_COLOR, linewidth=1.5, label="threshold")
    axes.set_ylim(0, top)
    axes.set_xlabel("amplitude (of the unit's typical one)")
    axes.set_ylabel("spikes")


def _draw_tradeoff(axes: "Axes", model: ThresholdModel) -> None:
    axes.set_xlabel("false alarms (% of the kept spikes)")
    axes.set_ylabel("missed (% of the real spikes)")
    axes.set_title("counted" if model.source == "truth" else "estimated", fontsize="small")
    if model.missed is None or model.false_alarm is None:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "not known, see the notes", transform=axes.transAxes, ha="center", color=TRACE_COLOR)
        return
    accepted = slice(model.lowest_index, None)
    at = int(np.abs(model.grid - model.threshold).argmin())
    axes.plot(100 * model.false_alarm, 100 * model.missed, ":", color=CONTACT_COLOR, linewidth=1.2)
    axes.plot(100 * model.false_alarm[accepted], 100 * model.missed[accepted], color=TRACE_COLOR, linewidth=1.2)
    axes.plot(100 * model.false_alarm[at], 100 * model.missed[at], "o", color=THRESHOLD_COLOR)
    # the dotted part below the sorter's minimum may reach far beyond
    axes.set_xlim(-0.5, max(110 * float(model.false_alarm[accepted].max()), 4.0))
    axes.set_ylim(-0.5, max(130 * float(model.missed[at]), 400 * float(model.missed[model.lowest_index]), 20.0))
