"""Claims about the convolution, its adjoint and the bound on its norm."""

import numpy as np
import pytest
import torch
from drawing import draw_on
from hypothesis import given, settings
from hypothesis import strategies as st

from si_crsae.core import atom_correlations, correlate, count_shifts, lipschitz_bound, synthesize

dictionary_shapes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 9))
image_dictionary_shapes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5))
few_examples = settings(max_examples=30)
seeds = st.integers(0, 2**16)


def explicit_matrix(atoms, num_shifts):
    """Return H, one column per coefficient, built by placing shifted copies of the atoms."""
    num_atoms, num_channels, width = atoms.shape
    matrix = np.zeros((num_channels, num_shifts + width - 1, num_atoms, num_shifts))
    for shift in range(num_shifts):
        matrix[:, shift : shift + width, :, shift] = atoms.cpu().numpy().transpose(1, 2, 0)
    return matrix.reshape(-1, num_atoms * num_shifts)


@given(shape=dictionary_shapes, seed=seeds)
def test_correlate_is_the_adjoint_of_synthesize(device, shape, seed):
    num_atoms, num_channels, width = shape
    draw = draw_on(device, seed)
    atoms, code, traces = draw(*shape), draw(2, num_atoms, 20), draw(2, num_channels, 19 + width)
    torch.testing.assert_close((synthesize(code, atoms) * traces).sum(), (code * correlate(traces, atoms)).sum())


@given(shape=image_dictionary_shapes, seed=seeds)
def test_correlate_is_the_adjoint_of_synthesize_for_images(device, shape, seed):
    num_atoms, num_channels, height, width = shape
    draw = draw_on(device, seed)
    atoms, code, images = draw(*shape), draw(2, num_atoms, 7, 9), draw(2, num_channels, 6 + height, 8 + width)
    torch.testing.assert_close((synthesize(code, atoms) * images).sum(), (code * correlate(images, atoms)).sum())


@given(shape=image_dictionary_shapes, seed=seeds)
def test_synthesize_places_the_first_pixel_of_an_atom_at_its_row_and_column(device, shape, seed):
    draw = draw_on(device, seed)
    atoms, code = draw(*shape), draw(2, shape[0], 3, 4)
    expected = np.zeros((2, shape[1], 2 + shape[2], 3 + shape[3]))
    for row, column in np.ndindex(3, 4):
        patch = np.einsum("ba,achw->bchw", code[:, :, row, column].cpu().numpy(), atoms.cpu().numpy())
        expected[:, :, row : row + shape[2], column : column + shape[3]] += patch
    np.testing.assert_allclose(synthesize(code, atoms).cpu().numpy(), expected, atol=1e-12)


@given(shape=dictionary_shapes, seed=seeds)
def test_images_of_one_row_are_traces(device, shape, seed):
    draw = draw_on(device, seed)
    atoms, code = draw(*shape), draw(2, shape[0], 12)
    traces = synthesize(code, atoms)
    torch.testing.assert_close(synthesize(code[:, :, None], atoms[:, :, None])[:, :, 0], traces)
    torch.testing.assert_close(correlate(traces[:, :, None], atoms[:, :, None])[:, :, 0], correlate(traces, atoms))
    bound = lipschitz_bound(atoms)
    torch.testing.assert_close(lipschitz_bound(atoms[:, :, None]), bound)
    torch.testing.assert_close(lipschitz_bound(atoms[:, :, :, None]), bound)


@given(shape=dictionary_shapes, seed=seeds, num_shifts=st.integers(1, 20))
def test_the_correlations_of_the_atoms_are_the_entries_of_the_gram_matrix(device, shape, seed, num_shifts):
    atoms = draw_on(device, seed)(*shape)
    matrix = explicit_matrix(atoms, num_shifts)
    gram = (matrix.T @ matrix).reshape(shape[0], num_shifts, shape[0], num_shifts)
    correlations, reach = atom_correlations(atoms).cpu().numpy(), shape[2] - 1
    assert correlations.shape == (shape[0], shape[0], 2 * reach + 1)
    for first, second in np.ndindex(num_shifts, num_shifts):
        lag = second - first
        expected = correlations[:, :, reach + lag] if abs(lag) <= reach else np.zeros((shape[0], shape[0]))
        np.testing.assert_allclose(gram[:, first, :, second], expected, atol=1e-12)


@given(shape=dictionary_shapes, seed=seeds)
def test_synthesize_multiplies_by_the_matrix_of_shifted_atoms(device, shape, seed):
    draw = draw_on(device, seed)
    atoms, code = draw(*shape), draw(2, shape[0], 6)
    expected = code.flatten(1).cpu().numpy() @ explicit_matrix(atoms, 6).T
    np.testing.assert_allclose(synthesize(code, atoms).flatten(1).cpu().numpy(), expected, atol=1e-12)


