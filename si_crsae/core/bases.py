"""Base distributions of a variational code: how a coefficient scatters around its shift, and what that costs.

What an inference network returns are *heads*: a dict of tensors of shape (batch, atom, shift), among which every base
names those that it needs. A base and, if there is one, the threshold of `code_distribution` make a posterior of codes.
"""

import math
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Bernoulli, Laplace, Normal, kl_divergence

from si_crsae.core.checks import check_positive

Heads = dict[str, Tensor]
# exp of a head beyond these is of no use and overflows a few steps later.
_LOG_RANGE = (-14.0, 7.0)
_LEAST_PROBABILITY = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Annealing:
    """How far sampling still is from what it will be.

    Parameters
    ----------
    noise : float, default: 1.0
        Factor of the deviations from the shift; small while a network that knows nothing yet would drown in them.
    temperature : float, default: 0.5
        Temperature of the concrete distribution; the lower, the closer its gradient is to that of a coin.
    """

    noise: float = 1.0
    temperature: float = 0.5


@runtime_checkable
class Base(Protocol):
    """Distribution of one coefficient before a threshold, and its prior."""

    @property
    def heads(self) -> tuple[str, ...]:
        """What the network must tell about each coefficient."""
        ...

    @property
    def starts(self) -> dict[str, tuple[float, float]]:
        """First values of the heads but the shift, for a coefficient that is out and for one that is in."""
        ...

    def kl(self, heads: Heads) -> Float[Tensor, "batch atom shift"]:
        """Return the Kullback-Leibler divergence of every coefficient's posterior from its prior, in nats."""
        ...

    def noise(self, heads: Heads, num_samples: int) -> Float[Tensor, "part sample batch atom shift"]:
        """Return what is random in draws of all coefficients; it does not depend on what the heads say."""
        ...

    def deviation(self, heads: Heads, noise: Tensor, annealing: Annealing) -> Float[Tensor, "sample batch atom shift"]:
        """Return how far each draw is from its shift."""
        ...

    def gate(
        self, heads: Heads, noise: Tensor, annealing: Annealing
    ) -> Float[Tensor, "sample batch atom shift"] | None:
        """Return one for a coefficient that is in and zero for one that is out; None if all are in."""
        ...

    def probability_in(self, heads: Heads) -> Float[Tensor, "batch atom shift"]:
        """Return the probability that a coefficient is in."""
        ...

    def exceedance(self, heads: Heads, level: float) -> Float[Tensor, "batch atom shift"]:
        """Return the probability of a deviation larger than a level."""
        ...

    def quantile(self, heads: Heads, share: float) -> Float[Tensor, "batch atom shift"]:
        """Return the size of the deviation that a share of the draws stays below."""
        ...


