"""Claims about the M-step for the atoms: the least squares of the traces at a fixed code."""

import numpy as np
import pytest
import torch
from drawing import draw_on
from hypothesis import given, settings
from hypothesis import strategies as st

from si_crsae.core import maximization as maximization_module
from si_crsae.core import synthesize
from si_crsae.core.maximization import NormalEquations, normal_equations, update_atoms

seeds = st.integers(0, 2**16)
shapes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6))
few_examples = settings(max_examples=30)


def with_unit_norm(atoms):
    return torch.nn.functional.normalize(atoms.flatten(1)).view_as(atoms)


def draw_problem(device, seed, *, shape=(3, 2, 5), num_windows=4, num_shifts=60, density=0.15):
    """Return a sparse code, unrelated traces, and unit-norm atoms (atom, channel, width)."""
    draw = draw_on(device, seed)
    values = draw(num_windows, shape[0], num_shifts)
    is_event = draw_on(device, seed, kind=torch.rand, dtype=torch.float32)(*values.shape) < density
    traces = draw(num_windows, shape[1], num_shifts + shape[2] - 1)
    return values * is_event, traces, with_unit_norm(draw(*shape))


def design_matrix(code, width):
    """Return what the atoms of one channel are multiplied by, (window * sample, atom * width)."""
    num_windows, num_atoms, num_shifts = code.shape
    matrix = np.zeros((num_windows, num_shifts + width - 1, num_atoms, width))
    for delay in range(width):
        matrix[:, delay : delay + num_shifts, :, delay] = code.cpu().numpy().transpose(0, 2, 1)
    return matrix.reshape(-1, num_atoms * width)


def least_squares_atoms(device, code, traces, shape):
    """Return the unit-norm atoms that explain the traces best, channel by channel."""
    num_atoms, num_channels, width = shape
    observed = traces.cpu().numpy().transpose(0, 2, 1).reshape(-1, num_channels)
    solved, _, rank, _ = np.linalg.lstsq(design_matrix(code, width), observed, rcond=None)
    assert rank == num_atoms * width
    return with_unit_norm(
        torch.from_numpy(solved.reshape(num_atoms, width, num_channels).transpose(0, 2, 1).copy()).to(device)
    )


def update_from(code, traces, atoms):
    return update_atoms(normal_equations(code, traces), atoms)


@few_examples
@given(seed=seeds, shape=shapes, num_shifts=st.integers(1, 12), density=st.sampled_from([0.1, 0.5, 1.0]))
def test_the_normal_equations_are_the_sums_that_they_stand_for(device, seed, shape, num_shifts, density):
    num_atoms, num_channels, width = shape
    code, traces, _ = draw_problem(device, seed, shape=shape, num_shifts=num_shifts, density=density)
    products, averages = np.zeros((num_atoms, num_atoms, 2 * width - 1)), np.zeros(shape)
    code_values, values = code.cpu().numpy(), traces.cpu().numpy()
    for window, atom, shift in np.ndindex(*code.shape):
        averages[atom] += code_values[window, atom, shift] * values[window, :, shift : shift + width]
        for other, lag in np.ndindex(num_atoms, 2 * width - 1):
            partner = shift + lag - (width - 1)
            if 0 <= partner < num_shifts:
                products[atom, other, lag] += code_values[window, atom, shift] * code_values[window, other, partner]
    equations = normal_equations(code, traces)
    np.testing.assert_allclose(equations.products, products, atol=1e-12)
    np.testing.assert_allclose(equations.averages, averages, atol=1e-12)


@few_examples
@given(seed=seeds, cut=st.integers(0, 4))
def test_the_normal_equations_of_two_sets_of_windows_add_up(device, seed, cut):
    code, traces, _ = draw_problem(device, seed)
    whole = normal_equations(code, traces)
    joined = normal_equations(code[:cut], traces[:cut]) + normal_equations(code[cut:], traces[cut:])
    np.testing.assert_allclose(joined.products, whole.products, atol=1e-12)
    np.testing.assert_allclose(joined.averages, whole.averages, atol=1e-12)


