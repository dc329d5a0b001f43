"""Correlation of traces with a dictionary, through its temporal components."""

import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.convolution import count_shifts

FILTER_BLOCK = 32


def filter_with_basis(
    traces: Float[Tensor, "channel sample"], basis: Float[Tensor, "component width"]
) -> Float[Tensor, "channel shift component"]:
    """Correlate every channel with every temporal component.

    Blocks of neighboring shifts are one product with a banded (Toeplitz) matrix, two to three times faster on a CPU
    than a convolution with a single input channel.

    Parameters
    ----------
    traces : Tensor, shape (channel, sample)
    basis : Tensor, shape (component, width)

    Returns
    -------
    Tensor, shape (channel, shift, component)
        ``shift = sample - width + 1``.

    Raises
    ------
    ValueError
        If the traces are shorter than the components.
    """
    num_components, width = basis.shape
    num_shifts = count_shifts(traces.shape[1], width=width)
    num_blocks = -(-num_shifts // FILTER_BLOCK)
    banded = basis.new_zeros(FILTER_BLOCK + width - 1, FILTER_BLOCK, num_components)
    for position in range(FILTER_BLOCK):
        banded[position : position + width, position] = basis.T
    padding = num_blocks * FILTER_BLOCK + width - 1 - traces.shape[1]
    windows = torch.nn.functional.pad(traces, (0, padding)).unfold(1, FILTER_BLOCK + width - 1, FILTER_BLOCK)
    filtered = windows.flatten(0, 1) @ banded.flatten(1)
    return filtered.reshape(traces.shape[0], num_blocks * FILTER_BLOCK, num_components)[:, :num_shifts]


def correlate_filtered(
    filtered: Float[Tensor, "channel shift component"], weights: Float[Tensor, "atom channel component"]
) -> Float[Tensor, "atom shift"]:
    """Return the correlation of the traces with every atom, from the traces filtered with the basis.

    One dense product is fastest while atoms occupy a good part of the channels; on large probes every channel is
    multiplied with the few atoms that it takes part in.

    Parameters
    ----------
    filtered : Tensor, shape (channel, shift, component)
        What `filter_with_basis` returns.
    weights : Tensor, shape (atom, channel, component)
        Of the dictionary.

    Returns
    -------
    Tensor, shape (atom, shift)
    """
    num_atoms, num_channels, num_components = weights.shape
    occupied = weights.any(dim=2)
    if occupied.float().mean() > 0.1:
        columns = filtered.transpose(1, 2).reshape(num_channels * num_components, -1)
        return weights.flatten(1) @ columns
    correlation = filtered.new_zeros(num_atoms, filtered.shape[1])
    for channel in range(num_channels):
        atoms = occupied[:, channel].nonzero().flatten()
        if len(atoms):
            correlation.index_add_(0, atoms, weights[atoms, channel] @ filtered[channel].T)
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
