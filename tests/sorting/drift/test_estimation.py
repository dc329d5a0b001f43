"""Motion from peaks: where it can be estimated, what is found, and when it is believed."""

import numpy as np
import pytest
from probeinterface import generate_multi_columns_probe, generate_tetrode
from spikeinterface.core import NumpyRecording, append_recordings
from spikeinterface.core.motion import Motion
from spikeinterface.preprocessing import load_motion_info

from si_crsae.config import CrsaeConfig
from si_crsae.evaluation import CaseSpec, simulate
from si_crsae.evaluation.drift import Drift
from si_crsae.sorting.drift import estimation
from si_crsae.sorting.drift.estimation import can_estimate, find_drift, still_traces
from si_crsae.sorting.signal.preprocessing import filter_traces

CONFIG = CrsaeConfig()
JOB_KWARGS = {"n_jobs": 1, "chunk_duration": "1s", "progress_bar": False}
DURATION_S = 40.0


def columns(num_rows, *, pitch_um=20.0):
    return generate_multi_columns_probe(2, num_rows, xpitch=pitch_um, ypitch=pitch_um)


def record(drift, *, seed=1):
    """Return a recording of 24 contacts, kept in memory, and its true spikes."""
    spec = CaseSpec(
        description="",
        make_probe=lambda: columns(12),
        num_units=12,
        snr_range=(8.0, 20.0),
        rate_range_hz=(8.0, 15.0),
        drift=drift,
    )
    recording, truth = simulate(spec, duration_s=DURATION_S, seed=seed)
    return recording.save(format="memory", n_jobs=1, progress_bar=False), truth


@pytest.fixture(scope="module")
def moving():
    return record(Drift(kind="zigzag", range_um=24.0))


