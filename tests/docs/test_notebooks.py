from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


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


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs_from_a_clean_kernel(path, tmp_path, monkeypatch, fast_kernels):
    monkeypatch.setenv("SI_CRSAE_STATIC_PICTURES", "1")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    executed = ROOT / "build" / "notebooks" / path.name  # the docs show its outputs
    executed.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, executed)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_is_committed_without_outputs(path):
    cells = nbformat.read(path, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
