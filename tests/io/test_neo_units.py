"""Ids and properties of units from annotations of any type: each unit keeps its own id, or the import is refused."""

import neo
import numpy as np
import pytest
import quantities as pq
from hypothesis import given
from hypothesis import strategies as st

from si_crsae.io.neo import sorting_from_neo, to_neo

IDS = st.one_of(
    st.integers(-3, 12),
    st.integers(-3, 12).map(str),
    st.integers(),
    st.text(max_size=3),
    st.booleans(),
    st.none(),
    st.floats(-3, 12),
    st.sampled_from([1.0, "1.0", b"1", "1\0", "a", "a\0", float("nan"), float("inf"), 2**63, -(2**63)]),
    st.integers(-3, 12).map(np.int16),
    st.integers(-3, 12).map(np.float32),
    st.integers(-3, 12).map(lambda number: np.array([number])),
    st.integers(-3, 12).map(lambda number: number * pq.dimensionless),
    st.integers(-3, 12).map(lambda number: number * pq.ms),
    st.text("ab", max_size=2).map(np.str_),
    st.text("ab", max_size=2).map(lambda text: np.array([text])),
    st.text("ab", max_size=2).map(str.encode),
)


def make_train(time_ms=1.0, **annotations):
    train = neo.SpikeTrain([time_ms], units="ms", t_stop=1000.0)
    train.annotations.update(annotations)
    return train


@given(ids=st.lists(IDS, max_size=5))
def test_each_train_is_a_unit_of_its_own_or_refused(ids):
    trains = [make_train(1.0 + position, unit_id=unit_id) for position, unit_id in enumerate(ids)]
    try:
        sorting = sorting_from_neo(trains, sampling_frequency=1000.0)
    except ValueError as error:
        assert "unit_id = " in str(error)  # noqa: PT017 (whether it is raised is not known)
        return
    assert len(set(sorting.unit_ids.tolist())) == len(ids) == sorting.get_num_units()
    assert sorting.unit_ids.dtype.kind in "iU"
    for position, unit_id in enumerate(sorting.unit_ids):
        assert sorting.get_unit_spike_train(unit_id).tolist() == [1 + position]


@pytest.mark.parametrize("in_two_segments", [False, True])
def test_1_and_the_string_1_are_not_one_unit(in_two_segments):
    trains = [make_train(unit_id=1), make_train(unit_id="1")]
    with pytest.raises(ValueError, match="unit_id = 1 and '1': ids of a sorting are all .* annotate ids of one type"):
        sorting_from_neo([[train] for train in trains] if in_two_segments else trains, sampling_frequency=1000.0)


@pytest.mark.parametrize(
    ("annotation", "unit_id"),
    [
        (np.int16(3), 3),
        (3.0, 3),
        (np.array([3]), 3),
        ([3], 3),
        (np.array(3.0), 3),
        (3 * pq.dimensionless, 3),
        (np.str_("a"), "a"),
        (np.array(["a"]), "a"),
        ("ü 3", "ü 3"),
        ("ü".encode(), "ü"),
        ("3", "3"),
    ],
)
def test_ids_are_what_they_say_whatever_their_type(annotation, unit_id):
    assert sorting_from_neo([make_train(unit_id=annotation)], sampling_frequency=1e3).unit_ids.tolist() == [unit_id]


@pytest.mark.parametrize("annotation", [0.5, True, None, np.nan, 2**63, [1, 2], 3 * pq.ms, "a\0", 1j, {}])
def test_ids_that_are_none_are_refused(annotation):
    with pytest.raises(ValueError, match="unit_id = .* on a spike train: must be an integer or a string; annotate"):
        sorting_from_neo([make_train(unit_id=annotation)], sampling_frequency=1e3)


def test_where_some_ids_are_strings_all_become_strings():
    sorting = sorting_from_neo([make_train(unit_id=1), make_train(unit_id="a")], sampling_frequency=1e3)
    assert sorting.unit_ids.tolist() == ["1", "a"]
    assert sorting_from_neo(to_neo(sorting)).unit_ids.tolist() == ["1", "a"]


def properties(*annotations):
    trains = [make_train(unit_id=unit, **given) for unit, given in enumerate(annotations)]
    sorting = sorting_from_neo(trains, sampling_frequency=1e3)
    return {key: sorting.get_property(key).tolist() for key in sorting.get_property_keys()}


def test_whole_and_other_numbers_are_one_property():
    assert properties({"snr": 3}, {"snr": 3.5}) == {"snr": [3.0, 3.5]}
    assert properties({"snr": 3, "huge": 2**64}, {"snr": True, "huge": -1}) == {}


def test_what_differs_from_segment_to_segment_is_no_property_of_the_unit():
    first, second = make_train(unit_id=1, depth=3.0, file="a", nothing=np.nan), make_train(
        unit_id=1, depth=3, file="b", nothing=np.nan
    )  # fmt: skip
    sorting = sorting_from_neo([[first], [second]], sampling_frequency=1e3)
    assert set(sorting.get_property_keys()) == {"depth", "nothing"}


@pytest.mark.parametrize("name", ["/tmp/escaped", "../escaped", "a\\b", "c:escaped", "a\0b", "", "..", "NUL"])
def test_annotations_that_would_be_files_elsewhere_are_refused(name):
    message = "annotation of a spike train = .*: it would be the name of a property.*; choose a name"
    with pytest.raises(ValueError, match=message):
        properties({name: 1.0}, {name: 2.0})
    assert properties({name: 1.0}, {}) == {}  # one that becomes no property may be called as it likes


def test_what_is_imported_is_saved_inside_its_folder(tmp_path):
    trains = [make_train(unit_id=1, **{"../escaped": 1.0, "depth": 2.0})]
    with pytest.raises(ValueError, match="'../escaped'"):
        sorting_from_neo(trains, sampling_frequency=1e3)
    del trains[0].annotations["../escaped"]
    sorting_from_neo(trains, sampling_frequency=1e3).save(folder=tmp_path / "outer" / "sorting")
    assert {path.name for path in tmp_path.rglob("*.npy")} == {"depth.npy", "spikes.npy"}
