import json

import numpy as np
import pytest
from pydantic import ValidationError

from si_crsae.config import PARAMETER_GROUPS, CrsaeConfig, validate_parameters

NUMBERS_WITH_DIRECTIONS = [name for name, field in CrsaeConfig.model_fields.items() if field.annotation in (int, float)]


def test_defaults_survive_the_json_file_spikeinterface_sends_them_through():
    defaults = CrsaeConfig.sorter_defaults()
    assert json.loads(json.dumps(defaults)) == defaults
    assert validate_parameters(defaults) == CrsaeConfig()


def test_every_parameter_is_described_in_one_line():
    descriptions = CrsaeConfig.sorter_descriptions()
    assert descriptions.keys() == CrsaeConfig.sorter_defaults().keys()
    assert all(text.endswith(".") and "\n" not in text for text in descriptions.values())


@pytest.mark.parametrize("name", [name for name in NUMBERS_WITH_DIRECTIONS if name != "seed"])
def test_the_help_of_a_number_says_which_way_to_turn_it(name):
    assert "lower " in CrsaeConfig.sorter_descriptions()[name]


@pytest.mark.parametrize("value", [300, np.float32(300), np.int64(300)])
def test_whole_and_numpy_numbers_are_accepted_where_a_float_is_meant(value):
    freq_min = validate_parameters({"freq_min": value}).freq_min
    assert freq_min == 300.0
    assert type(freq_min) is float


def test_a_frozen_configuration_cannot_change_under_a_running_stage():
    with pytest.raises(ValidationError, match="frozen"):
        CrsaeConfig().seed = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_all_problems_are_told_at_once():
    wrong = {"num_rounds": -1, "min_amplitude": 1.0, "raduis_um": 3, "device": "tpu", "job_kwargs": {"n_job": 2}}
    with pytest.raises(ValueError, match="crsae cannot run with these parameters") as refusal:
        validate_parameters(wrong)
    problems = str(refusal.value).splitlines()[1:]
    assert [problem.split()[0].rstrip(":") for problem in problems] == [
        "num_rounds",
        "min_amplitude",
        "device",
        "job_kwargs",
        "raduis_um",
    ]
    assert problems[0] == "  num_rounds = -1: Input should be greater than or equal to 0"
    assert "n_job is not a valid job keyword argument" in problems[3]


@pytest.mark.parametrize(
    ("mistyped", "guess"),
    [("detect_treshold", "detect_threshold"), ("freqmin", "freq_min"), ("template_raduis", "template_radius_um")],
)
def test_a_mistyped_name_is_guessed(mistyped, guess):
    with pytest.raises(ValueError, match=f"{mistyped}: unknown parameter; did you mean {guess}\\?"):
        validate_parameters({mistyped: 1})


def test_a_name_like_no_other_is_not_guessed():
    with pytest.raises(ValueError, match="xyzzy: unknown parameter; see CrsaeConfig for all names"):
        validate_parameters({"xyzzy": 1})


@pytest.mark.parametrize("band", [{"freq_min": 8000.0}, {"freq_max": 150.0}, {"freq_min": 500, "freq_max": 400}])
def test_an_empty_band_is_refused(band):
    with pytest.raises(ValueError, match="freq_max = .*: Input should be greater than freq_min"):
        validate_parameters(band)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "5", None])
def test_a_threshold_that_is_no_finite_number_is_refused(value):
    with pytest.raises(ValueError, match="detect_threshold = "):
        validate_parameters({"detect_threshold": value})


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1"])
def test_devices_are_named_as_torch_names_them(device):
    assert validate_parameters({"device": device}).device == device


def test_every_parameter_is_in_one_group_of_the_docs():
    names = [name for group in PARAMETER_GROUPS.values() for name in group]
    assert sorted(names) == sorted(CrsaeConfig.model_fields)
