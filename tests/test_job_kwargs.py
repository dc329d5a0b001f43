"""Claims about job_kwargs and other parameters: what SpikeInterface would stumble over later is refused at once."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spikeinterface.core.job_tools import fix_job_kwargs

from si_crsae.config import JOB_NAMES, CrsaeConfig, validate_parameters
from si_crsae.sorting.resources import Resources
from si_crsae.sorting.signal.caching import with_fixed_chunks


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("chunk_duration", "0s", "a time above zero, such as '1s'"),
        ("chunk_duration", "-1s", "a time above zero"),
        ("chunk_duration", "1h", "a time above zero"),
        ("chunk_duration", float("nan"), "a time above zero"),
        ("chunk_size", 0, "a whole number of samples above zero"),
        ("chunk_size", "30000", "a whole number of samples above zero"),
        ("chunk_memory", "1Q", "a size above zero, such as '500M'"),
        ("total_memory", "0G", "a size above zero"),
        ("mp_context", "thread", "'fork', 'spawn' or 'forkserver'"),
        ("pool_engine", "loky", "'thread' or 'process'"),
        ("n_jobs", "all", "a whole number, -1 for all cores"),
        ("n_jobs", 1.5, "a whole number, -1 for all cores"),
        ("progress_bar", "yes", "True or False"),
    ],
)
def test_values_that_spikeinterface_cannot_use_are_answered_with_what_to_write(name, value, wanted):
    with pytest.raises(ValueError, match=rf"job_kwargs = .*: .*{name}") as told:
        validate_parameters({"job_kwargs": {name: value}})
    if name != "n_jobs":
        assert f"{name} = {value!r}: write {wanted}" in str(told.value)


def test_two_lengths_of_a_chunk_are_refused():
    with pytest.raises(ValueError, match="chunk_size and chunk_duration exclude each other: give one of them"):
        validate_parameters({"job_kwargs": {"chunk_size": 30000, "chunk_duration": "1s"}})


@pytest.mark.parametrize(
    "job_kwargs",
    [
        {"n_jobs": np.int64(1)},
        {"n_jobs": np.float32(0.5), "progress_bar": np.bool_(True)},
        {"chunk_size": np.int32(30000)},
        {"chunk_duration": np.float64(0.5)},
        {"n_jobs": -1, "chunk_duration": "500ms", "pool_engine": "process", "mp_context": "spawn"},
        {"chunk_memory": "1.5Gi", "max_threads_per_worker": 1},
        {"total_memory": "500M", "chunk_size": None},
    ],
)
def test_what_spikeinterface_takes_is_taken_and_goes_into_a_file(job_kwargs):
    config = validate_parameters({"job_kwargs": job_kwargs})
    assert json.loads(json.dumps(config.model_dump(mode="json")))["job_kwargs"].keys() == job_kwargs.keys()


@given(seconds=st.floats(1e-3, 1e3), unit=st.sampled_from(["s", "ms"]))
def test_every_positive_time_is_taken(seconds, unit):
    validate_parameters({"job_kwargs": {"chunk_duration": f"{seconds}{unit}"}})


@pytest.mark.parametrize("chunks", [{}, {"chunk_size": 30000}, {"total_memory": "1G"}, {"chunk_duration": "0.3s"}])
def test_a_chunk_has_one_length(chunks):
    job_kwargs = Resources.of(CrsaeConfig(job_kwargs=chunks)).job_kwargs
    expected = chunks or {"chunk_duration": "1s"}
    names = ("chunk_size", "chunk_memory", "total_memory", "chunk_duration")
    assert {name: job_kwargs[name] for name in names if name in job_kwargs} == expected
    assert {name: value for name, value in with_fixed_chunks(job_kwargs).items() if name in names} == {
        "chunk_duration": "1s"
    }
    fix_job_kwargs(job_kwargs)


@pytest.mark.parametrize("name", JOB_NAMES)
def test_a_job_keyword_among_the_parameters_is_shown_its_place(name):
    with pytest.raises(ValueError, match=rf"{name}: unknown parameter; write job_kwargs=\{{'{name}': 1\}}"):
        validate_parameters({name: 1})


def test_a_seed_of_more_than_32_bits_is_refused_with_the_largest():
    assert validate_parameters({"seed": 2**32 - 1}).seed == 2**32 - 1
    with pytest.raises(ValueError, match="seed = 1099511627776: Input should be less than or equal to 4294967295"):
        validate_parameters({"seed": 2**40})


@pytest.mark.parametrize("device", ["gpu", "tpu", "cuda:", "cuda:-1", "CPU"])
def test_a_device_is_refused_with_the_choices(device):
    with pytest.raises(ValueError, match=f"device = '{device}': Input should be one of auto, cpu, cuda, or cuda:N"):
        validate_parameters({"device": device})
