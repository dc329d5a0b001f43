"""The M-step for the regularization: how sparse the codes are decides how strongly they are penalized.

The coefficients of an atom are modelled as independent Laplace variables of rate lambda, and lambda as a Gamma variable
of shape r and rate delta [1]_.

References
----------
.. [1] Tolooshams, Dey and Ba, "Deep residual auto-encoders for expectation maximization-based dictionary learning",
   IEEE TNNLS, 2021, section V.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.checks import check_at_least_one


def update_regularization(
    code_l1: Float[Tensor, " atom"],
    num_coefficients: int,
    *,
    prior_shape: float,
    prior_rate: float | Float[Tensor, " atom"],
) -> Float[Tensor, " atom"]:
    """Return the most probable regularization of every atom, given its code.

    The minimizer of `regularization_loss` at a fixed code, Eq. 20 of [1]_ for each atom by itself::

        lambda_c = (num_coefficients + r - 1) / (||x_c||_1 + delta)

    Parameters
    ----------
    code_l1 : Tensor, shape (atom,)
        l1 norm of each atom's code, summed over shifts and windows, in whitened units.
    num_coefficients : int
        Shifts per window times windows: the number of terms of that sum.
    prior_shape : float
        Shape r of the Gamma prior; 1 with `prior_rate` 0 is no prior.
    prior_rate : float or Tensor, shape (atom,)
        Rate delta of the Gamma prior.

    Returns
    -------
    Tensor, shape (atom,)
        Regularization, in whitened units.

    Raises
    ------
    ValueError
        If the estimate of an atom would not be positive and finite.

    Notes
    -----
    The prior counts once for all windows. The paper counts it once per window: that is the mean over windows of the
    l1 norm, with the coefficients of one window. It has one regularization for all atoms: that is the mean over atoms.

    References
    ----------
    .. [1] Tolooshams, Dey and Ba, "Deep residual auto-encoders for expectation maximization-based dictionary
       learning", IEEE TNNLS, 2021, Eq. 20.

    Examples
    --------
    >>> update_regularization(torch.tensor([5.0, 20.0]), 100, prior_shape=1.0, prior_rate=0.0)
    tensor([20.,  5.])
    """
    exponent = num_coefficients + prior_shape - 1.0
    if not exponent > 0:
        raise ValueError(
            f"num_coefficients = {num_coefficients}, prior_shape = {prior_shape}: num_coefficients + prior_shape must "
            "exceed 1; pass the number of coefficients that code_l1 sums over"
        )
    total_rate = code_l1 + prior_rate
    if not bool((total_rate > 0).all()):
        raise ValueError(
            f"code_l1 + prior_rate = {total_rate.tolist()}: every value must be positive; an atom without code needs a "
            "prior, see centered_prior"
        )
    return exponent / total_rate


def regularization_loss(
    regularization: Float[Tensor, " atom"],
    code_l1: Float[Tensor, " atom"],
    num_coefficients: int,
    *,
    prior_shape: float,
    prior_rate: float | Float[Tensor, " atom"],
) -> Float[Tensor, ""]:
    """Return the negative log posterior of the regularization, up to a constant, summed over atoms.

    Eq. 25 of [1]_ with one regularization per atom::

        sum_c lambda_c * (||x_c||_1 + delta) - (num_coefficients + r - 1) * log(lambda_c)

    With a detached `code_l1` its minimizer is `update_regularization`. With a `code_l1` that carries the gradient of
    the encoder it is the loss of the paper's second back-propagation, whose gradient is Eq. 37.

    Parameters
    ----------
    regularization : Tensor, shape (atom,)
        Positive; expand a scalar parameter to learn one regularization for all atoms.
    code_l1 : Tensor, shape (atom,)
        l1 norm of each atom's code, summed over shifts and windows, in whitened units.
    num_coefficients : int
        Shifts per window times windows: the number of terms of that sum.
    prior_shape : float
        Shape r of the Gamma prior.
    prior_rate : float or Tensor, shape (atom,)
        Rate delta of the Gamma prior.

    Returns
    -------
    Tensor, scalar
        The loss, dimensionless.

    References
    ----------
    .. [1] Tolooshams, Dey and Ba, "Deep residual auto-encoders for expectation maximization-based dictionary
       learning", IEEE TNNLS, 2021, Eq. 25 and 37.
    """
    exponent = num_coefficients + prior_shape - 1.0
    return (regularization * (code_l1 + prior_rate) - exponent * torch.log(regularization)).sum()


def centered_prior(
    regularization: Float[Tensor, " atom"],
    *,
    num_coefficients: int,
    strength: float,
) -> tuple[float, Float[Tensor, " atom"]]:
    """Return the shape and the rates of the Gamma prior whose mode is a given regularization.

    With ``delta = strength * N / lambda_0`` and ``r = delta * lambda_0 + 1 = strength * N + 1``, where N is
    `num_coefficients`, the mode ``(r - 1) / delta`` is ``lambda_0`` and the estimate of `update_regularization` is::

        lambda_0 * (1 + strength) / (lambda_0 * ||x||_1 / N + strength)

    So it is ``lambda_0`` itself for a code as large as the Laplace model expects, ``||x||_1 = N / lambda_0``; smaller
    for a larger code; and larger for a smaller one, up to ``lambda_0 * (1 + 1 / strength)`` for an empty code. The
    codes of spikes are so sparse that the estimate stays close to that limit.

    Parameters
    ----------
    regularization : Tensor, shape (atom,)
        ``lambda_0``: the value that noise justifies, in whitened units.
    num_coefficients : int
        N, as handed to `update_regularization`; the prior then weighs the same for any amount of data.
    strength : float
        Weight of the prior against the code: the prior is worth ``strength * N`` coefficients.

    Returns
    -------
    prior_shape : float
        Shape r, the same for all atoms.
    prior_rate : Tensor, shape (atom,)
        Rate delta of each atom.

    Raises
    ------
    ValueError
        If a number is not positive.

    Examples
    --------
    An empty code, with a prior ten times stronger than the code:

    >>> shape, rate = centered_prior(torch.tensor([5.0]), num_coefficients=100, strength=10.0)
    >>> update_regularization(torch.tensor([0.0]), 100, prior_shape=shape, prior_rate=rate)
    tensor([5.5000])
    """
    check_at_least_one(num_coefficients=num_coefficients)
    if not strength > 0:
        raise ValueError(
            f"strength = {strength}: it must be positive; 10 keeps the estimate within 10 % above its start"
        )
    if not bool((regularization > 0).all()):
        raise ValueError(f"regularization = {regularization.tolist()}: every value must be positive")
    weight = strength * num_coefficients
    return weight + 1.0, weight / regularization
