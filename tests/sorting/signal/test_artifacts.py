"""What is taken for an artifact, and what never is."""

import numpy as np
import pytest
import spikeinterface as si

from si_crsae.config import CrsaeConfig
from si_crsae.evaluation import generate_case, load_case
from si_crsae.sorting.signal.artifacts import find_artifacts

RATE_HZ = 30000.0
NOISE, SPIKE = 10.0, 100.0
LARGE = 100 * SPIKE


def traces_with(*artifacts, num_channels=4, duration_s=3.5):
    """Return noise with spikes on all channels, and (sample, values) added."""
    random = np.random.default_rng(0)
    traces = NOISE * random.standard_normal((round(duration_s * RATE_HZ), num_channels))
    for sample in range(200, len(traces) - 100, 1500):
        traces[sample : sample + 30] -= SPIKE * np.hanning(30)[:, None]
    for sample, values in artifacts:
        traces[sample : sample + len(values)] += values.reshape(len(values), -1)
    return traces.astype("float32")


def found_in(traces, config=None):
    recording = si.NumpyRecording([traces], RATE_HZ)
    return find_artifacts(recording, config or CrsaeConfig(), num_threads=1)


def swing(duration_s, frequency_hz):
    times_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return LARGE * np.sin(2 * np.pi * frequency_hz * times_s) * np.hanning(times_s.size)


KINDS = {
    "pulse": np.full(60, LARGE),
    "biphasic": np.repeat([LARGE, -LARGE], 15),
    "one_sample": np.full(1, LARGE),
    "movement": LARGE * np.random.default_rng(1).standard_normal(1200),
    "swing": swing(0.1, 60.0),
}


@pytest.mark.parametrize("num_channels", [1, 4, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_a_hundred_times_larger_than_spikes_is_found_where_it_is(kind, num_channels):
    values, starts = KINDS[kind], (20000, 29990, 70000)  # one across the end of what is read at once
    found = found_in(traces_with(*((start, values) for start in starts), num_channels=num_channels))
    assert found.is_artifact.all()
    loud = np.flatnonzero(np.abs(values) > LARGE / 20)
    for start in starts:
        inside = found.contain(np.zeros(loud.size, "int64"), start + loud)
        assert inside.mean() > 0.97
    assert found.num_samples <= 3 * (values.size + 2 * 0.0075 * RATE_HZ)


def test_the_margins_of_a_short_artifact_are_short():
    found = found_in(traces_with((20000, KINDS["pulse"])))
    ((_, start, end),) = found.bounds()
    assert 20000 - 100 < start <= 20000
    assert 20060 <= end < 20060 + 100


def test_filters_that_ring_beside_an_artifact_make_its_margin():
    """After the pulse an offset stays for 50 ms: its end is a step, which rings the longer the lower the band."""
    offset = np.full(1500, 0.02 * LARGE)
    traces = traces_with((20000, KINDS["pulse"]), (20060, offset))
    ends = [found_in(traces, CrsaeConfig(freq_min=freq_min)).end_sample.max() for freq_min in (300.0, 50.0)]
    assert ends[0] <= ends[1]


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
def test_a_saturated_stretch_is_found_whatever_its_height(dtype):
    middle = 2**15 if dtype == "uint16" else 0
    traces = traces_with() + middle
    traces[40000:40300] = middle + 30 * NOISE  # no pulse of this height would be one
    found = found_in(np.round(traces).astype(dtype))
    assert found.contain(np.zeros(300, "int64"), np.arange(40000, 40300)).all()
    assert found.num_samples < 300 + 2 * 0.0075 * RATE_HZ


def test_an_artifact_on_few_channels_is_none():
    traces = traces_with(num_channels=4)
    traces[40000:40060, :2] += LARGE
    assert len(found_in(traces)) == 0


def test_padding_is_a_gap_and_no_artifact():
    traces = np.round(traces_with() + 2**15).astype("uint16")
    traces[40000:50000] = 0
    assert len(found_in(traces)) == 0


def test_the_same_is_found_by_more_threads_and_in_every_segment():
    traces = traces_with((20000, KINDS["movement"]))
    recording = si.NumpyRecording([traces, traces_with(), traces], RATE_HZ)
    one, two = (find_artifacts(recording, CrsaeConfig(), num_threads=count) for count in (1, 2))
    assert one.bounds() == two.bounds()
    assert set(one.segment_index.tolist()) == {0, 2}


def test_slow_waves_and_hum_are_no_artifacts():
    times_s = np.arange(round(3.5 * RATE_HZ)) / RATE_HZ
    waves = 2000 * np.sin(2 * np.pi * 4 * times_s) + 500 * np.sin(2 * np.pi * 50 * times_s)
    steps = 1000.0 * (times_s // 1 % 2)
    assert len(found_in(traces_with((0, waves)))) == 0
    assert len(found_in(traces_with((0, waves + steps)))) <= 3  # of 1 mV in one sample


@pytest.mark.parametrize(("num_channels", "num_units"), [(1, 3), (4, 6), (4, 15), (16, 30)])
def test_a_population_that_fires_at_once_is_no_artifact(num_channels, num_units):
    times = np.arange(2500, 120000, 2500)
    together = si.NumpySorting.from_unit_dict([dict.fromkeys(range(num_units), times)], 25000.0)
    recording, _ = si.generate_ground_truth_recording(
        durations=[5.0], sorting=together, num_channels=num_channels, num_units=num_units, seed=0
    )
    assert len(find_artifacts(recording, CrsaeConfig(), num_threads=1)) == 0


@pytest.mark.parametrize("case", ["mono", "tetrode", "bursts", "collisions16"])
def test_generated_recordings_have_none(case):
    recording, _ = generate_case(case, duration_s=5.0, seed=0)
    assert len(find_artifacts(recording, CrsaeConfig(), num_threads=1)) == 0


RECORDED = [
    *("dev_tetrode", "dev_neuronexus32", "harris_d533101_5sec.mat", "C_Easy1_noise015_5sec.mat"),
    *("locust_tetrode.npz", "purkinje_cell_attached.npz"),
]


@pytest.mark.parametrize("name", RECORDED)
def test_recordings_of_tetrodes_probes_and_a_bursting_cell_have_none(data_folder, name):
    recording, _ = load_case(data_folder / "recordings" / name)
    assert len(find_artifacts(recording, CrsaeConfig(), num_threads=1)) == 0
