"""The auto-encoder for the exponential family: an unrolled solver under any likelihood and prior, and its decoder."""

import math
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from si_crsae.core.checks import check_at_least_one, check_positive
from si_crsae.core.likelihoods import Likelihood
from si_crsae.core.priors import OnSupport, Prior
from si_crsae.core.solvers.generalized import GeneralizedModel, Placement, infer_baseline, noise_gain
from si_crsae.models.arrays import as_atoms, as_floats, as_windows, check_broadcast, check_values
from si_crsae.models.atoms import on_tangent, with_unit_norm

# A variance that training drove to zero or below it would be no prior any more.
_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrolling:
    """How an encoder is unrolled.

    Parameters
    ----------
    num_iterations : int, default: 100
        Depth, T. For codes close to the minimizer, as learning from observations alone needs, hundreds; for denoising
        learned from clean targets, 6 to 15.
    accelerated : bool, default: True
        If True, FISTA; if False, ISTA.
    step_size : float, default: None
        If None, the largest that is safe for each window. A fixed one is faster where windows hold a few large counts.
    placement : Placement, default: Placement(overhang=True)
        Where atoms may lie: stride, and whether they stick out.
    noise_units : bool, default: True
        If True, codes are in units of the noise at the baseline, see `noise_gain`; if False, in units of the natural
        parameter, as in [1]_.
    tied : bool, default: True
        If True, one dictionary everywhere; if False, the residual's filters and the decoder learn their own.

    References
    ----------
    .. [1] Tolooshams, Song, Temereanca and Ba, "Convolutional dictionary learning based auto-encoders for natural
       exponential-family distributions", ICML 2020.
    """

    num_iterations: int = 100
    accelerated: bool = True
    step_size: float | None = None
    placement: Placement = Placement(overhang=True)
    noise_units: bool = True
    tied: bool = True

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing can be encoded."""
        check_at_least_one(num_iterations=self.num_iterations)
        if self.step_size is not None:
            check_positive("step_size", self.step_size, remedy="pass None for a safe one")


class ExponentialAutoencoder(torch.nn.Module):
    """The deep exponential-family auto-encoder of [1]_, for counts in time or images, under any likelihood and prior.

    The encoder is a number of proximal-gradient iterations on the negative log-likelihood of the observations plus the
    penalty of the prior; the decoder turns the code into natural parameters. The atoms are learned, and whatever
    tensors the prior has, such as one threshold per atom that all iterations share.

    Parameters
    ----------
    atoms : Tensor, shape (atom, channel, width) or (atom, channel, height, width)
        First dictionary; scaled to unit norm.
    likelihood : Likelihood
        Distribution of the observations.
    prior : Prior
        Prior of the codes.
    unrolling : Unrolling, default: None
        If None, the default one.

    Raises
    ------
    ValueError
        If an atom has no shape.

    References
    ----------
    .. [1] Tolooshams, Song, Temereanca and Ba, "Convolutional dictionary learning based auto-encoders for natural
       exponential-family distributions", ICML 2020.

    Examples
    --------
    >>> from si_crsae.core import Poisson, Sparse
    >>> prior = Sparse(regularization=torch.tensor([2.0]))
    >>> model = ExponentialAutoencoder(torch.ones(1, 1, 3), Poisson(), prior)
    >>> counts = torch.tensor([[[1.0, 0, 1, 0, 1, 1, 9, 12, 8, 0, 1, 1]]])
    >>> model.denoise(counts)[0, 0, 5:10].round().tolist()
    [3.0, 8.0, 8.0, 8.0, 3.0]
    """

    def __init__(
        self,
        atoms: Float[Tensor, "atom channel *width"] | ArrayLike,
        likelihood: Likelihood,
        prior: Prior,
        *,
        unrolling: Unrolling | None = None,
    ) -> None:
        super().__init__()
        first = with_unit_norm(as_atoms(atoms))
        check_prior(prior, len(first))
        self.likelihood, self.unrolling = likelihood, unrolling or Unrolling()
        self._prior = prior
        self.atoms = torch.nn.Parameter(first)
        if not self.unrolling.tied:
            self.analysis_atoms = torch.nn.Parameter(self.atoms.detach().clone())
            self.decoder_atoms = torch.nn.Parameter(self.atoms.detach().clone())
        tensors = {name: tensor.detach().clone().to(first) for name, tensor in prior_tensors(prior).items()}
        learned = {name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()}
        self.prior_parameters = torch.nn.ParameterDict(learned)

    @property
    def prior(self) -> Prior:
        """The prior as it has been learned so far."""
        return with_tensors(self._prior, dict(self.prior_parameters))

    def encode(
        self,
        observed: Float[Tensor, "batch channel *sample"] | ArrayLike,
        *,
        baseline: Tensor | ArrayLike | None = None,
        support: Tensor | None = None,
    ) -> Float[Tensor, "batch atom *shift"]:
        """Return the code of some windows.

        Parameters
        ----------
        observed : Tensor, shape (batch, channel, ...)
        baseline : Tensor, broadcast to `observed`, default: None
            Natural parameter where the code is empty; if None, see `infer_baseline`.
        support : Tensor, broadcast to the code, default: None
            If given, the code is zero where this is False: for events whose times are known.

        Returns
        -------
        Tensor, shape (batch, atom, ...)
            Differentiable with respect to the parameters.

        Raises
        ------
        ValueError
            If the windows are not finite or do not fit the atoms, or the baseline or the support does not fit them.
        """
        observed = as_windows(observed, name="observed", atoms=self.atoms)
        baseline = self._baseline(observed, baseline)
        model = self._generalized_model(observed, baseline)
        if support is not None:
            code_shape = (len(observed), *model.placement.code_shape(tuple(observed.shape[2:]), self.atoms))
            check_broadcast("support", support, code_shape, to="the code")
            model = replace(model, prior=OnSupport(prior=model.prior, support=support))
        unrolling = self.unrolling
        return model.solve(
            observed,
            baseline=baseline,
            num_iterations=unrolling.num_iterations,
            step_size=unrolling.step_size,
            accelerated=unrolling.accelerated,
        )

    def decode(
        self, code: Float[Tensor, "batch atom *shift"], *, like: Tensor, baseline: Tensor | ArrayLike | None = None
    ) -> Float[Tensor, "batch channel *sample"]:
        """Return the natural parameters that a code of windows `like` these stands for."""
        baseline = self._baseline(like, baseline)
        model = self._generalized_model(like, baseline)
        if not self.unrolling.tied:
            model = replace(model, atoms=self.decoder_atoms)
        return model.natural(code, like=like, baseline=baseline)

    def forward(
        self,
        observed: Float[Tensor, "batch channel *sample"] | ArrayLike,
        *,
        baseline: Tensor | ArrayLike | None = None,
        support: Tensor | None = None,
    ) -> Float[Tensor, "batch channel *sample"]:
        """Return the natural parameters of the auto-encoder's reconstruction."""
        observed = as_windows(observed, name="observed", atoms=self.atoms)
        code = self.encode(observed, baseline=baseline, support=support)
        return self.decode(code, like=observed, baseline=baseline)

    @torch.no_grad()
    def denoise(
        self,
        observed: Tensor | ArrayLike,
        *,
        baseline: Tensor | ArrayLike | None = None,
        support: Tensor | None = None,
    ) -> Tensor:
        """Return the expectation of the observations: rates for counts, a number of successes for the binomial."""
        return self.likelihood.mean(self(observed, baseline=baseline, support=support))

    def objective(self, code: Tensor, observed: Tensor, *, baseline: Tensor | None = None) -> Float[Tensor, " batch"]:
        """Return what the encoder minimizes, for each window, in nats."""
        baseline = self._baseline(observed, baseline)
        return self._generalized_model(observed, baseline).objective(code, observed, baseline=baseline)

    @torch.no_grad()
    def project(self, *, unit_norm: bool) -> None:
        """Bring the parameters back to where they make sense, in place: penalties at least 0, atoms of unit norm."""
        for name, parameter in self.prior_parameters.items():
            parameter.clamp_min_(_LEAST_VARIANCE if name.endswith("variance") else 0.0)
        if unit_norm:
            self.atoms.copy_(with_unit_norm(self.atoms))

    def _baseline(self, observed: Tensor, baseline: Tensor | ArrayLike | None) -> Tensor:
        if baseline is None:
            return infer_baseline(self.likelihood, observed)
        return as_baseline(baseline, observed)

    def _generalized_model(self, observed: Tensor, baseline: Tensor) -> GeneralizedModel:
        return GeneralizedModel(
            atoms=self.atoms,
            likelihood=self.likelihood.bounded(observed, baseline),
            prior=self.prior,
            placement=self.unrolling.placement,
            analysis_atoms=None if self.unrolling.tied else self.analysis_atoms,
            gain=noise_gain(self.likelihood, baseline) if self.unrolling.noise_units else None,
        )


