import numpy as np
from simulated_rounds import dictionary, learning_round

from si_crsae.widgets.static_plots.learning import draw_learning
from si_crsae.widgets.view_models.courses import course_of_round
from si_crsae.widgets.view_models.learning import monitor_model


def two_rounds():
    versions = [dictionary(2, 0), dictionary(3, 1), dictionary(2, 2)]
    course = course_of_round(None, learning_round(0, versions[0], versions[1]))
    course = course_of_round(course, learning_round(1, versions[1], versions[2]))
    return monitor_model({course.name: course})


def test_every_curve_and_every_atom_is_drawn(figure):
    model = two_rounds()
    draw_learning(figure, model)
    by_title = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert list(by_title) == [panel.title for panel in model.panels] + model.cell_name
    for panel in model.panels:
        _, *drawn = by_title[panel.title].lines
        for line, curve in zip(panel.lines, drawn, strict=True):
            np.testing.assert_array_equal(curve.get_xydata(), np.column_stack([line.steps, line.values]))
    for name, versions in zip(model.cell_name, model.waveforms, strict=True):
        drawn = [line.get_ydata() for line in by_title[name].lines]
        np.testing.assert_array_equal(drawn, versions)
        assert [line.get_alpha() for line in by_title[name].lines] == sorted({0.25, 0.625, 1.0})


def test_before_anything_is_learned_it_is_told_how_to_start(figure):
    model = monitor_model({})
    draw_learning(figure, model)
    assert [text.get_text() for text in figure.texts] == [model.empty] != [""]
