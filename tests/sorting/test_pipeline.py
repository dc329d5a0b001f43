"""Claims about how a run uses threads, traces and what is complete."""

import numpy as np
import pytest
import spikeinterface as si
import torch
from spikeinterface.core import NumpyRecording
from spikeinterface.core.generate import generate_recording

from si_crsae.config import CrsaeConfig
from si_crsae.evaluation import generate_case
from si_crsae.sorting import pipeline
from si_crsae.sorting.pipeline import GroupSorting, Resources
from si_crsae.sorting.recording import Tile, plan_tiles, read_tile


def resources(**job_kwargs):
    return Resources.of(CrsaeConfig(job_kwargs=job_kwargs), verbose=False)


def test_without_a_number_of_jobs_torch_says_how_many_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert resources().num_threads == 7
    assert resources().job_kwargs["n_jobs"] == 1


def test_the_number_of_jobs_is_obeyed(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert resources(n_jobs=1).num_threads == 1
    num_cores = resources(n_jobs=-1).job_kwargs["n_jobs"]
    assert resources(n_jobs=-1).num_threads == num_cores


def test_a_global_number_of_jobs_is_obeyed(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    monkeypatch.setattr("spikeinterface.core.job_tools.get_usable_cpu_count", lambda: 4)
    si.set_global_job_kwargs(n_jobs=3)
    try:
        assert resources().num_threads == 3
    finally:
        si.set_global_job_kwargs(n_jobs=1)


def test_only_many_channels_are_filtered_in_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    few, many = (generate_recording(num_channels=count, durations=[1.0]) for count in (4, 32))
    assert resources().filter_kwargs(few)["n_jobs"] == 1
    assert resources().filter_kwargs(many)["n_jobs"] == 7


@pytest.mark.parametrize(("num_channels", "longest"), [(1, 30000), (32, 30000), (64, 16384), (384, 4096)])
def test_tiles_cover_a_segment_and_get_shorter_with_many_channels(num_channels, longest):
    recording = generate_recording(num_channels=num_channels, durations=[1.5, 0.1])
    tiles = plan_tiles(recording)
    assert max(tile.end - tile.start for tile in tiles) == longest
    for segment, length in enumerate((45000, 3000)):
        edges = [(tile.start, tile.end) for tile in tiles if tile.segment_index == segment]
        assert [0, *(end for _, end in edges)] == [*(start for start, _ in edges), length]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_tile_with_a_value_that_is_no_number_is_refused(value):
    traces = np.random.default_rng(0).standard_normal((1000, 2)).astype("float32")
    traces[700, 1] = value
    recording = NumpyRecording(traces, 30000.0)
    first = read_tile(recording, Tile(segment_index=0, start=0, end=500), 100)
    np.testing.assert_array_equal(first, np.pad(traces[:600].T, ((0, 0), (100, 0))))
    with pytest.raises(ValueError, match="segment 0 are NaN or infinite between samples 400 and 1000"):
        read_tile(recording, Tile(segment_index=0, start=500, end=1000), 100)


def test_nothing_is_filtered_for_stages_that_are_complete(tmp_path, monkeypatch):
    recording, truth = generate_case("mono", duration_s=10.0)
    arguments = {"group": recording, "folder": tmp_path, "config": CrsaeConfig(), "resources": resources()}
    first = GroupSorting(**arguments).complete()
    monkeypatch.delattr(pipeline, "preprocess")
    second = GroupSorting(**arguments).complete()
    assert first.code.sample_index.size == pytest.approx(truth.count_total_num_spikes(), rel=0.05)
    np.testing.assert_array_equal(first.code.sample_index, second.code.sample_index)
