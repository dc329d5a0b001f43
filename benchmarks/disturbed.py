"""What artifacts, hum, slow waves and steps cost: generated recordings with known spikes, as they are and disturbed.

Artifacts take 0.5 % of the time and are a hundred times larger than spikes; hum has 1 mV and harmonics, slow waves 2
mV, steps of the baseline 1 mV. Accuracies are those outside the periods that the sorter has left out, of the disturbed
recording and of the same one without the disturbance.

    python benchmarks/disturbed.py --cases tetrode,probe32 --out rows.json
    python benchmarks/disturbed.py --cases tetrode --disturbances hum50,lfp,steps,slow
"""

import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import spikeinterface as si
from cases import make_case
from command_line import make_parser, names, parse
from sorters import Row, machine_row, save
from spikeinterface.comparison import compare_sorter_to_ground_truth
from spikeinterface.sorters import run_sorter

from si_crsae import load_excluded_periods
from si_crsae.evaluation import CASES

SHARE, SIZE = 0.005, 100.0
SPIKE_QUANTILE = 0.9999
HUM_UV, HARMONICS = 1000.0, (1.0, 0.3, 0.3, 0.1, 0.1)
SLOW_UV, STEP_UV, STEP_S = 2000.0, 1000.0, 2.0
Traces = np.ndarray
Shape = Callable[[int, float, np.random.Generator], np.ndarray]


def pulse(length: int, rate_hz: float, random: np.random.Generator) -> np.ndarray:
    """Return one value throughout."""
    return np.ones(length)


def biphasic(length: int, rate_hz: float, random: np.random.Generator) -> np.ndarray:
    """Return one value, and its opposite."""
    return np.where(np.arange(length) < length / 2, 1.0, -1.0)


def movement(length: int, rate_hz: float, random: np.random.Generator) -> np.ndarray:
    """Return noise that comes and goes."""
    return random.standard_normal(length) * np.hanning(length)


def swing(length: int, rate_hz: float, random: np.random.Generator) -> np.ndarray:
    """Return a wave of 60 Hz that comes and goes."""
    return np.sin(2 * np.pi * 60 * np.arange(length) / rate_hz) * np.hanning(length)


# Shape and duration (s) of each artifact.
ADDED: dict[str, tuple[Shape, float]] = {
    "pulse": (pulse, 0.002),
    "biphasic": (biphasic, 0.001),
    "movement": (movement, 0.04),
    "swing": (swing, 0.1),
}
SATURATION_S = {"saturation": 0.05, "recovery": 0.01}
RECOVERY_S, RECOVERY_SHARE = 0.05, 0.3
WAVES = {
    "hum50": ("hum50",),
    "hum60": ("hum60",),
    "lfp": ("lfp",),
    "steps": ("steps",),
    "slow": ("hum50", "lfp", "steps"),
}
DISTURBANCES = (*ADDED, *SATURATION_S, *WAVES)


