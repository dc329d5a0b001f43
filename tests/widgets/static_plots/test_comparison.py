import numpy as np
import pytest
from curated_units import curated_units

from si_crsae.evaluation.sorted_recording import explain_like
from si_crsae.widgets.comparison import ComparisonView
from si_crsae.widgets.session import Session
from si_crsae.widgets.static_plots.comparison import draw_comparison


@pytest.fixture
def view():
    """Five units against three of them as the truth."""
    tested = curated_units()
    truth = explain_like(tested.sorting.select_units([2, 3, 4]), tested, name="truth")
    session = Session(tested, truth=truth)
    session.selected_units = [3]
    return ComparisonView(session)


def test_the_matrix_shows_the_agreement_and_marks_the_pair(figure, view):
    matrix, model = view.agreement(), view.view_model()
    draw_comparison(figure, matrix, model)
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), matrix.agreement)
    assert [label.get_text() for label in axes.get_yticklabels()] == [matrix.truth_ids[row] for row in matrix.rows]
    assert [label.get_text() for label in axes.get_xticklabels()] == [matrix.tested_ids[at] for at in matrix.columns]
    (mark,) = axes.lines
    place = matrix.columns.index(model.tested_unit), matrix.rows.index(model.truth_unit)
    assert tuple(np.ravel(mark.get_xydata())) == place
    written = {tuple(text.get_position()): text.get_text() for text in axes.texts}
    assert written[place] == f"{matrix.agreement[place[::-1]]:.2f}" == "1.00"


def test_the_pair_is_told_in_numbers(figure, view):
    model = view.view_model()
    draw_comparison(figure, view.agreement(), model)
    (said,) = [part.get_suptitle() for part in figure.subfigs if part.get_suptitle()]
    assert "truth 3 (dashed) / made 3" in said
    assert "20 matched" in said
    assert "accuracy 1.00, recall 1.00, precision 1.00" in said


def test_where_there_is_nothing_to_compare_the_reason_is_written(figure):
    view = ComparisonView(Session(curated_units()))
    draw_comparison(figure, None, view.view_model())
    assert [text.get_text() for text in figure.texts] == [view.view_model().empty]
    assert figure.axes == []
