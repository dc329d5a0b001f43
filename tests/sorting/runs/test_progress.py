"""What a run shows: one bar for each stage of each group, and sentences if asked for."""

import re

import numpy as np
import pytest
import spikeinterface.sorters as ss

from si_crsae.core.compiled import compile_loops
from si_crsae.sorting.runs.progress import Progress


def bars_of(shown):
    """Return the names of bars in the order in which they came, whatever was written between two carriage returns."""
    names = re.findall(r"(?:^|[\r\n])((?:group \d of \d: )?[a-z ()_]+):(?: +\d+%\|| \d\d:\d\d)", shown)
    return list(dict.fromkeys(names))


@pytest.fixture
def two_groups(simulation, save):
    recording = save(simulation)
    recording.set_property("group", np.array([0, 0, 1, 1]))
    return recording


def test_a_run_shows_one_bar_for_each_stage_of_each_group(two_groups, tmp_path, capfd):
    ss.run_sorter("crsae", two_groups, folder=tmp_path / "run")
    shown = capfd.readouterr()
    stages = ("artifacts", "preprocess", "initialize", "learn", "encode")
    expected = [f"group {group} of 2: {stage}" for group in (1, 2) for stage in stages]
    assert bars_of(shown.err) == [*expected, "write"]
    assert re.search(r"group 2 of 2: encode: 100%\|.*\d\d:\d\d, 00:00 left", shown.err)
    assert shown.out == ""


def test_sentences_of_a_verbose_run_are_about_units_and_spikes(two_groups, tmp_path, capfd):
    folder = tmp_path / "run"
    sorting = ss.run_sorter("crsae", two_groups, folder=folder, verbose=True, job_kwargs={"progress_bar": False})
    shown = capfd.readouterr()
    assert bars_of(shown.err) == []
    for sentence in (
        "found .* candidate units in 6 s of signal",
        "learned the waveforms of",
        "explained the signal by",
    ):
        assert re.search(f"group 1 of 2: {sentence}", shown.out)
    assert f"found {len(sorting.unit_ids)} units with {sorting.count_total_num_spikes()} spikes" in shown.out
    assert not re.search("atom|round|unit_id", shown.out)
    assert "round 1: " in (folder / "sorter_output" / "crsae.log").read_text(encoding="ascii")


def successor(number):
    return number + 1


def test_a_bar_says_that_loops_are_compiled_and_only_then(tmp_path, monkeypatch, capfd):
    pytest.importorskip("numba")
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    shown = []
    for _ in range(2):
        with Progress(is_shown=True).stage("encode") as bar:
            bar.expect(2)
            compile_loops()(successor)(1)
            bar.advance()
        shown.append(capfd.readouterr().err.split("\r"))
    first, second = shown
    assert any("compiling, once" in line for line in first)
    assert "compiling" not in first[-1]
    assert not any("compiling" in line for line in second)  # it was kept on disk
