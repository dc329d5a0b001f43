"""A view as a file: the data survive, and nothing in them can end the page early."""

import json
import re

import numpy as np
import pytest

from si_crsae.widgets.packing import pack, to_text
from si_crsae.widgets.page import write_page

STATE = {"name": "</script><!--<script>", "values": pack({"x": np.arange(3.0)})}


def written(folder, **changes):
    parts = {"title": "a < b", "script": "export default { render() {} };", "style": "b { color: red }", "state": STATE}
    return write_page(folder / "view.html", **(parts | changes)).read_text(encoding="utf8")


def test_the_state_is_in_the_page_as_it_was(tmp_path):
    (state,) = re.findall(r'<script type="application/json" id="state">(.*?)</script>', written(tmp_path))
    assert json.loads(state) == json.loads(json.dumps(to_text(STATE)))
    assert json.loads(state)["name"] == STATE["name"]


def test_the_title_is_text_and_the_module_is_the_view(tmp_path):
    page = written(tmp_path)
    assert "<title>a &lt; b</title>" in page
    assert "const view = { render() {} };" in page
    assert "export default" not in page
    assert page.count("</script>") == 2
    assert "b { color: red }" in page


def test_a_folder_that_is_missing_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"path = .*view.html: its folder does not exist"):
        written(tmp_path / "nowhere")
