"""Claims about the peaks that the first templates are made of."""

import numpy as np
import pytest
from simulated_units import NUM_BEFORE, RATE_HZ, WIDTH, draw_times, make_recording, make_template
from spikeinterface.core.base import base_peak_dtype

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.assumptions import Assumptions, InitialAssumptions
from si_crsae.sorting.convert import TemplateWindow
from si_crsae.sorting.learning.coincidence import close_pairs
from si_crsae.sorting.learning.initialization import cut_by_size
from si_crsae.sorting.learning.peaks import are_dominated, find_peaks, num_before_of
from si_crsae.sorting.stages import InitialTemplates

CONFIG = CrsaeConfig(ms_before=1000 * NUM_BEFORE / RATE_HZ, ms_after=1000 * (WIDTH - NUM_BEFORE) / RATE_HZ)
JOB_KWARGS = {"n_jobs": 1, "chunk_duration": "1s", "progress_bar": False}


def make_peaks(*peaks):
    """Return peaks of (segment, sample, channel, height)."""
    made = np.zeros(len(peaks), base_peak_dtype)
    for name, values in zip(
        ("segment_index", "sample_index", "channel_index", "amplitude"), zip(*peaks, strict=True), strict=True
    ):
        made[name] = values
    return made


NEAR = np.array([[True, True, False], [True, True, True], [False, True, True]])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0, 100, 0, -10.0), True),
        ((0, 160, 1, -10.0), True),
        ((0, 161, 0, -10.0), False),  # too far in time
        ((0, 100, 2, -10.0), False),  # too far in space
        ((1, 100, 0, -10.0), False),  # another segment
        ((0, 100, 0, -9.0), False),  # not large enough
    ],
)
def test_a_peak_is_dominated_by_a_larger_one_nearby(other, expected):
    crest = make_peaks((0, 100, 0, 12.0))
    dominated = are_dominated(crest, make_peaks(other), NEAR, max_distance=60, ratio=1.3)
    assert dominated.tolist() == [expected]


def test_nothing_dominates_where_there_is_nothing():
    crest, none = make_peaks((0, 100, 0, 12.0)), np.zeros(0, base_peak_dtype)
    assert are_dominated(crest, none, NEAR, max_distance=60, ratio=1.3).tolist() == [False]
    assert are_dominated(none, crest, NEAR, max_distance=60, ratio=1.3).size == 0


@pytest.mark.parametrize("max_distance", [0, 3, 50])
def test_close_pairs_are_those_of_a_plain_search(max_distance):
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 300, 80), np.sort(rng.integers(0, 300, 60))
    expected = {(i, j) for i in range(80) for j in range(60) if abs(first[i] - second[j]) <= max_distance}
    own, other = close_pairs(first, second, max_distance)
    assert set(zip(own.tolist(), other.tolist(), strict=True)) == expected
    assert own.size == len(expected)


def draw_heights(seed, smallest, largest, count=200):
    return np.exp(np.random.default_rng(seed).uniform(*np.log([smallest, largest]), count))


def test_a_cluster_of_spikes_too_different_in_size_is_cut():
    heights = np.concatenate([draw_heights(0, 10, 15), draw_heights(1, 10, 50), draw_heights(2, 10, 50)])
    labels = np.repeat([0, 1, -1], 200)
    cut = cut_by_size(labels, heights, max_ratio=1.8)
    assert set(cut[labels == 0]) == {0}
    assert set(cut[labels == -1]) == {-1}
    assert set(cut[labels == 1]) == {1, 2, 3}
    assert labels.tolist() == np.repeat([0, 1, -1], 200).tolist()  # left as they were
    for part in (1, 2, 3):
        low, high = np.quantile(heights[cut == part], [0.05, 0.95])
        assert 1.3 < high / low < 1.8
    assert heights[cut == 1].max() < heights[cut == 2].min()


