"""Learning the atoms of images from noisy images alone: Algorithm 4 of the paper on patches of their details."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from si_crsae.core.checks import check_at_least_one, check_at_least_zero, check_positive, check_seed, check_share
from si_crsae.core.regularization import regularization_loss, update_regularization
from si_crsae.models.arrays import as_windows
from si_crsae.models.crsae.autoencoder import Crsae, reconstruction_loss
from si_crsae.models.crsae.images import SMOOTHNESS, as_image, check_noise_sd, smooth_part
from si_crsae.models.crsae.learning import RatePrior, atom_step
from si_crsae.models.training import Trainer, train

_MIN_VALIDATION_PATCHES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLearning:
    """How `learn_image_atoms` learns.

    Parameters
    ----------
    num_atoms : int, default: 64
    width : int, default: 9
        Height and width of the atoms, in pixels.
    num_iterations : int, default: 20
        Depth of the encoder.
    first_rate : float, default: 2.0
        Rate of the code's Laplace prior, in units of the noise, that learning starts from.
    prior_mean : float, default: 0.42
        Mean of the Gamma prior of that rate.
    prior_strength : float, default: 0.2
        Weight of the Gamma prior: it is worth ``prior_strength`` coefficients per pixel. An empty code has the rate
        ``prior_mean * (1 + 1 / prior_strength)``. With the defaults the rate comes close to the one that denoises best,
        for a noise of 15 to 50 of 255 gray values: see ``benchmarks/crsae_images.py``.
    patch_size : int, default: 40
        Height and width of the patches, in pixels.
    num_patches : int, default: 256
        Drawn from all images alike.
    num_epochs : int, default: 3
        Passes over the patches.
    batch_size : int, default: 8
        Patches of a step.
    learning_rate : float, default: 0.01
        Step size of ADAM, for the atoms.
    rate_share : float, default: 0.1
        How far the rate goes, in each step, to what is best for the mini-batch.
    smoothness : float, default: 20.0
        See `smooth_part`.
    """

    num_atoms: int = 64
    width: int = 9
    num_iterations: int = 20
    first_rate: float = 2.0
    prior_mean: float = 0.42
    prior_strength: float = 0.2
    patch_size: int = 40
    num_patches: int = 256
    num_epochs: int = 3
    batch_size: int = 8
    learning_rate: float = 0.01
    rate_share: float = 0.1
    smoothness: float = SMOOTHNESS

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing can be learned."""
        counts = ("num_atoms", "width", "num_iterations", "patch_size", "num_patches", "num_epochs", "batch_size")
        check_at_least_one(**{name: getattr(self, name) for name in counts})
        for name in ("first_rate", "prior_mean", "prior_strength", "learning_rate"):
            check_positive(name, getattr(self, name))
        check_share(rate_share=self.rate_share)
        check_at_least_zero(smoothness=self.smoothness)
        if self.patch_size < self.width:
            raise ValueError(
                f"patch_size = {self.patch_size}: it must be at least width = {self.width}; 4 times that is usual"
            )

    @property
    def rate_prior(self) -> RatePrior:
        """Prior of the rate for one patch, worth `prior_strength` coefficients per pixel."""
        weight = self.prior_strength * self.patch_size**2
        return RatePrior(shape=weight + 1.0, rate=weight / self.prior_mean)


class ImageTrainer:
    """Algorithm 4 with the rate in closed form: a step of ADAM for the atoms, then a share of the M-step for the rate.

    Parameters
    ----------
    model : Crsae
        Trained in place; its rate is one for all atoms.
    settings : ImageLearning
        Prior and speed of learning.

    Notes
    -----
    Eq. 20 counts every coefficient as an observation of the prior. The code of an image has as many per pixel as there
    are atoms, and of most the data say nothing: their expectation, which the mode of the posterior takes for zero, is
    that of the prior, ``1 / rate``. With these expectations in its denominator, Eq. 20 has the fixed point
    ``rate = num_determined / ||x||_1``: only coefficients that the data determine count. They are at most as many as
    the pixels, and that many are assumed. Counted in full, the rate would only rise until the code is empty, or to
    where the prior stops it.
    """

    def __init__(self, model: Crsae, settings: ImageLearning) -> None:
        self.model, self.settings = model, settings
        self._optimizer = torch.optim.Adam([model.atoms], lr=settings.learning_rate, amsgrad=True)

    def step(self, windows: Tensor) -> float:
        """Change atoms and rate for a mini-batch; returns the loss of Eq. 24 before the change."""
        model = self.model
        windows = as_windows(windows, name="windows", atoms=model.atoms)
        with torch.no_grad():
            code = model.encode(windows)
        loss, model.atoms.grad = atom_step(model, windows, code)
        self._optimizer.step()
        model.normalize()
        code_l1, num_pixels, prior = _l1_of_window(code), windows[0].numel(), self.settings.rate_prior
        target = update_regularization(code_l1, num_pixels, prior_shape=prior.shape, prior_rate=prior.rate)
        with torch.no_grad():
            model.rate.copy_(model.rate.lerp(target[0], self.settings.rate_share))
        return loss

    @torch.no_grad()
    def loss(self, windows: Tensor) -> float:
        """Return the negative logarithm of Eq. 17, up to a constant, per window: unlike Eq. 24, it bounds the rate."""
        model = self.model
        windows = as_windows(windows, name="windows", atoms=model.atoms)
        code = model.encode(windows)
        misfit = reconstruction_loss(windows, model.decode(code)) / model.noise_sd**2
        code_l1, num_pixels, prior = _l1_of_window(code), windows[0].numel(), self.settings.rate_prior
        return float(
            misfit
            + regularization_loss(model.rate[None], code_l1, num_pixels, prior_shape=prior.shape, prior_rate=prior.rate)
        )


