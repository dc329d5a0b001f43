"""CRsAE for images: denoising with atoms that `image_learning` has learned from noisy images alone.

An image is split in two. Its smooth part, for which many coefficients would be needed, is left as it is. Its detail is
divided by the standard deviation of the noise and coded by a `Crsae` whose noise is 1, so that gray values may be on
any scale: 0 to 255 or 0 to 1, as long as the noise is on the same.
"""

import math

import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional

from si_crsae.core.checks import check_at_least_zero, check_positive
from si_crsae.models.arrays import as_floats, check_values
from si_crsae.models.crsae.autoencoder import Crsae

SMOOTHNESS = 20.0


def smooth_part(image: Tensor | ArrayLike, *, smoothness: float = SMOOTHNESS) -> Float[Tensor, "height width"]:
    """Return the image that has little slope and yet resembles the given one: its Tikhonov regularization.

    The minimizer of ``1/2 ||s - y||^2 + smoothness / 2 * ||grad s||^2``, with differences of neighboring pixels for the
    gradient and none across the border. In the cosine transform, at frequencies ``f`` and ``g`` in radians per pixel,
    the image is divided by ``1 + smoothness * (4 - 2 cos f - 2 cos g)``.

    Parameters
    ----------
    image : Tensor, shape (height, width)
        In any gray scale.
    smoothness : float, default: 20.0
        In square pixels; the smooth part keeps about ``1 / (4 pi smoothness)`` of the variance of white noise.

    Returns
    -------
    Tensor, shape (height, width)

    Raises
    ------
    ValueError
        If the image has a wrong number of axes, NaN or infinite values, or `smoothness` is negative.
    """
    image = as_image(image, name="image")
    check_at_least_zero(smoothness=smoothness)
    (rows, row_slopes), (columns, column_slopes) = (_cosine_transform(size, image) for size in image.shape)
    spectrum = rows @ image @ columns.T
    return rows.T @ (spectrum / (1 + smoothness * (row_slopes[:, None] + column_slopes))) @ columns


@torch.no_grad()
def denoise_image(
    image: Tensor | ArrayLike, noise_sd: float, *, model: Crsae, smoothness: float = SMOOTHNESS
) -> Float[Tensor, "height width"]:
    """Return the image without its noise, as far as the model tells them apart.

    The smooth part and, times `noise_sd`, the model's reconstruction of the rest. The rest is reflected at the borders,
    so that border pixels are covered by as many coefficients as the others.

    Parameters
    ----------
    image : Tensor, shape (height, width)
        In any gray scale.
    noise_sd : float
        Standard deviation of the white noise, in the same scale.
    model : Crsae
        From `learn_image_atoms`; its own noise is 1.
    smoothness : float, default: 20.0
        That with which the model was learned.

    Returns
    -------
    Tensor, shape (height, width)

    Raises
    ------
    ValueError
        If the image is no finite image of at least the size of the atoms, or `noise_sd` is not positive.
    """
    check_noise_sd(noise_sd)
    _check_model(model)
    height, width = (int(size) for size in model.atoms.shape[2:])
    image = as_image(image, name="image", min_shape=(height, width)).to(model.atoms.device)
    smooth = smooth_part(image, smoothness=smoothness)
    margins = (width - 1, width - 1, height - 1, height - 1)
    detail = functional.pad(((image - smooth) / noise_sd)[None, None], margins, mode="reflect")
    restored = functional.pad(model(detail), [-margin for margin in margins])[0, 0]
    return smooth + noise_sd * restored


def _cosine_transform(size: int, like: Tensor) -> tuple[Float[Tensor, "frequency sample"], Float[Tensor, " frequency"]]:
    """Return the orthonormal cosine transform of an axis and the squared gain of differences at its frequencies."""
    frequency = torch.arange(size, dtype=like.dtype, device=like.device) * (math.pi / size)
    sample = torch.arange(size, dtype=like.dtype, device=like.device) + 0.5
    basis = torch.cos(frequency[:, None] * sample)
    return functional.normalize(basis), 2 - 2 * frequency.cos()


def check_noise_sd(noise_sd: float) -> None:
    """Raise ValueError if the noise of an image is none."""
    check_positive("noise_sd", noise_sd, remedy="estimate it from the images")


def _check_model(model: Crsae) -> None:
    if model.atoms.ndim != 4 or model.atoms.shape[1] != 1 or model.noise_sd != 1.0:
        raise ValueError(
            f"model has atoms of shape {tuple(model.atoms.shape)} and noise_sd = {model.noise_sd}: it must have atoms "
            "of shape (atom, 1, height, width) and noise_sd = 1; learn it with learn_image_atoms"
        )


def as_image(
    image: Tensor | ArrayLike, *, name: str, min_shape: tuple[int, int] = (1, 1)
) -> Float[Tensor, "height width"]:
    """Return a finite gray image as floats, or raise ValueError, with the name of its argument, if it is none."""
    tensor = as_floats(image, name=name)
    shape = tuple(tensor.shape)
    if tensor.ndim != 2:
        raise ValueError(
            f"{name} has shape {shape}: it must have two axes, (height, width); "
            "convert color images to gray, and give a stack of images one by one"
        )
    if shape[0] < min_shape[0] or shape[1] < min_shape[1]:
        raise ValueError(
            f"{name} has shape {shape}: it must be at least {min_shape}, the size of the atoms or of the "
            "patches to learn from; use a larger image, or smaller atoms or patches"
        )
    check_values(name, tensor)
    return tensor