def test_float32_codes_and_traces_are_summed_in_float64(device):
    code, traces, atoms = (tensor.float() for tensor in draw_problem(device, 0))
    equations, doubles = normal_equations(code, traces), normal_equations(code.double(), traces.double())
    assert equations.products.dtype == equations.averages.dtype == np.float64
    np.testing.assert_allclose(equations.products, doubles.products, atol=1e-12)
    np.testing.assert_allclose(equations.averages, doubles.averages, atol=1e-12)
    assert update_atoms(equations, atoms).dtype == torch.float32


@few_examples
@given(seed=seeds, shape=shapes)
def test_the_updated_atoms_are_those_of_least_squares(device, seed, shape):
    code, traces, atoms = draw_problem(device, seed, shape=shape)
    expected = least_squares_atoms(device, code, traces, shape)
    torch.testing.assert_close(update_from(code, traces, atoms), expected, atol=1e-4, rtol=0)


@few_examples
@given(seed=seeds, shape=shapes)
def test_true_codes_without_noise_give_back_the_true_atoms(device, seed, shape):
    code, _, atoms = draw_problem(device, seed, shape=shape)
    first = with_unit_norm(draw_on(device, seed + 1)(*shape))
    torch.testing.assert_close(update_from(code, synthesize(code, atoms), first), atoms, atol=1e-4, rtol=0)


@few_examples
@given(seed=seeds, factor=st.floats(1e-3, 1e3))
def test_the_unit_of_the_traces_does_not_matter(device, seed, factor):
    code, traces, atoms = draw_problem(device, seed)
    scaled = update_from(factor * code, factor * traces, atoms)
    torch.testing.assert_close(scaled, update_from(code, traces, atoms), atol=1e-9, rtol=0)


@few_examples
@given(seed=seeds, unused=st.integers(0, 2))
def test_an_atom_without_a_code_stays_and_the_others_are_those_found_without_it(device, seed, unused):
    code, traces, atoms = draw_problem(device, seed)
    code[:, unused] = 0
    others = [atom for atom in range(3) if atom != unused]
    updated = update_from(code, traces, atoms)
    assert torch.equal(updated[unused], atoms[unused])
    torch.testing.assert_close(updated[others], update_from(code[:, others], traces, atoms[others]))


@pytest.mark.parametrize("num_windows", [0, 4])
def test_an_empty_code_returns_the_atoms(device, num_windows):
    code, traces, atoms = draw_problem(device, 0, num_windows=num_windows)
    before = atoms.clone()
    assert torch.equal(update_from(0 * code, traces, atoms), before)


def test_the_atoms_are_left_as_they_were(device):
    code, traces, atoms = draw_problem(device, 0)
    before = atoms.clone()
    assert not torch.allclose(update_from(code, traces, atoms), before)
    assert torch.equal(atoms, before)


def test_two_atoms_that_always_fire_together_stay_apart(device):
    """Their sum is all that the traces tell; the rest is left as it was, instead of a division by zero."""
    code, _, atoms = draw_problem(device, 0, shape=(2, 2, 5))
    code[:, 1] = code[:, 0]
    updated = update_from(code, synthesize(code, atoms), atoms)
    torch.testing.assert_close(updated, atoms, atol=1e-6, rtol=0)


def test_without_a_compiler_the_normal_equations_are_the_same(device, monkeypatch):
    code, traces, _ = draw_problem(device, 0)
    compiled = normal_equations(code, traces)
    accumulate = maximization_module._accumulate
    monkeypatch.setattr(maximization_module, "_accumulate", getattr(accumulate, "py_func", accumulate))
    plain = normal_equations(code, traces)
    assert isinstance(plain, NormalEquations)
    np.testing.assert_allclose(plain.products, compiled.products, atol=1e-12)
    np.testing.assert_allclose(plain.averages, compiled.averages, atol=1e-12)
