"""Claims about the whitened traces of a recording of several groups."""

import logging

import numpy as np
import pytest
import spikeinterface as si
from spikeinterface.core import NumpyRecording

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.signal.preprocessing import preprocess
from si_crsae.sorting.signal.recording import with_one_probe
from si_crsae.sorting.whitening import (
    WHITENED_FILE,
    NothingUsableError,
    join_groups,
    save_whitened,
    whiten_groups,
)


@pytest.fixture(scope="module")
def recording(tiny_folder):
    """Four channels whose two groups take turns."""
    recording = si.load(tiny_folder / "recording")
    recording.set_property("group", [1, 0, 1, 0])
    return recording


def test_every_group_is_whitened_by_itself_and_channels_keep_their_order(recording, tmp_path):
    whitened = whiten_groups(recording, CrsaeConfig(), folder=tmp_path)
    assert whitened.channel_ids.tolist() == recording.channel_ids.tolist()
    for group, part in recording.split_by("group").items():
        alone = preprocess(with_one_probe(part), CrsaeConfig()).get_traces()
        is_part = recording.get_property("group") == group
        np.testing.assert_allclose(whitened.get_traces()[:, is_part], alone, atol=1e-4)


def test_groups_are_joined_in_the_order_of_the_recording(recording):
    parts = [recording.select_channels(recording.channel_ids[chosen]) for chosen in ([3], [0, 2], [1])]
    joined = join_groups(recording, parts)
    np.testing.assert_array_equal(joined.get_traces(), recording.get_traces())
    chosen = recording.channel_ids[[2, 0, 3]]
    np.testing.assert_array_equal(
        joined.get_traces(channel_ids=chosen, start_frame=70, end_frame=900),
        recording.get_traces(channel_ids=chosen, start_frame=70, end_frame=900),
    )
    np.testing.assert_array_equal(joined.get_channel_locations(), recording.get_channel_locations())
    assert join_groups(recording, parts[:1]) is parts[0]


def test_channels_that_are_constant_are_left_out_and_there_must_be_others(recording, tmp_path):
    traces = recording.get_traces().copy()
    traces[:, [0, 3]] = 7
    spoiled = NumpyRecording([traces], recording.sampling_frequency, channel_ids=recording.channel_ids)
    spoiled.set_probe(recording.get_probe())
    with pytest.warns(UserWarning, match=r"channels \['0', '3'\] are constant"):
        found = whiten_groups(spoiled, CrsaeConfig(), folder=tmp_path)
    assert found.channel_ids.tolist() == recording.channel_ids[[1, 2]].tolist()
    silent = NumpyRecording([np.zeros_like(traces)], recording.sampling_frequency)
    silent.set_probe(recording.get_probe())
    with (
        pytest.warns(UserWarning, match="are constant"),
        pytest.raises(NothingUsableError, match="no channel is usable: all are constant"),
    ):
        whiten_groups(silent, CrsaeConfig(), folder=tmp_path)


def test_what_was_noted_makes_the_same_traces_again(recording, tmp_path, caplog):
    whitened = whiten_groups(recording, CrsaeConfig(), folder=tmp_path)
    save_whitened(whitened, tmp_path)
    again = si.load(tmp_path / WHITENED_FILE)
    assert again.channel_ids.tolist() == whitened.channel_ids.tolist()
    np.testing.assert_allclose(again.get_traces(end_frame=3000), whitened.get_traces(end_frame=3000), atol=1e-4)
    (tmp_path / "memory").mkdir()
    with caplog.at_level(logging.WARNING, logger="si_crsae"):
        save_whitened(NumpyRecording([recording.get_traces()], 30_000.0), tmp_path / "memory")
    assert "was not written: the recording exists in memory only" in caplog.text
    assert list((tmp_path / "memory").iterdir()) == []
