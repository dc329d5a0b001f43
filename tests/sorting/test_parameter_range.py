"""Whatever rate, window and band pass the check, the recording is sorted."""

import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import spikeinterface as si
import spikeinterface.sorters as ss
from hypothesis import HealthCheck, event, example, given, note, settings
from hypothesis import strategies as st
from probeinterface import generate_linear_probe

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.checks import check_recording

NOISE, SPIKE = 10.0, 150.0
NUM_EXAMPLES = int(os.environ.get("SI_CRSAE_NUM_EXAMPLES", "8"))


def log_floats(low, high):
    """Draw numbers whose logarithms are spread evenly."""
    return st.floats(np.log(low), np.log(high)).map(lambda value: float(f"{np.exp(value):.4g}"))


@st.composite
def settings_of_a_run(draw):
    """Draw (rate in Hz, number of channels, duration in s, seed, parameters), most of them valid."""
    rate_hz = draw(log_floats(1000, 50000))
    ms_before = draw(log_floats(max(0.5e3 / rate_hz, 0.02), 20))
    ms_after = draw(log_floats(max(0.5e3 / rate_hz, 8e3 / rate_hz - ms_before, 0.02), 40))
    freq_min = draw(log_floats(0.8, 0.46 * rate_hz))
    freq_max = freq_min * draw(log_floats(1.01, 1000))
    parameters = {"ms_before": ms_before, "ms_after": ms_after, "freq_min": freq_min, "freq_max": freq_max}
    parameters |= {
        "peak_sign": draw(st.sampled_from(["neg", "pos", "both"])),
        "learning": draw(st.sampled_from(["closed_form", "closed_form", "backpropagation"])),
        "spike_probabilities": draw(st.booleans()),
        "apply_preprocessing": draw(st.sampled_from([True, True, False])),
    }
    return rate_hz, draw(st.integers(1, 8)), draw(log_floats(0.3, 6)), draw(st.integers(0, 2**16)), parameters


def simulate(rate_hz, num_channels, duration_s, seed, window_ms):
    """Return noise with spikes of one to three units, as long as the templates or shorter."""
    random, num_samples = np.random.default_rng(seed), round(duration_s * rate_hz)
    traces = NOISE * random.standard_normal((num_samples, num_channels))
    for _ in range(random.integers(1, 4)):
        width = max(round(random.uniform(0.2, 1) * window_ms * rate_hz / 1000), 2)
        waveform = -SPIKE * np.hanning(width + 2)[1:-1] * np.cos(np.linspace(-1, random.uniform(1, 8), width))
        heights = random.uniform(0.2, 1.5, num_channels)
        for start in random.integers(0, max(num_samples - width, 1), round(duration_s * random.uniform(5, 40))):
            traces[start : start + width] += (waveform[:, None] * heights)[: num_samples - start]
    recording = si.NumpyRecording([traces.astype("float32")], rate_hz)
    probe = generate_linear_probe(num_channels, ypitch=20)
    probe.set_device_channel_indices(np.arange(num_channels))
    recording.set_probe(probe)
    return recording


USUAL = {"peak_sign": "both", "learning": "closed_form", "spike_probabilities": False, "apply_preprocessing": True}

AS_IT_IS = USUAL | {"peak_sign": "neg", "apply_preprocessing": False}


@pytest.mark.slow
@given(made=settings_of_a_run())
@example(made=(2000.0, 4, 6.0, 0, USUAL | {"ms_before": 10.0, "ms_after": 15.0, "freq_min": 20.0, "freq_max": 900.0}))
@example(made=(1000.0, 2, 6.0, 1, USUAL | {"ms_before": 2.0, "ms_after": 6.0, "freq_min": 1.0, "freq_max": 1e4}))
@example(made=(2800.0, 8, 4.0, 2, USUAL | {"ms_before": 5.5, "ms_after": 0.04, "freq_min": 95.0, "freq_max": 2540.0}))
@example(made=(30000.0, 2, 4.0, 3, USUAL | {"ms_before": 0.04, "ms_after": 0.3, "freq_min": 20.0, "freq_max": 7e3}))
@example(made=(20000.0, 1, 4.0, 4, USUAL | {"ms_before": 40.0, "ms_after": 59.0, "freq_min": 5.0, "freq_max": 7e3}))
@example(made=(1030.0, 1, 2.718, 0, AS_IT_IS | {"ms_before": 1.0, "ms_after": 7.389, "freq_min": 1.0, "freq_max": 2.7}))
@settings(max_examples=NUM_EXAMPLES, suppress_health_check=list(HealthCheck))
def test_what_passes_the_check_is_sorted(made):
    rate_hz, num_channels, duration_s, seed, parameters = made
    config = CrsaeConfig(**parameters)
    recording = simulate(rate_hz, num_channels, duration_s, seed, config.ms_before + config.ms_after)
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved = recording.save(folder=Path(scratch) / "recording", progress_bar=False)
        try:
            check_recording(saved, config)
        except ValueError as error:
            note(str(error))
            event("refused")
            return
        sorting = ss.run_sorter("crsae", saved, folder=Path(scratch) / "run", **parameters)
        event("sorted" if sorting.get_num_units() else "nothing found")
