"""The code of README, tour and how-to pages runs as it is written, and analyzes what is to be analyzed."""

import functools
import re
from pathlib import Path

import pytest
import spikeinterface as si
import spikeinterface.full
from wideband import as_wideband

ROOT = Path(__file__).parents[2]
WITH_CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", ROOT / "docs" / "tour.md", *sorted((ROOT / "docs" / "how_to").glob("*.md"))]
PAGES = [page for page in PAGES if WITH_CODE.search(page.read_text(encoding="utf8"))]
MAX_NOISE_UV = 20.0  # of the simulated recording without its slow waves: 5
NEEDS = {
    "README": ["anywidget", "matplotlib"],
    "tour": ["anywidget", "matplotlib"],
    "neo": ["neo", "nixio"],
    "after_sorting": ["anywidget", "matplotlib"],
    "look": ["anywidget", "matplotlib", "spikeinterface_gui", "panel"],
    "slurm_and_dask": ["joblib"],
    "nwb": ["pynwb", "neuroconv"],
}


@pytest.fixture(scope="module")
def folder_of_two_tetrodes(tmp_path_factory):
    """Where `recording` of the pages lies: 10 s of two groups of four channels, wideband, in int16, with slow waves."""
    parts = [
        si.generate_ground_truth_recording(durations=[10.0], num_channels=4, num_units=3, seed=seed)[0]
        for seed in (0, 1)
    ]
    renamed = [
        as_wideband(part, channel_ids=[f"{group}{channel}" for channel in range(4)])
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
    blocks = WITH_CODE.findall(page.read_text(encoding="utf8"))
    recording = si.load(folder_of_two_tetrodes)
    monkeypatch.setattr(spikeinterface.full, "read_openephys", lambda _: recording)
    names = {"recording": recording}
    exec(compile("\n".join(blocks), page.name, "exec"), names)
    if "analyzer" in names:
        noise_uV = si.get_noise_levels(names["analyzer"].recording, return_in_uV=True)
        assert noise_uV.max() < MAX_NOISE_UV


def _open_no_window(monkeypatch):
    """Let spikeinterface-gui make all it shows, but neither wait for its user nor need a screen."""
    import spikeinterface_gui

    without_screen = functools.partial(
        spikeinterface_gui.run_mainwindow, mode="web", start_app=False, panel_window_servable=False
    )
    monkeypatch.setattr(spikeinterface_gui, "run_mainwindow", without_screen)
