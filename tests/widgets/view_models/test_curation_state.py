import json
from dataclasses import replace

import numpy as np
import pytest
from spikeinterface.core import NumpySorting
from spikeinterface.curation import apply_curation, load_curation, validate_curation_dict

from si_crsae.sorting.convert import with_all_segments
from si_crsae.widgets.view_models.curation import (
    summarize_state,
)
from si_crsae.widgets.view_models.curation_file import (
    apply_state,
    from_curation,
    save_curation,
    to_curation,
)
from si_crsae.widgets.view_models.curation_file import load_curation as load_state
from si_crsae.widgets.view_models.curation_history import (
    History,
    label_step,
    merge_step,
    remove_step,
    restore_step,
    steps_of,
)
from si_crsae.widgets.view_models.curation_state import (
    DEFAULT_LABELS,
    CurationState,
    LabelDefinition,
    Merge,
    label,
    merge,
    remove,
    restore,
    split,
)

NOTES = LabelDefinition(name="notes", options=("drift", "burst"), exclusive=False)


def small_sorting(unit_ids=(0, 1, 2, 3)):
    """Two segments; unit 2 fires twice at the same sample."""
    first = [[10, 20, 30], [5, 15, 25, 35], [12], [50, 60]]
    second = [[3, 4], [2, 6], [7, 7], [9]]
    trains = [dict(zip(unit_ids, map(np.array, segment), strict=True)) for segment in (first, second)]
    return NumpySorting.from_unit_dict(trains, 1000.0)


def trains_of(sorting):
    return {
        unit_id: [sorting.get_unit_spike_train(unit_id, segment_index=index).tolist() for index in range(2)]
        for unit_id in sorting.unit_ids.tolist()
    }


@pytest.fixture
def state():
    return CurationState.of(small_sorting(), definitions=[*DEFAULT_LABELS, NOTES])


@pytest.fixture
def decided(state):
    """A state with something of everything."""
    state = label(state, [0, 1], "quality", "good")
    state = label(state, [1], "notes", "drift")
    state = label(state, [1, 3], "notes", "burst")
    return remove(split(merge(state, [2, 0]), 1, [[0, 4]]), [3])


def test_a_state_of_a_sorting_has_its_units_and_nothing_decided(state):
    assert state.unit_ids == (0, 1, 2, 3)
    assert state.num_spikes == (5, 6, 3, 3)
    assert (state.merges, state.splits, state.labels, state.removed) == ((), (), (), ())


def test_merging_into_a_merge_joins_the_groups_under_its_id(state):
    joined = merge(merge(state, [0, 1]), [1, 3])
    assert joined.merges == (Merge(unit_ids=(0, 1, 3), new_unit_id=4),)
    assert state.merges == ()


def test_new_ids_go_on_from_the_largest_and_never_repeat(decided):
    assert decided.merges[0].new_unit_id == 4
    assert decided.splits[0].new_unit_ids == (5, 6)


@pytest.mark.parametrize(
    ("unit_ids", "new"), [(("0", "1", "2", "3"), "4"), (("a", "b", "c", "4"), "a+b"), (("a+b", "b", "a", "d"), "a+b+b")]
)
def test_new_ids_are_of_the_kind_of_the_others(unit_ids, new):
    merged = merge(CurationState.of(small_sorting(unit_ids)), unit_ids[:2])
    assert merged.merges[0].new_unit_id == new


