import re

import pytest
from notebook_server import open_notebook, run_cell, serve, write_notebook

CELLS = """
from si_crsae.widgets import DecompositionViewer, open_session
session = open_session({folder!r})
session.go_to(3.0)
viewer = DecompositionViewer(session)
viewer
"""
MONITOR = """
from si_crsae.widgets import LearningMonitor
monitor = LearningMonitor()
monitor
"""
SORT = """
import time
import spikeinterface.full as si
with monitor.watching():
    si.run_sorter("crsae", si.load({recording!r}), folder={folder!r})
    time.sleep(20)  # what is seen meanwhile was sent while the cell runs
"""
ECHO = "print('time is', round(session.time_s, 3), 'error is', repr(viewer.error))"


@pytest.fixture(scope="module", params=["lab", "notebook"])
def served(request, run_folder, tmp_path_factory):
    """Address of a notebook in a server of JupyterLab or of Notebook 7."""
    pytest.importorskip({"lab": "jupyterlab", "notebook": "notebook"}[request.param])
    folder = tmp_path_factory.mktemp(request.param)
    sort = SORT.format(recording=str(run_folder.parent / "recording"), folder=str(folder / "watched"))
    write_notebook(
        folder / "view.ipynb", CELLS.format(folder=str(run_folder)).strip(), ECHO, MONITOR.strip(), sort.strip()
    )
    with serve(folder, request.param) as address_of:
        yield address_of("view.ipynb")
    print((folder / "jupyter.log").read_text(encoding="utf8"))  # pytest shows it where a test has failed


@pytest.mark.slow
def test_views_are_drawn_answer_and_follow_a_running_cell(browser, served):
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    open_notebook(page, served)
    run_cell(page, 0)
    canvas = page.locator(".crsae canvas").nth(1)
    canvas.wait_for(timeout=90_000)
    page.wait_for_function("() => Number(document.querySelector('.crsae').dataset.drawn) >= 1")
    page.wait_for_timeout(1000)  # the view asks once more, for its own width
    canvas.click(position={"x": 100, "y": 100})
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")  # in Jupyter's hands it would cut the cell
    page.wait_for_timeout(1000)
    run_cell(page, 1)
    output = page.locator(".jp-OutputArea-output", has_text="time is")
    output.wait_for(timeout=20_000)
    said = re.search(r"time is ([\d.]+) error is ''", output.inner_text())
    assert float(said.group(1)) == pytest.approx(3.05, abs=0.002)
    run_cell(page, 2)
    monitor = page.locator(".crsae").nth(1)
    monitor.wait_for(timeout=20_000)
    run_cell(page, 3)
    monitor.locator("text=/round 3 of 3/").wait_for(timeout=60_000)
    assert "*" in page.locator(".jp-CodeCell").nth(3).locator(".jp-InputPrompt").inner_text()
    page.close()
