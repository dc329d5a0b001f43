"""Patches of images: whitening makes a spectrum flat, and every patch is a part of its image."""

from itertools import pairwise

import numpy as np
import pytest

from si_crsae.evaluation.patches import draw_patches, whiten_image


def like_a_photograph(size=256, seed=0):
    """An image whose amplitudes fall like one over the frequency."""
    spectrum = np.fft.fft2(np.random.default_rng(seed).standard_normal((size, size)))
    spectrum[0, 0] = 0
    return 100 + np.fft.ifft2(spectrum / np.maximum(frequencies(size), 1e-9)).real


def frequencies(size):
    return np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))


def power_in_rings(image, edges):
    power, frequency = np.abs(np.fft.fft2(image)) ** 2, frequencies(len(image))
    return np.array([power[(frequency >= low) & (frequency < high)].mean() for low, high in pairwise(edges)])


def test_the_spectrum_of_a_photograph_becomes_flat_below_the_cutoff_and_vanishes_above():
    edges = [0.02, 0.05, 0.1, 0.15, 0.2]
    image = like_a_photograph()
    before, after = power_in_rings(image, edges), power_in_rings(whiten_image(image), edges)
    assert before.max() > 20 * before.min()
    assert after.max() < 1.3 * after.min()
    assert power_in_rings(whiten_image(image), [0.6, 0.71])[0] < 0.01 * after.min()


def test_whitening_takes_unit_and_offset_of_the_gray_values_out():
    image = like_a_photograph()
    whitened = whiten_image(image)
    assert whitened.std() == pytest.approx(1.0)
    assert whitened.mean() == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(whiten_image(3 * image - 50), whitened, atol=1e-9)
    with pytest.raises(ValueError, match="all gray values are the same"):
        whiten_image(np.full((8, 8), 7.0))


def test_patches_are_parts_of_the_images_in_turn():
    images = [np.arange(30.0).reshape(5, 6), 100 + np.arange(16.0).reshape(4, 4)]
    patches = draw_patches(images, size=3, num_patches=200, seed=1).reshape(200, 3, 3)
    for index, patch in enumerate(patches):
        image = images[index % 2]
        parts = np.lib.stride_tricks.sliding_window_view(image, (3, 3)).reshape(-1, 3, 3)
        assert (parts == patch).all(axis=(1, 2)).any()
    assert np.unique(patches[::2, 0, 0]).size == 3 * 4
    assert np.unique(patches[1::2, 0, 0]).size == 2 * 2
    np.testing.assert_array_equal(patches.reshape(200, 9), draw_patches(images, size=3, num_patches=200, seed=1))


@pytest.mark.parametrize("images", [[], [np.zeros((9, 2))]])
def test_images_smaller_than_a_patch_are_refused(images):
    with pytest.raises(ValueError, match="none smaller than size = 3"):
        draw_patches(images, size=3, num_patches=1)