class _ScaledNoise:
    """What the bases without a gate share: a shift, and noise times a scale."""

    __slots__ = ()

    @property
    def heads(self) -> tuple[str, ...]:
        """The shift and the logarithm of the scale: for a Gaussian, of the standard deviation."""
        return ("shift", "log_scale")

    def deviation(self, heads: Heads, noise: Tensor, annealing: Annealing) -> Float[Tensor, "sample batch atom shift"]:
        """Return the noise in units of the coefficient."""
        return annealing.noise * scale_of(heads) * noise[0]

    def gate(self, heads: Heads, noise: Tensor, annealing: Annealing) -> None:
        """Return None: no coefficient is out."""

    def probability_in(self, heads: Heads) -> Float[Tensor, "batch atom shift"]:
        """Return ones."""
        return torch.ones_like(heads["shift"])


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianBase(_ScaledNoise):
    """Gaussian around the shift, with prior ``N(0, variance)``: the variational auto-encoder of [1]_.

    Parameters
    ----------
    variance : float, default: 0.1
        Variance of the prior.

    References
    ----------
    .. [1] Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014.
    """

    variance: float = 0.1

    def __post_init__(self) -> None:
        """Refuse a prior that is none."""
        check_positive("variance", self.variance)

    @property
    def starts(self) -> dict[str, tuple[float, float]]:
        """The prior's scale, and a tenth of it."""
        return {"log_scale": _from_silent_to_active(math.sqrt(self.variance))}

    def kl(self, heads: Heads) -> Float[Tensor, "batch atom shift"]:
        """Return ``1/2 ((mu^2 + v) / v0 - 1 - log(v / v0))``."""
        posterior = Normal(heads["shift"], scale_of(heads), validate_args=False)
        return kl_divergence(posterior, Normal(0.0, math.sqrt(self.variance)))

    def noise(self, heads: Heads, num_samples: int) -> Float[Tensor, "part sample batch atom shift"]:
        """Return standard normal noise."""
        return torch.randn(1, num_samples, *heads["shift"].shape).to(heads["shift"])

    def exceedance(self, heads: Heads, level: float) -> Float[Tensor, "batch atom shift"]:
        """Return ``2 Phi(-level / sd)``."""
        return 2 * torch.special.ndtr(-level / scale_of(heads))

    def quantile(self, heads: Heads, share: float) -> Float[Tensor, "batch atom shift"]:
        """Return the quantile of the half-normal distribution."""
        return scale_of(heads) * float(torch.special.ndtri(torch.tensor((1 + share) / 2, dtype=torch.float64)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LaplacianBase(_ScaledNoise):
    """Laplacian around the shift, with prior ``Laplace(0, scale)``: [1]_.

    Parameters
    ----------
    scale : float, default: 0.1
        Scale of the prior.

    References
    ----------
    .. [1] Barello, Charles and Pillow, "Sparse-coding variational auto-encoders", 2018.
    """

    scale: float = 0.1

    def __post_init__(self) -> None:
        """Refuse a prior that is none."""
        check_positive("scale", self.scale)

    @property
    def starts(self) -> dict[str, tuple[float, float]]:
        """The prior's scale, and a tenth of it."""
        return {"log_scale": _from_silent_to_active(self.scale)}

    def kl(self, heads: Heads) -> Float[Tensor, "batch atom shift"]:
        """Return ``|mu| / b0 + b / b0 exp(-|mu| / b) + log(b0 / b) - 1``."""
        posterior = Laplace(heads["shift"], scale_of(heads), validate_args=False)
        return kl_divergence(posterior, Laplace(0.0, self.scale))

    def noise(self, heads: Heads, num_samples: int) -> Float[Tensor, "part sample batch atom shift"]:
        """Return standard Laplacian noise."""
        shape = (1, num_samples, *heads["shift"].shape)
        size = torch.empty(shape).exponential_()
        return torch.where(torch.rand(shape) < 0.5, size, -size).to(heads["shift"])

    def exceedance(self, heads: Heads, level: float) -> Float[Tensor, "batch atom shift"]:
        """Return ``exp(-level / scale)``."""
        return torch.exp(-level / scale_of(heads))

    def quantile(self, heads: Heads, share: float) -> Float[Tensor, "batch atom shift"]:
        """Return the quantile of the exponential distribution."""
        return scale_of(heads) * -math.log1p(-share)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeAndSlab:
    """Zero, or with some probability what another base draws: [1]_, with the gate drawn as in [2]_.

    The gate is a coin in the forward pass; its gradient is that of the concrete distribution, which a coin of the same
    noise comes from, so that the probability of the gate is exactly the sigmoid of its head.

    Parameters
    ----------
    slab : Base, default: GaussianBase()
        In [1]_ a Gaussian.
    probability : float, default: 0.1
        Prior probability of being in.

    References
    ----------
    .. [1] Tonolini, Jensen and Murray-Smith, "Variational sparse coding", UAI 2020.
    .. [2] Maddison, Mnih and Teh, "The concrete distribution", ICLR 2017.
    """

    slab: GaussianBase | LaplacianBase = field(default_factory=GaussianBase)
    probability: float = 0.1

    def __post_init__(self) -> None:
        """Refuse a prior that is none."""
        if not 0 < self.probability < 1:
            raise ValueError(f"probability = {self.probability}: it must be between 0 and 1")

    @property
    def heads(self) -> tuple[str, ...]:
        """Those of the slab, and the log odds of the gate."""
        return (*self.slab.heads, "gate_logit")

    @property
    def starts(self) -> dict[str, tuple[float, float]]:
        """Those of the slab; almost certainly out, and almost certainly in."""
        return self.slab.starts | {"gate_logit": (-7.0, 5.0)}

    def kl(self, heads: Heads) -> Float[Tensor, "batch atom shift"]:
        """Return that of the gate, and that of the slab times the probability of being in."""
        inside = self.probability_in(heads).clamp(_LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
        of_gate = kl_divergence(Bernoulli(inside, validate_args=False), Bernoulli(self.probability))
        return inside * self.slab.kl(heads) + of_gate

    def noise(self, heads: Heads, num_samples: int) -> Float[Tensor, "part sample batch atom shift"]:
        """Return the noise of the slab, and standard logistic noise for the gate."""
        of_slab = self.slab.noise(heads, num_samples)
        coin = torch.rand(of_slab.shape).clamp(_LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
        return torch.cat([of_slab, coin.logit().to(of_slab)])

    def deviation(self, heads: Heads, noise: Tensor, annealing: Annealing) -> Float[Tensor, "sample batch atom shift"]:
        """Return that of the slab."""
        return self.slab.deviation(heads, noise, annealing)

    def gate(self, heads: Heads, noise: Tensor, annealing: Annealing) -> Float[Tensor, "sample batch atom shift"]:
        """Return zeros and ones, with the gradient of the concrete distribution."""
        soft = torch.sigmoid((noise[-1] + heads["gate_logit"]) / annealing.temperature)
        return soft + (soft.round() - soft).detach()

    def probability_in(self, heads: Heads) -> Float[Tensor, "batch atom shift"]:
        """Return the probability of the gate."""
        return heads["gate_logit"].sigmoid()

    def exceedance(self, heads: Heads, level: float) -> Float[Tensor, "batch atom shift"]:
        """Return that of the slab."""
        return self.slab.exceedance(heads, level)

    def quantile(self, heads: Heads, share: float) -> Float[Tensor, "batch atom shift"]:
        """Return that of the slab."""
        return self.slab.quantile(heads, share)


def scale_of(heads: Heads) -> Float[Tensor, "batch atom shift"]:
    """Return the scale that the heads stand for: that of a Laplacian, the standard deviation of a Gaussian."""
    return heads["log_scale"].clamp(*_LOG_RANGE).exp()


def _from_silent_to_active(scale: float) -> tuple[float, float]:
    return math.log(scale), math.log(scale / 10)
