"""Priors of the code: each as an expression, its penalty, and as an activation, its proximal operator.

The activation of a prior with penalty ``p`` is what one iteration of the encoder applies to
``v = code + step_size * H^T residual``: the minimizer of ``1/2 ||x - v||^2 + step_size * p(x)`` over ``x``.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.checks import check_at_least_one, check_tensor

StepSize = float | Float[Tensor, " batch"]


@runtime_checkable
class Prior(Protocol):
    """Minus the logarithm of a density of codes, up to a constant."""

    def penalty(self, code: Tensor) -> Float[Tensor, " batch"]:
        """Return what the prior adds to the objective of each window."""
        ...

    def activation(self, code: Tensor, step_size: StepSize) -> Tensor:
        """Return the proximal operator of ``step_size * penalty``; the step size is one number, or one per window."""
        ...


def soft_threshold(
    code: Float[Tensor, "batch atom *shift"],
    threshold: Float[Tensor, "*batch atom"],
    *,
    nonnegative: bool = False,
) -> Float[Tensor, "batch atom *shift"]:
    """Shrink every coefficient towards zero by the threshold of its atom.

    This is the proximal operator of ``sum_k threshold_k * ||code_k||_1`` [1]_.

    Parameters
    ----------
    code : Tensor, shape (batch, atom, ...)
        Coefficients, in standard deviations of the whitened noise.
    threshold : Tensor, shape (atom,) or (batch, atom)
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
    shrink = _per_atom(threshold, code)
    if nonnegative:
        return (code - shrink).clamp_min(0.0)
    if torch.is_grad_enabled() and (code.requires_grad or shrink.requires_grad):
        return _Shrinkage.apply(code, shrink)
    return _shrunk(code, shrink)


def _shrunk(code: Tensor, shrink: Tensor) -> Tensor:
    kept = code.clamp(-shrink, shrink)
    return torch.sub(code, kept, out=kept)


