"""Accuracy per case and sorter as dots, from the rows of `sorters.py`; those of several runs go into one chart.

python benchmarks/accuracy_chart.py rows.json more_rows.json --plot accuracy.png
"""

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from true_templates import TRUE_TEMPLATES

# Order, color and shape; a sorter that is not listed comes last, in gray. Colors can be told apart by the color-blind.
MARKERS = {
    "crsae": ("#0072b2", "o"),
    "lupin": ("#d55e00", "s"),
    "spykingcircus2": ("#009e73", "^"),
    "tridesclous2": ("#cc79a7", "D"),
    "mountainsort5": ("#e69f00", "v"),
    "kilosort4": ("#56b4e9", "P"),
}
OTHER_MARKER = ("#777777", "X")
# Between the dots of one case, and the line of the true templates above and below them.
DODGE, HALF_LINE = 0.13, 0.4

Accuracies = dict[str, dict[str, list[float]]]


def main() -> None:
    """Draw what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, nargs="+", help="JSON files of rows")
    parser.add_argument("--plot", type=Path, required=True, help="image file")
    arguments = parser.parse_args()
    plot_accuracy([row for path in arguments.rows for row in json.loads(path.read_text())], arguments.plot)


def accuracies(rows: Iterable[Mapping[str, object]]) -> Accuracies:
    """Return the accuracy of every sorter on every case, one per seed, by case and sorter.

    A run that failed counts as 0 like a sorter that found nothing; a case without accuracy is left out.
    """
    found: Accuracies = {}
    failed = []
    for row in rows:
        case, _, seed = str(row["case"]).rpartition("_")
        case = case if seed.isdigit() else str(row["case"])
        if row["figure"] == "accuracy":
            found.setdefault(case, {}).setdefault(str(row["method"]), []).append(float(str(row["value"])))
        elif row["figure"] == "error":
            failed.append((case, str(row["method"])))
    for case, method in failed:
        if case in found:
            found[case].setdefault(method, []).append(0.0)
    return found


def plot_accuracy(rows: Iterable[Mapping[str, object]], path: Path) -> None:
    """Draw a row for each case: a dot per sorter, a thin line over its seeds, a black line for the true templates."""
    from matplotlib.figure import Figure

    cases = accuracies(rows)
    methods = sorted(
        {method for by_method in cases.values() for method in by_method} - {TRUE_TEMPLATES},
        key=lambda method: [*MARKERS, method].index(method),
    )
    figure = Figure(figsize=(8.0, 1.1 + 0.42 * max(len(cases), 2)), layout="constrained")
    axes = figure.subplots()
    for row, by_method in enumerate(cases.values()):
        if row % 2 == 0:
            axes.axhspan(row - 0.5, row + 0.5, color="#f2f2f2", linewidth=0, zorder=0)
        if TRUE_TEMPLATES in by_method:
            at = float(np.mean(by_method[TRUE_TEMPLATES]))
            axes.plot([at, at], [row - HALF_LINE, row + HALF_LINE], color="black", linewidth=1.5, zorder=2)
    # The first is drawn last, so that it lies on top.
    for place, method in reversed(list(enumerate(methods))):
        shift = DODGE * (place - (len(methods) - 1) / 2)
        _draw_sorter(axes, [by_method.get(method, []) for by_method in cases.values()], method, shift)
    _label(axes, list(cases), methods, with_line=any(TRUE_TEMPLATES in by_method for by_method in cases.values()))
    figure.savefig(path, dpi=150)


def _draw_sorter(axes, values_by_case: list[list[float]], method: str, shift: float) -> None:
    """Draw the means of a sorter as dots, and the range over the seeds."""
    color, marker = MARKERS.get(method, OTHER_MARKER)
    for row, values in enumerate(values_by_case):
        if values:
            axes.plot([min(values), max(values)], [row + shift] * 2, color=color, linewidth=1, zorder=3)
            axes.plot(
                np.mean(values), row + shift, marker, color=color, markersize=6, markeredgecolor="white", zorder=4
            )


def _label(axes, cases: list[str], methods: list[str], *, with_line: bool) -> None:
    """Name the rows, the sorters and the axis."""
    from matplotlib.lines import Line2D

    handles = []
    for method in methods:
        color, marker = MARKERS.get(method, OTHER_MARKER)
        handles.append(Line2D([], [], color=color, marker=marker, linestyle="none", label=method))
    if with_line:
        handles.append(
            Line2D([], [], color="black", marker="|", linestyle="none", markersize=12, label="true templates")
        )
    axes.figure.legend(
        handles=handles, loc="outside upper center", ncols=7, frameon=False, fontsize="small", columnspacing=1
    )
    axes.set_yticks(range(len(cases)), cases)
    axes.set_ylim(len(cases) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("accuracy, mean over the true units")
    axes.grid(axis="x", color="#cccccc", linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


if __name__ == "__main__":
    main()
