"""Correlation of traces with a dictionary, through its temporal components."""

from typing import no_type_check

import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.compiled import HAS_NUMBA, compile_loops
from si_crsae.core.operators.convolution import count_shifts

# The CPU kernel makes so many products per load and store, on so many samples that stay in the fastest cache.
TAPS = 6
BLOCK = 1024
# Shifts that share one copy of the traces in the GPU's product.
BAND = 32


def filter_with_basis(
    traces: Float[Tensor, "channel sample"], basis: Float[Tensor, "component width"]
) -> Float[Tensor, "channel component shift"]:
    """Correlate every channel with every temporal component, on the device that the traces are on.

    Parameters
    ----------
    traces : Tensor, shape (channel, sample)
    basis : Tensor, shape (component, width)

    Returns
    -------
    Tensor, shape (channel, component, shift)
        ``shift = sample - width + 1``.

    Raises
    ------
    ValueError
        If the traces are shorter than the components.
    """
    num_components, width = basis.shape
    num_shifts = count_shifts(traces.shape[1], width=width)
    if traces.device.type != "cpu" or not HAS_NUMBA:
        return _filter_by_product(traces, basis, num_shifts)
    padded_basis = torch.nn.functional.pad(basis, (0, -width % TAPS, 0, -num_components % 2))
    padded_traces = torch.nn.functional.pad(traces, (0, -width % TAPS))
    filtered = traces.new_empty(len(traces), len(padded_basis), num_shifts)
    _filter_in_place(padded_traces.numpy(), padded_basis.numpy(), filtered.numpy())
    return filtered[:, :num_components]


@compile_loops(reorder_sums=True)
@no_type_check
def _filter_in_place(traces, basis, filtered):
    """Fill `filtered` with the correlation of traces (channel, sample) with a basis (component, width).

    Two components and TAPS of their samples at a time, which is twice as fast as a product with a banded matrix: every
    load serves many products. The width is a multiple of TAPS, the number of components even.
    """
    num_components, width = basis.shape
    for channel in range(traces.shape[0]):
        for start in range(0, filtered.shape[2], BLOCK):
            end = min(start + BLOCK, filtered.shape[2])
            for component in range(0, num_components, 2):
                first, second = filtered[channel, component, start:end], filtered[channel, component + 1, start:end]
                first[:] = 0
                second[:] = 0
                for tap in range(0, width, TAPS):
                    samples = traces[channel, start + tap : end + tap + TAPS]
                    one, two = basis[component, tap : tap + TAPS], basis[component + 1, tap : tap + TAPS]
                    for shift in range(first.size):
                        sum_one, sum_two = first[shift], second[shift]
                        for step in range(TAPS):
                            sum_one += one[step] * samples[shift + step]
                            sum_two += two[step] * samples[shift + step]
                        first[shift], second[shift] = sum_one, sum_two


def _filter_by_product(
    traces: Float[Tensor, "channel sample"], basis: Float[Tensor, "component width"], num_shifts: int
) -> Float[Tensor, "channel component shift"]:
    """Correlate blocks of neighboring shifts at once, as one product with a banded (Toeplitz) matrix."""
    num_components, width = basis.shape
    num_blocks = -(-num_shifts // BAND)
    banded = basis.new_zeros(BAND + width - 1, num_components, BAND)
    for position in range(BAND):
        banded[position : position + width, :, position] = basis.T
    padding = num_blocks * BAND + width - 1 - traces.shape[1]
    windows = torch.nn.functional.pad(traces, (0, padding)).unfold(1, BAND + width - 1, BAND)
    filtered = (windows @ banded.flatten(1)).unflatten(2, (num_components, BAND))
    return filtered.transpose(1, 2).flatten(2)[:, :, :num_shifts]


def correlate_filtered(
    filtered: Float[Tensor, "channel component shift"], weights: Float[Tensor, "atom channel component"]
) -> Float[Tensor, "atom shift"]:
    """Return the correlation of the traces with every atom, from the traces filtered with the basis.

    One dense product is fastest while atoms occupy a good part of the channels; on large probes every channel is
    multiplied with the few atoms that it takes part in.

    Parameters
    ----------
    filtered : Tensor, shape (channel, component, shift)
        What `filter_with_basis` returns.
    weights : Tensor, shape (atom, channel, component)
        Weights of the dictionary.

    Returns
    -------
    Tensor, shape (atom, shift)
    """
    occupied = weights.any(dim=2)
    if occupied.float().mean() > 0.1:
        return weights.flatten(1) @ filtered.flatten(0, 1)
    correlation = filtered.new_zeros(len(weights), filtered.shape[2])
    for channel, atoms in enumerate(occupied.T):
        if atoms.any():
            correlation[atoms] += weights[atoms, channel] @ filtered[channel]
    return correlation


def component_lags(basis: Float[Tensor, "component width"]) -> Float[Tensor, "component component lag"]:
    """Return the correlation of component r with component q delayed by ``lag - (width - 1)``, at [r, q, lag].

    Parameters
    ----------
    basis : Tensor, shape (component, width)
        Temporal components.

    Returns
    -------
    Tensor, shape (component, component, lag)
        ``lag = 2 * width - 1``.
    """
    width = basis.shape[1]
    delayed = torch.nn.functional.pad(basis, (width - 1, width - 1)).unfold(1, width, 1)
    return torch.einsum("rln,qn->rql", delayed, basis)
