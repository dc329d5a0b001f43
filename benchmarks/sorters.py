"""Compare spike sorters on recordings with known spikes.

Every sorter runs with its default parameters (a filter beyond the sampled band apart), or with those that follow its
name, in a process of its own, on the same saved recordings, case after case. `true_templates` is no sorter but the
ceiling for one that learns templates: the encoder of `crsae` with those of the true units (see `true_templates.py`).

Cases are names of `si_crsae.evaluation.CASES`, kinds of recordings drawn from templates (see `drawn.py`), those in
which the tissue moves (see `drifting.py`), files of the data folder (environment variable SI_CRSAE_DATA, default
../shared/data) or paths of case folders. Seconds are those of `run_sorter`, called several times in one process: the
first call includes compilation, the median of the others is to be compared; the last result is scored. Memory is the
largest sum over the processes of the sorter. The file named by --out is rewritten after each run.

    python benchmarks/sorters.py --quick
    python benchmarks/sorters.py --sorters crsae,lupin --cases tetrode,lowsnr32 --seeds 1,2 --out rows.json
    python benchmarks/sorters.py --sorters crsae,true_templates --cases mixed_tetrode,locust --seeds 1,2
    python benchmarks/sorters.py --sorters crsae,lupin:apply_motion_correction=true --cases np2_64_walk
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import psutil
import spikeinterface as si
from accuracy_chart import plot_accuracy
from cases import DELTA_MS, PARTLY_KNOWN, is_available, prepare_case, truth_for
from command_line import make_parser, names, parse
from drawn import KINDS
from spikeinterface.sorters import get_default_sorter_params, installed_sorters, run_sorter
from true_templates import TRUE_TEMPLATES, match_true_templates

from si_crsae.evaluation import count_best_unit, load_case, score_sorting

SORTERS = ("crsae", TRUE_TEMPLATES, "lupin", "spykingcircus2", "tridesclous2", "mountainsort5", "kilosort4")
DEFAULT_CASES = (
    "tetrode",
    "collisions16",
    "lowsnr32",
    "faint32",
    "probe32",
    "dev_tetrode",
    "dev_neuronexus32",
    "harris",
    "c_easy1",
    "locust",
    "purkinje",
    *KINDS,
)
UNITS = {"seconds": "s", "seconds_first": "s", "memory": "MiB", "error": ""}
PACKAGES = ("si_crsae", "spikeinterface", "torch", "numpy", "numba", "mountainsort5", "kilosort")
POLL_S = 0.1

Row = dict[str, object]


def main() -> None:
    """Run what the command line asks for."""
    arguments = parse_arguments()
    if arguments.run_one:
        run_one(*arguments.run_one, repeats=arguments.repeats)
        return
    rows = [machine_row(arguments.threads)]
    with tempfile.TemporaryDirectory() as work_folder:
        for case in arguments.cases:
            folders = prepare_case(
                case, duration_s=arguments.duration, seeds=arguments.seeds, work_folder=Path(work_folder)
            )
            for label, folder in folders.items():
                for sorter in (name for name in arguments.sorters if is_meant_for(name, label)):
                    rows += measure(sorter, label, folder, arguments)
                    save(rows, arguments.out)
                    sys.stderr.write(f"{label} {sorter}: {summary(rows, label, sorter)}\n")
    if arguments.plot is not None:
        plot_accuracy(rows, arguments.plot)
    sys.stdout.write(markdown_table(rows))


def parse_arguments() -> argparse.Namespace:
    """Read the command line; --quick only changes the defaults."""
    parser = make_parser(__doc__, quick="two short cases, crsae and lupin")
    parser.add_argument(
        "--sorters",
        type=names,
        help=f"default: the installed ones of {','.join(SORTERS)}; parameters: name:parameter=value",
    )
    parser.add_argument("--cases", type=names, help=f"default: {','.join(DEFAULT_CASES)}")
    parser.add_argument(
        "--duration", type=float, help="of generated and drawn cases in s, default: 90, of drawn ones by kind"
    )
    parser.add_argument("--seeds", type=names, default=["0"], help="of generated and drawn cases, default: 0")
    parser.add_argument("--timeout", type=float, default=1800.0, help="of one run in s, default: 1800")
    parser.add_argument("--threads", type=int, default=2, help="given to every sorter, default: 2")
    parser.add_argument("--repeats", type=int, default=2, help="calls of each sorter, at least 2, default: 2")
    parser.add_argument("--plot", type=Path, help="image file of the accuracies; needs matplotlib")
    parser.add_argument("--run-one", nargs=3, help=argparse.SUPPRESS)
    arguments = parse(parser)
    if arguments.repeats < 2:
        parser.error(f"--repeats = {arguments.repeats}: the first call compiles, give 2 or more")
    wanted = ("crsae", "lupin") if arguments.quick else SORTERS
    available = [TRUE_TEMPLATES, *installed_sorters()]
    arguments.sorters = arguments.sorters or [name for name in wanted if name in available]
    arguments.cases = arguments.cases or (
        ["mono", "tetrode"] if arguments.quick else [name for name in DEFAULT_CASES if is_available(name)]
    )
    arguments.duration = arguments.duration or (20.0 if arguments.quick else None)
    return arguments


def is_meant_for(sorter: str, case: str) -> bool:
    """Whether the sorter makes sense on a case: true templates need the true spikes of all units."""
    return sorter != TRUE_TEMPLATES or case not in PARTLY_KNOWN


def measure(sorter: str, case: str, folder: Path, arguments: argparse.Namespace) -> list[Row]:
    """Run one sorter on one case; a failure becomes a row."""
    with tempfile.TemporaryDirectory() as run_folder:
        result_folder = Path(run_folder) / "result"
        memory, error = run_in_process(sorter, folder, result_folder, arguments)
        figures: dict[str, object] = {"memory": round(memory / 2**20)}
        if error is None:
            seconds = json.loads((result_folder / "seconds.json").read_text(encoding="utf8"))
            figures["seconds_first"], figures["seconds"] = seconds[0], round(median(seconds[1:]), 2)
            figures |= score(case, si.load(result_folder / "sorting"), load_case(folder)[1])
        else:
            figures["error"] = error
    return [
        {"case": case, "method": sorter, "figure": figure, "value": value, "unit": UNITS.get(figure, "1")}
        for figure, value in figures.items()
    ]


def score(case: str, tested: si.BaseSorting, truth: si.BaseSorting) -> dict[str, object]:
    """Figures of a sorting; the real tetrode knows a single cell only."""
    if case in PARTLY_KNOWN:
        num_found, num_others = count_best_unit(tested, truth.get_unit_spike_train(truth.unit_ids[0]))
        num_true = truth.get_unit_spike_train(truth.unit_ids[0]).size
        return {"intracellular_found": num_found, "intracellular_total": num_true, "others_in_unit": num_others}
    return score_sorting(tested, truth_for(case, truth, tested), delta_ms=DELTA_MS.get(case, 0.4)).as_dict()


def run_in_process(
    sorter: str, folder: Path, result_folder: Path, arguments: argparse.Namespace
) -> tuple[float, str | None]:
    """Run `run_one` in a fresh process; returns the peak memory in bytes and the error, if any."""
    threads = str(arguments.threads)
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), threads)
    log_path = result_folder.parent / "log.txt"
    with log_path.open("w") as log:
        process = psutil.Popen(
            [
                sys.executable,
                __file__,
                "--run-one",
                sorter,
                str(folder),
                str(result_folder),
                "--threads",
                threads,
                "--repeats",
                str(arguments.repeats),
            ],
            env=os.environ | limits,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        peak, end = 0, time.monotonic() + arguments.timeout
        while process.poll() is None:
            if time.monotonic() > end:
                stop(process)
                return peak, f"stopped after {arguments.timeout:.0f} s"
            peak = max(peak, memory_of(process))
            time.sleep(POLL_S)
    return peak, None if process.returncode == 0 else last_error(log_path, process.returncode)


def last_error(log_path: Path, return_code: int) -> str:
    """Name the error that ended a process; SpikeInterface wraps the sorter's own, which comes first."""
    lines = log_path.read_text(encoding="utf8").splitlines()
    errors = [line.strip() for line in lines if "Error" in line and not line.startswith(" ")]
    return next((line for line in errors if "SpikeSortingError" not in line), f"exit code {return_code}")


