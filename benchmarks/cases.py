"""Recordings with known spikes, by name: generated, drawn from template libraries, files of the data folder.

Run as a program it leaves case folders (see `si_crsae.evaluation.load_case`), to look at what went wrong in them.

    python benchmarks/cases.py --cases mixed_tetrode,locust --seeds 20,21 --folder cases
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import spikeinterface as si
from command_line import names
from drawn import KINDS, draw_case
from drifting import DRIFTING
from drifting import DURATION_S as DRIFTING_S
from true_templates import TEMPLATES_FILE, mean_templates

from si_crsae.evaluation import CASES, align_truth, generate_case, load_case, simulate

DATA_FILES = {
    "dev_tetrode": "recordings/dev_tetrode",
    "dev_neuronexus32": "recordings/dev_neuronexus32",
    "harris": "recordings/harris_d533101_5sec.mat",
    "c_easy1": "recordings/C_Easy1_noise015_5sec.mat",
    "locust": "recordings/locust_tetrode.npz",
    "purkinje": "recordings/purkinje_cell_attached.npz",
}
# One of their cells is known, and few of its spikes.
PARTLY_KNOWN = ("harris",)
# True times that are off by a constant for each unit.
SHIFTED = ("c_easy1",)
# At 15 kHz the extremum of a spike may lie a sample or two from where another filter has it.
DELTA_MS = {"locust": 0.8, "purkinje": 0.8}
DURATION_S = 90.0


def main() -> None:
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=names, required=True, help=",".join([*CASES, *KINDS, *DRIFTING, *DATA_FILES]))
    parser.add_argument("--seeds", type=names, default=["0"], help="of generated and drawn cases, default: 0")
    parser.add_argument("--duration", type=float, help="of generated and drawn cases in s")
    parser.add_argument("--folder", type=Path, required=True, help="where the case folders are written")
    arguments = parser.parse_args()
    for case in arguments.cases:
        folders = prepare_case(case, duration_s=arguments.duration, seeds=arguments.seeds, work_folder=arguments.folder)
        sys.stdout.writelines(f"{folder}\n" for folder in folders.values())


def data_folder() -> Path:
    """Folder of the recordings that are not part of the repository."""
    return Path(os.environ.get("SI_CRSAE_DATA", Path(__file__).parents[2] / "shared" / "data"))


def is_available(case: str) -> bool:
    """Whether the case needs no file that is missing."""
    if case in KINDS:
        return KINDS[case].library_path(data_folder()).exists()
    return case not in DATA_FILES or (data_folder() / DATA_FILES[case]).exists()


def prepare_case(case: str, *, duration_s: float | None, seeds: list[str], work_folder: Path) -> dict[str, Path]:
    """Save a case once for all sorters; returns the folder of each label."""
    if case in CASES or case in KINDS or case in DRIFTING:
        folders = {f"{case}_{seed}": work_folder / f"{case}_{seed}" for seed in seeds}
        for seed, folder in zip(seeds, folders.values(), strict=True):
            save_case(*make_case(case, duration_s=duration_s, seed=int(seed)), folder)
        return folders
    path = data_folder() / DATA_FILES[case] if case in DATA_FILES else Path(case)
    recording, truth = load_case(path)
    if path.is_dir():
        return {path.name: path}
    save_case(recording, truth, work_folder / case)
    return {case: work_folder / case}


def make_case(case: str, *, duration_s: float | None, seed: int) -> tuple[si.BaseRecording, si.BaseSorting]:
    """Return a generated or drawn recording, not computed yet, and its true sorting."""
    if case in KINDS:
        kind = KINDS[case]
        return draw_case(kind, data_folder(), duration_s=duration_s or kind.duration_s, seed=seed)
    if case in DRIFTING:
        return simulate(DRIFTING[case], duration_s=duration_s or DRIFTING_S, seed=seed)
    return generate_case(case, duration_s=duration_s or DURATION_S, seed=seed)


def save_case(recording: si.BaseRecording, truth: si.BaseSorting, folder: Path) -> None:
    """Save a recording and its true sorting where `load_case` finds them, beside the true templates if known."""
    recording.save(folder=folder / "recording", n_jobs=1, chunk_duration="1s", progress_bar=False, verbose=False)
    truth.save(folder=folder / "sorting")
    templates = mean_templates(recording)
    if templates is not None:
        np.savez(folder / TEMPLATES_FILE, **templates)


def truth_for(case: str, truth: si.BaseSorting, tested: si.BaseSorting) -> si.BaseSorting:
    """Return the true spikes as they are to be compared with those of a sorter."""
    return align_truth(truth, tested) if case in SHIFTED else truth


if __name__ == "__main__":
    main()
