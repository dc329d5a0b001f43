import numpy as np
import spikeinterface.full as si
from numpy.testing import assert_allclose
from spikeinterface.core.base import minimum_spike_dtype

from si_crsae.evaluation.mean_waveforms import SPIKES_PER_TEMPLATE, choose_spikes, mean_waveforms


def test_of_frequent_units_few_stretches_are_read_and_of_a_rare_one_what_it_has():
    rng = np.random.default_rng(0)
    units = np.concatenate([np.repeat([0, 1], 5000), np.repeat(2, 30)])
    stretches = rng.integers(0, 1000, units.size)
    chosen = choose_spikes(units, stretches, 1000)
    assert np.all(np.diff(chosen) > 0)
    assert np.bincount(units[chosen]).tolist()[2] == 30
    without_rare = choose_spikes(units[:10_000], stretches[:10_000], 1000)
    assert np.bincount(units[without_rare]).tolist() == [SPIKES_PER_TEMPLATE, SPIKES_PER_TEMPLATE]
    read = np.unique(stretches[without_rare])
    assert read.size < SPIKES_PER_TEMPLATE / 5 + 15  # each holds about five spikes of either
    assert np.histogram(read, 4, (0, 1000))[0].min() >= read.size // 4 - 3


def test_means_are_those_of_the_traces_in_every_segment():
    rng = np.random.default_rng(1)
    traces = [rng.normal(0, 1, (2000, 3)).astype("float32") for _ in range(2)]
    spikes = np.zeros(7, minimum_spike_dtype)
    spikes["segment_index"] = [0, 0, 0, 1, 1, 1, 1]
    spikes["sample_index"] = [100, 700, 1500, 60, 900, 1300, 1900]
    spikes["unit_index"] = [0, 2, 0, 0, 2, 0, 2]
    for spike in spikes:
        start = spike["sample_index"] - 5
        traces[spike["segment_index"]][start : start + 20, 1] += 40 + 10 * spike["unit_index"]
    recording = si.NumpyRecording(traces, 1000.0)
    means = mean_waveforms(recording, spikes, num_units=3, num_before=5, width=20)
    assert means.shape == (3, 3, 20)
    assert not means[:, [0, 2]].any()  # where nothing stands out
    assert not means[1].any()  # no spikes
    for unit in (0, 2):
        mine = spikes[spikes["unit_index"] == unit]
        windows = [
            traces[spike["segment_index"]][spike["sample_index"] - 5 : spike["sample_index"] + 15, 1] for spike in mine
        ]
        assert_allclose(means[unit, 1], np.mean(windows, axis=0), rtol=1e-5)


def test_without_spikes_there_is_nothing_to_average():
    recording = si.NumpyRecording([np.zeros((2000, 2), "float32")], 1000.0)
    assert not mean_waveforms(recording, np.zeros(0, minimum_spike_dtype), num_units=2, num_before=5, width=20).any()
