"""Claims about the folder of a run: one at a time, nothing lost, nothing wrong unseen, nothing run that is read."""

import json
import logging
import pickle
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import spikeinterface as si
import spikeinterface.sorters as ss
import torch

from si_crsae import load_history, resume_sorter
from si_crsae.config import CrsaeConfig
from si_crsae.evaluation.sorted_recording import open_run
from si_crsae.models.saving import load_saved, save_whole
from si_crsae.sorting import checks
from si_crsae.sorting.folder import load_learning_curves, load_spike_probabilities, load_units, load_whitened
from si_crsae.sorting.runs import manifest
from si_crsae.sorting.runs.lock import LOCK_FILE, FolderInUseError, locked
from si_crsae.sorting.runs.logs import log_to
from si_crsae.sorting.runs.manifest import MANIFEST_FILE, ChangedRunError, DamagedFileError
from si_crsae.sorting.runs.trust import UntrustedError
from si_crsae.sorting.signal import caching
from si_crsae.sorting.signal.caching import cache
from si_crsae.sorting.sorter import CrsaeSorter
from si_crsae.sorting.threads import one_thread_per_tile
from si_crsae.widgets.view_models.curation_file import load_curation, save_curation
from si_crsae.widgets.view_models.curation_state import CurationState, remove

DIE_WITH_THE_LOCK = """
import os, sys, pathlib
from si_crsae.sorting.runs.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    os._exit(0)
"""
GROUP = "sorter_output/stages/group_0"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run on 3 s of 4 channels; its recording lies beside it."""
    folder = tmp_path_factory.mktemp("finished")
    recording, _ = si.generate_ground_truth_recording(durations=[3.0], num_channels=4, num_units=2, seed=0)
    recording = recording.save(folder=folder / "recording", progress_bar=False)
    ss.run_sorter("crsae", recording, folder=folder / "run", spike_probabilities=True, num_rounds=1)
    return folder / "run"


@pytest.fixture
def run(finished, tmp_path):
    """A copy of a finished run, to be spoiled."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def expected(finished):
    return CrsaeSorter.get_result_from_folder(finished).to_spike_vector()


@pytest.fixture
def recording(finished):
    return si.load(finished.parent / "recording")


def contents(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[:40])


def exchange(path):
    np.savez(path, atoms=np.zeros(3)) if path.suffix == ".npz" else np.save(path, np.zeros(3))


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# ---- one at a time


def test_a_second_one_is_told_who_works_in_the_folder(tmp_path):
    with locked(tmp_path), ThreadPoolExecutor(1) as pool:
        second = pool.submit(lambda: locked(tmp_path).__enter__())
        with pytest.raises(FolderInUseError, match=r"is in use: process \d+ \(this one\) on .* works in it since 20"):
            second.result()
    with pytest.raises(RuntimeError, match="half-way"), locked(tmp_path):
        raise RuntimeError("half-way")
    with locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_dead_process_is_taken_over_by_one_only(tmp_path):
    subprocess.run([sys.executable, "-c", DIE_WITH_THE_LOCK, tmp_path], check=True)
    start, all_tried, won = threading.Barrier(6), threading.Barrier(6), []

    def contend():
        start.wait()
        try:
            with locked(tmp_path):
                won.append(1)
                all_tried.wait()
        except FolderInUseError:
            all_tried.wait()

    with pytest.warns(UserWarning, match="has ended without finishing; its lock is taken over"):
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda _: contend(), range(6)))
    assert won == [1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "match"), [(None, "on elsewhere works in it"), ("", "does not say who works")])
def test_a_lock_of_another_machine_or_of_nobody_is_respected(tmp_path, text, match):
    with locked(tmp_path):
        lock = json.loads((tmp_path / LOCK_FILE).read_text()) | {"host": "elsewhere"}
    (tmp_path / LOCK_FILE).write_text(json.dumps(lock) if text is None else text)
    with pytest.raises(FolderInUseError, match=match) as failure, locked(tmp_path):
        pass
    assert f"delete {tmp_path / LOCK_FILE}" in str(failure.value) or "delete this file" in str(failure.value)