def as_baseline(baseline: Tensor | ArrayLike, observed: Tensor) -> Tensor:
    """Return a finite natural parameter that broadcasts to the observations, or raise ValueError."""
    base = as_floats(baseline, name="baseline").to(observed)
    check_broadcast("baseline", base, tuple(observed.shape), to="observed")
    if not bool(base.isfinite().all()):
        raise ValueError("baseline has NaN or infinite values: the natural parameter of a rate of zero is none")
    check_values("baseline", base)
    return base


def check_prior(prior: Prior, num_atoms: int) -> None:
    """Raise ValueError for a prior whose tensors do not have one value per atom, or per group of atoms."""
    group_size = getattr(prior, "group_size", 1)
    for name, values in prior_tensors(prior).items():
        if values.shape != (num_atoms / group_size,):
            raise ValueError(
                f"prior: {name} has shape {tuple(values.shape)}; with num_atoms = {num_atoms} it must have "
                f"{math.floor(num_atoms / group_size)} values, and num_atoms must be a multiple of the group size"
            )
        if not bool(values.isfinite().all()):
            raise ValueError(f"prior: {name} = {values.tolist()}: every value must be finite")


def prior_tensors(prior: Prior) -> dict[str, Tensor]:
    """Return the tensors of a prior that can be learned, by name."""
    values = {field.name: getattr(prior, field.name) for field in fields(prior)}  # pyright: ignore[reportArgumentType]
    return {name: value for name, value in values.items() if isinstance(value, Tensor) and value.is_floating_point()}


