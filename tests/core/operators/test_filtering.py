"""Claims about correlating through the temporal components, and about the correlations between atoms."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from si_crsae.core import Gram, component_lags, correlate, correlate_filtered, filter_with_basis
from si_crsae.core.operators.filtering import _filter_by_product
from si_crsae.core.operators.gram import MIN_SIMILARITY

seeds = st.integers(0, 2**16)
shapes = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
few_examples = settings(max_examples=20)


def draw_traces(device, seed, num_channels, num_samples):
    return torch.randn(num_channels, num_samples, generator=torch.Generator().manual_seed(seed)).to(device)


def draw_occupied(seed, num_atoms, num_channels, *, share):
    """Return which channels each atom lives on: at least one."""
    generator = np.random.default_rng(seed)
    occupied = generator.random((num_atoms, num_channels)) < share
    occupied[np.arange(num_atoms), generator.integers(num_channels, size=num_atoms)] = True
    return occupied


@few_examples
@given(num_channels=st.integers(1, 3), width=st.integers(3, 9), num_shifts=st.integers(1, 100), seed=seeds)
def test_filtering_correlates_every_channel_with_every_component(
    device, draw_dictionary, num_channels, width, num_shifts, seed
):
    basis = draw_dictionary(seed, width=width, device=device).basis
    traces = draw_traces(device, seed, num_channels, num_shifts + width - 1)
    expected = (traces.unfold(1, width, 1) @ basis.T).transpose(1, 2)
    torch.testing.assert_close(filter_with_basis(traces, basis), expected)
    torch.testing.assert_close(_filter_by_product(traces, basis, num_shifts), expected)


def test_filtering_refuses_traces_shorter_than_the_atoms(device, draw_dictionary):
    with pytest.raises(ValueError, match="num_samples = 5: a window must be at least as long as the atoms"):
        filter_with_basis(torch.zeros(2, 5, device=device), draw_dictionary(0, width=6, device=device).basis)


@few_examples
@given(shape=shapes, width=st.integers(3, 9), seed=seeds)
def test_correlation_through_the_components_equals_the_direct_one(device, draw_dictionary, shape, width, seed):
    dictionary = draw_dictionary(seed, shape=shape, width=width, device=device)
    traces = draw_traces(device, seed, shape[1], 50)
    correlation = correlate_filtered(filter_with_basis(traces, dictionary.basis), dictionary.weights)
    torch.testing.assert_close(correlation, correlate(traces[None], dictionary.atoms)[0], atol=1e-5, rtol=0)


@few_examples
@given(num_atoms=st.integers(1, 12), seed=seeds)
def test_correlation_on_many_channels_equals_the_direct_one(device, draw_dictionary, num_atoms, seed):
    occupied = draw_occupied(seed, num_atoms, 60, share=0.01)
    assert occupied.mean() < 0.1  # else the dense product would be tested again
    dictionary = draw_dictionary(seed, shape=(num_atoms, 60, 3), occupied=occupied, device=device)
    traces = draw_traces(device, seed, 60, 50)
    correlation = correlate_filtered(filter_with_basis(traces, dictionary.basis), dictionary.weights)
    torch.testing.assert_close(correlation, correlate(traces[None], dictionary.atoms)[0], atol=1e-5, rtol=0)


@few_examples
@given(width=st.integers(3, 9), seed=seeds)
def test_component_lags_delay_the_second_component(device, draw_dictionary, width, seed):
    basis = draw_dictionary(seed, width=width, device=device).basis
    expected = [
        [np.correlate(first, second, "full") for second in basis.cpu().numpy()] for first in basis.cpu().numpy()
    ]
    np.testing.assert_allclose(component_lags(basis).cpu().numpy(), expected, atol=1e-6)


@few_examples
@given(shape=shapes, width=st.integers(3, 9), seed=seeds)
def test_gram_holds_the_correlations_of_the_atoms_at_every_lag(device, draw_dictionary, shape, width, seed):
    dictionary = draw_dictionary(seed, shape=shape, width=width, device=device)
    atoms, gram = dictionary.atoms.cpu().numpy(), Gram.of(dictionary)
    for first, second in np.ndindex(shape[0], shape[0]):
        expected = sum(np.correlate(*channel, "full") for channel in zip(atoms[first], atoms[second], strict=True))
        np.testing.assert_allclose(gram.values[gram.pair_index[first, second]], expected, atol=1e-6)


@few_examples
@given(num_atoms=st.integers(1, 6), seed=seeds)
def test_gram_pairs_the_atoms_that_share_a_channel(device, draw_dictionary, num_atoms, seed):
    occupied = draw_occupied(seed, num_atoms, 6, share=0.2)
    gram = Gram.of(draw_dictionary(seed, shape=(num_atoms, 6, 3), occupied=occupied, device=device))
    meets = (occupied[:, None] & occupied[None]).any(axis=2)
    np.testing.assert_array_equal(gram.pair_index >= 0, meets)
    assert len(gram.values) == len(gram.neighbors) == meets.sum()
    for atom in range(num_atoms):
        pairs = np.arange(gram.neighbor_start[atom], gram.neighbor_start[atom + 1])
        np.testing.assert_array_equal(gram.neighbors[pairs], np.flatnonzero(meets[atom]))
        np.testing.assert_array_equal(gram.pair_index[atom, gram.neighbors[pairs]], pairs)


@few_examples
@given(num_atoms=st.integers(1, 6), seed=seeds)
def test_gram_lists_similar_atoms_with_the_delay_at_which_they_are_most_alike(device, draw_dictionary, num_atoms, seed):
    dictionary = draw_dictionary(seed, shape=(num_atoms, 2, 2), device=device)
    gram, atoms = Gram.of(dictionary), dictionary.atoms
    padded = torch.nn.functional.pad(atoms, (dictionary.width - 1, dictionary.width - 1))
    highest, shift = correlate(padded, atoms).cpu().max(dim=2)
    for atom in range(num_atoms):
        rows = slice(gram.similar_start[atom], gram.similar_start[atom + 1])
        expected = (highest[atom] >= MIN_SIMILARITY).nonzero().flatten()
        np.testing.assert_array_equal(gram.similar_atom[rows], expected)
        np.testing.assert_array_equal(gram.similar_lag[rows], shift[atom, expected] - (dictionary.width - 1))
