import importlib.metadata
import inspect
import os

from sphinx.util.docutils import SphinxDirective

from si_crsae.config import CrsaeConfig
from si_crsae.core import descent, encoder, interpolation
from si_crsae.sorting import expectation, fragments, given, structure, units

project = "si_crsae"
author = "si_crsae contributors"
copyright = f"2026, {author}"
release = importlib.metadata.version("si_crsae")

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx_design"]
templates_path = ["_templates"]
exclude_patterns = ["_build", "jupyter_execute"]

html_theme = "pydata_sphinx_theme"
html_title = "si_crsae"
html_theme_options = {"navigation_with_keys": False}

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "substitution"]
# Constants are quoted from the code, as {{ module.NAME }}, so that a text cannot disagree with it.
myst_substitutions = {
    module.__name__.rpartition(".")[2]: {
        name: value for name, value in vars(module).items() if name.isupper() and isinstance(value, int | float | tuple)
    }
    for module in (descent, encoder, interpolation, expectation, fragments, given, structure, units)
}
# Notebooks are run by the tests; SI_CRSAE_DOCS_EXECUTE=cache shows their outputs too.
nb_execution_mode = os.environ.get("SI_CRSAE_DOCS_EXECUTE", "off")
nb_execution_raise_on_error = True
nb_execution_timeout = 300

autodoc_typehints = "none"  # numpydoc states types and shapes
numpydoc_show_class_members = False


class ParameterTable(SphinxDirective):
    """One row per parameter of the sorter, from its one declaration."""

    def run(self):
        rows = ["| Parameter | Default | Allowed | Meaning |", "| --- | --- | --- | --- |"]
        for name, schema in CrsaeConfig.model_json_schema()["properties"].items():
            rows.append(f"| `{name}` | `{schema['default']!r}` | {allowed_values(schema)} | {schema['description']} |")
        self.env.note_dependency(inspect.getfile(CrsaeConfig))
        return self.parse_text_to_nodes("\n".join(rows))


def allowed_values(schema):
    if "enum" in schema:
        return ", ".join(f"`{value!r}`" for value in schema["enum"])
    limits = {"exclusiveMinimum": "> {}", "minimum": "≥ {}", "exclusiveMaximum": "< {}", "maximum": "≤ {}"}
    bounds = [text.format(f"{schema[key]:g}") for key, text in limits.items() if key in schema]
    return ", ".join([schema["type"], *bounds])


def setup(app):
    app.add_directive("crsae-parameters", ParameterTable)
