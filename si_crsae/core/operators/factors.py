"""Atoms as short sums of a spatial times a temporal pattern: the fewest products per atom."""

from dataclasses import dataclass
from typing import no_type_check

import torch
from jaxtyping import Float, Int
from torch import Tensor

from si_crsae.core.compiled import HAS_NUMBA, compile_loops
from si_crsae.core.operators.convolution import count_shifts
from si_crsae.core.operators.filtering import BLOCK, TAPS
from si_crsae.core.types import Dictionary

# Below this, relative to its norm of 1, a singular value of an atom's weights is what float32 leaves of a zero.
ROUNDING = 1e-5
# Rows mixed by one matrix product: enough to make it fast, few enough to share their channels.
ROWS_PER_GROUP = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorGroup:
    """Atoms that lie close together, each the sum over its rows of ``spatial[row] * temporal[row]``.

    Parameters
    ----------
    atom_index : Tensor of int64, shape (member,)
        Which atoms these are.
    row_start : Tensor of int64, shape (member + 1,)
        Where the rows of each begin; every atom has an even number.
    channels : Tensor of int64, shape (local,)
        Those that any of them occupies.
    spatial : Tensor, shape (row, local)
    temporal : Tensor, shape (row, width)
    """

    atom_index: Int[Tensor, " member"]
    row_start: Int[Tensor, " start"]
    channels: Int[Tensor, " local"]
    spatial: Float[Tensor, "row local"]
    temporal: Float[Tensor, "row width"]

    @property
    def num_products(self) -> int:
        """Products per sample of a correlation."""
        return self.spatial.numel() + self.temporal.numel()


def factor_atoms(dictionary: Dictionary) -> tuple[FactorGroup, ...]:
    """Return the atoms of a dictionary with as few components as each has, neighbors together.

    Parameters
    ----------
    dictionary : Dictionary
        On the CPU.

    Returns
    -------
    tuple of FactorGroup
    """
    if dictionary.num_atoms == 0:
        return ()
    spatial, strength, mixing = torch.linalg.svd(dictionary.weights, full_matrices=False)
    ranks = (strength > ROUNDING).sum(dim=1)
    order = dictionary.weights.norm(dim=2).argmax(dim=1).argsort(stable=True)
    groups = []
    for members in order.split(_group_sizes(ranks[order].tolist())):
        rows = [(spatial[atom] * strength[atom])[:, : ranks[atom]].T for atom in members.tolist()]
        components = [mixing[atom, : ranks[atom]] for atom in members.tolist()]
        channels = dictionary.weights[members].any(dim=2).any(dim=0).nonzero().flatten()
        counts = torch.tensor([len(part) + len(part) % 2 for part in rows])
        groups.append(
            FactorGroup(
                atom_index=members,
                row_start=torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]),
                channels=channels,
                spatial=torch.cat([_even(part) for part in rows])[:, channels].contiguous(),
                temporal=torch.cat([_even(part) for part in components]) @ dictionary.basis,
            )
        )
    return tuple(groups)


def _group_sizes(ranks: list[int]) -> list[int]:
    """Return how many consecutive atoms go together."""
    sizes, num_rows = [0], 0
    for rank in ranks:
        if sizes[-1] and num_rows + rank > ROWS_PER_GROUP:
            sizes.append(0)
            num_rows = 0
        sizes[-1] += 1
        num_rows += rank
    return sizes


def _even(rows: Tensor) -> Tensor:
    return torch.nn.functional.pad(rows, (0, 0, 0, len(rows) % 2))


def correlate_factored(
    traces: Float[Tensor, "channel sample"], groups: tuple[FactorGroup, ...]
) -> Float[Tensor, "atom shift"]:
    """Return the correlation of the traces with every atom.

    Parameters
    ----------
    traces : Tensor, shape (channel, sample)
        On the CPU.
    groups : tuple of FactorGroup
        What `factor_atoms` returns; at least one.

    Returns
    -------
    Tensor, shape (atom, shift)
        ``shift = sample - width + 1``.

    Raises
    ------
    ValueError
        If the traces are shorter than the atoms.
    """
    width = groups[0].temporal.shape[1]
    num_shifts = count_shifts(traces.shape[1], width=width)
    correlation = traces.new_empty(sum(len(group.atom_index) for group in groups), num_shifts)
    padded = torch.nn.functional.pad(traces, (0, -width % TAPS))
    for group in groups:
        is_whole = len(group.channels) == len(traces)
        mixed = group.spatial @ (padded if is_whole else padded[group.channels])
        if HAS_NUMBA:
            components = torch.nn.functional.pad(group.temporal, (0, -width % TAPS))
            arrays = (mixed, components, group.row_start, group.atom_index, correlation)
            _sum_correlations(*[array.numpy() for array in arrays])
            continue
        bounds = group.row_start.tolist()
        for member, atom in enumerate(group.atom_index.tolist()):
            rows = slice(bounds[member], bounds[member + 1])
            seen = torch.nn.functional.conv1d(mixed[None, rows], group.temporal[None, rows])
            correlation[atom] = seen[0, 0, :num_shifts]
    return correlation


@compile_loops(reorder_sums=True)
@no_type_check
def _sum_correlations(signals, components, row_start, atom_index, correlation):
    """Fill rows of `correlation` with sums of correlations of signals (row, sample) with components (row, width).

    Two rows and TAPS of their samples at a time. The width is a multiple of TAPS.
    """
    for member in range(atom_index.size):
        for start in range(0, correlation.shape[1], BLOCK):
            end = min(start + BLOCK, correlation.shape[1])
            block = correlation[atom_index[member], start:end]
            block[:] = 0
            for row in range(row_start[member], row_start[member + 1], 2):
                for tap in range(0, components.shape[1], TAPS):
                    window = slice(start + tap, end + tap + TAPS)
                    one, two = signals[row, window], signals[row + 1, window]
                    first, second = components[row, tap : tap + TAPS], components[row + 1, tap : tap + TAPS]
                    for shift in range(block.size):
                        value = block[shift]
                        for step in range(TAPS):
                            value += first[step] * one[shift + step] + second[step] * two[shift + step]
                        block[shift] = value
