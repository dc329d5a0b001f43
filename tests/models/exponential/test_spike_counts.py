"""Rates behind spike counts: nearer to the truth than smoothing, with kernels, event times and degenerate units."""

import numpy as np
import pytest
from spikeinterface import NumpySorting

from si_crsae.core import Binomial, NegativeBinomial
from si_crsae.evaluation.spike_counts import (
    binary_log_likelihood,
    bits_per_spike,
    histogram_rates,
    poisson_log_likelihood,
    rate_error,
    simulate_counts,
    smooth,
    smoothed_rates,
)
from si_crsae.models.exponential.spike_counts import CountModel, denoise_counts
from si_crsae.sorting.counts import bin_spikes

quick = CountModel(levels=(2.0, 3.0), num_iterations=30, num_epochs=3)


@pytest.mark.parametrize("is_binary", [False, True], ids=["poisson", "binary"])
def test_the_rates_are_nearer_to_the_truth_than_those_of_smoothing(is_binary):
    simulated = simulate_counts(rate_hz=20.0, num_trials=20, num_units=20, is_binary=is_binary, seed=1)
    log_likelihood = binary_log_likelihood if is_binary else poisson_log_likelihood
    model = CountModel(likelihood=simulated.likelihood, levels=(1.5, 2.0), num_iterations=40, num_epochs=4)
    denoised = denoise_counts(simulated.counts, model=model)
    smoothed, _ = smoothed_rates(simulated.counts, log_likelihood)
    assert denoised.rates.shape == (20, 1, 150)
    assert rate_error(denoised.rates[:, 0], simulated.rates) < 0.85 * rate_error(smoothed, simulated.rates)
    assert denoised.level in denoised.scores
    assert np.linalg.norm(denoised.kernels, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_the_level_that_predicts_other_trials_best_is_chosen_and_is_the_nearest_to_the_truth():
    simulated = simulate_counts(rate_hz=5.0, num_trials=20, num_units=10, seed=0)

    def denoised(*levels):
        return denoise_counts(simulated.counts, model=CountModel(levels=levels, num_iterations=40, num_epochs=0))

    chosen = denoised(0.5, 2.0, 12.0)
    assert chosen.scores[chosen.level] == max(chosen.scores.values())
    errors = {level: rate_error(denoised(level).rates[:, 0], simulated.rates) for level in chosen.scores}
    assert errors[chosen.level] == min(errors.values())


def test_kernels_learned_too_fast_are_not_kept_where_they_predict_other_trials_worse():
    simulated = simulate_counts(rate_hz=5.0, num_trials=20, num_units=20, seed=0)
    first, learned = (
        denoise_counts(
            simulated.counts,
            model=CountModel(levels=(1.0,), num_iterations=40, num_epochs=num_epochs, learning_rate=0.2),
        )
        for num_epochs in (0, 8)
    )
    np.testing.assert_array_equal(learned.kernels, first.kernels)


def test_a_unit_that_never_fired_and_a_constant_one_get_constant_rates():
    rng = np.random.default_rng(0)
    counts = np.stack([np.zeros((10, 80), dtype=int), rng.poisson(0.3, (10, 80))])
    denoised = denoise_counts(counts, model=CountModel(width=21, levels=(5.0,), num_epochs=0))
    assert denoised.rates[0] == pytest.approx(0.5 / 800, rel=1e-3)
    assert denoised.rates[1] == pytest.approx(counts[1].mean(), rel=1e-3)
    assert not denoised.code.any()


def test_single_trials_find_the_events_of_each_trial():
    rng = np.random.default_rng(0)
    onset = rng.integers(30, 110, 40)
    bins = np.arange(160)
    rates = 2.0 * np.exp(1.5 * np.exp(-0.5 * ((bins - onset[:, None]) / 4) ** 2))
    counts = rng.poisson(rates)[None]
    model = CountModel(num_kernels=1, width=25, levels=(4.0,), num_iterations=60, num_epochs=4)
    denoised = denoise_counts(counts, model=model, single_trials=True)
    assert denoised.rates.shape == (1, 40, 160)
    found = denoised.code[0, :, 0].argmax(axis=1) - 24 + denoised.kernels[0].argmax()
    assert np.median(np.abs(found - onset)) <= 2
    raw = np.square(counts[0] - rates).mean()
    assert np.square(denoised.rates[0] - rates).mean() < 0.4 * raw


def test_single_trials_without_a_response_are_hardly_ever_given_one():
    counts = np.random.default_rng(0).poisson(1.0, (2, 50, 120))
    denoised = denoise_counts(counts, model=CountModel(width=21, num_epochs=0), single_trials=True)
    assert denoised.level == pytest.approx(np.sqrt(2 * np.log(5 * 140)))
    assert (denoised.code != 0).any(axis=(2, 3)).mean() < 0.15


def test_known_event_times_give_the_kernel_behind_the_response():
    rng = np.random.default_rng(0)
    bins = np.arange(20)
    kernel = np.exp(-bins / 6.0) - 1.3 * np.exp(-bins / 2.0)
    onset = rng.integers(10, 60, 120)
    natural = np.full((120, 100), np.log(3.0))
    for trial, start in enumerate(onset):
        natural[trial, start : start + 20] += 2.5 * kernel
    counts = rng.poisson(np.exp(natural))[None]
    first, denoised = (
        denoise_counts(
            counts,
            model=CountModel(num_kernels=1, width=20, num_iterations=20, num_epochs=num_epochs, learning_rate=0.05),
            single_trials=True,
            event_bins=onset[:, None],
        )
        for num_epochs in (0, 20)
    )
    averaged, learned = (abs(each.kernels[0] @ kernel) / np.linalg.norm(kernel) for each in (first, denoised))
    assert learned > 0.95
    assert 1 - learned < 0.9 * (1 - averaged)
    used = np.nonzero(denoised.code[0, :, 0])
    np.testing.assert_array_equal(used[1], onset[used[0]] + 19)


def test_counts_of_any_family_are_pooled_over_trials():
    rng = np.random.default_rng(0)
    binary, clumped = rng.binomial(1, 0.2, (3, 12, 60)), rng.negative_binomial(2.0, 0.5, (3, 12, 60))
    for likelihood, counts in ((Binomial(num_trials=1), binary), (NegativeBinomial(shape=2.0), clumped)):
        model = CountModel(likelihood=likelihood, width=21, levels=(6.0,), num_epochs=0)
        rates = denoise_counts(counts, model=model).rates
        assert rates[:, 0].mean(axis=1) == pytest.approx(counts.mean(axis=(1, 2)), rel=0.02)


def test_the_same_seed_gives_the_same_rates():
    counts = np.random.default_rng(0).poisson(0.5, (4, 8, 60))
    first, second = (denoise_counts(counts, model=quick) for _ in range(2))
    np.testing.assert_array_equal(first.rates, second.rates)


@pytest.mark.parametrize(
    ("counts", "arguments", "message"),
    [
        (np.ones((3, 60), dtype=int), {}, r"shape \(3, 60\): it must have three axes, \(unit, trial, bin\)"),
        (np.ones((0, 2, 60), dtype=int), {}, r"it must not be empty"),
        (np.ones((1, 2, 30), dtype=int), {}, r"30 bins: there must be at least width = 41"),
        (-np.ones((1, 2, 60), dtype=int), {}, r"values down to -1"),
        (np.full((1, 2, 60), 0.5), {}, r"fractional values"),
        (np.full((1, 2, 60), np.nan), {}, r"NaN"),
        (
            2 * np.ones((1, 2, 60), dtype=int),
            {"model": CountModel(likelihood=Binomial(num_trials=1))},
            r"num_trials = 1",
        ),
        (np.ones((1, 2, 60), dtype=int), {"event_bins": [70]}, r"outside 0 to 59"),
        (np.ones((1, 2, 60), dtype=int), {"event_bins": [[3], [4]]}, r"pass single_trials=True"),
        (np.ones((1, 2, 60), dtype=int), {"event_bins": [0.5]}, r"whole numbers"),
    ],
)
def test_bad_counts_are_refused(counts, arguments, message):
    with pytest.raises(ValueError, match=message):
        denoise_counts(counts, **arguments)


def test_spikes_are_binned_around_events():
    trains = {"a": np.array([100, 105, 119, 120, 990]), "b": np.array([200])}
    sorting = NumpySorting.from_unit_dict([trains], sampling_frequency=100.0)
    binned = bin_spikes(sorting, [1.0, 2.0], window_s=(-0.1, 0.2), bin_s=0.1)
    assert binned.unit_ids == ("a", "b")
    np.testing.assert_allclose(binned.bin_starts_s, [-0.1, 0.0, 0.1], atol=1e-12)
    assert binned.counts.tolist() == [[[0, 2, 1], [0, 0, 0]], [[0, 0, 0], [0, 1, 0]]]
    assert bin_spikes(sorting, [1.0], unit_ids=["b"]).counts.shape == (1, 1, 150)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_times_s": []}, r"event_times_s has shape \(0,\)"),
        ({"event_times_s": [np.nan]}, r"NaN or infinite"),
        ({"event_times_s": [1.0], "bin_s": 0.0}, r"bin_s = 0.0: it must be positive"),
        ({"event_times_s": [1.0], "bin_s": 0.07}, r"window_s = \(-0.5, 1.0\): it must be one or more bins"),
        ({"event_times_s": [1.0], "unit_ids": ["x"]}, r"unit_ids has x: the sorting has a"),
    ],
)
def test_events_and_bins_that_make_no_sense_are_refused(arguments, message):
    sorting = NumpySorting.from_unit_dict([{"a": np.array([100])}], sampling_frequency=100.0)
    with pytest.raises(ValueError, match=message):
        bin_spikes(sorting, **arguments)


