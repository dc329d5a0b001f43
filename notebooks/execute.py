"""Run the notebooks and leave them with their outputs: what one sees on the forge and in the docs.

Pictures are kept small. The metadata of each notebook say how long it took, and of which cells its outputs are; a test
fails where cells have changed since. After a change, run those that it concerns:

    python notebooks/execute.py first_sorting overlaps
"""

import argparse
import base64
import copy
import hashlib
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import nbclient
import nbformat
from PIL import Image

FOLDER = Path(__file__).parent
KEY = "si_crsae"
TIMEOUT_S = 600
MAX_WIDTH_PX, NUM_COLORS = 900, 64
PICTURE, WIDGET = "image/png", "application/vnd.jupyter.widget-view+json"


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="without .ipynb, default: all")
    arguments = parser.parse_args()
    # they run in a folder of their own, from which a relative path leads elsewhere
    data_folder = Path(os.environ.get("SI_CRSAE_DATA", FOLDER.parents[1] / "shared" / "data")).resolve()
    if not data_folder.is_dir():
        parser.error(f"no data in {data_folder}: set SI_CRSAE_DATA to the folder that holds recordings/")
    os.environ["SI_CRSAE_DATA"] = str(data_folder)
    paths = [FOLDER / f"{name}.ipynb" for name in arguments.names] or sorted(FOLDER.glob("*.ipynb"))
    for path in paths:
        with tempfile.TemporaryDirectory() as folder:
            notebook, seconds = execute(path, Path(folder))
        nbformat.write(as_committed(notebook, seconds), path)
        sys.stdout.write(f"{path.name}: {seconds:.0f} s, {path.stat().st_size / 1e3:.0f} kB\n")


def execute(path: Path, folder: Path) -> tuple[nbformat.NotebookNode, float]:
    """Return a notebook, run in a folder from a clean kernel, and how long that took (s)."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.pop("execution_count", None)
    os.environ["SI_CRSAE_STATIC_PICTURES"] = "1"  # widgets need a kernel: their pictures stand for them
    start = time.perf_counter()
    nbclient.NotebookClient(notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": str(folder)}}).execute()
    seconds = time.perf_counter() - start
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [without_folder(output, folder) for output in cell.outputs]
    return notebook, seconds


def without_folder(output: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Return an output that does not name the folder in which it was made."""
    return nbformat.from_dict(json.loads(json.dumps(output).replace(str(folder), "folder")))


def as_committed(notebook: nbformat.NotebookNode, seconds: float) -> nbformat.NotebookNode:
    """Return a notebook as it is committed: small pictures, nothing that only a kernel can show."""
    made = copy.deepcopy(notebook)
    made.metadata.pop("widgets", None)
    made.metadata[KEY] = {"cells": digest_of(notebook), "seconds": round(seconds)}
    for cell in made.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [small(output) for output in cell.outputs if is_shown(output)]
    return made


def digest_of(notebook: nbformat.NotebookNode) -> str:
    """Return what changes with the code of a notebook."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()[:16]


def is_shown(output: nbformat.NotebookNode) -> bool:
    """Tell whether a reader wants an output: bars and warnings of a run are no part of it."""
    return output.output_type != "stream" or output.name != "stderr"


def small(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return an output with its picture in few colors, and no wider than a page."""
    data = output.get("data", {})
    data.pop(WIDGET, None)
    if PICTURE in data:
        picture = Image.open(io.BytesIO(base64.b64decode(data[PICTURE]))).convert("RGB")
        if picture.width > MAX_WIDTH_PX:
            picture = picture.resize((MAX_WIDTH_PX, round(picture.height * MAX_WIDTH_PX / picture.width)))
        written = io.BytesIO()
        # rare colors, such as those of units, keep their place in the palette
        few = picture.quantize(NUM_COLORS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(written, format="png", optimize=True)
        data[PICTURE] = base64.b64encode(written.getvalue()).decode("ascii")
    return output


if __name__ == "__main__":
    main()