@pytest.fixture(scope="module")
def found(moving, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drift")
    return find_drift(filter_traces(moving[0], CONFIG), CONFIG, folder=folder, job_kwargs=JOB_KWARGS), folder


def test_the_motion_of_all_units_is_found(moving, found):
    _, truth = moving
    drift, _ = found
    true_um = np.median(truth.get_property("gt_displacement_um"), axis=0)
    frequency = truth.get_annotation("displacement_frequency_hz")
    at = np.minimum((drift.bin_time_s * frequency).astype("int64"), len(true_um) - 1)
    error = drift.displacement_um - true_um[at, None]
    assert np.median(np.abs(error - np.median(error, axis=0))) < 1.0
    assert drift.is_followed
    assert drift.size_um > 5.0 > drift.error_um


def test_what_the_estimate_rests_on_is_left_for_spikeinterface(found):
    drift, folder = found
    info = load_motion_info(folder / "motion")
    assert info["motion"].displacement[0].shape == drift.displacement_um.shape
    assert len(info["peaks"]) == len(info["peak_locations"]) > 1000


def test_tissue_that_rests_is_left_alone(tmp_path):
    for seed in (1, 2, 3):
        recording, _ = record(None, seed=seed)
        drift = find_drift(filter_traces(recording, CONFIG), CONFIG, folder=tmp_path, job_kwargs=JOB_KWARGS)
        assert not drift.is_followed
        assert drift.size_um < 1.0


def test_asked_for_motion_is_followed_however_small(tmp_path):
    config = CrsaeConfig(apply_motion_correction=True)
    recording, _ = record(None)
    assert find_drift(filter_traces(recording, config), config, folder=tmp_path, job_kwargs=JOB_KWARGS).is_followed


def test_segments_are_joined_for_the_estimate(moving, found, tmp_path):
    """Cut in two, a recording has the same motion, each part in its own time."""
    whole, _ = moving
    half = whole.get_num_samples(0) // 2
    parts = append_recordings([whole.frame_slice(0, half), whole.frame_slice(half, None)])
    drift = find_drift(filter_traces(parts, CONFIG), CONFIG, folder=tmp_path, job_kwargs=JOB_KWARGS)
    assert drift.motion.num_segments == 2
    lengths = [len(times) for times in drift.motion.temporal_bins_s]
    assert lengths == pytest.approx([DURATION_S / 2, DURATION_S / 2], abs=1)
    joined = np.concatenate(drift.motion.displacement)
    assert np.median(np.abs(joined - found[0].displacement_um[: len(joined)])) < 0.5


def test_a_segment_shorter_than_a_bin_has_a_motion(moving, tmp_path):
    whole, _ = moving
    rate = whole.sampling_frequency
    cuts = (np.array([0, 8.6, 9.0, 20.0]) * rate).astype("int64")
    parts = append_recordings([whole.frame_slice(*each) for each in zip(cuts[:-1], cuts[1:], strict=True)])
    drift = find_drift(filter_traces(parts, CONFIG), CONFIG, folder=tmp_path, job_kwargs=JOB_KWARGS)
    assert drift.motion.num_segments == 3
    short = drift.motion.get_displacement_at_time_and_depth(np.array([0.2]), np.array([100.0]), segment_index=1)
    before = drift.motion.get_displacement_at_time_and_depth(np.array([8.4]), np.array([100.0]), segment_index=0)
    assert short == pytest.approx(before, abs=2.0)


def test_a_failed_estimate_stops_only_who_asked_for_it(tmp_path, monkeypatch, caplog):
    def fail(*arguments, **settings):
        raise RuntimeError("no peaks")

    monkeypatch.setattr(estimation, "compute_motion", fail)
    recording = NumpyRecording([np.zeros((100, 24), "float32")], 30_000.0)
    recording.set_dummy_probe_from_locations(columns(12).contact_positions)
    told = {"folder": tmp_path, "job_kwargs": JOB_KWARGS}
    assert not find_drift(recording, CONFIG, **told).is_followed
    assert "could not be estimated, it is taken to rest: no peaks" in caplog.text
    with pytest.raises(ValueError, match="apply_motion_correction = True: the motion could not be estimated"):
        find_drift(recording, CrsaeConfig(apply_motion_correction=True), **told)


@pytest.mark.parametrize(("error_um", "is_followed"), [(0.2, True), (3.0, False)])
def test_a_motion_no_larger_than_its_error_is_left_alone(tmp_path, monkeypatch, error_um, is_followed):
    """Of 4 um, with halves of the peaks that differ by as much as their error says, or hardly."""
    times = np.arange(200) + 0.5
    path, rng = 4 * np.sqrt(2) * np.sin(times / 10), np.random.default_rng(0)
    motion, *halves = (
        Motion((path + spread * rng.standard_normal(200))[:, None], times, np.array([100.0]))
        for spread in (0.0, np.sqrt(2) * error_um, np.sqrt(2) * error_um)
    )
    monkeypatch.setattr(estimation, "_register", lambda *arguments: ({"motion": motion}, halves))
    monkeypatch.setattr(estimation, "save_motion_info", lambda info, folder: None)
    recording = NumpyRecording([np.zeros((100, 24), "float32")], 30_000.0)
    drift = find_drift(recording, CONFIG, folder=tmp_path, job_kwargs=JOB_KWARGS)
    assert drift.is_followed == is_followed
    assert drift.error_um == pytest.approx(error_um, rel=0.2)
    assert drift.size_um == pytest.approx(4.0, rel=0.3)


@pytest.mark.parametrize(("num_rows", "largest_um"), [(12, 33.0), (60, 100.0)])
def test_no_motion_is_larger_than_a_part_of_the_probe(tmp_path, monkeypatch, num_rows, largest_um):
    asked = {}

    def remember(recording, *, estimate_motion_kwargs, **settings):
        asked.update(estimate_motion_kwargs)
        raise RuntimeError("asked")

    monkeypatch.setattr(estimation, "compute_motion", remember)
    recording = NumpyRecording([np.zeros((100, 2 * num_rows), "float32")], 30_000.0)
    recording.set_dummy_probe_from_locations(columns(num_rows).contact_positions)
    find_drift(recording, CONFIG, folder=tmp_path, job_kwargs=JOB_KWARGS)
    assert asked["max_disp_um"] == pytest.approx(largest_um)


def test_interpolation_holds_peaks_in_place(moving, found):
    """What is interpolated and filtered again shows less motion; with templates that move, traces stay."""
    drift, _ = found
    filtered = filter_traces(moving[0], CONFIG)
    assert still_traces(filtered, drift, CONFIG) is filtered
    still = still_traces(filtered, drift, CrsaeConfig(motion_correction_mode="traces"))
    assert still is not filtered
    assert still.get_num_channels() == filtered.get_num_channels()


@pytest.mark.parametrize(
    ("probe", "is_possible"),
    [
        (generate_tetrode(), False),
        (columns(7), False),
        (columns(8), True),
        (generate_multi_columns_probe(1, 16, ypitch=25), True),
        (generate_multi_columns_probe(1, 16, ypitch=50), False),
        (generate_multi_columns_probe(16, 1, xpitch=25), False),
    ],
)
def test_motion_can_be_estimated_from_sixteen_contacts_close_along_the_probe(probe, is_possible):
    recording = NumpyRecording([np.zeros((100, probe.get_contact_count()), "float32")], 30_000.0)
    assert not can_estimate(recording, CONFIG)
    probe.set_device_channel_indices(np.arange(probe.get_contact_count()))
    recording.set_probe(probe)
    assert can_estimate(recording, CONFIG) == is_possible
    assert not can_estimate(recording, CrsaeConfig(apply_preprocessing=False))
    assert not can_estimate(recording, CrsaeConfig(learning="backpropagation"))
