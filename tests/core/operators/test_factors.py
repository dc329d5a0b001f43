"""Claims about the atoms' own factors: they give the correlation that the atoms give."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from si_crsae.core import Dictionary, correlate
from si_crsae.core.operators import factors as factors_module
from si_crsae.core.operators.factors import ROWS_PER_GROUP, correlate_factored, factor_atoms

seeds = st.integers(0, 2**16)
few_examples = settings(max_examples=20)
with_and_without_numba = pytest.mark.parametrize("has_numba", [True, False])


def draw_traces(seed, num_channels, num_samples):
    return torch.randn(num_channels, num_samples, generator=torch.Generator().manual_seed(seed))


@with_and_without_numba
@few_examples
@given(seed=seeds, num_atoms=st.integers(1, 5), width=st.integers(3, 20), extra=st.integers(0, 60))
def test_the_correlation_is_that_of_the_atoms(draw_dictionary, has_numba, seed, num_atoms, width, extra):
    dictionary = draw_dictionary(seed, shape=(num_atoms, 3, 3), width=width)
    traces = draw_traces(seed, 3, width + extra)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factors_module, "HAS_NUMBA", has_numba)
        correlation = correlate_factored(traces, factor_atoms(dictionary))
    torch.testing.assert_close(correlation, correlate(traces[None], dictionary.atoms)[0], rtol=1e-4, atol=1e-4)


@with_and_without_numba
def test_many_local_atoms_of_any_order_go_to_their_own_rows(draw_dictionary, monkeypatch, has_numba):
    monkeypatch.setattr(factors_module, "HAS_NUMBA", has_numba)
    centers = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    occupied = (centers[:, None] - torch.arange(40)).abs() <= 2
    dictionary = draw_dictionary(1, shape=(40, 40, 5), width=11, occupied=occupied)
    groups = factor_atoms(dictionary)
    assert sorted(atom for group in groups for atom in group.atom_index.tolist()) == list(range(40))
    assert all(len(group.spatial) <= ROWS_PER_GROUP + 40 for group in groups)
    assert all(len(group.channels) < 40 for group in groups)
    traces = draw_traces(0, 40, 2100)
    expected = correlate(traces[None], dictionary.atoms)[0]
    torch.testing.assert_close(correlate_factored(traces, groups), expected, rtol=1e-4, atol=1e-4)


def test_an_atom_of_low_rank_has_few_rows():
    weights = torch.zeros(2, 3, 3)
    weights[0] = torch.outer(torch.tensor([0.6, 0.8, 0.0]), torch.tensor([0.0, 1.0, 0.0]))
    weights[1] = torch.eye(3) / 3**0.5
    dictionary = Dictionary(weights=weights, basis=torch.eye(3, 7), scales=torch.ones(2), num_before=2)
    (group,) = factor_atoms(dictionary)
    assert group.atom_index.tolist() == [1, 0]  # by main channel
    assert group.row_start.tolist() == [0, 4, 6]  # ranks 3 and 1, each filled up to an even number


def test_traces_shorter_than_the_atoms_are_refused(draw_dictionary):
    with pytest.raises(ValueError, match="a window must be at least as long as the atoms"):
        correlate_factored(torch.zeros(2, 5), factor_atoms(draw_dictionary(0)))
