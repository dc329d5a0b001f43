"""Features of spikes: what the waveforms of two neurons differ in, where they come from, what a line has caught."""

from dataclasses import replace

import numpy as np
import pytest
from curated_units import curated_units, with_traces
from numpy.testing import assert_allclose, assert_array_equal

from si_crsae.widgets.view_models.curation import parts_by_amplitude
from si_crsae.widgets.view_models.curation_outcome import outcome_of
from si_crsae.widgets.view_models.curation_state import CurationState
from si_crsae.widgets.view_models.features import FEATURE_LABELS, Lasso, features_model
from si_crsae.widgets.view_models.similarity import ranked_pairs, similarity_matrix, similarity_of_all
from si_crsae.widgets.view_models.spike_features import (
    channels_of,
    evenly_chosen,
    fit_features,
    is_inside,
    read_all,
    read_snippets,
)
from si_crsae.widgets.view_models.spike_list import listed_spikes
from si_crsae.widgets.view_models.unit_activity import spikes_of_units


@pytest.fixture(scope="module")
def made():
    return with_traces(curated_units(num_segments=2))


def snippets_of(made, unit, leading):
    return read_snippets(made, evenly_chosen(spikes_of_units(made)[unit], 200), channels_of(made, leading))


def test_snippets_hold_the_spike_where_it_is(made):
    found = snippets_of(made, 2, 2)
    atom, amplitudes = made.units.atoms[2], made.units.amplitude[found.spikes]
    (channel,) = channels_of(made, 2)
    alone = np.abs(found.values[:, 0] - amplitudes[:, None] * atom[channel]).max(axis=1) < 0.6
    assert alone.mean() > 0.6  # the others overlap with spikes of other units


def test_spikes_at_the_ends_of_a_segment_are_left_out(made):
    spikes = made.units.spikes.copy()
    spikes["sample_index"][:2] = [0, made.num_samples[0] - 1]
    spikes["segment_index"][:2] = 0
    moved = replace(made, units=replace(made.units, spikes=spikes))
    assert_array_equal(read_snippets(moved, np.arange(4), np.array([0])).spikes, [2, 3])


def test_components_tell_small_spikes_from_large_ones(made):
    space = fit_features(made, [snippets_of(made, 2, 2)], 2)
    batches = list(read_all(made, 2, space.channels))
    spikes = np.concatenate([batch.spikes for batch in batches])
    features = np.concatenate([space.of(batch)["pc1"] for batch in batches])
    assert_array_equal(spikes, spikes_of_units(made)[2])
    is_small = made.units.relative_amplitude(spikes) < 0.75
    middle = (np.median(features[is_small]) + np.median(features[~is_small])) / 2
    sides = (features > middle) == is_small
    assert max(sides.mean(), 1 - sides.mean()) > 0.9


def test_depth_lies_between_the_channels_of_a_unit(made):
    snippets = snippets_of(made, 1, 1)
    assert snippets.values.shape[1] == 2
    depth = fit_features(made, [snippets], 1).of(snippets)["depth"]
    assert np.median(depth) == pytest.approx(20 * 0.2**2 / (1 + 0.2**2), abs=0.2)


def test_a_model_has_all_that_is_drawn_and_tells_what_the_lasso_caught(made):
    snippets = {unit: snippets_of(made, unit, 2) for unit in (2, 4)}
    inside = snippets[2].spikes[:30]
    lasso = Lasso(x="pc1", y="pc2", corners=[[0, 0], [1, 0], [1, 1]], inside=inside)
    space = fit_features(made, list(snippets.values()), 2)
    model = features_model(made, snippets, space, selected=[2, 4], lasso=lasso)
    assert model.points.features.keys() == FEATURE_LABELS.keys()
    assert model.points.is_inside.sum() == model.num_inside == 30
    assert model.waveforms.means.shape == (2, 1, made.window.width)
    assert model.num_of_leading == spikes_of_units(made)[2].size
    assert model.intervals[0, :3].sum() == 0  # refractory
    rate = (model.rates_hz[0] * model.duration_s / 60).sum()
    assert rate == np.count_nonzero(made.units.spikes["segment_index"][spikes_of_units(made)[2]] == 0)
    assert model.notes == []


def test_without_traces_amplitudes_intervals_and_rate_are_left():
    bare = curated_units()
    model = features_model(bare, {}, None, selected=[0, 1])
    assert model.labels == {}
    assert model.amplitudes.time_s.size > 100
    assert "need the recording" in model.notes[0]
    assert features_model(curated_units(num_units=0), {}, None, selected=[]).empty


@pytest.mark.parametrize(
    ("corners", "inside"),
    [
        ([[0, 0], [4, 0], [4, 4], [0, 4]], [True, True, False, False]),
        ([[0, 0], [4, 0], [4, 4], [2, 0.5], [0, 4]], [False, True, False, False]),
        ([[4, 4], [0, 4], [0, 0], [4, 0]], [True, True, False, False]),
        ([[0, 0], [4, 4]], [False] * 4),
    ],
)
def test_what_lies_within_a_line(corners, inside):
    points = np.array([[2.0, 2.0], [3.5, 2.0], [5.0, 2.0], [2.0, -1.0]])
    assert is_inside(*points.T, corners).tolist() == inside


def test_spikes_are_listed_by_any_column(made):
    by_size = listed_spikes(made, [0, 2], sort=("amplitude", True))
    assert_array_equal(by_size.amplitude, np.sort(by_size.amplitude)[::-1])
    in_segment = made.units.spikes["segment_index"] == 0
    mine = np.isin(made.units.spikes["unit_index"], [0, 2]) & in_segment
    assert by_size.num_spikes == mine.sum()
    assert by_size.amplitude[0] == made.units.relative_amplitude(np.flatnonzero(mine)).max().astype("float32")
    assert (np.diff(listed_spikes(made, [0, 2]).time_s) >= 0).all()
    with pytest.raises(ValueError, match="sort = 'probability': spikes have time, unit, amplitude"):
        listed_spikes(made, [0], sort=("probability", False))


def test_halves_of_a_neuron_are_the_first_pair_to_look_at(made):
    similarity = similarity_of_all(made)
    assert_allclose(similarity, similarity.T)
    (first, *others) = ranked_pairs(similarity)
    assert first.units == [0, 1]
    assert first.similarity == pytest.approx(1 / np.sqrt(1 + 0.2**2), abs=0.01)
    assert others == []  # the rest have no channel in common, or too little
    matrix = similarity_matrix(made, similarity)
    assert matrix.units == [0, 1, 2, 3, 4]
    assert matrix.values[0, 1] == pytest.approx(first.similarity)


def test_the_parts_of_a_split_look_as_their_spikes_do(made):
    preview = outcome_of(made, CurationState.of(made.sorting), [2], parts=parts_by_amplitude(made, 2, 0.75), said="so")
    assert preview.title == "Preview: 2 split so → 5, 6"
    atoms = preview.pictures.atoms
    heights = [np.abs(atoms.values[atoms.unit == number]).max() for number in (5, 6)]
    assert heights[0] == pytest.approx(0.5 * heights[1], rel=0.1)
    residual = atoms.values[atoms.unit == 6][0] - 20 * made.units.atoms[2, 1]
    assert 0 < np.abs(residual).max() < 2  # measured, not the atom itself
