from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr
from spikeinterface.core import NumpyRecording, NumpySorting
from spikeinterface.core.base import minimum_spike_dtype

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.convert import TemplateWindow
from si_crsae.sorting.inventory import Inventory
from si_crsae.widgets.packing import pack
from si_crsae.widgets.view_models.residual_null import fit_null, peaks_like_atom, sample_residual
from si_crsae.widgets.view_models.thresholds import (
    apply_thresholds,
    fit_amplitudes,
    lowest_of,
    nothing_to_choose,
    threshold_grid,
    threshold_model,
    with_thresholds,
)

RATE_HZ = 10000.0
WIDTH = 20
NUM_BEFORE = 8


def bell(num_channels):
    """An atom of unit norm on all channels."""
    shape = np.exp(-0.5 * ((np.arange(WIDTH) - NUM_BEFORE) / 2) ** 2)
    atom = -np.outer(0.6 ** np.arange(num_channels), shape)
    return (atom / np.linalg.norm(atom)).astype("float32")


def explained(spikes, amplitude, *, scales, lowest, traces=None, num_samples=(100_000,), num_channels=2, name="tested"):
    """A run with units of one waveform."""
    scales = np.asarray(scales, "float32")
    sorting = NumpySorting(spikes, RATE_HZ, [10 * (unit + 1) for unit in range(scales.size)])
    sorting.set_property("quality", np.array(["good"] * scales.size))
    units = Inventory(
        atoms=np.repeat(bell(num_channels)[None], scales.size, axis=0),
        scales=scales,
        noise=np.ones_like(scales),
        regularization=np.zeros_like(scales),
        num_before=np.full(scales.size, NUM_BEFORE),
        main_channel=np.zeros(scales.size, "int64"),
        spikes=spikes,
        sample_offset=np.zeros(len(spikes), "float32"),
        amplitude=np.asarray(amplitude, "float32"),
    )
    return SortedRecording(
        name=name,
        sorting=sorting,
        units=units,
        channel_ids=np.arange(num_channels),
        locations=np.column_stack([np.zeros(num_channels), 20.0 * np.arange(num_channels)]),
        num_samples=num_samples,
        window=TemplateWindow(num_before=NUM_BEFORE, width=WIDTH),
        min_amplitude=(lowest * scales).astype("float32"),
        whitened=None if traces is None else NumpyRecording(traces, RATE_HZ),
        segments=np.arange(len(num_samples)),
    )


def make_spikes(samples, units, segments=None):
    spikes = np.zeros(len(samples), minimum_spike_dtype)
    spikes["sample_index"], spikes["unit_index"] = samples, units
    if segments is not None:
        spikes["segment_index"] = segments
    return spikes


@pytest.fixture
def simple():
    """One unit, amplitudes 0.6 to 1.5 in steps of a tenth."""
    return explained(
        make_spikes(1000 * np.arange(1, 11), 0), 10 * np.arange(0.6, 1.55, 0.1), scales=[10.0], lowest=0.55
    )


@pytest.mark.parametrize("lowest", [0.55, 0.8, 0.95])
def test_the_fit_finds_how_many_spikes_were_cut_off(lowest):
    amplitudes = np.random.default_rng(0).normal(1.0, 0.2, 20_000)
    seen = amplitudes[amplitudes >= lowest]
    fit = fit_amplitudes(seen, lowest=lowest)
    assert fit is not None
    assert fit.num_all == pytest.approx(amplitudes.size, rel=0.05)
    np.testing.assert_allclose([fit.mean, fit.sd], [1.0, 0.2], atol=0.02)
    assert fit.missed(np.array([lowest]))[0] == pytest.approx(ndtr((lowest - 1) / 0.2), abs=0.03)


def test_overlapping_spikes_do_not_widen_the_fit():
    rng = np.random.default_rng(0)
    amplitudes = np.concatenate([rng.normal(1.0, 0.1, 2000), rng.uniform(1.6, 3.0, 60)])
    fit = fit_amplitudes(amplitudes, lowest=0.55)
    assert fit is not None
    assert fit.sd == pytest.approx(0.1, abs=0.01)


def test_few_or_equal_amplitudes_say_nothing():
    assert fit_amplitudes(np.linspace(0.8, 1.2, 10), lowest=0.55) is None
    assert fit_amplitudes(np.ones(100), lowest=0.55) is None
    assert fit_amplitudes(np.zeros(0), lowest=0.55) is None


