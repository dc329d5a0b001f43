"""A view as a file: its module, its data and what stands in for a kernel."""

import html
import json
from pathlib import Path
from typing import Any

from si_crsae.files import written_whole
from si_crsae.widgets.packing import to_text

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body {{ margin: 1rem; font-family: system-ui, sans-serif; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #111; color: #ddd; }} }}
{style}</style>
</head>
<body>
<div id="view"></div>
<script type="application/json" id="state">{state}</script>
<script type="module">
{script}
{model}
</script>
</body>
</html>
"""

_MODEL = (Path(__file__).parent / "javascript" / "saved_page.js").read_text(encoding="utf8")


def write_page(path: Path, *, title: str, script: str, style: str, state: dict[str, Any]) -> Path:
    """Write a page that shows a view.

    Parameters
    ----------
    path : Path
    title : str
    script : str
        Module with a default export, as anywidget asks for it.
    style : str
    state : dict
        Traits of the widget by name, arrays packed; `held` tells what the page can answer, see `Held`.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    ValueError
        If the folder of the path does not exist.
    """
    if not path.parent.is_dir():
        raise ValueError(f"path = {path}: its folder does not exist; make it, or choose another")
    # "</script>" in a name would end the element, "<!--<script>" would keep it from ending
    data = json.dumps(to_text(state), allow_nan=False).replace("<", "\\u003c")
    page = _PAGE.format(
        title=html.escape(title),
        style=style,
        state=data,
        script=script.replace("export default", "const view ="),
        model=_MODEL,
    )
    with written_whole(path) as unfinished:
        unfinished.write_text(page, encoding="utf8")
    return path