def with_tensors(prior: Prior, tensors: dict[str, Tensor]) -> Prior:
    """Return a prior with other values of the tensors that `prior_tensors` names."""
    return replace(prior, **tensors) if tensors else prior  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """What an auto-encoder learns from, with all that belongs to a window stacked along its channels.

    Parameters
    ----------
    observed : Tensor, shape (batch, channel, ...)
    baseline : Tensor, shape (batch, channel, ...)
        Natural parameter where the code is empty.
    targets : Tensor, shape (batch, channel, ...), default: None
        What the mean should be, if that is known.
    """

    observed: Float[Tensor, "batch channel *sample"]
    baseline: Float[Tensor, "batch channel *sample"]
    targets: Float[Tensor, "batch channel *sample"] | None = None

    def stacked(self) -> Float[Tensor, "batch stacked *sample"]:
        """Return one tensor, which `train` can shuffle."""
        parts = [self.observed, self.baseline, *([] if self.targets is None else [self.targets])]
        return torch.cat(parts, dim=1)

    @classmethod
    def of(cls, stacked: Float[Tensor, "batch stacked *sample"], *, num_channels: int) -> "Windows":
        """Return what was stacked."""
        return cls(**dict(zip(("observed", "baseline", "targets"), stacked.split(num_channels, dim=1), strict=False)))


