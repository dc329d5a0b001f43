"""Learning to denoise photon counts from clean images, to which the noise is added as it goes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional
from tqdm.auto import tqdm

from si_crsae.core.checks import check_at_least_one, check_positive, check_seed
from si_crsae.models.arrays import as_floats
from si_crsae.models.exponential.count_images import CountImageDenoiser, CountImageNetwork

_MAX_GRADIENT_NORM = 0.05
_LEVEL_WEIGHT = 0.3
# A loss of a mini-batch beyond this, five to ten times the usual one, teaches nothing: its step is left out.
_LARGEST_LOSS = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class CountImageLearning:
    """How `learn_count_images` learns.

    Parameters
    ----------
    peaks : tuple of float, default: (1, 2, 4)
        Largest expected count of a training image, drawn for each patch; the network serves all of them.
    num_steps : int, default: 5000
        Steps of ADAM.
    batch_size : int, default: 8
        Patches of a step.
    patch_size : int, default: 96
        Height and width of a patch, in pixels; a multiple of ``2 ** num_levels``.
    num_grids : tuple of int, default: (1, 2, 2)
        Grids of atoms at each level, drawn at random in every step.
    learning_rate : float, default: 0.002
        At the start; it falls to zero as half a cosine.
    half_precision : bool, default: False
        If True, products of matrices are made in bfloat16: faster on processors that have it.
    """

    peaks: tuple[float, ...] = (1.0, 2.0, 4.0)
    num_steps: int = 5000
    batch_size: int = 8
    patch_size: int = 96
    num_grids: tuple[int, ...] = (1, 2, 2)
    learning_rate: float = 2e-3
    half_precision: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing can be learned."""
        check_at_least_one(num_steps=self.num_steps, batch_size=self.batch_size, patch_size=self.patch_size)
        check_positive("learning_rate", self.learning_rate)
        for name in ("peaks", "num_grids"):
            values = getattr(self, name)
            if not isinstance(values, Sequence) or len(values) == 0:
                raise ValueError(f"{name} = {values!r}: it must be a sequence of at least one number, all positive")
        for peak in self.peaks:
            check_positive("peaks", peak)
        for number in self.num_grids:
            check_at_least_one(num_grids=number)


def learn_count_images(
    images: Sequence[Tensor | ArrayLike],
    *,
    learning: CountImageLearning | None = None,
    network: CountImageNetwork | None = None,
    seed: int = 0,
    progress: bool = False,
    watch: Callable[[int, CountImageDenoiser], None] | None = None,
) -> CountImageDenoiser:
    """Return a network that denoises counts, learned from clean images.

    The loss is the squared error of the rate, in units of the peak and times its root, at the finest level, and a share
    of that of the coarser ones.

    Parameters
    ----------
    images : sequence of Tensor, each of shape (row, column)
        Clean, zero or more; each is divided by its maximum.
    learning : CountImageLearning, default: None
        If None, the default one.
    network : CountImageNetwork, default: None
        If None, the default one.
    seed : int, default: 0
        Decides the patches, the noise and the grids.
    progress : bool, default: False
        If True, show a bar of steps.
    watch : callable, default: None
        Called with the number of the step and the network after every hundredth.

    Returns
    -------
    CountImageDenoiser

    Raises
    ------
    ValueError
        If there is no image, or one is negative, not finite or smaller than the patches.
    """
    learning = learning or CountImageLearning()
    check_seed(seed)
    denoiser = CountImageDenoiser(network)
    clean = [_checked(image, index, learning.patch_size) for index, image in enumerate(images)]
    if len(clean) == 0:
        raise ValueError("images is empty: there must be at least one image to learn from")
    denoiser.to(clean[0].device)
    if learning.patch_size % 2**denoiser.network.num_levels or learning.patch_size < denoiser.network.min_size:
        raise ValueError(
            f"patch_size = {learning.patch_size}: it must be a multiple of {2**denoiser.network.num_levels} "
            f"and at least {denoiser.network.min_size}"
        )
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=learning.learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, learning.num_steps)
    for step in tqdm(range(1, learning.num_steps + 1), desc="learn", disable=not progress):
        patches, peaks = _draw_patches(clean, learning, generator)
        loss = _loss(denoiser, patches, peaks, learning, generator)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(denoiser.parameters(), _MAX_GRADIENT_NORM)
        if bool(norm.isfinite()) and float(loss.detach()) < _LARGEST_LOSS:
            optimizer.step()
            with torch.no_grad():
                denoiser.thresholds.clamp_min_(0.0)
        schedule.step()
        if watch is not None and step % 100 == 0:
            watch(step, denoiser)
    return denoiser


def _loss(
    denoiser: CountImageDenoiser,
    patches: Tensor,
    peaks: Tensor,
    learning: CountImageLearning,
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    counts = torch.poisson((patches * peaks).cpu(), generator).to(patches.device)
    grids = [_draw_grids(number, denoiser.network.stride, generator) for number in learning.num_grids]
    with torch.autocast(counts.device.type, dtype=torch.bfloat16, enabled=learning.half_precision):
        found = denoiser(counts, grids=grids)
    loss, weight, target = patches.new_zeros(()), 1.0, patches
    for level, natural in enumerate(found):
        rate = natural.float().exp() / (peaks * 4**level)
        loss = loss + weight * (peaks.sqrt() * (target - rate).square()).mean()
        weight, target = weight * _LEVEL_WEIGHT, functional.avg_pool2d(target[:, None], 2)[:, 0]
    return loss


def _draw_grids(number: int, stride: int, generator: torch.Generator) -> list[tuple[int, int]]:
    chosen = torch.randperm(stride**2, generator=generator)[:number].tolist()
    return [divmod(place, stride) for place in chosen]


def _draw_patches(
    images: Sequence[Tensor], learning: CountImageLearning, generator: torch.Generator
) -> tuple[Float[Tensor, "batch row column"], Float[Tensor, "batch 1 1"]]:
    """Return patches, turned and mirrored at random, of images drawn by their size, and a peak for each."""
    sizes = torch.tensor([float(image.numel()) for image in images])
    patches = []
    for index in torch.multinomial(sizes, learning.batch_size, replacement=True, generator=generator).tolist():
        image, size = images[index], learning.patch_size
        row, column = (int(torch.randint(extent - size + 1, (), generator=generator)) for extent in image.shape)
        turns, mirror = torch.randint(4, (2,), generator=generator).tolist()
        patch = image[row : row + size, column : column + size].rot90(turns)
        patches.append(patch.flip(0) if mirror % 2 else patch)
    chosen = torch.randint(len(learning.peaks), (learning.batch_size,), generator=generator)
    return torch.stack(patches), torch.tensor(learning.peaks)[chosen][:, None, None].to(patches[0].device)


def _checked(given: Tensor | ArrayLike, index: int, min_size: int) -> Float[Tensor, "row column"]:
    """Return an image with a maximum of 1, or raise ValueError."""
    image = as_floats(given, name=f"images[{index}]")
    if image.ndim != 2 or min(image.shape) < min_size:
        raise ValueError(
            f"images[{index}] has shape {tuple(image.shape)}: it must have two axes of at least patch_size = {min_size}"
        )
    if not bool(image.isfinite().all()) or bool((image < 0).any()) or not bool((image > 0).any()):
        raise ValueError(f"images[{index}] has negative, NaN or infinite pixels, or none above zero")
    return image.float() / image.max()
