"""Spikes of two shanks with one code, and a cell's voltage from its extracellular traces."""

import argparse
from collections.abc import Callable, Sequence

import numpy as np
import spikeinterface.preprocessing as spre
import torch
from cases import data_folder
from sorters import Row
from spikeinterface.core import BaseRecording
from torch import Tensor

from si_crsae.core import LinkedView
from si_crsae.evaluation import generate_case, load_case
from si_crsae.models import LinkedDictionaries, LinkedFitting, LinkedModel, View, initialize_atoms

WIDTH = 41
NUM_BEFORE = 14
WINDOW = 1000


def run(arguments: argparse.Namespace, add: Callable[[list[Row]], None]) -> str:
    """Run both comparisons; returns a table."""
    lines = ["| case | views given | figure | value |", "|---" * 4 + "|"]
    seeds = range(arguments.seed, arguments.seed + (1 if arguments.quick else 3))
    results = [shanks(seed, duration_s=5.0 if arguments.quick else 20.0) for seed in seeds]
    for given in results[0]:
        value = float(np.mean([result[given] for result in results]))
        add([row("shanks", given, "f1", value)])
        lines.append(f"| two shanks, {len(results)} recordings | {given} | F1 of the spikes | {value:.3f} |")
    for figure, value in intracellular(arguments.seed).items():
        add([row("intracellular", "extracellular", figure, value)])
        lines.append(f"| voltage of a cell | extracellular | {figure} | {value:.3f} |")
    return "\n".join(lines)


def shanks(seed: int, *, duration_s: float) -> dict[str, float]:
    """Return the F1 score of the spikes that are found with the true templates in noise, on either shank and on both.

    The 16 channels of a recording with many collisions are taken for two shanks, the noise is doubled, and the one
    amplitude above which a coefficient counts is the best for each set of views.
    """
    recording, truth = generate_case("collisions16", duration_s=duration_s, seed=seed)
    traces = whitened(recording)
    traces = traces + np.random.default_rng(seed).normal(scale=np.sqrt(3.0), size=traces.shape)
    traces = traces.astype("float32") / 2
    trains = [truth.get_unit_spike_train(unit, segment_index=0) for unit in truth.unit_ids]
    atoms = np.stack([triggered_average(whitened(recording), train) / 2 for train in trains])
    groups = {"left": slice(0, 8), "right": slice(8, 16)}
    model = LinkedModel(
        {name: LinkedView(atoms=torch.as_tensor(atoms[:, part].copy())) for name, part in groups.items()},
        regularization=4.0,
    )
    views = {name: torch.as_tensor(traces[None, part]) for name, part in groups.items()}
    scores = {}
    for given in (("left",), ("right",), ("left", "right")):
        code = model.encode({name: views[name] for name in given})[0].numpy()
        scores[" and ".join(given)] = best_f1(code, [train - NUM_BEFORE for train in trains])
    return scores


def intracellular(seed: int) -> dict[str, float]:
    """Return how well the spikes of a cell are predicted from a tetrode, half of 5 s from the other half.

    They are known from a pipette (rat hippocampus, Harris et al., 2000). The file has not the voltage itself: an
    action potential of 60 mV at these times is simulated, with subthreshold fluctuations.
    """
    recording, truth = load_case(data_folder() / "recordings" / "harris_d533101_5sec.mat")
    spikes = truth.get_unit_spike_train(truth.unit_ids[0], segment_index=0)
    tetrode = whitened(spre.bandpass_filter(recording, freq_min=300, freq_max=4500))
    voltage = simulate_voltage(spikes, tetrode.shape[1], seed=seed)
    views = {"extracellular": cut(tetrode), "intracellular": cut(voltage[None])}
    made = {"extracellular": View(width=WIDTH), "intracellular": View(width=WIDTH, weight=1 / 3.0**2)}
    num_windows = len(views["extracellular"])
    hits, num_predicted, explained = 0, 0, []
    for held_out in np.array_split(np.arange(num_windows), 2):
        kept = np.setdiff1d(np.arange(num_windows), held_out)
        training = {name: windows[kept] for name, windows in views.items()}
        first = initialize_atoms(torch.as_tensor(training["extracellular"]), 6, WIDTH, threshold=5.0, seed=seed)
        linked = LinkedDictionaries(views=made, num_atoms=6, regularization=4.0, rescaled=True)
        linked.fit(
            training,
            initial_atoms={"extracellular": first, "intracellular": torch.full((6, 1, WIDTH), 1e-3)},
            fitting=LinkedFitting(num_epochs=40, batch_size=5, seed=seed, seen=["extracellular"]),
        )
        predicted = linked.predict({"extracellular": views["extracellular"][held_out]}, target="intracellular")
        true = views["intracellular"][held_out]
        found, actual = peaks_above(predicted, 15.0), peaks_above(true, 30.0)
        num_predicted += len(found)
        hits += sum(any(abs(found - time) <= 10) for time in actual)
        explained.append(np.corrcoef(predicted.ravel(), true.ravel())[0, 1])
    return {
        "spikes found": hits / len(spikes),
        "predicted spikes that are true": hits / max(num_predicted, 1),
        "correlation with the voltage": float(np.mean(explained)),
    }


