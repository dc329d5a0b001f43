import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import spikeinterface as si
import spikeinterface.sorters as ss
from probeinterface import Probe
from spikeinterface.comparison import compare_sorter_to_ground_truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Traces in uV, one float32 array per segment, to be spoiled by the tests, and the true sorting."""

    segments: list[np.ndarray]
    sampling_frequency: float
    probe: Probe
    sorting: si.BaseSorting

    @property
    def traces(self) -> np.ndarray:
        """A copy of the only segment."""
        (traces,) = self.segments
        return traces.copy()


def simulate(
    *, num_channels: int = 4, num_units: int = 3, durations: Sequence[float] = (6.0,), seed: int = 5, **kwargs: Any
) -> Simulation:
    """Return SpikeInterface's simulation, 30 kHz unless told otherwise: clear units, noise of 5 uV."""
    kwargs = {"sampling_frequency": 30000.0, **kwargs}
    recording, sorting = si.generate_ground_truth_recording(
        durations=list(durations), num_channels=num_channels, num_units=num_units, seed=seed, **kwargs
    )
    segments: list[np.ndarray] = [recording.get_traces(segment_index=segment) for segment in range(len(durations))]
    return Simulation(
        segments=segments,
        sampling_frequency=recording.sampling_frequency,
        probe=recording.get_probe(),
        sorting=sorting,
    )


@pytest.fixture(scope="session")
def simulation():
    """6 s of 4 channels with 3 units of signal-to-noise ratio 20 to 40."""
    return simulate()


@pytest.fixture(scope="session")
def make_simulation():
    return simulate


@pytest.fixture(scope="session")
def reference(simulation, tmp_path_factory):
    """The simulation as it is, sorted with the default parameters: (recording, sorting)."""
    recording = _save(simulation, tmp_path_factory.mktemp("reference"))
    return recording, _sort(recording, tmp_path_factory.mktemp("run") / "crsae")


@pytest.fixture
def save(tmp_path):
    """Function that saves segments, by default with the rate and the probe of a simulation, and loads them again."""
    return lambda simulation, *segments, **kwargs: _save(simulation, tmp_path, *segments, **kwargs)


@pytest.fixture
def sort(tmp_path):
    """Function that runs the sorter in a fresh folder and refuses an invalid result."""
    folders = (tmp_path / f"run_{number}" for number in itertools.count())
    return lambda recording, **parameters: _sort(recording, next(folders), **parameters)


@pytest.fixture(scope="session")
def score():
    """Function that gives the accuracy of every true unit."""

    def accuracies(truth, sorting):
        return compare_sorter_to_ground_truth(truth, sorting).get_performance()["accuracy"].to_numpy(float)

    return accuracies


def _save(simulation, folder, *segments, probe="simulated", gain=None, offset=0.0, file_format="binary", group=None):
    recording = si.NumpyRecording(list(segments or simulation.segments), simulation.sampling_frequency)
    if probe == "simulated":
        probe = simulation.probe
    if probe is not None:
        recording.set_probe(probe)
    if gain is not None:
        recording.set_channel_gains(gain)
        recording.set_channel_offsets(offset)
    if group is not None:
        recording.set_property("group", group)
    # One chunk in a binary file: SpikeInterface collects garbage after each, which takes longer than writing it.
    chunk_duration = "1000s" if file_format == "binary" else "1s"
    return recording.save(
        folder=folder / "recording", format=file_format, chunk_duration=chunk_duration, progress_bar=False
    )


def _sort(recording, folder, **parameters):
    sorting = ss.run_sorter("crsae", recording, folder=folder, **parameters)
    _assert_valid(sorting, recording)
    return sorting


def _assert_valid(sorting, recording):
    assert sorting.unit_ids.dtype == np.int64
    assert sorting.get_num_segments() == recording.get_num_segments()
    assert set(sorting.get_property("main_channel_id")) <= set(recording.channel_ids)
    spikes = sorting.to_spike_vector()
    assert np.array_equal(spikes, spikes[np.lexsort((spikes["sample_index"], spikes["segment_index"]))])
    for segment in range(recording.get_num_segments()):
        times = spikes["sample_index"][spikes["segment_index"] == segment]
        assert np.all((times >= 0) & (times < recording.get_num_samples(segment)))
    assert all(count > 0 for count in sorting.count_num_spikes_per_unit().values())
