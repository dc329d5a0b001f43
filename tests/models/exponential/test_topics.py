"""Counts without time, one sample a window, as those of words in texts or of genes in cells."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import NMF

from si_crsae.core import Poisson, Sparse
from si_crsae.models.exponential.autoencoder import Unrolling
from si_crsae.models.exponential.denoiser import Denoiser, Fitting

RESTING = np.log(2.0)
UNROLLING = Unrolling(num_iterations=15)


@pytest.fixture(scope="module")
def texts():
    """Return four topics over 24 words, how often each word is there in each text, and how often it should be."""
    rng = np.random.default_rng(0)
    topics = np.kron(np.eye(4), np.ones(6)) * rng.uniform(0.5, 1, (4, 24))
    topics[np.arange(4), rng.integers(0, 24, 4)] += 0.5
    topics /= np.linalg.norm(topics, axis=1, keepdims=True)
    weights = (rng.random((400, 4)) < 0.2) * rng.uniform(2, 4, (400, 4))
    rates = np.exp(RESTING + weights @ topics)
    return topics, rng.poisson(rates).astype("float64"), rates


def denoiser_of(counts, *, num_epochs, **baseline):
    prior = Sparse(regularization=torch.ones(4), nonnegative=True)
    denoiser = Denoiser(likelihood=Poisson(), width=1, num_atoms=4, prior=prior, unrolling=UNROLLING, device="cpu")
    return denoiser.fit(
        counts[:, :, None], fitting=Fitting(num_epochs=num_epochs, batch_size=90, learning_rate=0.08), **baseline
    )


def matched(found, topics):
    """Return the cosine of each topic with the atom that was found for it."""
    cosines = found @ topics.T / np.linalg.norm(found, axis=1, keepdims=True)
    return cosines[linear_sum_assignment(-cosines)]


def test_topics_are_found_better_than_by_factorization_where_words_rest_at_a_known_rate(texts):
    topics, counts, rates = texts
    resting = {"baseline": np.full((1, 1, 1), RESTING)}
    denoiser = denoiser_of(counts, num_epochs=30, **resting)
    found = matched(denoiser.model.atoms.detach().numpy()[:, :, 0], topics)
    factors = NMF(5, init="nndsvda", solver="mu", beta_loss="kullback-leibler", max_iter=500, random_state=0)
    factored = factors.fit_transform(counts) @ factors.components_  # a fifth factor for what rests
    assert found.min() > 0.97
    assert found.mean() > matched(factors.components_, topics).mean()
    denoised = denoiser.denoise(counts[:, :, None], **resting)[:, :, 0]
    assert np.mean((denoised - rates) ** 2) < 0.8 * np.mean((factored - rates) ** 2)


def test_a_window_of_one_sample_is_held_against_the_mean_of_all_windows(texts, tmp_path):
    _, counts, rates = texts
    denoiser = denoiser_of(counts, num_epochs=10)
    assert_allclose(denoiser.pooled_baseline[0, :, 0], np.log(counts.mean(axis=0)), rtol=1e-5)
    denoised = denoiser.denoise(counts[:, :, None])
    assert np.mean((denoised[:, :, 0] - rates) ** 2) < 0.6 * np.mean((counts - rates) ** 2)
    assert_allclose(denoiser.denoise(counts[:1, :, None]), denoised[:1], rtol=1e-4)  # alone as among others
    denoiser.save(tmp_path / "topics.pt")
    loaded = Denoiser.load(tmp_path / "topics.pt", device="cpu")
    assert_allclose(loaded.denoise(counts[:3, :, None]), denoised[:3], rtol=1e-4)


def test_what_was_learned_from_longer_windows_does_not_know_the_mean_of_a_single_sample():
    counts = np.random.default_rng(0).poisson(3.0, (8, 2, 20)).astype("float64")
    denoiser = Denoiser(likelihood=Poisson(), width=1, num_atoms=2, device="cpu")
    denoiser.fit(counts, fitting=Fitting(num_epochs=1))
    with pytest.raises(ValueError, match="a window of one sample does not tell its mean"):
        denoiser.denoise(counts[:, :, :1])
