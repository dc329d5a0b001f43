"""How well the motion of the tissue is known: SpikeInterface's presets beside what the units of `crsae` show.

The size of a motion, its error and whether it is followed are what the sorter decides by. Errors are those of the
displacement of the true units, five times a second, about the median of each: where the tissue rests is a matter of
definition. Sorters on the same recordings are compared by `sorters.py`, with the names that `drifting.py` gives them.

    python benchmarks/drift.py --cases np2_64_walk,columns32_zigzag --seeds 1,2 --out rows.json
    python benchmarks/drift.py --cases np2_64_walk --seeds 1 --plot drift.png
"""

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import spikeinterface as si
from cases import prepare_case
from command_line import make_parser, names, parse
from drifting import DRIFTING
from sorters import save
from spikeinterface.core.motion import Motion
from spikeinterface.preprocessing import compute_motion
from spikeinterface.sorters import run_sorter

import si_crsae
from si_crsae.config import CrsaeConfig
from si_crsae.evaluation import load_case
from si_crsae.sorting.drift.estimation import DRIFT_FILE, DriftFound
from si_crsae.sorting.signal.preprocessing import bandpass
from si_crsae.sorting.stages import load_stage
from si_crsae.widgets import MotionView, open_session

PRESETS = ("dredge_fast", "rigid_fast", "nonrigid_fast_and_accurate", "kilosort_like")
TIME_STEP_S = 0.2
JOB_KWARGS: dict[str, Any] = {"n_jobs": 1, "chunk_duration": "1s", "progress_bar": False}


def main() -> None:
    """Measure what the command line asks for."""
    parser = make_parser(__doc__)
    parser.add_argument("--cases", type=names, default=["columns32_walk", "np2_64_walk", "np1_96_walk"])
    parser.add_argument("--seeds", type=names, default=["1"])
    parser.add_argument("--duration", type=float, help="in s, default: 180")
    parser.add_argument("--plot", type=Path, help="image file of the last recording; needs matplotlib")
    arguments = parse(parser, cases=DRIFTING)
    rows = []
    with tempfile.TemporaryDirectory() as work_folder:
        for case in arguments.cases:
            folders = prepare_case(
                case, duration_s=arguments.duration, seeds=arguments.seeds, work_folder=Path(work_folder)
            )
            for label, folder in folders.items():
                rows += measure(label, folder, arguments.plot)
    save(rows, arguments.out)
    sys.stdout.write(markdown_table(rows))


def measure(label: str, folder: Path, picture: Path | None) -> list[dict[str, object]]:
    """Return the errors of all estimates of one recording."""
    recording, truth = load_case(folder)
    filtered = bandpass(recording, CrsaeConfig())
    estimates = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for preset in PRESETS:
            estimates[preset] = compute_motion(filtered, preset=cast(Any, preset), **JOB_KWARGS)
        run = folder / "run"
        run_sorter("crsae", recording, folder=str(run), job_kwargs={"n_jobs": 1})
    (info,) = si_crsae.load_motion(run).values()
    found = load_stage(run / "sorter_output" / "stages" / "group_0" / DRIFT_FILE, DriftFound)
    decided = {"size": found.size_um, "standard error": found.error_um, "followed": float(found.is_followed)}
    estimates["crsae"] = info["motion"]
    if picture is not None:
        MotionView(open_session(run)).to_matplotlib(figsize=(10, 5)).savefig(picture, dpi=110)
    return [
        {"case": label, "method": method, "figure": figure, "value": round(value, 2), "unit": "um"}
        for method, motion in estimates.items()
        for figure, value in (errors(motion, truth) | (decided if method == "crsae" else {})).items()
    ]


def errors(motion: Motion, truth: si.BaseSorting) -> dict[str, float]:
    """Return root mean square and median of what an estimate is off by (um)."""
    depths = truth.get_property("gt_unit_locations")[:, 1]
    true_um, frequency = truth.get_property("gt_displacement_um"), truth.get_annotation("displacement_frequency_hz")
    if true_um is None:  # of tissue at rest
        duration_s = motion.temporal_bin_edges_s[0][-1]
        true_um, frequency = np.zeros((depths.size, round(duration_s / TIME_STEP_S))), 1 / TIME_STEP_S
    times = np.arange(TIME_STEP_S / 2, true_um.shape[1] / frequency, TIME_STEP_S)
    found = motion.get_displacement_at_time_and_depth(times, depths, segment_index=0, grid=True)
    off = found - true_um[:, np.minimum((times * frequency).astype("int64"), true_um.shape[1] - 1)]
    off -= np.median(off, axis=1, keepdims=True)
    return {"rms": float(np.sqrt(np.mean(off**2))), "median": float(np.median(np.abs(off)))}


def markdown_table(rows: list[dict[str, object]]) -> str:
    """Every estimate as a line."""
    figures = ("rms", "median", "size", "standard error", "followed")
    table = "| case | estimate | " + " | ".join(figures) + " |\n" + "|---" * 7 + "|\n"
    for case, method in dict.fromkeys((row["case"], row["method"]) for row in rows):
        found = {row["figure"]: row["value"] for row in rows if (row["case"], row["method"]) == (case, method)}
        table += f"| {case} | {method} | " + " | ".join(str(found.get(name, "")) for name in figures) + " |\n"
    return table


if __name__ == "__main__":
    main()