def test_smoothing_keeps_a_constant_and_the_true_rates_have_the_most_bits():
    np.testing.assert_allclose(smooth(np.full((2, 50), 3.0), 5.0), 3.0)
    simulated = simulate_counts(rate_hz=20.0, num_trials=50, seed=2)
    mean = simulated.rates.mean(axis=1)
    bits = {
        name: bits_per_spike(simulated.counts, rates, mean, poisson_log_likelihood)
        for name, rates in {
            "true": simulated.rates,
            "constant": np.repeat(mean[:, None], 150, axis=1),
            "shuffled": simulated.rates[::-1],
        }.items()
    }
    assert bits["constant"] == pytest.approx(0.0, abs=1e-9)
    assert bits["true"] > 0.05 > bits["shuffled"]
    assert rate_error(simulated.rates, simulated.rates) == 0.0
    assert rate_error(histogram_rates(simulated.counts), simulated.rates) > 0.1


def test_simulated_rates_are_known_and_refused_if_none():
    simulated = simulate_counts(rate_hz=10.0, num_trials=400, num_units=5, seed=0)
    assert histogram_rates(simulated.counts) == pytest.approx(simulated.rates, abs=0.1)
    assert simulated.rates[4] == pytest.approx(0.1)
    with pytest.raises(ValueError, match=r"rate_hz = 0: it must be positive"):
        simulate_counts(rate_hz=0, num_trials=1)
