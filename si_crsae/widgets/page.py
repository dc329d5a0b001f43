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

# Stands in for the model that Jupyter gives a widget; a test may connect `receive` to a kernel of its own.
_MODEL = """
function restored(value) {
  if (Array.isArray(value)) return value.map(restored);
  if (value === null || typeof value !== "object") return value;
  const copy = Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, restored(entry)]));
  if (typeof copy.data === "string" && copy.dtype) {
    copy.data = new DataView(Uint8Array.from(atob(copy.data), (letter) => letter.charCodeAt(0)).buffer);
  }
  return copy;
}
const listeners = {};
const model = {
  isStatic: true,
  state: restored(JSON.parse(document.getElementById("state").textContent)),
  get(name) { return this.state[name]; },
  set(name, value) { this.state[name] = value; this.emit("change:" + name); },
  save_changes() {},
  send() {},
  on(name, listener) { (listeners[name] ??= []).push(listener); },
  off(name, listener) { listeners[name] = (listeners[name] ?? []).filter((other) => other !== listener); },
  emit(name) { for (const listener of listeners[name] ?? []) listener(); },
  receive(changes) { for (const [name, value] of Object.entries(changes)) this.set(name, restored(value)); },
};
window.model = model;
view.render({ model, el: document.getElementById("view") });
"""


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
        Traits of the widget by name, arrays packed.

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
