"""Claims about what the docs say of the numbers that the sorter assumes."""

import dataclasses
import re
import runpy
from pathlib import Path

import pytest

from si_crsae.sorting.assumptions import ASSUMED

pytest.importorskip("sphinx")
ROOT = Path(__file__).parents[2]
GROUPS = [field.name for field in dataclasses.fields(ASSUMED)]
# What follows a unit in the name of a number, and what its docstring calls the unit.
SUFFIXES = {"_ms": "ms", "_s": "s", "_um": "um", "_hz": "Hz", "_odds": "nats", "_fraction": "fraction"}


@pytest.fixture(scope="module")
def conf():
    return runpy.run_path(str(ROOT / "docs" / "conf.py"))


@pytest.mark.parametrize("name", GROUPS)
def test_every_number_says_what_it_decides_in_what_unit_and_where_it_was_measured(conf, name):
    group = getattr(ASSUMED, name)
    rows = conf["assumption_rows"](group)
    assert [row[0] for row in rows] == [f"`{field.name}`" for field in dataclasses.fields(group)]
    for field, (_, value, unit, meaning, measured) in zip(dataclasses.fields(group), rows, strict=True):
        assert value == f"`{getattr(group, field.name)}`"
        assert len(meaning) > 20
        assert "|" not in meaning + measured + unit  # the ends of a cell
        assert measured.startswith(("Measured", "Calculated", "Simulated", "Chosen"))
        for suffix, wanted in SUFFIXES.items():
            assert not field.name.endswith(suffix) or unit.lower().startswith(wanted.lower()), field.name


def test_the_page_lists_every_group():
    page = (ROOT / "docs" / "reference" / "assumptions.md").read_text(encoding="utf8")
    assert "```{crsae-assumptions}" in page


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_numbers_that_a_page_quotes_are_in_the_code(conf, page):
    jinja = pytest.importorskip("jinja2").Environment(undefined=pytest.importorskip("jinja2").StrictUndefined)
    for quoted in re.findall(r"\{\{(.*?)\}\}", page.read_text(encoding="utf8")):
        assert jinja.from_string("{{" + quoted + "}}").render(conf["myst_substitutions"])