class _Shrinkage(torch.autograd.Function):
    """Two-sided shrinkage, whose gradient takes fewer passes over memory than that of ``clamp`` between tensors."""

    @staticmethod
    def forward(code: Tensor, shrink: Tensor) -> Tensor:
        return _shrunk(code, shrink)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.shrink_shape = inputs[1].shape
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        sign = ctx.saved_tensors[0].sign()
        signed = gradients[0] * sign
        return signed * sign, -signed.sum_to_size(ctx.shrink_shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparse:
    """Laplace prior, or with `nonnegative` an exponential one: ``sum_c lambda_c ||x_c||_1``.

    Parameters
    ----------
    regularization : Tensor, shape (atom,) or (batch, atom)
        Lambda, zero or more.
    nonnegative : bool, default: False
        If True, codes below zero are ruled out: the activation is ``relu(v - step_size * lambda)``.

    References
    ----------
    .. [1] Parikh and Boyd, "Proximal algorithms", 2014, section 6.5.2.
    """

    regularization: Float[Tensor, "*batch atom"]
    nonnegative: bool = False

    def __post_init__(self) -> None:
        """Refuse a penalty that rewards."""
        _check_nonnegative("regularization", self.regularization)

    @property
    def thresholds(self) -> Float[Tensor, "atom sign"]:
        """Lambda of each atom for positive and for negative coefficients; inf where a sign is ruled out.

        Raises
        ------
        ValueError
            If every window has lambdas of its own.
        """
        level = self.regularization
        if level.ndim != 1:
            raise ValueError(
                f"regularization has shape {tuple(level.shape)}: a descent needs one lambda per atom; use fista"
            )
        return torch.stack([level, torch.full_like(level, torch.inf) if self.nonnegative else level], dim=1)

    def penalty(self, code: Float[Tensor, "batch atom *shift"]) -> Float[Tensor, " batch"]:
        """Return the weighted l1 norm, infinite for a negative coefficient where none is allowed."""
        value = (self.regularization * code.abs().flatten(2).sum(dim=2)).sum(dim=1)
        return _ruled_out(value, code < 0) if self.nonnegative else value

    def activation(self, code: Float[Tensor, "batch atom *shift"], step_size: StepSize) -> Tensor:
        """Return the code shrunk by ``step_size * lambda``."""
        return soft_threshold(code, _scaled(self.regularization, step_size), nonnegative=self.nonnegative)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A price on every coefficient that is not zero: ``1/2 sum_c lambda_c^2 ||x_c||_0``.

    At a step size of 1 its activation is the hard threshold at lambda, which Eq. 2 of [1]_ prints one-sided. The
    penalty is not convex: what an iteration ends at is a local minimum.

    Parameters
    ----------
    regularization : Tensor, shape (atom,) or (batch, atom)
        Lambda, zero or more.
    nonnegative : bool, default: False
        If True, codes below zero are ruled out.

    References
    ----------
    .. [1] Barari and Kim, "Linking sparse coding dictionaries for representation learning", 2021.
    """

    regularization: Float[Tensor, "*batch atom"]
    nonnegative: bool = False

    def __post_init__(self) -> None:
        """Refuse a price that rewards."""
        _check_nonnegative("regularization", self.regularization)

    def penalty(self, code: Float[Tensor, "batch atom *shift"]) -> Float[Tensor, " batch"]:
        """Return the price of all that is not zero, infinite for a negative coefficient where none is allowed."""
        value = (self.regularization.square() / 2 * (code != 0).flatten(2).sum(dim=2)).sum(dim=1)
        return _ruled_out(value, code < 0) if self.nonnegative else value

    def activation(self, code: Float[Tensor, "batch atom *shift"], step_size: StepSize) -> Tensor:
        """Return the code where it exceeds ``sqrt(step_size) * lambda``, and zero elsewhere."""
        root = step_size.sqrt() if isinstance(step_size, Tensor) else step_size**0.5
        size = code if self.nonnegative else code.abs()
        return code * (size > _per_atom(_scaled(self.regularization, root), code))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ridge:
    """Gaussian prior: ``sum_c ||x_c||^2 / (2 variance_c)``.

    The slides print ``||x||^2 / variance``; the activation beside it belongs to half of that.

    Parameters
    ----------
    variance : Tensor, shape (atom,)
        Variance of the coefficients, above zero.
    """

    variance: Float[Tensor, " atom"]

    def __post_init__(self) -> None:
        """Refuse a variance that is none."""
        _check_variance("variance", self.variance)

    def penalty(self, code: Float[Tensor, "batch atom *shift"]) -> Float[Tensor, " batch"]:
        """Return half the squared code in units of the variance."""
        return code.square().flatten(2).sum(dim=2) @ (0.5 / self.variance)

    def activation(self, code: Float[Tensor, "batch atom *shift"], step_size: StepSize) -> Tensor:
        """Return ``variance / (step_size + variance)`` times the code."""
        return code * _per_atom(_gain(self.variance, step_size), code)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoSidedGaussian:
    """Gaussian prior with another variance on either side of zero; the activation is a leaky ReLU.

    Parameters
    ----------
    positive_variance, negative_variance : Tensor, shape (atom,)
        Variance of the coefficients above and below zero, itself above zero.
    """

    positive_variance: Float[Tensor, " atom"]
    negative_variance: Float[Tensor, " atom"]

    def __post_init__(self) -> None:
        """Refuse a variance that is none."""
        _check_variance("positive_variance", self.positive_variance)
        _check_variance("negative_variance", self.negative_variance)

    def penalty(self, code: Float[Tensor, "batch atom *shift"]) -> Float[Tensor, " batch"]:
        """Return half the squared code in units of the variance of its side."""
        above, below = (side.clamp_min(0.0).square().flatten(2).sum(dim=2) for side in (code, -code))
        return above @ (0.5 / self.positive_variance) + below @ (0.5 / self.negative_variance)

    def activation(self, code: Float[Tensor, "batch atom *shift"], step_size: StepSize) -> Tensor:
        """Return the code times ``variance / (step_size + variance)`` of its side."""
        above = _per_atom(_gain(self.positive_variance, step_size), code)
        below = _per_atom(_gain(self.negative_variance, step_size), code)
        return code.clamp_min(0.0) * above + code.clamp_max(0.0) * below


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSparse:
    """Atoms that come together: ``sum_g lambda_g ||x_g||_2`` over groups of neighboring atoms at one shift.

    The slides print the activation without the step size, and for ``x >= 0`` without the projection that this needs
    before the shrinkage.

    Parameters
    ----------
    regularization : Tensor, shape (group,)
        Lambda of each group, zero or more.
    group_size : int
        Atoms of a group; the atoms are ``group_size`` times as many as the groups.
    nonnegative : bool, default: False
        If True, codes below zero are ruled out.

    References
    ----------
    .. [1] Parikh and Boyd, "Proximal algorithms", 2014, section 6.5.4.
    """

    regularization: Float[Tensor, " group"]
    group_size: int
    nonnegative: bool = False

    def __post_init__(self) -> None:
        """Refuse a penalty that rewards, and groups of nothing."""
        _check_nonnegative("regularization", self.regularization)
        check_at_least_one(group_size=self.group_size)

    def penalty(self, code: Float[Tensor, "batch atom *shift"]) -> Float[Tensor, " batch"]:
        """Return the weighted sum of the norms of the groups, infinite for a coefficient that is ruled out."""
        value = self._groups(code).norm(dim=2).flatten(2).sum(dim=2) @ self.regularization
        return _ruled_out(value, code < 0) if self.nonnegative else value

    def activation(self, code: Float[Tensor, "batch atom *shift"], step_size: StepSize) -> Tensor:
        """Return ``(1 - step_size lambda_g / ||v_g||)_+ v_g``, of the positive part of the code if `nonnegative`."""
        groups = self._groups(code.clamp_min(0.0) if self.nonnegative else code)
        norm = groups.norm(dim=2, keepdim=True)
        shrink = _per_atom(_scaled(self.regularization, step_size), groups)
        tiny = torch.finfo(code.dtype).tiny
        return (groups * ((norm - shrink).clamp_min(0.0) / norm.clamp_min(tiny))).view_as(code)

    def _groups(self, code: Float[Tensor, "batch atom *shift"]) -> Float[Tensor, "batch group member *shift"]:
        num_groups = len(self.regularization)
        if code.shape[1] != num_groups * self.group_size:
            raise ValueError(
                f"code has {code.shape[1]} atoms: {num_groups} groups of group_size = {self.group_size} "
                f"need {num_groups * self.group_size}"
            )
        return code.contiguous().view(len(code), num_groups, self.group_size, *code.shape[2:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Simplex:
    """Proportions: at every shift the coefficients of all atoms are zero or more and add up to one.

    References
    ----------
    .. [1] Held, Wolfe and Crowder, "Validation of subgradient optimization", Mathematical Programming 6, 1974.
    """

    def penalty(self, code: Float[Tensor, "batch atom *shift"]) -> Float[Tensor, " batch"]:
        """Return zero for proportions, up to rounding, and infinity for all else."""
        tolerance = 10 * code.shape[1] * torch.finfo(code.dtype).eps
        outside = (code < 0).any(dim=1) | ((code.sum(dim=1) - 1).abs() > tolerance)
        return _ruled_out(code.new_zeros(len(code)), outside)

    def activation(self, code: Float[Tensor, "batch atom *shift"], step_size: StepSize) -> Tensor:
        """Return the nearest proportions: ``relu(v - b)`` with the ``b`` that makes them add up to one."""
        descending = code.sort(dim=1, descending=True).values
        count = torch.arange(1, code.shape[1] + 1, dtype=code.dtype, device=code.device)
        excess = (descending.cumsum(dim=1) - 1) / _per_atom(count, code)
        num_positive = (descending > excess).sum(dim=1, keepdim=True)
        return (code - excess.gather(1, num_positive - 1)).clamp_min(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnSupport:
    """Another prior, with all coefficients ruled out but those at given places, such as known event times.

    Parameters
    ----------
    prior : Prior
        Prior of the coefficients that remain. Its penalty must be a sum over coefficients.
    support : Tensor, broadcast to (batch, atom, ...)
        True where the code may be other than zero.
    """

    prior: Prior
    support: Tensor

    def penalty(self, code: Float[Tensor, "batch atom *shift"]) -> Float[Tensor, " batch"]:
        """Return the penalty of the prior, infinite for a coefficient that is ruled out."""
        return _ruled_out(self.prior.penalty(code), (code != 0) & ~self.support)

    def activation(self, code: Float[Tensor, "batch atom *shift"], step_size: StepSize) -> Tensor:
        """Return the activation of the prior, zero off the support."""
        return self.prior.activation(code, step_size) * self.support


# All priors by name: what can be saved, and what the tests take.
PRIORS: dict[str, type] = {
    kind.__name__: kind for kind in (Sparse, Counted, Ridge, TwoSidedGaussian, GroupSparse, Simplex, OnSupport)
}


def _per_atom(values: Tensor, code: Tensor) -> Tensor:
    """Return values of shape (atom,) or (batch, atom) so that they broadcast to the code."""
    return values.reshape(*values.shape, *[1] * (code.ndim - 2))


def _scaled(values: Tensor, step_size: StepSize) -> Tensor:
    """Return values of shape (atom,) or (batch, atom) times a step size, of shape (batch, atom) if it has a batch."""
    return values * (step_size[:, None] if isinstance(step_size, Tensor) else step_size)


def _gain(variance: Float[Tensor, " atom"], step_size: StepSize) -> Tensor:
    return variance / ((step_size[:, None] if isinstance(step_size, Tensor) else step_size) + variance)


def _ruled_out(value: Float[Tensor, " batch"], is_outside: Tensor) -> Float[Tensor, " batch"]:
    return value.masked_fill(is_outside.flatten(1).any(dim=1), torch.inf)


def _check_nonnegative(name: str, values: Tensor) -> None:
    check_tensor(name, values)
    if not bool((values >= 0).all()):
        raise ValueError(
            f"{name} = {values.tolist()}: every value must be zero or more; "
            "4 standard deviations of the correlation map is a good start"
        )


def _check_variance(name: str, values: Tensor) -> None:
    check_tensor(name, values)
    if not bool((values > 0).all()):
        raise ValueError(f"{name} = {values.tolist()}: every value must be above zero; a large one is a weak prior")