def learn_image_atoms(
    images: Sequence[Tensor | ArrayLike],
    noise_sd: float,
    *,
    settings: ImageLearning | None = None,
    make_trainer: Callable[[Crsae, ImageLearning], Trainer] = ImageTrainer,
    seed: int = 0,
    progress: bool = False,
) -> Crsae:
    """Return a model learned from noisy images alone: Algorithm 4 of [1]_ on patches, from atoms of white noise.

    Parameters
    ----------
    images : sequence of Tensor, each of shape (height, width)
        Noisy, all in the same gray scale.
    noise_sd : float
        Standard deviation of the white noise, in that scale.
    settings : ImageLearning, default: None
        If None, the default ones.
    make_trainer : callable, default: ImageTrainer
        Given the model and the settings, returns how it learns.
    seed : int, default: 0
        Decides the patches, the first atoms and the order of learning.
    progress : bool, default: False
        If True, show a bar of epochs.

    Returns
    -------
    Crsae
        With one rate for all atoms and a noise of 1, for `denoise_image`.

    Raises
    ------
    ValueError
        If an image is not finite or smaller than the patches, there is none, or a number is out of range.

    References
    ----------
    .. [1] Tolooshams, Dey and Ba, "Deep residual auto-encoders for expectation maximization-based dictionary
       learning", IEEE TNNLS, 2021.
    """
    settings = settings or ImageLearning()
    check_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    num_validation = max(settings.num_patches // 8, _MIN_VALIDATION_PATCHES)
    patches = draw_detail_patches(
        images, noise_sd, num_patches=settings.num_patches + num_validation, settings=settings, generator=generator
    )
    model = _first_model(settings, like=patches, generator=generator)
    train(
        make_trainer(model, settings),
        patches[num_validation:],
        patches[:num_validation],
        num_epochs=settings.num_epochs,
        batch_size=settings.batch_size,
        seed=seed,
        progress=progress,
    )
    return model


def draw_detail_patches(
    images: Sequence[Tensor | ArrayLike],
    noise_sd: float,
    *,
    num_patches: int,
    settings: ImageLearning,
    generator: torch.Generator,
) -> Float[Tensor, "batch 1 height width"]:
    """Return patches of the images' details, in units of the noise: what a model learns from.

    Parameters
    ----------
    images : sequence of Tensor, each of shape (height, width)
    noise_sd : float
        Standard deviation of the white noise, in the gray scale of the images.
    num_patches : int
        As many of each image, in turn.
    settings : ImageLearning
        How to learn, of which `patch_size` and `smoothness` are used.
    generator : torch.Generator
        Decides where the patches lie.

    Returns
    -------
    Tensor, shape (patch, 1, patch_size, patch_size)

    Raises
    ------
    ValueError
        If an image is not finite or smaller than the patches, there is none, or `noise_sd` is not positive.
    """
    check_noise_sd(noise_sd)
    if len(images) == 0:
        raise ValueError("images is empty: there must be at least one image to learn from")
    size = settings.patch_size
    checked = [as_image(image, name=f"images[{index}]", min_shape=(size, size)) for index, image in enumerate(images)]
    details = [(image - smooth_part(image, smoothness=settings.smoothness)) / noise_sd for image in checked]
    patches = []
    for number in range(num_patches):
        detail = details[number % len(details)]
        row, column = (int(torch.randint(extent - size + 1, (), generator=generator)) for extent in detail.shape)
        patches.append(detail[row : row + size, column : column + size])
    return torch.stack(patches)[:, None]


def _first_model(settings: ImageLearning, *, like: Tensor, generator: torch.Generator) -> Crsae:
    """Return the model that learning starts from: atoms of white noise, of the dtype and on the device of a tensor."""
    atoms = torch.randn(settings.num_atoms, 1, settings.width, settings.width, generator=generator).to(like)
    return Crsae(atoms, atoms.new_tensor(settings.first_rate), num_iterations=settings.num_iterations)


def _l1_of_window(code: Float[Tensor, "batch atom *shift"]) -> Float[Tensor, " one"]:
    """Return the l1 norm of the code of all atoms, the mean over windows."""
    return code.abs().sum()[None] / len(code)
