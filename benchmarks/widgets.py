"""Measure how fast the widgets draw and follow, in JupyterLab in a headless Chromium.

Three cases: a minute on 32 channels, sorted; half an hour on 64 channels and ten minutes on 384, both made of a minute
of 64 channels that is repeated in time and side by side, with its true spikes, of drawn sizes, and a motion of its own.
One view is open at a time. First draw: from the key that runs a cell to the picture of the view that it makes, kernel
included. Step: from a key in the view to the next picture, for as many steps as --steps. The peer is SpikeInterface's
matplotlib picture of the same traces, as a notebook makes it for each step: computed in the kernel, without the way to
the browser.

    python benchmarks/widgets.py --out rows.json
"""

import re
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from cases import save_case
from command_line import make_parser, names, parse
from playwright.sync_api import Locator, Page, TimeoutError, sync_playwright
from sorters import Row, machine_row, save

from si_crsae.evaluation import generate_case

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
from notebook_server import open_notebook, run_cell, serve, wait_until_run, write_notebook

SORTED = """
import time, io
import numpy as np, spikeinterface.full as si
from spikeinterface.widgets import plot_traces
from si_crsae import widgets
recording = si.load("{folder}/recording")
si.run_sorter("crsae", recording, folder="{folder}/run", job_kwargs={{"progress_bar": False}})
truth = si.load("{folder}/sorting")
session = widgets.open_session("{folder}/run", truth=truth)
tested = session.tested
"""
REPEATED = """
import time, io
from dataclasses import replace
import numpy as np, spikeinterface.full as si
from spikeinterface.widgets import plot_traces
from si_crsae import widgets
from si_crsae.evaluation import explain_like, explain_sorting
minute, truth = si.load("{folder}/recording"), si.load("{folder}/sorting")
beside, length = {num_beside}, minute.get_num_samples()
wide, trains, locations = [], {{}}, minute.get_channel_locations()
for k in range(beside):  # each begins at another time: spikes of copies do not coincide
    begin = k * length // beside
    halves = [minute.frame_slice(begin, length), minute.frame_slice(0, begin)] if k else [minute]
    turned = si.concatenate_recordings(halves)
    wide.append(turned.rename_channels([f"{{k}}_{{name}}" for name in minute.channel_ids]))
    for unit, name in enumerate(truth.unit_ids):
        train = np.sort((truth.get_unit_spike_train(name) - begin) % length)
        trains[k * len(truth.unit_ids) + unit] = np.concatenate([train + i * length for i in range({minutes})])
recording = si.concatenate_recordings([si.aggregate_channels(wide)] * {minutes})
recording.delete_property("group")
recording.set_dummy_probe_from_locations(
    np.concatenate([locations + [0, k * (np.ptp(locations[:, 1]) + 20)] for k in range(beside)]))
repeated = si.NumpySorting.from_unit_dict([trains], minute.sampling_frequency)
tested = explain_sorting(repeated, recording, name="repeated")
units = tested.units
amplitude = units.amplitude * np.random.default_rng(0).normal(1, 0.1, units.amplitude.size).astype("float32")
tested = replace(tested, units=replace(units, amplitude=amplitude), min_amplitude=0.5 * units.scales)
session = widgets.Session(tested, truth=explain_like(repeated, tested, name="again"))
"""
# A motion of which each spike is a peak: what the motion view draws does not ask where it comes from.
MOVING = """
from spikeinterface.core.motion import Motion
from si_crsae.evaluation.motion import TissueMotion
spikes, depths = tested.units.spikes, tested.locations[:, 1]
times = np.arange(0.5, tested.duration_s(0), 1.0)
path = 10 * np.sin(2 * np.pi * times / 120)
windows = np.arange(depths.min(), depths.max() + 1, 150.0)
moved = 10 * np.sin(2 * np.pi * spikes["sample_index"] / tested.sampling_frequency / 120)
MOTIONS = (TissueMotion(
    group=0, motion=Motion(np.tile(path[:, None], (1, windows.size)), times, windows), segments=np.zeros(1, "int64"),
    start_s=np.zeros(1), peak_segment=np.zeros(spikes.size, "int64"),
    peak_time_s=spikes["sample_index"] / tested.sampling_frequency,
    peak_depth_um=depths[tested.units.main_channel][spikes["unit_index"]] + moved, peak_moved_um=moved,
    size_um=7.0, error_um=0.5, is_followed=True),)
class MovingView(widgets.MotionView):
    motions = MOTIONS
widgets.MotionView = MovingView
session.go_to(tested.duration_s(0) / 2)
view = None
print(spikes.size, "spikes of", len(tested.unit_ids), "units in", tested.duration_s(0), "s")
"""
PEER = """
filtered = si.bandpass_filter(recording, dtype="float32")
seconds = []
for step in range(12):
    start = time.perf_counter()
    shown = (session.time_s + 0.1 * step, session.time_s + 0.1 * (step + 1))
    figure = plot_traces(filtered, time_range=shown, mode="line", backend="matplotlib").figure
    figure.savefig(io.BytesIO(), format="png")
    seconds.append(time.perf_counter() - start)
print("peer", sorted(seconds)[6])
"""
# What has the focus and what is pressed for a step: on in time, another unit, another pair, another threshold; or what
# is clicked, one after the other.
STEPS = {
    "DecompositionViewer": ("canvas[aria-label^=Traces]", "ArrowRight"),
    "CodeRaster": ("canvas[aria-label^=Raster]", "ArrowRight"),
    "TemplateInspector": (".crsae-unit-list", "ArrowDown"),
    "CurationView": (".crsae-unit-list", "ArrowDown"),
    "ComparisonView": ("canvas[aria-label^=Agreement]", "PageDown"),
    "ThresholdExplorer": ("canvas[aria-label^=Histogram]", "ArrowRight"),
    "FeatureView": ("[aria-label=Units] button", "click"),
    "MotionView": ("canvas[aria-label^=Depths]", "ArrowRight"),
    "HistoryView": (".crsae-unit-list", "ArrowDown"),
}
# What was not sorted has no history.
ONLY_SORTED = ("HistoryView",)
# Of a name: the case that is generated, how long, and how often that is repeated in time and side by side; or sorted.
CASES = {
    "32 x 60 s": ("lowsnr32", 60.0, None),
    "64 x 30 min": ("dense64", 60.0, {"minutes": 30, "num_beside": 1}),
    "384 x 10 min": ("dense64", 60.0, {"minutes": 10, "num_beside": 6}),
}
# What is pressed before, where a view opens at the end of what the steps go through.
FIRST = {"ComparisonView": "Home", "MotionView": "+"}
# Milliseconds from a key to the next picture, for a number of keys one after the other.
MEASURE = """
async ([selector, key, count]) => {
  const root = [...document.querySelectorAll(".crsae")].at(-1);
  const isClicked = key === "click";
  if (!isClicked) root.querySelector(selector).focus();
  const times = [];
  for (let step = 0; step < count; step++) {
    const start = performance.now();
    const drawn = new Promise((done) => {
      const isThere = () => !isClicked || root.querySelectorAll(selector)[step + 1].ariaPressed === "true";
      const observer = new MutationObserver(() => { if (isThere()) { observer.disconnect(); done(true); } });
      observer.observe(root, { attributes: true, attributeFilter: ["data-drawn"] });
      setTimeout(() => done(false), 10000);
    });
    const target = isClicked ? root.querySelectorAll(selector)[step + 1] : document.activeElement;
    if (!target) break;
    if (isClicked) target.click();
    else target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    if (!(await drawn) && times.length > 2) break;  // the end of what can be gone through
    times.push(performance.now() - start);
    await new Promise((done) => setTimeout(done, 150));
  }
  return times;
}
"""


