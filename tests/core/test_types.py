from dataclasses import FrozenInstanceError

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from si_crsae.core import Dictionary, SparseEvents

located = st.tuples(st.integers(-50, 50), st.integers(0, 3), st.floats(0, 100, width=32))


def make_dictionary(device, **changes):
    fields = {
        "weights": torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.6], [0.8, 0.0]]], device=device),
        "basis": torch.eye(2, 5, device=device),
        "scales": torch.tensor([10.0, 20.0], device=device),
        "num_before": 2,
    }
    return Dictionary(**fields | changes)


def make_events(rows):
    """Return the events of (sample, atom, amplitude) rows."""
    samples, atoms, amplitudes = zip(*rows, strict=True) if rows else ((), (), ())
    return SparseEvents(
        sample_index=np.array(samples, "int64"),
        sample_offset=np.zeros(len(samples), "float32"),
        atom_index=np.array(atoms, "int64"),
        amplitude=np.array(amplitudes, "float32"),
    )


def rows_of(events):
    return list(zip(events.sample_index.tolist(), events.atom_index.tolist(), events.amplitude.tolist(), strict=True))


@pytest.fixture
def without_shape_checks(monkeypatch):
    """As for a user: only in tests do the annotations refuse first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def test_dictionary_builds_its_atoms_from_weights_and_basis(device):
    dictionary = make_dictionary(device)
    assert (dictionary.num_atoms, dictionary.width) == (2, 5)
    expected = torch.zeros(2, 2, 5, device=device)
    expected[0, 0, 0], expected[1, 0, 1], expected[1, 1, 0] = 1.0, 0.6, 0.8
    torch.testing.assert_close(dictionary.atoms, expected)
    torch.testing.assert_close(
        dictionary.templates, expected * torch.tensor([10.0, 20.0], device=device)[:, None, None]
    )


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"basis": torch.eye(3, 5)}, "weights have 2 components and the basis has 3; they must be equal"),
        ({"scales": torch.ones(3)}, "scales has 3 entries for 2 atoms"),
        ({"num_before": 5}, r"num_before = 5: must be in \[0, 5\)"),
        ({"num_before": -1}, r"num_before = -1: must be in \[0, 5\)"),
        ({"basis": 2 * torch.eye(2, 5)}, "rows must be orthonormal; orthonormalize them with torch.linalg.qr"),
    ],
)
def test_dictionary_refuses_what_does_not_fit_together(changes, message):
    with pytest.raises(ValueError, match=message):
        make_dictionary(torch.device("cpu"), **changes)


def test_from_coefficients_splits_templates_into_unit_atoms_and_amplitudes(device):
    coefficients = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.5, 0.0]]], device=device)
    dictionary = Dictionary.from_coefficients(coefficients, torch.eye(2, 5, device=device), num_before=1)
    torch.testing.assert_close(dictionary.scales, torch.tensor([5.0, 0.5], device=device))
    torch.testing.assert_close(dictionary.atoms.flatten(1).norm(dim=1), torch.ones(2, device=device))
    torch.testing.assert_close(dictionary.templates, coefficients @ torch.eye(2, 5, device=device))
    assert dictionary.num_before == 1


def test_from_coefficients_names_the_atoms_that_are_zero():
    coefficients = torch.zeros(3, 1, 2)
    coefficients[1] = 1.0
    with pytest.raises(ValueError, match=r"coefficients: atoms \[0, 2\] are zero; remove them"):
        Dictionary.from_coefficients(coefficients, torch.eye(2, 5), num_before=1)


@pytest.mark.usefixtures("without_shape_checks")
def test_events_refuse_arrays_of_different_lengths():
    two, one = np.zeros(2, "float32"), np.zeros(1, "int64")
    with pytest.raises(ValueError, match=r"one entry per event, but their shapes are .*'atom_index': \(1,\)"):
        SparseEvents(sample_index=np.arange(2), sample_offset=two, atom_index=one, amplitude=two)


def test_events_refuse_times_out_of_order():
    with pytest.raises(ValueError, match="sample_index must be sorted by time"):
        make_events([(5, 0, 1.0), (4, 0, 1.0)])


def test_events_cannot_be_reassigned():
    with pytest.raises(FrozenInstanceError):
        make_events([(5, 0, 1.0)]).sample_index = np.zeros(1, "int64")


def test_between_takes_the_start_and_leaves_the_end():
    events = make_events([(1, 0, 1.0), (3, 1, 2.0), (3, 2, 3.0), (5, 0, 4.0), (7, 0, 5.0)])
    assert rows_of(events.between(3, 7)) == [(3, 1, 2.0), (3, 2, 3.0), (5, 0, 4.0)]
    assert len(events.between(8, 20)) == 0


@pytest.mark.parametrize("mask", [np.array([True, False, True]), np.array([0, 2]), slice(0, 3, 2)])
def test_select_picks_the_same_events_by_mask_indices_or_slice(mask):
    events = make_events([(1, 0, 1.0), (3, 1, 2.0), (5, 2, 3.0)])
    assert rows_of(events.select(mask)) == [(1, 0, 1.0), (5, 2, 3.0)]


def test_shifted_moves_only_the_times():
    assert rows_of(make_events([(1, 0, 1.0), (3, 1, 2.0)]).shifted(-4)) == [(-3, 0, 1.0), (-1, 1, 2.0)]


@given(parts=st.lists(st.lists(located, max_size=5), max_size=4))
def test_concatenate_sorts_by_time_then_atom_and_loses_nothing(parts):
    joined = SparseEvents.concatenate([make_events(sorted(part)) for part in parts])
    rows = rows_of(joined)
    assert sorted(rows) == sorted(row for part in parts for row in part)
    assert [row[:2] for row in rows] == sorted(row[:2] for row in rows)


def test_no_events_have_the_types_of_some_events():
    none, some = SparseEvents.empty(), make_events([(1, 0, 1.0)])
    assert len(none) == len(SparseEvents.concatenate([])) == 0
    for name in ("sample_index", "sample_offset", "atom_index", "amplitude"):
        assert getattr(none, name).dtype == getattr(some, name).dtype
