"""Claims about the labels of units: what they are judged by, and that decoys are found out."""

import numpy as np
import pytest
import spikeinterface as si
import spikeinterface.sorters as ss
import torch

from si_crsae.core.types import Dictionary
from si_crsae.evaluation import generate_case, judge_units
from si_crsae.sorting.model import Model
from si_crsae.sorting.probabilities.context import CodeInContext
from si_crsae.sorting.quality.coefficients import COEFFICIENTS
from si_crsae.sorting.quality.features import QUALITY_FEATURES, shape_features
from si_crsae.sorting.quality.labels import QUALITY_LABELS, UnitQuality, infer_quality, quality_by
from si_crsae.sorting.stages import Code

RATE_HZ, NUM_SAMPLES, WIDTH, NUM_CHANNELS = 30000.0, 900_000, 90, 16


def shape_of(atom):
    features = shape_features(atom[None].astype("float32") / np.linalg.norm(atom), RATE_HZ)
    return {name: float(values[0]) for name, values in features.items()}


def spike(num_channels=3):
    times = (np.arange(WIDTH) - 30) / 6
    waveform = -np.exp(-(times**2)) + 0.2 * np.exp(-((times - 4) ** 2) / 6)
    gains = np.zeros(NUM_CHANNELS)
    gains[:num_channels] = np.linspace(1, 0.3, num_channels)
    return gains[:, None] * waveform


def observe(trains, atoms):
    """Return a code of some trains, whose units have these atoms, in context."""
    code = np.concatenate([np.full(len(train), unit) for unit, train in enumerate(trains)])
    times = np.concatenate(trains).astype("int64")
    order = np.argsort(times, kind="stable")
    amplitude = np.random.default_rng(0).normal(20.0, 1.2, times.size).astype("float32")
    atoms = np.stack([atom / np.linalg.norm(atom) for atom in atoms]).astype("float32")
    count = len(atoms)
    dictionary = Dictionary(
        weights=torch.from_numpy(atoms), basis=torch.eye(WIDTH), scales=torch.full((count,), 20.0), num_before=30
    )
    noise = np.ones(count, "float32")
    return CodeInContext(
        code=Code(
            segment_index=np.zeros(times.size, "int64"),
            sample_index=times[order],
            sample_offset=np.zeros(times.size, "float32"),
            atom_index=code[order],
            amplitude=amplitude,
        ),
        model=Model(dictionary=dictionary, noise=noise, regularization=4 * noise),
        min_amplitude=np.full(count, 11.0, "float32"),
        sampling_frequency=RATE_HZ,
        num_samples=NUM_SAMPLES,
    )


