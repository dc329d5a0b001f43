"""The command: what it does is what the functions do, and what is refused is one message."""

import os
import shutil
import subprocess
import sys

import pytest
import spikeinterface as si
from click.testing import CliRunner

import si_crsae
from si_crsae.command_line import main
from si_crsae.io.recordings import guess_reader, read_recording


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def saved(simulation, save, tmp_path):
    save(simulation)
    return tmp_path / "recording"


def test_a_folder_is_sorted_with_the_parameters_given_and_has_its_report(saved, tmp_path):
    pytest.importorskip("anywidget")
    done = call("sort", saved, tmp_path / "run", "--set", "detect_threshold=4.5", "--set", "peak_sign=neg", "--quiet")
    assert done.exit_code == 0, done.output
    config = si_crsae.CrsaeConfig(detect_threshold=4.5, peak_sign="neg")
    assert call("resume", tmp_path / "run", "--quiet").output == done.output
    sorting = si_crsae.resume_sorter(tmp_path / "run")
    assert f"{sorting.get_num_units()} units, {sorting.count_total_num_spikes()} spikes" in done.output
    reported = call("report", tmp_path / "run")
    assert reported.exit_code == 0, reported.output
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf8")
    assert f"<strong>{config.detect_threshold}</strong>" in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "detect_treshold=4"], "unknown parameter; did you mean detect_threshold"),
        (["--set", "detect_threshold"], "write NAME=VALUE"),
        (["--reader", "spikglx"], "reader = 'spikglx' is unknown; choose one of"),
    ],
)
def test_what_is_refused_is_one_message(saved, tmp_path, arguments, said):
    done = call("sort", saved, tmp_path / "run", *arguments)
    assert done.exit_code != 0
    assert said in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "run").exists()


def test_the_command_says_what_doctor_says():
    shown = call("doctor").output
    for name, value in si_crsae.doctor().items():
        assert any(line.startswith(name) and line.endswith(value) for line in shown.splitlines())


def test_the_package_runs_as_a_command():
    done = subprocess.run([sys.executable, "-m", "si_crsae", "--help"], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in main.commands)


def test_folders_are_named_where_their_characters_cannot_be_written(run_folder, tmp_path):
    folder = shutil.copytree(run_folder, tmp_path / "Größe 日本")
    command = [sys.executable, "-m", "si_crsae", "resume", folder, "--quiet"]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}  # of what is piped on Windows
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert "Größe \\u65e5\\u672c".encode("cp1252") in done.stdout


@pytest.mark.parametrize("file_format", ["binary", "zarr"])
def test_saved_recordings_are_read_without_a_reader(simulation, save, tmp_path, file_format):
    recording = save(simulation, file_format=file_format)
    (folder,) = tmp_path.glob("recording*")
    assert read_recording(folder).channel_ids.tolist() == recording.channel_ids.tolist()


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("day1/Record Node 101/experiment1/recording1/structure.oebin", "openephysbinary"),
        ("day1/run_g0_imec0/run_g0_t0.imec0.ap.meta", "spikeglx"),
        ("day1/session.nwb", "nwb"),
        ("day1/session.edf", "edf"),
    ],
)
def test_files_say_of_which_kind_they_are(tmp_path, name, reader):
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).touch()
    assert guess_reader(tmp_path / "day1") == reader


def test_files_of_no_kind_or_several_are_told_with_the_readers(tmp_path):
    with pytest.raises(ValueError, match="do not say of which kind they are; give reader, known are .*spikeglx"):
        guess_reader(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no such file or folder"):
        read_recording(tmp_path / "nowhere")


def test_a_sorting_is_no_recording(simulation, tmp_path):
    simulation.sorting.save(folder=tmp_path / "sorting")
    with pytest.raises(ValueError, match="no recording; give the recording's folder"):
        read_recording(tmp_path / "sorting")
    assert isinstance(si.load(tmp_path / "sorting"), si.BaseSorting)


def test_view_says_what_is_wrong_with_a_folder_before_it_serves(tmp_path):
    result = call("view", tmp_path, "--no-browser")
    assert result.exit_code == 1
    assert "give the folder passed to run_sorter" in result.output


def test_view_without_voila_says_what_to_install(run_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "voila.app", None)
    result = call("view", run_folder, "--no-browser")
    assert result.exit_code == 1
    assert "pip install 'si_crsae[view]'" in result.output
