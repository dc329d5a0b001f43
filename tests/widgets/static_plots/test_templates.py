import numpy as np
import pytest
from curated_units import curated_units

from si_crsae.evaluation.sorted_recording import open_run
from si_crsae.widgets.session import Session
from si_crsae.widgets.static_plots.templates import draw_templates
from si_crsae.widgets.templates import TemplateInspector
from si_crsae.widgets.view_models.templates import templates_model
from si_crsae.widgets.view_models.unit_figures import describe_units


def model_of(*units, **changes):
    session = Session(curated_units(**changes))
    session.selected_units = list(units)
    return TemplateInspector(session).view_model()


def axes_with(figure, label):
    return [axes for axes in figure.axes if axes.get_xlabel() == label]


def test_the_waveforms_stand_at_their_contacts_and_are_as_large_as_said(figure):
    model = model_of(2)
    draw_templates(figure, model, quantity="atoms", whole_probe=True)
    (axes,) = axes_with(figure, "x (µm)")
    contacts, *waveforms = axes.lines
    np.testing.assert_array_equal(contacts.get_xydata(), model.overview.locations)
    largest = max(waveforms, key=lambda line: np.ptp(line.get_ydata()))
    y = model.overview.locations[1, 1]  # unit 2 is on the second contact
    height = np.abs(model.atoms.values).max()
    assert f"the tallest has {height:.3g} {model.atoms.unit_of_measurement}" in axes.get_title()
    trough = largest.get_ydata().argmin()
    assert largest.get_ydata().max() <= y
    assert largest.get_xdata()[trough] == model.overview.locations[1, 0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["2"]


def test_correlograms_of_units_and_pairs_are_drawn(figure):
    model = model_of(0, 1)
    draw_templates(figure, model, quantity="atoms")
    drawn = axes_with(figure, "lag (ms)")
    assert [axes.get_title().split(" (")[0] for axes in drawn] == ["unit 0", "unit 1 after 0"]
    for axes, one in zip(drawn, model.correlograms, strict=True):
        np.testing.assert_array_equal(axes.patches[0].get_data().values, one.counts)


def test_amplitudes_are_drawn_over_time_with_the_cursor(figure):
    model = model_of(3)
    draw_templates(figure, model, quantity="atoms", cursor_s=1.5)
    (axes,) = axes_with(figure, "time (s)")
    (points,) = axes.collections
    np.testing.assert_allclose(points.get_offsets()[:, 0], np.arange(1000, 21_000, 1000) / 10_000.0)
    np.testing.assert_allclose(points.get_offsets()[:, 1], model.amplitudes.amplitude)
    assert axes.lines[0].get_xdata()[0] == 1.5


def test_the_table_has_the_figures_of_the_units(figure):
    model = model_of(4, 2)
    draw_templates(figure, model, quantity="atoms")
    (table,) = [table for axes in figure.axes for table in axes.tables]
    cells = {place: cell.get_text().get_text() for place, cell in table.get_celld().items()}
    assert (cells[0, 0], cells[0, 1]) == ("4", "2")
    row_of = {cells[row, -1]: row for row, column in cells if column == -1}
    num_spikes = np.bincount(curated_units().units.spikes["unit_index"])
    (row,) = [row for label, row in row_of.items() if label.startswith("spikes")]
    assert (cells[row, 0], cells[row, 1]) == (f"{num_spikes[4]:.4g}", f"{num_spikes[2]:.4g}")


def test_without_templates_in_microvolts_that_is_written(figure):
    draw_templates(figure, model_of(0), quantity="templates")
    (axes,) = axes_with(figure, "x (µm)")
    assert [text.get_text() for text in axes.texts] == ["no templates in uV"]


def test_without_units_the_reason_is_written(figure):
    model = model_of(num_units=0)
    draw_templates(figure, model, quantity="atoms")
    assert [text.get_text() for text in figure.texts] == [model.empty] != [""]


def test_the_title_says_where_the_tissue_was(figure, moving_run_folder):
    tested = open_run(moving_run_folder)
    model = templates_model(tested, describe_units(tested), selected=[0], at_s=2.5)
    draw_templates(figure, model, quantity="atoms")
    assert figure.axes[0].get_title().startswith("atoms at 2.5 s (moved by +10.0 µm); ")


@pytest.mark.parametrize(("quantity", "says"), [("atoms", "(tissue at rest)"), ("templates", "(mean over the motion)")])
def test_the_title_says_that_no_time_is_shown(figure, moving_run_folder, quantity, says):
    tested = open_run(moving_run_folder)
    draw_templates(figure, templates_model(tested, describe_units(tested), selected=[0]), quantity=quantity)
    assert says in figure.axes[0].get_title()
