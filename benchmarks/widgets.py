"""Measure how fast the widgets draw and follow, in JupyterLab in a headless Chromium.

The recording has 64 channels and 30 minutes (one minute, repeated), 50 units and their true spikes, of drawn sizes.
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
from playwright.sync_api import Page, sync_playwright
from sorters import Row, machine_row, save

from si_crsae.evaluation import generate_case

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
from notebook_server import open_notebook, run_cell, serve, wait_until_run, write_notebook

SETUP = """
import time, io
from dataclasses import replace
import numpy as np, spikeinterface.full as si
from spikeinterface.widgets import plot_traces
from si_crsae import widgets
from si_crsae.evaluation import explain_like, explain_sorting
minute, truth = si.load("{folder}/recording"), si.load("{folder}/sorting")
recording = si.concatenate_recordings([minute] * {minutes})
recording.set_probe(minute.get_probe(), in_place=True)
length = minute.get_num_samples()
trains = {{unit: np.concatenate([truth.get_unit_spike_train(unit) + k * length for k in range({minutes})])
          for unit in truth.unit_ids}}
repeated = si.NumpySorting.from_unit_dict([trains], minute.sampling_frequency)
tested = explain_sorting(repeated, recording, name="repeated")
units = tested.units
amplitude = units.amplitude * np.random.default_rng(0).normal(1, 0.1, units.amplitude.size).astype("float32")
tested = replace(tested, units=replace(units, amplitude=amplitude), min_amplitude=0.5 * units.scales)
session = widgets.Session(tested, truth=explain_like(repeated, tested, name="again"))
session.go_to({minutes} * 30.0)
view = None
print(len(repeated.to_spike_vector()), "spikes of", recording.get_total_duration(), "s")
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
# What has the focus and what is pressed for a step: on in time, another unit, another pair, another threshold.
STEPS = {
    "DecompositionViewer": ("canvas[aria-label^=Traces]", "ArrowRight"),
    "CodeRaster": ("canvas[aria-label^=Raster]", "ArrowRight"),
    "TemplateInspector": (".crsae-unit-list", "ArrowDown"),
    "CurationView": (".crsae-unit-list", "ArrowDown"),
    "ComparisonView": ("canvas[aria-label^=Agreement]", "PageDown"),
    "ThresholdExplorer": ("canvas[aria-label^=Histogram]", "ArrowRight"),
}
# What is pressed before, where a view opens at the end of what the steps go through.
FIRST = {"ComparisonView": "Home"}
# Milliseconds from a key to the next picture, for a number of keys one after the other.
MEASURE = """
async ([selector, key, count]) => {
  const root = [...document.querySelectorAll(".crsae")].at(-1);
  const target = root.querySelector(selector);
  target.focus();
  const times = [];
  for (let step = 0; step < count; step++) {
    const start = performance.now();
    const drawn = new Promise((done, failed) => {
      const observer = new MutationObserver(() => { observer.disconnect(); done(); });
      observer.observe(root, { attributes: true, attributeFilter: ["data-drawn"] });
      setTimeout(() => failed(new Error("nothing was drawn")), 10000);
    });
    target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    await drawn;
    times.push(performance.now() - start);
    await new Promise((done) => setTimeout(done, 150));
  }
  return times;
}
"""


def main() -> None:
    """Run what the command line asks for."""
    parser = make_parser(__doc__)
    parser.add_argument("--views", type=names, default=list(STEPS), help="which of " + ", ".join(STEPS))
    parser.add_argument("--minutes", type=int, default=30, help="default: 30")
    parser.add_argument("--steps", type=int, default=20, help="default: 20")
    arguments = parse(parser, views=STEPS)
    rows = [machine_row(1)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save_case(*generate_case("dense64", duration_s=60.0), folder)
        setup = SETUP.format(folder=folder, minutes=arguments.minutes).strip()
        views = [f"view = view and view.close()\nview = widgets.{name}(session)\nview" for name in arguments.views]
        write_notebook(folder / "views.ipynb", setup, PEER.strip(), *views)
        with serve(folder, "lab") as address_of, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            open_notebook(page, address_of("views.ipynb"))
            for index in range(2):
                run_cell(page, index)
                wait_until_run(page, index, timeout_s=300)
            peer_ms = 1000 * read_peer(page)
            for index, name in enumerate(arguments.views, start=2):
                figures = measure(page, index, name, arguments.steps)
                figures["step / peer"] = figures["step, median"] / peer_ms
                rows += [
                    {"case": "64 channels", "method": name, "figure": figure, "value": round(value, 2), "unit": "ms"}
                    for figure, value in figures.items()
                ]
                save(rows, arguments.out)
            browser.close()
    print(table(rows, peer_ms))


def read_peer(page: Page) -> float:
    """Return the seconds that the peer's cell has printed."""
    text = page.locator(".jp-OutputArea-output", has_text="peer").inner_text()
    found = re.search(r"peer ([\d.]+)", text)
    assert found is not None, text
    return float(found.group(1))


def measure(page: Page, index: int, name: str, num_steps: int) -> dict[str, float]:
    """Return milliseconds of the first draw and of the steps of the view that a cell makes."""
    cell = page.locator(".jp-CodeCell").nth(index)
    cell.locator(".cm-content").click()
    clicked: Any = page.evaluate("performance.now()")
    page.keyboard.press("Control+Enter")
    cell.locator(".crsae[data-drawn]").first.wait_for(timeout=60_000)
    first: Any = page.evaluate("performance.now()")
    page.wait_for_timeout(1500)
    if name in FIRST:
        page.evaluate(MEASURE, [STEPS[name][0], FIRST[name], 1])
    steps = page.evaluate(MEASURE, [*STEPS[name], num_steps])
    return {"first draw": first - clicked, "step, median": median(steps), "step, largest": max(steps)}


def table(rows: list[Row], peer_ms: float) -> str:
    """Return the figures as a table in Markdown."""
    lines = [
        "| view | first draw (ms) | step, median (ms) | largest | of the peer's |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in dict.fromkeys(str(row["method"]) for row in rows[1:]):
        figures = {str(row["figure"]): row["value"] for row in rows if row["method"] == name}
        lines.append(
            f"| {name} | {figures['first draw']:.0f} | {figures['step, median']:.0f} | "
            f"{figures['step, largest']:.0f} | {figures['step / peer']:.2f} |"
        )
    return "\n".join([*lines, "", f"The peer takes {peer_ms:.0f} ms."])


if __name__ == "__main__":
    main()
