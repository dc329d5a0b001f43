"""Recordings in which some units are no good, sorted, with what is known of every unit.

Beside neurons that are hard to tell apart, some have decoys: clicks, muscles, oscillations and decays, which fire like
units and are none.
"""

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import spikeinterface as si
from drawn import KINDS, draw_case
from spike_recordings import HARD_KINDS, JOB, sorting_of_code
from spikeinterface.core import BaseRecording, BaseSorting
from spikeinterface.curation import bombcell_label_units
from spikeinterface.preprocessing import bandpass_filter, common_reference
from spikeinterface.sorters import run_sorter

from si_crsae.config import CrsaeConfig
from si_crsae.evaluation import judge_units, simulate
from si_crsae.evaluation.simulation import GAIN_UV, NOISE_LEVEL_UV
from si_crsae.sorting.probabilities.context import CodeInContext
from si_crsae.sorting.quality.features import QUALITY_FEATURES, describe_units
from si_crsae.sorting.stages import CleanCode, LearningResult, load_stage

# Those that decoys are added to, and those that are learned in one round: more units are wrong.
WITH_DECOYS = ("mono", "tetrode", "crowded", "varied", "coarse", "mixed_tetrode", "pairs_tetrode")
HASTY = ("mono", "tetrode", "crowded", "coarse", "bursts", "mixed_tetrode")
DRAWN = (
    "mixed_tetrode",
    "polarity_mono",
    "bursts_tetrode",
    "pairs_tetrode",
    "synchrony_neuronexus16",
    "long_bursts_tetrode",
    "long_bursts_mono",
)
KIND_NAMES = (
    *HARD_KINDS,
    *DRAWN,
    *(f"{name}+decoys" for name in WITH_DECOYS),
    *(f"{name}+hasty" for name in HASTY),
)
# Of SpikeInterface's metrics; comparisons with values that are missing are false. Bombcell has its own.
RULES = {
    "Bombcell": "",
    "Allen Institute": "isi_violations_ratio < 0.5 and amplitude_cutoff < 0.1 and presence_ratio > 0.9",
    "contamination below 0.2": "rp_contamination < 0.2",
    "SNR above 5": "snr > 5",
}
METRICS = (
    "num_spikes",
    "snr",
    "presence_ratio",
    "isi_violation",
    "rp_violation",
    "sliding_rp_violation",
    "amplitude_cutoff",
    "amplitude_median",
    "drift",
    "mahalanobis",
)
# Recordings are short.
METRIC_PARAMETERS = {"presence_ratio": {"bin_duration_s": 5.0}, "drift": {"interval_s": 10.0}}
RULE = "rule "
Shape = Callable[[int, np.random.Generator], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class JudgedCase:
    """The units of a sorted recording: what is known of them (unit, feature), and the truth.

    For `accuracy`, `precision` and `of_neurons` see `judge_units`; `rules` says which units each rule calls good.
    """

    name: str
    features: np.ndarray
    accuracy: np.ndarray
    precision: np.ndarray
    of_neurons: np.ndarray
    rules: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Decoy:
    """What is no spike: shape of one, how long it lasts (ms), and whether all channels see it."""

    make: Shape
    duration_ms: float
    is_everywhere: bool
    rate_hz: float
    size: tuple[float, float]
    """In standard deviations of the noise."""


def click(length: int, rng: np.random.Generator) -> np.ndarray:
    """Return a pulse and its opposite."""
    return np.where(np.arange(length) < length / 2, 1.0, -1.0)


def muscle(length: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise of some hundred Hz that comes and goes."""
    return np.convolve(rng.standard_normal(length), np.hanning(31) / 4, "same") * np.hanning(length)


def ringing(length: int, rng: np.random.Generator) -> np.ndarray:
    """Return an oscillation that dies away."""
    times = np.arange(length)
    return np.sin(2 * np.pi * times / 22) * np.exp(-times / (length / 5))


def decay(length: int, rng: np.random.Generator) -> np.ndarray:
    """Return a step that dies away."""
    return np.exp(-np.arange(length) / (length / 6))


DECOYS = (
    Decoy(make=click, duration_ms=0.4, is_everywhere=True, rate_hz=5.0, size=(8.0, 30.0)),
    Decoy(make=muscle, duration_ms=60.0, is_everywhere=True, rate_hz=1.0, size=(8.0, 16.0)),
    Decoy(make=ringing, duration_ms=6.0, is_everywhere=False, rate_hz=4.0, size=(10.0, 30.0)),
    Decoy(make=decay, duration_ms=4.0, is_everywhere=False, rate_hz=4.0, size=(15.0, 40.0)),
)


def make_recording(name: str, *, duration_s: float, seed: int, data_folder: Path) -> tuple[BaseRecording, BaseSorting]:
    """Return one of the KIND_NAMES and its true sorting."""
    kind, _, addition = name.partition("+")
    if kind in HARD_KINDS:
        recording, truth = simulate(HARD_KINDS[kind], duration_s=duration_s, seed=seed)
    else:
        recording, truth = draw_case(KINDS[kind], data_folder, duration_s=duration_s, seed=seed)
    return (add_decoys(recording, seed=seed), truth) if addition == "decoys" else (recording, truth)


def parameters_of(name: str) -> dict[str, Any]:
    """Return with which parameters of the sorter a kind is sorted."""
    return {"num_rounds": 1, "find_missed_units": False} if name.endswith("+hasty") else {}


def add_decoys(recording: BaseRecording, *, seed: int) -> BaseRecording:
    """Return a recording with two kinds of decoys."""
    rng = np.random.default_rng(seed + 5)
    rate_hz, num_channels = recording.sampling_frequency, recording.get_num_channels()
    traces = recording.get_traces().astype("float64")
    for decoy in rng.choice(np.array(DECOYS, dtype=object), 2, replace=False):
        length = round(decoy.duration_ms * rate_hz / 1e3)
        gains = rng.uniform(0.5, 1.5, num_channels)
        if not decoy.is_everywhere:
            gains *= np.arange(num_channels) == rng.integers(num_channels)
        gains *= rng.uniform(*decoy.size) * NOISE_LEVEL_UV / GAIN_UV * rng.choice([-1.0, 1.0])
        count = rng.poisson(decoy.rate_hz * recording.get_total_duration())
        for start in rng.integers(0, len(traces) - length, count):
            shape = decoy.make(length, rng) * rng.normal(1.0, 0.1)
            traces[start : start + length] += shape[:, None] * gains
    disturbed = si.NumpyRecording([np.rint(traces).clip(-32768, 32767).astype("int16")], rate_hz)
    recording.copy_metadata(disturbed)
    disturbed.set_probe(recording.get_probe())
    return disturbed


def sort_and_judge(
    name: str, seed: int, *, duration_s: float, data_folder: Path, with_rules: bool, cache: Path | None = None
) -> JudgedCase:
    """Generate and sort a recording of one of the KIND_NAMES, or load what came of it before."""
    path = None if cache is None else cache / f"{name}_{seed}.npz"
    if path is not None and path.exists():
        with np.load(path) as saved:
            rules = {key.removeprefix(RULE): saved[key] for key in saved if key.startswith(RULE)}
            return JudgedCase(**{key: saved[key] for key in saved if not key.startswith(RULE)}, rules=rules)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        recording, truth = make_recording(name, duration_s=duration_s, seed=seed, data_folder=data_folder)
        kept = recording.save(folder=folder / "recording", verbose=False, **JOB)
        run_sorter("crsae", kept, folder=folder / "run", verbose=False, **parameters_of(name))
        config = CrsaeConfig(**parameters_of(name))
        case = judge_run(f"{name}_{seed}", kept, folder / "run", truth, config, with_rules=with_rules)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {key: value for key, value in vars(case).items() if key != "rules"}
        np.savez(path, **columns, **{RULE + rule: values for rule, values in case.rules.items()})
    return case


def judge_run(
    name: str, recording: BaseRecording, run: Path, truth: BaseSorting, config: CrsaeConfig, *, with_rules: bool
) -> JudgedCase:
    """Return the units of a run of one group with what is known of them."""
    stages = run / "sorter_output" / "stages" / "group_0"
    model = load_stage(stages / "learn.npz", LearningResult).model
    code = load_stage(stages / "clean.npz", CleanCode).code if model.dictionary.num_atoms else None
    if code is None or code.sample_index.size == 0:
        nothing, features = np.zeros(0), np.zeros((0, len(QUALITY_FEATURES)))
        rules = {rule: nothing for rule in RULES} if with_rules else {}
        columns = {key: nothing for key in ("accuracy", "precision", "of_neurons")}
        return JudgedCase(name=name, features=features, rules=rules, **columns)
    sorting = sorting_of_code(code, model, recording.sampling_frequency)[0]
    judged = judge_units(sorting, truth)
    features = describe_units(CodeInContext.of(recording, code, model, config))
    return JudgedCase(
        name=name,
        features=features[np.unique(code.atom_index)],
        **{key: judged[key].to_numpy() for key in ("accuracy", "precision", "of_neurons")},
        rules=apply_rules(recording, sorting) if with_rules else {},
    )


def apply_rules(recording: BaseRecording, sorting: BaseSorting) -> dict[str, np.ndarray]:
    """Return which units each of the RULES calls good, with the metrics that SpikeInterface computes for it."""
    filtered = common_reference(bandpass_filter(recording))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analyzer = si.create_sorting_analyzer(sorting, filtered, **JOB)
        analyzer.compute(["random_spikes", "waveforms", "templates", "noise_levels", "spike_amplitudes"], **JOB)
        analyzer.compute(["unit_locations", "spike_locations", "template_metrics", "principal_components"], **JOB)
        analyzer.compute("quality_metrics", metric_names=list(METRICS), metric_params=METRIC_PARAMETERS, **JOB)
        metrics = analyzer.get_extension("quality_metrics").get_data()
        bombcell = bombcell_label_units(analyzer, split_non_somatic=True)["bombcell_label"]
    return {
        "Bombcell": bombcell.isin(["good", "non_soma_good"]).to_numpy(),
        **{name: metrics.eval(rule).to_numpy(dtype=bool) for name, rule in RULES.items() if rule},
    }
