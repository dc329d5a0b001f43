"""The code of the how-to pages runs as it is written."""

import functools
import re
from pathlib import Path

import pytest
import spikeinterface as si

PAGES = sorted((Path(__file__).parents[2] / "docs" / "how_to").glob("*.md"))
NEEDS = {
    "neo": ["neo", "nixio"],
    "after_sorting": ["matplotlib"],
    "look": ["anywidget", "matplotlib", "spikeinterface_gui", "panel"],
    "slurm_and_dask": ["joblib"],
    "nwb": ["pynwb", "neuroconv"],
}


@pytest.fixture(scope="module")
def folder_of_two_tetrodes(tmp_path_factory):
    """Where `recording` of the pages lies: 10 s of two groups of four channels."""
    parts = [
        si.generate_ground_truth_recording(durations=[10.0], num_channels=4, num_units=3, seed=seed)[0]
        for seed in (0, 1)
    ]
    renamed = [
        part.rename_channels([f"{group}{channel}" for channel in range(4)])
        for group, part in zip("ab", parts, strict=True)
    ]
    recording = si.aggregate_channels(renamed)
    recording.set_property("group", [0] * 4 + [1] * 4)
    folder = tmp_path_factory.mktemp("how_to") / "recording"
    recording.save(folder=folder, progress_bar=False)
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # pages show what warns, too
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_the_page_runs(page, folder_of_two_tetrodes, tmp_path, monkeypatch):
    for module in NEEDS.get(page.stem, []):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    if page.stem == "look":
        _open_no_window(monkeypatch)
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf8"), re.MULTILINE | re.DOTALL)
    assert blocks
    exec(compile("\n".join(blocks), page.name, "exec"), {"recording": si.load(folder_of_two_tetrodes)})


def _open_no_window(monkeypatch):
    """Let spikeinterface-gui make all it shows, but neither wait for its user nor need a screen."""
    import spikeinterface_gui

    without_screen = functools.partial(
        spikeinterface_gui.run_mainwindow, mode="web", start_app=False, panel_window_servable=False
    )
    monkeypatch.setattr(spikeinterface_gui, "run_mainwindow", without_screen)
