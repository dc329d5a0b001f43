import dataclasses
import functools
import importlib.metadata
import inspect
import os
import re

import torch
from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from si_crsae.config import PARAMETER_GROUPS, CrsaeConfig
from si_crsae.core import (
    SOLVERS,
    Counted,
    GroupSparse,
    Ridge,
    Simplex,
    Sparse,
    TwoSidedGaussian,
)
from si_crsae.core.events import encoder, explanations
from si_crsae.core.operators import interpolation
from si_crsae.core.solvers import descent
from si_crsae.sorting import given
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.probabilities import evidence, features
from si_crsae.widgets.view_models.reasons import EXPLANATIONS, Explanation

project = "si_crsae"
author = "si_crsae contributors"
copyright = f"2026, {author}"
release = importlib.metadata.version("si_crsae")

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx_design"]
templates_path = ["_templates"]
exclude_patterns = ["_build", "jupyter_execute"]

html_theme = "pydata_sphinx_theme"
html_title = "si_crsae"
html_theme_options = {"navigation_with_keys": False, "header_links_before_dropdown": 7}
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_math_renderer = "mathml"  # drawn by the browser itself: MathJax would come from the network

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "substitution"]
# Numbers are quoted from the code, so that a text cannot disagree with it: assumptions as {{ group.name }}, constants
# of these modules as {{ module.NAME }}.
myst_substitutions = dataclasses.asdict(ASSUMED) | {
    module.__name__.rpartition(".")[2]: {
        name: value for name, value in vars(module).items() if name.isupper() and isinstance(value, int | float | tuple)
    }
    for module in (descent, encoder, evidence, explanations, features, given, interpolation)
}
# Notebooks are committed with their outputs, see notebooks/execute.py.
nb_execution_mode = os.environ.get("SI_CRSAE_DOCS_EXECUTE", "off")
# Widgets need a kernel: the pages show the picture that goes with each.
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
nb_execution_raise_on_error = True
nb_execution_timeout = 300

autodoc_typehints = "none"  # numpydoc states types and shapes
numpydoc_show_class_members = False


class ParameterTable(SphinxDirective):
    """A section for each group of parameters of the sorter, one row per parameter, from its one declaration."""

    def run(self):
        schemas, parts = CrsaeConfig.model_json_schema()["properties"], []
        for title, names in PARAMETER_GROUPS.items():
            rows = ["| Parameter | Default | Allowed | Meaning |", "| --- | --- | --- | --- |"]
            rows += [parameter_row(name, schemas[name]) for name in names]
            parts += [f"## {title}", ":::{rst-class} wide-last-column\n:::", "\n".join(rows)]
        self.env.note_dependency(inspect.getfile(CrsaeConfig))
        return self.parse_text_to_nodes("\n\n".join(parts), allow_section_headings=True)


def parameter_row(name, schema):
    return f"| `{name}` | `{schema['default']!r}` | {allowed_values(schema)} | {schema['description']} |"


class AssumptionTables(SphinxDirective):
    """A section for each group of assumptions, one row per number, from its one declaration."""

    def run(self):
        parts = []
        for field in dataclasses.fields(ASSUMED):
            group = getattr(ASSUMED, field.name)
            rows = ["| Name | Value | Unit | What it decides | Where it was measured |", "| --- " * 5 + "|"]
            rows += ["| " + " | ".join(cells) + " |" for cells in assumption_rows(group)]
            parts += [f"## `{field.name}`", inspect.getdoc(group), "\n".join(rows)]
            self.env.note_dependency(inspect.getfile(type(group)))
        return self.parse_text_to_nodes("\n\n".join(parts), allow_section_headings=True)


def assumption_rows(group):
    """Return name, value, unit, meaning and origin of the numbers of a group, from the docstrings under them."""
    documented = ModuleAnalyzer.for_module(type(group).__module__).find_attr_docs()
    rows = []
    for field in dataclasses.fields(group):
        text = "\n".join(documented[type(group).__name__, field.name]).strip()
        meaning, measured = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
        before, unit, after = re.fullmatch(r"(.*?) \(([^()]+)\)(.*)", meaning).groups()
        rows.append((f"`{field.name}`", f"`{getattr(group, field.name)}`", unit, before + after, measured))
    return rows


NO_CLUSTER = "lower `detect_threshold`; see whether the channel was used"


class DecisionTable(SphinxDirective):
    """One row per reason for which learning decides about a unit, from the words that the views use."""

    def run(self):
        rows = ["| `what` | `figure` | Meaning | What helps, if it is wrong |", "| --- " * 4 + "|"]
        nothing = ("nothing at all", "", "no cluster of peaks was found", NO_CLUSTER)
        rows += ["| " + " | ".join(cells) + " |" for cells in [nothing, *decision_rows()]]
        self.env.note_dependency(inspect.getfile(Explanation))
        return self.parse_text_to_nodes("\n\n".join([":::{rst-class} wide-third-column\n:::", "\n".join(rows)]))