def test_a_run_that_goes_on_is_neither_resumed_nor_removed(run, recording):
    (run / GROUP / "clean.npz").unlink()
    with locked(run):
        before = contents(run)
        with pytest.raises(FolderInUseError, match="is in use"):
            resume_sorter(run)
        with pytest.raises(FolderInUseError, match="is in use"):
            ss.run_sorter("crsae", recording, folder=run, remove_existing_folder=True)
        with pytest.raises(FolderInUseError, match="is in use"):
            CrsaeSorter.run_from_folder(run, raise_error=True, verbose=False)
        assert contents(run) == before


# ---- what was written


def test_a_finished_run_is_returned_and_left_as_it_is(run, expected):
    before = contents(run)
    assert np.array_equal(resume_sorter(run).to_spike_vector(), expected)
    assert contents(run) == before


@pytest.mark.parametrize("spoil", [flip, truncate, exchange])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("code.npz", load_units),
        ("dictionary.npz", load_units),
        ("spike_probabilities.npz", load_spike_probabilities),
        ("learning_curve.npz", load_learning_curves),
        ("history.npz", load_history),
        ("sorting/spikes.npy", CrsaeSorter.get_result_from_folder),
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(run, spoil, name, read):
    spoil(run / "sorter_output" / name)
    with pytest.raises(DamagedFileError, match="damaged or exchanged; call si_crsae.resume_sorter") as failure:
        read(run)
    assert name in str(failure.value)


@pytest.mark.parametrize("spoil", [truncate, exchange])
def test_a_damaged_file_of_a_run_before_manifests_is_named_too(run, spoil):
    (run / "sorter_output" / MANIFEST_FILE).unlink()
    assert load_units(run).num_units > 0
    assert load_spike_probabilities(run).probability.size > 0
    for name, read in {"code.npz": load_units, "spike_probabilities.npz": load_spike_probabilities}.items():
        spoil(run / "sorter_output" / name)
        with pytest.raises(DamagedFileError, match=f"{name} cannot be read as what a run writes there"):
            read(run)


@pytest.mark.parametrize("with_manifest", [True, False])
def test_a_damaged_stage_is_computed_again_with_those_after_it(run, expected, with_manifest):
    if not with_manifest:
        (run / "sorter_output" / MANIFEST_FILE).unlink()
        (run / "spikeinterface_log.json").unlink()
    kept = (run / GROUP / "encode.npz").stat().st_mtime_ns
    truncate(run / GROUP / "clean.npz")
    with pytest.warns(UserWarning, match="clean.npz .*: this stage and those after it are computed again"):
        sorting = resume_sorter(run)
    assert np.array_equal(sorting.to_spike_vector(), expected)
    assert (run / GROUP / "encode.npz").stat().st_mtime_ns == kept
    assert manifest.is_complete(run / "sorter_output")


def test_damaged_results_are_written_again(run, expected):
    flip(run / "sorter_output" / "code.npz")
    assert np.array_equal(resume_sorter(run).to_spike_vector(), expected)
    assert load_units(run).num_units > 0


def test_edited_parameters_are_refused_where_they_decide(run):
    path = run / "spikeinterface_params.json"
    parameters = json.loads(path.read_text())["sorter_params"]
    edit(path, sorter_params=parameters | {"device": "cpu", "job_kwargs": {"n_jobs": 1}})
    resume_sorter(run)
    before = (run / "spikeinterface_log.json").read_bytes()
    edit(path, sorter_params=parameters | {"detect_threshold": 6.0})
    with pytest.raises(ChangedRunError, match=r"(?s)put them back in .*detect_threshold = 6.0, it began with 5.0"):
        resume_sorter(run)
    assert (run / "spikeinterface_log.json").read_bytes() == before


