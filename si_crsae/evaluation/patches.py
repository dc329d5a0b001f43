"""Whitened patches of natural images, on which sparse codes are compared."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

_CUTOFF = 0.4


def whiten_image(image: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "row column"]:
    """Return an image with a flat spectrum up to 0.4 cycles per pixel, of unit variance.

    The spectrum is multiplied by ``f exp(-(f / 0.4)^4)``: the amplitudes of natural images fall like 1 / f, and beyond
    the cutoff there are only noise and the corners of the pixel grid. [1]_ has the same filter for a cutoff of 200
    cycles per picture of 512 pixels.

    Parameters
    ----------
    image : ndarray, shape (row, column)
        Gray values in any unit.

    Returns
    -------
    ndarray of float64, shape (row, column)

    Raises
    ------
    ValueError
        If all gray values are the same.

    References
    ----------
    .. [1] Olshausen and Field, "Sparse coding with an overcomplete basis set: a strategy employed by V1?", Vision
       Research 37, 1997.
    """
    centered = image.astype("float64") - image.mean()
    rows, columns = np.fft.fftfreq(image.shape[0]), np.fft.fftfreq(image.shape[1])
    frequency = np.hypot(rows[:, None], columns)
    whitened = np.fft.ifft2(np.fft.fft2(centered) * frequency * np.exp(-((frequency / _CUTOFF) ** 4))).real
    if not whitened.std() > 0:
        raise ValueError("image: all gray values are the same, there is nothing to whiten")
    return whitened / whitened.std()


def draw_patches(
    images: Sequence[np.ndarray], *, size: int, num_patches: int, seed: int = 0
) -> Float[np.ndarray, "patch pixel"]:
    """Return square patches from random places, as many from each image.

    Parameters
    ----------
    images : sequence of ndarray, each of shape (row, column)
    size : int
        Rows and columns of a patch; no image may be smaller.
    num_patches : int
    seed : int, default: 0

    Returns
    -------
    ndarray of float32, shape (patch, size * size)

    Raises
    ------
    ValueError
        If an image is smaller than a patch, or there is none.
    """
    if len(images) == 0 or min(min(image.shape) for image in images) < size:
        raise ValueError(f"images: there must be some, none smaller than size = {size}")
    rng = np.random.default_rng(seed)
    patches = np.empty((num_patches, size, size), "float32")
    for index in range(num_patches):
        image = images[index % len(images)]
        row, column = (rng.integers(length - size + 1) for length in image.shape)
        patches[index] = image[row : row + size, column : column + size]
    return patches.reshape(num_patches, -1)
