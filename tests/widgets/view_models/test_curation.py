import numpy as np
import pytest
from curated_units import LARGE, SMALL, curated_units

from si_crsae.evaluation.sorted_recording import explain_like
from si_crsae.widgets.packing import pack
from si_crsae.widgets.view_models.curation import (
    curation_model,
    parts_by_amplitude,
    prompt_for,
    relative_amplitudes,
    split_range,
    unit_detail,
)
from si_crsae.widgets.view_models.curation_file import (
    apply_state,
)
from si_crsae.widgets.view_models.curation_history import (
    History,
    label_step,
    merge_step,
    remove_step,
    split_step,
)
from si_crsae.widgets.view_models.curation_state import (
    CurationState,
    LabelDefinition,
    label,
    merge,
    remove,
    split,
)
from si_crsae.widgets.view_models.curation_suggestions import is_open, suggest
from si_crsae.widgets.view_models.templates import NO_UNITS
from si_crsae.widgets.view_models.unit_figures import describe_units

NOTES = LabelDefinition(name="notes", options=("drift", "burst"), exclusive=False)


def test_suggestions_are_the_halves_of_a_neuron_and_the_unit_with_few_spikes():
    found = suggest(curated_units(num_segments=2))
    assert [(one.kind, one.unit_ids, one.value) for one in found] == [("merge", (0, 1), ""), ("label", (3,), "")]
    assert "0 pairs of spikes lie within 1.5 ms where chance makes" in found[0].reason
    assert found[1].reason == "it has 40 spikes, too few to judge it by"


def test_units_with_false_or_too_close_spikes_deserve_a_label():
    made = curated_units()
    made.sorting.set_property("expected_false_positive_rate", np.array([0.0, 0.0, 0.0, 0.0, 0.4]))
    doubled = curated_units()
    doubled.units.spikes["sample_index"][doubled.units.spikes["unit_index"] == 4] //= 20
    reasons = {one.unit_ids[0]: (one.reason, one.value) for one in suggest(made) if one.kind == "label"}
    assert reasons[4] == ("40% of its spikes are expected to be of something else", "MUA")
    reasons = {one.unit_ids[0]: one.reason for one in suggest(doubled) if one.kind == "label"}
    assert reasons[4].endswith("of its intervals are shorter than 1.5 ms")


def test_a_suggestion_is_open_until_something_of_the_kind_is_decided():
    made = curated_units()
    pair, few = suggest(made)
    state = CurationState.of(made.sorting)
    assert is_open(pair, state)
    assert is_open(pair, merge(state, [1, 2]))
    assert not is_open(pair, merge(state, [0, 1]))
    assert not is_open(pair, remove(state, [0]))
    assert not is_open(pair, split(state, 0, [[0]]))
    assert not is_open(few, label(state, [3], "quality", "good"))


def test_a_prompt_says_why_and_whether_it_can_be_accepted():
    made = curated_units()
    pair, few = suggest(made)
    state = CurationState.of(made.sorting)
    other = CurationState.of(made.sorting, definitions=[NOTES])
    assert prompt_for(pair, state, index=0, number=2).text.startswith("Merge units 0 and 1? Their atoms are alike")
    assert prompt_for(few, state, index=1, number=2).text.startswith("Look at unit 3: it has 20 spikes")
    assert not prompt_for(few, other, index=1, number=2).can_accept


def test_two_heaps_are_divided_between_them():
    made = curated_units(num_segments=2)
    found = split_range(made, 2)
    assert SMALL < found.proposed < LARGE
    assert found.counts.sum() == relative_amplitudes(made, 2).size
    below, above = parts_by_amplitude(made, 2, found.proposed)
    assert len(below) == found.counts[found.edges[:-1] < found.proposed].sum()
    assert relative_amplitudes(made, 2)[below].max() < 0.6 < relative_amplitudes(made, 2)[above].min()


def test_a_split_by_amplitude_is_that_of_the_spikes_of_all_segments():
    made = curated_units(num_segments=2)
    parts = parts_by_amplitude(made, 2, 0.75)
    curated = apply_state(made.sorting, split(CurationState.of(made.sorting), 2, parts))
    spikes = made.units.spikes
    for new, is_mine in ((5, made.units.amplitude < 15), (6, made.units.amplitude >= 15)):
        for segment in range(2):
            mine = is_mine & (spikes["unit_index"] == 2) & (spikes["segment_index"] == segment)
            np.testing.assert_array_equal(
                curated.get_unit_spike_train(new, segment_index=segment), spikes["sample_index"][mine]
            )


def test_a_threshold_beyond_all_spikes_is_refused():
    with pytest.raises(ValueError, match="all spikes of unit 2 lie on one side"):
        parts_by_amplitude(curated_units(), 2, 3.0)


def model_of(made, *, selected=(), history=None, **options):
    history = history or History.of(CurationState.of(made.sorting))
    detail = unit_detail(made, describe_units(made), selected)
    return curation_model(history, detail, selected=selected, **options)


def test_the_model_tells_what_becomes_of_each_unit():
    made = curated_units()
    history = History.of(CurationState.of(made.sorting)).do(label_step([0], "quality", "good")).do(merge_step([0, 1]))
    history = history.do(split_step(2, parts_by_amplitude(made, 2, 0.75), reason="at 0.75")).do(remove_step([3]))
    model = model_of(made, selected=[2], history=history)
    assert model.decided == ["merged → 5", "merged → 5", "split → 6, 7", "removed", ""]
    assert model.steps[2] == "split 2 at 0.75"
    assert model.summary == "5 units → 4; 1 merge, 1 split, 1 removed, 1 labeled"
    assert model.threshold == model.detail.split_range.proposed
    assert "units 0, 1 differ in their label of quality: unit 5 gets none; label it again" in model.notes
    pack(model)


def test_two_units_are_shown_with_three_correlograms_and_more_are_not():
    made = curated_units(num_segments=2)
    model = model_of(made, selected=[0, 1, 4])
    shown = model.detail.pictures
    assert shown.drawn == [0, 1]
    assert [(one.unit, one.other) for one in shown.correlograms] == [(0, 0), (0, 1), (1, 1)]
    assert model.detail.split_range is None
    assert "the first 2 of the 3 selected units are drawn" in model.notes
    assert any("a split is of the spikes of all segments" in note for note in model.notes)


def test_nothing_to_split_where_amplitudes_are_unknown():
    made = curated_units()
    other = explain_like(made.sorting, made, name="other")
    assert [one.kind for one in suggest(other)] == ["label"]
    model = model_of(other, selected=[2])
    assert model.threshold is None
    assert any("amplitudes of other are unknown" in note for note in model.notes)


def test_no_units_one_unit_and_no_selection():
    assert model_of(curated_units(num_units=0)).empty == NO_UNITS
    alone = model_of(curated_units(num_units=1), selected=[0])
    assert alone.empty == ""
    assert alone.summary == "1 unit"
    assert suggest(curated_units(num_units=0)) == []
    assert model_of(curated_units()).detail.split_range is None
    pack(model_of(curated_units(num_units=0)))
