"""`find_spikes_from_templates(method="crsae")` as a user, another sorter or a worker process calls it."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import spikeinterface as si
import spikeinterface.sorters as ss
from spikeinterface.core import NumpySorting, Templates
from spikeinterface.sortingcomponents.matching import find_spikes_from_templates
from spikeinterface.sortingcomponents.matching.method_list import matching_methods

from si_crsae.evaluation import score_sorting

RATE_HZ = 25000.0
NUM_BEFORE = 25
DEFAULT_CHUNK = "1s"  # SpikeInterface's


@pytest.fixture(scope="module")
def case():
    """Recording, true sorting and true templates: 8 channels, 6 units, half of the spikes overlapping."""
    recording, sorting = si.generate_ground_truth_recording(
        durations=[6.0, 3.0],
        num_channels=8,
        num_units=6,
        generate_sorting_kwargs={"firing_rates": (15.0, 30.0), "refractory_period_ms": 4.0},
        seed=3,
    )
    templates = Templates(
        recording.templates,
        RATE_HZ,
        NUM_BEFORE,
        channel_ids=recording.channel_ids,
        unit_ids=sorting.unit_ids,
        probe=recording.get_probe(),
    )
    return recording.save(format="memory", progress_bar=False, verbose=False), sorting, templates


def match(recording, templates, *, job_kwargs=None, **method_kwargs):
    return find_spikes_from_templates(
        recording,
        templates,
        method="crsae",
        method_kwargs=method_kwargs,
        job_kwargs={"n_jobs": 1, "progress_bar": False, **(job_kwargs or {})},
    )


@pytest.fixture(scope="module")
def spikes(case):
    recording, _, templates = case
    return match(recording, templates)


def assert_same(first, second):
    """Check that the spikes are the same; one half-way between two samples may be put on either."""
    for name in ("cluster_index", "channel_index", "segment_index"):
        np.testing.assert_array_equal(first[name], second[name])
    moved = np.abs(first["sample_index"] - second["sample_index"])
    assert moved.max() <= 1
    assert moved.mean() < 0.005
    difference = np.abs(first["amplitude"] - second["amplitude"])
    assert np.quantile(difference, 0.99) < 0.02
    assert difference.max() < 0.1


def to_sorting(spikes, sorting):
    per_segment = [spikes[spikes["segment_index"] == segment] for segment in range(sorting.get_num_segments())]
    return NumpySorting.from_samples_and_labels(
        [part["sample_index"] for part in per_segment],
        [sorting.unit_ids[part["cluster_index"]] for part in per_segment],
        RATE_HZ,
        unit_ids=sorting.unit_ids,
    )


def test_true_templates_find_the_true_spikes(case, spikes):
    _, sorting, templates = case
    score = score_sorting(to_sorting(spikes, sorting), sorting)
    assert score.accuracy > 0.98
    assert score.overlapping_recall > 0.97
    assert np.median(spikes["amplitude"]) == pytest.approx(1.0, abs=0.02)
    main_channel = np.abs(templates.templates_array).max(axis=1).argmax(axis=1)
    assert (np.abs(main_channel[spikes["cluster_index"]] - spikes["channel_index"]) <= 2).all()
    truth = sorting.to_spike_vector()
    for segment in (0, 1):
        found = spikes["sample_index"][spikes["segment_index"] == segment]
        true = truth["sample_index"][truth["segment_index"] == segment]
        assert np.mean(np.isin(true, found)) > 0.95  # to the sample


def test_tiles_within_a_chunk_do_not_change_the_spikes(case, spikes, monkeypatch):
    monkeypatch.setattr("si_crsae.sorting.matching.longest_tile", lambda num_channels: 2000)
    recording, _, templates = case
    assert_same(spikes, match(recording, templates))


@pytest.mark.parametrize(
    "job_kwargs",
    [
        {"n_jobs": 2, "pool_engine": "thread", "chunk_duration": DEFAULT_CHUNK},
        {"n_jobs": 2, "pool_engine": "process", "mp_context": "spawn", "chunk_duration": DEFAULT_CHUNK},
        {"n_jobs": 2, "pool_engine": "process", "mp_context": "fork", "chunk_duration": DEFAULT_CHUNK},
        {"chunk_duration": "0.3s"},
        {"chunk_size": 60},  # shorter than a template
    ],
    ids=["threads", "spawn", "fork", "small chunks", "tiny chunks"],
)
def test_neither_workers_nor_chunks_change_the_spikes(case, spikes, job_kwargs, tmp_path):
    recording, _, templates = case
    if "chunk_size" in job_kwargs:
        recording = recording.select_segments([0]).frame_slice(0, 6000)
        assert_same(match(recording, templates, job_kwargs=job_kwargs), match(recording, templates))
        return
    saved = recording.save(folder=tmp_path / "recording", progress_bar=False, verbose=False)
    found = match(saved, templates, job_kwargs=job_kwargs)
    assert_same(found, spikes)
    if job_kwargs["chunk_duration"] == DEFAULT_CHUNK:
        np.testing.assert_array_equal(found, spikes)


def test_sparse_templates_find_what_dense_ones_find(case, spikes):
    recording, sorting, templates = case
    norms = np.linalg.norm(templates.templates_array, axis=1)
    mask = norms > 0.02 * norms.max(axis=1, keepdims=True)
    assert not mask.all()
    sparse = match(recording, templates.to_sparse(mask))
    assert abs(len(sparse) - len(spikes)) < 0.01 * len(spikes)
    assert score_sorting(to_sorting(sparse, sorting), sorting).accuracy > 0.98


def test_templates_in_uv_find_the_spikes_of_integer_traces_with_gains(case, spikes):
    recording, sorting, templates = case
    gain = 0.25
    raw = [np.round(recording.get_traces(segment_index=segment) / gain + 2000).astype("uint16") for segment in (0, 1)]
    integers = si.NumpyRecording(raw, RATE_HZ, channel_ids=recording.channel_ids)
    integers.set_probe(recording.get_probe(), in_place=True)
    integers.set_channel_gains(gain)
    integers.set_channel_offsets(-2000 * gain)
    in_uv = match(integers, templates)
    assert score_sorting(to_sorting(in_uv, sorting), sorting).accuracy > 0.98
    in_steps = Templates(
        templates.templates_array / gain,
        RATE_HZ,
        NUM_BEFORE,
        channel_ids=templates.channel_ids,
        unit_ids=templates.unit_ids,
        is_in_uV=False,
    )
    assert_same(match(integers, in_steps), in_uv)


def test_a_zero_template_warns_and_finds_nothing(case, spikes):
    recording, _, templates = case
    array = np.concatenate([templates.templates_array, np.zeros_like(templates.templates_array[:1])])
    with_zero = Templates(
        array, RATE_HZ, NUM_BEFORE, channel_ids=templates.channel_ids, unit_ids=[*templates.unit_ids, "zero"]
    )
    with pytest.warns(UserWarning, match=r"templates of units \['zero'\] do not stand out of the noise"):
        found = match(recording, with_zero)
    assert_same(found, spikes)


def test_without_a_template_that_stands_out_there_are_no_spikes(case):
    recording, _, templates = case
    silent = Templates(0 * templates.templates_array, RATE_HZ, NUM_BEFORE, channel_ids=templates.channel_ids)
    with pytest.warns(UserWarning, match="do not stand out of the noise"):
        found = match(recording, silent)
    assert found.size == 0
    assert found.dtype == matching_methods["wobble"].get_dtype(None)


def test_no_templates_at_all_are_no_spikes(case):
    # SpikeInterface's own function fails before it asks any method; the method does not.
    recording, _, templates = case
    method = matching_methods["crsae"](recording, templates.select_units([]))
    traces = recording.get_traces(segment_index=0, end_frame=3000)
    assert method.compute_matching(traces, 0, 3000, 0).size == 0


def test_templates_with_nan_are_refused_by_unit(case):
    recording, _, templates = case
    array = templates.templates_array.copy()
    array[2, 5, 1] = np.nan
    broken = Templates(array, RATE_HZ, NUM_BEFORE, channel_ids=templates.channel_ids, unit_ids=templates.unit_ids)
    with pytest.raises(ValueError, match=rf"templates of units \['{templates.unit_ids[2]}'\] are NaN"):
        match(recording, broken)


@pytest.mark.parametrize(
    ("method_kwargs", "message"),
    [
        ({"threshold": 50}, r"method_kwargs \['threshold'\]: unknown to the matching method 'crsae'"),
        ({"freq_min": 300.0}, r"method_kwargs \['freq_min'\]: unknown"),
        ({"min_amplitude": 2.0}, "min_amplitude = 2.0: Input should be less than 1"),
        ({"device": "tpu"}, "device = 'tpu'"),
        ({"solver": "magic"}, "solver = 'magic'"),
    ],
)
def test_refused_parameters_are_named(case, method_kwargs, message):
    recording, _, templates = case
    with pytest.raises(ValueError, match=message):
        match(recording, templates, **method_kwargs)


def test_the_parallel_solver_finds_the_same_spikes(case, spikes):
    recording, _, templates = case
    parallel = match(recording, templates, solver="parallel")
    assert abs(len(parallel) - len(spikes)) <= 0.002 * len(spikes)
    same = np.isin(parallel[["sample_index", "cluster_index"]], spikes[["sample_index", "cluster_index"]])
    assert same.mean() > 0.99


def test_the_spikes_at_the_ends_of_a_segment_are_found():
    width = 75
    waveform = -np.exp(-0.5 * ((np.arange(width) - NUM_BEFORE) / 4) ** 2)[:, None] * np.array([100.0, 60.0])
    traces = np.random.default_rng(0).standard_normal((20_000, 2)).astype("float32")
    times = np.array([3, 500, 19_990])
    for time in times:
        start = time - NUM_BEFORE
        inside = slice(max(start, 0), min(start + width, len(traces)))
        traces[inside] += waveform[inside.start - start : inside.stop - start]
    recording = si.NumpyRecording(traces, RATE_HZ)
    templates = Templates(waveform[None].astype("float32"), RATE_HZ, NUM_BEFORE)
    assert match(recording, templates)["sample_index"].tolist() == pytest.approx(times, abs=1)


@pytest.mark.usefixtures("restored_threads")  # Lupin leaves torch with as many threads as there are cores
@pytest.mark.parametrize(
    ("sorter", "parameters"),
    [
        ("lupin", {"template_matching_engine": "crsae", "apply_motion_correction": False}),
        ("spykingcircus2", {"matching": {"method": "crsae"}, "apply_motion_correction": False}),
    ],
)
def test_other_sorters_run_with_our_matching(case, sorter, parameters, tmp_path, monkeypatch):
    recording, _, _ = case
    calls = []
    method = matching_methods["crsae"]
    compute = method.compute_matching
    monkeypatch.setattr(method, "compute_matching", lambda *args: calls.append(1) or compute(*args))
    saved = recording.save(folder=tmp_path / "recording", progress_bar=False, verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = ss.run_sorter(sorter, saved, folder=tmp_path / "run", job_kwargs={"n_jobs": 1}, **parameters)
    assert len(calls) > 3
    assert found.count_total_num_spikes() > 100


def test_the_method_is_known_where_nobody_imported_us(tmp_path):
    code = (
        "from spikeinterface.sortingcomponents.matching import find_spikes_from_templates;"
        "from spikeinterface.sortingcomponents.matching.main import matching_methods;"
        "print('crsae' in matching_methods, \"method='crsae'\" in find_spikes_from_templates.__doc__)"
    )
    for switch, expected in (("1", ["True", "True"]), ("0", ["False", "False"])):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=os.environ | {"SI_CRSAE_AUTOLOAD": switch},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split() == expected, done.stderr
