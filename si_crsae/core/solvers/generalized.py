"""Sparse coding of observations of the exponential family, under any prior and at any stride.

The objective of one window, with ``eta[n] = g[n] (sum_c h_c * x_c)[n] + a[n]``, is

    F(x) = sum_n -log p(y[n] | eta[n]) + penalty(x)

The gain ``g`` is 1 in the literature. With one over the square root of the Fisher information at the baseline ``a``,
atoms and codes are in units of the noise, whatever the rate of the counts: the correlation of the residual with a
unit-norm atom then has a standard deviation of about 1, so that one threshold and one step size suit all windows.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from si_crsae.core.checks import check_at_least_one
from si_crsae.core.likelihoods import Likelihood
from si_crsae.core.operators.convolution import correlate, synthesize
from si_crsae.core.priors import Prior, StepSize
from si_crsae.core.solvers.fista import Fista
from si_crsae.core.solvers.iteration import iterate
from si_crsae.core.solvers.problems import safe_step_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where atoms may lie in a window.

    Parameters
    ----------
    stride : int, default: 1
        Samples from one position to the next, on every axis.
    overhang : bool, default: False
        If True, atoms may stick out of the window by all but one sample, so that all samples are covered by as many.
    """

    stride: int = 1
    overhang: bool = False

    def __post_init__(self) -> None:
        """Refuse a stride that is none."""
        check_at_least_one(stride=self.stride)

    def correlate(
        self, traces: Float[Tensor, "batch channel *sample"], atoms: Float[Tensor, "atom channel *width"]
    ) -> Float[Tensor, "batch atom *shift"]:
        """Return the correlation with every atom at every position."""
        return correlate(traces, atoms, stride=self.stride, margin=self._margin(atoms))

    def synthesize(
        self,
        code: Float[Tensor, "batch atom *shift"],
        atoms: Float[Tensor, "atom channel *width"],
        sample_shape: tuple[int, ...],
    ) -> Float[Tensor, "batch channel *sample"]:
        """Return what a code of a window of some size stands for."""
        return synthesize(code, atoms, stride=self.stride, margin=self._margin(atoms), sample_shape=sample_shape)

    def code_shape(self, sample_shape: tuple[int, ...], atoms: Float[Tensor, "atom channel *width"]) -> tuple[int, ...]:
        """Return the size of the code of one window: atoms, then positions on every axis."""
        sizes = zip(sample_shape, self._margin(atoms), atoms.shape[2:], strict=True)
        return (len(atoms), *((size + 2 * margin - width) // self.stride + 1 for size, margin, width in sizes))

    def _margin(self, atoms: Tensor) -> tuple[int, ...]:
        return tuple(int(width) - 1 if self.overhang else 0 for width in atoms.shape[2:])


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralizedModel:
    """How observations come from a code.

    Parameters
    ----------
    atoms : Tensor, shape (atom, channel, ...)
        Dictionary, in units of the natural parameter.
    likelihood : Likelihood
        Likelihood of the observations. For Poisson counts and a safe step size, the `bounded` one.
    prior : Prior
        Prior of the code.
    placement : Placement, default: Placement()
        Where atoms may lie.
    analysis_atoms : Tensor, shape (atom, channel, ...), default: None
        What the residual is correlated with; if None, the atoms, as the gradient has it.
    gain : Tensor, broadcast to the observations, default: None
        Factor of the natural parameter; if None, 1. See `noise_gain`.
    """

    atoms: Float[Tensor, "atom channel *width"]
    likelihood: Likelihood
    prior: Prior
    placement: Placement = Placement()
    analysis_atoms: Float[Tensor, "atom channel *width"] | None = None
    gain: Tensor | None = None

    def natural(self, code: Tensor, *, like: Tensor, baseline: Tensor) -> Tensor:
        """Return the natural parameters that a code stands for, in windows of the size of `like`."""
        change = self.placement.synthesize(code, self.atoms, tuple(like.shape[2:]))
        return baseline + (change if self.gain is None else self.gain * change)

    def objective(self, code: Tensor, observed: Tensor, *, baseline: Tensor) -> Float[Tensor, " batch"]:
        """Return what `solve` minimizes, for each window, in nats.

        Parameters
        ----------
        code : Tensor, shape (batch, atom, ...)
        observed : Tensor, shape (batch, channel, ...)
        baseline : Tensor, broadcast to `observed`

        Returns
        -------
        Tensor, shape (batch,)
        """
        natural = self.natural(code, like=observed, baseline=baseline)
        misfit = self.likelihood.negative_log_likelihood(observed, natural)
        return misfit.flatten(1).sum(dim=1) + self.prior.penalty(code)

    def problem(self, observed: Float[Tensor, "batch channel *sample"], *, baseline: Tensor) -> "GeneralizedProblem":
        """Return what a solver minimizes, without the penalty of the prior.

        Parameters
        ----------
        observed : Tensor, shape (batch, channel, ...)
            As the likelihood has them.
        baseline : Tensor, broadcast to `observed`
            Natural parameter where the code is empty.
        """
        return GeneralizedProblem(model=self, observed=observed, baseline=baseline)

    def solve(
        self,
        observed: Float[Tensor, "batch channel *sample"],
        *,
        baseline: Tensor,
        num_iterations: int,
        step_size: StepSize | None = None,
        accelerated: bool = True,
        tolerance: float | None = None,
    ) -> Float[Tensor, "batch atom *shift"]:
        """Return the code of every window: the minimizer of the objective, up to the number of iterations.

        Every iteration stays in the autograd graph; wrap the call in ``torch.no_grad()`` where that is not wanted.

        Parameters
        ----------
        observed, baseline
            As for `problem`.
        num_iterations : int
            Iterations, at least 1; with a tolerance, the most that are made.
        step_size : float or Tensor of shape (batch,), default: None
            If None, the largest with which the objective of each window is sure to fall: the inverse of the bound on
            the likelihood's curvature times `lipschitz_bound`, which a stride or atoms that stick out only make safer.
        accelerated : bool, default: True
            If True, FISTA; if False, ISTA, which with a safe step size lowers the objective in every iteration.
        tolerance : float, default: None
            If given, stop once one more step, divided by the step size, would move no coefficient by more than this.

        Returns
        -------
        Tensor, shape (batch, atom, ...)

        Raises
        ------
        ValueError
            If a number is out of range, the windows are shorter than the atoms, or these are all zero.

        References
        ----------
        .. [1] Tolooshams, Song, Temereanca and Ba, "Convolutional dictionary learning based auto-encoders for natural
           exponential-family distributions", ICML 2020.
        """
        problem = self.problem(observed, baseline=baseline)
        solver = Fista(tolerance=tolerance, step_size=step_size, accelerated=accelerated)
        return iterate(solver, problem, self.prior, num_iterations=num_iterations)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralizedProblem:
    """The negative log-likelihood of some observations as a function of their codes.

    Parameters
    ----------
    model : GeneralizedModel
    observed : Tensor, shape (batch, channel, ...)
    baseline : Tensor, broadcast to `observed`
    """

    model: GeneralizedModel
    observed: Float[Tensor, "batch channel *sample"]
    baseline: Tensor

    def empty_code(self) -> Float[Tensor, "batch atom *shift"]:
        """Return the zero code."""
        shape = self.model.placement.code_shape(tuple(self.observed.shape[2:]), self.model.atoms)
        return self.observed.new_zeros(len(self.observed), *shape)

    def descent_direction(self, code: Float[Tensor, "batch atom *shift"]) -> Float[Tensor, "batch atom *shift"]:
        """Return the correlation of the likelihood's residual."""
        model = self.model
        natural = model.natural(code, like=self.observed, baseline=self.baseline)
        residual = model.likelihood.residual(self.observed, natural)
        filters = model.atoms if model.analysis_atoms is None else model.analysis_atoms
        return model.placement.correlate(residual if model.gain is None else model.gain * residual, filters)

    def step_size(self) -> Float[Tensor, " batch"]:
        """Return the inverse of the bound on the likelihood's curvature times `lipschitz_bound`, for each window."""
        model = self.model
        curvature = model.likelihood.curvature(self.observed)
        if model.gain is not None:
            curvature = curvature * model.gain.expand_as(self.observed).flatten(1).square().amax(dim=1)
        return safe_step_size(model.atoms) / curvature


def noise_gain(likelihood: Likelihood, baseline: Tensor) -> Tensor:
    """Return the gain with which codes are in units of the noise: one over the root of the Fisher information."""
    return likelihood.information(baseline).rsqrt()


def infer_baseline(likelihood: Likelihood, observed: Float[Tensor, "batch channel *sample"]) -> Tensor:
    """Return the natural parameter of the mean of each channel of each window.

    A mean at the border of what is possible, such as that of a unit that never fired, has no finite natural parameter.
    It is moved inside by half an observation: the rate is that of half a spike in the window.

    Parameters
    ----------
    likelihood : Likelihood
    observed : Tensor, shape (batch, channel, ...)

    Returns
    -------
    Tensor, shape (batch, channel, 1) or (batch, channel, 1, 1)
    """
    flat = observed.flatten(2)
    mean = flat.mean(dim=2).reshape(*observed.shape[:2], *[1] * (observed.ndim - 2))
    return likelihood.natural(likelihood.inside(mean, margin=0.5 / flat.shape[2]))
