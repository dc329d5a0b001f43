"""Claims about which units are several, by their waveforms and by what comes with their events."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from simulated_units import RATE_HZ, draw_times, join, make_template, make_unit, smooth_basis

from si_crsae.config import CrsaeConfig
from si_crsae.core.operators.filtering import component_lags
from si_crsae.sorting.assumptions import ASSUMED, Assumptions, StructureAssumptions, UnitAssumptions
from si_crsae.sorting.learning.companions import pairs_at_steady_lag
from si_crsae.sorting.learning.splitting import find_groups, split_units
from si_crsae.sorting.learning.units import TemplateGeometry

CONFIG = CrsaeConfig()
GAINS = (1.0, 0.6, 0.3, 0.2)


@pytest.fixture(scope="module")
def geometry():
    basis = smooth_basis()
    return TemplateGeometry(component_lags(torch.from_numpy(basis)).numpy(), basis)


def split(units, geometry, config, assumed=ASSUMED):
    return split_units(units, geometry, config, sampling_frequency=RATE_HZ, assumed=assumed)


def test_a_unit_of_two_waveforms_is_split_in_its_two_neurons(geometry):
    one = make_unit(make_template(GAINS, norm=20), draw_times(1, count=300), seed=1)
    two = make_unit(make_template(GAINS[::-1], norm=20), draw_times(2, count=100), seed=2)
    parts = split([join(one, two)], geometry, CONFIG)
    assert sorted(part.num_events for part in parts) == [100, 300]
    small = min(parts, key=lambda part: part.num_events)
    np.testing.assert_allclose(small.template, two.template, atol=0.6)


def test_a_unit_of_one_waveform_is_not_split(geometry):
    unit = make_unit(make_template(GAINS, norm=20), draw_times(1, count=400), seed=1)
    assert split([unit], geometry, CONFIG) == [unit]


def test_a_unit_whose_size_varies_is_not_split(geometry):
    unit = make_unit(make_template(GAINS, norm=20), draw_times(1, count=400), seed=1)
    sizes = 0.8 + np.random.default_rng(0).exponential(0.3, unit.num_events)
    varied = replace(unit, features=(unit.features + (sizes[:, None, None] - 1) * unit.template).astype("float32"))
    by_mixture_alone = CONFIG.model_copy(update={"merge_threshold": 1e-6})
    assert len(split([varied], geometry, by_mixture_alone)) == 2
    assert split([varied], geometry, CONFIG) == [varied]


@pytest.mark.parametrize(("distance", "num_parts"), [(6.5, 1), (8.0, 2)])
def test_groups_too_near_to_be_encoded_apart_are_one(geometry, distance, num_parts):
    template = make_template(GAINS, norm=20)
    near = template + make_template((-0.2, 0.0, 0.6, 0.8), norm=distance)
    mixed = join(
        make_unit(template, draw_times(1, count=200), seed=1), make_unit(near, draw_times(2, count=200), seed=2)
    )
    assert len(split([mixed], geometry, CONFIG)) == num_parts
    by_waveforms_alone = Assumptions(structure=StructureAssumptions(repeat_distance=4.0))
    assert len(split([mixed], geometry, CONFIG, assumed=by_waveforms_alone)) == 2


def test_a_bursting_unit_is_not_split_but_two_are(geometry):
    rng = np.random.default_rng(0)
    template, across = make_template(GAINS, norm=40), make_template((-0.2, 0.0, 0.6, 0.8), norm=14)
    bursting = []
    for seed in (1, 2):
        unit, sizes = make_unit(template, draw_times(seed, count=300), seed=seed), rng.uniform(0.4, 1.0, 300)
        features = (unit.features + (sizes[:, None, None] - 1) * template).astype("float32")
        bursting.append(replace(unit, features=features))
    one, two = bursting
    assert split([one], geometry, CONFIG) == [one]
    parts = split([join(one, replace(two, features=two.features + across))], geometry, CONFIG)
    assert [part.num_events for part in parts] == pytest.approx([300, 300], abs=6)


def test_a_unit_with_few_spikes_is_not_split(geometry):
    one = make_unit(make_template(GAINS, norm=20), draw_times(1, count=20), seed=1)
    two = make_unit(make_template(GAINS[::-1], norm=20), draw_times(2, count=20), seed=2)
    mixed = join(one, two)
    assert split([mixed], geometry, CONFIG) == [mixed]
    fewer = Assumptions(units=UnitAssumptions(min_events=16))
    assert len(split([mixed], geometry, CONFIG, assumed=fewer)) == 2


def test_a_unit_of_five_waveforms_is_split_in_all_at_once(geometry):
    # any two halves hold several neurons each, so that no cut in two would show
    shapes = [np.roll(GAINS, shift) for shift in range(4)] + [(1.0, 1.0, 1.0, 1.0)]
    neurons = [
        make_unit(make_template(gains, norm=14), draw_times(seed, count=80), seed=seed)
        for seed, gains in enumerate(shapes)
    ]
    parts = split([join(*neurons)], geometry, CONFIG)
    assert len(parts) == 5
    for neuron in neurons:
        found = {tuple(part.sample_index.tolist()) for part in parts}
        overlap = max(len(set(times) & set(neuron.sample_index.tolist())) for times in found)
        assert overlap > 0.97 * neuron.num_events


def masked_pair(geometry, *, delay=1):
    """Return two neurons' shared unit, their mean, and the unit that explains what it lacks of the second."""
    one, two = make_template((1.0, 0.6, 0.3, 0.2), norm=40), make_template((1.0, 0.8, 0.6, 0.2), norm=40)
    alone, together = draw_times(1, count=200), draw_times(2, count=150)
    small = geometry.delayed(two - one, -delay)
    shared = make_unit(one, np.concatenate([alone, together]), seed=1)
    stranger = draw_times(3, count=120)
    leftover = make_unit(small, np.concatenate([stranger, together + delay]), seed=2)
    return shared, leftover, together, two


