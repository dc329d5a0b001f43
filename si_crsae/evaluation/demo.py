"""Sort a simulated recording and show how well it went: a table and a picture.

``python -m si_crsae.evaluation.demo [--out FOLDER] [--duration S]``
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from jaxtyping import Float
from spikeinterface.core import BaseRecording, BaseSorting, estimate_templates
from spikeinterface.sorters import run_sorter

from si_crsae.config import CrsaeConfig
from si_crsae.evaluation.comparison import Score, score_sorting
from si_crsae.evaluation.decomposition import Decomposition, decompose, densest_stretch
from si_crsae.evaluation.figures import new_figure
from si_crsae.evaluation.plots import plot_decomposition, plot_template, unit_color
from si_crsae.evaluation.recordings import CASES, generate_case
from si_crsae.sorting.convert import nearest_samples
from si_crsae.sorting.folder import load_units
from si_crsae.sorting.inventory import Inventory
from si_crsae.sorting.runs.texts import printable
from si_crsae.sorting.signal.preprocessing import preprocess

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CASE = "collisions16"
STRETCH_MS = 8.0
SPACING = 14.0
TEMPLATE_HEIGHT = 0.6
TITLE = {"fontsize": "medium"}
COLUMNS = ["matched_unit", "snr", "num_spikes", "num_overlapping", "accuracy", "recall", "precision"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the demonstration that the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m si_crsae.evaluation.demo", description="Sort a simulated recording and look at the result."
    )
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="folder of the picture")
    parser.add_argument("--duration", type=float, default=60.0, help="length of the recording (s)")
    options = parser.parse_args(arguments)
    run_demo(options.out, duration_s=options.duration)


def run_demo(folder: Path, *, duration_s: float) -> Score:
    """Generate a recording, sort it, write a table of every true unit to the screen and ``demo.png`` to a folder.

    Parameters
    ----------
    folder : Path
        Made if missing.
    duration_s : float
        Length of the recording (s).

    Returns
    -------
    Score
        Agreement with the true spikes.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    figure = new_figure(figsize=(12, 7.5))
    _say(f"generating {duration_s:g} s: {CASES[CASE].description}")
    with tempfile.TemporaryDirectory() as scratch:
        recording, truth = _generate(Path(scratch) / "recording", duration_s=duration_s)
        _say('sorting: run_sorter("crsae", recording)')
        run_folder = Path(scratch) / "crsae"
        sorting = run_sorter("crsae", recording, folder=str(run_folder), job_kwargs={"n_jobs": -1})
        score = score_sorting(cast(BaseSorting, sorting), truth)
        _say(_describe(score))
        whitened = preprocess(recording, CrsaeConfig())
        _draw(figure, whitened, load_units(run_folder), truth, score)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "demo.png", dpi=100, pil_kwargs={"optimize": True})
    _say(f"picture: {folder / 'demo.png'}")
    return score


def _generate(folder: Path, *, duration_s: float) -> tuple[BaseRecording, BaseSorting]:
    recording, truth = generate_case(CASE, duration_s=duration_s)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # that what is simulated has no file
        return cast(BaseRecording, recording.save(folder=folder, progress_bar=False)), truth


def _say(text: str) -> None:
    sys.stdout.write(printable(f"{text}\n", sys.stdout))
    sys.stdout.flush()


def _describe(score: Score) -> str:
    """Return a table with a row per true unit, and the totals."""
    table = score.per_unit[COLUMNS].round(3).rename_axis("true_unit").reset_index().to_string(index=False)
    overlapping = score.per_unit["num_overlapping"].sum() / score.per_unit["num_spikes"].sum()
    return (
        f"\n{table}\n\n"
        f"{score.num_true_units} true units, {score.num_well_detected} well detected; {score.num_tested_units} found, "
        f"{score.num_false_positive} of them false and {score.num_redundant} redundant\n"
        f"mean accuracy {score.accuracy:.3f}\n"
        f"{overlapping:.0%} of the spikes overlap another within 1 ms: {score.overlapping_recall:.3f} of them are found"
    )


def _draw(figure: "Figure", whitened: BaseRecording, units: Inventory, truth: BaseSorting, score: Score) -> None:
    top, bottom = cast(np.ndarray, figure.subfigures(2, 1, height_ratios=[1, 1.3]))
    num_samples = nearest_samples(STRETCH_MS, whitened.sampling_frequency)
    start = min(densest_stretch(units, num_samples), whitened.get_num_samples(0) - num_samples)
    decomposition = decompose(whitened, units, start=start, end=start + num_samples)
    references = _true_templates(whitened, units, truth, score)
    _draw_templates(top, whitened.get_channel_locations(), units, references)
    _draw_stretch(bottom, decomposition)


def _true_templates(
    whitened: BaseRecording, units: Inventory, truth: BaseSorting, score: Score
) -> Float[np.ndarray, "unit width channel"]:
    """Return the mean waveforms of every found unit's true spikes; zero for a unit that is none of the true ones."""
    width = units.atoms.shape[2]
    averages = estimate_templates(
        whitened,
        np.asarray(truth.to_spike_vector()),
        truth.unit_ids,
        width,
        width,
        return_in_uV=False,
        n_jobs=1,
        progress_bar=False,
    )
    templates = np.zeros((units.num_units, width, whitened.get_num_channels()), "float32")
    for average, matched_unit in zip(averages, score.per_unit["matched_unit"], strict=True):
        if matched_unit is not None:
            onset = width - units.num_before[int(matched_unit)]
            templates[int(matched_unit)] = average[onset : onset + width]
    return templates


def _draw_templates(figure: Any, locations: np.ndarray, units: Inventory, references: np.ndarray) -> None:
    templates = (units.atoms * units.scales[:, None, None]).transpose(0, 2, 1)
    panels = figure.subplots(1, max(units.num_units, 1), sharex=True, sharey=True, squeeze=False)[0]
    for unit, axes in enumerate(panels[: units.num_units]):
        plot_template(
            axes,
            templates[unit],
            locations,
            color=unit_color(unit),
            scale=TEMPLATE_HEIGHT * np.ptp(templates[unit]),
            title=f"unit {unit}",
            reference=references[unit] if references[unit].any() else None,
        )
        axes.label_outer()
    figure.suptitle(
        "learned templates (colored), means of the true spikes (dotted); whitened, each to its own scale", **TITLE
    )


def _draw_stretch(figure: Any, decomposition: Decomposition) -> None:
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    plot_decomposition(tuple(panels), decomposition, spacing=SPACING)
    for axes in panels:
        axes.label_outer()
    start_s = decomposition.start_s
    figure.suptitle(f"{STRETCH_MS:g} ms from {start_s:.3f} s on: traces = templates * spike trains + noise", **TITLE)


if __name__ == "__main__":
    main()