def test_the_null_of_noise_continues_as_its_maxima_do():
    """Fitted below 3.3 noise standard deviations, it predicts the rate of higher maxima."""
    rng = np.random.default_rng(0)
    traces = rng.normal(size=(1_200_000, 1)).astype("float32")
    noise = explained(
        make_spikes([], []), [], scales=[6.0], lowest=0.55, traces=traces, num_samples=(1_200_000,), num_channels=1
    )
    sample = sample_residual(noise, max_s=120.0)
    assert sample is not None
    assert sample.duration_s == 120.0
    heights = peaks_like_atom(sample, noise.units.atoms[0])
    null = fit_null(heights, duration_s=sample.duration_s, limit=3.3)
    for level in (2.5, 3.0, 3.5):
        counted = (heights >= level).sum() / sample.duration_s
        assert null.rate_above(np.array([level]))[0] == pytest.approx(counted, rel=0.25)
    assert null.variance == pytest.approx(1.0, abs=0.1)
    assert null.rate_above(np.array([8.0]))[0] < 1e-4


def test_spikes_are_not_part_of_the_null():
    rng = np.random.default_rng(1)
    traces = 0.1 * rng.normal(size=(100_000, 2)).astype("float32")
    onsets = np.arange(100, 99_000, 500)
    for onset in onsets:
        traces[onset : onset + WIDTH] += 10 * bell(2).T
    tested = explained(
        make_spikes(onsets + NUM_BEFORE, 0), np.full(onsets.size, 10.0), scales=[10.0], lowest=0.55, traces=traces
    )
    sample = sample_residual(tested)
    assert sample is not None
    assert peaks_like_atom(sample, tested.units.atoms[0])[0] < 1.0
    nobody = replace(tested, units=replace(tested.units, amplitude=np.zeros(onsets.size, "float32")))
    sample = sample_residual(nobody)
    assert sample is not None
    assert peaks_like_atom(sample, tested.units.atoms[0])[0] == pytest.approx(10.0, abs=0.5)


def test_the_sample_is_spread_over_the_recording_and_bounded():
    traces = np.zeros((300_000, 2), "float32")
    tested = explained(make_spikes([], []), [], scales=[6.0], lowest=0.55, traces=traces, num_samples=(300_000,))
    sample = sample_residual(tested, max_s=2.0)
    assert sample is not None
    assert sample.duration_s == pytest.approx(2.0)
    short = explained(make_spikes([], []), [], scales=[6.0], lowest=0.55, traces=traces[:30], num_samples=(30,))
    sample = sample_residual(short)
    assert sample is not None
    assert sample.num_samples == (30,)
    assert sample_residual(replace(tested, whitened=None)) is None


def test_too_few_maxima_are_not_continued():
    null = fit_null(np.array([3.0, 2.0, 1.0]), duration_s=2.0, limit=2.5)
    assert null.rate_above(np.array([0.5, 1.5, 2.6])).tolist() == [1.0, 0.5, 0.0]


def test_the_grid_holds_the_lowest_amplitude():
    for amplitudes in (np.zeros(0), np.linspace(0.55, 2, 50)):
        grid, index = threshold_grid(amplitudes, 0.55)
        assert grid[index] == pytest.approx(0.55)
        assert np.all(np.diff(grid) > 0)
        assert grid[0] > 0


def test_raising_a_threshold_removes_only_smaller_spikes(simple):
    kept = apply_thresholds(simple, {10: 0.95})
    assert kept.get_unit_spike_train(10).tolist() == (1000 * np.arange(5, 11)).tolist()
    assert kept.get_property("quality").tolist() == ["good"]
    assert apply_thresholds(simple, {}).count_total_num_spikes() == 10
    assert apply_thresholds(simple, {10: 0.3}).count_total_num_spikes() == 10
    nothing = apply_thresholds(simple, {10: 9.0})
    assert nothing.unit_ids.tolist() == [10]
    assert nothing.count_total_num_spikes() == 0


def test_other_units_and_segments_are_left_alone():
    spikes = make_spikes([10, 20, 10, 20], [0, 1, 0, 1], [0, 0, 1, 1])
    tested = explained(spikes, [6.0, 6.0, 9.0, 9.0], scales=[10.0, 10.0], lowest=0.55, num_samples=(100, 100, 100))
    kept = apply_thresholds(tested, {20: 0.8})
    assert [kept.get_unit_spike_train(20, segment_index=segment).tolist() for segment in (0, 1)] == [[], [20]]
    assert [kept.get_unit_spike_train(10, segment_index=segment).tolist() for segment in range(3)] == [[10], [10], []]


