from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import spikeinterface as si
from spikeinterface.preprocessing import bandpass_filter

from si_crsae.evaluation.decomposition import decompose, events_in
from si_crsae.evaluation.sorted_recording import explain_sorting, open_run
from si_crsae.widgets.static_plots.decomposition import draw_decomposition
from si_crsae.widgets.view_models.decomposition import decomposition_model
from si_crsae.widgets.view_models.explanation import explain_residual
from si_crsae.widgets.view_models.stretch import Stretch, default_channels, stretch_around


@pytest.fixture(scope="module")
def opened(run_folder):
    return open_run(run_folder)


def stretch(start=60000, length=1500, num_columns=2000, channels=(0, 1, 2, 3), hidden=()):
    return Stretch(
        start=start,
        end=start + length,
        segment_index=0,
        channels=np.array(channels),
        num_columns=num_columns,
        hidden_units=hidden,
    )


def extremes(recording, edges, resolution):
    """Least and largest value of every channel between two edges, in whole steps: (channel, column, 2)."""
    columns = [recording.get_traces(start_frame=first, end_frame=last) for first, last in pairwise(edges)]
    values = np.array([[column.min(axis=0), column.max(axis=0)] for column in columns])
    return np.round(values / resolution).transpose(2, 0, 1)


def test_a_stretch_lies_inside_of_its_segment(opened):
    num_samples, length = opened.num_samples[0], round(0.05 * opened.sampling_frequency)
    for sample, start in ((0, 0), (60_000, 60_000 - length // 2), (10**9, num_samples - length)):
        found = stretch_around(opened, sample=sample, segment_index=0, window_ms=50.0, selected=())
        assert (found.start, found.end) == (start, start + length)


def test_a_stretch_is_at_most_the_segment(opened):
    found = stretch_around(opened, sample=60_000, segment_index=0, window_ms=1e9, selected=())
    assert (found.start, found.end) == (0, opened.num_samples[0])


def test_traces_are_the_sum_of_spikes_and_residual(opened):
    model = decomposition_model(opened, stretch())
    assert model.samples_per_column == 1
    total = model.explained.astype(int) + model.residual
    assert np.abs(total - model.traces).max() <= 2  # each is rounded
    whole = decompose(opened.whitened, opened.units, start=60000, end=61500)
    np.testing.assert_allclose(model.residual[:, :, 0] * model.resolution, whole.residual.T, atol=model.resolution)
    assert model.event_unit.tolist() == whole.unit_index.tolist()


def test_columns_keep_the_extremes_of_their_samples(opened):
    model = decomposition_model(opened, stretch(num_columns=100))
    assert model.samples_per_column == 15
    expected = extremes(opened.whitened, range(60_000, 61_501, 15), model.resolution)
    np.testing.assert_array_equal(model.traces, expected)


def test_the_last_column_may_hold_fewer_samples(opened):
    model = decomposition_model(opened, stretch(length=1490, num_columns=100))
    expected = extremes(opened.whitened, [*range(60_000, 61_490, 15), 61_490], model.resolution)
    np.testing.assert_array_equal(model.traces, expected)


def test_spikes_of_hidden_units_stay_in_the_residual(opened):
    loud = opened.unit_ids[int(opened.units.scales.argmax())]
    first = int(opened.sorting.get_unit_spike_train(loud)[2])
    shown = decomposition_model(opened, stretch(start=first - 300))
    hidden = decomposition_model(opened, stretch(start=first - 300, hidden=(loud,)))
    assert np.abs(hidden.residual).max() > 2 * np.abs(shown.residual).max()
    assert hidden.hidden == [opened.unit_ids.index(loud)]
    assert np.array_equal(hidden.traces, shown.traces)


def test_waveforms_add_up_to_what_is_explained(opened):
    model = decomposition_model(opened, stretch())
    total = np.zeros((4, 1500))
    for row, onset, waveform in zip(model.waveform_row, model.waveform_onset, model.waveforms, strict=True):
        for sample, value in enumerate(waveform, start=int(onset)):
            if 0 <= sample < 1500:
                total[row, sample] += value
    # what is below half a noise deviation is not sent
    assert np.abs(total - model.explained[:, :, 0] * model.resolution).max() < 1.5


@pytest.mark.parametrize(("limit", "value"), [("MAX_VALUES", 1000), ("MAX_EVENTS", 1)])
def test_a_long_stretch_shows_its_spikes_without_traces(opened, monkeypatch, limit, value):
    monkeypatch.setattr(f"si_crsae.widgets.view_models.decomposition.{limit}", value)
    model = decomposition_model(opened, stretch())
    assert model.traces is None
    whole = decompose(opened.whitened, opened.units, start=60000, end=61500)
    assert model.event_unit.tolist() == whole.unit_index.tolist() != []
    assert any("zoom in" in note for note in model.notes)


def test_the_overview_counts_every_spike_of_the_segment_in_its_part(opened):
    overview = decomposition_model(opened, stretch()).overview
    edges = [opened.num_samples[0] * part // len(overview) for part in range(len(overview) + 1)]
    expected, _ = np.histogram(opened.units.spikes["sample_index"], edges)
    assert overview.tolist() == expected.tolist()
    assert overview.sum() == opened.units.spikes.size


def test_channels_are_ordered_by_depth_and_those_near_the_unit_are_chosen(opened, monkeypatch):
    depths = opened.locations[default_channels(opened, []), 1]
    assert np.all(np.diff(depths) >= 0)
    monkeypatch.setattr("si_crsae.widgets.view_models.stretch.DEFAULT_CHANNELS", 2)
    assert opened.units.main_channel[3] in default_channels(opened, [3])
    assert default_channels(opened, [3]).size == 2


def test_a_missing_spike_is_named_with_the_threshold_that_would_catch_it(opened):
    unit = int(opened.units.scales.argmax())
    unit_id = opened.unit_ids[unit]
    first = int(opened.sorting.get_unit_spike_train(unit_id)[2])
    found = explain_residual(
        opened,
        stretch(start=first - 300, hidden=(unit_id,)),
        sample=first + 4,
        channel=int(opened.units.main_channel[unit]),
    )
    assert found.unit_index == unit
    assert found.time_s == pytest.approx(first / opened.sampling_frequency, abs=5e-5)
    event = np.flatnonzero((opened.units.spikes["sample_index"] == first) & (opened.units.spikes["unit_index"] == unit))
    assert found.amplitude == pytest.approx(float(opened.units.amplitude[event[0]]), rel=0.1)
    assert found.similarity > 0.8
    assert found.min_relative_amplitude == pytest.approx(0.55, abs=0.1)


def without_a_spike(opened):
    """Return the run as if the sorter had left out a spike of the largest unit, and where that is."""
    units = opened.units
    unit = int(units.scales.argmax())
    gone = int(np.flatnonzero(units.spikes["unit_index"] == unit)[2])
    kept = np.arange(units.spikes.size) != gone
    fewer = replace(
        units, spikes=units.spikes[kept], amplitude=units.amplitude[kept], sample_offset=units.sample_offset[kept]
    )
    strict = replace(opened, units=fewer, min_amplitude=1.5 * units.scales, posterior=None)
    return strict, unit, int(units.spikes["sample_index"][gone])


def test_a_bump_says_what_threshold_would_have_caught_it(opened):
    strict, unit, sample = without_a_spike(opened)
    channel = int(opened.units.main_channel[unit])
    found = explain_residual(strict, stretch(start=sample - 300), sample=sample, channel=channel)
    assert found.unit_index == unit
    assert f"a threshold of {found.relative_amplitude:.2f} would have caught it" in found.text


def test_plain_noise_advises_no_threshold(opened):
    """Wherever one clicks, an atom comes nearest; most places of a residual are noise."""
    samples = np.random.default_rng(0).integers(5000, 300_000, 40)
    found = [
        explain_residual(opened, stretch(start=int(sample) - 300), sample=int(sample), channel=0) for sample in samples
    ]
    texts = [one.text for one in found if one is not None]
    assert np.mean(["what noise alone makes" in text for text in texts]) > 0.9
    assert not any("would have caught it" in text for text in texts if "noise alone" in text)


def test_noise_is_not_shaded_and_a_missing_spike_is(opened):
    shaded = []
    for start in range(20_000, 320_000, 20_000):
        model = decomposition_model(opened, stretch(start=start))
        shaded.append(np.mean(model.residual_level > model.noise_ceiling))
    assert np.mean(shaded) < 0.01
    strict, unit, sample = without_a_spike(opened)
    model = decomposition_model(strict, stretch(start=sample - 300))
    assert model.residual_level[int(opened.units.main_channel[unit])].max() > model.noise_ceiling


def test_others_of_many_channels_can_be_chosen(opened, monkeypatch):
    monkeypatch.setattr("si_crsae.widgets.view_models.stretch.DEFAULT_CHANNELS", 2)
    by_depth = np.lexsort((opened.locations[:, 0], opened.locations[:, 1]))
    for first, expected in ((0, by_depth[:2]), (1, by_depth[1:3]), (99, by_depth[2:])):
        assert default_channels(opened, [0], first_row=first).tolist() == expected.tolist()
    model = decomposition_model(opened, stretch(channels=by_depth[1:3]))
    assert (model.num_channels, len(model.channels)) == (4, 2)


def test_no_units_leave_the_traces_as_they_are(run_folder):
    recording = si.load(run_folder.parent / "recording")
    empty = explain_sorting(si.NumpySorting.from_unit_dict({}, recording.sampling_frequency), recording, name="empty")
    model = decomposition_model(empty, stretch())
    assert np.array_equal(model.traces, model.residual)
    assert model.event_unit.size == 0
    assert explain_residual(empty, stretch(), sample=60400, channel=0) is None


def test_one_channel_is_enough(run_folder):
    recording, truth = (si.load(run_folder.parent / name) for name in ("recording", "truth"))
    single = explain_sorting(truth, recording.select_channels(recording.channel_ids[:1]), name="truth")
    model = decomposition_model(single, stretch(channels=(0,)))
    band = {"freq_min": 150.0, "freq_max": 7000.0, "ftype": "bessel", "filter_order": 2}
    filtered = bandpass_filter(recording, **band, dtype="float32")
    trace = filtered.get_traces(start_frame=60_000, end_frame=61_500)[:, 0]
    assert np.corrcoef(model.traces[0, :, 0], trace)[0, 1] > 0.999
    np.testing.assert_array_equal(model.traces, extremes(single.whitened, range(60_000, 61_501), model.resolution))
    assert np.abs(model.explained.astype(int) + model.residual - model.traces).max() <= 2  # each is rounded


def test_the_twin_draws_three_panels_and_a_color_bar(opened):
    from matplotlib.figure import Figure

    figure = Figure()
    draw_decomposition(figure, decomposition_model(opened, stretch()))
    assert [axes.get_title() for axes in figure.axes[:3]] == ["whitened traces", "= spikes, by unit", "+ residual"]
    assert len(figure.axes) == 4
    assert len(figure.axes[0].lines) == 4


def test_intervals_of_amplitudes_are_in_units_of_the_typical_one(opened):
    model = decomposition_model(opened, stretch())
    events = events_in(opened.units, start=60000, end=61500)
    scales = opened.units.scales[opened.units.spikes["unit_index"][events]]
    np.testing.assert_allclose(model.event_interval[:, 0] * scales, opened.posterior.amplitude_low[events], rtol=1e-5)
    np.testing.assert_allclose(model.event_interval[:, 1] * scales, opened.posterior.amplitude_high[events], rtol=1e-5)