def simulate_voltage(spikes: np.ndarray, num_samples: int, *, seed: int) -> np.ndarray:
    """Return a membrane voltage relative to rest (mV), at 10 kHz."""
    rng = np.random.default_rng(seed)
    fluctuation = np.zeros(num_samples)
    for sample in range(1, num_samples):
        fluctuation[sample] = 0.98 * fluctuation[sample - 1] + 0.4 * rng.normal()
    time = np.arange(WIDTH) - NUM_BEFORE
    potential = 60 * np.exp(-((time / 4.0) ** 2)) + 8 * np.exp(-np.maximum(time, 0) / 12.0) * (time > 0)
    for spike in spikes:
        fluctuation[spike - NUM_BEFORE : spike - NUM_BEFORE + WIDTH] += potential
    return (fluctuation + rng.normal(size=num_samples)).astype("float32")


def whitened(recording: BaseRecording) -> np.ndarray:
    """Return traces of shape (channel, sample) with noise of unit variance on every channel."""
    traces = recording.get_traces(segment_index=0).astype("float32").T
    center = np.median(traces, axis=1, keepdims=True)
    return (traces - center) / (np.median(np.abs(traces - center), axis=1, keepdims=True) / 0.6745)


def triggered_average(traces: np.ndarray, spikes: np.ndarray) -> np.ndarray:
    """Return the mean waveform of shape (channel, sample) at some spikes."""
    inside = spikes[(spikes >= NUM_BEFORE) & (spikes < traces.shape[1] - WIDTH)]
    return np.mean([traces[:, time - NUM_BEFORE : time - NUM_BEFORE + WIDTH] for time in inside], axis=0)


def cut(traces: np.ndarray) -> np.ndarray:
    """Return windows of shape (batch, channel, sample)."""
    num_windows = traces.shape[1] // WINDOW
    return traces[:, : num_windows * WINDOW].reshape(len(traces), num_windows, WINDOW).transpose(1, 0, 2).copy()


def peaks_above(windows: np.ndarray | Tensor, height: float) -> np.ndarray:
    """Return the times of the largest values of each stretch above a height, all windows in a row."""
    flat = np.asarray(windows).ravel()
    above = np.flatnonzero(flat > height)
    stretches = np.split(above, np.flatnonzero(np.diff(above) > 5) + 1) if above.size else []
    return np.array([stretch[flat[stretch].argmax()] for stretch in stretches])


def best_f1(code: np.ndarray, trains: Sequence[np.ndarray]) -> float:
    """Return the F1 score of events within two samples of true ones, at the best of several amplitudes."""
    scores = []
    for level in np.linspace(0.1, 0.9, 9):
        num_hits = num_found = num_true = 0
        for strengths, train in zip(code, trains, strict=True):
            events = np.flatnonzero(strengths > level)
            events = events[np.diff(events, prepend=-10) > 2]
            distance = np.abs(events[:, None] - train[None]) <= 2
            num_hits += int(distance.any(axis=0).sum())
            num_found += max(len(events), int(distance.any(axis=0).sum()))
            num_true += len(train)
        scores.append(2 * num_hits / (num_found + num_true))
    return max(scores)


def row(case: str, method: str, figure: str, value: float) -> Row:
    """One row of the results."""
    return {"case": case, "method": method, "figure": figure, "value": round(value, 4), "unit": "1"}
