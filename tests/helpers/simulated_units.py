"""Units with known waveforms and times, on a smooth temporal basis, for tests of what learning decides."""

import numpy as np
import torch
from spikeinterface.core import NumpyRecording
from spikeinterface.core.generate import generate_recording

from si_crsae.config import CrsaeConfig
from si_crsae.core.events.encoder import Encoder
from si_crsae.core.types import Dictionary
from si_crsae.sorting.learning.units import Unit
from si_crsae.sorting.model import Model, make_encoder

RATE_HZ = 30000.0
WIDTH = 60
NUM_BEFORE = 20
NUM_CHANNELS = 4
NUM_SAMPLES = 300_000


def smooth_basis() -> np.ndarray:
    """Return three orthonormal components (component, width) that can be delayed a little."""
    times = np.arange(WIDTH) - NUM_BEFORE
    bumps = np.stack([np.exp(-0.5 * ((times - center) / 5) ** 2) for center in (0, 7, 14)])
    orthonormal, triangular = np.linalg.qr(bumps.T)
    return (orthonormal * np.sign(np.diag(triangular))).T.astype("float32")


def make_template(gains, *, norm, shape=(-1.0, 0.5, 0.0)) -> np.ndarray:
    """Return a template (channel, component) of one shape, with a gain per channel."""
    template = np.outer(gains, shape)
    return (template * norm / np.linalg.norm(template)).astype("float32")


def make_unit(template, times, *, seed, noise=1.0) -> Unit:
    """Return a unit whose clean waveforms are the template and white noise."""
    rng = np.random.default_rng(seed)
    times = np.sort(np.asarray(times, "int64"))
    features = template[None] + noise * rng.standard_normal((times.size, *template.shape))
    return Unit(
        template=template,
        channels=np.arange(NUM_CHANNELS),
        features=features.astype("float32"),
        amplitude=np.full(times.size, np.linalg.norm(template), "float32"),
        segment_index=np.zeros(times.size, "int64"),
        sample_index=times,
        row=np.arange(times.size),
    )


def join(*units: Unit) -> Unit:
    """Return the events of several units as one, with the first one's template: what a wrong clustering makes."""
    names = ("features", "amplitude", "segment_index", "sample_index", "row")
    fields = {name: np.concatenate([getattr(unit, name) for unit in units]) for name in names}
    return Unit(template=units[0].template, channels=units[0].channels, **fields)


def draw_times(seed, *, count, refractory=60) -> np.ndarray:
    """Return random times at least a refractory period apart, clear of the borders."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1.0, count)
    free = NUM_SAMPLES - 4 * WIDTH - refractory * count
    return (2 * WIDTH + np.cumsum(gaps) / (gaps.sum() * 1.01) * free + refractory * np.arange(count)).astype("int64")


def draw_bursts(seed, *, count, num_spikes=5, interval_ms=(3.0, 7.0), onsets=None) -> tuple[np.ndarray, np.ndarray]:
    """Return the times of bursts of so many spikes, and the place of each in its burst."""
    rng = np.random.default_rng(seed)
    longest = round(num_spikes * interval_ms[1] * RATE_HZ / 1000)
    onsets = draw_times(seed, count=count, refractory=longest) if onsets is None else onsets
    intervals = rng.uniform(*interval_ms, (len(onsets), num_spikes)) * RATE_HZ / 1000
    intervals[:, 0] = 0
    times = onsets[:, None] + np.cumsum(intervals, axis=1).astype("int64")
    return times.ravel(), np.tile(np.arange(num_spikes), len(onsets))


def make_dictionary(units) -> Dictionary:
    """Return the dictionary of the units' templates."""
    coefficients = torch.from_numpy(np.stack([unit.template for unit in units]))
    return Dictionary.from_coefficients(coefficients, torch.from_numpy(smooth_basis()), num_before=NUM_BEFORE)


def encoder_of(units) -> Encoder:
    """Return the encoder of the units' templates, for noise of standard deviation 1."""
    noise = np.ones(len(units), "float32")
    model = Model(dictionary=make_dictionary(units), noise=noise, regularization=4 * noise)
    return make_encoder(model, CrsaeConfig(), sampling_frequency=RATE_HZ)


def make_recording(pairs, *, seed=0) -> NumpyRecording:
    """Return whitened traces that hold each template (channel, component) at its times."""
    traces = np.random.default_rng(seed).standard_normal((NUM_SAMPLES, NUM_CHANNELS)).astype("float32")
    for template, times in pairs:
        waveform = (template @ smooth_basis()).T
        for time in times:
            traces[time - NUM_BEFORE : time - NUM_BEFORE + WIDTH] += waveform
    recording = NumpyRecording(traces, RATE_HZ)
    recording.set_probe(generate_recording(num_channels=NUM_CHANNELS, durations=[0.1]).get_probe())
    return recording
