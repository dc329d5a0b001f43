"""The linear model: a dictionary applied to a code, its adjoint, and a bound on its norm."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

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
    code: Float[Tensor, "batch atom shift"],
    atoms: Float[Tensor, "atom channel width"],
) -> Float[Tensor, "batch channel shift+width-1"]:
    """Return the traces that a code stands for: the sum of its convolutions with the atoms.

    In the notation of [1]_, ``H x = sum_c h_c * x_c`` with the full linear convolution.

    Parameters
    ----------
    code : Tensor, shape (batch, atom, shift)
        Coefficients; the one at ``shift`` places the first sample of its atom at ``sample = shift``.
    atoms : Tensor, shape (atom, channel, width)
        Dictionary, in whitened units.

    Returns
    -------
    Tensor, shape (batch, channel, sample)
        Reconstructed traces, with ``sample = shift + width - 1``.

    References
    ----------
    .. [1] Tolooshams, Dey and Ba, "Deep residual auto-encoders for expectation maximization-based dictionary
       learning", IEEE TNNLS, 2021, Eq. 3.

    Examples
    --------
    >>> synthesize(torch.tensor([[[0.0, 2.0, 0.0]]]), torch.tensor([[[1.0, -3.0]]]))
    tensor([[[ 0.,  2., -6.,  0.]]])
    """
    return functional.conv_transpose1d(code, atoms)


def correlate(
    traces: Float[Tensor, "batch channel sample"],
    atoms: Float[Tensor, "atom channel width"],
) -> Float[Tensor, "batch atom sample-width+1"]:
    """Return the correlation of the traces with every atom at every shift, the adjoint of `synthesize`.

    Parameters
    ----------
    traces : Tensor, shape (batch, channel, sample)
        Whitened traces.
    atoms : Tensor, shape (atom, channel, width)
        Dictionary, in whitened units.

    Returns
    -------
    Tensor, shape (batch, atom, shift)
        ``H^T y``, summed over channels, with ``shift = sample - width + 1``.

    Raises
    ------
    ValueError
        If the traces are shorter than the atoms.

    Examples
    --------
    >>> correlate(torch.tensor([[[0.0, 2.0, -6.0, 0.0]]]), torch.tensor([[[1.0, -3.0]]]))
    tensor([[[-6., 20., -6.]]])
    """
    count_shifts(traces.shape[-1], width=atoms.shape[-1])
    return functional.conv1d(traces, atoms)


def lipschitz_bound(atoms: Float[Tensor, "atom channel width"]) -> Float[Tensor, ""]:
    """Return an upper bound, at most 2 % too large, of the largest eigenvalue of ``H^T H``.

    Its inverse is a valid step size of the proximal gradient for windows of any length. The largest eigenvalue of
    ``H^T H`` grows with the length of the window towards the largest squared singular value of the (channel, atom)
    matrix of Fourier transforms over all frequencies, which is what is bounded here: along any fixed direction the
    squared gain is a trigonometric polynomial of degree ``width - 1``, so its maximum exceeds that on a grid of
    ``num_frequencies`` points by at most ``1 / cos(pi * (width - 1) / num_frequencies)`` [1]_.

    Parameters
    ----------
    atoms : Tensor, shape (atom, channel, width)
        Dictionary, in whitened units.

    Returns
    -------
    Tensor, scalar
        The bound, up to rounding; differentiable with respect to `atoms`.

    Notes
    -----
    The cost is ``8 * width`` singular value decompositions of a (channel, atom) matrix: once per dictionary, not once
    per window.

    References
    ----------
    .. [1] Ehlich and Zeller, "Schwankung von Polynomen zwischen Gitterpunkten", Mathematische Zeitschrift 86, 1964.

    Examples
    --------
    >>> float(lipschitz_bound(torch.tensor([[[3.0]], [[4.0]]])))
    25.0
    """
    width = atoms.shape[-1]
    num_frequencies = _FREQUENCIES_PER_SAMPLE * width
    transfer = torch.fft.rfft(atoms, n=num_frequencies).permute(2, 1, 0)
    largest_gain = torch.linalg.matrix_norm(transfer, ord=2).amax()
    return largest_gain.square() / math.cos(math.pi * (width - 1) / num_frequencies)
