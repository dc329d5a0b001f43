"""Atoms as short sums of a spatial times a temporal pattern: the fewest products per atom."""

from dataclasses import dataclass
from typing import no_type_check

import torch
from jaxtyping import Float, Int
from torch import Tensor

from si_crsae.core.compiled import HAS_NUMBA, compile_loops
from si_crsae.core.convolution import count_shifts
from si_crsae.core.filtering import BLOCK, TAPS
from si_crsae.core.types import Dictionary

# Of the singular values of an atom's weights, relative to its norm of 1: what float32 leaves of a zero.
ROUNDING = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomFactors:
    """One atom: ``spatial.T @ temporal`` on its channels.

    Parameters
    ----------
    channels : Tensor of int64, shape (local,)
        Those that the atom occupies.
    spatial : Tensor, shape (component, local)
    temporal : Tensor, shape (component, width)
    """

    channels: Int[Tensor, " local"]
    spatial: Float[Tensor, "component local"]
    temporal: Float[Tensor, "component width"]


def factor_atoms(dictionary: Dictionary) -> tuple[AtomFactors, ...]:
    """Return each atom with as few components as it has.

    Parameters
    ----------
    dictionary : Dictionary

    Returns
    -------
    tuple of AtomFactors
        One per atom, on the dictionary's device.
    """
    factors = []
    for weights in dictionary.weights:
        channels = weights.any(dim=1).nonzero().flatten()
        spatial, strength, mixing = torch.linalg.svd(weights[channels], full_matrices=False)
        kept = strength > ROUNDING
        factors.append(
            AtomFactors(
                channels=channels,
                spatial=(spatial * strength)[:, kept].T.contiguous(),
                temporal=mixing[kept] @ dictionary.basis,
            )
        )
    return tuple(factors)


def count_products(factors: tuple[AtomFactors, ...]) -> int:
    """Return how many products `correlate_factored` takes per sample."""
    return sum(atom.spatial.numel() + atom.temporal.numel() for atom in factors)


def correlate_factored(
    traces: Float[Tensor, "channel sample"], factors: tuple[AtomFactors, ...]
) -> Float[Tensor, "atom shift"]:
    """Return the correlation of the traces with every atom, on the device that the traces are on.

    Parameters
    ----------
    traces : Tensor, shape (channel, sample)
    factors : tuple of AtomFactors
        At least one.

    Returns
    -------
    Tensor, shape (atom, shift)
        ``shift = sample - width + 1``.

    Raises
    ------
    ValueError
        If the traces are shorter than the atoms.
    """
    num_shifts = count_shifts(traces.shape[1], width=factors[0].temporal.shape[1])
    correlation = traces.new_empty(len(factors), num_shifts)
    for atom, row in zip(factors, correlation, strict=True):
        mixed = atom.spatial @ traces[atom.channels]
        if HAS_NUMBA and traces.device.type == "cpu":
            padding = (0, -atom.temporal.shape[1] % TAPS, 0, -len(atom.temporal) % 2)
            signals, components = (torch.nn.functional.pad(part, padding).numpy() for part in (mixed, atom.temporal))
            _sum_correlations(signals, components, row.numpy())
        else:
            row[:] = torch.nn.functional.conv1d(mixed[None], atom.temporal[None])[0, 0]
    return correlation


@compile_loops(reorder_sums=True)
@no_type_check
def _sum_correlations(signals, components, total):
    """Fill `total` with the sum over rows of the correlation of signals (row, sample) with components (row, width).

    Two rows and TAPS of their samples at a time. The width is a multiple of TAPS, the number of rows even.
    """
    num_rows, width = components.shape
    for start in range(0, total.size, BLOCK):
        end = min(start + BLOCK, total.size)
        block = total[start:end]
        block[:] = 0
        for row in range(0, num_rows, 2):
            for tap in range(0, width, TAPS):
                one, two = (
                    signals[row, start + tap : end + tap + TAPS],
                    signals[row + 1, start + tap : end + tap + TAPS],
                )
                first, second = components[row, tap : tap + TAPS], components[row + 1, tap : tap + TAPS]
                for shift in range(block.size):
                    value = block[shift]
                    for step in range(TAPS):
                        value += first[step] * one[shift + step] + second[step] * two[shift + step]
                    block[shift] = value