def neuron_train(seed, count=200):
    """Return times that keep a refractory period."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.exponential((NUM_SAMPLES - 9e4) / count - 100, count) + 100).astype("int64") % NUM_SAMPLES


def quality_of(trains, atoms):
    return infer_quality(observe(trains, atoms))


def test_a_wave_on_all_channels_is_seen_to_be_everywhere():
    local, spread = shape_of(spike()), shape_of(spike(NUM_CHANNELS) * 0 + spike()[:1])
    assert spread["everywhere"] == pytest.approx(1, abs=1e-6)
    assert local["everywhere"] < 0.25
    assert spread["extent"] > local["extent"] + 1


def test_an_oscillation_is_long_and_has_many_extrema():
    ringing = np.zeros((NUM_CHANNELS, WIDTH))
    ringing[0] = np.sin(np.arange(WIDTH) / 2.5)
    usual, odd = shape_of(spike()), shape_of(ringing)
    assert odd["lobes"] > usual["lobes"] + 1
    assert odd["duration"] > usual["duration"] + 0.5


def test_atoms_of_nothing_have_finite_features():
    for values in shape_features(np.zeros((2, 4, 10), "float32"), RATE_HZ).values():
        assert np.isfinite(values).all()


def test_probabilities_are_of_all_labels():
    features = np.random.default_rng(0).normal(0, 50, (40, len(QUALITY_FEATURES)))
    quality = quality_by(features)
    np.testing.assert_allclose(quality.good + quality.mua + quality.noise, 1)
    assert set(quality.labels) <= set(QUALITY_LABELS)
    likeliest = np.stack([quality.good, quality.mua, quality.noise]).argmax(axis=0)
    assert quality.labels.tolist() == [QUALITY_LABELS[index] for index in likeliest]
    assert UnitQuality.empty().labels.size == 0


def test_there_are_coefficients_for_all_features_and_no_others():
    assert set(COEFFICIENTS) == {"intercept", *QUALITY_FEATURES}
    assert len(COEFFICIENTS["intercept"]) == len(QUALITY_LABELS)


def test_a_clean_neuron_is_good_and_one_that_breaks_the_refractory_period_less_so():
    clean = quality_of([neuron_train(1)], [spike()])
    assert clean.labels.tolist() == ["good"]
    rng = np.random.default_rng(2)
    broken = np.sort(np.concatenate([neuron_train(1), neuron_train(1)[::2] + rng.integers(18, 60, 100)]))
    assert quality_of([broken], [spike()]).good[0] < 0.01


def test_a_single_short_interval_says_little():
    times = neuron_train(1)
    once = np.sort(np.append(times, times[50] + 30))
    assert quality_of([once], [spike()]).labels.tolist() == ["good"]


def test_what_rings_on_all_channels_is_no_neuron():
    ringing = np.sin(np.arange(WIDTH) / 2.5) * np.exp(-np.arange(WIDTH) / 40) * np.ones((NUM_CHANNELS, 1))
    assert quality_of([neuron_train(1)], [ringing]).noise[0] > 20 * quality_of([neuron_train(1)], [spike()]).noise[0]


def test_units_are_judged_by_the_truth():
    times = np.arange(1, 101) * 3000
    truth = si.NumpySorting.from_unit_dict([{"a": times, "b": times + 1500}], RATE_HZ)
    mixed = np.sort(np.concatenate([times[:50] + 1500, times[50:]]))
    tested = si.NumpySorting.from_unit_dict([{1: times[:90], 2: mixed, 3: times + 700}], RATE_HZ)
    judged = judge_units(tested, truth)
    # agreement below a half is no match
    assert judged["accuracy"].tolist() == pytest.approx([0.9, 0, 0])
    assert judged["precision"].tolist() == pytest.approx([1, 0, 0])
    assert judged["of_neurons"].tolist() == pytest.approx([1, 1, 0], abs=0.02)


def test_nothing_is_judged_where_there_is_nothing():
    nothing, something = (si.NumpySorting.from_unit_dict([trains], RATE_HZ) for trains in ({}, {0: np.array([5])}))
    assert len(judge_units(nothing, something)) == 0
    assert (
        judge_units(something, si.NumpySorting.from_unit_dict([{7: np.zeros(0, int)}], RATE_HZ)).to_numpy().sum() == 0
    )


@pytest.mark.slow
def test_clicks_among_neurons_are_called_noise(tmp_path):
    recording, truth = generate_case("tetrode", duration_s=30.0, seed=1)
    traces = recording.get_traces().astype("float64")
    rng = np.random.default_rng(0)
    click = 25 * np.std(traces) * np.repeat([1.0, -1.0], 6)
    for start in rng.integers(0, len(traces) - 20, 150):
        traces[start : start + 12] += click[:, None] * rng.normal(1, 0.05)
    clicking = si.NumpyRecording([np.rint(traces).astype("int16")], recording.sampling_frequency)
    recording.copy_metadata(clicking)
    clicking.set_probe(recording.get_probe())
    saved = clicking.save(folder=tmp_path / "recording", verbose=False, progress_bar=False)
    sorting = ss.run_sorter("crsae", saved, folder=tmp_path / "run")
    judged = judge_units(sorting, truth)
    quality = sorting.get_property("quality")
    is_click = judged["of_neurons"].to_numpy() < 0.5
    assert is_click.any()
    assert (quality[is_click] == "noise").all()
    assert (quality[judged["accuracy"] > 0.9] == "good").mean() > 0.8
    probabilities = [sorting.get_property(f"probability_{label}") for label in QUALITY_LABELS]
    np.testing.assert_allclose(np.sum(probabilities, axis=0), 1)
