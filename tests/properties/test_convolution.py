"""Claims about the convolution, its adjoint and the bound on its norm."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from si_crsae.core import correlate, count_shifts, lipschitz_bound, synthesize

dictionary_shapes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 9))
seeds = st.integers(0, 2**16)


def draw_with(seed):
    return partial(torch.randn, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def explicit_matrix(atoms, num_shifts):
    """Return H, one column per coefficient, built by placing shifted copies of the atoms."""
    num_atoms, num_channels, width = atoms.shape
    matrix = np.zeros((num_channels, num_shifts + width - 1, num_atoms, num_shifts))
    for shift in range(num_shifts):
        matrix[:, shift : shift + width, :, shift] = atoms.numpy().transpose(1, 2, 0)
    return matrix.reshape(-1, num_atoms * num_shifts)


@given(shape=dictionary_shapes, seed=seeds)
def test_correlate_is_the_adjoint_of_synthesize(shape, seed):
    num_atoms, num_channels, width = shape
    draw = draw_with(seed)
    atoms, code, traces = draw(*shape), draw(2, num_atoms, 20), draw(2, num_channels, 19 + width)
    torch.testing.assert_close((synthesize(code, atoms) * traces).sum(), (code * correlate(traces, atoms)).sum())


@given(shape=dictionary_shapes, seed=seeds)
def test_synthesize_multiplies_by_the_matrix_of_shifted_atoms(shape, seed):
    draw = draw_with(seed)
    atoms, code = draw(*shape), draw(2, shape[0], 6)
    expected = code.flatten(1).numpy() @ explicit_matrix(atoms, 6).T
    np.testing.assert_allclose(synthesize(code, atoms).flatten(1).numpy(), expected, atol=1e-12)


def test_correlate_peaks_at_the_first_sample_of_an_event():
    atoms = draw_with(0)(1, 2, 5)
    code = torch.zeros(1, 1, 16, dtype=torch.float64)
    code[0, 0, 7] = 1.0
    assert correlate(synthesize(code, atoms), atoms).argmax() == 7


@given(seed=seeds, offset=st.integers(1, 5))
def test_synthesize_is_shift_equivariant(seed, offset):
    draw = draw_with(seed)
    atoms, code = draw(3, 2, 4), draw(1, 3, 10)
    later = torch.nn.functional.pad(code, (offset, 0))
    torch.testing.assert_close(synthesize(later, atoms)[..., offset:], synthesize(code, atoms))


@given(shape=dictionary_shapes, seed=seeds)
def test_lipschitz_bound_is_above_the_eigenvalues_of_every_window_length(shape, seed):
    atoms = draw_with(seed)(*shape)
    largest = max(np.linalg.norm(explicit_matrix(atoms, num_shifts), ord=2) ** 2 for num_shifts in (1, 5, 40))
    assert largest <= float(lipschitz_bound(atoms)) * (1 + 1e-12)


@given(shape=dictionary_shapes, seed=seeds)
def test_lipschitz_bound_is_at_most_two_percent_above_a_fine_frequency_grid(shape, seed):
    atoms = draw_with(seed)(*shape)
    transfer = np.fft.fft(atoms.numpy(), n=4096, axis=2).transpose(2, 0, 1)
    on_grid = np.linalg.svd(transfer, compute_uv=False).max() ** 2
    assert on_grid * (1 - 1e-12) <= float(lipschitz_bound(atoms)) <= 1.02 * on_grid


def test_lipschitz_bound_covers_a_peak_between_two_frequencies_of_its_grid():
    width = 8
    halfway = 2 * torch.pi * 20.5 / (16 * width)
    atom = torch.cos(halfway * torch.arange(width, dtype=torch.float64))[None, None]
    true_maximum = np.abs(np.fft.rfft(atom.numpy(), n=2**16)).max() ** 2
    assert float(lipschitz_bound(atom)) >= true_maximum


@pytest.mark.parametrize("seed", range(3))
def test_the_convolutions_have_the_right_gradients(seed):
    draw = draw_with(seed)
    atoms, code, traces = draw(2, 2, 3).requires_grad_(), draw(1, 2, 4).requires_grad_(), draw(1, 2, 6).requires_grad_()
    assert torch.autograd.gradcheck(synthesize, (code, atoms))
    assert torch.autograd.gradcheck(correlate, (traces, atoms))
    assert torch.autograd.gradcheck(lipschitz_bound, (atoms,))


def test_a_window_shorter_than_the_atoms_is_refused():
    with pytest.raises(ValueError, match=r"num_samples = 4: .* at least as long as the atoms, 5 samples"):
        correlate(torch.zeros(1, 1, 4), torch.zeros(1, 1, 5))
    assert count_shifts(5, width=5) == 1
