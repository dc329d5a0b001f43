"""Run crsae through SpikeInterface's launchers, in a process that never imports si_crsae itself.

Usage: ``python launch_crsae.py DATA_FOLDER OUTPUT_FOLDER LAUNCHER ...``. Each launcher has a folder of its name.
"""

import multiprocessing
import sys
import traceback
from pathlib import Path

import fast_start  # noqa: F401
import spikeinterface as si
from spikeinterface.benchmark import SorterStudy
from spikeinterface.sorters import read_sorter_folder, run_sorter, run_sorter_by_property, run_sorter_jobs

FAST = {"num_rounds": 1, "learning_duration_s": 5.0, "split_units": False, "find_missed_units": False, "device": "cpu"}


def run_jobs(recording, folder, *, num_jobs=1, **engine):
    jobs = [
        {"sorter_name": "crsae", "recording": recording, "folder": folder / str(job), **FAST} for job in range(num_jobs)
    ]
    run_sorter_jobs(jobs, **engine)


def run_loky(recording, folder):
    run_jobs(recording, folder, num_jobs=2, engine="joblib", engine_kwargs={"n_jobs": 2, "backend": "loky"})


def run_process_pool(recording, folder, start_method):
    context = multiprocessing.get_context(start_method)
    run_jobs(recording, folder, engine="processpoolexecutor", engine_kwargs={"max_workers": 1, "mp_context": context})


def run_spawn(recording, folder):
    run_process_pool(recording, folder, "spawn")


def run_fork(recording, folder):
    run_process_pool(recording, folder, "fork")


def run_dask(recording, folder):
    from distributed import Client

    with Client(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None) as client:
        run_jobs(recording, folder, engine="dask", engine_kwargs={"client": client})


def run_slurm(recording, folder):
    run_jobs(recording, folder, engine="slurm", engine_kwargs={"tmp_script_folder": folder / "scripts"})


def run_study(recording, folder):
    ground_truth = si.load(Path(sys.argv[1]) / "sorting")
    case = {"label": "crsae", "dataset": "tiny", "params": {"sorter_name": "crsae", **FAST}}
    study = SorterStudy.create(folder, datasets={"tiny": (recording, ground_truth)}, cases={"crsae": case})
    study.run()
    study.compute_results()


def run_in_process(recording, folder):
    run_sorter("crsae", recording, folder=folder / "single", **FAST)
    run_jobs(recording, folder / "loop", engine="loop")
    run_sorter_by_property("crsae", recording, grouping_property="group", folder=folder / "by_property", **FAST)
    run_study(recording, folder / "study")


def read_back(recording, folder):
    read_sorter_folder(folder.parent / "run_in_process" / "single")


def launch(name, recording, folder):
    """Run one launcher and tell whether it failed: what goes wrong is printed, and leaves the others alone."""
    folder.mkdir()
    try:
        globals()[name](recording, folder)
    except Exception:
        traceback.print_exc()
        return True
    return False


if __name__ == "__main__":
    saved = si.load(Path(sys.argv[1]) / "recording")
    sys.exit(sum(launch(name, saved, Path(sys.argv[2]) / name) for name in sys.argv[3:]))
