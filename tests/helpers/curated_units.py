"""A sorting with something to curate: a neuron in two halves, a unit of two, one with few spikes, a good one."""

from dataclasses import replace

import numpy as np
from spikeinterface.core import NumpyRecording, NumpySorting
from spikeinterface.core.base import minimum_spike_dtype

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.convert import TemplateWindow
from si_crsae.sorting.inventory import Inventory, peaks_of_atoms

RATE_HZ = 10_000.0
NUM_SAMPLES = (600_000, 200_000)
WIDTH, PEAK = 30, 10
# Amplitudes of the unit that is two.
SMALL, LARGE = 0.5, 1.0


def refractory_train(num_samples, *, rate_hz, seed):
    """Return a spike train (samples) without intervals below 3 ms."""
    rng = np.random.default_rng(seed)
    intervals = 0.003 + rng.exponential(1 / rate_hz - 0.003, int(2 * rate_hz * num_samples / RATE_HZ))
    times = (np.cumsum(intervals) * RATE_HZ).astype("int64")
    return times[times < num_samples - 100] + 50


def curated_units(*, num_segments=1, unit_ids=(0, 1, 2, 3, 4), num_units=5, **changes):
    """Return a `SortedRecording` without traces, on four contacts: the first units of those named above."""
    parts = []
    for segment in range(num_segments):
        trains = [refractory_train(NUM_SAMPLES[segment], rate_hz=30, seed=seed + 10 * segment) for seed in range(3)]
        is_first = np.random.default_rng(segment).random(trains[0].size) < 0.5
        few = np.arange(1000, 21_000, 1000)
        for unit, train in enumerate(
            (trains[0][is_first], trains[0][~is_first], trains[1], few, trains[2])[:num_units]
        ):
            part = np.zeros(train.size, minimum_spike_dtype)
            part["sample_index"], part["unit_index"], part["segment_index"] = train, unit, segment
            parts.append(part)
    spikes = np.concatenate([np.zeros(0, minimum_spike_dtype), *parts])
    spikes = spikes[np.lexsort((spikes["unit_index"], spikes["sample_index"], spikes["segment_index"]))]
    sorting = NumpySorting(spikes, RATE_HZ, np.array(unit_ids[:num_units], dtype=np.array(unit_ids).dtype))
    sorting.set_property("snr", np.linspace(5.0, 9.0, num_units))
    sorting.set_property("num_spikes", np.bincount(spikes["unit_index"], minlength=num_units))
    atoms = _atoms()[:num_units]
    rng = np.random.default_rng(0)
    relative = 1 + 0.02 * rng.standard_normal(spikes.size)
    is_small = (spikes["unit_index"] == 2) & (rng.random(spikes.size) < 0.3)
    relative[is_small] *= SMALL
    main_channel, num_before = peaks_of_atoms(atoms) if num_units else (np.zeros(0, "int64"), np.zeros(0, "int64"))
    scales = np.full(num_units, 20.0, "float32")
    units = Inventory(
        atoms=atoms,
        scales=scales,
        noise=np.ones_like(scales),
        regularization=np.zeros_like(scales),
        num_before=num_before,
        main_channel=main_channel,
        spikes=spikes,
        sample_offset=np.zeros(spikes.size, "float32"),
        amplitude=(20 * relative).astype("float32"),
    )
    fields = {
        "name": "made",
        "sorting": sorting,
        "units": units,
        "channel_ids": np.array([f"c{channel}" for channel in range(4)]),
        "locations": np.column_stack([np.zeros(4), 20.0 * np.arange(4)]),
        "num_samples": NUM_SAMPLES[:num_segments],
        "window": TemplateWindow(num_before=PEAK, width=WIDTH),
        "min_amplitude": np.zeros(num_units, "float32"),
    }
    return SortedRecording(**fields | changes)


def _atoms():
    """Return unit-norm atoms (unit, channel, width), the first two alike."""
    bump = -np.exp(-0.5 * ((np.arange(WIDTH) - PEAK) / 2.0) ** 2)
    atoms = np.zeros((5, 4, WIDTH), "float32")
    for unit, channel in enumerate((0, 0, 1, 2, 3)):
        atoms[unit, channel] = bump
    atoms[1, 1] = 0.2 * bump
    return atoms / np.linalg.norm(atoms, axis=(1, 2), keepdims=True)


def with_traces(made, *, noise=0.1):
    """Return the sorting with traces that hold its atoms, as large as its spikes are, at their peaks."""
    rng, units, window = np.random.default_rng(0), made.units, made.window
    recordings = []
    for segment, length in enumerate(made.num_samples):
        traces = noise * rng.standard_normal((length, 4)).astype("float32")
        chosen = np.flatnonzero(units.spikes["segment_index"] == segment)
        for spike in chosen[::-1]:
            start = int(units.spikes["sample_index"][spike]) - window.num_before
            traces[start : start + window.width] += (
                units.amplitude[spike] * units.atoms[units.spikes["unit_index"][spike]].T
            )
        recordings.append(traces)
    recording = NumpyRecording(recordings, made.sampling_frequency)
    return replace(made, whitened=recording, segments=np.arange(len(recordings)))
