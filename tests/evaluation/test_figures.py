import sys

import pytest

from si_crsae.evaluation.figures import new_figure


def test_a_new_figure_has_its_size_and_nothing_on_it():
    pytest.importorskip("matplotlib")
    figure = new_figure(figsize=(3.0, 2.0))
    assert figure.get_size_inches().tolist() == [3.0, 2.0]
    assert figure.axes == []


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'si_crsae\[widgets\]'"):
        new_figure(figsize=(3.0, 2.0))
