"""`find_spikes_from_templates(method="crsae")` where the tissue moves."""

import numpy as np
import pytest
import spikeinterface.full as si
from probeinterface import generate_multi_columns_probe
from spikeinterface.core import NumpySorting
from spikeinterface.core.motion import Motion
from spikeinterface.sortingcomponents.matching import find_spikes_from_templates

from si_crsae.evaluation import CaseSpec, score_sorting, simulate
from si_crsae.evaluation.drift import Drift

DURATION_S, NEAR_REST_UM = 20.0, 1.5


@pytest.fixture(scope="module")
def moving():
    """Filtered traces of 24 contacts, 16 units that move 40 um to and fro, and their motion."""
    spec = CaseSpec(
        description="",
        make_probe=lambda: generate_multi_columns_probe(2, 12, xpitch=20, ypitch=20),
        num_units=16,
        snr_range=(6.0, 14.0),
        rate_range_hz=(15.0, 25.0),
        drift=Drift(kind="zigzag", range_um=40.0),
    )
    recording, truth = simulate(spec, duration_s=DURATION_S, seed=3)
    displacement, frequency = (
        truth.get_property("gt_displacement_um")[0],
        truth.get_annotation("displacement_frequency_hz"),
    )
    motion = Motion([displacement[:, None]], [(np.arange(displacement.size) + 0.5) / frequency], np.array([0.0]))
    filtered = si.bandpass_filter(recording, dtype="float32").save(format="memory", progress_bar=False, verbose=False)
    return filtered, truth, motion


@pytest.fixture(scope="module")
def templates(moving):
    """Those of the spikes that were fired near rest."""
    filtered, truth, motion = moving
    spikes = truth.to_spike_vector()
    times = spikes["sample_index"] / filtered.sampling_frequency
    away = np.abs(motion.get_displacement_at_time_and_depth(times, np.zeros(times.size), segment_index=0))
    near = NumpySorting(spikes[away < NEAR_REST_UM], filtered.sampling_frequency, truth.unit_ids)
    analyzer = si.create_sorting_analyzer(near, filtered, sparse=False, verbose=False)
    analyzer.compute(["random_spikes", "templates"], progress_bar=False)
    return analyzer.get_extension("templates").get_data(outputs="Templates")


def accuracy(spikes, moving):
    filtered, truth, _ = moving
    found = NumpySorting.from_samples_and_labels(
        [spikes["sample_index"]], [spikes["cluster_index"]], filtered.sampling_frequency
    )
    return score_sorting(found, truth).accuracy


def match(recording, templates, *, n_jobs=1, **method_kwargs):
    return find_spikes_from_templates(
        recording,
        templates,
        method="crsae",
        method_kwargs=method_kwargs,
        job_kwargs={"n_jobs": n_jobs, "progress_bar": False, "mp_context": "spawn"},
    )


def test_templates_follow_a_motion(moving, templates):
    filtered, _, motion = moving
    followed, left_alone = match(filtered, templates, motion=motion), match(filtered, templates)
    assert accuracy(followed, moving) > 0.95
    assert accuracy(followed, moving) > accuracy(left_alone, moving) + 0.1
    # A spike of usual size is of size 1 wherever the tissue is.
    assert np.median(followed["amplitude"]) == pytest.approx(1.0, abs=0.03)


def test_workers_change_nothing(moving, templates):
    filtered, _, motion = moving
    alone, together = (match(filtered, templates, n_jobs=n_jobs, motion=motion) for n_jobs in (1, 2))
    assert np.array_equal(alone["sample_index"], together["sample_index"])
    assert np.array_equal(alone["cluster_index"], together["cluster_index"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((3, 1)), "motion = ndarray: a spikeinterface.core.motion.Motion is needed"),
        (
            Motion([np.zeros((2, 1))] * 2, [np.arange(2.0)] * 2, np.array([0.0])),
            "2 segments and the recording 1",
        ),
        (Motion([np.zeros((2, 1))], [np.arange(2.0)], np.array([0.0]), direction="x"), "motion.direction = 'x'"),
    ],
)
def test_a_motion_that_cannot_be_followed_is_refused(moving, templates, wrong, message):
    with pytest.raises(ValueError, match=message):
        match(moving[0], templates, motion=wrong)
