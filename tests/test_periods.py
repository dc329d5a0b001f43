import json

import numpy as np
import pytest
from spikeinterface.core.base import base_period_dtype

from si_crsae.config import CrsaeConfig, validate_parameters
from si_crsae.periods import plain_periods


def in_s(start, end, segment=None):
    return {"segment_index": segment, "start_s": start, "end_s": end}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        ([(1, 2.5)], [in_s(1.0, 2.5)]),
        ([[1, 2], [3, 4]], [in_s(1.0, 2.0), in_s(3.0, 4.0)]),
        (np.array([[1, 2], [3, 4]]), [in_s(1.0, 2.0), in_s(3.0, 4.0)]),
        ([[(1, 2)], [(3, 4), (5, 6)]], [in_s(1.0, 2.0, 0), in_s(3.0, 4.0, 1), in_s(5.0, 6.0, 1)]),
        ([[], [[3, 4]]], [in_s(3.0, 4.0, 1)]),
        ([np.array([[1, 2]]), np.zeros((0, 2))], [in_s(1.0, 2.0, 0)]),
        (np.array([(1.5, 0.5, "x")], [("time", "f8"), ("duration", "f8"), ("label", "U8")]), [in_s(1.5, 2.0)]),
        ([np.array([(1.5, 0.5)], [("timestamp", "f8"), ("duration", "f8")])] * 2, [in_s(1.5, 2, 0), in_s(1.5, 2, 1)]),
        (
            np.array([(1, 10, 20)], base_period_dtype),
            [{"segment_index": 1, "start_sample_index": 10, "end_sample_index": 20}],
        ),
    ],
)
def test_periods_may_be_written_as_pairs_lists_of_segments_and_arrays(given, expected):
    periods = plain_periods(given)
    assert periods == expected
    assert plain_periods(json.loads(json.dumps(periods))) == periods


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([(2, 1)], r"\(2.0, 1.0\) is no period: it must end after its start"),
        ([(1, 1)], "it must end after its start"),
        ([(0, np.inf)], "both ends must be finite"),
        ([(0, np.nan)], "both ends must be finite"),
        ([(1, 2, 3)], r"\(1, 2, 3\) is no period: write pairs"),
        ([1.0, 2.0], "1.0 is no period: write pairs"),
        (5, "5 is no list of periods: write pairs"),
        ("1-2", "'1-2' is no list of periods"),
        ([{"begin": 1}], "fields 'begin' do not tell a period: write pairs"),
        (np.array([(1.5, "x")], [("time", "f8"), ("label", "U8")]), "fields 'time', 'label' do not tell a period"),
        (np.array([(-1, 10, 20)], base_period_dtype), "segment_index = -1: segments are counted from 0"),
    ],
)
def test_what_is_no_period_is_refused_with_what_to_write(given, problem):
    with pytest.raises(ValueError, match=problem):
        plain_periods(given)
    with pytest.raises(ValueError, match=f"(?s)excluded_periods = .*{problem}"):
        validate_parameters({"excluded_periods": given})


def test_the_configuration_keeps_them_as_json_does():
    config = validate_parameters({"excluded_periods": np.array([(0, 10, 20)], base_period_dtype)})
    assert validate_parameters(json.loads(json.dumps(config.model_dump(mode="json")))) == config
    assert CrsaeConfig().excluded_periods == []


@pytest.mark.parametrize("choice", ["yes", True, None, "no"])
def test_artifacts_are_excluded_automatically_or_not_at_all(choice):
    with pytest.raises(ValueError, match="exclude_artifacts = "):
        validate_parameters({"exclude_artifacts": choice})
