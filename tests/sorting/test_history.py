"""Claims about the table of what a run has decided: complete, for all groups, the same after an interruption."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import spikeinterface.sorters as ss
from pandas.testing import assert_frame_equal

from si_crsae import load_history, resume_sorter
from si_crsae.sorting.folder import load_learning_curves
from si_crsae.sorting.stages import LearningResult, load_stage

STAGES = ["initialize", "learn", "encode", "clean"]


@pytest.fixture(scope="module")
def finished(tiny_recording, tmp_path_factory):
    """The folder of a run on two groups of two channels, whose ids are numbers written as texts; and its sorting.

    The group that is sorted first has the last channels.
    """
    folder = tmp_path_factory.mktemp("history") / "run"
    recording = tiny_recording.rename_channels(["07", "08", "11", "12"])
    recording.set_property("group", ["right", "right", "left", "left"])
    return folder, ss.run_sorter("crsae", recording, folder=folder)


@pytest.fixture(scope="module")
def history(finished):
    return load_history(finished[0])


def test_every_unit_of_the_sorting_is_kept_once_where_the_sorting_has_it(finished, history):
    _, sorting = finished
    kept = history[history["what"] == "kept"].set_index("unit_id").loc[sorting.unit_ids]
    assert sorting.get_num_units() >= 3
    for name, as_called in {"main_channel_id": "main_channel_id", "group": "group", "num_spikes": "num_events"}.items():
        assert kept[as_called].tolist() == sorting.get_property(name).tolist()
    assert kept["round"].isna().all()
    assert sorted(history["unit_id"].dropna().unique()) == sorting.unit_ids.tolist()


def test_every_unit_of_the_sorting_comes_from_a_cluster(finished, history):
    """Backwards from each unit of the sorting: found, born, or a part of one that was, and never without a number."""
    _, sorting = finished
    for group, decisions in history.groupby("group"):
        begun = set()
        for row in decisions.itertuples():
            if row.what in {"found", "born"}:
                begun.add(row.unit)
            elif row.what != "refused":
                assert {row.unit, *row.others} <= begun, (group, row)
                begun |= set(row.became)
        assert set(decisions.loc[decisions["unit_id"].notna(), "unit"]) <= begun


def test_a_unit_ends_once_or_is_kept(history):
    """Nothing is decided about a unit that is gone, and every unit has an end."""
    ends = history[history["what"].isin(["merged", "dropped", "kept"])]
    numbers = history[["group", "unit"]].dropna().drop_duplicates()
    assert len(ends) == len(ends[["group", "unit"]].drop_duplicates()) == len(numbers)
    for _, decisions in history.dropna(subset="unit").groupby(["group", "unit"]):
        assert decisions.index[-1] in ends.index


def test_the_columns_are_plain(history):
    assert history.dtypes[["round", "unit", "unit_id"]].astype(str).tolist() == ["Int64"] * 3
    assert history.dtypes[["value", "threshold"]].astype(str).tolist() == ["float64"] * 2
    assert history["num_events"].dtype == np.int64
    assert set(history["main_channel_id"]) <= {"07", "08", "11", "12"}
    assert (history["main_channel_id"].isin(["07", "08"]) == (history["group"] == "right")).all()
    assert history["others"].map(lambda numbers: isinstance(numbers, tuple)).all()
    rounds = history["round"].dropna()
    assert rounds.between(0, 3).all()
    assert history.groupby("group")["round"].apply(lambda of_group: of_group.dropna().is_monotonic_increasing).all()


def test_figures_are_on_the_side_of_their_threshold_that_decides(history):
    is_below = history["value"] < history["threshold"]
    assert not is_below[history["what"].isin(["found", "born", "split", "kept"])].any()
    assert is_below[history["what"].isin(["refused", "not split"])].all()


def test_the_log_tells_what_the_table_tells(finished, history):
    folder, sorting = finished
    log = (folder / "sorter_output" / "crsae.log").read_text(encoding="utf8")
    logged = history[~history["what"].isin(["refused", "not split", "kept"])]
    assert len(re.findall(r"(before round 1|after the last round|round \d): unit \d+ ", log)) == len(logged)
    assert len(re.findall(r"unit \d+ of group [01] is unit_id \d+ of the sorting: ", log)) == sorting.get_num_units()


@pytest.mark.parametrize("first_missing", STAGES)
def test_a_run_that_was_interrupted_has_the_history_of_one_that_was_not(finished, history, tmp_path, first_missing):
    folder, _ = finished
    shutil.copytree(folder, tmp_path / "run")
    output = tmp_path / "run" / "sorter_output"
    for stage in STAGES[STAGES.index(first_missing) :]:
        (output / "stages" / "group_1" / f"{stage}.npz").unlink()
    (output / "history.npz").unlink()
    resume_sorter(tmp_path / "run")
    assert_frame_equal(load_history(tmp_path / "run"), history)


def test_numbers_stand_for_the_atoms_of_the_model(finished, history):
    folder, _ = finished
    for index, group in enumerate(["left", "right"]):
        learned = load_stage(folder / "sorter_output" / "stages" / f"group_{index}" / "learn.npz", LearningResult)
        at_the_end = history[(history["group"] == group) & history["round"].isna()]
        told = at_the_end.set_index("unit")["main_channel_id"]
        assert sorted(told.index) == sorted(learned.unit_numbers.tolist())
        channels = learned.model.dictionary.weights.norm(dim=2).argmax(dim=1).numpy()
        ids = np.array([["11", "12"], ["07", "08"]])[index][channels]
        assert told[learned.unit_numbers.tolist()].tolist() == ids.tolist()


def test_every_unit_has_left_its_last_template(finished, history):
    folder, _ = finished
    curves = load_learning_curves(folder)
    for index, group in enumerate(["left", "right"]):
        told = history[(history["group"] == group) & history["unit"].notna()]
        curve = curves[index]
        assert sorted(curve.unit_numbers.tolist()) == sorted(told["unit"].unique())
        ends = told[told["what"].isin(["merged", "dropped", "kept"])].set_index("unit")["main_channel_id"]
        channels = np.linalg.norm(curve.unit_waveforms.astype("float32"), axis=2).argmax(axis=1)
        assert curve.channel_ids[channels].tolist() == ends[curve.unit_numbers.tolist()].tolist()


def test_a_run_without_arrays_or_of_an_earlier_version_has_none(tiny_recording, tmp_path):
    ss.run_sorter("crsae", tiny_recording, folder=tmp_path / "run", save_array=False, num_rounds=0)
    with pytest.raises(
        ValueError, match=r"holds no sorter_output/history.npz: give .* save_array=True, by this version"
    ):
        load_history(tmp_path / "run")


def test_a_run_without_a_unit_has_a_history(tiny_recording, tmp_path):
    with pytest.warns(UserWarning, match="crsae found no unit"):
        ss.run_sorter("crsae", tiny_recording, folder=tmp_path / "run", detect_threshold=1000.0)
    history = load_history(tmp_path / "run")
    assert history.empty
    assert isinstance(history, pd.DataFrame)
