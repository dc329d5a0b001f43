"""The patch proposed to SpikeInterface applies to the installed version, and makes the start-up hook superfluous."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import spikeinterface

ROOT = Path(__file__).parents[2]
PATCH = ROOT / "docs" / "explanation" / "entry_points.patch"
LISTED = """
import sys, spikeinterface.full as si
from spikeinterface.sortingcomponents.matching.method_list import matching_methods
assert "crsae" in si.available_sorters() and "crsae" in matching_methods
assert not any(name.partition(".")[0] == "si_crsae" for name in sys.modules), "imported before it was asked for"
assert "crsae" in si.installed_sorters()
assert si.get_default_sorter_params(si.sorter_dict["crsae"])["ms_before"] > 0
assert matching_methods["crsae"].name == "crsae"
"""
SORTED = """
import spikeinterface.full as si
recording, truth = si.generate_ground_truth_recording(durations=[10.0], num_channels=4, num_units=3, seed=5)
recording = recording.save(folder="recording", progress_bar=False)
job = {"sorter_name": "crsae", "recording": recording, "folder": "run", "verbose": False}
(sorting,) = si.run_sorter_jobs([job], engine="joblib", engine_kwargs={"n_jobs": 2}, return_output=True)
assert si.compare_sorter_to_ground_truth(truth, sorting).get_performance()["accuracy"].min() > 0.9
"""


@pytest.fixture(scope="module")
def patched(tmp_path_factory):
    """A folder with a patched copy of the installed SpikeInterface, and what this version of ours declares."""
    if shutil.which("git") is None:
        pytest.skip("git applies the patch")
    folder = tmp_path_factory.mktemp("patched")
    copied = folder / "src" / "spikeinterface"
    shutil.copytree(Path(spikeinterface.__file__).parent, copied, ignore=shutil.ignore_patterns("__pycache__"))
    alone = {
        **os.environ,
        "GIT_CEILING_DIRECTORIES": str(folder.parent),
    }  # a repository around it would be taken for its own
    subprocess.run(["git", "apply", str(PATCH)], cwd=folder, env=alone, check=True, capture_output=True)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]["entry-points"]
    lines = [
        line
        for group, references in declared.items()
        for line in (f"[{group}]", *(f"{name} = {reference}" for name, reference in references.items()))
    ]
    metadata = folder / "src" / "si_crsae-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: si_crsae\nVersion: 0\n", encoding="utf8")
    (metadata / "entry_points.txt").write_text("\n".join(lines), encoding="utf8")
    return folder / "src"


@pytest.fixture
def run_patched(patched, tmp_path):
    """Run a Python that has the patched SpikeInterface and not the hook."""

    def run(*arguments):
        path = os.pathsep.join(map(str, [patched, ROOT, ROOT / "autoload"]))
        environment = {**os.environ, "PYTHONPATH": path, "SI_CRSAE_AUTOLOAD": "0", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *map(str, arguments)], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


def test_sorter_and_method_are_found_without_the_hook_and_imported_when_asked_for(run_patched):
    run_patched("-c", LISTED)


@pytest.mark.parametrize("name", ["si_crsae.sorting.matching", "si_crsae.sorting.sorter", "spikeinterface.full"])
def test_whatever_is_imported_first_nothing_goes_round_in_a_circle(run_patched, name):
    code = (
        f"import {name}, spikeinterface.full as si; from spikeinterface.sortingcomponents.matching import main;"
        "assert si.sorter_dict['crsae'].sorter_name == main.matching_methods['crsae'].name"
    )
    run_patched("-W", "error::UserWarning", "-c", code)


@pytest.mark.slow
def test_workers_that_have_imported_nothing_sort(run_patched):
    run_patched("-c", SORTED)


def test_the_tests_of_the_patch_pass(run_patched, patched):
    done = run_patched(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", patched / "spikeinterface/core/tests/test_plugins.py"
    )
    assert "4 passed" in done.stdout


def test_without_the_patch_the_same_is_not_found(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LISTED],
        cwd=tmp_path,
        env={**os.environ, "SI_CRSAE_AUTOLOAD": "0"},
        capture_output=True,
        text=True,
    )
    assert "AssertionError" in done.stderr
