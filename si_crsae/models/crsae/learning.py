"""Two ways to train CRsAE: the two-stage back-propagation of the paper, and expectation-maximization in closed form."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.checks import check_at_least_zero, check_one_of, check_positive, check_share
from si_crsae.core.maximization import normal_equations, update_atoms
from si_crsae.core.regularization import regularization_loss, update_regularization
from si_crsae.core.solvers.windows import solve_windows
from si_crsae.models.arrays import as_windows
from si_crsae.models.atoms import on_tangent
from si_crsae.models.crsae.autoencoder import Crsae, reconstruction_loss

PAPER_PRIOR_RATE = 50.0
# Relative to the smallest weight of the l1 norm: what the closed forms do not notice.
_CODE_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePrior:
    """Gamma prior of the rate, per window: ``shape`` r and ``rate`` delta of Eq. 15.

    Parameters
    ----------
    shape : float
    rate : float or Tensor, shape (atom,)
        The mean is ``shape / rate``.
    """

    shape: float
    rate: float | Float[Tensor, " atom"]

    def __post_init__(self) -> None:
        """Refuse what is no prior."""
        check_positive("shape", self.shape)
        if isinstance(self.rate, Tensor):
            if not bool((self.rate > 0).all()):
                raise ValueError(f"rate = {self.rate.tolist()}: every value must be positive")
        else:
            check_positive("rate", self.rate)

    @classmethod
    def around(cls, mean: float, *, rate: float = PAPER_PRIOR_RATE) -> "RatePrior":
        """Return the prior of Table III: centered on a first estimate of the rate, loose enough for it to move."""
        check_positive("mean", mean)
        check_positive("rate", rate)
        return cls(shape=rate * mean, rate=rate)


class Backpropagation:
    """Algorithm 4: a step of ADAM for the atoms, on Eq. 24, and one for the rate, on Eq. 25, from one encoding.

    Parameters
    ----------
    model : Crsae
        Trained in place.
    prior : RatePrior
        Prior of the rate.
    atom_learning_rate, rate_learning_rate : float
        Step sizes of ADAM, in its AMSGrad variant; see `learning_rate_range_test`.
    atom_gradient : {"fixed-code", "unrolled"}, default: "fixed-code"
        "unrolled" is the paper's: through all iterations of the encoder. "fixed-code" is the gradient of the objective
        that the encoder minimizes, at whose minimum the code does not move to first order; the reconstruction alone
        also falls where the shrinkage of overlapping events is shared among more alike atoms, and at the paper's rate
        that part of the unrolled gradient points away from the truth.

    Notes
    -----
    Gradients are projected on the tangent of the sphere of unit-norm atoms, so that ADAM does not scale its steps by a
    part that the normalization undoes.

    References
    ----------
    .. [1] Tolooshams, Dey and Ba, "Deep residual auto-encoders for expectation maximization-based dictionary
       learning", IEEE TNNLS, 2021, Algorithm 4.
    """

    def __init__(
        self,
        model: Crsae,
        prior: RatePrior,
        *,
        atom_learning_rate: float,
        rate_learning_rate: float,
        atom_gradient: Literal["fixed-code", "unrolled"] = "fixed-code",
    ) -> None:
        check_at_least_zero(atom_learning_rate=atom_learning_rate, rate_learning_rate=rate_learning_rate)
        check_one_of("atom_gradient", atom_gradient, ("fixed-code", "unrolled"))
        self.model, self.prior, self.atom_gradient = model, prior, atom_gradient
        self.optimizer = torch.optim.Adam(
            [
                {"params": [model.atoms], "lr": atom_learning_rate},
                {"params": [model.rate], "lr": rate_learning_rate},
            ],
            amsgrad=True,
        )

    def step(self, windows: Tensor) -> float:
        """Change atoms and rate for a mini-batch; returns the loss of Eq. 24 before the change."""
        model = self.model
        windows = as_windows(windows, name="windows", atoms=model.atoms)
        code = model.encode(windows)
        decoded = code.detach() if self.atom_gradient == "fixed-code" else code
        loss, model.atoms.grad = atom_step(model, windows, decoded)
        (model.rate.grad,) = torch.autograd.grad(rate_loss(model, code, self.prior), model.rate)
        self.optimizer.step()
        model.normalize()
        with torch.no_grad():
            model.rate.clamp_(min=torch.finfo(model.rate.dtype).tiny)
        return loss

    @torch.no_grad()
    def loss(self, windows: Tensor) -> float:
        """Return the loss of Eq. 24, per window."""
        windows = as_windows(windows, name="windows", atoms=self.model.atoms)
        return float(reconstruction_loss(windows, self.model(windows)))


class ExpectationMaximization:
    """Exact codes, then the atoms and the rate that are best for them, both in closed form.

    Parameters
    ----------
    model : Crsae
        Trained in place; its atoms must have one axis of samples. Codes and sums are made on the CPU.
    prior : RatePrior
        Prior of the rate.
    first_regularization : float, default: None
        Weight of the l1 norm in the first step; it falls by `decay` in each step until the model's own exceeds it.
        A large one leaves only what is sure in the code, from which poor atoms improve several times as fast.
    decay : float, default: 0.8
        See `first_regularization`.

    Raises
    ------
    ValueError
        If the model is one for images.
    """

    def __init__(
        self, model: Crsae, prior: RatePrior, *, first_regularization: float | None = None, decay: float = 0.8
    ) -> None:
        if model.atoms.ndim != 3:
            raise ValueError(
                f"model.atoms has shape {tuple(model.atoms.shape)}: the closed form is for atoms with one axis of "
                "samples; train models for images with Backpropagation"
            )
        check_share(decay=decay)
        if first_regularization is not None:
            check_at_least_zero(first_regularization=first_regularization)
        self.model, self.prior, self.decay = model, prior, decay
        self.floor = first_regularization or 0.0

    def step(self, windows: Tensor) -> float:
        """Set atoms and rate to their optimum for a mini-batch; returns the loss before."""
        windows = as_windows(windows, name="windows", atoms=self.model.atoms)
        code = self._encode(windows, self.model.regularization.clamp_min(self.floor))
        loss = self._loss_of(code, windows)
        self.floor *= self.decay
        model, num_shifts = self.model, code.shape[2]
        code_l1 = code.abs().sum(dim=(0, 2)) / len(windows)
        with torch.no_grad():
            model.atoms.copy_(update_atoms(normal_equations(code, windows), model.atoms))
            shared = code_l1 if model.rate.ndim else code_l1.mean(dim=0, keepdim=True)
            rate = update_regularization(shared, num_shifts, prior_shape=self.prior.shape, prior_rate=self.prior.rate)
            model.rate.copy_(rate.view_as(model.rate))
        return loss

    def loss(self, windows: Tensor) -> float:
        """Return the objective of the encoder with the noise in its unit, less the prior of code and rate, per window.

        The negative logarithm of Eq. 17, up to a constant: what expectation-maximization lowers.
        """
        windows = as_windows(windows, name="windows", atoms=self.model.atoms)
        return self._loss_of(self._encode(windows, self.model.regularization), windows)

    def _encode(self, windows: Tensor, regularization: Tensor) -> Tensor:
        level = regularization.detach()
        return solve_windows(
            windows,
            self.model.atoms.detach(),
            level,
            tolerance=_CODE_TOLERANCE * float(level.min()),
            nonnegative=self.model.nonnegative,
        )

    @torch.no_grad()
    def _loss_of(self, code: Tensor, windows: Tensor) -> float:
        model = self.model
        misfit = reconstruction_loss(windows, model.decode(code)) / model.noise_sd**2
        return float(misfit + rate_loss(model, code, self.prior))


def rate_loss(model: Crsae, code: Float[Tensor, "batch atom *shift"], prior: RatePrior) -> Float[Tensor, ""]:
    """Return the loss of Eq. 25, per window.

    Parameters
    ----------
    model : Crsae
        Whose rate is meant.
    code : Tensor, shape (batch, atom, ...)
        With the graph of the encoder, its gradient is Eq. 37; detached, its minimizer is Eq. 20.
    prior : RatePrior

    Returns
    -------
    Tensor, scalar
    """
    code_l1 = code.abs().flatten(2).sum(dim=2).mean(dim=0)
    return regularization_loss(
        model.rate.expand(len(code_l1)),
        code_l1,
        code[0, 0].numel(),
        prior_shape=prior.shape,
        prior_rate=prior.rate,
    )


def atom_step(
    model: Crsae, windows: Float[Tensor, "batch channel *sample"], code: Float[Tensor, "batch atom *shift"]
) -> tuple[float, Float[Tensor, "atom channel *width"]]:
    """Return the loss of Eq. 24, per window, and its gradient along the sphere of unit-norm atoms.

    Parameters
    ----------
    model : Crsae
    windows : Tensor, shape (batch, channel, ...)
    code : Tensor, shape (batch, atom, ...)
        With the graph of the encoder, the gradient goes through it; detached, the code is held fixed.

    Returns
    -------
    loss : float
    gradient : Tensor, shape (atom, channel, ...)
    """
    loss = reconstruction_loss(windows, model.decode(code))
    (gradient,) = torch.autograd.grad(loss, model.atoms, retain_graph=True)
    return float(loss.detach()), on_tangent(gradient, model.atoms.detach())