def test_correlate_peaks_at_the_first_sample_of_an_event(device):
    atoms = draw_on(device, 0)(1, 2, 5)
    code = torch.zeros(1, 1, 16, dtype=torch.float64, device=device)
    code[0, 0, 7] = 1.0
    assert correlate(synthesize(code, atoms), atoms).argmax() == 7


@given(seed=seeds, offset=st.integers(1, 5))
def test_synthesize_is_shift_equivariant(device, seed, offset):
    draw = draw_on(device, seed)
    atoms, code = draw(3, 2, 4), draw(1, 3, 10)
    later = torch.nn.functional.pad(code, (offset, 0))
    torch.testing.assert_close(synthesize(later, atoms)[..., offset:], synthesize(code, atoms))


@given(shape=dictionary_shapes, seed=seeds)
def test_lipschitz_bound_is_above_the_eigenvalues_of_every_window_length(device, shape, seed):
    atoms = draw_on(device, seed)(*shape)
    largest = max(np.linalg.norm(explicit_matrix(atoms, num_shifts), ord=2) ** 2 for num_shifts in (1, 5, 40))
    assert largest <= float(lipschitz_bound(atoms)) * (1 + 1e-12)


@given(shape=dictionary_shapes, seed=seeds)
def test_lipschitz_bound_is_at_most_two_percent_above_a_fine_frequency_grid(device, shape, seed):
    atoms = draw_on(device, seed)(*shape)
    transfer = np.fft.fft(atoms.cpu().numpy(), n=4096, axis=2).transpose(2, 0, 1)
    on_grid = np.linalg.svd(transfer, compute_uv=False).max() ** 2
    assert on_grid * (1 - 1e-12) <= float(lipschitz_bound(atoms)) <= 1.02 * on_grid


@few_examples
@given(shape=image_dictionary_shapes, seed=seeds, num_shifts=st.tuples(st.integers(1, 12), st.integers(1, 12)))
def test_lipschitz_bound_is_above_what_power_iteration_finds_for_images(device, shape, seed, num_shifts):
    draw = draw_on(device, seed)
    atoms, code = draw(*shape), draw(1, shape[0], *num_shifts)
    for _ in range(100):
        code = correlate(synthesize(code / code.norm(), atoms), atoms)
    assert float(code.norm()) <= float(lipschitz_bound(atoms)) * (1 + 1e-12)


@few_examples
@given(shape=image_dictionary_shapes, seed=seeds)
def test_lipschitz_bound_of_images_is_at_most_two_percent_per_axis_above_a_fine_frequency_grid(device, shape, seed):
    atoms = draw_on(device, seed)(*shape)
    transfer = np.fft.fft2(atoms.cpu().numpy(), s=(128, 128)).transpose(2, 3, 0, 1)
    on_grid = np.linalg.norm(transfer, ord=2, axis=(2, 3)).max() ** 2
    assert on_grid * (1 - 1e-12) <= float(lipschitz_bound(atoms)) <= 1.02**2 * on_grid


def test_lipschitz_bound_covers_a_peak_between_two_frequencies_of_its_grid(device):
    width = 8
    halfway = 2 * torch.pi * 20.5 / (16 * width)
    atom = torch.cos(halfway * torch.arange(width, dtype=torch.float64, device=device))[None, None]
    true_maximum = np.abs(np.fft.rfft(atom.cpu().numpy(), n=2**16)).max() ** 2
    assert float(lipschitz_bound(atom)) >= true_maximum


@pytest.mark.parametrize("seed", range(3))
def test_the_convolutions_have_the_right_gradients(device, seed):
    draw = draw_on(device, seed)
    atoms, code, traces = draw(2, 2, 3).requires_grad_(), draw(1, 2, 4).requires_grad_(), draw(1, 2, 6).requires_grad_()
    assert torch.autograd.gradcheck(synthesize, (code, atoms))
    assert torch.autograd.gradcheck(correlate, (traces, atoms))
    assert torch.autograd.gradcheck(lipschitz_bound, (atoms,))
    assert torch.autograd.gradcheck(atom_correlations, (atoms,))
    atoms, code, images = draw(2, 2, 2, 3).requires_grad_(), draw(1, 2, 3, 2).requires_grad_(), draw(1, 2, 4, 4)
    assert torch.autograd.gradcheck(synthesize, (code, atoms))
    assert torch.autograd.gradcheck(correlate, (images.requires_grad_(), atoms))


def test_a_window_shorter_than_the_atoms_is_refused():
    with pytest.raises(ValueError, match=r"num_samples = 4: .* at least as long as the atoms, 5 samples"):
        correlate(torch.zeros(1, 1, 4), torch.zeros(1, 1, 5))
    with pytest.raises(ValueError, match=r"num_samples = 4: .* at least as long as the atoms, 5 samples"):
        correlate(torch.zeros(1, 1, 9, 4), torch.zeros(1, 1, 5, 5))
    assert count_shifts(5, width=5) == 1
