"""Whatever a recording is made of, it is sorted or refused clearly, in finite time, and nothing stays open."""

import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import spikeinterface as si
import spikeinterface.sorters as ss
from fast_start import collect_everything
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from probeinterface import generate_linear_probe

RATE_HZ = 30000.0
NOISE, SPIKE, WIDTH = 10.0, 150.0, 40
LIMIT_S = 60
NUM_EXAMPLES = int(os.environ.get("SI_CRSAE_NUM_EXAMPLES", "8"))


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is wrong, at a place from 0 to 1 of the longest segment, on a channel."""

    kind: Callable
    channel: int
    place: float
    share: float
    value: float


def blank(traces, channel, part, fault):
    traces[part] = 0


def fade(traces, channel, part, fault):
    traces[part] *= 0.05


def silence(traces, channel, part, fault):
    traces[:, channel] = 0


def stick(traces, channel, part, fault):
    traces[:, channel] = 500 * fault.place


def make_digital(traces, channel, part, fault):
    traces[:, channel] = 3000.0 * (np.arange(len(traces)) // max(round(fault.share * 3000), 1) % 2)


def copy(traces, channel, part, fault):
    traces[:, channel] = traces[:, 0]


def reference(traces, channel, part, fault):
    traces -= traces.mean(axis=1, keepdims=True)


def clip(traces, channel, part, fault):
    np.clip(traces, -SPIKE * fault.share, None, out=traces)


def put(traces, channel, part, fault):
    traces[part.start, channel] = fault.value


def disturb(traces, channel, part, fault):
    traces[part] += 1e4


def switch_off(traces, channel, part, fault):
    traces[part, channel] = 0


FAULTS = (blank, fade, silence, stick, make_digital, copy, reference, clip, put, disturb, switch_off)

faults = st.builds(
    Fault,
    kind=st.sampled_from(FAULTS),
    channel=st.integers(0, 7),
    place=st.floats(0, 1),
    share=st.floats(0, 1),
    value=st.sampled_from([1e3, 1e5, 1e10, 1e20, 1e38, np.inf, np.nan]),
)
durations_s = st.lists(st.one_of(st.floats(0.01, 0.1), st.floats(0.1, 1.5)), min_size=1, max_size=4)


@st.composite
def recordings(draw):
    """Draw the segments of a recording and what it says of them: (segments, gain, offset, has_probe)."""
    num_channels = draw(st.integers(1, 8))
    dtype = np.dtype(draw(st.sampled_from(["int16", "uint16", "int32", "float32", "float64"])))
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    segments = [simulate(random, round(duration_s * RATE_HZ), num_channels) for duration_s in draw(durations_s)]
    longest = max(segments, key=len)
    for fault in draw(st.lists(faults, max_size=3)):
        spoil(longest, fault)
    scale = draw(st.sampled_from([1.0, 1e-3, 1e3])) if dtype.kind == "f" else 1.0
    gain = draw(st.sampled_from([None, 1.0, 0.195, 1e-6, 0.0, -1.0]))
    offset = draw(st.sampled_from([0.0, 100.0]))
    return [converted(scale * traces, dtype) for traces in segments], gain, offset, draw(st.booleans())


def simulate(random, num_samples, num_channels):
    """Return noise with the spikes of one or two units."""
    traces = NOISE * random.standard_normal((num_samples, num_channels))
    shape = -SPIKE * np.hanning(WIDTH)
    for _ in range(random.integers(1, 3)):
        weights = random.uniform(0.2, 1.5, num_channels)
        for time in np.arange(random.integers(0, 900), num_samples - WIDTH, random.integers(400, 2000)):
            traces[time : time + WIDTH] += shape[:, None] * weights
    return traces


def spoil(traces, fault):
    """Put a fault into traces, in place."""
    start = round(fault.place * (len(traces) - 1))
    part = slice(start, start + round(fault.share * len(traces)))
    fault.kind(traces, fault.channel % traces.shape[1], part, fault)


def converted(traces, dtype):
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return traces.astype(dtype)
    limits = np.iinfo(dtype)
    middle = 2**15 if dtype.kind == "u" else 0
    return np.clip(np.nan_to_num(np.round(traces)) + middle, limits.min, limits.max).astype(dtype)


def sort_or_refuse(segments, gain, offset, has_probe, folder):
    """Return the number of spikes, or the message."""
    recording = si.NumpyRecording(segments, RATE_HZ)
    if has_probe:
        probe = generate_linear_probe(segments[0].shape[1], ypitch=20)
        probe.set_device_channel_indices(np.arange(segments[0].shape[1]))
        recording.set_probe(probe)
    if gain is not None:
        recording.set_channel_gains(gain)
        recording.set_channel_offsets(offset)
    saved = recording.save(folder=folder / "recording", progress_bar=False, verbose=False)
    try:
        sorting = ss.run_sorter("crsae", saved, folder=folder / "run", device="cpu")
    except ValueError as error:
        assert not (folder / "run").exists()
        return str(error)
    spikes = sorting.to_spike_vector()
    for segment, traces in enumerate(segments):
        times = spikes["sample_index"][spikes["segment_index"] == segment]
        assert np.all((times >= 0) & (times < len(traces)))
    assert saved.get_traces(segment_index=0, end_frame=5).shape[1] == segments[0].shape[1]
    return len(spikes)


def opened(folder):
    """Return the files under a folder, and the shared memory, that this process holds open or has mapped."""
    process = psutil.Process()
    paths = [file.path for file in process.open_files()]
    if hasattr(process, "memory_maps"):
        paths += [area.path for area in process.memory_maps()]
    return {path for path in paths if path.startswith((str(folder), "/dev/shm/psm_"))}


@contextmanager
def time_limit(seconds):
    """Interrupt what takes longer, where the system can."""

    def interrupt(*_):
        raise TimeoutError(f"not over after {seconds} s")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.slow
@given(made=recordings())
@settings(max_examples=NUM_EXAMPLES, suppress_health_check=list(HealthCheck))
def test_any_recording_is_sorted_or_refused_and_nothing_stays_open(made):
    segments, gain, offset, has_probe = made
    threads = set(threading.enumerate())
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(scratch).resolve()
        with time_limit(LIMIT_S):
            outcome = sort_or_refuse(segments, gain, offset, has_probe, folder)
        note(outcome)
        if isinstance(outcome, str):
            assert outcome.startswith("crsae cannot sort this recording:\n  ")
        collect_everything()
        assert opened(folder) == set()
    new = [thread for thread in threading.enumerate() if thread not in threads and thread.name != "tqdm_monitor"]
    for thread in new:
        thread.join(timeout=5)
    assert not any(thread.is_alive() for thread in new)
