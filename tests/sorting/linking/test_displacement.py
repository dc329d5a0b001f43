"""Claims about templates moved along the probe: signs and directions of displacements and of gains."""

import numpy as np
import pytest

from si_crsae.sorting.linking.displacement import (
    CompressedTemplates,
    Displacement,
    compare_both_ways,
    estimate_displacement,
    move_templates,
)

LENGTH_UM = 30.0
LOCATIONS = np.stack([np.zeros(32), 20.0 * np.arange(32)], axis=1)
DEPTHS_UM = np.array([150.0, 260.0, 340.0, 430.0])


def templates_at(depths_um, *, gains=1.0):
    """Return units with a time course each, whose size falls off around a depth."""
    sizes = np.exp(-0.5 * np.square((LOCATIONS[:, 1] - np.reshape(depths_um, (-1, 1))) / LENGTH_UM))
    courses = np.linalg.qr(np.random.default_rng(0).standard_normal((len(sizes), len(sizes))))[0]
    values = 100.0 * np.reshape(gains * np.ones(len(sizes)), (-1, 1, 1)) * sizes[:, :, None] * courses[:, None]
    errors = np.full(sizes.shape, 1e-3)
    return CompressedTemplates(at_delays=values[None].astype("float32"), errors=errors, locations=LOCATIONS)


def compare(first, second, displacement_um):
    by = np.full(len(DEPTHS_UM), displacement_um)
    return compare_both_ways(first, second, (by, by), length_scale_um=LENGTH_UM)


def test_a_moved_template_is_that_of_a_unit_at_another_depth():
    moved = move_templates(templates_at(DEPTHS_UM), np.full(4, 30.0), length_scale_um=LENGTH_UM)
    np.testing.assert_allclose(moved, templates_at(DEPTHS_UM + 30.0).values, atol=2.0)


def test_units_are_alike_after_their_displacement_and_not_after_its_opposite():
    first, second = templates_at(DEPTHS_UM), templates_at(DEPTHS_UM + 30.0)
    assert np.diag(compare(first, second, 30.0)[0]).min() > 0.99
    assert np.diag(compare(first, second, -30.0)[0]).max() < 0.5


def test_the_gain_is_that_of_the_second_epoch_over_the_first():
    gains = np.array([0.5, 1.0, 1.5, 3.0])
    _, log_gain = compare(templates_at(DEPTHS_UM), templates_at(DEPTHS_UM + 30.0, gains=gains), 30.0)
    np.testing.assert_allclose(np.diag(log_gain), np.log(gains), atol=0.02)


def test_both_epochs_count_alike():
    first, second = templates_at(DEPTHS_UM, gains=0.7), templates_at(DEPTHS_UM + 21.0)
    similarity, log_gain = compare(first, second, 18.0)
    backward, inverse = compare(second, first, -18.0)
    np.testing.assert_allclose(backward, similarity.T, atol=1e-5)
    np.testing.assert_allclose(inverse, -log_gain.T, atol=1e-5)


def test_what_is_left_of_a_template_beyond_the_end_of_the_probe_is_not_taken_for_all_of_it():
    first = templates_at(np.array([610.0, 260.0, 340.0, 430.0]))
    left = templates_at(np.array([700.0, 260.0, 340.0, 430.0]))
    similarity, _ = compare(first, left, 90.0)
    assert similarity[0, 0] < 0.4


@pytest.mark.parametrize("displacement_um", [-40.0, 26.0])
def test_the_displacement_is_found_with_its_sign(displacement_um):
    first, second = templates_at(DEPTHS_UM), templates_at(DEPTHS_UM + displacement_um)
    found = estimate_displacement(first, second, max_displacement_um=80.0, length_scale_um=LENGTH_UM)
    assert found.displacements_um == pytest.approx(displacement_um, abs=2.0)


def test_a_displacement_is_the_same_where_a_unit_was_and_where_it_is():
    stretch = Displacement(depths_um=np.array([0.0, 100.0, 200.0]), displacements_um=np.array([-30.0, 20.0, 70.0]))
    depths_um = np.array([0.0, 40.0, 150.0, 200.0])
    np.testing.assert_allclose(stretch.at(depths_um), [-30.0, -10.0, 45.0, 70.0])
    np.testing.assert_allclose(stretch.at_final(depths_um + stretch.at(depths_um)), stretch.at(depths_um))
