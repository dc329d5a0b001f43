"""A recording in which the tissue moves, from the raw traces to what is in the folder of the run."""

import numpy as np
import pytest
import spikeinterface as si
from probeinterface import generate_multi_columns_probe
from spikeinterface.sorters import run_sorter

import si_crsae
from si_crsae.evaluation import CaseSpec, score_sorting, simulate
from si_crsae.evaluation.decomposition import decompose
from si_crsae.evaluation.drift import Drift
from si_crsae.sorting import group_signal
from si_crsae.sorting.drift.estimation import DriftFound
from si_crsae.sorting.folder import load_units, load_whitened
from si_crsae.sorting.stages import LearningResult, load_stage

DURATION_S = 40.0


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """24 contacts, 10 units, 24 um to and fro; on disk, and its true sorting."""
    spec = CaseSpec(
        description="",
        make_probe=lambda: generate_multi_columns_probe(2, 12, xpitch=20, ypitch=20),
        num_units=10,
        snr_range=(10.0, 20.0),
        rate_range_hz=(8.0, 15.0),
        drift=Drift(kind="zigzag", range_um=24.0),
    )
    recording, truth = simulate(spec, duration_s=DURATION_S, seed=1)
    folder = tmp_path_factory.mktemp("moving") / "recording"
    return recording.save(folder=folder, n_jobs=1, progress_bar=False), truth


@pytest.fixture(scope="module")
def run(moving, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    sorting = run_sorter("crsae", moving[0], folder=folder, seed=0)
    return folder, sorting


def test_neurons_stay_whole(moving, run, tmp_path):
    recording, truth = moving
    followed = score_sorting(run[1], truth)
    left_alone = score_sorting(
        run_sorter("crsae", recording, folder=tmp_path / "run", apply_motion_correction=False), truth
    )
    assert followed.accuracy > 0.97
    assert followed.num_well_detected == 10
    assert followed.num_redundant == 0
    assert followed.accuracy > left_alone.accuracy + 0.05


def test_the_folder_tells_how_the_tissue_moved(moving, run):
    folder, sorting = run
    (info,) = si_crsae.load_motion(folder).values()
    truth = moving[1]
    times = np.arange(0.5, DURATION_S, 1.0)
    true_um = truth.get_property("gt_displacement_um")[0][(5 * times).astype("int64")]
    found_um = info["motion"].get_displacement_at_time_and_depth(times, np.full(times.size, 100.0), segment_index=0)
    error = found_um - true_um
    assert np.abs(error - np.median(error)).mean() < 0.7
    assert len(info["peaks"]) > 1000
    assert sorting.get_property("drift_um") == pytest.approx(np.full(len(sorting.unit_ids), 22.0), abs=4.0)
    depths = sorting.get_property("depth_um")
    assert np.ptp(depths) > 100


def test_the_stages_are_read_again_when_a_run_is_resumed(run):
    folder, sorting = run
    stages = folder / "sorter_output" / "stages" / "group_0"
    drift = load_stage(stages / "drift.npz", DriftFound)
    learned = load_stage(stages / "learn.npz", LearningResult)
    assert drift.is_followed
    assert learned.model.moving.step_weights.shape[0] == learned.model.dictionary.num_atoms
    assert learned.drift.bin_time_s.size > drift.bin_time_s.size
    resumed = si_crsae.resume_sorter(folder)
    assert np.array_equal(resumed.to_spike_vector(), sorting.to_spike_vector())


def test_atoms_are_drawn_where_the_tissue_was(run, moving):
    """At the turn of the motion, what is left is far less with the atoms there than with those at rest."""
    folder, _ = run
    units, whitened = load_units(folder), load_whitened(folder)
    assert units.moved.num_places > units.num_units
    there, at_rest = 0.0, 0.0
    still = type(units)(**{name: getattr(units, name) for name in units.__slots__ if name != "moved"})
    moved = np.abs(units.moved.displacement_um[units.moved.place])
    for spike in np.argsort(-moved)[:40]:
        sample = int(units.spikes["sample_index"][spike])
        if 200 < sample < whitened.get_num_samples(0) - 200:
            window = {"start": sample - 60, "end": sample + 60}
            there += np.square(decompose(whitened, units, **window).residual).sum()
            at_rest += np.square(decompose(whitened, still, **window).residual).sum()
    assert there < 0.8 * at_rest


def test_probabilities_of_spikes_know_where_the_tissue_was(moving, tmp_path):
    sorting = run_sorter("crsae", moving[0], folder=tmp_path / "run", spike_probabilities=True)
    probability = np.load(tmp_path / "run" / "sorter_output" / "spike_probabilities.npz")["probability"]
    assert len(probability) == len(sorting.to_spike_vector())
    assert np.mean(probability) > 0.95


def test_motion_that_explains_less_than_none_is_refused(tmp_path, monkeypatch):
    """An estimate invents two places for the tissue; the units are those of the recording at rest, as the folder says.

    No template that stays is seen at rest then, and what moves explains more than the same templates staying would.
    """
    spec = CaseSpec(
        description="",
        make_probe=lambda: generate_multi_columns_probe(2, 12, xpitch=20, ypitch=20),
        num_units=8,
        snr_range=(10.0, 20.0),
        rate_range_hz=(8.0, 15.0),
    )
    recording, truth = simulate(spec, duration_s=30.0, seed=2)
    times = np.arange(30) + 0.5
    invented = DriftFound(
        bin_segment=np.zeros(30, "int64"),
        bin_time_s=times,
        window_depth_um=np.array([50.0, 170.0]),
        displacement_um=np.repeat(np.where(times % 10 < 5, -7.0, 7.0)[:, None], 2, axis=1),
        size_um=10.0,
        is_followed=True,
    )
    monkeypatch.setattr(group_signal, "find_drift", lambda *arguments, **settings: invented)
    recording = recording.save(folder=tmp_path / "recording", n_jobs=1, progress_bar=False)
    sorting = run_sorter("crsae", recording, folder=tmp_path / "run")
    learned = load_stage(tmp_path / "run" / "sorter_output" / "stages" / "group_0" / "learn.npz", LearningResult)
    assert not learned.drift.is_followed
    assert learned.model.moving.are_still
    assert score_sorting(sorting, truth).accuracy > 0.95


def test_tissue_at_rest_leaves_no_motion_behind(tiny_folder, tmp_path):
    run_sorter("crsae", si.load(tiny_folder / "recording"), folder=tmp_path / "run")
    assert si_crsae.load_motion(tmp_path / "run") == {}
    assert load_units(tmp_path / "run").moved.num_places == 0
