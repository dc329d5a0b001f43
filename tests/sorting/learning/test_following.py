"""Waveforms of moving tissue: where it was when they were recorded, what they are at rest, what templates they make."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from moving_tissue import NUM_CHANNELS, RATE_HZ, make_motion, make_tissue, seen_at, true_templates

from si_crsae.core.types import Dictionary
from si_crsae.sorting.learning.expectation import EventWaveforms
from si_crsae.sorting.learning.following import follow_units, hold_still
from si_crsae.sorting.learning.refinement import refine_trajectory
from si_crsae.sorting.learning.units import Unit
from si_crsae.sorting.model import Model

DEPTHS_UM = [60.0, 113.0, 170.0]
CHANNELS = np.tile(np.arange(NUM_CHANNELS), (len(DEPTHS_UM), 1))
NOISE = np.random.default_rng(5).standard_normal((500, NUM_CHANNELS, 2)).astype("float32")


def record(tissue, path_um, *, depths_um=DEPTHS_UM, count=600, size=1.0, seed=0) -> EventWaveforms:
    """Return events of units with noise of 1; their sizes vary around a usual one."""
    rng = np.random.default_rng(seed)
    samples = np.sort(rng.integers(0, round(RATE_HZ * len(path_um)), count))
    atoms = rng.integers(0, len(depths_um), count)
    where = path_um[(samples / RATE_HZ).astype("int64")]
    clean = np.array([seen_at(depths_um[atom], moved) for atom, moved in zip(atoms, where, strict=True)])
    clean = clean.reshape(count, NUM_CHANNELS, 2)
    sizes = rng.normal(size, 0.05, count)
    recorded = sizes[:, None, None] * clean + rng.standard_normal(clean.shape)
    still = np.array([np.linalg.norm(seen_at(depth, 0.0)) for depth in depths_um])
    step = np.abs(tissue.covariance.steps_um - where[:, None]).argmin(axis=1)
    return EventWaveforms(
        segment_index=np.zeros(count, "int64"),
        sample_index=samples,
        atom_index=atoms,
        amplitude=(sizes * still[atoms]).astype("float32"),
        features=recorded.astype("float32"),
        recorded=recorded.astype("float32"),
        step=step,
        noise_features=NOISE,
        objective=0.0,
    )


def model_of(tissue) -> Model:
    still = torch.from_numpy(np.stack([seen_at(depth, 0.0) for depth in DEPTHS_UM]))
    ones = np.ones(len(DEPTHS_UM), "float32")
    return Model(
        dictionary=Dictionary.from_coefficients(still, torch.eye(2), num_before=0),
        noise=ones,
        regularization=ones,
        moving=true_templates(tissue, DEPTHS_UM),
    )


def test_the_displacement_is_where_templates_explain_the_waveforms():
    """The estimate lags behind by four steps at most."""
    path_um = 10 * np.sin(np.arange(12) / 2)
    guess = make_motion(path_um + np.where(np.arange(12) % 2 == 0, 4.0, -4.0))
    tissue = make_tissue(guess)
    events = record(tissue, path_um)
    refined = refine_trajectory(
        tissue.trajectory, events, true_templates(tissue, DEPTHS_UM), CHANNELS, noise_features=NOISE
    )
    middles = np.round(1000 * (np.arange(12) + 0.5)).astype("int64")
    found, guessed = (
        np.array([each.displacements_um(0, sample, np.array([113.0]))[0] for sample in middles])
        for each in (refined, tissue.trajectory)
    )
    assert np.abs(found - path_um).max() < 0.7
    assert np.abs(guessed - path_um).min() > 3.0


def test_small_spikes_are_as_far_as_large_ones():
    """At the end of the probe: with a size that must be the usual one, they would be taken to have left it."""
    path_um, depth_um = 6 * np.sin(np.arange(12) / 2), 215.0
    tissue = make_tissue(make_motion(path_um + 1.0))
    events = record(tissue, path_um, depths_um=[depth_um], size=0.9)
    moving = true_templates(tissue, [depth_um])
    refined = refine_trajectory(tissue.trajectory, events, moving, CHANNELS, noise_features=NOISE)
    for bin_index, true_um in enumerate(path_um):
        (found,) = refined.displacements_um(0, 1000 * bin_index + 500, np.array([depth_um]))
        assert found == pytest.approx(true_um, abs=1.2)  # displacements are tried in steps of 2 um


def test_depths_may_move_by_different_distances():
    path_um = np.linspace(-8, 8, 10)
    tissue = make_tissue(make_motion(path_um))
    events = record(tissue, path_um, count=900)
    # The lowest unit stays where it is, the one in the middle is not seen, the highest moves.
    lowest = events.atom_index == 0
    still = np.repeat(seen_at(DEPTHS_UM[0], 0.0)[None], lowest.sum(), axis=0)
    events.recorded[events.atom_index == 1] = 0.0
    events.recorded[lowest] = still + np.random.default_rng(1).standard_normal(still.shape)
    refined = refine_trajectory(
        tissue.trajectory, events, true_templates(tissue, DEPTHS_UM), CHANNELS, noise_features=NOISE
    )
    low, high = (refined.displacements_um(0, 9500, np.array([depth]))[0] for depth in (60.0, 170.0))
    assert low == pytest.approx(0.0, abs=1.5)
    assert high == pytest.approx(8.0, abs=1.5)


def test_without_events_the_estimate_stays():
    tissue = make_tissue(make_motion(np.array([0.0, 5.0])))
    events = record(tissue, np.array([0.0, 5.0]), count=0)
    moving = true_templates(tissue, DEPTHS_UM)
    refined = refine_trajectory(tissue.trajectory, events, moving, CHANNELS, noise_features=NOISE)
    assert refined is tissue.trajectory


def test_waveforms_are_put_where_they_would_be_at_rest():
    path_um = np.array([-12.0, 0.0, 12.0])
    tissue = make_tissue(make_motion(path_um))
    events = record(tissue, path_um, seed=2)
    held = hold_still(events, model_of(tissue), tissue, CHANNELS)
    for atom, depth in enumerate(DEPTHS_UM):
        still = seen_at(depth, 0.0)
        mean = held.features[held.atom_index == atom].mean(axis=0)
        assert np.linalg.norm(mean - still) < 0.05 * np.linalg.norm(still)
        spread = held.features[held.atom_index == atom].std(axis=0)
        assert spread.max() < 3.0  # as recorded, the motion alone makes 15
    assert events.features[events.atom_index == 1].std(axis=0).max() > 6.0


def test_what_is_beside_an_atom_is_moved_with_it():
    """Two neurons share an atom: where they differ moves, and would be smeared out where it was recorded."""
    path_um = np.array([-12.0, 0.0, 12.0])
    tissue = make_tissue(make_motion(path_um))
    events = record(tissue, path_um, seed=4)
    where = path_um[(events.sample_index / RATE_HZ).astype("int64")]
    events.recorded[:] += np.array([seen_at(140.0, moved, norm=6.0) for moved in where])
    held = hold_still(events, model_of(tissue), tissue, CHANNELS)
    mine = held.atom_index == 1
    for moved in path_um:
        beside = held.features[mine & (where == moved)].mean(axis=0) - seen_at(DEPTHS_UM[1], 0.0)
        expected = seen_at(140.0, 0.0, norm=6.0)
        assert np.linalg.norm(beside - expected) < 0.3 * np.linalg.norm(expected)


def unit_of(events, atom, *, lag=0) -> Unit:
    mine = events.atom_index == atom
    return Unit(
        template=seen_at(DEPTHS_UM[atom], 0.0),
        channels=CHANNELS[atom],
        features=events.features[mine],
        amplitude=events.amplitude[mine],
        segment_index=events.segment_index[mine],
        sample_index=events.sample_index[mine] + lag,
        row=np.flatnonzero(mine),
    )


def test_the_waveforms_of_all_displacements_make_the_templates_at_each():
    path_um = np.linspace(-12, 12, 9)
    tissue = make_tissue(make_motion(path_um))
    events = record(tissue, path_um, count=1500, seed=3)
    held = hold_still(events, model_of(tissue), tissue, CHANNELS)
    units = [unit_of(held, atom) for atom in range(3)]
    geometry = SimpleNamespace(delayed=lambda features, lag: features)
    moving = follow_units(units, held, tissue, geometry, channels=CHANNELS, noise_features=NOISE)
    assert moving.rest_depth_um == pytest.approx(DEPTHS_UM, abs=2.0)
    for atom, depth in enumerate(DEPTHS_UM):
        for step in np.flatnonzero(np.abs(moving.step_um) <= 12):
            true = seen_at(depth, moving.step_um[step])
            assert np.linalg.norm(moving.step_weights[atom, step] - true) < 0.05 * np.linalg.norm(true)


def test_a_unit_without_events_moves_its_template():
    tissue = make_tissue(make_motion(np.array([-10.0, 10.0])))
    events = record(tissue, np.array([-10.0, 10.0]), count=30)
    unit = unit_of(events, 1).select(np.zeros(np.sum(events.atom_index == 1), bool))
    moving = follow_units([unit], None, tissue, SimpleNamespace(), channels=CHANNELS, noise_features=NOISE)
    up = int(np.flatnonzero(moving.step_um == 8.0)[0])
    true = seen_at(113.0, 8.0)
    assert np.linalg.norm(moving.step_weights[0, up] - true) < 0.2 * np.linalg.norm(true)
