"""Claims about parts of recordings: the user's own is left as it was."""

import numpy as np
import pytest
import spikeinterface as si

from si_crsae.sorting.signal.recording import select_channels, select_segments


def make_hybrid(num_segments):
    plain = si.generate_recording(durations=[0.2] * num_segments, num_channels=4, sampling_frequency=30000.0, seed=0)
    train = si.NumpySorting.from_unit_dict([{"a": np.arange(500, 5500, 1711)}] * num_segments, 30000.0)
    shape = -50 * np.hanning(90)[None, :, None] * np.ones((1, 1, 4))
    return si.inject_templates(train, shape, nbefore=45, parent_recording=plain)


def make_generated(num_segments):
    return si.generate_recording(durations=[0.2] * num_segments, num_channels=4, sampling_frequency=30000.0, seed=0)


@pytest.mark.parametrize("make", [make_hybrid, make_generated])
@pytest.mark.parametrize(("num_segments", "chosen"), [(1, [0]), (2, [0, 1]), (3, [0, 2])])
def test_selected_segments_leave_the_recording_as_it_was(make, num_segments, chosen):
    recording = make(num_segments)
    expected = [make(num_segments).get_traces(segment_index=segment) for segment in range(num_segments)]
    selected = select_segments(recording, chosen)
    for index, segment in enumerate(chosen):
        np.testing.assert_array_equal(selected.get_traces(segment_index=index), expected[segment])
    del selected
    for segment in range(num_segments):
        np.testing.assert_array_equal(recording.get_traces(segment_index=segment), expected[segment])


def test_all_channels_are_the_recording_itself():
    recording = make_hybrid(1)
    assert select_channels(recording, np.ones(4, bool)) is recording
    some = select_channels(recording, np.array([True, False, True, False]))
    np.testing.assert_array_equal(some.get_traces(), recording.get_traces()[:, ::2])
