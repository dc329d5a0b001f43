"""Two runs are compared as A and B, with the parameters in which they differ; a truth is called true."""

import json
import shutil

import pytest
import spikeinterface as si

from si_crsae.widgets import ComparisonView, compare_runs, open_session
from si_crsae.widgets.view_models.comparison import LISTS, summarize_list
from si_crsae.widgets.view_models.sides import WITH_TRUTH, Difference, differing_parameters, sides_of


@pytest.fixture(scope="module")
def other_run(run_folder, tmp_path_factory):
    """The same run, as if it had been made with another threshold."""
    folder = shutil.copytree(run_folder, tmp_path_factory.mktemp("other") / "run")
    path = folder / "spikeinterface_params.json"
    parameters = json.loads(path.read_text(encoding="utf8"))
    parameters["sorter_params"]["merge_threshold"] = 6.5
    path.write_text(json.dumps(parameters), encoding="utf8")
    return folder


@pytest.fixture
def session(run_folder, other_run):
    return compare_runs(run_folder, other_run, recording=si.load(run_folder.parent / "recording"))


def test_parameters_that_differ_are_told_with_both_values(session):
    assert differing_parameters(session.tested, session.truth) == [
        Difference(name="merge_threshold", tested="4.0", true="6.5")
    ]
    assert differing_parameters(session.tested, session.tested) == []


def test_neither_of_two_runs_is_called_true(session):
    view = ComparisonView(session)
    sides = view.agreement().sides
    assert (sides.true, sides.tested, sides.missed, sides.matched) == ("B", "A", "B-only", "common")
    for listed in LISTS:
        said = summarize_list(view.pair_model(), listed, delta_ms=0.4, sides=sides)
        assert "B unit" in said
        assert not {"true", "tested", "missed", "false"} & set(said.split())


def test_a_truth_is_called_true(run_folder):
    session = open_session(run_folder, truth=si.load(run_folder.parent / "truth"))
    assert sides_of(session.tested, session.truth) is WITH_TRUTH
    assert differing_parameters(session.tested, session.truth) == []


def test_the_view_shows_them_on_top(show, session):
    live = show(ComparisonView(session))
    rows = live.locator("table[aria-label='Parameters that differ'] tbody tr")
    assert rows.all_inner_texts() == ["merge_threshold\t4.0\t6.5"]
    assert "B-only (0)" in live.text()
    heads = live.locator(".crsae-comparison thead th").all_inner_texts()
    assert heads[:2] == ["B", "A"]
    assert "agreement ▲" in heads
    assert "true" not in live.text().split()


def test_runs_on_other_recordings_are_refused(run_folder, tmp_path):
    other = shutil.copytree(run_folder, tmp_path / "run")
    path = other / "sorter_output" / "recording_attributes.json"
    path = path if path.is_file() else other / "recording_attributes.json"
    attributes = json.loads(path.read_text(encoding="utf8"))
    attributes["num_samples"] = [1000]
    path.write_text(json.dumps(attributes), encoding="utf8")
    with pytest.raises(ValueError, match="are no runs on one recording: num_samples is"):
        compare_runs(run_folder, other)
