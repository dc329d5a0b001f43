import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
import spikeinterface as si
import torch
from hypothesis import settings

pytest_plugins = ["fast_checks", "fast_start", "sorter_fixtures"]

settings.register_profile("si_crsae", deadline=None, derandomize=True)
settings.load_profile("si_crsae")


def pytest_addoption(parser):
    parser.addoption("--pretended-gpu", action="store_true", help="Tests marked gpu run on a GPU that is pretended.")


def has_gpu(config):
    return torch.cuda.is_available() or config.getoption("--pretended-gpu")


def pytest_collection_modifyitems(config, items):
    """Start with the files that have most slow tests: workers take files whole, one must not be left with those."""
    if not has_gpu(config):
        leave_out(config, items, [item for item in items if item.get_closest_marker("gpu")])
    num_slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -num_slow[item.path])


def leave_out(config, items, tests):
    """Deselect tests, which costs nothing; every one that is skipped would take its turn."""
    left_out = set(tests)
    config.hook.pytest_deselected(items=tests)
    items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter, config):
    if not has_gpu(config):
        terminalreporter.write_line("No CUDA device: tests marked gpu were left out.")


# One per module: hypothesis refuses fixtures that are made for every test, and those of a session reorder all tests.
@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """Where the tensors of a test lie; on a GPU convolutions keep all digits and every run is the same."""
    if request.param == "cuda" and request.config.getoption("--pretended-gpu"):
        from pretended_gpu import pretended_gpu

        with pretended_gpu() as pretended:
            yield pretended
        return
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        yield torch.device(request.param)


@pytest.fixture
def seeded():
    """Torch's global generator as a fresh one, and as it was afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def restored_threads():
    """The number of threads that torch takes is afterwards what it was."""
    num_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="session")
def data_folder():
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SI_CRSAE_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no data in {folder}: set SI_CRSAE_DATA to the folder that holds recordings/")
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """10 s of 4 channels in two groups: `recording` and its ground truth, `sorting`, as a fresh process loads them."""
    folder = tmp_path_factory.mktemp("tiny")
    recording, sorting = si.generate_ground_truth_recording(durations=[10.0], num_channels=4, num_units=3, seed=0)
    recording.set_property("group", [0, 0, 1, 1])
    recording.save(folder=folder / "recording", progress_bar=False)
    sorting.save(folder=folder / "sorting")
    return folder


@pytest.fixture(scope="session")
def tiny_recording(tiny_folder):
    return si.load(tiny_folder / "recording")


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A run on 12 s of a tetrode, with probabilities; its truth lies beside it as `truth`."""
    import spikeinterface.sorters as ss

    from si_crsae.evaluation import generate_case

    folder = tmp_path_factory.mktemp("run")
    recording, truth = generate_case("tetrode", duration_s=12.0)
    recording.save(folder=folder / "recording", progress_bar=False)
    truth.save(folder=folder / "truth")
    saved = si.load(folder / "recording")
    ss.run_sorter("crsae", saved, folder=folder / "crsae", spike_probabilities=True)
    return folder / "crsae"


@pytest.fixture(scope="session")
def moving_run_folder(run_folder):
    """The same run, with tissue that moves; see `moving_run`."""
    from moving_run import add_motion

    return add_motion(run_folder, run_folder.parent / "moving")


@pytest.fixture
def pickled_run(run_folder, tmp_path):
    """The same run as somebody else may send it: its recording is described by a pickle."""
    from si_crsae.sorting.folder import load_recording

    folder = shutil.copytree(run_folder, tmp_path / "crsae")
    load_recording(run_folder).dump_to_pickle(folder / "spikeinterface_recording.pickle")
    (folder / "spikeinterface_recording.json").unlink()
    return folder