def main() -> None:
    """Print the table."""
    parser = make_parser(__doc__ or "", quick="one tetrode of 30 s, three disturbances")
    parser.add_argument("--cases", type=names, default=["tetrode", "probe32"], help=",".join(CASES))
    parser.add_argument("--disturbances", type=names, default=list(DISTURBANCES), help=",".join(DISTURBANCES))
    parser.add_argument("--duration", type=float, default=60.0, help="in s, default: 60")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parse(parser, cases=CASES, disturbances=DISTURBANCES)
    if arguments.quick:
        arguments.cases, arguments.duration = ["tetrode"], 30.0
        arguments.disturbances = ["pulse", "saturation", "slow"]
    rows: list[Row] = [machine_row(1)]
    heads = ("case", "disturbance", "units", "left out", "undisturbed", "accuracy")
    sys.stdout.write(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n")
    for case in arguments.cases:
        for figures in run_case(case, arguments.disturbances, duration_s=arguments.duration, seed=arguments.seed):
            for name, value, unit in figures[1:]:
                row = {"case": case, "method": figures[0][1], "figure": name, "value": round(value, 5), "unit": unit}
                rows.append(row)
            save(rows, arguments.out)
            values = " | ".join(f"{value:.4g}" for _, value, _ in figures[1:])
            sys.stdout.write(f"| {case} | {figures[0][1]} | {values} |\n")
            sys.stdout.flush()


def run_case(case: str, disturbances: list[str], *, duration_s: float, seed: int):
    """Yield the figures of every disturbance: (name, value, unit), the first its name."""
    recording, truth = make_case(case, duration_s=duration_s, seed=seed)
    traces = recording.get_traces(segment_index=0).astype("float32")
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        usual = sort(traces, recording, Path(scratch) / "as_it_is")
        for name in disturbances:
            folder = Path(scratch) / name
            sorting = sort(disturb(traces, recording.sampling_frequency, name, seed=seed), recording, folder)
            is_left_out = np.zeros(len(traces), bool)
            for period in load_excluded_periods(folder / "run"):
                is_left_out[period["start_sample_index"] : period["end_sample_index"]] = True
            yield [
                ("disturbance", name, ""),
                ("units", float(sorting.get_num_units()), "1"),
                ("left out", float(is_left_out.mean()), "1"),
                ("undisturbed", accuracy(truth, usual, is_left_out), "1"),
                ("accuracy", accuracy(truth, sorting, is_left_out), "1"),
            ]


def disturb(traces: Traces, rate_hz: float, name: str, *, seed: int) -> Traces:
    """Return traces with one kind of disturbance."""
    random = np.random.default_rng(seed + 1)
    if name in WAVES:
        return (traces + sum(wave(kind, len(traces), rate_hz, random) for kind in WAVES[name])).astype("float32")
    size = SIZE * float(np.quantile(np.abs(traces - np.median(traces, axis=0)), SPIKE_QUANTILE))
    shape, duration_s = ADDED.get(name, (pulse, SATURATION_S.get(name, 0.0)))
    length, disturbed = round(duration_s * rate_hz), traces.astype("float64")
    count = max(int(SHARE * len(traces) / length), 1)
    for start in np.linspace(0.03 * len(traces), 0.97 * len(traces), count).astype(int):
        start += int(random.integers(-500, 500))
        if name in ADDED:
            gains = size * random.uniform(0.6, 1.4, traces.shape[1])
            disturbed[start : start + length] += shape(length, rate_hz, random)[:, None] * gains
        else:
            disturbed[start : start + length] = size
        if name == "recovery":
            tail = np.exp(-np.arange(round(8 * RECOVERY_S * rate_hz)) / (RECOVERY_S * rate_hz))
            tail = tail[: len(traces) - start - length, None]
            disturbed[start + length : start + length + len(tail)] += RECOVERY_SHARE * size * tail
    return disturbed.astype("float32")


def wave(kind: str, num_samples: int, rate_hz: float, random: np.random.Generator) -> np.ndarray:
    """Return hum, slow waves or steps in uV, shape (sample, 1): the same on all channels."""
    times_s = np.arange(num_samples) / rate_hz
    if kind.startswith("hum"):
        base_hz = float(kind.removeprefix("hum"))
        parts = [
            share * np.sin(2 * np.pi * base_hz * (index + 1) * times_s + random.uniform(0, 6))
            for index, share in enumerate(HARMONICS)
        ]
        return HUM_UV * sum(parts)[:, None]
    if kind == "steps":
        return STEP_UV * (times_s // STEP_S % 2)[:, None]
    waves = [np.sin(2 * np.pi * frequency * times_s + random.uniform(0, 6)) for frequency in (1.5, 4.0, 8.0, 13.0)]
    fast = 0.1 * sum(
        np.sin(2 * np.pi * frequency * times_s + random.uniform(0, 6)) for frequency in random.uniform(30, 90, 10)
    )
    mixed = sum(waves) + fast
    return SLOW_UV * (mixed / np.abs(mixed).max())[:, None]


def sort(traces: Traces, like: si.BaseRecording, folder: Path) -> si.BaseSorting:
    """Return the sorting of traces recorded as others were; its run is left in ``folder / "run"``."""
    recording = si.NumpyRecording([traces], like.sampling_frequency)
    recording.set_probe(like.get_probe())
    saved = recording.save(folder=folder / "recording", progress_bar=False, verbose=False)
    return run_sorter("crsae", saved, folder=folder / "run", job_kwargs={"progress_bar": False})


def accuracy(truth: si.BaseSorting, sorting: si.BaseSorting, is_left_out: np.ndarray) -> float:
    """Return the mean accuracy over true units, of spikes at samples that are not left out."""
    both = []
    for each in (truth, sorting):
        spikes = each.to_spike_vector()
        kept = spikes[~is_left_out[spikes["sample_index"]]]
        both.append(si.NumpySorting(kept, each.sampling_frequency, each.unit_ids))
    return float(compare_sorter_to_ground_truth(*both, exhaustive_gt=True).get_performance()["accuracy"].mean())


if __name__ == "__main__":
    main()
