"""Claims about compiled functions that take NamedTuples: they are compiled once, and again when a layout is gone."""

import importlib.util
import os
import sys

import numpy as np
import pytest

pytest.importorskip("numba")

MODULE = """
from typing import NamedTuple, no_type_check

import numpy as np

from si_crsae.core.compiled import compile_loops


class {layout}(NamedTuple):
    start: np.ndarray
    price: float


@compile_loops()
@no_type_check
def scaled(given):
    return {layout}(given.start * given.price, price=given.price)
"""


@pytest.fixture
def load_module(tmp_path, monkeypatch):
    """A function that writes a module, whose class has the given name, to the same file, and imports it afresh."""
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "layouts_of_a_test.py"

    def load(layout):
        path.write_text(MODULE.format(layout=layout))
        os.utime(path, (0, len(layout)))  # by which its versions are told apart
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)
        return module

    return load


def scale(module, layout):
    """Return how often the function was loaded from disk and compiled, after a call whose result is checked."""
    given = getattr(module, layout)(np.arange(3.0), 2.0)
    found = module.scaled(given)
    assert type(found) is type(given)
    np.testing.assert_array_equal(found.start, [0.0, 2.0, 4.0])
    stats = module.scaled.stats
    return sum(stats.cache_hits.values()), sum(stats.cache_misses.values())


def test_a_function_of_a_named_tuple_is_compiled_once(load_module):
    assert scale(load_module("Layout"), "Layout") == (0, 1)
    assert scale(load_module("Layout"), "Layout") == (1, 0)


def test_a_layout_that_is_gone_is_forgotten(load_module):
    assert scale(load_module("Layout"), "Layout") == (0, 1)
    assert scale(load_module("Renamed"), "Renamed") == (0, 1)
    assert scale(load_module("Renamed"), "Renamed") == (1, 0)