def test_a_pair_that_hides_behind_a_third_unit_is_told(geometry):
    shared, leftover, together, two = masked_pair(geometry)
    parts = split([shared, leftover], geometry, CONFIG)
    assert len(parts) == 3
    second = min(parts, key=lambda part: np.linalg.norm(part.template - two))
    assert len(np.intersect1d(second.sample_index, together)) >= 0.97 * max(second.num_events, together.size)
    np.testing.assert_allclose(second.template, two, atol=1.5)


def test_parts_know_what_they_were_split_from_unless_they_took_events_of_others(geometry):
    alone = join(
        *(make_unit(make_template(gains, norm=20), draw_times(1, count=300), seed=1) for gains in (GAINS, GAINS[::-1]))
    )
    shared, leftover, _, _ = masked_pair(geometry)
    for units, expected in (([alone], {0}), ([shared, leftover], {-1})):
        parts = split([replace(unit, number=number) for number, unit in enumerate(units)], geometry, CONFIG)
        assert len(parts) == len(units) + 1
        assert {part.split_from for part in parts} == expected


def test_the_third_unit_keeps_what_is_its_own(geometry):
    shared, leftover, together, _ = masked_pair(geometry)
    parts = split([shared, leftover], geometry, CONFIG)
    third = min(parts, key=lambda part: part.norm)
    assert abs(third.num_events - 120) <= 5
    assert len(np.intersect1d(third.sample_index, together + 1)) <= 5  # those that its noise put to the first


def test_units_that_fire_together_at_any_lag_are_not_taken_for_one(geometry):
    rng = np.random.default_rng(0)
    times = draw_times(1, count=300)
    large = make_unit(make_template((1.0, 0.6, 0.3, 0.2), norm=40), times, seed=1)
    jittered = times[:200] + rng.integers(-12, 13, 200)
    small = make_unit(make_template((0.2, 0.3, 0.8, 0.6), norm=15), jittered, seed=2)
    assert pairs_at_steady_lag(large, small, max_lag=15)[0].size == 0
    assert split([large, small], geometry, CONFIG) == [large, small]


def test_chance_makes_no_steady_companions(geometry):
    large = make_unit(make_template(GAINS, norm=40), draw_times(1, count=2000), seed=1)
    small = make_unit(make_template(GAINS[::-1], norm=15), draw_times(2, count=2000), seed=2)
    assert pairs_at_steady_lag(large, small, max_lag=15)[0].size == 0


@pytest.mark.parametrize("num_groups", [1, 2, 4])
def test_as_many_groups_are_found_as_there_are(num_groups):
    rng = np.random.default_rng(num_groups)
    truth = rng.integers(0, num_groups, 400)
    scores = rng.standard_normal((400, 5)) + 8 * np.eye(5)[truth]
    labels = find_groups(scores, seed=0)
    assert np.unique(labels).size == num_groups
    assert all(np.unique(labels[truth == group]).size == 1 for group in range(num_groups))


def test_an_artifact_among_the_spikes_leaves_groups_to_be_found():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((400, 5)) + 8 * np.eye(5)[rng.integers(0, 2, 400)]
    scores[7] = 1e8 * np.array([1.0, 1e-3, 1e-5, 0.0, 0.0])
    labels = find_groups(scores.astype("float32"), seed=0)
    assert labels.size == 400
