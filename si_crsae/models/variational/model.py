"""A variational auto-encoder with a sparse code and a linear decoder, and how it learns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.bases import Annealing, Heads
from si_crsae.core.checks import (
    check_at_least_one,
    check_at_least_zero,
    check_one_of,
    check_positive,
    check_seed,
    check_share,
)
from si_crsae.core.code_distribution import CodeDistribution
from si_crsae.core.operators.convolution import synthesize

_COMBINATIONS = ("mean", "max", "importance")
_OPTIMIZERS = ("adam", "sgd")
_WINDOWS_PER_LOSS = 1000
_DICTIONARIES = ("backpropagation", "fixed_code", "given")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What learning makes small: minus a bound on the evidence, from some draws of the code.

    With noise of variance ``s^2`` in each of the d numbers of a window, a draw z costs
    ``|x - A z|^2 / (2 s^2) + KL`` nats, times ``2 s^2 / d`` so that the step sizes mean the same for all d: the mean
    squared error plus ``2 s^2 / d`` times the divergence, which [1]_ calls its weight.

    Parameters
    ----------
    noise_variance : float, default: 0.05
        Variance of what the code does not explain, relative to the variance of the data.
    num_samples : int, default: 1
        Draws of the code, J.
    combine : {"mean", "max", "importance"}, default: "mean"
        The mean over the draws; the draw of least cost alone, as in [1]_; or a mean weighted by their likelihoods.
    atom_penalty : float, default: 1e-4
        Weight of the squared norm of the atoms, per window, where the squared error counts 1/2.

    References
    ----------
    .. [1] Fallah and Rozell, "Variational sparse coding with learned thresholding", ICML 2022.
    """

    noise_variance: float = 0.05
    num_samples: int = 1
    combine: str = "mean"
    atom_penalty: float = 1e-4

    def __post_init__(self) -> None:
        """Refuse what is no objective."""
        check_positive("noise_variance", self.noise_variance)
        check_at_least_one(num_samples=self.num_samples)
        check_one_of("combine", self.combine, _COMBINATIONS)
        check_at_least_zero(atom_penalty=self.atom_penalty)

    def weights(self, costs: Float[Tensor, "sample batch"]) -> Float[Tensor, "sample batch"]:
        """Return what each draw counts, given its cost in nats; no gradient passes."""
        costs = costs.detach()
        if self.combine == "importance":
            return torch.softmax(-costs, dim=0)
        if self.combine == "max":
            return torch.nn.functional.one_hot(costs.argmin(dim=0), len(costs)).T.to(costs)
        return torch.full_like(costs, 1 / len(costs))