def test_a_new_name_that_is_taken_gets_a_number():
    state = CurationState.of(small_sorting(("a", "b", "a+b", "d")))
    assert merge(state, ["a", "b"]).merges[0].new_unit_id == "a+b-0"


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda state: merge(state, [0, 9]), "one or more of the units"),
        (lambda state: merge(state, []), "one or more of the units"),
        (lambda state: merge(state, [0, 0]), "needs two units"),
        (lambda state: merge(remove(state, [0]), [0, 1]), "unit 0 is removed and cannot be merged"),
        (lambda state: merge(split(state, 0, [[0]]), [0, 1]), "unit 0 is split and cannot be merged"),
        (lambda state: merge(state, [0, 1], new_unit_id=3), "another unit is called so"),
        (lambda state: split(state, 9, [[0]]), "one or more of the units"),
        (lambda state: split(merge(state, [0, 1]), 0, [[0]]), "unit 0 is in a merge and cannot be split"),
        (lambda state: split(remove(state, [0]), 0, [[0]]), "unit 0 is removed and cannot be split"),
        (lambda state: split(state, 0, [[], [0, 1, 2, 3, 4]]), "one side without spikes"),
        (lambda state: split(state, 0, [[0, 1, 2, 3, 4]]), "all spikes in one part"),
        (lambda state: split(state, 0, [[0, 1], [1, 2]]), "every spike at most once"),
        (lambda state: split(state, 0, [[0, 5]]), "from 0 to 4"),
        (lambda state: split(state, 0, [[0]], new_unit_ids=[7]), "2 ids that no unit has"),
        (lambda state: split(state, 0, [[0]], new_unit_ids=[7, 3]), "2 ids that no unit has"),
        (lambda state: label(state, [0], "quality", "splendid"), "quality: good, MUA, noise"),
        (lambda state: label(remove(state, [0]), [0], "quality", "good"), "removed and cannot be labeled"),
        (lambda state: remove(merge(state, [0, 1]), [1]), "unit 1 is in a merge and cannot be removed"),
        (lambda state: remove(split(state, 0, [[0]]), [0]), "unit 0 is split and cannot be removed"),
        (lambda state: restore(state, [0]), "nothing to restore"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(state, action, message):
    with pytest.raises(ValueError, match=message):
        action(state)


@pytest.mark.parametrize(
    ("definitions", "message"),
    [
        ([LabelDefinition(name="one", options=("only",))], "two different ones"),
        ([*DEFAULT_LABELS, LabelDefinition(name="x", options=("quality", "y"), exclusive=False)], "become properties"),
    ],
)
def test_definitions_that_cannot_be_saved_are_refused(definitions, message):
    with pytest.raises(ValueError, match=message):
        CurationState.of(small_sorting(), definitions=definitions)


def test_exclusive_labels_replace_each_other_and_others_add_up(state):
    state = label(label(state, [0], "quality", "noise"), [0], "quality", "good")
    state = label(label(state, [0], "notes", "burst"), [0], "notes", "drift")
    assert [given.value for given in state.labels_of(0)] == ["good", "drift", "burst"]
    assert [given.value for given in label(state, [0], "notes", "drift", on=False).labels_of(0)] == ["good", "burst"]


def test_units_of_a_merge_are_labeled_together(state):
    labeled = label(merge(state, [0, 2]), [2], "quality", "MUA")
    assert {given.unit_id for given in labeled.labels} == {0, 2}


def test_restored_units_are_as_before_and_keep_their_labels(decided, state):
    restored = restore(decided, [0, 1, 3])
    assert restored == replace(state, labels=decided.labels)


def test_the_second_split_of_a_unit_replaces_the_first(state):
    again = split(split(state, 1, [[0]]), 1, [[0, 1, 2]])
    assert len(again.splits) == 1
    assert again.splits[0].parts == ((0, 1, 2), (3, 4, 5))


def test_saved_decisions_are_the_same_when_loaded(decided, tmp_path):
    path = save_curation(decided, tmp_path / "curation.json")
    assert load_state(path, small_sorting()) == decided
    model = load_curation(path)  # SpikeInterface's own
    assert model.format_version == "2"
    validate_curation_dict(json.loads(path.read_text()))


def test_a_file_of_decisions_has_a_line_for_each_entry(decided, tmp_path):
    text = save_curation(decided, tmp_path / "curation.json").read_text()
    assert len(text.splitlines()) == len(to_curation(decided)) + 2


def test_saving_into_a_folder_that_is_not_there_is_refused(decided, tmp_path):
    with pytest.raises(ValueError, match="its folder does not exist"):
        save_curation(decided, tmp_path / "nowhere" / "curation.json")


def test_spikeinterface_makes_of_the_file_the_spike_trains_that_were_meant(decided, tmp_path):
    path = save_curation(decided, tmp_path / "curation.json")
    expected = {4: [[10, 12, 20, 30], [3, 4, 7, 7]], 5: [[5], [2]], 6: [[15, 25, 35], [6]]}
    assert trains_of(apply_curation(small_sorting(), load_curation(path))) == expected
    assert trains_of(apply_state(small_sorting(), decided)) == expected


def test_applied_labels_are_those_of_the_members_and_the_sorting_is_left_alone(state):
    state = label(label(state, [0, 2], "quality", "good"), [0], "notes", "burst")
    state = merge(label(label(state, [1], "quality", "MUA"), [3], "notes", "drift"), [0, 2])
    state = split(state, 1, [[1, 2]])
    sorting = small_sorting()
    sorting.set_property("snr", np.array([1.0, 2.0, 3.0, 4.0]))
    sorting.set_property("num_spikes", np.array([5, 6, 3, 3]))
    curated = apply_state(sorting, state)
    assert curated.unit_ids.tolist() == [3, 4, 5, 6]
    assert curated.get_property("quality").tolist() == ["", "good", "MUA", "MUA"]
    assert curated.get_property("burst").tolist() == [False, True, False, False]
    assert curated.get_property("drift").tolist() == [True, False, False, False]
    np.testing.assert_array_equal(curated.get_property("snr"), [4, np.nan, np.nan, np.nan])
    assert curated.get_property("num_spikes").tolist() == [3, 8, 2, 4]
    assert sorting.get_property_keys() == ["snr", "num_spikes"]


def test_a_sorting_without_units_can_be_curated():
    sorting = NumpySorting.from_unit_dict([{}], 1000.0)
    state = CurationState.of(sorting)
    assert from_curation(to_curation(state), sorting) == state
    assert apply_state(sorting, state).unit_ids.size == 0


def test_curations_made_elsewhere_are_understood():
    elsewhere = {
        "format_version": "2",
        "unit_ids": [3, 2, 1, 0],
        "label_definitions": {"quality": {"label_options": ["good", "noise", "MUA"], "exclusive": True}},
        "manual_labels": [{"unit_id": 2, "quality": ["MUA"]}, {"unit_id": 0, "labels": {"quality": ["good"]}}],
        "merges": [{"unit_ids": [2, 0]}],
        "splits": [
            {"unit_id": 1, "mode": "labels", "labels": [7, 7, 3, 7, 3, 3]},
            {"unit_id": 3, "mode": "indices", "indices": [[2]]},
        ],
        "removed": [],
    }
    state = from_curation(elsewhere, small_sorting())
    assert state.definitions == (LabelDefinition(name="quality", options=("good", "noise", "MUA")),)
    assert [(given.unit_id, given.value) for given in state.labels] == [(0, "good"), (2, "MUA")]
    assert [given.parts for given in state.splits] == [((2, 4, 5), (0, 1, 3)), ((2,), (0, 1))]
    ours, theirs = apply_state(small_sorting(), state), apply_curation(small_sorting(), elsewhere)
    assert sorted(trains_of(ours).values()) == sorted(trains_of(theirs).values())


def test_the_format_of_before_is_understood():
    elsewhere = {"format_version": "1", "unit_ids": [0, 1, 2, 3], "label_definitions": {}, "manual_labels": [],
                 "merge_unit_groups": [[0, 1]], "removed_units": [3]}  # fmt: skip
    state = from_curation(elsewhere, small_sorting())
    assert state.merges[0].unit_ids == (0, 1)
    assert state.removed == (3,)
    assert state.definitions == DEFAULT_LABELS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unit_ids": [0, 1]}, "give the curation of this sorting"),
        ({"splits": [{"unit_id": 1, "mode": "labels", "labels": [0, 1]}]}, "2 labels, the unit 6 spikes"),
        ({"merges": [{"unit_ids": [0, 1]}], "removed": [1]}, "merged and deleted"),
    ],
)
def test_a_curation_of_something_else_is_refused(state, changes, message):
    with pytest.raises(ValueError, match=message):
        from_curation(to_curation(state) | changes, small_sorting())