def decision_rows():
    """Return what was decided, by which figures, what that means, and what helps; reasons alike share a row."""
    figures = {}
    for (what, figure), told in EXPLANATIONS.items():
        figures.setdefault((what, told), []).append(f"`{figure}`")
    names = {"others": "`others`", "became": "`became`"}
    return [
        (f"`{what}`", ", ".join(deciding), told.means.format_map(names), told.helps)
        for (what, told), deciding in figures.items()
    ]


class PriorTable(SphinxDirective):
    """One row per prior: its formulas, and what its activation makes of four coefficients, at a step size of 1."""

    def run(self):
        code = torch.tensor([[[-2.0], [-0.5], [0.5], [2.0]]])
        values = ", ".join(f"{value:g}" for value in code.flatten().tolist())
        rows = [f"| Prior | Constraint | Expression | Activation of $v$ | of ({values}) |", "| --- " * 5 + "|"]
        for name, constraint, expression, activation, prior in PRIORS:
            found = ", ".join(f"{value:.3g}" for value in prior.activation(code, 1.0).flatten().tolist())
            rows.append(f"| {name} | {constraint} | ${expression}$ | ${activation}$ | ({found}) |")
        return self.parse_text_to_nodes("\n".join(rows))


class SolverTable(SphinxDirective):
    """One row per solver in the registry: what moves in it, from its documentation."""

    def run(self):
        rows = ["| `solver` | What moves |", "| --- | --- |"]
        rows += [f"| `{name}` | {inspect.getdoc(kind).splitlines()[0]} |" for name, kind in SOLVERS.items()]
        return self.parse_text_to_nodes("\n".join(rows))


ones = torch.ones(4)
PRIORS = [
    (
        "`Ridge`",
        "none",
        r"\sum_j x_j^2 / (2 \sigma^2)",
        r"\frac{\sigma^2}{\alpha + \sigma^2} v",
        Ridge(variance=ones),
    ),
    (
        "`Sparse(nonnegative=True)`",
        r"$x \geq 0$",
        r"\lambda \sum_j x_j",
        r"\mathrm{relu}(v - \alpha \lambda)",
        Sparse(regularization=ones, nonnegative=True),
    ),
    (
        "`Sparse`",
        "none",
        r"\lambda \sum_j \lvert x_j \rvert",
        r"\mathrm{sign}(v)\, \mathrm{relu}(\lvert v \rvert - \alpha \lambda)",
        Sparse(regularization=ones),
    ),
    (
        "`Counted`",
        "none",
        r"\tfrac12 \lambda^2 \, \#\{j : x_j \neq 0\}",
        r"v \text{ where } \lvert v \rvert > \sqrt{\alpha} \lambda",
        Counted(regularization=ones),
    ),
    (
        "`TwoSidedGaussian`",
        "none",
        r"\sum_j \frac{x_j^2}{2 \sigma_+^2} 1_{x_j \geq 0} + \frac{x_j^2}{2 \sigma_-^2} 1_{x_j < 0}",
        r"\frac{\sigma_\pm^2}{\alpha + \sigma_\pm^2} v \text{ by the sign of } v",
        TwoSidedGaussian(positive_variance=ones, negative_variance=ones / 9),
    ),
    (
        "`GroupSparse`, pairs",
        "none",
        r"\lambda \sum_g \lVert x_g \rVert",
        r"\mathrm{relu}(1 - \alpha \lambda / \lVert v_g \rVert)\, v_g",
        GroupSparse(regularization=torch.ones(2), group_size=2),
    ),
    (
        "`Simplex`",
        r"$x \geq 0$, $\sum_j x_j = 1$",
        "0",
        r"\mathrm{relu}(v - b(v))",
        Simplex(),
    ),
]


def allowed_values(schema):
    if "anyOf" in schema:
        return ", ".join(allowed_values(kind) for kind in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']!r}`"
    if "enum" in schema:
        return ", ".join(f"`{value!r}`" for value in schema["enum"])
    limits = {"exclusiveMinimum": "> {}", "minimum": "≥ {}", "exclusiveMaximum": "< {}", "maximum": "≤ {}"}
    bounds = [text.format(f"{schema[key]:g}") for key, text in limits.items() if key in schema]
    return ", ".join([schema["type"], *bounds])


def write_math(self, node, *, display):
    """Write a formula as MathML, in which delimiters grow by themselves."""
    formula = re.sub(r"\\[bB]igg?[lrm]?(?![a-z])", "", node.astext())
    self.body.append(convert(formula, display="block" if display else "inline"))
    raise SkipNode


def setup(app):
    inline, block = (functools.partial(write_math, display=display) for display in (False, True))
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.add_directive("crsae-parameters", ParameterTable)
    app.add_directive("crsae-assumptions", AssumptionTables)
    app.add_directive("crsae-decisions", DecisionTable)
    app.add_directive("prior-table", PriorTable)
    app.add_directive("solver-table", SolverTable)
