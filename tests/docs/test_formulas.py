"""Pages show their formulas without the network, whole."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("latex2mathml")
pytest.importorskip("myst_nb")
pytest.importorskip("pydata_sphinx_theme")
ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if re.search(r"(?<!\\)\$", page.read_text(encoding="utf8")) and "_build" not in page.parts
]


@pytest.mark.slow
def test_formulas_are_drawn_by_the_browser_and_nothing_is_left_of_their_source(tmp_path):
    sources = [str(page) for page in PAGES]
    assert sources
    command = [sys.executable, "-m", "sphinx", "-q", str(ROOT / "docs"), str(tmp_path / "html"), *sources]
    subprocess.run(command, check=True, capture_output=True)
    for page in PAGES:
        html = (tmp_path / "html" / page.relative_to(ROOT / "docs")).with_suffix(".html").read_text(encoding="utf8")
        assert not re.search(r"<script[^>]* src=.https?:", html), page.name
        for formula in re.findall(r"<math.*?</math>", html, re.DOTALL):
            assert "\\" not in re.sub("<[^>]+>", "", formula), page.name