def test_another_recording_is_refused_with_what_differs(run, recording):
    before = contents(run)
    others = {
        r"channel_ids = '\w+' \(it was '\w+'\)": recording.rename_channels([f"{n}_new" for n in range(4)]),
        r"num_samples = \d+ \(it was \d+\)": recording.frame_slice(0, 30000),
        r"traces differ at \d+ of 64 places looked at, first in segment 0": si.NumpyRecording(
            recording.get_traces()[::-1], recording.sampling_frequency, channel_ids=recording.channel_ids
        ),
    }
    for match, other in others.items():
        for opened in (resume_sorter, open_run, load_whitened):
            with pytest.raises(ChangedRunError, match=match):
                opened(run, recording=other)
    assert contents(run) == before


def test_stages_of_another_version_are_computed_again(run, expected, caplog):
    edit(run / "sorter_output" / MANIFEST_FILE, version="0.0.9", complete=False)
    written = (run / GROUP / "learn.npz").stat().st_mtime_ns
    assert np.array_equal(resume_sorter(run).to_spike_vector(), expected)
    assert (run / GROUP / "learn.npz").stat().st_mtime_ns > written
    assert "stages of si_crsae 0.0.9 are computed anew" in (run / "sorter_output" / "crsae.log").read_text()


# ---- nothing is lost


def test_results_that_cannot_be_written_leave_the_old_ones(run, monkeypatch):
    (run / GROUP / "clean.npz").unlink()
    results = ["code.npz", "dictionary.npz", "sorting/spikes.npy"]
    before = {name: (run / "sorter_output" / name).read_bytes() for name in results}
    monkeypatch.setattr(si.NumpySorting, "save", half_a_folder)
    with pytest.raises(ss.utils.SpikeSortingError, match="could not save the results"):
        resume_sorter(run)
    assert (run / "sorter_output" / "sorting" / "spikes.npy").read_bytes() == before["sorting/spikes.npy"]
    monkeypatch.undo()
    monkeypatch.setattr(np, "savez", write_half)
    with pytest.raises(ss.utils.SpikeSortingError, match="could not save the results"):
        resume_sorter(run)
    assert {name: (run / "sorter_output" / name).read_bytes() for name in results} == before
    assert list(run.rglob("*.part*")) == []


def write_half(path, **_):
    path.write_bytes(b"half")
    raise OSError(28, "No space left on device")


def half_a_folder(self, folder):
    folder.mkdir()
    (folder / "spikes.npy").write_bytes(b"half")
    raise OSError(28, "No space left on device")


