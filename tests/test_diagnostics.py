"""The doctor says what is the matter, also where the matter is that nothing can be written."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import si_crsae
from si_crsae import diagnostics

ROOT = Path(__file__).parents[1]
DOCTOR = """
import json, sys, warnings
warnings.simplefilter("error", UserWarning)
import spikeinterface.sortingcomponents.matching.main as main
assert "crsae" in main.matching_methods
import si_crsae
from si_crsae.diagnostics import diagnose
json.dump(diagnose(), sys.stdout)
"""


@pytest.fixture
def ask_doctor(tmp_path):
    """Function that asks for a diagnosis in a process whose package, home and caches are files or below a file."""
    package = tmp_path / "site" / "si_crsae"
    shutil.copytree(ROOT / "si_crsae", package, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (package, *(path for path in package.rglob("*") if path.is_dir())):
        (folder / "__pycache__").touch()
    nothing = tmp_path / "file"
    nothing.touch()
    (tmp_path / "temporary").mkdir()

    def ask(**environment):
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(package.parent), str(ROOT / "autoload")]),
            "TMPDIR": str(tmp_path / "temporary"),
            **dict.fromkeys(("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR"), str(nothing / "folder")),
            **environment,
        }
        done = subprocess.run(
            [sys.executable, "-c", DOCTOR], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    return ask


def test_where_nothing_can_be_written_the_package_works_and_loops_are_kept_among_temporary_files(ask_doctor, tmp_path):
    facts, errors = ask_doctor()
    assert facts["compiled loops"].startswith(f"kept in {tmp_path / 'temporary'}")
    assert facts["registered"] == "yes"
    assert errors == ""


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has a temporary folder for each user")
def test_where_nothing_at_all_can_be_written_the_package_works_and_says_what_it_costs(ask_doctor, tmp_path):
    (tmp_path / "temporary" / f"si_crsae-numba-{os.getuid()}").touch()
    facts, errors = ask_doctor()
    assert facts["compiled loops"].startswith("not kept, no folder for them can be written: set NUMBA_CACHE_DIR")
    assert facts["registered"] == "yes"
    assert errors.count("compiled loops cannot be kept on disk") == 1
    assert "reinstall" not in errors


def test_the_doctor_knows_what_numba_is_told():
    facts = si_crsae.doctor()
    assert facts["compiled loops"].startswith("kept in ")
    assert Path(facts["compiled loops"].split()[2]).is_dir()
    assert all(facts[name] != "not installed by pip" for name in ("spikeinterface", "torch", "numba"))


@pytest.mark.parametrize(("switch", "said"), [("0", "off (SI_CRSAE_AUTOLOAD=0)"), ("1", "on")])
def test_the_doctor_knows_whether_the_hook_is_run(monkeypatch, switch, said):
    monkeypatch.setenv("SI_CRSAE_AUTOLOAD", switch)
    assert si_crsae.doctor()["start-up hook"].startswith(said)


def test_a_hook_that_python_does_not_run_is_told_from_one_that_it_runs(monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n', encoding="utf8")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert si_crsae.doctor()["start-up hook"] == f"not run by {python} at its start: import si_crsae in every process"


def test_the_doctor_shows_what_it_returns_a_line_per_fact(capsys):
    facts = si_crsae.doctor()
    width = max(map(len, facts))
    lines = capsys.readouterr().out.splitlines()
    assert {line[:width].rstrip(): line[width:].strip() for line in lines} == facts


def test_the_doctor_shows_a_folder_that_the_terminal_cannot_write(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(diagnostics, "_describe_hook", lambda: "not run by /home/José/python")
    si_crsae.doctor()
    terminal.flush()
    assert b"not run by /home/Jos\\xe9/python" in terminal.buffer.getvalue()


def test_the_doctor_says_that_loops_are_not_compiled(ask_doctor):
    facts, _ = ask_doctor(NUMBA_DISABLE_JIT="1")
    assert "NUMBA_DISABLE_JIT is set" in facts["compiled loops"]
