"""Claims about matching where traces or templates are not what they should be."""

import warnings

import numpy as np
import pytest
import spikeinterface as si
from spikeinterface.core import Templates
from spikeinterface.sortingcomponents.matching import find_spikes_from_templates

from si_crsae.sorting.matching import CrsaeMatching

RATE_HZ, WIDTH, NUM_BEFORE = 30000.0, 90, 30
TIMES = np.arange(1000, 59000, 1500)


def draw_traces(num_samples=60000, times=TIMES):
    traces = np.random.default_rng(0).standard_normal((num_samples, 2)).astype("float32")
    for time in times:
        traces[time - 10 : time + 10] -= 100
    return traces


def make_templates(size=100.0, **kwargs):
    array = np.zeros((1, WIDTH, 2), "float32")
    array[0, 20:40] = -size
    return Templates(array, RATE_HZ, NUM_BEFORE, **kwargs)


def match(segments, templates=None, **job_kwargs):
    recording = segments if isinstance(segments, si.BaseRecording) else si.NumpyRecording(segments, RATE_HZ)
    templates = make_templates() if templates is None else templates
    return find_spikes_from_templates(
        recording, templates, method="crsae", job_kwargs={"n_jobs": 1, "progress_bar": False, **job_kwargs}
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sample", [0, 40000, 59999])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_sample_that_is_not_finite_is_named(value, sample):
    traces = draw_traces()
    traces[sample, 1] = value
    with pytest.raises(ValueError, match=rf"first in segment 1 at .* \(sample {sample}\) on channel 1") as told:
        match([draw_traces(), traces])
    assert "run_sorter" not in str(told.value)


def test_a_sample_that_no_sample_of_the_noise_met_is_named_too():
    method = CrsaeMatching(si.NumpyRecording([draw_traces()], RATE_HZ), make_templates())
    traces = draw_traces()[:5000]
    traces[method.get_margin() + 7, 0] = np.nan
    with pytest.raises(ValueError, match=r"first in segment 0 at .* \(sample 2007\) on channel 0"):
        method.compute_matching(traces, 2000, 3000, 0)


@pytest.mark.parametrize("value", [1e10, -1e10, 1e30])
@pytest.mark.parametrize("sample", [5, 40000])
def test_a_sample_that_is_implausible_is_named(value, sample):
    traces = draw_traces()
    traces[sample, 1] = value
    with pytest.raises(ValueError, match=rf"traces reach .*first in segment 1 at .* \(sample {sample}\) on channel 1"):
        match([draw_traces(), traces])


@pytest.mark.parametrize("value", [1e4, 9e5])
def test_an_artifact_costs_no_spike_but_those_beneath_it(value):
    traces = draw_traces()
    traces[40000, 1] = value
    found = match([traces])["sample_index"]
    assert all(np.abs(found - time).min() <= 1 for time in TIMES if abs(time - 40000) > 2 * WIDTH)


@pytest.mark.parametrize("num_samples", [1, 10, 60, 89, 90, 150, 199, 250])
def test_short_recordings_are_matched(num_samples):
    times = [time for time in (120,) if time + 60 < num_samples]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert len(match([draw_traces(num_samples, times)])) == len(times)


@pytest.mark.parametrize("num_samples", [1, 10, 95])
def test_a_short_first_segment_changes_nothing_in_the_next(num_samples):
    found = match([draw_traces(num_samples, ()), draw_traces()])
    assert found["segment_index"].tolist() == [1] * len(TIMES)
    assert np.abs(found["sample_index"] - TIMES).max() <= 1


@pytest.mark.parametrize(("size", "told"), [(1e4, "0.01 times"), (10.0, "10 times")])
def test_templates_of_another_unit_are_told(size, told):
    with pytest.warns(UserWarning, match=rf"the largest events of the traces are {told}.*is_in_uV=False"):
        match([draw_traces()], make_templates(size))


@pytest.mark.parametrize("size", [80.0, 100.0, 130.0])
def test_templates_of_the_right_unit_pass_without_a_word(size):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert len(match([draw_traces()], make_templates(size))) == len(TIMES)


def test_gains_of_zero_are_refused():
    recording = si.NumpyRecording([draw_traces()], RATE_HZ)
    recording.set_channel_gains([1.0, 0.0])
    recording.set_channel_offsets(0.0)
    with pytest.raises(ValueError, match=r"channels \[1\] have a gain of zero.*set_channel_gains"):
        match(recording)


def test_ids_that_occur_twice_are_refused():
    array = np.concatenate([make_templates().templates_array] * 2)
    twice = Templates(array, RATE_HZ, NUM_BEFORE, unit_ids=["a", "a"])
    with pytest.raises(ValueError, match=r"templates.unit_ids: \['a'\] occur more than once"):
        match([draw_traces()], twice)


def test_what_is_no_templates_is_refused():
    with pytest.raises(ValueError, match="templates = ndarray: a spikeinterface.core.Templates is needed"):
        CrsaeMatching(si.NumpyRecording([draw_traces()], RATE_HZ), make_templates().templates_array)


def test_a_regularization_without_effect_is_refused():
    with pytest.raises(ValueError, match="regularization_scale = 1e-300: Input should be greater than or equal to 0.1"):
        find_spikes_from_templates(
            si.NumpyRecording([draw_traces()], RATE_HZ),
            make_templates(),
            method="crsae",
            method_kwargs={"regularization_scale": 1e-300},
        )
