"""Denoising of photon counts: a tied Poisson auto-encoder that goes from coarse to fine pixels.

The sum of Poisson counts over a block of pixels is a Poisson count with a higher rate. So the image is binned by two
again and again, and the same dictionary is used at every level: what was found at one level, interpolated, is the
baseline of the next finer one. There the gain of the core's `GeneralizedModel` makes the noise of all pixels alike,
which is why one network serves bright and dim images, and no peak rate is asked for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional

from si_crsae.core.checks import check_at_least_one
from si_crsae.core.likelihoods import Poisson
from si_crsae.core.priors import Sparse
from si_crsae.core.solvers.generalized import GeneralizedModel, Placement, noise_gain
from si_crsae.models.arrays import as_floats, check_values

# Between the logarithms of a rate that one photon in a hundred pixels would have, and of one beyond any detector.
_NATURAL_RANGE = (-4.5, 12.0)
# Where the rate is more than twice the baseline, the exponential is continued by its tangent: the curvature is bounded.
_MAX_RISE = math.log(2.0)
# No single pixel is told apart from its baseline by more than this factor, e^2.5.
_LARGEST_CHANGE = 2.5
# Where patches overlap unevenly, and where the rate exceeds the baseline, the curvature is larger.
_RESERVE = 1.5
_FIRST_THRESHOLDS = (2.2, 1.9, 1.6)
_FIRST_GAIN = 1.3


@dataclass(frozen=True, slots=True, kw_only=True)
class CountImageNetwork:
    """Size of a `CountImageDenoiser`.

    Parameters
    ----------
    num_atoms : int, default: 162
        With the other defaults, the network has 20,574 parameters.
    width : int, default: 11
        Height and width of the atoms, in pixels of their level.
    stride : int, default: 8
        Pixels from one position of an atom to the next. The code is made for several grids and the results averaged.
    num_iterations : int, default: 6
        Depth of the encoder, at each level.
    num_levels : int, default: 3
        Sizes of a pixel: 1, 2, 4, ...
    """

    num_atoms: int = 162
    width: int = 11
    stride: int = 8
    num_iterations: int = 6
    num_levels: int = 3

    def __post_init__(self) -> None:
        """Refuse sizes that are none."""
        check_at_least_one(
            num_atoms=self.num_atoms,
            width=self.width,
            stride=self.stride,
            num_iterations=self.num_iterations,
            num_levels=self.num_levels,
        )

    @property
    def min_size(self) -> int:
        """The least height and width of an image, in pixels: at the coarsest level it is reflected at its borders."""
        return 2 ** (self.num_levels - 1) * (self.width + self.stride)


class CountImageDenoiser(torch.nn.Module):
    """A tied auto-encoder for images of Poisson counts.

    Parameters
    ----------
    network : CountImageNetwork, default: None
        If None, the default one. The atoms start as an overcomplete cosine transform.

    Notes
    -----
    The encoder of one level is FISTA with two-sided thresholds; each level has its own, shared by all iterations. The
    thresholds shrink what they let pass. A gain per atom and level, also learned, makes up for it in the decoder, whose
    atoms are those of the encoder.

    References
    ----------
    .. [1] Tolooshams, Song, Temereanca and Ba, "Convolutional dictionary learning based auto-encoders for natural
       exponential-family distributions", ICML 2020.
    """

    def __init__(self, network: CountImageNetwork | None = None) -> None:
        super().__init__()
        self.network = network = network or CountImageNetwork()
        self.atoms = torch.nn.Parameter(cosine_atoms(network.num_atoms, network.width)[:, None])
        first = [*_FIRST_THRESHOLDS, *[_FIRST_THRESHOLDS[-1]] * network.num_levels][: network.num_levels]
        thresholds = torch.tensor(first)[:, None].repeat(1, network.num_atoms)
        gains = torch.full_like(thresholds, _FIRST_GAIN)
        # The mean of a patch is not sparse.
        thresholds[:, 0], gains[:, 0] = 0.0, 1.0
        self.thresholds, self.gains = torch.nn.Parameter(thresholds), torch.nn.Parameter(gains)

    def forward(
        self, counts: Float[Tensor, "batch row column"], *, grids: Sequence[Sequence[tuple[int, int]]]
    ) -> list[Tensor]:
        """Return the logarithm of the rate at every level, the finest first.

        Parameters
        ----------
        counts : Tensor, shape (batch, row, column)
            Rows and columns are multiples of ``2 ** num_levels``.
        grids : sequence of sequence of (int, int)
            For each level, the finest first, the offsets of the grids of positions to average over, below the stride.

        Returns
        -------
        list of Tensor, shapes (batch, row, column), (batch, row / 2, column / 2), ...
        """
        levels = [counts]
        for _ in range(self.network.num_levels):
            levels.append(_binned(levels[-1]))
        natural = (_smoothed(levels.pop()).add(0.5)).log()
        found = []
        for level in reversed(range(self.network.num_levels)):
            baseline = _doubled(natural).clamp(*_NATURAL_RANGE)
            natural = self._refine(levels[level], baseline, level, grids[level])
            found.append(natural)
        return found[::-1]

    def _refine(
        self, counts: Tensor, baseline: Tensor, level: int, grids: Sequence[tuple[int, int]]
    ) -> Float[Tensor, "batch row column"]:
        """Return the baseline of a level with the detail that its counts show."""
        windows, crops = self._cut(torch.stack([counts, baseline], dim=1), grids)
        observed, base = windows.split(1, dim=1)
        model = GeneralizedModel(
            atoms=self.atoms,
            likelihood=Poisson(max_natural=base + _MAX_RISE),
            prior=Sparse(regularization=self.thresholds[level]),
            placement=Placement(stride=self.network.stride),
            gain=noise_gain(Poisson(), base),
        )
        code = model.solve(
            observed, baseline=base, num_iterations=self.network.num_iterations, step_size=self._step_size()
        )
        scaled = code * self.gains[level][:, None, None]
        detail = model.placement.synthesize(scaled, self.atoms, tuple(observed.shape[2:]))
        per_grid = detail.view(len(counts), len(grids), *detail.shape[2:])
        mean = torch.stack([per_grid[:, index][crop] for index, crop in enumerate(crops)]).mean(dim=0)
        change = noise_gain(Poisson(), baseline) * mean
        return (baseline + change.clamp(-_LARGEST_CHANGE, _LARGEST_CHANGE)).clamp(*_NATURAL_RANGE)

    @torch.no_grad()
    def _step_size(self) -> float:
        """Return one over the curvature at the baseline: the gain of a patch, times how many of them overlap."""
        overlap = (self.network.width / self.network.stride) ** 2
        return float(1 / (_RESERVE * overlap * torch.linalg.matrix_norm(self.atoms.flatten(1), ord=2) ** 2))

    def _cut(self, images: Tensor, grids: Sequence[tuple[int, int]]) -> tuple[Tensor, Sequence[tuple[Any, ...]]]:
        """Return images reflected at their borders, once per grid, and where each image lies in them."""
        width, stride = self.network.width, self.network.stride
        margin, sizes = width - 1, images.shape[2:]
        num_steps = [-(-(size + width - 1 - stride) // stride) for size in sizes]
        extents = [steps * stride + width for steps in num_steps]
        padding = [(margin, extent + stride - 1 - size - margin) for size, extent in zip(sizes, extents, strict=True)]
        padded = functional.pad(images, (*padding[1], *padding[0]), mode="reflect")
        windows = torch.stack(
            [padded[..., row : row + extents[0], column : column + extents[1]] for row, column in grids], dim=1
        )
        crops = [
            (..., slice(margin - row, margin - row + sizes[0]), slice(margin - column, margin - column + sizes[1]))
            for row, column in grids
        ]
        return windows.flatten(0, 1), crops


@torch.no_grad()
def denoise_count_image(
    counts: Tensor | ArrayLike, denoiser: CountImageDenoiser, *, num_grids: Sequence[int] = (6, 8, 10)
) -> Float[Tensor, "row column"]:
    """Return the rate of every pixel of an image of counts.

    Parameters
    ----------
    counts : Tensor, shape (row, column)
        Photons; of any peak.
    denoiser : CountImageDenoiser
        From `learn_count_images`.
    num_grids : sequence of int, default: (6, 8, 10)
        Over how many grids of atoms to average at each level, the finest first; at most ``stride ** 2``.

    Returns
    -------
    Tensor, shape (row, column)
        Expected photons.

    Raises
    ------
    ValueError
        If these are no counts, or the image is too small.
    """
    network = denoiser.network
    counts = as_floats(counts, name="counts")
    if counts.ndim != 2:
        raise ValueError(f"counts has shape {tuple(counts.shape)}: it must have two axes, (row, column)")
    if min(counts.shape) < network.min_size:
        raise ValueError(
            f"counts has shape {tuple(counts.shape)}: it must be at least {network.min_size} pixels high and wide; "
            "use fewer levels or a smaller width for small images"
        )
    if len(num_grids) != network.num_levels or any(not 1 <= number <= network.stride**2 for number in num_grids):
        raise ValueError(
            f"num_grids = {tuple(num_grids)}: it must have {network.num_levels} numbers from 1 to {network.stride**2}"
        )
    counts = counts.to(denoiser.atoms)
    check_values("counts", counts)
    Poisson().check(counts, name="counts")
    multiple = 2**network.num_levels
    rows, columns = counts.shape
    padded = functional.pad(counts[None], (0, -columns % multiple, 0, -rows % multiple), mode="reflect")
    grids = [spread_grids(number, network.stride) for number in num_grids]
    return denoiser(padded, grids=grids)[0][0, :rows, :columns].exp()


def spread_grids(number: int, stride: int) -> list[tuple[int, int]]:
    """Return some offsets of grids, evenly spread over the square of all: one step of a generalized golden ratio each.

    The sequence of [1]_, rounded; where two of its points would fall on one offset, the next free one is taken.

    References
    ----------
    .. [1] Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018.

    Examples
    --------
    >>> spread_grids(3, 7)
    [(3, 3), (1, 0), (0, 4)]
    """
    plastic = 1.32471795724474602596
    free = [(row, column) for row in range(stride) for column in range(stride)]
    chosen = []
    for step in range(number):
        place = [stride * ((0.5 + step / plastic**power) % 1) for power in (1, 2)]
        chosen.append(min(free, key=lambda offset: _distance(offset, place)))
        free.remove(chosen[-1])
    return chosen


def cosine_atoms(num_atoms: int, width: int) -> Float[Tensor, "atom height width"]:
    """Return the smoothest atoms of an overcomplete cosine transform, of unit norm; all but the first have no mean."""
    num_frequencies = math.ceil(math.sqrt(num_atoms))
    frequency = torch.arange(num_frequencies)
    sample = torch.arange(width) + 0.5
    waves = torch.cos(math.pi / num_frequencies * frequency[:, None] * sample)
    order = (frequency[:, None] ** 2 + frequency**2).flatten().argsort(stable=True)[:num_atoms]
    atoms = torch.einsum("ar,bc->abrc", waves, waves).flatten(0, 1)[order]
    atoms[1:] -= atoms[1:].mean(dim=(1, 2), keepdim=True)
    return functional.normalize(atoms.flatten(1)).view_as(atoms)


def _distance(offset: tuple[int, int], place: Sequence[float]) -> float:
    """Return how far the middle of a pixel is from a place, along the axes."""
    return sum(abs(pixel + 0.5 - wanted) for pixel, wanted in zip(offset, place, strict=True))


def _binned(counts: Tensor) -> Tensor:
    return 4 * functional.avg_pool2d(counts[:, None], 2)[:, 0]


def _smoothed(counts: Tensor) -> Tensor:
    weights = torch.tensor([0.25, 0.5, 0.25]).to(counts)
    padded = functional.pad(counts[:, None], (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded, (weights[:, None] * weights)[None, None])[:, 0]


def _doubled(natural: Tensor) -> Tensor:
    """Return the logarithm of the rates of pixels half as large: interpolated, and a quarter of the rate each."""
    return functional.interpolate(natural[:, None], scale_factor=2, mode="bilinear")[:, 0] - math.log(4)
