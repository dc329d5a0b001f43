"""Likelihoods of the exponential family, one class each.

Each is a density of an observation given its natural parameter ``eta = H x + a``. What the solvers need of it is its
residual, minus the derivative of the negative log-likelihood, and a bound on the second derivative. All of them are
convex in ``eta``. Follows [1]_.

References
----------
.. [1] Tolooshams, Song, Temereanca and Ba, "Convolutional dictionary learning based auto-encoders for natural
   exponential-family distributions", ICML 2020.
"""

import math
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from si_crsae.core.checks import check_at_least_one, check_counts, check_finite, check_positive

# The Poisson likelihood is exact up to this many times the largest count of its window.
_HEADROOM = 2.0


@runtime_checkable
class Likelihood(Protocol):
    """Density of observations given natural parameters of the same shape."""

    def mean(self, natural: Tensor) -> Tensor:
        """Return the expectation of the observations."""
        ...

    def natural(self, mean: Tensor) -> Tensor:
        """Return the natural parameters with some expectation: the inverse of `mean`."""
        ...

    def negative_log_likelihood(self, observed: Tensor, natural: Tensor) -> Tensor:
        """Return minus the logarithm of the density, in nats, constants included."""
        ...

    def residual(self, observed: Tensor, natural: Tensor) -> Tensor:
        """Return minus the derivative of `negative_log_likelihood` with respect to the natural parameters."""
        ...

    def inside(self, mean: Tensor, *, margin: float) -> Tensor:
        """Return the means, moved to at least `margin` from where the natural parameter is infinite."""
        ...

    def information(self, natural: Tensor) -> Tensor:
        """Return the Fisher information about the natural parameter: the expected second derivative."""
        ...

    def bounded(self, observed: Tensor, baseline: Tensor) -> "Likelihood":
        """Return a likelihood whose curvature is bounded for these observations, the same where it matters."""
        ...

    def curvature(self, observed: Tensor) -> Float[Tensor, " batch"]:
        """Return an upper bound, for each window, of the second derivative at any natural parameter."""
        ...

    def pooled(self, number: int) -> "Likelihood":
        """Return the likelihood of the sum of some independent observations of one mean."""
        ...

    def sample(self, natural: Tensor, generator: torch.Generator) -> Tensor:
        """Draw observations."""
        ...

    def check(self, observed: Tensor, *, name: str = "observed") -> None:
        """Raise ValueError for values that the density cannot produce."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaussian:
    """Real observations with white noise; the natural parameter is their mean.

    Parameters
    ----------
    noise_sd : float, default: 1.0
        Standard deviation of the noise.

    Examples
    --------
    >>> Gaussian().residual(torch.tensor([3.0]), torch.tensor([1.0]))
    tensor([2.])
    """

    noise_sd: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a noise that is none."""
        check_positive("noise_sd", self.noise_sd)

    def mean(self, natural: Tensor) -> Tensor:
        """Return the expectation of the observations."""
        return natural

    def natural(self, mean: Tensor) -> Tensor:
        """Return the natural parameters with some expectation."""
        return mean

    def negative_log_likelihood(self, observed: Tensor, natural: Tensor) -> Tensor:
        """Return ``(y - eta)^2 / (2 sd^2) + log(sd sqrt(2 pi))``."""
        constant = math.log(self.noise_sd * math.sqrt(2 * math.pi))
        return ((observed - natural) / self.noise_sd).square() / 2 + constant

    def residual(self, observed: Tensor, natural: Tensor) -> Tensor:
        """Return ``(y - eta) / sd^2``."""
        return (observed - natural) / self.noise_sd**2

    def inside(self, mean: Tensor, *, margin: float) -> Tensor:
        """Return the means, moved to at least `margin` from where the natural parameter is infinite."""
        return mean

    def information(self, natural: Tensor) -> Tensor:
        """Return ``1 / sd^2``."""
        return torch.full_like(natural, self.noise_sd**-2)

    def bounded(self, observed: Tensor, baseline: Tensor) -> "Gaussian":
        """Return itself."""
        return self

    def curvature(self, observed: Tensor) -> Float[Tensor, " batch"]:
        """Return ``1 / sd^2``."""
        return observed.new_full((len(observed),), self.noise_sd**-2)

    def pooled(self, number: int) -> "Gaussian":
        """Return the likelihood of the sum of some independent observations of one mean."""
        return Gaussian(noise_sd=self.noise_sd * math.sqrt(number))

    def sample(self, natural: Tensor, generator: torch.Generator) -> Tensor:
        """Draw observations."""
        noise = torch.randn(natural.shape, generator=generator, dtype=natural.dtype, device=natural.device)
        return natural + self.noise_sd * noise

    def check(self, observed: Tensor, *, name: str = "observed") -> None:
        """Raise ValueError for values that are not finite."""
        check_finite(observed, name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binomial:
    """Number of successes in some trials; the natural parameter is the log-odds of one.

    Parameters
    ----------
    num_trials : int
        The most that can be observed, M.

    Notes
    -----
    The slides and the paper write the iteration with ``y / M - sigmoid(eta)``, the residual of one trial; here it is
    that of all, M times as large, and the step size is smaller by as much.

    Examples
    --------
    >>> Binomial(num_trials=30).residual(torch.tensor([20.0]), torch.tensor([0.0]))
    tensor([5.])
    """

    num_trials: int

    def __post_init__(self) -> None:
        """Refuse a number of trials that is none."""
        check_at_least_one(num_trials=self.num_trials)

    def mean(self, natural: Tensor) -> Tensor:
        """Return ``M sigmoid(eta)``."""
        return self.num_trials * natural.sigmoid()

    def natural(self, mean: Tensor) -> Tensor:
        """Return the log-odds ``log(mean / (M - mean))``."""
        return torch.logit(mean / self.num_trials)

    def negative_log_likelihood(self, observed: Tensor, natural: Tensor) -> Tensor:
        """Return ``M log(1 + e^eta) - y eta - log C(M, y)``."""
        total = self.num_trials
        ways = math.lgamma(total + 1) - torch.lgamma(observed + 1) - torch.lgamma(total - observed + 1)
        return total * functional.softplus(natural) - observed * natural - ways

    def residual(self, observed: Tensor, natural: Tensor) -> Tensor:
        """Return ``y - M sigmoid(eta)``."""
        return observed - self.mean(natural)

    def inside(self, mean: Tensor, *, margin: float) -> Tensor:
        """Return the means, moved to at least `margin` from where the natural parameter is infinite."""
        return mean.clamp(margin, self.num_trials - margin)

    def information(self, natural: Tensor) -> Tensor:
        """Return ``M sigmoid(eta) sigmoid(-eta)``."""
        return self.num_trials * natural.sigmoid() * (-natural).sigmoid()

    def bounded(self, observed: Tensor, baseline: Tensor) -> "Binomial":
        """Return itself."""
        return self

    def curvature(self, observed: Tensor) -> Float[Tensor, " batch"]:
        """Return ``M / 4``, the largest variance."""
        return observed.new_full((len(observed),), self.num_trials / 4)

    def pooled(self, number: int) -> "Binomial":
        """Return the likelihood of the sum of some independent observations of one mean."""
        return Binomial(num_trials=self.num_trials * number)

    def sample(self, natural: Tensor, generator: torch.Generator) -> Tensor:
        """Draw observations."""
        return torch.binomial(torch.full_like(natural, self.num_trials), natural.sigmoid(), generator)

    def check(self, observed: Tensor, *, name: str = "observed") -> None:
        """Raise ValueError for what is no count of at most `num_trials`."""
        check_counts(observed, name=name)
        if bool((observed > self.num_trials).any()):
            raise ValueError(
                f"{name} has counts up to {float(observed.max()):g}: with num_trials = {self.num_trials} none may "
                "exceed it; give the right number of trials, or use Poisson for counts without a limit"
            )


class _LogMean:
    """Counts without a limit, whose natural parameter is the logarithm of their mean."""

    __slots__ = ()

    def mean(self, natural: Tensor) -> Tensor:
        """Return ``e^eta``."""
        return natural.exp()

    def natural(self, mean: Tensor) -> Tensor:
        """Return the logarithm of the mean."""
        return mean.log()

    def inside(self, mean: Tensor, *, margin: float) -> Tensor:
        """Return the means, moved to at least `margin` from where the natural parameter is infinite."""
        return mean.clamp_min(margin)

    def check(self, observed: Tensor, *, name: str = "observed") -> None:
        """Raise ValueError for what is no count."""
        check_counts(observed, name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Poisson(_LogMean):
    """Counts without a limit; the natural parameter is the logarithm of their expectation.

    The second derivative grows with ``e^eta``, so that no step size suits all codes. There are two remedies. The
    default, `bounded`, continues the exponential by its tangent above a rate that is twice the largest count: exact
    wherever the rate makes sense. The published one bends negative residuals by an ELU; it pays with a bias, since
    residuals above and below zero no longer cancel at the right rate.

    Parameters
    ----------
    elu : float, default: None
        If given, residuals below zero become ``elu * (e^residual - 1)``, as published, with `elu` the peak rate.
    max_natural : Tensor, default: None
        Where the tangent takes over, broadcast to the observations; set by `bounded`.

    Examples
    --------
    >>> Poisson().residual(torch.tensor([3.0]), torch.tensor([0.0]))
    tensor([2.])
    """

    elu: float | None = None
    max_natural: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse a bend that is none."""
        if self.elu is not None:
            check_positive("elu", self.elu)

    def negative_log_likelihood(self, observed: Tensor, natural: Tensor) -> Tensor:
        """Return ``e^eta - y eta + log y!``, the exponential continued if bounded; it knows nothing of `elu`."""
        rate = natural.exp()
        if self.max_natural is not None:
            excess = (natural - self.max_natural).clamp_min(0.0)
            rate = natural.minimum(self.max_natural).exp() * (1 + excess + excess.square() / 2)
        return rate - observed * natural + torch.lgamma(observed + 1)

    def residual(self, observed: Tensor, natural: Tensor) -> Tensor:
        """Return ``y - e^eta``, bent below zero if there is `elu`."""
        if self.elu is not None:
            return functional.elu(observed - natural.exp(), alpha=self.elu)
        if self.max_natural is None:
            return observed - natural.exp()
        excess = (natural - self.max_natural).clamp_min(0.0)
        return observed - natural.minimum(self.max_natural).exp() * (1 + excess)

    def information(self, natural: Tensor) -> Tensor:
        """Return ``e^eta``."""
        return natural.exp()

    def bounded(self, observed: Tensor, baseline: Tensor) -> "Poisson":
        """Return the likelihood with `max_natural` at twice the largest count or baseline rate of each window."""
        highest = torch.maximum(_largest(observed).clamp_min(1.0), _largest(baseline.expand_as(observed)).exp())
        per_window = (_HEADROOM * highest).log().reshape(-1, *[1] * (observed.ndim - 1))
        return replace(self, max_natural=per_window)

    def curvature(self, observed: Tensor) -> Float[Tensor, " batch"]:
        """Return the rate at `max_natural`, or with `elu` the bound ``max(1, elu) max(y, 1 / e)``.

        Raises
        ------
        ValueError
            If there is neither: call `bounded` first.
        """
        if self.elu is not None:
            return max(1.0, self.elu) * _largest(observed).clamp_min(1 / math.e)
        if self.max_natural is None:
            raise ValueError("max_natural = None: the curvature of the Poisson likelihood has no bound; call bounded")
        return self.max_natural.flatten(1)[:, 0].exp()

    def pooled(self, number: int) -> "Poisson":
        """Return the likelihood of the sum of some independent observations of one mean."""
        return self

    def sample(self, natural: Tensor, generator: torch.Generator) -> Tensor:
        """Draw observations."""
        return torch.poisson(natural.exp(), generator)


@dataclass(frozen=True, slots=True, kw_only=True)
class NegativeBinomial(_LogMean):
    """Counts more variable than Poisson's; the natural parameter is the logarithm of their expectation.

    A Poisson count whose rate is drawn from a Gamma distribution: with the mean ``mu`` the variance is
    ``mu + mu^2 / shape``. With the logarithm of the mean rather than the canonical parameter, which must be negative,
    any code is allowed; the negative log-likelihood is convex in it all the same, with a bounded curvature.

    Parameters
    ----------
    shape : float
        Shape of the Gamma distribution; spike counts of cortex have 1 to 10, infinity is Poisson.

    Examples
    --------
    >>> NegativeBinomial(shape=2.0).residual(torch.tensor([4.0]), torch.tensor([0.0]))
    tensor([2.])
    """

    shape: float

    def __post_init__(self) -> None:
        """Refuse a shape that is none."""
        check_positive("shape", self.shape)

    def negative_log_likelihood(self, observed: Tensor, natural: Tensor) -> Tensor:
        """Return ``(y + r) log(1 + e^eta / r) - y (eta - log r) - log(Gamma(y + r) / (Gamma(r) y!))``."""
        shape = self.shape
        offset = natural - math.log(shape)
        ways = torch.lgamma(observed + shape) - math.lgamma(shape) - torch.lgamma(observed + 1)
        return (observed + shape) * functional.softplus(offset) - observed * offset - ways

    def residual(self, observed: Tensor, natural: Tensor) -> Tensor:
        """Return ``y - (y + r) sigmoid(eta - log r)``."""
        return observed - (observed + self.shape) * (natural - math.log(self.shape)).sigmoid()

    def information(self, natural: Tensor) -> Tensor:
        """Return ``1 / (e^-eta + 1 / r)``."""
        return 1 / ((-natural).exp() + 1 / self.shape)

    def bounded(self, observed: Tensor, baseline: Tensor) -> "NegativeBinomial":
        """Return itself."""
        return self

    def curvature(self, observed: Tensor) -> Float[Tensor, " batch"]:
        """Return ``(max(y) + r) / 4``."""
        return (_largest(observed) + self.shape) / 4

    def pooled(self, number: int) -> "NegativeBinomial":
        """Return the likelihood of the sum of some independent observations of one mean."""
        return NegativeBinomial(shape=self.shape * number)

    def sample(self, natural: Tensor, generator: torch.Generator) -> Tensor:
        """Draw observations."""
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        success = (self.shape / (self.shape + natural.exp())).cpu().numpy()
        counts = np.random.default_rng(seed).negative_binomial(self.shape, success)
        return torch.as_tensor(counts).to(natural)


# All likelihoods by name: what can be saved, and what the tests take.
LIKELIHOODS: dict[str, type] = {kind.__name__: kind for kind in (Gaussian, Binomial, Poisson, NegativeBinomial)}


def _largest(values: Tensor) -> Float[Tensor, " batch"]:
    return values.flatten(1).amax(dim=1)
