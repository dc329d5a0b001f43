"""Claims about which units are joined and dropped while the dictionary is learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from simulated_units import RATE_HZ, draw_bursts, draw_times, make_template, make_unit, smooth_basis

from si_crsae.config import CrsaeConfig
from si_crsae.core.operators.filtering import component_lags
from si_crsae.sorting.assumptions import (
    ASSUMED,
    Assumptions,
    RefractoryAssumptions,
    StructureAssumptions,
)
from si_crsae.sorting.learning import structure
from si_crsae.sorting.learning.history import History
from si_crsae.sorting.learning.units import TemplateGeometry, across_variation, separation

CONFIG = CrsaeConfig()
GAINS = (1.0, 0.6, 0.3, 0.2)


@pytest.fixture(scope="module")
def geometry():
    basis = smooth_basis()
    return TemplateGeometry(component_lags(torch.from_numpy(basis)).numpy(), basis)


def merge(units, geometry, assumed=ASSUMED):
    return structure.merge_units(units, geometry, CONFIG, sampling_frequency=RATE_HZ, assumed=assumed)


def test_two_halves_of_a_neuron_are_merged(geometry):
    template, times = make_template(GAINS, norm=20), draw_times(1, count=400)
    halves = [make_unit(template, times[::2], seed=1), make_unit(template * 1.02, times[1::2], seed=2)]
    (merged,) = merge(halves, geometry)
    np.testing.assert_array_equal(np.sort(merged.sample_index), times)


def test_a_delayed_half_is_merged_at_the_times_of_the_larger_one(geometry):
    template, times = make_template(GAINS, norm=20), draw_times(1, count=400)
    early, late = times[:250], times[250:]
    delayed = geometry.delayed(template, 3)
    (merged,) = merge([make_unit(template, early, seed=1), make_unit(delayed, late - 3, seed=2)], geometry)
    np.testing.assert_array_equal(np.sort(merged.sample_index), times)


def test_halves_of_a_large_neuron_are_merged_although_a_little_drift_separates_them(geometry):
    template, times = make_template(GAINS, norm=60), draw_times(1, count=400)
    halves = [make_unit(template, times[:200], seed=1), make_unit(1.15 * template, times[200:], seed=2)]
    assert separation(halves[0], halves[1], geometry, 0) > 2 * CONFIG.merge_threshold
    assert len(merge(halves, geometry)) == 1


def test_two_near_neurons_with_separate_waveforms_are_not_merged(geometry):
    times = draw_times(1, count=400, refractory=100)  # they never fire together, which would keep them apart
    one = make_unit(make_template(GAINS, norm=14), times[::2], seed=1)
    two = make_unit(make_template((0.7, 0.8, 0.3, 0.2), norm=18), times[1::2], seed=2)
    distance = np.linalg.norm(one.template - two.template)
    assumed = ASSUMED.structure
    assert assumed.same_shape_fraction * 16 < distance < assumed.far_distance  # else they were never compared
    assert len(merge([one, two], geometry)) == 2
    of_one_shape = StructureAssumptions(same_shape_fraction=1.1 * distance / np.sqrt(one.norm * two.norm))
    assert len(merge([one, two], geometry, Assumptions(structure=of_one_shape))) == 1


def test_parts_of_a_unit_that_was_just_split_are_merged_with_others_only(geometry):
    template, times = make_template(GAINS, norm=20), draw_times(1, count=600)
    parts = [replace(make_unit(template, times[part::3], seed=part), split_from=4) for part in (0, 1)]
    assert len(merge(parts, geometry)) == 2
    assert len(merge([*parts, make_unit(template, times[2::3], seed=2)], geometry)) == 2
    assert len(merge([parts[0], replace(parts[1], split_from=5)], geometry)) == 1


def test_units_that_fire_together_are_not_merged_although_their_waveforms_overlap(geometry):
    times = draw_times(1, count=400, refractory=200)
    weak = [make_template((1.0, 0.5, 0.3, 0.1), norm=5), make_template((0.7, 0.8, 0.3, 0.1), norm=5)]
    apart = [make_unit(weak[0], times[::2], seed=1), make_unit(weak[1], times[1::2], seed=2)]
    together = [make_unit(weak[0], times, seed=1), make_unit(weak[1], times + 30, seed=2)]
    assert len(merge(apart, geometry)) == 1
    assert len(merge(together, geometry)) == 2
    never = RefractoryAssumptions(min_expected_pairs=10**6)
    assert len(merge(together, geometry, Assumptions(refractory=never))) == 1


@pytest.mark.parametrize(("count", "norm", "is_kept"), [(100, 20, True), (2, 20, False), (100, 5, False)])
def test_rare_and_faint_units_are_dropped(count, norm, is_kept):
    unit = make_unit(make_template(GAINS, norm=norm), draw_times(1, count=count), seed=1)
    assert structure.drop_units([unit], np.ones(1), CONFIG, duration_s=10.0) == ([unit] if is_kept else [])


@pytest.mark.parametrize(
    ("count", "norm", "is_kept"),
    [(12, 20, True), (11, 20, False), (24, 11, False), (25, 11, True)],
    ids=["clear", "too rare", "near noise", "near noise, often"],
)
def test_a_clear_unit_needs_fewer_events(count, norm, is_kept):
    unit = make_unit(make_template(GAINS, norm=norm), draw_times(1, count=count), seed=1)
    assert structure.drop_units([unit], np.ones(1), CONFIG, duration_s=300.0) == ([unit] if is_kept else [])


def test_a_smaller_unit_that_only_accompanies_another_is_dropped():
    neuron = make_unit(make_template(GAINS, norm=30), draw_times(1, count=300), seed=1)
    rest = make_unit(make_template(GAINS[::-1], norm=10), neuron.sample_index[::3] + 4, seed=2)
    assert structure.drop_satellites([neuron, rest], sampling_frequency=RATE_HZ) == [neuron]
    smaller = Assumptions(structure=StructureAssumptions(satellite_norm=0.3))
    assert len(structure.drop_satellites([neuron, rest], sampling_frequency=RATE_HZ, assumed=smaller)) == 2


@pytest.mark.parametrize(
    ("norm", "delay", "fraction"),
    [
        pytest.param(10, 4, 0.3, id="often alone"),
        pytest.param(28, 4, 1.0, id="as large"),
        pytest.param(10, 90, 1.0, id="3 ms later"),
    ],
)
def test_a_unit_of_its_own_is_no_part_of_another(norm, delay, fraction):
    neuron = make_unit(make_template(GAINS, norm=30), draw_times(1, count=300, refractory=300), seed=1)
    num_accompanied = round(90 * fraction)
    times = np.concatenate([neuron.sample_index[:num_accompanied] + delay, draw_times(2, count=90)[num_accompanied:]])
    other = make_unit(make_template(GAINS[::-1], norm=norm), times, seed=2)
    assert len(structure.drop_satellites([neuron, other], sampling_frequency=RATE_HZ)) == 2


@pytest.mark.parametrize(("channels", "num_kept"), [((1, 2, 3, -1), 1), ((2, 3, -1, -1), 2)])
def test_a_part_is_seen_by_channels_in_reach_of_the_whole(channels, num_kept):
    neuron = make_unit(make_template((1, 1, 0, 0), norm=30), draw_times(1, count=300), seed=1)
    other = make_unit(make_template((0, 0, 1, 1), norm=10), neuron.sample_index[::3] + 4, seed=2)
    neuron = replace(neuron, channels=np.array([0, 1, -1, -1]))
    other = replace(other, channels=np.array(channels))
    assert len(structure.drop_satellites([neuron, other], sampling_frequency=RATE_HZ)) == num_kept


BURST, PLACES = draw_bursts(1, count=100)
PARTS = BURST[PLACES == 0] + 4


@pytest.mark.parametrize("lag", [4, -14, 32, -55], ids=["soon", "before", "a later phase", "an earlier phase"])
def test_a_part_is_dropped_whatever_its_lag(lag):
    neuron = make_unit(make_template(GAINS, norm=30), draw_times(1, count=300, refractory=300), seed=1)
    part = make_unit(make_template(GAINS[::-1], norm=10), neuron.sample_index[::3] + lag, seed=2)
    assert structure.drop_satellites([neuron, part], sampling_frequency=RATE_HZ) == [neuron]


def test_neurons_in_synchrony_are_kept():
    rng = np.random.default_rng(0)
    neuron = make_unit(make_template(GAINS, norm=30), draw_times(1, count=300, refractory=300), seed=1)
    together = neuron.sample_index + rng.integers(-15, 16, 300)
    other = make_unit(make_template(GAINS[::-1], norm=10), together, seed=2)
    assert structure.drop_satellites([neuron, other], sampling_frequency=RATE_HZ) == [neuron, other]
    at_any_lag = Assumptions(structure=StructureAssumptions(satellite_jitter_ms=0.5))
    assert structure.drop_satellites([neuron, other], sampling_frequency=RATE_HZ, assumed=at_any_lag) == [neuron]


def test_an_atom_of_a_bursts_later_spikes_keeps_them_and_loses_the_parts_of_the_first():
    large = make_unit(make_template(GAINS, norm=30), BURST[PLACES < 2], seed=1)
    small = make_unit(make_template(GAINS, norm=10), np.concatenate([BURST[PLACES >= 3], PARTS, PARTS - 8]), seed=2)
    history, units = History(), [replace(large, number=4), replace(small, number=7)]
    kept = structure.drop_satellites(units, sampling_frequency=RATE_HZ, history=history)
    assert [unit.num_events for unit in kept] == [200, 200]
    np.testing.assert_array_equal(kept[1].sample_index, BURST[PLACES >= 3])
    (decision,) = history.decisions
    assert (decision.what, decision.unit, decision.others) == ("lost events", 7, (4,))
    assert decision.figure == "accompanied_fraction"
    assert decision.value > decision.threshold
    assert decision.num_events == small.num_events


def test_an_atom_of_another_neuron_with_parts_is_dropped():
    large = make_unit(make_template(GAINS, norm=30), BURST[PLACES < 2], seed=1)
    alone = draw_times(3, count=200)
    small = make_unit(make_template(GAINS, norm=10), np.concatenate([alone, PARTS, BURST[PLACES == 1] + 4]), seed=2)
    assert structure.drop_satellites([large, small], sampling_frequency=RATE_HZ) == [large]


def test_a_unit_without_events_is_no_part():
    neuron = make_unit(make_template(GAINS, norm=30), draw_times(1, count=300), seed=1)
    new = make_unit(make_template(GAINS[::-1], norm=10), [], seed=2)
    assert structure.drop_satellites([neuron, new], sampling_frequency=RATE_HZ) == [neuron, new]


def with_sizes(unit, sizes):
    """Return the unit, each spike of it so many times as large as the template."""
    larger = (sizes[:, None, None] - 1) * unit.template
    return replace(unit, features=(unit.features + larger).astype("float32"), template=unit.template * np.median(sizes))


def test_groups_that_overlap_along_a_burst_but_differ_across_it_are_separate(geometry):
    rng = np.random.default_rng(0)
    template = make_template(GAINS, norm=40)
    across = make_template((-0.2, 0.0, 0.6, 0.8), norm=7)
    sizes = rng.uniform(0.5, 1.0, 300), rng.uniform(0.4, 0.9, 300)
    one, two = (make_unit(template, draw_times(seed, count=300), seed=seed) for seed in (1, 2))
    one, two = with_sizes(one, sizes[0]), with_sizes(two, sizes[1])
    apart = replace(two, features=two.features + across)
    assert separation(one, apart, geometry, 0) > CONFIG.merge_threshold
    assert separation(one, two, geometry, 0) < CONFIG.merge_threshold / 2


@pytest.mark.parametrize("cut", [0.5, 0.6, 0.8])
def test_one_burst_cut_by_size_is_not_separate(geometry, cut):
    sizes = np.random.default_rng(0).uniform(0.4, 1.0, 600)
    burst = with_sizes(make_unit(make_template(GAINS, norm=40), draw_times(1, count=600), seed=1), sizes)
    halves = burst.select(sizes < cut), burst.select(sizes >= cut)
    assert separation(*halves, geometry, 0) < CONFIG.merge_threshold


def test_few_events_of_one_neuron_are_no_farther_apart_than_many(geometry):
    """The medians of few waveforms differ by their noise, and the direction is that of the difference."""
    template = make_template(GAINS, norm=20)

    def between_halves(seed, count):
        unit = make_unit(template, draw_times(seed, count=2 * count), seed=seed)
        return separation(
            unit.select(np.arange(2 * count) < count), unit.select(np.arange(2 * count) >= count), geometry, 0
        )

    few, many = (np.mean([between_halves(seed, count) ** 2 for seed in range(40)]) for count in (15, 1000))
    assert few < 1.5
    assert many < 0.1


@pytest.mark.parametrize("distance", [6, 12])
def test_neurons_that_do_not_vary_are_separate_by_their_distance(geometry, distance):
    """What the two differ in is none of the ways in which either varies."""
    one = make_unit(make_template(GAINS, norm=20), draw_times(1, count=300), seed=1)
    apart = one.template + make_template((-0.2, 0.0, 0.6, 0.8), norm=distance)
    assert separation(one, make_unit(apart, draw_times(2, count=300), seed=2), geometry, 0) == pytest.approx(
        distance, rel=0.12
    )


def test_the_best_direction_is_that_of_fishers_discriminant():
    rng = np.random.default_rng(0)
    ways = np.linalg.qr(rng.standard_normal((8, 3)))[0]
    covariance = np.eye(8) + ways @ np.diag([30.0, 10.0, 4.0]) @ ways.T
    deviations = rng.multivariate_normal(np.zeros(8), covariance, 20000)
    difference = rng.standard_normal(8)
    np.testing.assert_allclose(
        across_variation(difference, deviations), np.linalg.solve(covariance, difference), rtol=0.1, atol=0.03
    )


def test_without_variation_the_best_direction_is_the_difference():
    difference = np.arange(1.0, 9.0)
    np.testing.assert_allclose(
        across_variation(difference, np.random.default_rng(0).standard_normal((20000, 8))), difference, rtol=0.1
    )
    np.testing.assert_allclose(across_variation(difference, np.zeros((20, 8))), difference)
