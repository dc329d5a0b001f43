"""What Windows and macOS do otherwise, emulated: open files, names, long paths, processes that are not forked."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import like_windows
import numpy as np
import pytest
import spikeinterface as si
import spikeinterface.sorters as ss

import si_crsae
from si_crsae import files
from si_crsae.files import remove_file, written_whole
from si_crsae.sorting.runs.lock import locked

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells which files are open, and is emulated on")

ROOT = Path(__file__).parents[1]
FAST = {"num_rounds": 1, "learning_duration_s": 5.0, "split_units": False, "find_missed_units": False}
# Of Windows: what no name may have, what names may not be, with any suffix, and how long a path may be.
FORBIDDEN = set('<>:"/\\|?*') | {chr(code) for code in range(32)}
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
LONGEST_PATH = 259
LONG_NAME = "Mäuse & Größen, " + "x" * 226  # 250 bytes in UTF-8 are below the 255 that Linux allows
WITHOUT_FORK = """
import os, sys
for name in ("fork", "forkpty", "getuid", "geteuid", "getgid", "getpgid", "fchmod"):
    delattr(os, name)
import multiprocessing
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    import spikeinterface as si, spikeinterface.sorters as ss
    recording = si.load(sys.argv[1])
    ss.run_sorter("crsae", recording, folder=sys.argv[2], job_kwargs={"n_jobs": 2}, **FAST)