def test_steps_are_undone_and_done_again(state):
    history = History.of(state).do(merge_step([0, 1])).do(remove_step([3]))
    undone = history.undo()
    assert undone.present.removed == ()
    assert undone.redo().present == history.present
    assert not undone.undo().can_undo
    assert undone.undo().undo().present == state
    assert not undone.do(remove_step([2])).can_redo


def test_one_step_is_undone_alone_and_that_is_undone_too(state):
    history = History.of(state).do(merge_step([0, 1])).do(label_step([3], "quality", "good")).do(remove_step([2]))
    dropped = history.drop(0)
    assert dropped.present.merges == ()
    assert dropped.present.removed == (2,)
    assert [step.text for step in dropped.steps] == ["label 3: good", "remove 2"]
    assert dropped.undo().present == history.present


def test_a_step_that_others_need_is_not_undone_alone(state):
    history = History.of(state).do(remove_step([0])).do(restore_step([0]))
    with pytest.raises(ValueError, match="'remove 0' cannot be undone alone, 'restore 0' needs it"):
        history.drop(0)
    with pytest.raises(ValueError, match="there are 2 steps"):
        history.drop(2)


def test_the_steps_of_a_state_lead_to_it(decided, state):
    decided = replace(decided, labels=decided.labels[1:])  # units of the merge differ
    for step in steps_of(decided):
        state = step.do(state)
    assert state == decided
    assert len(History.of(decided).steps) == len(steps_of(decided)) == 6
    assert History.of(decided).drop(0).present.merges == decided.merges


def test_the_summary_counts_units_before_and_after(decided):
    assert summarize_state(decided) == "4 units → 3; 1 merge, 1 split, 1 removed, 3 labeled"


def test_a_last_segment_without_spikes_is_kept():
    first = NumpySorting.from_unit_dict([{0: np.array([5, 9]), 1: np.array([7])}], 1000.0)
    sorting = with_all_segments(first, 3)
    curated = apply_state(sorting, merge(CurationState.of(sorting), [0, 1]))
    assert curated.get_num_segments() == 3
    assert curated.get_unit_spike_train(2, segment_index=0).tolist() == [5, 7, 9]
    assert curated.get_unit_spike_train(2, segment_index=2).size == 0
