"""What SpikeInterface does with an image works with ours, as far as that can be seen without Docker."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import spikeinterface.sorters as ss
from spikeinterface.sorters import runsorter

ROOT = Path(__file__).parents[1]
ENTRY = ROOT / "release" / "docker_entry.sh"


class ThisMachine:
    """Stands in for SpikeInterface's client of Docker: takes the same commands, and runs them here."""

    commands: list

    def __init__(self, mode, container_image, volumes, py_user_base, extra_kwargs):
        self.image, self.volumes = container_image, volumes
        ThisMachine.commands = []

    def start(self):
        """There is nothing to start."""

    stop = start

    def run_command(self, command):
        ThisMachine.commands.append(command)
        if command[0] == "python":
            command = [sys.executable, *command[1:]]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.stdout


@pytest.fixture
def as_docker(monkeypatch):
    for name in ("has_docker", "has_docker_python"):
        monkeypatch.setattr(runsorter, name, lambda: True)
    monkeypatch.setattr(runsorter, "ContainerClient", ThisMachine)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"installation_mode": "no-install"}, {}], ids=["no-install", "default"])
def test_spikeinterface_sorts_in_a_container_that_has_only_what_is_installed(
    simulation, save, score, as_docker, tmp_path, settings
):
    sorting = ss.run_sorter("crsae", save(simulation), folder=tmp_path / "run", docker_image="crsae", **settings)
    assert score(simulation.sorting, sorting).min() > 0.9
    orders = [
        command[0] if isinstance(command, list) else command.partition(" ")[0] for command in ThisMachine.commands
    ]
    assert "pip" not in orders, "SpikeInterface would have been installed again"
    assert orders[-1] == "chown"


@pytest.fixture
def run_entry(tmp_path):
    """Run the entry point where `crsae` and `bash` only say how they were called."""
    for name in ("crsae", "bash"):
        (tmp_path / name).write_text(f'#!/bin/sh\nprintf "%s" "{name}"\nprintf " <%s>" "$@"\n', encoding="utf8")
        (tmp_path / name).chmod(0o755)
    shell = shutil.which("sh")

    def run(*arguments):
        environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
        return subprocess.run([shell, ENTRY, *arguments], env=environment, capture_output=True, text=True).stdout

    return run


def test_the_entry_point_is_the_command_and_a_shell_where_nothing_is_asked_for(run_entry):
    assert run_entry("sort", "my session", "run") == "crsae <sort> <my session> <run>"
    assert run_entry("--help") == "crsae <--help>"
    assert run_entry().startswith("bash")


def test_the_image_is_made_of_what_the_repository_has():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf8").splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY") and "--from" not in line]
    assert all((ROOT / name).exists() for names in copied for name in names)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf8").split()
    assert not {name.partition("/")[0] for names in copied for name in names} & set(ignored)
    (entry,) = (line for line in lines if line.startswith("ENTRYPOINT"))
    assert ENTRY.name in entry