"""


@pytest.fixture
def reading():
    """Function that keeps a file open for a while, as a virus scanner does."""
    threads = []

    def read_for(path, duration_s):
        file = path.open("rb")

        def close_later():
            time.sleep(duration_s)
            file.close()

        threads.append(threading.Thread(target=close_later))
        threads[-1].start()

    yield read_for
    for thread in threads:
        thread.join()


# ---- open files


def test_a_file_that_is_read_for_a_moment_is_replaced_and_removed(tmp_path, reading):
    path = tmp_path / "units.json"
    path.write_text("old", encoding="utf8")
    with like_windows.open_files_stay() as refused:
        reading(path, 0.15)
        with written_whole(path) as unfinished:
            unfinished.write_text("new", encoding="utf8")
        assert path.read_text(encoding="utf8") == "new"
        reading(path, 0.15)
        remove_file(path)
    assert not path.exists()
    assert len(refused) >= 2


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_stays_open_is_kept_whole_and_told_with_what_to_do(tmp_path, kind):
    path = tmp_path / "sorting"
    opened = path
    if kind == "folder":
        path.mkdir()
        opened = path / "spikes.npy"
    opened.write_bytes(b"old")
    with like_windows.open_files_stay(), opened.open("rb"):
        with pytest.raises(PermissionError, match="sorting cannot be replaced.*notebook.*close that"):
            with written_whole(path) as unfinished:
                unfinished.mkdir() if kind == "folder" else unfinished.write_bytes(b"new")
    assert opened.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["sorting"]


def test_what_went_wrong_is_told_even_where_the_half_file_is_still_open(tmp_path):
    kept_open = []

    def write_half():
        with written_whole(tmp_path / "traces.npy") as unfinished:
            kept_open.append(unfinished.open("wb"))
            raise RuntimeError("the true reason")

    with like_windows.open_files_stay(), pytest.raises(RuntimeError, match="the true reason"):
        write_half()
    kept_open[0].close()
    assert len(list(tmp_path.iterdir())) == 1
    files.remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_refusals_of_other_systems_are_told_at_once(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "replace", refuse)
    start = time.monotonic()
    with pytest.raises(PermissionError, match="not permitted"), written_whole(tmp_path / "a") as unfinished:
        unfinished.write_bytes(b"")
    assert time.monotonic() - start < files.PATIENCE_S / 2


def test_a_lock_that_somebody_reads_is_given_back(tmp_path, reading):
    with like_windows.open_files_stay(), locked(tmp_path):
        reading(tmp_path / "crsae.lock", 0.15)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["memory", "folder"])
def test_a_run_and_its_resumption_replace_and_remove_no_file_that_they_have_open(tiny_recording, tmp_path, mode):
    with like_windows.open_files_stay() as refused:
        made = ss.run_sorter("crsae", tiny_recording, folder=tmp_path / "run", cache_preprocessing_mode=mode, **FAST)
        (tmp_path / "run" / "sorter_output" / "stages" / "group_0" / "clean.npz").unlink()
        resumed = si_crsae.resume_sorter(tmp_path / "run")
    assert refused == []
    assert np.array_equal(made.to_spike_vector(), resumed.to_spike_vector())
    assert not (tmp_path / "run" / "sorter_output" / "cache").exists()


# ---- names and paths


def names_below(folder):
    return [path.relative_to(folder) for path in sorted(folder.rglob("*"))]


def refused_names(paths):
    """Return those that Windows, or a file system that does not tell cases apart, cannot have."""
    folded = Counter(path.as_posix().casefold() for path in paths)
    return [
        path
        for path in paths
        if folded[path.as_posix().casefold()] > 1
        or set(path.name) & FORBIDDEN
        or path.name.endswith((".", " "))
        or path.name.casefold().partition(".")[0] in RESERVED
    ]


def test_names_that_others_refuse_are_recognized():
    paths = [
        Path("a/Unit.npy"),
        Path("a/unit.npy"),
        Path("b/aux.json"),
        Path("b/12:30.log"),
        Path("b/x. "),
        Path("c/ok"),
    ]
    assert refused_names(paths) == paths[:5]


def test_every_name_in_the_repository_is_one_elsewhere():
    folders = ("si_crsae", "autoload", "benchmarks", "docs", "notebooks", "release", "tests")
    paths = [
        Path(folder) / path
        for folder in folders
        for path in names_below(ROOT / folder)
        if "__pycache__" not in path.parts and "_build" not in path.parts and "generated" not in path.parts
    ]
    assert len(paths) > 500
    assert refused_names(paths) == []


def test_every_name_of_a_run_is_one_elsewhere_and_leaves_room_for_the_folder(run_folder):
    paths = names_below(run_folder)
    assert refused_names(paths) == []
    assert max(len(str(path)) for path in paths) < LONGEST_PATH // 2


@pytest.mark.parametrize("name", ["a b", "Größe µV 日本語", "e\u0301tude", LONG_NAME, "quote's", "100%", "[1]"])
def test_files_with_any_name_appear_whole(tmp_path, name):
    path = tmp_path / name
    for text in ("one", "two"):
        with written_whole(path) as unfinished:
            unfinished.write_text(text, encoding="utf8")
        assert path.read_text(encoding="utf8") == text
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.slow
def test_a_run_in_a_folder_with_spaces_accents_and_250_characters_is_sorted_resumed_and_reported(tiny_folder, tmp_path):
    pytest.importorskip("anywidget")
    folder = tmp_path / "José's data 日本" / LONG_NAME
    folder.mkdir(parents=True)
    recording = si.load(tiny_folder / "recording").save(folder=folder / "the recording", progress_bar=False)
    command = [sys.executable, "-m", "si_crsae"]
    settings = [f"--set={name}={json.dumps(value)}" for name, value in FAST.items()]
    subprocess.run([*command, "sort", folder / "the recording", folder / "the run", *settings, "--quiet"], check=True)
    (folder / "the run" / "sorter_output" / "stages" / "group_0" / "clean.npz").unlink()
    resumed = si_crsae.resume_sorter(folder / "the run")
    expected = ss.run_sorter("crsae", recording, folder=tmp_path / "plain", **FAST)
    assert np.array_equal(resumed.to_spike_vector(), expected.to_spike_vector())
    page = si_crsae.report(folder / "the run", folder / f"{LONG_NAME[:-5]}.html")
    assert "</html>" in page.read_text(encoding="utf8")


# ---- processes


def test_a_recording_is_sorted_where_nothing_can_be_forked(tiny_folder, tmp_path):
    script = tmp_path / "sort.py"
    script.write_text(WITHOUT_FORK.replace("FAST", repr(FAST)), encoding="utf8")
    done = subprocess.run(
        [sys.executable, script, tiny_folder / "recording", tmp_path / "run"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert ss.read_sorter_folder(tmp_path / "run").get_num_units() > 0
