"""The linear model: a dictionary applied to a code, its adjoint, and a bound on its norm.

Atoms of traces have one axis of samples, atoms of images two, rows and columns: the annotations write ``*width`` and
``*sample`` for either. Images at a stride are cut into patches and multiplied by the matrix of atoms, which a CPU does
faster than a convolution; at stride 1 the patches would take too much memory. Windows as large as an atom are
multiplied by that matrix as they are.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from si_crsae.core.checks import check_fit

# The bound of `lipschitz_bound` exceeds the true value by at most 1 / cos(pi / 16), that is 2 %.
_FREQUENCIES_PER_SAMPLE = 16


def count_shifts(num_samples: int, *, width: int) -> int:
    """Return how many positions an atom can take inside a window.

    Parameters
    ----------
    num_samples : int
        Length of the window, in samples.
    width : int
        Length of the atoms, in samples.

    Returns
    -------
    int
        ``num_samples - width + 1``.

    Raises
    ------
    ValueError
        If the window is shorter than the atoms.

    Examples
    --------
    >>> count_shifts(100, width=30)
    71
    """
    if num_samples < width:
        raise ValueError(
            f"num_samples = {num_samples}: a window must be at least as long as the atoms, {width} samples; "
            "use longer windows or shorter atoms"
        )
    return num_samples - width + 1


def synthesize(
    code: Float[Tensor, "batch atom *shift"],
    atoms: Float[Tensor, "atom channel *width"],
    *,
    stride: int = 1,
    margin: int | tuple[int, ...] = 0,
    sample_shape: tuple[int, ...] | None = None,
) -> Float[Tensor, "batch channel *sample"]:
    """Return the traces that a code stands for: the sum of its convolutions with the atoms.

    In the notation of [1]_, ``H x = sum_c h_c * x_c`` with the full linear convolution.

    Parameters
    ----------
    code : Tensor, shape (batch, atom, ...)
        Coefficients; the one at ``shift`` places the first sample of its atom at ``sample = stride * shift - margin``.
    atoms : Tensor, shape (atom, channel, ...)
        Dictionary, in whitened units.
    stride : int, default: 1
        Samples from one position of an atom to the next.
    margin : int or tuple of int, default: 0
        Samples by which the first and the last position stick out of the window, on every axis or per axis.
    sample_shape : tuple of int, default: None
        Size of the window, which a stride leaves open by fewer than `stride` samples; if None, the smallest.

    Returns
    -------
    Tensor, shape (batch, channel, ...)
        Reconstructed traces, ``sample = stride * (shift - 1) + width - 2 * margin`` unless `sample_shape` is given.

    References
    ----------
    .. [1] Tolooshams, Dey and Ba, "Deep residual auto-encoders for expectation maximization-based dictionary
       learning", IEEE TNNLS, 2021, Eq. 3.

    Examples
    --------
    >>> synthesize(torch.tensor([[[0.0, 2.0, 0.0]]]), torch.tensor([[[1.0, -3.0]]]))
    tensor([[[ 0.,  2., -6.,  0.]]])
    """
    check_fit("code", code, atoms, axis=0)
    margins = (margin,) * (atoms.ndim - 2) if isinstance(margin, int) else margin
    sizes = zip(code.shape[2:], atoms.shape[2:], margins, strict=True)
    covered = tuple(stride * (shifts - 1) + width - 2 * reach for shifts, width, reach in sizes)
    if set(code.shape[2:]) == {1} and not any(margins) and sample_shape in (None, covered):
        return (code.flatten(1) @ atoms.flatten(1)).unflatten(1, atoms.shape[1:])
    if atoms.ndim == 4 and stride > 1:
        patches = atoms.flatten(1).T @ code.flatten(2)
        return functional.fold(patches, sample_shape or covered, atoms.shape[2:], stride=stride, padding=margins)
    transpose = functional.conv_transpose1d if atoms.ndim == 3 else functional.conv_transpose2d
    rest = tuple(size - part for size, part in zip(sample_shape or covered, covered, strict=True))
    return transpose(code, atoms, stride=stride, padding=margins, output_padding=rest)


def correlate(
    traces: Float[Tensor, "batch channel *sample"],
    atoms: Float[Tensor, "atom channel *width"],
    *,
    stride: int = 1,
    margin: int | tuple[int, ...] = 0,
) -> Float[Tensor, "batch atom *shift"]:
    """Return the correlation of the traces with every atom at every shift, the adjoint of `synthesize`.

    Parameters
    ----------
    traces : Tensor, shape (batch, channel, ...)
        Whitened traces, or images.
    atoms : Tensor, shape (atom, channel, ...)
        Dictionary, in whitened units.
    stride : int, default: 1
        Samples from one position of an atom to the next.
    margin : int or tuple of int, default: 0
        Samples by which the first and the last position stick out of the window, on every axis or per axis.

    Returns
    -------
    Tensor, shape (batch, atom, ...)
        ``H^T y``, summed over channels, with ``shift = (sample + 2 * margin - width) // stride + 1``.

    Raises
    ------
    ValueError
        If the traces are shorter than the atoms.

    Examples
    --------
    >>> correlate(torch.tensor([[[0.0, 2.0, -6.0, 0.0]]]), torch.tensor([[[1.0, -3.0]]]))
    tensor([[[-6., 20., -6.]]])
    """
    check_fit("traces", traces, atoms)
    margins = (margin,) * (atoms.ndim - 2) if isinstance(margin, int) else margin
    for num_samples, width in zip(traces.shape[2:], atoms.shape[2:], strict=True):
        count_shifts(num_samples, width=width)
    if traces.shape[2:] == atoms.shape[2:] and not any(margins):
        return (traces.flatten(1) @ atoms.flatten(1).T).reshape(len(traces), -1, *[1] * len(margins))
    if atoms.ndim == 4 and stride > 1:
        patches = functional.unfold(traces, atoms.shape[2:], stride=stride, padding=margins)
        sizes = zip(traces.shape[2:], atoms.shape[2:], margins, strict=True)
        shifts = [(size + 2 * reach - width) // stride + 1 for size, width, reach in sizes]
        return (atoms.flatten(1) @ patches).unflatten(2, shifts)
    convolve = functional.conv1d if atoms.ndim == 3 else functional.conv2d
    return convolve(traces, atoms, stride=stride, padding=margin)


def atom_correlations(atoms: Float[Tensor, "atom channel width"]) -> Float[Tensor, "atom atom lag"]:
    """Return the correlation of every pair of atoms at every lag: what ``H^T H`` is made of.

    Parameters
    ----------
    atoms : Tensor, shape (atom, channel, width)
        Dictionary, in whitened units.

    Returns
    -------
    Tensor, shape (atom, atom, 2 * width - 1)
        At ``[b, a, width - 1 + lag]`` the correlation of atom ``a``, placed `lag` samples after atom ``b``, with it.

    Examples
    --------
    >>> atom_correlations(torch.tensor([[[1.0, -3.0]]]))
    tensor([[[-3., 10., -3.]]])
    """
    reach = atoms.shape[-1] - 1
    return correlate(functional.pad(atoms, (reach, reach)), atoms)


def lipschitz_bound(atoms: Float[Tensor, "atom channel *width"]) -> Float[Tensor, ""]:
    """Return an upper bound, at most 2 % too large per axis, of the largest eigenvalue of ``H^T H``.

    Its inverse is a valid step size of the proximal gradient for windows of any length; power iteration, which comes
    from below, gives one with which the iteration may diverge. The largest eigenvalue of
    ``H^T H`` grows with the length of the window towards the largest squared singular value of the (channel, atom)
    matrix of Fourier transforms over all frequencies, which is what is bounded here: along any fixed direction the
    squared gain is a trigonometric polynomial of degree ``width - 1``, so its maximum exceeds that on a grid of
    ``num_frequencies`` points by at most ``1 / cos(pi * (width - 1) / num_frequencies)`` [1]_.

    Parameters
    ----------
    atoms : Tensor, shape (atom, channel, ...)
        Dictionary, in whitened units.

    Returns
    -------
    Tensor, scalar
        The bound, up to rounding; differentiable with respect to `atoms`.

    Raises
    ------
    ValueError
        If the atoms are NaN, infinite or none.

    Notes
    -----
    The cost is ``8 * width`` singular value decompositions of a (channel, atom) matrix, ``128 * width**2`` for images:
    once per dictionary, not once per window.

    References
    ----------
    .. [1] Ehlich and Zeller, "Schwankung von Polynomen zwischen Gitterpunkten", Mathematische Zeitschrift 86, 1964.

    Examples
    --------
    >>> float(lipschitz_bound(torch.tensor([[[3.0]], [[4.0]]])))
    25.0
    """
    check_fit("atoms", atoms, atoms)
    if atoms.numel() == 0 or not bool(atoms.isfinite().all()):
        raise ValueError(f"atoms has shape {tuple(atoms.shape)}: it must have values, none of them NaN or infinite")
    widths = atoms.shape[2:]
    num_frequencies = [_FREQUENCIES_PER_SAMPLE * width for width in widths]
    transfer = torch.fft.rfftn(atoms, s=num_frequencies).flatten(2).permute(2, 1, 0)
    # A matrix of one row, as a channel gives, has its norm for its only singular value.
    gains = transfer.norm(dim=(1, 2)) if transfer.shape[1] == 1 else torch.linalg.matrix_norm(transfer, ord=2)
    largest_gain = gains.amax()
    sizes = zip(widths, num_frequencies, strict=True)
    between = math.prod(math.cos(math.pi * (width - 1) / count) for width, count in sizes)
    return largest_gain.square() / between
