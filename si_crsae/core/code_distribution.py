"""The posterior of a code: a base distribution, and a threshold that makes its draws exactly sparse."""

import math
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Gamma, kl_divergence

from si_crsae.core.bases import Annealing, Base, Heads, LaplacianBase, SpikeAndSlab
from si_crsae.core.checks import check_at_least_zero, check_positive

_PARAMETER_RANGE = (1e-6, 1e6)
_NUM_NODES = 48
_AS_IT_WILL_BE = Annealing()
# A coefficient is out at the start if its threshold is this many of its scales, and in if it is this share of one.
_SILENT_SCALES, _ACTIVE_SCALES = 8.0, 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftedThreshold:
    """Soft threshold of the deviations; the shift is added to those that survive [1]_.

    With ``n = s - mu`` and ``t = sign(n) max(|n| - lambda, 0)``, a draw is 0 if t is, else ``mu + t``. Whether a
    coefficient is active depends on its scale and lambda alone.

    Parameters
    ----------
    level : float
        Lambda, or the mean of its prior if it is learned.
    learned : bool, default: False
        If True, lambda is drawn for every coefficient from a Gamma distribution whose parameters the network returns.
    concentration : float, default: 3.0
        Concentration of the Gamma prior of a learned lambda.
    kl_weight : float, default: 0.1
        Weight of the divergence of a learned lambda's posterior, relative to that of the base.
    straight_through : bool, default: True
        If True, the gradient passes the threshold as if it were not there, so that a coefficient that is out can learn
        to come in; if False, the subgradient, which is zero there.

    References
    ----------
    .. [1] Fallah and Rozell, "Variational sparse coding with learned thresholding", ICML 2022.
    """

    level: float
    learned: bool = False
    concentration: float = 3.0
    kl_weight: float = 0.1
    straight_through: bool = True

    def __post_init__(self) -> None:
        """Refuse numbers that are no threshold."""
        check_positive("level", self.level)
        check_positive("concentration", self.concentration)
        check_at_least_zero(kl_weight=self.kl_weight)

    @property
    def heads(self) -> tuple[str, ...]:
        """Logarithms of concentration and rate of a learned lambda."""
        return ("log_concentration", "log_rate") if self.learned else ()

    @property
    def prior(self) -> Gamma:
        """Prior of a learned lambda."""
        return Gamma(torch.tensor(self.concentration), torch.tensor(self.concentration / self.level))

    def posterior(self, heads: Heads) -> Gamma:
        """Return the distribution of every coefficient's learned lambda."""
        parameters = (heads[name].clamp(-14, 14).exp().clamp(*_PARAMETER_RANGE) for name in self.heads)
        return Gamma(*parameters, validate_args=False)

    def draw(self, heads: Heads, num_samples: int) -> Float[Tensor, "sample batch atom shift"] | None:
        """Return lambda for each draw of each coefficient if it is learned, with its gradient; else None."""
        return self.posterior(heads).rsample((num_samples,)) if self.learned else None

    def apply(
        self,
        center: Float[Tensor, "*#draw atom shift"],
        deviation: Float[Tensor, "*draw atom shift"],
        level: Float[Tensor, "*#draw atom shift"] | None,
    ) -> Float[Tensor, "*draw atom shift"]:
        """Return draws with these shifts, deviations and thresholds, `level` of this object if None."""
        threshold = self.level if level is None else level
        size = deviation.detach() if self.straight_through else deviation
        survivor = size.sign() * (size.abs() - threshold).clamp_min(0.0)
        if not self.straight_through:
            return torch.where(survivor != 0, center + survivor, 0.0)
        plain = center + deviation
        return plain - plain.detach() + torch.where(survivor != 0, center.detach() + survivor, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What is random in some draws of codes.

    Parameters
    ----------
    base : Tensor, shape (part, sample, batch, atom, shift)
        Noise of the base distribution.
    level : Tensor, shape (sample, batch, atom, shift), default: None
        Learned thresholds.
    """

    base: Float[Tensor, "part sample batch atom shift"]
    level: Float[Tensor, "sample batch atom shift"] | None = None

    def choose(self, sample: Int[Tensor, " batch"]) -> "Noise":
        """Return one draw of each window."""
        window = torch.arange(len(sample), device=sample.device)
        level = None if self.level is None else self.level[sample, window][None]
        return Noise(base=self.base[:, sample, window][:, None], level=level)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeDistribution:
    """Posterior and prior of codes, coefficient by coefficient.

    Parameters
    ----------
    base : Base, default: LaplacianBase()
    threshold : ShiftedThreshold, default: None
        If None, draws are what the base makes them: never zero, or zero with the probability of a gate.

    Raises
    ------
    ValueError
        If a spike-and-slab is to be thresholded: it is sparse already.

    Examples
    --------
    >>> distribution = CodeDistribution(threshold=ShiftedThreshold(level=0.25))
    >>> heads = {"shift": torch.ones(1, 2, 1), "log_scale": torch.tensor([0.02, 2.0]).log().view(1, 2, 1)}
    >>> distribution.probability_active(heads).flatten().round(decimals=3)
    tensor([0.0000, 0.8820])
    """

    base: Base = field(default_factory=LaplacianBase)
    threshold: ShiftedThreshold | None = None

    def __post_init__(self) -> None:
        """Refuse two ways to be zero at once."""
        if self.threshold is not None and isinstance(self.base, SpikeAndSlab):
            raise ValueError("threshold: a spike-and-slab is sparse already; take None, or another base")

    @property
    def heads(self) -> tuple[str, ...]:
        """What the network must tell about each coefficient."""
        return self.base.heads + (() if self.threshold is None else self.threshold.heads)

    @property
    def starts(self) -> dict[str, tuple[float, float]]:
        """First values of the heads but the shift, for a coefficient that is out and for one that is in."""
        starts = self.base.starts
        threshold = self.threshold
        if threshold is None:
            return starts
        if not threshold.learned:
            return starts | {
                "log_scale": (math.log(threshold.level / _SILENT_SCALES), math.log(threshold.level / _ACTIVE_SCALES))
            }
        concentration = math.log(threshold.concentration)
        silent, active = starts["log_scale"]
        return starts | {
            "log_concentration": (concentration, concentration),
            "log_rate": (
                concentration - silent - math.log(_SILENT_SCALES),
                concentration - active - math.log(_ACTIVE_SCALES),
            ),
        }

    def noise(self, heads: Heads, num_samples: int) -> Noise:
        """Return what is random in draws of the code of every window."""
        level = None if self.threshold is None else self.threshold.draw(heads, num_samples)
        return Noise(base=self.base.noise(heads, num_samples), level=level)

    def codes(
        self, heads: Heads, noise: Noise, annealing: Annealing = _AS_IT_WILL_BE
    ) -> Float[Tensor, "sample batch atom shift"]:
        """Return draws of codes, differentiable with respect to the heads."""
        deviation = self.base.deviation(heads, noise.base, annealing)
        if self.threshold is not None:
            return self.threshold.apply(heads["shift"], deviation, noise.level)
        gate = self.base.gate(heads, noise.base, annealing)
        values = heads["shift"] + deviation
        return values if gate is None else gate * values

    def kl(self, heads: Heads) -> Float[Tensor, "batch atom shift"]:
        """Return the divergence of every coefficient's posterior from its prior, in nats, a threshold's included."""
        divergence = self.base.kl(heads)
        if self.threshold is None or not self.threshold.learned:
            return divergence
        of_level = kl_divergence(self.threshold.posterior(heads), self.threshold.prior)
        return divergence + self.threshold.kl_weight * of_level

    def probability_active(self, heads: Heads) -> Float[Tensor, "batch atom shift"]:
        """Return the probability that a coefficient is not zero."""
        if self.threshold is None:
            return self.base.probability_in(heads)
        if not self.threshold.learned:
            return self.base.exceedance(heads, self.threshold.level)
        # The probability that lambda is below the deviation, averaged over the deviations.
        level = self.threshold.posterior(heads)
        total = torch.zeros_like(heads["shift"])
        for share, weight in zip(*_nodes(), strict=True):
            total += weight * torch.special.gammainc(level.concentration, level.rate * self.base.quantile(heads, share))
        return total

    def mean(self, heads: Heads) -> Float[Tensor, "batch atom shift"]:
        """Return the mean of the code: what survives a threshold scatters evenly around the shift."""
        return self.probability_active(heads) * heads["shift"]


def sparse_prior(
    noise_variance: float = 0.05, *, shrinkage: float = 2.0, probability: float = 0.05
) -> CodeDistribution:
    """Return a spike-and-slab whose bound on the evidence is the Lasso's objective, but for the entropy of the code.

    With a Laplacian slab of scale ``noise_variance / shrinkage``, minus the log of the joint density is
    ``(1/2 |x - A z|^2 + shrinkage |z|_1) / noise_variance`` and a price per active coefficient. The smaller the noise
    variance, the sharper is the posterior, and the closer its draws are to the Lasso's code.

    Parameters
    ----------
    noise_variance : float, default: 0.05
        That of the `Objective`.
    shrinkage : float, default: 2.0
        Weight of the l1 norm where the squared error counts 1/2.
    probability : float, default: 0.05
        Prior probability of a coefficient that is not zero.
    """
    check_positive("noise_variance", noise_variance)
    check_positive("shrinkage", shrinkage)
    return CodeDistribution(
        base=SpikeAndSlab(slab=LaplacianBase(scale=noise_variance / shrinkage), probability=probability)
    )


@cache
def _nodes() -> tuple[list[float], list[float]]:
    """Return nodes and weights of an integral over shares from 0 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(_NUM_NODES)
    return ((nodes + 1) / 2).tolist(), (weights / 2).tolist()