class VariationalModel(torch.nn.Module):
    """An inference network, the posterior that it tells, and a dictionary.

    Parameters
    ----------
    atoms : Tensor, shape (atom, channel, width)
        First dictionary. Vectors are windows of as many channels and one sample.
    network : Module
        Called with windows and atoms, returns the heads that the distribution needs.
    distribution : CodeDistribution
        Whose heads the network returns.
    """

    def __init__(
        self, atoms: Float[Tensor, "atom channel width"], network: torch.nn.Module, distribution: CodeDistribution
    ) -> None:
        super().__init__()
        self.atoms = torch.nn.Parameter(atoms.detach().clone())
        self.network, self.distribution = network, distribution

    def infer(self, windows: Float[Tensor, "batch channel sample"], *, through_atoms: bool = False) -> Heads:
        """Return the posterior of every window's code; its gradient reaches the atoms only if that is asked for."""
        return self.network(windows, self.atoms if through_atoms else self.atoms.detach())

    def decode(self, codes: Float[Tensor, "*draw atom shift"]) -> Float[Tensor, "*draw channel sample"]:
        """Return the windows that codes stand for."""
        flat = synthesize(codes.flatten(0, -3), self.atoms)
        return flat.unflatten(0, codes.shape[:-2])

    def costs(
        self,
        windows: Float[Tensor, "batch channel sample"],
        codes: Float[Tensor, "draw batch atom shift"],
        variance: float,
    ) -> Float[Tensor, "draw batch"]:
        """Return minus the log-likelihood of the windows under each draw, in nats, up to a constant."""
        return (windows - self.decode(codes)).square().sum(dim=(2, 3)) / (2 * variance)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariationalFitting:
    """How a variational model learns.

    Parameters
    ----------
    num_epochs : int, default: 20
    batch_size : int, default: 100
    optimizer : {"adam", "sgd"}, default: "adam"
        Optimizer of the network; "sgd" with Nesterov's momentum of 0.9, as in [1]_.
    learning_rate : float, default: 0.005
        The largest of a cycle: it rises over the first 5 % of the steps and falls to nothing.
    dictionary : {"backpropagation", "fixed_code", "given"}, default: "backpropagation"
        How the atoms learn: by the optimizer of the network and the gradient of all of the loss; by that of the squared
        error, codes held fixed, as in [1]_; or not at all.
    dictionary_rate : float, default: 0.5
        First step size of the atoms with a fixed code, which falls to a twentieth; no step goes beyond the minimum of
        the mini-batch's squared error.
    initial_norm : float, default: 1.0
        Norm of random first atoms.
    warmup : tuple of float, default: (0.05, 0.25)
        Share of the steps at which annealing starts, and at which it ends. Beyond 1 it does not come to its end.
    first_noise : float, default: 0.1
        Factor of the deviations of draws, until annealing starts.
    first_kl : float, default: 0.1
        Weight of the divergence, until annealing starts; 1 in [1]_.
    seed : int, default: 0
    progress : bool, default: False
        If True, show a bar of epochs.

    References
    ----------
    .. [1] Fallah and Rozell, "Variational sparse coding with learned thresholding", ICML 2022.
    """

    num_epochs: int = 20
    batch_size: int = 100
    optimizer: str = "adam"
    learning_rate: float = 5e-3
    dictionary: str = "backpropagation"
    dictionary_rate: float = 0.5
    initial_norm: float = 1.0
    warmup: tuple[float, float] = (0.05, 0.25)
    first_noise: float = 0.1
    first_kl: float = 0.1
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing can be learned."""
        check_at_least_one(num_epochs=self.num_epochs, batch_size=self.batch_size)
        check_one_of("optimizer", self.optimizer, _OPTIMIZERS)
        check_one_of("dictionary", self.dictionary, _DICTIONARIES)
        for name in ("learning_rate", "dictionary_rate", "initial_norm"):
            check_positive(name, getattr(self, name))
        for share in self.warmup if isinstance(self.warmup, Sequence) else ():
            check_at_least_zero(warmup=share)
        if not isinstance(self.warmup, Sequence) or len(self.warmup) != 2 or self.warmup[0] > self.warmup[1]:
            raise ValueError(f"warmup = {self.warmup}: it must be two shares of the steps, the second not smaller")
        check_share(first_noise=self.first_noise, first_kl=self.first_kl)
        check_seed(self.seed)


class VariationalTraining:
    """Steps on the network, and on the atoms, for mini-batches of windows.

    Parameters
    ----------
    model : VariationalModel
        Trained in place.
    objective : Objective
    fitting : VariationalFitting
    num_steps : int
        How many there will be: rates and annealing go by the share of them that is done.

    Attributes
    ----------
    num_skipped : int
        Steps left out because their gradient was not finite.
    """

    def __init__(
        self, model: VariationalModel, objective: Objective, fitting: VariationalFitting, *, num_steps: int
    ) -> None:
        self.model, self._objective, self._fitting = model, objective, fitting
        self._num_steps, self._step, self.num_skipped = num_steps, 0, 0
        self._parameters = [*model.network.parameters()]
        if fitting.dictionary == "backpropagation":
            self._parameters.append(model.atoms)
        rate = fitting.learning_rate
        if fitting.optimizer == "sgd":
            self._optimizer = torch.optim.SGD(self._parameters, lr=rate, momentum=0.9, nesterov=True)
        else:
            self._optimizer = torch.optim.Adam(self._parameters, lr=rate)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer,
            rate,
            total_steps=num_steps + 1,
            pct_start=max(0.05, 2 / (num_steps + 1)),  # two steps at least, which the schedule needs to rise
            cycle_momentum=False,
        )

    def step(self, windows: Tensor) -> float:
        """Change the model for a mini-batch; returns its loss before the change."""
        progress = self._step / self._num_steps
        self.model.zero_grad()
        loss, weights, codes = self._loss(windows, *self._annealed(progress))
        loss.backward()
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        if not all(bool(gradient.isfinite().all()) for gradient in gradients):
            self.num_skipped += 1
            self.model.zero_grad()
        # Without gradients both leave everything as it is.
        self._optimizer.step()
        self._move_atoms(windows, progress, weights, codes.detach())
        self._schedule.step()
        self._step += 1
        return float(loss.detach())

    @torch.no_grad()
    def loss(self, windows: Tensor) -> float:
        """Return the loss of windows without annealing."""
        losses = [float(self._loss(part, Annealing(), 1.0)[0]) * len(part) for part in windows.split(_WINDOWS_PER_LOSS)]
        return math.fsum(losses) / len(windows)

    def _annealed(self, progress: float) -> tuple[Annealing, float]:
        start, end = self._fitting.warmup
        done = 1.0 if progress >= end else max(progress - start, 0.0) / (end - start)
        noise = self._fitting.first_noise + done * (1 - self._fitting.first_noise)
        kl = self._fitting.first_kl + done * (1 - self._fitting.first_kl)
        return Annealing(noise=noise, temperature=2**-done), kl

    def _loss(self, windows: Tensor, annealing: Annealing, kl_factor: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, and the draws that it counts: their weights and their codes."""
        model, objective = self.model, self._objective
        variance, distribution = objective.noise_variance, model.distribution
        heads = model.infer(windows, through_atoms=self._fitting.dictionary == "backpropagation")
        divergence = kl_factor * distribution.kl(heads).sum(dim=(1, 2))
        noise = distribution.noise(heads, objective.num_samples)
        if objective.combine == "max" and objective.num_samples > 1:
            with torch.no_grad():
                tried = model.costs(windows, distribution.codes(heads, noise, annealing), variance)
            noise = noise.choose(tried.argmin(dim=0))
        codes = distribution.codes(heads, noise, annealing)
        costs = model.costs(windows, codes, variance)
        weights = objective.weights(costs)
        nats = (weights * costs).sum(dim=0) + divergence
        penalty = objective.atom_penalty * model.atoms.square().sum() / variance
        return (nats.mean() + penalty) * 2 * variance / windows[0].numel(), weights, codes

    @torch.no_grad()
    def _move_atoms(self, windows: Tensor, progress: float, weights: Tensor, codes: Tensor) -> None:
        """Step along the gradient of ``1/2 |x - A z|^2 + penalty |A|^2``, per window, and per position of the code.

        With a fixed code that is a parabola; a step beyond its minimum could grow from one mini-batch to the next.
        """
        atoms = self.model.atoms
        if self._fitting.dictionary != "fixed_code" or atoms.grad is None:
            return
        num_shifts = windows.shape[2] - atoms.shape[2] + 1
        gradient = atoms.grad * windows[0].numel() / 2
        slope = float(gradient.square().sum())
        bend = synthesize(codes.flatten(0, 1), gradient).square().sum(dim=(1, 2)).view_as(weights)
        curvature = float((weights * bend).sum(dim=0).mean()) + 2 * self._objective.atom_penalty * slope
        rate = self._fitting.dictionary_rate * 0.05**progress / num_shifts
        atoms -= (min(rate, slope / curvature) if curvature > 0 else rate) * gradient
