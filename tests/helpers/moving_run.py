"""A run to which a motion was added: peaks at its spikes, a sine over 20 um, and atoms that move with it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from spikeinterface.core.motion import Motion
from spikeinterface.preprocessing.motion import save_motion_info

from si_crsae.core.tables import to_arrays
from si_crsae.evaluation.sorted_recording import open_run
from si_crsae.sorting.drift.estimation import DRIFT_FILE, MOTION_FOLDER, DriftFound
from si_crsae.sorting.drift.moved import AT_REST, MovedAtoms
from si_crsae.sorting.results import MOVED_FILE
from si_crsae.sorting.runs.manifest import noted_whole

RANGE_UM, PERIOD_S, BIN_S = 20.0, 10.0, 0.5
# Of what is at the steps: an atom loses so much of its size per um.
LOSS_PER_UM = 0.02
STEPS_UM = (-10.0, -5.0, 0.0, 5.0, 10.0)


def true_displacement_um(times_s):
    """Return how far the tissue is up the probe."""
    return RANGE_UM / 2 * np.sin(2 * np.pi * np.asarray(times_s) / PERIOD_S)


def add_motion(folder: Path, target: Path) -> Path:
    """Copy a run of one segment to another folder, with a motion that was followed."""
    shutil.copytree(folder, target)
    shown = open_run(target)
    group = target / "sorter_output" / "stages" / "group_0"
    times = np.arange(BIN_S / 2, shown.duration_s(0), BIN_S)
    motion = Motion(true_displacement_um(times)[:, None], times, np.array([20.0]))
    save_motion_info({**_peaks(shown), "parameters": {}, "run_times": {}, "motion": motion}, group / MOTION_FOLDER)
    found = replace(DriftFound().refined(motion), size_um=7.07, error_um=0.5, is_followed=True)
    for path, table in ((group / DRIFT_FILE, found), (target / "sorter_output" / MOVED_FILE, moved_atoms(shown))):
        with noted_whole(path) as unfinished:
            np.savez(unfinished, **to_arrays(table))
    return target


def _peaks(shown):
    spikes = shown.units.spikes
    peaks = np.zeros(spikes.size, [("sample_index", "int64"), ("channel_index", "int64"), ("segment_index", "int64")])
    peaks["sample_index"] = spikes["sample_index"]
    locations = np.zeros(spikes.size, [("x", "float64"), ("y", "float64")])
    rest = np.asarray(shown.sorting.get_property("depth_um"))[spikes["unit_index"]]
    locations["y"] = rest + true_displacement_um(spikes["sample_index"] / shown.sampling_frequency)
    return {"peaks": peaks, "peak_locations": locations}


def moved_atoms(shown) -> MovedAtoms:
    """Return atoms that shrink as they move, on the same channels; those of the step 0 are at rest."""
    units, spikes = shown.units, shown.units.spikes
    num_units, num_channels, width = units.atoms.shape
    steps = np.array(STEPS_UM)
    nearest = np.abs(true_displacement_um(spikes["sample_index"] / shown.sampling_frequency)[:, None] - steps).argmin(
        axis=1
    )
    moving = np.flatnonzero(steps != 0)
    gains = 1 - LOSS_PER_UM * np.abs(steps[moving])
    place_of_step = np.full(steps.size, AT_REST)
    place_of_step[moving] = np.arange(moving.size)
    place = spikes["unit_index"] * moving.size + place_of_step[nearest]
    weights = (gains[None, :, None, None] * units.atoms[:, None]).reshape(-1, num_channels, width)
    return MovedAtoms(
        unit_index=np.repeat(np.arange(num_units), moving.size),
        displacement_um=np.tile(steps[moving], num_units),
        weights=weights.astype("float32"),
        channels=np.tile(np.arange(num_channels), (num_units * moving.size, 1)),
        basis_index=np.zeros(num_units * moving.size, "int64"),
        bases=np.eye(width, dtype="float32")[None],
        place=np.where(steps[nearest] == 0, AT_REST, place),
    )
