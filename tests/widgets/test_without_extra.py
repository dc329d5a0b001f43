"""Where an optional package is missing, the error says what to install."""

import subprocess
import sys

import pytest

IMPORTS = """
import importlib, pkgutil, sys

for missing in sys.argv[1:]:
    sys.modules[missing] = None  # as if it were not installed
path = importlib.util.find_spec("si_crsae").submodule_search_locations[0] + "/widgets"
names = [f"si_crsae.widgets.{module.name}" for module in pkgutil.iter_modules([path])]
for name in ["si_crsae.widgets", *names, *(f"{name}.any" for name in names)]:
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(name, "|", error)
    else:
        print(name, "| imported")
    for loaded in [loaded for loaded in sys.modules if loaded.startswith("si_crsae.widgets")]:
        del sys.modules[loaded]
"""

PICTURE = """
import sys

sys.modules["matplotlib"] = None
import si_crsae.widgets
from si_crsae.evaluation.demo import run_demo
from si_crsae.evaluation.digits import render_glyphs
from si_crsae.widgets.view import WidgetView

class Nothing(WidgetView):
    _esm = ""

    def view_model(self):
        return {}

for draw in (lambda: Nothing().to_matplotlib(), render_glyphs, lambda: run_demo(None, duration_s=1.0)):
    try:
        draw()
    except ImportError as error:
        print(error)
"""


def run(code, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("missing", ["anywidget", "ipywidgets", "traitlets"])
def test_whatever_of_the_widgets_is_imported_the_extra_is_named(missing):
    lines = run(IMPORTS, missing)
    assert len(lines) > 20
    for line in lines:
        said = f"si_crsae.widgets needs {missing}, which cannot be imported: pip install 'si_crsae[widgets]'"
        assert line.split(" | ")[1] == said, line


def test_pictures_without_matplotlib_name_the_extra_and_widgets_do_without():
    lines = run(PICTURE)
    assert len(lines) == 3
    assert all("matplotlib" in line and "pip install 'si_crsae[widgets]'" in line for line in lines), lines