def test_models_and_curations_that_cannot_be_written_leave_the_old_ones(tmp_path, monkeypatch):
    sorting = si.NumpySorting.from_unit_dict([{1: np.array([5]), 2: np.array([7])}], 1000.0)
    state = CurationState.of(sorting)
    save_curation(state, tmp_path / "curation.json")
    save_whole({"a": 1}, tmp_path / "model.pt")

    monkeypatch.setattr(torch, "save", lambda _, file: write_half(Path(file.name)))
    monkeypatch.setattr(Path, "write_text", lambda path, *_, **__: write_half(path))
    with pytest.raises(OSError, match="No space left"):
        save_whole({"a": 2}, tmp_path / "model.pt")
    with pytest.raises(OSError, match="No space left"):
        save_curation(remove(state, [1]), tmp_path / "curation.json")
    assert load_curation(tmp_path / "curation.json", sorting) == state
    assert load_saved(tmp_path / "model.pt", entries=["a"], what="number") == {"a": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curation.json", "model.pt"]


# ---- recordings that moved


@pytest.fixture
def moved(run, recording, tmp_path):
    """The run, whose recording is not where it was, and the recording where it is now."""
    shutil.copytree(recording._kwargs["folder_path"], tmp_path / "moved")
    path = run / "spikeinterface_recording.json"
    noted = json.loads(path.read_text())
    edit(path, kwargs=noted["kwargs"] | {"folder_path": str(tmp_path / "nowhere")}, relative_paths=False)
    return run, si.load(tmp_path / "moved")


def test_a_finished_run_whose_recording_moved_is_returned(moved, expected):
    run, recording = moved
    before = contents(run)
    with pytest.warns(UserWarning, match="cannot be read from where it was, the sorting is without it"):
        assert np.array_equal(resume_sorter(run).to_spike_vector(), expected)
    assert resume_sorter(run, recording=recording).has_recording()
    assert load_whitened(run, recording=recording).get_num_channels() == 4
    assert open_run(run, recording=recording).missing == ()
    assert contents(run) == before


def test_a_run_whose_recording_moved_goes_on_with_it_only(moved, expected):
    run, recording = moved
    (run / GROUP / "clean.npz").unlink()
    before = contents(run)
    with pytest.raises(FileNotFoundError, match="cannot be read from where it was .*: give it as recording"):
        resume_sorter(run)
    assert contents(run) == before
    assert np.array_equal(resume_sorter(run, recording=recording).to_spike_vector(), expected)


# ---- trust


POPEN = {"class": "subprocess.Popen", "module": "spikeinterface", "version": "0", "annotations": {}, "properties": {}}


def describe_evil(marker, module):
    touch = [sys.executable, "-c", f"open({str(marker)!r}, 'w')"]
    evil = POPEN | {"kwargs": {"args": touch}, "relative_paths": False, "class": module}
    nested = {"class": "spikeinterface.core.ChannelSliceRecording", "kwargs": {"parent_recording": evil}}
    return [
        evil,
        evil | nested,
        evil | {"kwargs": {"x": [{"deep": evil}]}, "class": "spikeinterface.core.BaseRecording"},
    ]


@pytest.mark.parametrize(
    "name",
    [
        "subprocess.Popen",
        "spikeinterface.sorters.utils.shellscript.Popen",
        "spikeinterface.core.load",
        "spikeinterface.extractors.phykilosortextractors.PhySortingExtractor",
    ],
)
def test_what_a_description_names_is_not_run(run, tmp_path, name):
    marker = tmp_path / "marker"
    for evil in describe_evil(marker, name):
        for path in (run / "spikeinterface_recording.json", run / GROUP / "whitened_recording.json"):
            kept = path.read_text()
            path.write_text(json.dumps(evil))
            with pytest.raises(UntrustedError, match=f"names {name}, which is no recording of .*say trust=True"):
                load_whitened(run)
            path.write_text(kept)
    (run / "sorter_output" / "sorting" / "si_folder.json").write_text(json.dumps(evil))
    (run / "sorter_output" / MANIFEST_FILE).unlink()
    with pytest.raises(UntrustedError, match=f"names {name}"):
        resume_sorter(run)
    assert not marker.exists()


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def test_pickles_are_not_read(run, tmp_path, recording):
    marker = tmp_path / "marker"
    (run / "spikeinterface_recording.json").unlink()
    (run / "spikeinterface_recording.pickle").write_bytes(pickle.dumps(Evil(marker)))
    (run / GROUP / "clean.npz").unlink()
    for opened in (resume_sorter, open_run, load_whitened):
        with pytest.raises(UntrustedError, match="is a pickle, which runs whatever .*give .* as recording, or"):
            opened(run)
    recording.dump_to_pickle(run / "spikeinterface_recording.pickle")
    assert open_run(run, trust=True).whitened is not None
    np.save(run / "sorter_output" / "sorting" / "properties" / "x.npy", np.array([Evil(marker)]), allow_pickle=True)
    with pytest.raises(UntrustedError, match="x.npy is damaged, or holds Python objects"):
        CrsaeSorter.get_result_from_folder(run)
    assert not marker.exists()


def test_a_recording_that_this_process_pickled_is_sorted(tmp_path):
    recording, _ = si.generate_ground_truth_recording(durations=[3.0], num_channels=2, num_units=1, seed=0)
    recording = si.load(recording.save(folder=tmp_path / "recording", progress_bar=False).to_dict())
    recording.check_serializability = lambda kind: kind == "pickle"
    sorting = ss.run_sorter("crsae", recording, folder=tmp_path / "run", num_rounds=0)
    assert (tmp_path / "run" / "spikeinterface_recording.pickle").is_file()
    assert sorting.has_recording()


# ---- caches


JOBS = {"pool_engine": "process", "n_jobs": 2, "mp_context": "fork", "progress_bar": False}


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")
def test_shared_memory_is_given_back(recording, tmp_path, monkeypatch):
    config = CrsaeConfig(cache_preprocessing_mode="memory")
    cached = cache(recording, config, folder=tmp_path / "cache", job_kwargs=JOBS)
    np.testing.assert_array_equal(cached.recording.get_traces(), recording.get_traces())
    names = [block.name for block in cached.blocks]
    cached.close()
    cached.close()
    made = []
    monkeypatch.setattr(caching, "SharedMemory", lambda *a, **k: made.append(SharedMemory(*a, **k)) or made[-1])
    monkeypatch.setattr(type(recording), "get_traces", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cache(recording, config, folder=tmp_path / "cache", job_kwargs=JOBS)
    assert made
    for name in [*names, *(block.name for block in made)]:
        with pytest.raises(FileNotFoundError):
            SharedMemory(name)


@pytest.mark.parametrize("mode", ["auto", "memory", "folder", "zarr", "no-cache"])
def test_a_cache_holds_the_signal_and_leaves_nothing(recording, tmp_path, mode):
    config = CrsaeConfig(cache_preprocessing_mode=mode)
    cached = cache(recording, config, folder=tmp_path / "cache", job_kwargs=JOBS | {"pool_engine": "thread"})
    np.testing.assert_array_equal(cached.recording.get_traces(), recording.get_traces())
    np.testing.assert_array_equal(cached.recording.channel_ids, recording.channel_ids)
    np.testing.assert_array_equal(cached.recording.get_channel_locations(), recording.get_channel_locations())
    assert cached.blocks == []
    cached.close()
    assert list(tmp_path.iterdir()) == []


def test_auto_goes_to_the_folder_where_shared_memory_is_small(recording, tmp_path, monkeypatch):
    monkeypatch.setattr(caching, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(caching.shutil, "disk_usage", lambda _: SimpleNamespace(free=64))
    cached = cache(recording, CrsaeConfig(), folder=tmp_path / "cache", job_kwargs=JOBS)
    assert cached.blocks == []
    assert (tmp_path / "cache").is_dir()
    cached.close()
    config = CrsaeConfig(cache_preprocessing_mode="memory", job_kwargs=JOBS)
    with pytest.raises(ValueError, match=r"'memory' needs 0.\d+ GB, 6.4e-08 GB of shared memory .* are free"):
        cache(recording, config, folder=tmp_path / "cache", job_kwargs=JOBS)
    with pytest.raises(ValueError, match="'memory' needs"):
        checks.check_recording(recording, config, folder=tmp_path)


# ---- two runs of one process


def test_overlapping_runs_restore_the_threads(restored_threads):
    torch.set_num_threads(2)
    entered, left = threading.Event(), threading.Event()

    def second():
        with one_thread_per_tile():
            entered.set()
            left.wait()
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        with one_thread_per_tile():
            later = pool.submit(second)
            entered.wait()
            with one_thread_per_tile():
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 1
        left.set()
        assert (torch.get_num_threads(), later.result()) == (2, 2)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 2


def test_logs_of_two_threads_do_not_mix(tmp_path):
    logger = logging.getLogger("si_crsae.sorting.pipeline")
    package = logging.getLogger("si_crsae")
    before = (package.level, list(package.handlers))
    both = threading.Barrier(2)

    def write(name):
        with log_to(tmp_path / name, verbose=False):
            both.wait()
            logger.info("of %s", name)
            both.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, "ab"))
    assert [(tmp_path / name).read_text().split()[1:] for name in "ab"] == [["of", "a"], ["of", "b"]]
    assert (package.level, list(package.handlers)) == before


@pytest.mark.slow
def test_two_runs_in_threads_find_what_one_finds(tiny_recording, tmp_path):
    def sort(name):
        return ss.run_sorter("crsae", tiny_recording, folder=tmp_path / name).to_spike_vector()

    alone = sort("alone")
    with ThreadPoolExecutor(2) as pool:
        for spikes in pool.map(sort, ["first", "second"]):
            assert np.array_equal(spikes, alone)
