import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import spikeinterface as si

import si_crsae

COMMAND = [sys.executable, Path(__file__).parents[1] / "helpers" / "run_and_resume.py"]
DEADLINE_S = 120.0
STAGES = ["initialize", "learn", "encode", "clean"]


def kill_when_it_exists(process, path):
    """Kill the process, as the system would, as soon as the file is there."""
    deadline = time.monotonic() + DEADLINE_S
    while not path.exists():
        assert process.poll() is None, f"ended before {path.name} was written"
        assert time.monotonic() < deadline, f"{path.name} was not written in {DEADLINE_S} s"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
@pytest.mark.parametrize("stage", ["learn", *(pytest.param(s, marks=pytest.mark.slow) for s in STAGES if s != "learn")])
def test_a_killed_run_is_resumed_to_the_same_result(simulation, reference, save, tmp_path, stage):
    _, expected = reference
    save(simulation)
    folder = tmp_path / "run"
    stages = folder / "sorter_output" / "stages" / "group_0"
    with subprocess.Popen([*COMMAND, "run", tmp_path / "recording", folder]) as process:
        kill_when_it_exists(process, stages / f"{stage}.npz")
    complete = STAGES[: STAGES.index(stage) + 1]
    written = {name: (stages / f"{name}.npz").stat().st_mtime_ns for name in complete}

    if stage == "learn":
        subprocess.run([*COMMAND, "resume", folder, tmp_path / "resumed"], check=True, timeout=DEADLINE_S)
        resumed = si.load(tmp_path / "resumed")
    else:
        with pytest.warns(UserWarning, match="has ended without"):
            resumed = si_crsae.resume_sorter(folder)

    assert np.array_equal(resumed.to_spike_vector(), expected.to_spike_vector())
    assert written == {name: (stages / f"{name}.npz").stat().st_mtime_ns for name in complete}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["folder", "zarr"])
def test_a_cache_that_was_being_written_is_written_anew(simulation, reference, save, tmp_path, mode):
    _, expected = reference
    save(simulation)
    folder = tmp_path / "run"
    group_folder = folder / "sorter_output" / "stages" / "group_0"
    with subprocess.Popen([*COMMAND, "run", tmp_path / "recording", folder, mode]) as process:
        kill_when_it_exists(process, group_folder / ("cache" if mode == "folder" else "cache.zarr"))

    with pytest.warns(UserWarning, match="has ended without"):
        resumed = si_crsae.resume_sorter(folder)

    assert np.array_equal(resumed.to_spike_vector(), expected.to_spike_vector())
    assert list(group_folder.glob("cache*")) == []
