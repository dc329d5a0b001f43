"""Claims about how a run uses threads, traces and what is complete."""

import shutil
from functools import partial
from itertools import product

import numpy as np
import pytest
import spikeinterface as si
import torch
from spikeinterface.core import NumpyRecording
from spikeinterface.core.generate import generate_recording

from si_crsae.config import CrsaeConfig
from si_crsae.core.tables import to_arrays
from si_crsae.evaluation import generate_case
from si_crsae.sorting import group, group_signal
from si_crsae.sorting.group import GroupSorting
from si_crsae.sorting.resources import Resources
from si_crsae.sorting.signal.recording import Tile, plan_tiles, read_tile

# Every stage, in order, and its file.
FILES = {
    "excluded": "excluded",
    "initial": "initialize",
    "learned": "learn",
    "encoded": "encode",
    "cleaned": "clean",
    "posterior": "posterior",
}
FUNCTIONS = (
    "find_artifacts",
    "filter_traces",
    "cache",
    "find_templates",
    "Learner",
    "encode_recording",
    "encode_and_weigh",
    "clean_code",
    "infer_posterior",
)


def resources(**job_kwargs):
    return Resources.of(CrsaeConfig(job_kwargs=job_kwargs))


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
    with pytest.raises(ValueError, match=r"first in segment 0 at 0.0233 s \(sample 700\) on channel 1"):
        read_tile(recording, Tile(segment_index=0, start=500, end=1000), 100)


def test_artifacts_in_a_tile_are_cut_off_beyond_any_spike():
    traces = np.random.default_rng(0).standard_normal((1000, 2)).astype("float32")
    traces[[300, 700], 1] = 5e4, -1e6
    tile = read_tile(NumpyRecording(traces, 30000.0), Tile(segment_index=0, start=0, end=1000), 0)
    np.testing.assert_array_equal(tile, np.clip(traces.T, -1e4, 1e4))


class Recorder:
    """Notes which of the functions behind the stages are called."""

    def __init__(self, monkeypatch):
        self.called = []
        for module, name in product((group_signal, group), FUNCTIONS):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, partial(self.call, name, getattr(module, name)))

    def call(self, name, function, *args, **kwargs):
        self.called.append(name)
        return function(*args, **kwargs)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "weighed"])
def complete(request, tmp_path_factory):
    """A group that is sorted, without or with probabilities: (arguments of GroupSorting, result)."""
    recording, _ = generate_case("mono", duration_s=10.0)
    arguments = {
        "group": recording,
        "folder": tmp_path_factory.mktemp("stages"),
        "config": CrsaeConfig(spike_probabilities=request.param),
        "resources": resources(),
    }
    return arguments, GroupSorting(**arguments).complete()


def copy_of(complete, folder, *, missing):
    """Return a sorting whose folder holds the stages that are complete, but for the files of some."""
    arguments, _ = complete
    shutil.copytree(arguments["folder"], folder, dirs_exist_ok=True)
    for stage in missing:
        (folder / f"{FILES[stage]}.npz").unlink(missing_ok=True)
    return GroupSorting(**arguments | {"folder": folder})


def assert_same(first, second):
    one, two = to_arrays(first), to_arrays(second)
    assert one.keys() == two.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name], strict=True)


@pytest.mark.parametrize("stage", FILES)
def test_a_stage_that_is_complete_asks_for_nothing_else(complete, tmp_path, monkeypatch, stage):
    is_weighed = complete[0]["config"].spike_probabilities
    sorting = copy_of(complete, tmp_path, missing=[other for other in FILES if other != stage])
    recorder = Recorder(monkeypatch)
    assert (getattr(sorting, stage) is not None) == (is_weighed or stage != "posterior")
    assert recorder.called == []
    assert {path.name for path in tmp_path.glob("*.npz")} <= {f"{FILES[stage]}.npz"}


@pytest.mark.parametrize("first_missing", FILES)
def test_a_sorting_goes_on_with_the_first_stage_that_is_missing(complete, tmp_path, monkeypatch, first_missing):
    """It finds what it found without interruption, and leaves alone what is complete."""
    is_weighed, place = complete[0]["config"].spike_probabilities, list(FILES).index(first_missing)
    sorting = copy_of(complete, tmp_path, missing=list(FILES)[place:])
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
    recorder = Recorder(monkeypatch)
    result = sorting.complete()
    encode = "encode_and_weigh" if is_weighed else "encode_recording"
    residual = ["cache"]  # in which units are sought that were missed
    stages = [["find_artifacts"], ["find_templates"], ["Learner", *residual], [encode], ["clean_code"]]
    stages += [["infer_posterior"]] * is_weighed
    signals = ["filter_traces", "cache"] if place <= list(FILES).index("encoded") else []
    assert recorder.called == [*sum(stages[place:1], []), *signals, *sum(stages[max(place, 1) :], [])]
    assert_same(result.learned, complete[1].learned)
    assert_same(result.code, complete[1].code)
    if is_weighed:
        assert_same(result.posterior, complete[1].posterior)
    assert written == {path: path.stat().st_mtime_ns for path in written}
    assert len(list(tmp_path.glob("*.npz"))) == len(stages)


def test_a_model_that_an_earlier_version_has_saved_is_read(complete, tmp_path):
    sorting = copy_of(complete, tmp_path, missing=[])
    arrays = to_arrays(sorting.learned)
    for name in ("channel_ids", "waveforms"):
        del arrays[name]
    np.savez(tmp_path / "learn.npz", **arrays)
    old = copy_of(complete, tmp_path / "again", missing=[])
    shutil.copy(tmp_path / "learn.npz", old.folder)
    assert_same(old.learned.model, complete[1].learned.model)
    assert old.learned.curve.versions() == []
    assert_same(old.complete().code, complete[1].code)


def test_a_sorting_without_a_template_has_neither_atoms_nor_code(complete, tmp_path):
    sorting = copy_of(complete, tmp_path, missing=FILES)
    nothing = np.zeros((0, 1, 60), "float32")
    np.savez(tmp_path / "initialize.npz", templates=nothing)
    result = sorting.complete()
    assert result.learned.model.dictionary.num_atoms == result.learned.curve.num_atoms.size == 0
    assert result.code is result.posterior is None
    assert {path.stem for path in tmp_path.glob("*.npz")} == {"excluded", "initialize", "learn"}
    assert_same(GroupSorting(**complete[0] | {"folder": tmp_path}).learned, result.learned)
