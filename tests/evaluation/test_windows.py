"""Windows that are read at once are those that SpikeInterface reads one by one."""

import numpy as np
import pytest
import spikeinterface as si
from spikeinterface.preprocessing import bandpass_filter, highpass_filter

from si_crsae.config import CrsaeConfig
from si_crsae.evaluation import windows
from si_crsae.evaluation.windows import WindowReader, read_windows
from si_crsae.sorting.signal.preprocessing import preprocess
from si_crsae.sorting.whitening import whiten_groups

WIDTH = 60


@pytest.fixture(scope="module")
def recording():
    """16 channels as a microscope would leave them: far from zero, with slow waves, in whole numbers."""
    made, _ = si.generate_ground_truth_recording(durations=[3.0, 2.0], num_channels=16, num_units=4, seed=0)
    segments = []
    for segment in range(2):
        traces = made.get_traces(segment_index=segment)
        waves = 800 * np.sin(2 * np.pi * 3 * np.arange(len(traces)) / made.sampling_frequency)
        segments.append(np.round(10 * traces + waves[:, None] + 12_000).astype("int16"))
    wide = si.NumpyRecording(segments, made.sampling_frequency)
    wide.set_probe(made.get_probe(), in_place=True)
    return wide


def one_by_one(made, segment, starts, channel_ids):
    read = made.get_traces
    return np.stack(
        [read(segment_index=segment, start_frame=s, end_frame=s + WIDTH, channel_ids=channel_ids) for s in starts]
    )


def at_once(made, segment, starts, channel_ids):
    return np.concatenate(list(read_windows(made, segment, np.asarray(starts), channel_ids, WIDTH)))


@pytest.mark.parametrize("common_reference", ["yes", "no"])
@pytest.mark.parametrize("segment", [0, 1])
def test_windows_are_those_of_the_recording(recording, common_reference, segment):
    made = preprocess(recording, CrsaeConfig(common_reference=common_reference))
    ids = made.channel_ids[[5, 2, 9]]
    last = made.get_num_samples(segment) - WIDTH
    starts = [0, 3, 700, 20_000, 20_010, 45_000, last - 5, last]  # at the ends, too
    assert WindowReader.of(made, ids, WIDTH) is not None
    expected = one_by_one(made, segment, starts, ids)
    np.testing.assert_allclose(at_once(made, segment, starts, ids), expected, atol=2e-3)
    assert expected.std() > 0.5


def test_groups_are_read_by_themselves(recording, tmp_path):
    grouped = recording.clone()
    grouped.set_property("group", np.repeat([1, 0], 8))
    made = whiten_groups(grouped, CrsaeConfig(), folder=tmp_path)
    for places in ([1, 4], [12, 9]):
        ids = made.channel_ids[places]
        reader = WindowReader.of(made, ids, WIDTH)
        assert reader.source.get_num_channels() == 8
        starts = [900, 30_000]
        np.testing.assert_allclose(at_once(made, 0, starts, ids), one_by_one(made, 0, starts, ids), atol=2e-3)
    across = made.channel_ids[[1, 12]]
    assert WindowReader.of(made, across, WIDTH) is None
    np.testing.assert_array_equal(at_once(made, 0, [900], across), one_by_one(made, 0, [900], across))


@pytest.mark.parametrize("make", [lambda raw: raw.astype("float32"), lambda raw: highpass_filter(raw, freq_min=300.0)])
def test_a_recording_that_is_made_in_another_way_is_read_as_it_is(recording, make):
    made = make(recording)
    ids = made.channel_ids[[3]]
    assert WindowReader.of(made, ids, WIDTH) is None
    np.testing.assert_array_equal(at_once(made, 1, [100, 30_000], ids), one_by_one(made, 1, [100, 30_000], ids))


def test_few_windows_at_once_are_the_same(recording, monkeypatch):
    made = bandpass_filter(recording, dtype="float32")
    starts = np.arange(1000, 60_000, 3000)
    whole = at_once(made, 0, starts, made.channel_ids)
    monkeypatch.setattr(windows, "BATCH_BYTES", 200_000)
    batches = list(read_windows(made, 0, starts, made.channel_ids, WIDTH))
    assert len(batches) > 3
    np.testing.assert_allclose(np.concatenate(batches), whole, atol=1e-3)
