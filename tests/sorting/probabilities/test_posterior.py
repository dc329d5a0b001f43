"""Claims about what is known of spikes and units, and the probabilities, intervals and rates that come of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit

from si_crsae.core.tables import concatenate_rows, select_rows
from si_crsae.core.types import Dictionary
from si_crsae.sorting.model import Model
from si_crsae.sorting.probabilities import features as spike_features
from si_crsae.sorting.probabilities.coefficients import MISSED_RATE, SPIKE_PROBABILITY
from si_crsae.sorting.probabilities.context import CodeInContext
from si_crsae.sorting.probabilities.features import (
    SPIKE_FEATURES,
    UNIT_FEATURES,
    Amplitudes,
    describe,
    two_groups,
)
from si_crsae.sorting.probabilities.logistic import missed_rate, spike_probability
from si_crsae.sorting.probabilities.posterior import amplitude_interval, infer_posterior
from si_crsae.sorting.stages import SpikePosterior, WeighedCode

RATE_HZ, NUM_SAMPLES = 30000.0, 900_000
NOISE = 1.5


def make_model(scales=(10.0, 12.0)):
    """Return atoms on one channel each, and on a shared third one."""
    weights = torch.zeros(len(scales), 3, 2)
    weights[:, 2, 1] = 0.6
    for atom in range(len(scales)):
        weights[atom, atom % 2, 0] = 0.8
    dictionary = Dictionary(weights=weights, basis=torch.eye(2, 8), scales=torch.tensor(scales), num_before=3)
    noise = np.full(len(scales), NOISE, "float32")
    return Model(dictionary=dictionary, noise=noise, regularization=4 * noise)


def make_code(times, atoms=None, **fields):
    """Return clear spikes of amplitude 10 and 12 at some samples; of atom 0 unless told otherwise."""
    count = len(times)
    atom_index = np.zeros(count, "int64") if atoms is None else np.asarray(atoms, "int64")
    constant = {"own_weight": 20.0, "rival_weight": -np.inf, "rest_weight": -np.inf, "information": 1.0, "misfit": 1.0}
    values = {name: np.full(count, value, "float32") for name, value in constant.items()}
    values |= {name: np.zeros(count, "float32") for name in ("sample_offset", "overlap", "deviation")}
    values |= {"segment_index": np.zeros(count, "int64"), "sample_index": np.asarray(times, "int64")}
    values |= {"atom_index": atom_index, "found_atom": atom_index, "rival_atom": np.full(count, -1)}
    values["amplitude"] = np.where(atom_index == 0, 10.0, 12.0).astype("float32")
    return WeighedCode(**values | {name: np.asarray(value) for name, value in fields.items()})


def observe(code, model=None):
    model = model or make_model()
    lowest = 0.55 * model.dictionary.scales.numpy()
    return CodeInContext(
        code=code, model=model, min_amplitude=lowest, sampling_frequency=RATE_HZ, num_samples=NUM_SAMPLES
    )


def regular_times(count=200):
    return np.linspace(1000, NUM_SAMPLES - 1000, count).astype("int64")


def unit_feature(description, name, unit=0):
    return description.units[unit, UNIT_FEATURES.index(name)]


def spike_feature(description, name):
    return description.spikes[:, SPIKE_FEATURES.index(name)]


def test_the_spread_of_amplitudes_is_free_of_the_noise_of_the_fit():
    rng = np.random.default_rng(0)
    true = rng.normal(10.0, 2.0, 4000)
    amplitude = (true + rng.normal(0.0, NOISE, 4000)).astype("float32")
    amplitudes = describe(observe(make_code(regular_times(4000), amplitude=amplitude))).amplitudes
    assert amplitudes.mean[0] == pytest.approx(10.0, abs=0.2)
    assert amplitudes.spread[0] == pytest.approx(2.0, abs=0.15)


def test_the_interval_holds_nine_tenths_of_the_true_amplitudes():
    rng = np.random.default_rng(1)
    true = rng.normal(10.0, 1.0, 20_000)
    information = rng.uniform(0.3, 1.0, true.size).astype("float32")
    # spikes differ from their atoms: the error of a fit exceeds the noise a little
    amplitude = (true + 1.1 * NOISE / np.sqrt(information) * rng.standard_normal(true.size)).astype("float32")
    observed = observe(make_code(np.arange(true.size) * 40, amplitude=amplitude, information=information))
    low, high = amplitude_interval(observed, Amplitudes(mean=np.array([10.0, 12.0]), spread=np.array([1.0, 1.0])))
    assert np.mean((low <= true) & (true <= high)) == pytest.approx(0.9, abs=0.01)
    for part in (information < 0.5, information > 0.8):
        assert np.mean((low <= true) & (true <= high), where=part) == pytest.approx(0.9, abs=0.02)


def test_an_interval_is_never_negative_and_wider_where_another_spike_overlaps():
    code = make_code(
        regular_times(3), amplitude=np.array([10.0, 10.0, 0.5], "float32"), information=np.array([1, 0.2, 1], "float32")
    )
    amplitudes = Amplitudes(mean=np.array([10.0, 12.0]), spread=np.array([30.0, 30.0]))
    low, high = amplitude_interval(observe(code), amplitudes)
    assert high[1] - low[1] > 2 * (high[0] - low[0])
    assert low[2] == 0


def test_a_rival_of_the_same_neuron_speaks_for_the_spike():
    own, rival = np.full(2, 5.0, "float32"), np.full(2, 6.0, "float32")
    code = make_code([100, 200], own_weight=own, rival_weight=rival, rival_atom=np.array([1, 1]))
    against = spike_features.alternative_log_odds(replace(code, found_atom=np.array([0, 0])))
    assert np.all(against < 1)
    joined = replace(
        make_code([100, 200, 300], own_weight=np.full(3, 5.0, "float32"), rival_weight=np.full(3, 6.0, "float32")),
        rival_atom=np.array([1, 1, 0]),
        found_atom=np.array([0, 0, 1]),
    )
    assert np.all(spike_features.alternative_log_odds(joined) > 4)


def test_the_rate_of_a_rival_counts():
    weights = {"own_weight": np.full(101, 5.0, "float32"), "rival_weight": np.full(101, 5.0, "float32")}
    atoms = np.array([0] + [1] * 100)
    code = make_code(regular_times(101), atoms, rival_atom=1 - atoms, **weights)
    odds = spike_features.alternative_log_odds(code)
    assert odds[0] == pytest.approx(-np.log(100.5 / 1.5), abs=0.05)
    assert odds[1] == pytest.approx(np.log(100.5 / 1.5), abs=0.5)


def test_without_a_rival_the_odds_are_those_against_nothing():
    np.testing.assert_allclose(spike_features.alternative_log_odds(make_code([5, 90])), 20.0, rtol=1e-5)


def test_two_groups_are_told_apart_and_one_is_not_taken_for_two():
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(-2.5, 1, 700), rng.normal(2.5, 1, 300)])
    separation, minority, odds = two_groups(values)
    assert separation == pytest.approx(5.0, abs=0.4)
    assert minority == pytest.approx(0.3, abs=0.03)
    assert np.mean((odds > 0) == (np.arange(1000) < 700)) > 0.98
    assert two_groups(rng.standard_normal(1000))[0] < 2.5
    assert two_groups(np.arange(5.0))[:2] == (0.0, 0.0)
    assert two_groups(np.zeros(100))[0] == 0.0


def test_short_intervals_show_in_a_unit_and_raise_its_false_positives():
    clean = observe(make_code(regular_times(400)))
    times = np.sort(np.concatenate([regular_times(200), regular_times(200) + 40]))  # 1.3 ms
    mixed = observe(make_code(times))
    assert unit_feature(describe(mixed), "violations") > 2 * unit_feature(describe(clean), "violations") + 1
    assert infer_posterior(mixed).false_positive_rate[0] > 8 * infer_posterior(clean).false_positive_rate[0]


def test_short_intervals_across_segments_are_none():
    times = np.concatenate([regular_times(200), regular_times(200) + 40])
    code = replace(make_code(times), segment_index=np.repeat([0, 1], 200))
    assert unit_feature(describe(observe(code)), "violations") < 0.5


def test_spikes_that_always_come_with_those_of_another_unit_are_noticed():
    times = np.repeat(regular_times(200), 2)
    together = describe(observe(make_code(times, np.tile([0, 1], 200))))
    alternating = np.sort(np.append(regular_times(200), regular_times(200) + 500))
    apart = describe(observe(make_code(alternating, np.tile([0, 1], 200))))
    assert unit_feature(together, "coincidence") > 0.7
    assert unit_feature(apart, "coincidence") == 0


def test_parts_of_a_drifting_neuron_fire_by_turns():
    times = regular_times(300)
    by_turns = describe(observe(make_code(times, (times > 0.6 * NUM_SAMPLES).astype(int))))
    together = describe(observe(make_code(times, np.arange(300) % 3 == 0)))
    assert unit_feature(by_turns, "turns", unit=1) > 0.25  # the atoms share a third of their energy
    assert unit_feature(by_turns, "turns", unit=0) == 0  # the larger part
    assert unit_feature(together, "turns", unit=1) < 0.1


def test_a_residual_that_is_larger_than_usual_shows_in_its_spike_only():
    misfit = np.ones(200, "float32")
    misfit[17] = 5.0
    features = spike_feature(describe(observe(make_code(regular_times(), misfit=misfit))), "misfit")
    assert features[17] == pytest.approx(np.log(5.0))
    assert np.all(np.delete(features, 17) == 0)


def test_the_expected_false_positives_are_the_mean_of_what_the_spikes_lack():
    posterior = infer_posterior(observe(make_code(regular_times(), np.tile([0, 1], 100))))
    for unit in range(2):
        expected = 1 - posterior.probability[unit::2].mean()
        assert posterior.false_positive_rate[unit] == pytest.approx(expected, abs=1e-6)


def test_a_unit_whose_amplitudes_reach_down_to_the_smallest_accepted_one_misses_more():
    rng = np.random.default_rng(4)
    amplitude = rng.normal(7.0, 2.0, 2000)
    cut = amplitude[amplitude > 5.5].astype("float32")
    faint = infer_posterior(observe(make_code(regular_times(cut.size), amplitude=cut)))
    whole = infer_posterior(observe(make_code(regular_times(cut.size))))
    assert faint.missed_rate[0] > 2 * whole.missed_rate[0]


@pytest.mark.parametrize("count", [0, 1, 2, 25])
def test_few_spikes_have_a_posterior_too(count):
    posterior = infer_posterior(observe(make_code(regular_times(count))))
    assert posterior.probability.shape == (count,)
    assert np.all((posterior.probability > 0) & (posterior.probability < 1))
    assert np.all(posterior.amplitude_low < posterior.amplitude_high)
    assert np.all(np.isfinite(posterior.missed_rate))
    assert posterior.missed_rate[1] == posterior.false_positive_rate[1] == 0  # an atom without spikes


def test_extreme_evidence_gives_finite_features():
    extreme = {
        "own_weight": np.array([-np.inf, 1e6, 5.0], "float32"),
        "misfit": np.array([0.0, 1e9, 1.0], "float32"),
        "deviation": np.array([-1e5, 0.0, 1e5], "float32"),
    }
    description = describe(observe(make_code([10, 20, 899_000], **extreme)))
    assert np.isfinite(description.spikes).all()
    assert np.isfinite(description.units).all()


@pytest.mark.parametrize(
    ("field", "value", "feature"),
    [
        ("amplitude", 4.0, "local"),
        ("amplitude", 4.0, "small"),
        ("amplitude", 16.0, "large"),
        ("own_weight", 2.0, "alternatives"),
        ("misfit", 5.0, "misfit"),
        ("overlap", 0.5, "overlap"),
        ("information", 0.5, "information"),
        ("deviation", 8.0, "off_center"),
    ],
)
def test_what_is_odd_about_a_spike_shows_in_that_spike(field, value, feature):
    usual = make_code(regular_times(), np.arange(200) % 3 == 0, deviation=np.tile([-0.5, 0.5], 100).astype("float32"))
    values = getattr(usual, field).copy()
    values[17] = value
    odd = replace(usual, **{field: values})
    change = spike_feature(describe(observe(odd)), feature) - spike_feature(describe(observe(usual)), feature)
    assert np.abs(change).argmax() == 17
    np.testing.assert_allclose(change[usual.atom_index == 1], 0.0, atol=1e-6)


@pytest.mark.parametrize(
    ("field", "values", "feature"),
    [
        ("amplitude", np.linspace(6.0, 18.0, 100), "spread"),
        ("amplitude", np.linspace(6.0, 18.0, 100), "truncation"),
        ("amplitude", 12.0 + 4.0 * (np.arange(100) % 5 == 0), "skew"),
        ("own_weight", np.full(100, 3.0), "unit_alternatives"),
        ("misfit", np.full(100, 3.0), "unit_misfit"),
        ("misfit", np.linspace(1.0, 3.0, 100), "misfit_spread"),
        ("deviation", np.tile([-3.0, 3.0], 50), "separation"),
        ("deviation", np.where(np.arange(100) % 5 == 0, 3.0, -3.0), "minority"),
        ("deviation", np.tile([-3.0, 3.0], 50), "excess"),
    ],
)
def test_what_is_odd_about_a_unit_shows_in_that_unit_only(field, values, feature):
    usual = make_code(regular_times(300), np.arange(300) % 3 == 0)
    odd = replace(usual, **{field: getattr(usual, field).copy()})
    getattr(odd, field)[odd.atom_index == 1] = values
    before, after = describe(observe(usual)), describe(observe(odd))
    np.testing.assert_array_equal(after.units[0], before.units[0])
    assert abs(unit_feature(after, feature, unit=1) - unit_feature(before, feature, unit=1)) > 0.02


def test_the_larger_group_of_a_unit_is_the_majority():
    is_small = np.arange(100) % 4 == 0
    deviation = np.zeros(300, "float32")
    deviation[::3] = np.where(is_small, 3.0, -3.0)
    description = describe(observe(make_code(regular_times(300), np.arange(300) % 3 == 0, deviation=deviation)))
    majority = spike_feature(description, "majority")
    assert majority[::3][is_small].max() < 0 < majority[::3][~is_small].min()
    assert not np.delete(majority, np.s_[::3]).any()


def test_a_unit_of_few_spikes_far_from_the_noise_has_a_small_rate_and_a_large_snr():
    description = describe(observe(make_code(regular_times(300), np.arange(300) % 3 == 0)))
    assert unit_feature(description, "rate", unit=0) == pytest.approx(np.log(200 / 30))
    assert unit_feature(description, "rate", unit=1) == pytest.approx(np.log(100 / 30))
    assert unit_feature(description, "snr", unit=1) == pytest.approx(np.log(12.0 / NOISE))


def test_probabilities_and_intervals_are_in_the_order_of_the_spikes():
    own_weight, amplitude = np.full(200, 20.0, "float32"), np.linspace(9.0, 11.0, 200, dtype="float32")
    own_weight[17] = -5.0
    posterior = infer_posterior(observe(make_code(regular_times(), own_weight=own_weight, amplitude=amplitude)))
    assert posterior.probability.argmin() == 17
    for ends in (posterior.amplitude_low, posterior.amplitude_high):
        assert np.all(np.diff(ends) > 0)


def test_every_spike_has_the_probability_of_its_own_unit():
    misfit = np.where(np.arange(300) < 100, 3.0, 1.0).astype("float32")
    posterior = infer_posterior(observe(make_code(regular_times(300), np.arange(300) < 100, misfit=misfit)))
    assert posterior.probability[:100].max() < posterior.probability[100:].min()
    assert posterior.false_positive_rate[1] > posterior.false_positive_rate[0]


def test_a_clear_spike_of_a_unit_like_those_of_the_fit_is_most_probably_right():
    spikes, units = (
        np.array([[SPIKE_PROBABILITY[name][0] for name in names]]) for names in (SPIKE_FEATURES, UNIT_FEATURES)
    )
    assert 0.98 < spike_probability(spikes, units)[0] < 0.995


def test_a_unit_like_those_of_the_fit_misses_one_or_two_in_a_hundred():
    usual = np.array([[MISSED_RATE[name][0] for name in UNIT_FEATURES]])
    assert 0.01 < missed_rate(usual)[0] < 0.02
    clear = infer_posterior(observe(make_code(regular_times(), np.tile([0, 1], 100))))
    assert clear.missed_rate.max() < 0.02


def test_every_feature_has_its_coefficients():
    assert set(SPIKE_PROBABILITY) == {"intercept", *SPIKE_FEATURES, *UNIT_FEATURES}
    assert set(MISSED_RATE) == {"intercept", *UNIT_FEATURES}


def test_probabilities_are_logistic_in_the_standardized_features():
    mean, sd, linear, square = SPIKE_PROBABILITY["local"]
    means = {name: values[0] for name, values in SPIKE_PROBABILITY.items()}
    spikes = np.tile([means[name] for name in SPIKE_FEATURES], (3, 1))
    units = np.tile([means[name] for name in UNIT_FEATURES], (3, 1))
    spikes[1:, SPIKE_FEATURES.index("local")] = [mean - sd, mean - 100 * sd]
    squares = sum(values[3] for name, values in SPIKE_PROBABILITY.items() if name != "intercept") / 2
    base = SPIKE_PROBABILITY["intercept"][0] - squares
    expected = expit([base, base - linear + square / 2, base - 2.5 * linear + 2.5**2 * square / 2])
    np.testing.assert_allclose(spike_probability(spikes, units), expected, rtol=1e-9)


def test_the_missed_rate_is_a_fraction():
    rng = np.random.default_rng(5)
    rates = missed_rate(100 * rng.standard_normal((50, len(UNIT_FEATURES))))
    assert np.all((rates > 0) & (rates < 1))


def test_a_posterior_is_selected_and_joined():
    first = infer_posterior(observe(make_code(regular_times(6), [0, 1, 0, 1, 0, 1])))
    joined = concatenate_rows([first, SpikePosterior.empty(), first], "spike", "unit")
    assert joined.probability.size == 12
    part = select_rows(select_rows(joined, np.array([11, 0]), "spike"), np.array([3]), "unit")
    assert part.probability.tolist() == [first.probability[5], first.probability[0]]
    assert part.missed_rate.tolist() == [first.missed_rate[1]]
