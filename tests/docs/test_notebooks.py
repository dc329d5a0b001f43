"""Notebooks run from a clean kernel, and are committed with what that gives."""

import json
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("PIL")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_BYTES, MAX_BYTES_IN_ALL = 700_000, 3_000_000

sys.path.insert(0, str(ROOT / "notebooks"))
import execute  # noqa: E402


@pytest.fixture
def fast_kernels(tmp_path, monkeypatch):
    """Kernels start as the other processes of the tests do."""
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    helpers = ROOT / "tests" / "helpers"
    lines = [
        "import sys",
        f"sys.path.append({str(helpers)!r})",
        "import fast_start",
        "del sys.path[-1], sys, fast_start",
    ]
    (startup / "start.py").write_text("\n".join(lines), encoding="utf8")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def kinds(notebook):
    """What each cell shows: text, pictures, tables."""
    return [
        sorted({kind for output in cell.outputs for kind in output.get("data", {output.output_type: None})})
        for cell in code_cells(notebook)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs_from_a_clean_kernel_and_shows_what_is_committed(
    path, tmp_path, monkeypatch, fast_kernels, request
):
    monkeypatch.setenv("SI_CRSAE_STATIC_PICTURES", "1")
    if "SI_CRSAE_DATA" in path.read_text(encoding="utf8"):
        monkeypatch.setenv("SI_CRSAE_DATA", str(request.getfixturevalue("data_folder").resolve()))
    notebook, seconds = execute.execute(path, tmp_path)
    assert kinds(execute.as_committed(notebook, seconds)) == kinds(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_outputs_are_those_of_the_present_cells(path):
    """After a change: python notebooks/execute.py NAME."""
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata[execute.KEY]["cells"] == execute.digest_of(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    shown = [output.output_type for cell in cells for output in cell.outputs]
    assert "display_data" in shown or "execute_result" in shown
    assert "error" not in shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_name_no_folder_of_the_machine_that_made_them(path):
    outputs = json.dumps([cell.outputs for cell in code_cells(nbformat.read(path, as_version=4))])
    for folder in (str(Path.home()), str(ROOT), "/tmp/", "site-packages"):
        assert folder not in outputs


def test_notebooks_are_small():
    sizes = {path.name: path.stat().st_size for path in NOTEBOOKS}
    assert max(sizes.values()) < MAX_BYTES, sizes
    assert sum(sizes.values()) < MAX_BYTES_IN_ALL, sizes


def test_code_that_has_changed_has_another_digest():
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    before = execute.digest_of(notebook)
    code_cells(notebook)[0].source += "\n"
    assert execute.digest_of(notebook) != before