def main() -> None:
    """Run what the command line asks for."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--cases", type=names, default=list(CASES), help="which of " + ", ".join(CASES))
    parser.add_argument("--views", type=names, default=list(STEPS), help="which of " + ", ".join(STEPS))
    parser.add_argument("--steps", type=int, default=20, help="default: 20")
    arguments = parse(parser, cases=CASES, views=STEPS)
    rows, peers = [machine_row(1)], {}
    for case in arguments.cases:
        views = [name for name in arguments.views if CASES[case][2] is None or name not in ONLY_SORTED]
        with tempfile.TemporaryDirectory() as scratch:
            peers[case], found = measure_case(case, views, arguments.steps, Path(scratch))
        rows += found
        save(rows, arguments.out)
    sys.stdout.write(table(rows, peers))


def measure_case(case: str, view_names: list[str], num_steps: int, folder: Path) -> tuple[float, list[Row]]:
    """Return what the peer takes (ms), and the rows of all views on a recording."""
    generated, duration_s, repeats = CASES[case]
    save_case(*generate_case(generated, duration_s=duration_s), folder)
    made = SORTED.format(folder=folder) if repeats is None else REPEATED.format(folder=folder, **repeats)
    views = [f"view = view and view.close()\nview = widgets.{name}(session)\nview" for name in view_names]
    write_notebook(folder / "views.ipynb", (made + MOVING).strip(), PEER.strip(), *views)
    rows: list[Row] = []
    with serve(folder, "lab") as address_of, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        open_notebook(page, address_of("views.ipynb"))
        for index in range(2):
            run_cell(page, index)
            wait_until_run(page, index, timeout_s=600)
        peer_ms = 1000 * read_peer(page)
        for index, name in enumerate(view_names, start=2):
            figures = measure(page, index, name, num_steps)
            figures["step / peer"] = figures["step, median"] / peer_ms
            rows += [
                {"case": case, "method": name, "figure": figure, "value": round(value, 2), "unit": "ms"}
                for figure, value in figures.items()
            ]
        browser.close()
    return peer_ms, rows


def read_peer(page: Page) -> float:
    """Return the seconds that the peer's cell has printed."""
    text = page.locator(".jp-OutputArea-output", has_text="peer").inner_text()
    found = re.search(r"peer ([\d.]+)", text)
    assert found is not None, text
    return float(found.group(1))


