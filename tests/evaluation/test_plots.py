import numpy as np
import pytest

from si_crsae.evaluation.calibration import reliability_table
from si_crsae.evaluation.decomposition import Decomposition
from si_crsae.evaluation.plots import (
    UNIT_COLORS,
    contact_pitch,
    plot_decomposition,
    plot_reliability,
    plot_spike_probabilities,
    plot_template,
    plot_traces,
    unit_color,
)

matplotlib_figure = pytest.importorskip("matplotlib.figure")

LOCATIONS = np.array([[0.0, 0.0], [0.0, 20.0], [0.0, 50.0]])


@pytest.fixture
def figure():
    return matplotlib_figure.Figure()


def lines_of(axes, color):
    return [line.get_xydata() for line in axes.lines if line.get_color() == color]


def test_units_differ_in_color_until_there_are_many():
    colors = [unit_color(unit) for unit in range(48)]
    assert len(set(colors)) == 48
    assert colors[:16] == list(UNIT_COLORS)
    parts = np.array([[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in colors])
    near = [np.abs(parts[unit] - parts[unit + step]).sum() for step in range(1, 24) for unit in range(48 - step)]
    assert min(near) > 20


def test_colors_have_contrast_to_white():
    for unit in range(48):
        color = unit_color(unit)
        channels = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        assert 1.05 / (linear @ (0.2126, 0.7152, 0.0722) + 0.05) >= 3, color


def test_a_template_is_drawn_at_its_contacts_and_not_where_it_is_zero(figure):
    axes = figure.subplots()
    template = np.zeros((11, 3))
    template[5, 1] = -4.0
    plot_template(axes, template, LOCATIONS, color="#ff0000", scale=8.0, title="unit 7", reference=2 * template)
    (drawn,) = lines_of(axes, "#ff0000")
    assert drawn[0, 1] == 20.0
    assert drawn[5].tolist() == pytest.approx([0.0, 20.0 - 4.0 * 20.0 / 8.0])
    (reference,) = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert reference.get_ydata().min() == pytest.approx(20.0 - 8.0 * 20.0 / 8.0)
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("x (µm)", "y (µm)", "unit 7")


def test_the_pitch_is_the_smallest_distance_of_two_contacts():
    assert contact_pitch(LOCATIONS) == 20.0
    assert contact_pitch(LOCATIONS[:1]) == 1.0


def test_traces_are_drawn_in_rows(figure):
    axes = figure.subplots()
    traces = np.arange(8.0).reshape(4, 2)
    plot_traces(axes, traces, np.arange(4.0), spacing=100.0, color="#ff0000", title="traces")
    first, second = lines_of(axes, "#ff0000")
    np.testing.assert_array_equal(first[:, 1], traces[:, 0])
    np.testing.assert_array_equal(second[:, 1], traces[:, 1] + 100.0)
    assert axes.get_xlabel() == "time (ms)"


def test_a_decomposition_shows_traces_spikes_by_unit_and_residual(figure):
    contributions = np.zeros((2, 6, 2), "float32")
    contributions[0, 1:4, 0] = 5.0
    contributions[1, 2:6, 1] = [3.0, 0.0, 3.0, 0.1]
    traces = contributions.sum(axis=0) + 0.25
    decomposition = Decomposition(
        start=0, sampling_frequency=1000.0, traces=traces, contributions=contributions, unit_index=np.array([4, 1])
    )
    observed, explained, remaining = figure.subplots(1, 3)
    plot_decomposition((observed, explained, remaining), decomposition, spacing=10.0)
    np.testing.assert_array_equal([line.get_ydata() for line in observed.lines], (traces + [0.0, 10.0]).T)
    (large,), (small,) = lines_of(explained, unit_color(4)), lines_of(explained, unit_color(1))
    np.testing.assert_array_equal(large, [[1, 5], [2, 5], [3, 5]])
    np.testing.assert_array_equal(small, [[2, 13], [3, 10], [4, 13]])
    np.testing.assert_allclose([line.get_ydata() for line in remaining.lines], [[0.25] * 6, [10.25] * 6])
    assert "noise sd" in observed.get_ylabel()


def test_spikes_are_drawn_at_their_amplitudes_the_improbable_on_top(figure):
    axes = figure.subplots()
    times, amplitude, probability = np.array([1.0, 2.0, 3.0]), np.array([9.0, 4.0, 8.0]), np.array([0.9, 0.1, 1.0])
    points = plot_spike_probabilities(
        axes, times, amplitude, probability, interval=(amplitude - 1, amplitude + 2), title="unit 3"
    )
    assert points.get_array().tolist() == [1.0, 0.9, 0.1]
    assert points.get_offsets().tolist() == [[3.0, 8.0], [1.0, 9.0], [2.0, 4.0]]
    assert points.get_clim() == (0.0, 1.0)
    lines = [segment.tolist() for segment in axes.collections[0].get_segments()]
    assert lines[1] == [[2.0, 3.0], [2.0, 6.0]]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("time (s)", "amplitude (noise sd)", "unit 3")


def test_reliability_is_drawn_against_the_diagonal(figure):
    axes = figure.subplots()
    table = reliability_table([0.25, 0.25, 0.95, 0.95, 0.95, 0.95], [True, False, True, True, True, True])
    plot_reliability(axes, table, label="all", color="#ff0000")
    (drawn,) = lines_of(axes, "#ff0000")
    np.testing.assert_allclose(drawn, [[0.25, 0.5], [0.95, 1.0]])
    few, many = axes.collections[0].get_sizes()
    assert many > few
    plot_reliability(figure.subplots(), reliability_table([], []))


def test_colors_repeat_where_there_are_more_units_than_colors():
    assert len({unit_color(unit) for unit in range(200)}) == 3 * len(UNIT_COLORS)
