from dataclasses import replace

import numpy as np
import pytest
from moving_run import true_displacement_um

from si_crsae.evaluation.motion import is_motion_followed, open_motion
from si_crsae.evaluation.sorted_recording import open_run
from si_crsae.widgets.view_models import motion as module
from si_crsae.widgets.view_models.motion import NO_MOTION, MotionWindow, motion_model

WINDOW = MotionWindow(group=0, segment_index=0, start_s=2.0, end_s=5.0, is_whole=True)


@pytest.fixture(scope="module")
def moving(moving_run_folder):
    shown = open_run(moving_run_folder)
    return shown, open_motion(shown)


def test_peaks_lie_on_level_lines_at_rest(moving):
    shown, motions = moving
    model = motion_model(shown, motions, WINDOW)
    spikes = shown.units.spikes
    times = spikes["sample_index"] / shown.sampling_frequency
    inside = (times >= 2.0) & (times < 5.0)
    assert model.num_peaks == inside.sum()
    assert model.point_time_s == pytest.approx(times[inside], abs=1e-4)
    rest = np.asarray(shown.sorting.get_property("depth_um"))[spikes["unit_index"][inside]]
    assert model.point_depth_um - model.point_moved_um == pytest.approx(rest, abs=0.2)
    assert model.point_moved_um == pytest.approx(true_displacement_um(times[inside]), abs=0.2)


def test_the_course_is_that_of_the_whole_segment(moving):
    model = motion_model(*moving, WINDOW)
    assert model.displacement_um[:, 0] == pytest.approx(true_displacement_um(model.bin_time_s), abs=1e-3)
    assert model.bin_time_s[0] < 1.0
    assert model.bin_time_s[-1] > model.duration_s - 1.0
    assert model.said == "moves by 7.1 µm (standard deviation), known to 0.5 µm; followed"


def test_a_motion_that_is_not_followed_says_so(moving):
    shown, (motion,) = moving
    model = motion_model(shown, [replace(motion, is_followed=False)], WINDOW)
    assert "left alone" in model.said


def test_a_peak_has_the_unit_of_its_spike(moving):
    shown, motions = moving
    model = motion_model(shown, motions, WINDOW)
    times = shown.units.spikes["sample_index"] / shown.sampling_frequency
    inside = (times >= 2.0) & (times < 5.0)
    units = shown.units.spikes["unit_index"][inside]
    # others fire at the same time at nearly the same depth
    assert np.mean(model.point_unit == units) > 0.95


def test_a_peak_far_from_all_units_belongs_to_none(moving):
    shown, (motion,) = moving
    away = replace(motion, peak_depth_um=motion.peak_depth_um + 500.0)
    assert set(motion_model(shown, [away], WINDOW).point_unit) == {-1}


def test_of_many_peaks_some_are_drawn_and_those_of_the_selected_unit(moving):
    shown, motions = moving
    rare = int(np.argmin(np.bincount(shown.units.spikes["unit_index"])))
    every = motion_model(shown, motions, WINDOW, selected=[rare])
    few = motion_model(shown, motions, WINDOW, selected=[rare], max_points=20)
    assert few.num_peaks == every.num_peaks
    assert 20 <= few.point_time_s.size < every.point_time_s.size
    assert np.sum(few.point_unit == rare) == np.sum(every.point_unit == rare) > 0
    assert (np.diff(few.point_time_s) >= 0).all()


def test_depths_around_the_units_leave_the_others_out(moving, monkeypatch):
    shown, motions = moving
    monkeypatch.setattr(module, "MARGIN_UM", 12.0)
    deepest = int(np.argmin(shown.locations[shown.units.main_channel, 1]))
    near = motion_model(shown, motions, replace(WINDOW, is_whole=False), selected=[deepest])
    place = shown.locations[shown.units.main_channel[deepest], 1]
    assert near.depths_um == [place, place + 12.0]
    assert near.point_depth_um.min() >= place
    assert near.point_depth_um.max() <= place + 12.0
    assert near.num_peaks < motion_model(shown, motions, WINDOW).num_peaks


def test_segments_have_their_own_peaks_and_times(moving):
    """The same as two segments, of which the second begins at another time of the clock."""
    shown, (motion,) = moving
    later = replace(
        motion,
        segments=np.array([0, 2]),
        start_s=np.array([0.0, 100.0]),
        peak_segment=np.where(motion.peak_time_s < 6.0, 0, 2),
        motion=type(motion.motion)(
            [motion.motion.displacement[0], motion.motion.displacement[0] + 1.0],
            [motion.motion.temporal_bins_s[0], motion.motion.temporal_bins_s[0] + 100.0],
            motion.motion.spatial_bins_um,
        ),
    )
    times, course = later.course(2)
    assert times == pytest.approx(motion.motion.temporal_bins_s[0])
    assert course == pytest.approx(motion.motion.displacement[0] + 1.0)
    assert later.displacement_um(2, np.array([2.5]), np.array([0.0])) == pytest.approx([11.0], abs=0.2)
    assert later.course(1)[0].size == 0
    three = replace(shown, num_samples=(shown.num_samples[0],) * 3)
    model = motion_model(three, [later], replace(WINDOW, segment_index=2, start_s=0.0, end_s=12.0))
    assert model.num_peaks == np.sum(motion.peak_time_s >= 6.0)


def test_without_a_motion_there_is_a_reason(run_folder):
    shown = open_run(run_folder)
    assert open_motion(shown) == ()
    assert not is_motion_followed(shown)
    assert motion_model(shown, (), WINDOW).empty == NO_MOTION
    assert not is_motion_followed(replace(shown, folder=None))


def test_a_motion_is_followed_if_any_group_follows_it(moving):
    assert is_motion_followed(moving[0])
