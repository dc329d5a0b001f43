import re

import pytest
from jupyter_server import run_cell, serve, write_notebook

CELLS = """
from si_crsae.widgets import DecompositionViewer, open_session
session = open_session({folder!r})
session.go_to(3.0)
viewer = DecompositionViewer(session)
viewer
"""
ECHO = "print('time is', round(session.time_s, 3), 'error is', repr(viewer.error))"


@pytest.fixture(scope="module", params=["lab", "notebook"])
def served(request, run_folder, tmp_path_factory):
    """Address of a notebook in a server of JupyterLab or of Notebook 7."""
    pytest.importorskip({"lab": "jupyterlab", "notebook": "notebook"}[request.param])
    folder = tmp_path_factory.mktemp(request.param)
    write_notebook(folder / "view.ipynb", CELLS.format(folder=str(run_folder)).strip(), ECHO)
    with serve(folder, request.param) as address_of:
        yield address_of("view.ipynb")


@pytest.mark.slow
def test_a_view_is_drawn_and_answers_in_a_notebook(browser, served):
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.goto(served)
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
    page.close()
