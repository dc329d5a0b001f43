"""Proximal operators: one per penalty on the code."""

from jaxtyping import Float
from torch import Tensor


def soft_threshold(
    code: Float[Tensor, "batch atom *shift"],
    threshold: Float[Tensor, " atom"],
    *,
    nonnegative: bool = False,
) -> Float[Tensor, "batch atom *shift"]:
    """Shrink every coefficient towards zero by the threshold of its atom.

    This is the proximal operator of ``sum_k threshold_k * ||code_k||_1`` [1]_.

    Parameters
    ----------
    code : Tensor, shape (batch, atom, ...)
        Coefficients, in standard deviations of the whitened noise.
    threshold : Tensor, shape (atom,)
        Non-negative: regularization times step size.
    nonnegative : bool, default: False
        If True, also project on ``code >= 0``.

    Returns
    -------
    Tensor, shape (batch, atom, ...)
        A new tensor; `code` is left as it was.

    References
    ----------
    .. [1] Parikh and Boyd, "Proximal algorithms", 2014, section 6.5.2.

    Examples
    --------
    >>> import torch
    >>> code = torch.tensor([[[-3.0, -0.5, 0.5, 3.0]]])
    >>> soft_threshold(code, torch.tensor([1.0]))
    tensor([[[-2.,  0.,  0.,  2.]]])
    >>> soft_threshold(code, torch.tensor([1.0]), nonnegative=True)
    tensor([[[0., 0., 0., 2.]]])
    """
    shrink = threshold.reshape(-1, *[1] * (code.ndim - 2))
    if nonnegative:
        return (code - shrink).clamp_min(0.0)
    return code - code.clamp(-shrink, shrink)