def test_parts_of_several_clusters_have_labels_of_their_own():
    heights = np.concatenate([draw_heights(0, 10, 30), draw_heights(1, 10, 30)])
    cut = cut_by_size(np.repeat([0, 2], 200), heights, max_ratio=2)  # no peak is of cluster 1
    assert [set(cut[:200]), set(cut[200:])] == [{0, 3}, {2, 4}]


def test_a_few_spikes_of_other_sizes_cut_nothing():
    heights = np.concatenate([draw_heights(0, 10, 15), [1000.0] * 5, [0.0] * 5])
    assert not cut_by_size(np.zeros(heights.size, "int64"), heights, max_ratio=1.8).any()
    assert cut_by_size(np.zeros(0, "int64"), np.zeros(0), max_ratio=1.8).size == 0
    assert cut_by_size(np.zeros(1, "int64"), np.ones(1), max_ratio=1.8).tolist() == [0]


@pytest.mark.parametrize("height", [0.0, 1.0, 4.0, 6.0])
def test_noise_alone_cuts_no_cluster(height):
    heights = np.abs(np.random.default_rng(0).normal(height, 1, 400))
    assert np.quantile(heights, 0.95) > 1.5 * np.quantile(heights, 0.05)
    assert not cut_by_size(np.zeros(400, "int64"), heights, max_ratio=1.8).any()


@pytest.fixture(scope="module")
def faint():
    """A recording of a faint neuron, that counts as long, and the times of its spikes."""
    template, times = make_template((1.0, 0.9, 0.8, 0.7), norm=9), draw_times(1, count=200, refractory=300)
    loud = make_template((1.0, 0.3, 0.0, 0.0), norm=30)
    return make_recording([(template, times), (loud, draw_times(2, count=100, refractory=300))]), times


@pytest.mark.parametrize(("is_faint", "fewest", "most"), [(False, 0, 100), (True, 130, 200)])
def test_a_matched_filter_finds_fainter_spikes_where_it_is_asked_for(faint, is_faint, fewest, most):
    recording, times = faint
    never = Assumptions(initial=InitialAssumptions(matched_filter_below_s=0.0))
    peaks = find_peaks(recording, CONFIG, faint=is_faint, job_kwargs=JOB_KWARGS, assumed=never)
    near = np.abs(peaks["sample_index"][:, None] - times).min(axis=0) <= 10
    assert fewest <= near.sum() <= most


@pytest.mark.parametrize(
    ("share", "height", "is_longer"),
    [
        pytest.param(1.0, 0.6, True, id="most peaks, a high phase"),
        pytest.param(1.0, 0.1, False, id="a low phase"),
        pytest.param(0.3, 0.6, False, id="few peaks"),
    ],
)
def test_templates_begin_earlier_where_most_peaks_do(share, height, is_longer):
    """A phase of the other sign 30 samples, 1 ms, before the peak; the window begins 20 samples before."""
    times, early = draw_times(1, count=300, refractory=200), 30
    trough = make_template((1.0, 0.5, 0.2, 0.1), norm=60, shape=(-1.0, 0.0, 0.0))
    crest = make_template((1.0, 0.5, 0.2, 0.1), norm=60 * height, shape=(1.0, 0.0, 0.0))
    recording = make_recording([(trough, times), (crest, times[: round(share * times.size)] - early)])
    peaks = make_peaks(*((0, time, 0, -20.0) for time in times.tolist()))
    num_before = num_before_of(recording, peaks, CONFIG, job_kwargs=JOB_KWARGS)
    assert (early <= num_before <= 2 * NUM_BEFORE) if is_longer else (num_before == NUM_BEFORE)
    templates = np.zeros((1, 4, num_before + WIDTH - NUM_BEFORE), "float32")
    fitted = InitialTemplates(templates=templates).fitted(CONFIG, RATE_HZ)
    window = TemplateWindow.of(recording, fitted)
    assert (window.num_before, window.width) == (num_before, templates.shape[2])
