import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

CELLS = """
from si_crsae.widgets import DecompositionViewer, open_session
session = open_session({folder!r})
session.go_to(3.0)
viewer = DecompositionViewer(session)
viewer
"""
ECHO = "print('time is', round(session.time_s, 3), 'error is', repr(viewer.error))"


def notebook(*sources):
    cells = [
        {
            "cell_type": "code",
            "id": f"cell{index}",
            "metadata": {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for index, source in enumerate(sources)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture(scope="module", params=["lab", "notebook"])
def served(request, run_folder, tmp_path_factory):
    """Address of a notebook in a server of JupyterLab or of Notebook 7."""
    pytest.importorskip({"lab": "jupyterlab", "notebook": "notebook"}[request.param])
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "view.ipynb").write_text(json.dumps(notebook(CELLS.format(folder=str(run_folder)).strip(), ECHO)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--IdentityProvider.token=",
        "--ServerApp.ip=127.0.0.1",
    ]
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_DATA_DIR": str(folder / "data")}
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyter", request.param, *options, f"--ServerApp.root_dir={folder}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/api/status", server)
        yield f"{address}/{'lab/tree' if request.param == 'lab' else 'notebooks'}/view.ipynb"
    finally:
        server.terminate()
        server.wait(timeout=20)


def wait_for(address, server, timeout=60):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            assert server.poll() is None, "the server has ended"
            time.sleep(0.3)
    raise TimeoutError(address)


def run_cell(page, index):
    """Run a cell: a page that is still loading takes no notice of keys, so ask until the cell has a number."""
    cell = page.locator(".jp-CodeCell").nth(index)
    cell.wait_for(timeout=60_000)
    prompt = cell.locator(".jp-InputPrompt")
    for _ in range(20):
        cell.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        page.wait_for_timeout(1500)
        if re.search(r"[*\d]", prompt.inner_text()):
            return
    raise TimeoutError("the cell was never run")


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