def test_with_a_truth_missed_and_false_are_counted(simple):
    """The spikes above 0.95 are true, and two more."""
    true_spikes = make_spikes([*1000 * np.arange(5, 11), 20_000, 30_000], 0)
    other = make_spikes(np.array([55_000]), 1)
    truth = explained(np.concatenate([true_spikes, other]), np.ones(9), scales=[1.0, 1.0], lowest=0.0, name="truth")
    model = threshold_model(simple, 0, thresholds={10: 0.95}, truth=truth)
    assert (model.source, model.matched_unit) == ("truth", "10")
    assert model.missed is not None
    assert model.false_alarm is not None
    at = int(np.abs(model.grid - 0.95).argmin())
    assert (model.missed[at], model.false_alarm[at]) == (2 / 8, 0.0)
    assert (model.missed[0], model.false_alarm[0]) == (2 / 8, 4 / 10)
    assert model.grid[model.best_index] == pytest.approx(0.95, abs=0.06)
    assert model.num_kept[at] == 6
    assert model.chosen_units == [0]
    pack(model)
    again = with_thresholds(model, simple, {})
    assert (again.threshold, again.chosen_units) == (model.lowest, [])
    assert again.missed is model.missed


def test_a_unit_that_is_in_no_true_one_is_all_false(simple):
    truth = explained(make_spikes([55_555], 0), [1.0], scales=[1.0], lowest=0.0, name="truth")
    model = threshold_model(simple, 0, thresholds={}, truth=truth)
    assert model.false_alarm is not None
    assert np.all(model.false_alarm == 1)
    assert "No spike of this unit is one of truth" in model.how[0]


def test_without_truth_and_traces_only_missed_ones_are_estimated():
    amplitudes = np.random.default_rng(0).normal(1.0, 0.2, 2000)
    amplitudes = amplitudes[amplitudes > 0.8]
    tested = explained(
        make_spikes(40 * np.arange(1, amplitudes.size + 1), 0), 10 * amplitudes, scales=[10.0], lowest=0.8
    )
    model = threshold_model(tested, 0, thresholds={})
    assert model.missed is not None
    assert model.missed[model.lowest_index] == pytest.approx(ndtr(-1), abs=0.05)
    assert model.false_alarm is None
    assert model.best_index == -1
    assert "Estimates" in model.how[0]
    pack(model)


def test_expected_false_alarms_are_those_put_into_the_recording():
    """Noise maxima above the lowest amplitude are taken for spikes; their number is foretold from the others."""
    rng = np.random.default_rng(0)
    traces = rng.normal(size=(600_000, 1)).astype("float32")
    options = {"scales": [6.0], "lowest": 0.6, "num_channels": 1, "num_samples": (600_000,)}
    blank = explained(make_spikes([], []), [], traces=traces, **options)
    sample = sample_residual(blank, max_s=60.0)
    assert sample is not None
    heights = peaks_like_atom(sample, blank.units.atoms[0])
    null = fit_null(heights[heights < 3.6], duration_s=sample.duration_s, limit=3.6)
    num_false = int((heights >= 3.6).sum())
    amplitudes = np.concatenate([heights[heights >= 3.6], rng.normal(6, 0.8, 400).clip(3.6)])
    times = np.sort(rng.choice(600_000, amplitudes.size, replace=False))
    tested = explained(make_spikes(times, 0), rng.permutation(amplitudes), **options)
    model = threshold_model(tested, 0, thresholds={}, null=null)
    assert model.false_alarm is not None
    assert model.null_counts is not None
    expected = model.false_alarm[model.lowest_index] * amplitudes.size
    assert expected == pytest.approx(num_false, rel=0.4)


def test_units_without_spikes_and_sortings_without_units_or_amplitudes_are_said():
    empty = explained(make_spikes([], []), [], scales=[5.0], lowest=0.55)
    model = threshold_model(empty, 0, thresholds={})
    assert model.num_spikes == 0
    assert model.counts.sum() == 0
    nobody = explained(make_spikes([], []), [], scales=[], lowest=0.55)
    assert "no units" in nothing_to_choose(nobody)
    other = explained(make_spikes([10], 0), [5.0], scales=[5.0], lowest=0.0)
    assert "open a run of crsae" in nothing_to_choose(other)
    assert nothing_to_choose(empty) == ""
    assert lowest_of(empty, 0) == pytest.approx(0.55)