def measure(page: Page, index: int, name: str, num_steps: int) -> dict[str, float]:
    """Return milliseconds of the first draw and of the steps of the view that a cell makes."""
    cell = page.locator(".jp-CodeCell").nth(index)
    clicked = start(page, cell)
    cell.locator(".crsae[data-drawn]").first.wait_for(timeout=60_000)
    first: Any = page.evaluate("performance.now()")
    page.wait_for_timeout(1500)
    if name in FIRST:
        page.locator(".crsae").last.locator(STEPS[name][0]).first.focus()
        page.keyboard.press(FIRST[name])  # where that is the case already, nothing is drawn
        page.wait_for_timeout(1000)
    steps = page.evaluate(MEASURE, [*STEPS[name], num_steps])
    return {"first draw": first - clicked, "step, median": median(steps), "step, largest": max(steps)}


def start(page: Page, cell: Locator) -> float:
    """Run a cell, and return when the key for it was pressed (ms); a cell that JupyterLab moves takes no notice."""
    for _ in range(10):
        cell.evaluate("element => element.scrollIntoView({ block: 'start' })")
        page.wait_for_timeout(500)
        cell.locator(".cm-content").focus()  # a click would first scroll what lies above out of the way
        pressed: Any = page.evaluate("performance.now()")
        page.keyboard.press("Control+Enter")
        try:
            cell.locator(".jp-InputPrompt", has_text=re.compile(r"[*\d]")).wait_for(timeout=2000)
        except TimeoutError:
            continue
        return pressed
    raise TimeoutError("the cell was never run")


def table(rows: list[Row], peers: dict[str, float]) -> str:
    """Return the figures as a table in Markdown."""
    lines = ["| view | " + " | ".join(f"{case}: first, step, largest" for case in peers) + " |"]
    lines.append("| --- " * (len(peers) + 1) + "|")
    for name in dict.fromkeys(str(row["method"]) for row in rows[1:]):
        cells = []
        for case in peers:
            figures = {str(row["figure"]): row["value"] for row in rows if (row["case"], row["method"]) == (case, name)}
            shown = [figures[figure] for figure in ("first draw", "step, median", "step, largest") if figures]
            cells.append(", ".join(f"{value:.0f}" for value in shown))
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    took = ", ".join(f"{value:.0f} ms ({case})" for case, value in peers.items())
    return "\n".join([*lines, "", f"The peer takes {took}.", ""])


if __name__ == "__main__":
    main()