def run_one(sorter: str, folder: str, result_folder: str, *, repeats: int) -> None:
    """Sort one recording and leave the sorting and the seconds it took in a folder."""
    # Two worker processes or threads would cost SpikeInterface's own sorters most, since workers compile at every run:
    # lupin on 20 s of tetrode took 115 s with two processes, 50 s with two threads and 5 s without (second run).
    si.set_global_job_kwargs(n_jobs=1, progress_bar=False)
    recording = si.load(Path(folder) / "recording")
    result = Path(result_folder)
    result.mkdir()
    seconds = []
    for repeat in range(repeats):
        start = time.perf_counter()
        if sorter == TRUE_TEMPLATES:
            sorting = match_true_templates(Path(folder))
        else:
            name, given = with_parameters(sorter)
            parameters = low_frequency_parameters(name, recording) | given
            sorting = run_sorter(name, recording, folder=result / f"run_{repeat}", **parameters)
        seconds.append(round(time.perf_counter() - start, 2))
        sorting.save(folder=result / "sorting", overwrite=True)
        (result / "seconds.json").write_text(json.dumps(seconds))


def with_parameters(sorter: str) -> tuple[str, dict[str, object]]:
    """Return the name of a sorter and the parameters after it: ``name:parameter=value:parameter=value``, as JSON."""
    name, *settings = sorter.split(":")
    parameters = (setting.partition("=") for setting in settings)
    return name, {parameter: json.loads(value) for parameter, _, value in parameters}


