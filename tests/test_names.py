"""A name that is let through is a file's in the folder where it belongs, and is read back as it was."""

import numpy as np
import pytest
import spikeinterface as si
from hypothesis import example, given
from hypothesis import strategies as st
from spikeinterface.core import NumpySorting

from si_crsae.names import check_property_name
from si_crsae.widgets.view_models.curation_file import apply_state, from_curation
from si_crsae.widgets.view_models.curation_state import CurationState, LabelDefinition

ESCAPES = [
    *("../../escaped", "/tmp/escaped", "..", ".", "a/b", "a\\b", "C:\\escaped", "c:escaped", "a\0b", "a\n", "\ud800"),
    *("", " ", "a.", " a", "NUL", "aux.x", "com¹", "contact_vector", "x" * 252, "é" * 126, 3, None, b"a"),
]
ORDINARY = ["snr", "main channel", "Qualité", "good?", "a..b", ".hidden", "x.npy", "~", "-rf", "é" * 125, "console"]


@pytest.fixture(scope="module")
def sorting():
    return NumpySorting.from_unit_dict([{1: np.array([5, 50]), 2: np.array([7, 70])}], 1000.0)


@given(name=st.one_of(st.text(), st.text("./\\ :ax~\0"), st.sampled_from(ORDINARY)))
@example(name="../x")
def test_a_name_let_through_is_saved_in_its_folder_and_read_back(name, sorting, tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    named = sorting.select_units([1, 2])
    try:
        named.set_property(check_property_name(name, argument="name"), ["a", "b"])
    except ValueError:
        return
    named.save(folder=folder / "outer" / "sorting")
    assert {path.name for path in folder.iterdir()} == {"outer"}
    assert si.load(folder / "outer" / "sorting").get_property(name).tolist() == ["a", "b"]


@pytest.mark.parametrize("name", ESCAPES)
def test_names_of_other_places_and_of_no_files_are_refused(name):
    with pytest.raises(ValueError, match="argument = .*: it would be the name of a property.*; choose a name"):
        check_property_name(name, argument="argument")


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_names_are_let_through(name):
    assert check_property_name(name, argument="argument") == name


@pytest.mark.parametrize("exclusive", [True, False])
def test_labels_do_not_lead_out_of_the_folder(sorting, exclusive):
    escaped = "../../escaped"
    name, options = ("quality", ("good", escaped)) if not exclusive else (escaped, ("good", "bad"))
    definition = LabelDefinition(name=name, options=options, exclusive=exclusive)
    with pytest.raises(ValueError, match=r"a label of definitions = '\.\./\.\./escaped'"):
        CurationState.of(sorting, definitions=[definition])
    curation = {
        "format_version": "2",
        "unit_ids": [1, 2],
        "label_definitions": {name: {"label_options": options, "exclusive": exclusive}},
        "manual_labels": [{"unit_id": 1, "labels": {name: [options[1]]}}],
    }
    with pytest.raises(ValueError, match=r"a label of definitions = '\.\./\.\./escaped'"):
        from_curation(curation, sorting)


def test_a_label_that_becomes_no_property_may_be_called_as_one_likes(sorting, tmp_path):
    definition = LabelDefinition(name="type", options=("in/out", "other"))
    state = CurationState.of(sorting, definitions=[definition])
    apply_state(sorting, state).save(folder=tmp_path / "sorting")
