"""Templates that move: what contacts see of them at displacements at which no spike was recorded."""

import numpy as np
import pytest
import torch
from moving_tissue import LOCATIONS, NUM_CHANNELS, make_motion, make_tissue, seen_at, true_templates

from si_crsae.core.types import Dictionary
from si_crsae.sorting.drift.covariance import TemplateCovariance
from si_crsae.sorting.drift.moving import MovingTemplates, SeenMeans, fit_moving_template

DEPTH_UM, EVERYWHERE = 113.0, np.arange(NUM_CHANNELS)


@pytest.fixture(scope="module")
def tissue():
    return make_tissue(make_motion(np.array([-10.0, 10.0])))


def waveforms_at(displacements_um, count, *, noise=1.0, seed=0):
    """Return single waveforms of a unit, as many at each displacement."""
    rng = np.random.default_rng(seed)
    clean = np.concatenate([np.repeat(seen_at(DEPTH_UM, each)[None], count, axis=0) for each in displacements_um])
    return (clean + noise * rng.standard_normal(clean.shape)).astype("float32")


def relative_error(fitted, displacement_um):
    true = seen_at(DEPTH_UM, displacement_um)
    return np.linalg.norm(fitted - true) / np.linalg.norm(true)


def test_waveforms_at_many_displacements_tell_what_is_between_the_contacts(tissue):
    steps_um = tissue.covariance.steps_um
    unseen = int(np.flatnonzero(steps_um == 6.0)[0])
    some = [int(np.flatnonzero(steps_um == each)[0]) for each in (-10.0, -4.0, 0.0, 10.0)]
    many = SeenMeans.of(waveforms_at(steps_um[some], 50), np.repeat(some, 50))
    fitted = fit_moving_template(many, EVERYWHERE, tissue.covariance, noise_variance=1.0)
    assert relative_error(fitted[unseen], 6.0) < 0.03
    assert np.abs(steps_um[unseen] - steps_um[some]).min() == 4.0


def test_the_mean_at_rest_alone_gives_a_coarser_picture(tissue):
    rest = tissue.covariance.rest
    one = SeenMeans.of(waveforms_at([0.0], 200), np.full(200, rest))
    fitted = fit_moving_template(one, EVERYWHERE, tissue.covariance, noise_variance=1.0)
    assert relative_error(fitted[rest], 0.0) < 0.03
    assert relative_error(fitted[rest + 5], 10.0) < 0.2


def test_whitened_waveforms_are_understood_as_such():
    rng = np.random.default_rng(3)
    whitening = np.eye(NUM_CHANNELS) + 0.15 * rng.standard_normal((NUM_CHANNELS, NUM_CHANNELS))
    tissue = make_tissue(make_motion(np.array([-10.0, 10.0])), whitening=whitening)
    steps_um, steps = tissue.covariance.steps_um, np.arange(4, 15, 2)
    means = np.stack([whitening.T @ seen_at(DEPTH_UM, each) for each in steps_um[steps]])
    seen = SeenMeans(means=means, counts=np.full((len(steps), NUM_CHANNELS), 100), steps=steps)
    fitted = fit_moving_template(seen, EVERYWHERE, tissue.covariance, noise_variance=0.01)
    true = whitening.T @ seen_at(DEPTH_UM, steps_um[9])
    assert np.linalg.norm(fitted[9] - true) < 0.03 * np.linalg.norm(true)


def test_channels_that_were_not_looked_at_are_filled_from_the_others(tissue):
    rest = tissue.covariance.rest
    waveforms = waveforms_at([0.0], 100)
    waveforms[:, 6] = np.nan
    seen = SeenMeans.of(waveforms, np.full(100, rest))
    assert seen.counts[0, 6] == 0
    fitted = fit_moving_template(seen, EVERYWHERE, tissue.covariance, noise_variance=1.0)
    hidden = seen_at(DEPTH_UM, 0.0)[6]
    assert np.linalg.norm(fitted[rest, 6] - hidden) < 0.4 * np.linalg.norm(hidden)


def test_close_steps_are_pooled(tissue):
    steps = np.arange(60) % 30
    seen = SeenMeans.of(np.zeros((60, NUM_CHANNELS, 2), "float32"), steps)
    assert len(seen.steps) <= 12
    assert seen.counts[:, 0].sum() == 60


def test_a_step_is_where_the_tissue_is(tissue):
    """Moved up by one row, a template is that of a unit one row further up."""
    moving = true_templates(tissue, [100.0])
    up = int(np.flatnonzero(tissue.covariance.steps_um == 10.0)[0])
    assert moving.coefficients_at(np.array([up]), num_channels=NUM_CHANNELS)[0] == pytest.approx(seen_at(110.0, 0.0))


def test_covariances_depend_on_the_distance_between_places():
    steps_um = np.array([-20.0, 0.0, 20.0])
    covariance = TemplateCovariance.of(LOCATIONS, np.eye(NUM_CHANNELS), steps_um)
    # Contact 3, when all has moved up by a row, sees what contact 2 sees at rest.
    assert covariance.between(2, 1)[3, 2] == pytest.approx(1.0)
    assert covariance.between(1, 2)[2, 3] == pytest.approx(1.0)
    assert covariance.between(1, 1)[3, 2] < 0.6


def test_registration_moves_what_was_recorded_back(tissue):
    step = int(np.flatnonzero(tissue.covariance.steps_um == 8.0)[0])
    moved = tissue.covariance.registrations[step] @ seen_at(DEPTH_UM, 8.0)
    still, before = seen_at(DEPTH_UM, 0.0), seen_at(DEPTH_UM, 8.0)
    assert np.linalg.norm(moved - still) < 0.1 * np.linalg.norm(still) < 0.5 * np.linalg.norm(before - still)
    assert tissue.covariance.registrations[tissue.covariance.rest] @ still == pytest.approx(still, abs=1.0)


def test_an_atom_that_has_left_the_probe_stays_what_it_is_at_rest(tissue):
    moving = true_templates(tissue, [100.0, 113.0])
    gone = moving.step_weights.copy()
    gone[1, 3] = 0
    moving = MovingTemplates(
        step_um=moving.step_um,
        step_weights=gone,
        step_channels=moving.step_channels,
        rest_depth_um=moving.rest_depth_um,
    )
    still = torch.from_numpy(np.stack([seen_at(100.0, 0.0), seen_at(113.0, 0.0)]))
    rest = Dictionary.from_coefficients(still, torch.eye(2), num_before=0)
    there = moving.at(np.array([3, 3]), rest)
    assert torch.allclose(there.weights[1], rest.weights[1], atol=1e-6)
    assert not torch.allclose(there.weights[0], rest.weights[0], atol=0.05)
    assert there.scales[0] == pytest.approx(np.linalg.norm(moving.step_weights[0, 3]))