def low_frequency_parameters(sorter: str, recording: si.BaseRecording) -> dict[str, object]:
    """Lower the upper edge of the sorter's filter where the default lies beyond what was sampled; else nothing."""
    highest = 0.45 * recording.sampling_frequency
    defaults = get_default_sorter_params(sorter)
    if defaults.get("freq_max", 0.0) > highest:
        return {"freq_max": highest}
    filtering = defaults.get("filtering")
    if isinstance(filtering, dict) and filtering.get("freq_max", 0.0) > highest:
        return {"filtering": filtering | {"freq_max": highest}}
    return {}


def memory_of(process: psutil.Process) -> int:
    """Bytes of a process and its children; what they share counts once where the system tells."""
    total = 0
    try:
        for member in (process, *process.children(recursive=True)):
            memory = member.memory_full_info()
            total += getattr(memory, "pss", memory.rss)
    except psutil.Error:
        # A process ended while it was looked at; the next look is POLL_S away.
        return total
    return total


def stop(process: psutil.Process) -> None:
    """Kill a process and its children."""
    for member in (*process.children(recursive=True), process):
        member.kill()
    process.wait()


def machine_row(threads: int) -> Row:
    """Where the figures come from."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    value = {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        **{name: found for name in PACKAGES if (found := package_version(name))},
    }
    return {"case": "machine", "method": "", "figure": "where", "value": value, "unit": ""}


def cpu_name() -> str:
    """Model of the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf8").splitlines() if path.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def package_version(name: str) -> str | None:
    """Version of an installed package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def save(rows: list[Row], path: Path | None) -> None:
    """Write all rows; a kill in between leaves the previous file."""
    if path is None:
        return
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(rows, indent=1))
    partial.replace(path)


def figures_of(rows: list[Row], case: str, method: str) -> dict[str, object]:
    """Figures of one run by name."""
    return {str(row["figure"]): row["value"] for row in rows if (row["case"], row["method"]) == (case, method)}


def summary(rows: list[Row], case: str, method: str) -> str:
    """One run as cells of the table."""
    figures = figures_of(rows, case, method)
    cost = f"{figures.get('seconds_first', '')} | {figures.get('seconds', '')} | {figures['memory']}"
    if "error" in figures:
        return f"{str(figures['error'])[:80]} | | | | | | | | {cost}"
    if "others_in_unit" in figures:
        found = f"{figures['intracellular_found']} of {figures['intracellular_total']} intracellular spikes"
        return f"{found}, {figures['others_in_unit']} others | | | | | | | | {cost}"
    means = [f"{figures[name]:.3f}" for name in ("accuracy", "recall", "precision", "overlapping_recall")]
    counts = [f"{figures['num_well_detected']}/{figures['num_true_units']}"]
    counts += [str(figures[f"num_{name}"]) for name in ("false_positive", "redundant", "overmerged")]
    return " | ".join([*means, *counts, cost])


def markdown_table(rows: list[Row]) -> str:
    """Every run as a line."""
    header = (
        "| case | sorter | accuracy | recall | precision | overlapping recall | well detected | false positive |"
        " redundant | over-merged | s, first | s | MiB |\n" + "|---" * 13 + "|\n"
    )
    runs = dict.fromkeys((str(row["case"]), str(row["method"])) for row in rows if row["method"])
    return header + "".join(f"| {case} | {method} | {summary(rows, case, method)} |\n" for case, method in runs)


if __name__ == "__main__":
    main()
