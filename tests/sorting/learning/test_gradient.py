"""Claims about the M-step by back-propagation in the sorter."""

import numpy as np
import pytest
import torch
from spikeinterface.core import NumpyRecording

from si_crsae.core import Dictionary, synthesize
from si_crsae.sorting.learning.gradient import improve_by_gradient
from si_crsae.sorting.model import Model

WIDTH, NUM_SAMPLES, SAMPLING_HZ = 20, 60_000, 10_000.0


@pytest.fixture(scope="module")
def truth():
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(WIDTH, 4, generator=generator)).Q.T.contiguous()
    coefficients = 20 * torch.nn.functional.normalize(torch.randn(2, 3, 4, generator=generator).flatten(1)).view(
        2, 3, 4
    )
    coefficients[0, 2] = 0  # lives on two of the three channels
    return Dictionary.from_coefficients(coefficients, basis, num_before=5)


@pytest.fixture(scope="module")
def recording(truth):
    rng = np.random.default_rng(0)
    code = torch.zeros(1, 2, NUM_SAMPLES - WIDTH + 1)
    for atom in range(2):
        code[0, atom, rng.choice(code.shape[2] // 60, 400, replace=False) * 60 + rng.integers(0, 30, 400)] = 20.0
    traces = synthesize(code, truth.atoms)[0].numpy().T + rng.standard_normal((NUM_SAMPLES, 3)).astype("float32")
    return NumpyRecording([traces.astype("float32")], SAMPLING_HZ)


def nearness(dictionary, truth):
    return (dictionary.atoms * truth.atoms).sum(dim=(1, 2)).numpy()


def test_atoms_get_nearer_to_the_truth_on_the_channels_and_basis_that_they_had(truth, recording):
    noise = 8 * torch.randn(truth.weights.shape, generator=torch.Generator().manual_seed(1))
    rough = (truth.weights * 20 + noise) * truth.weights.any(dim=2, keepdim=True)
    dictionary = Dictionary.from_coefficients(rough, truth.basis, num_before=5)
    level = torch.full((2,), 4.0)
    model = Model(dictionary=dictionary, noise=np.ones(2, "float32"), regularization=level.numpy())
    improved = improve_by_gradient(recording, model, level, strength=10.0, seed=0)
    assert np.all(nearness(improved.dictionary, truth) > nearness(dictionary, truth))
    assert torch.equal(improved.dictionary.weights.any(dim=2), dictionary.weights.any(dim=2))
    torch.testing.assert_close(improved.dictionary.scales, dictionary.scales)
    assert np.all(improved.regularization > 3.5)
    assert np.all(improved.regularization < 5.0)


def test_the_same_seed_gives_the_same_model(truth, recording):
    level = torch.full((2,), 4.0)
    model = Model(dictionary=truth, noise=np.ones(2, "float32"), regularization=level.numpy())
    first, second = (improve_by_gradient(recording, model, level, strength=10.0, seed=3) for _ in range(2))
    assert torch.equal(first.dictionary.weights, second.dictionary.weights)
    np.testing.assert_array_equal(first.regularization, second.regularization)
