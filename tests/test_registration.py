"""SpikeInterface must know crsae in every process it starts, though nobody imports si_crsae there."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = Path(__file__).parent / "helpers" / "launch_crsae.py"


# A process that has been forked has what its parent has imported, so the parent does its own sorting last.
NUM_RUNS = {"run_fork": 1, "run_spawn": 1, "run_loky": 2, "run_dask": 1, "run_slurm": 1, "run_in_process": 5}


def run_outside(folder, *arguments, **environment):
    """Run a fresh interpreter outside the repository, so that only what is installed can be imported."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def run_python(tmp_path):
    """Function that runs a fresh interpreter, which must not fail."""

    def run(*arguments, **environment):
        done = run_outside(tmp_path, *arguments, **environment)
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def fake_sbatch(tmp_path_factory):
    """A folder with an `sbatch` that runs the script at once instead of queueing it."""
    command = tmp_path_factory.mktemp("slurm") / "sbatch"
    command.write_text('#!/bin/sh\nfor script; do :; done\nexec "$script"\n')
    command.chmod(0o755)
    return command.parent


@pytest.fixture(scope="module")
def launched(tiny_folder, tmp_path_factory, fake_sbatch):
    """Folder of every launcher's runs, and what was said on the way: one process starts them all."""
    folder = tmp_path_factory.mktemp("launched")
    path = f"{fake_sbatch}{os.pathsep}{os.environ['PATH']}"
    return folder, run_outside(folder, SCRIPT, tiny_folder, folder, *NUM_RUNS, PATH=path).stderr


@pytest.mark.slow
@pytest.mark.parametrize("launcher", NUM_RUNS)
def test_crsae_runs_where_nobody_imported_it(launched, launcher):
    folder, said = launched
    logs = [json.loads(path.read_text()) for path in (folder / launcher).rglob("spikeinterface_log.json")]
    assert [(log["sorter_name"], log["error"]) for log in logs] == [("crsae", False)] * NUM_RUNS[launcher], said


@pytest.mark.slow
def test_a_run_is_read_back_where_nobody_imported_it(launched, run_python, tiny_folder):
    run_python(SCRIPT, tiny_folder, launched[0], "read_back")


def test_start_up_imports_neither_torch_nor_spikeinterface(run_python):
    modules = run_python("-c", "import sys; print(*sys.modules)").stdout.split()
    assert "_si_crsae_autoload" in modules
    assert not {"si_crsae", "spikeinterface", "torch", "numpy"} & set(modules)


def test_import_of_the_package_imports_neither_torch_nor_spikeinterface(run_python):
    modules = run_python("-c", "import sys, si_crsae; print(*sys.modules)").stdout.split()
    assert not {"spikeinterface", "torch", "numpy"} & set(modules)


def test_spikeinterface_alone_lists_the_sorter_and_imports_no_torch(run_python):
    code = (
        "import sys, spikeinterface.full as si;"
        "print('crsae' in si.installed_sorters(), si.CrsaeSorter.sorter_name, 'torch' in sys.modules)"
    )
    assert run_python("-c", code).stdout.split() == ["True", "crsae", "False"]


@pytest.mark.parametrize("imports", ["si_crsae, spikeinterface.full", "spikeinterface.full, si_crsae"])
def test_an_explicit_import_registers_where_the_hook_is_off(run_python, imports):
    code = f"import {imports}; import spikeinterface.full as si; print('crsae' in si.sorter_dict, si.CrsaeSorter)"
    assert run_python("-c", code, SI_CRSAE_AUTOLOAD="0").stdout.startswith("True")


@pytest.mark.parametrize("name", ["si_crsae", "si_crsae.sorting.sorter", "si_crsae.sorting.folder"])
def test_whatever_is_imported_first_the_sorter_is_registered(run_python, name):
    code = f"from {name} import CrsaeSorter; from spikeinterface.sorters import sorter_dict; sorter_dict['crsae']"
    run_python("-W", "error::UserWarning", "-c", code)


@pytest.mark.parametrize("switch", ["0", "1"])
@pytest.mark.parametrize("name", ["si_crsae.sorting.matching", "si_crsae.sorting.given", "si_crsae.sorting.pipeline"])
def test_whatever_is_imported_first_the_matching_method_is_registered(run_python, name, switch):
    code = (
        f"import {name}, si_crsae, spikeinterface.sortingcomponents.matching.main as main;"
        "print(main.matching_methods['crsae'].__name__)"
    )
    done = run_python("-W", "error::UserWarning", "-c", code, SI_CRSAE_AUTOLOAD=switch)
    assert done.stdout.strip() == "CrsaeMatching"


def test_the_hook_can_be_switched_off(run_python):
    code = "import spikeinterface.sorters as ss; print('crsae' in ss.available_sorters())"
    assert run_python("-c", code, SI_CRSAE_AUTOLOAD="0").stdout.strip() == "False"


def test_registration_happens_once_however_often_it_is_asked_for(run_python):
    code = (
        "import importlib, si_crsae, spikeinterface.sorters.sorterlist as sorter_list;"
        "from si_crsae.registration import register_sorter;"
        "register_sorter(sorter_list); importlib.reload(sorter_list); register_sorter(sorter_list);"
        "print([sorter.sorter_name for sorter in sorter_list.sorter_full_list].count('crsae'))"
    )
    assert run_python("-c", code).stdout.strip() == "1"


def test_a_broken_plugin_warns_once_and_leaves_spikeinterface_whole(run_python, tmp_path):
    (tmp_path / "si_crsae.py").write_text("raise RuntimeError('half an update')")
    code = "import spikeinterface.sorters as ss; print('crsae' in ss.sorter_dict, 'lupin' in ss.sorter_dict)"
    done = run_python("-c", code, PYTHONPATH=str(tmp_path))
    assert done.stdout.split() == ["False", "True"]
    assert done.stderr.count("could not be registered (RuntimeError('half an update'))") == 1


def test_the_wheel_carries_the_start_up_hook_at_its_top(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=ROOT, check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"_si_crsae_autoload.py", "si_crsae_autoload.pth", "si_crsae_autoload.start"} <= set(names)
    assert "si_crsae/py.typed" in names
    top_level = {name.split("/")[0] for name in names if "dist-info" not in name}
    assert {name for name in top_level if "crsae" not in name} == set()
