"""Claims about segments and rates that are too short, and groups that are none: passed over, or refused with advice."""

import warnings

import numpy as np
import pytest
import spikeinterface as si
from probeinterface import generate_linear_probe

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.checks import check_recording
from si_crsae.sorting.learning.initialization import find_templates, temporal_basis
from si_crsae.sorting.resources import Resources

RATE_HZ = 30000.0


def draw_traces(num_samples, times=()):
    traces = np.random.default_rng(0).standard_normal((num_samples, 4)).astype("float32")
    shape = np.exp(-0.5 * ((np.arange(90) - 30) / 4) ** 2)[:, None] * np.array([40, 20, 5, 0])
    for time in times:
        traces[time - 30 : time + 60] -= shape[: len(traces[time - 30 : time + 60])]
    return traces


def make_recording(*segments, sampling_frequency=RATE_HZ):
    recording = si.NumpyRecording(list(segments), sampling_frequency)
    probe = generate_linear_probe(4, ypitch=20)
    probe.set_device_channel_indices(np.arange(4))
    recording.set_probe(probe)
    return recording


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("peak", [30, 60])
def test_a_segment_with_peaks_at_its_ends_only_does_not_disturb_the_rest(place, peak):
    segments = [draw_traces(60000, np.arange(500, 59000, 700))]
    segments.insert(place, draw_traces(95, [peak]))
    recording, config = make_recording(*segments), CrsaeConfig()
    job_kwargs = Resources.of(config).job_kwargs
    templates = find_templates(recording, config, job_kwargs=job_kwargs)
    assert len(templates) == 1
    assert templates[0, 0].min() == pytest.approx(-40, abs=2)
    assert temporal_basis(recording, templates, config, job_kwargs=job_kwargs).isfinite().all()


def test_many_short_segments_are_told_in_one_warning():
    segments = [draw_traces(1) for _ in range(50)]
    with pytest.warns(
        UserWarning, match=r"50 of 51 segments \(0, 1, 2, 3, 4, \.\.\.\) have less than the 90"
    ) as warned:
        check_recording(make_recording(*segments, draw_traces(100000)), CrsaeConfig())
    assert len(warned) == 1


@pytest.mark.parametrize("rate", [1.0, 30.0, 100.0])
def test_a_rate_at_which_no_spike_is_seen_is_refused(rate):
    with pytest.raises(ValueError, match=rf"sampling_frequency = {rate:g} Hz: .* at least 1000 Hz are needed"):
        check_recording(make_recording(draw_traces(30000), sampling_frequency=rate), CrsaeConfig())


@pytest.mark.parametrize("groups", [[0.0, 1.0, np.nan, np.nan], np.array([0, 1, None, None], dtype=object)])
def test_channels_without_a_group_are_named(groups):
    recording = make_recording(draw_traces(30000))
    recording.set_property("group", groups)
    with pytest.raises(ValueError, match=r"property 'group' is NaN or None for channels \[2, 3\]: give every channel"):
        check_recording(recording, CrsaeConfig())


@pytest.mark.parametrize("groups", [[0, 0, 1, 1], ["a", "a", "b", "b"]])
def test_groups_of_any_type_pass(groups):
    recording = make_recording(draw_traces(100000))
    recording.set_property("group", groups)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check_recording(recording, CrsaeConfig())
