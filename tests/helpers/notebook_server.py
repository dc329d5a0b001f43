"""Notebooks in a real JupyterLab or Notebook 7, for tests and for the benchmark of the widgets."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path


def write_notebook(path, *sources):
    """Write a notebook of code cells for the running Python."""
    cells = [
        {
            "cell_type": "code",
            "id": f"cell{at}",
            "metadata": {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for at, source in enumerate(sources)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    Path(path).write_text(json.dumps(content), encoding="utf8")


@contextmanager
def serve(folder, application):
    """Run JupyterLab ("lab") or Notebook 7 ("notebook") on a folder; gives a function from a file to its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        "--no-browser",
        "--allow-root",
        "--IdentityProvider.token=",
        "--ServerApp.ip=127.0.0.1",
        f"--port={port}",
        f"--ServerApp.root_dir={folder}",
    ]
    # JupyterLab takes cells that are out of sight off the page, where nothing can be looked for
    settings = folder / "jupyter" / "lab" / "user-settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}', encoding="utf8")
    environment = os.environ | {name: str(folder / "jupyter") for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    log = (folder / "jupyter.log").open("w", encoding="utf8")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyter", application, *options],
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/api/status", server, Path(log.name))
        yield lambda name: f"{address}/{'lab/tree' if application == 'lab' else 'notebooks'}/{name}"
    finally:
        server.terminate()
        server.wait(timeout=20)
        log.close()


def _wait_for(address, server, log, timeout=60):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            assert server.poll() is None, f"the server has ended:\n{log.read_text(encoding='utf8')[-2000:]}"
            time.sleep(0.3)
    raise TimeoutError(address)


def open_notebook(page, address):
    """Open a notebook and take what Jupyter offers in its dialogs: a kernel is started again if it did not come up."""

    def take(dialog):
        print("Jupyter asks:", dialog.inner_text())
        dialog.locator(".jp-mod-accept").click()

    page.add_locator_handler(page.locator(".jp-Dialog").first, take, no_wait_after=True)
    page.goto(address)


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


def wait_until_run(page, index, timeout_s=120):
    """Wait until a cell has its number."""
    prompt = page.locator(".jp-CodeCell").nth(index).locator(".jp-InputPrompt")
    end = time.monotonic() + timeout_s
    while not re.search(r"\d", prompt.inner_text()):
        if time.monotonic() > end:
            raise TimeoutError(f"cell {index} is still running")
        page.wait_for_timeout(200)
