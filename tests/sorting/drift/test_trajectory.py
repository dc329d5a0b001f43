"""Where the tissue is at a sample of what is read."""

import numpy as np
import pytest
from moving_tissue import NUM_CHANNELS, RATE_HZ, make_motion, make_tissue
from spikeinterface.core import NumpyRecording
from spikeinterface.core.motion import Motion

from si_crsae.sorting.drift.trajectory import Trajectory
from si_crsae.sorting.signal.recording import Tile

PATH_UM = np.array([0.0, 4.0, 8.0, 12.0, 8.0, 4.0, 0.0, -4.0])


def silence(*lengths: int) -> NumpyRecording:
    return NumpyRecording([np.zeros((length, NUM_CHANNELS), "float32") for length in lengths], RATE_HZ)


def test_displacements_lie_between_those_of_the_bins():
    trajectory = make_tissue(make_motion(PATH_UM)).trajectory
    assert trajectory.displacements_um(0, 2000, np.array([0.0, 200.0])) == pytest.approx([6.0, 6.0])


def test_steps_are_nearest_to_displacements_and_hold_all_of_them():
    trajectory = make_tissue(make_motion(PATH_UM)).trajectory
    steps = [trajectory.steps(0, round(1000 * (each + 0.5)), np.array([50.0]))[0] for each in range(len(PATH_UM))]
    assert trajectory.steps_um[steps] == pytest.approx(PATH_UM)
    assert 0.0 in trajectory.steps_um


def test_windows_of_a_recording_are_where_they_were_cut_from():
    whole = make_tissue(make_motion(PATH_UM)).trajectory
    cut = whole.in_windows([Tile(segment_index=0, start=5000, end=6000), Tile(segment_index=0, start=1000, end=2500)])
    depth = np.array([100.0])
    assert cut.displacements_um(0, 700, depth) == pytest.approx(whole.displacements_um(0, 5700, depth))
    assert cut.displacements_um(1, 1400, depth) == pytest.approx(whole.displacements_um(0, 2400, depth))


def test_the_motion_of_windows_is_that_of_the_recording_at_their_time():
    whole = make_tissue(make_motion(PATH_UM)).trajectory
    windows = [Tile(segment_index=0, start=3000, end=6000), Tile(segment_index=0, start=0, end=2000)]
    motion = whole.in_windows(windows).motion_of(silence(3000, 2000))
    assert motion.displacement[0][:, 0] == pytest.approx(PATH_UM[3:6])
    assert motion.displacement[1][:, 0] == pytest.approx(PATH_UM[:2])


def test_every_segment_has_a_motion_of_its_own():
    motion = Motion(
        [np.zeros((2, 1)), np.full((3, 1), 6.0)], [np.arange(2) + 0.5, np.arange(3) + 0.5], np.array([100.0])
    )
    trajectory = Trajectory.of(motion, silence(2000, 3000))
    segments, samples = np.array([0, 1, 1]), np.array([500, 500, 2500])
    steps = trajectory.steps_of_events(segments, samples, np.full(3, 100.0))
    assert trajectory.steps_um[steps] == pytest.approx([0.0, 6.0, 6.0])