class LikelihoodTraining:
    """Learning from observations alone: a step of ADAM on the negative log-likelihood, the code held fixed.

    With the code at the minimizer, the gradient at a fixed code is that of the encoder's whole objective. Thresholds
    are not learned: by the likelihood of what was encoded, none at all would be best.

    Parameters
    ----------
    model : ExponentialAutoencoder
        Trained in place; its atoms keep unit norm.
    learning_rate : float
    support : Tensor, broadcast to the code, default: None
        As for `ExponentialAutoencoder.encode`, the same for all windows.
    """

    def __init__(self, model: ExponentialAutoencoder, *, learning_rate: float, support: Tensor | None = None) -> None:
        self.model, self._support = model, support
        self._encoded: tuple[Tensor, Tensor, Tensor] | None = None
        self._optimizer = torch.optim.Adam([model.atoms], lr=learning_rate, amsgrad=True)

    def step(self, windows: Tensor) -> float:
        """Change the atoms for a mini-batch of `Windows.stacked`; returns the objective before the change."""
        batch = Windows.of(windows, num_channels=self.model.atoms.shape[1])
        code = self._encode(batch)
        loss = self.model.objective(code, batch.observed, baseline=batch.baseline).mean()
        (gradient,) = torch.autograd.grad(loss, self.model.atoms)
        self.model.atoms.grad = on_tangent(gradient, self.model.atoms.detach())
        self._optimizer.step()
        self.model.project(unit_norm=True)
        return float(loss.detach())

    @torch.no_grad()
    def loss(self, windows: Tensor) -> float:
        """Return the encoder's objective, per window."""
        batch = Windows.of(windows, num_channels=self.model.atoms.shape[1])
        return float(self.model.objective(self._encode(batch), batch.observed, baseline=batch.baseline).mean())

    @torch.no_grad()
    def _encode(self, batch: Windows) -> Tensor:
        """Return the code; that of the last windows is still at hand where neither they nor the atoms have changed."""
        windows, atoms = batch.stacked(), self.model.atoms.detach()
        if self._encoded is None or not (
            torch.equal(self._encoded[0], windows) and torch.equal(self._encoded[1], atoms)
        ):
            code = self.model.encode(batch.observed, baseline=batch.baseline, support=self._support)
            self._encoded = windows, atoms.clone(), code if self._support is None else code * self._support
        return self._encoded[2]


class NetworkTraining:
    """Back-propagation through the whole auto-encoder, by ADAM.

    With targets, of the squared error of the mean; all parameters are learned. Without, of the negative log-likelihood;
    the prior stays what it is.

    Parameters
    ----------
    model : ExponentialAutoencoder
        Trained in place, the norm of the atoms included.
    learning_rate : float
    max_gradient_norm : float, default: 1.0
        Longer gradients are cut; a step whose gradient is not finite is left out.
    """

    def __init__(self, model: ExponentialAutoencoder, *, learning_rate: float, max_gradient_norm: float = 1.0) -> None:
        self.model, self._max_gradient_norm = model, max_gradient_norm
        self._optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, amsgrad=True)

    def step(self, windows: Tensor) -> float:
        """Change the parameters for a mini-batch of `Windows.stacked`; returns its loss before the change."""
        batch = Windows.of(windows, num_channels=self.model.atoms.shape[1])
        self.model.prior_parameters.requires_grad_(batch.targets is not None)
        loss = self._loss(batch)
        self._optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._max_gradient_norm)
        if bool(norm.isfinite()):
            self._optimizer.step()
            self.model.project(unit_norm=False)
        return float(loss.detach())

    @torch.no_grad()
    def loss(self, windows: Tensor) -> float:
        """Return the mean squared error of the mean, or without targets the negative log-likelihood."""
        return float(self._loss(Windows.of(windows, num_channels=self.model.atoms.shape[1])))

    def _loss(self, batch: Windows) -> Float[Tensor, ""]:
        natural = self.model(batch.observed, baseline=batch.baseline)
        likelihood = self.model.likelihood
        if batch.targets is None:
            return likelihood.negative_log_likelihood(batch.observed, natural).mean()
        return (likelihood.mean(natural) - batch.targets).square().mean()
