"""CRsAE: an auto-encoder whose encoder is an unrolled sparse-coding solver and whose decoder has the same weights."""

import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from si_crsae.core.checks import check_at_least_one, check_positive
from si_crsae.core.compiled import HAS_NUMBA
from si_crsae.core.operators.convolution import atom_correlations, correlate, synthesize
from si_crsae.core.solvers.fista import fista_solve
from si_crsae.core.solvers.problems import safe_step_size
from si_crsae.core.solvers.unrolled import unroll
from si_crsae.models.arrays import Values, as_atoms, as_floats, as_windows
from si_crsae.models.atoms import with_unit_norm


class Crsae(torch.nn.Module):
    """The constrained recurrent sparse auto-encoder of [1]_, for traces and for images.

    Arrays of numpy are taken for tensors of single precision; windows become as precise as the atoms.

    The encoder is Algorithm 1: some iterations of FISTA on ``1/2 ||y - H x||^2 + noise_sd^2 * rate * ||x||_1``. The
    decoder is ``H``, with the same atoms. Two parameters are learned: the atoms and the rate.

    Parameters
    ----------
    atoms : Tensor, shape (atom, channel, width) or (atom, channel, height, width)
        First dictionary; scaled to unit norm.
    rate : Tensor, shape () or (atom,)
        Rate of the Laplace prior of the code, lambda of the paper: one for all atoms, or one each.
    noise_sd : float, default: 1.0
        Standard deviation of the noise of the traces.
    num_iterations : int, default: 180
        Depth of the encoder.
    step_size : float, default: None
        Step size of the encoder, ``1 / L``; if None, the inverse of `lipschitz_bound` of the current atoms.
    nonnegative : bool, default: False
        If True, shrinkage is one-sided and the code is kept at or above zero.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    .. [1] Tolooshams, Dey and Ba, "Deep residual auto-encoders for expectation maximization-based dictionary
       learning", IEEE TNNLS, 2021.

    Examples
    --------
    >>> model = Crsae(torch.tensor([[[1.0, -1.0]]]), torch.tensor(0.1))
    >>> model.encode(torch.tensor([[[0.0, 2.0, -2.0, 0.0]]])).round(decimals=2)
    tensor([[[0.0000, 2.7300, 0.0000]]], grad_fn=<RoundBackward1>)
    """

    def __init__(
        self,
        atoms: Float[Tensor, "atom channel *width"] | ArrayLike,
        rate: Float[Tensor, "*atom"] | ArrayLike | float,
        *,
        noise_sd: float = 1.0,
        num_iterations: int = 180,
        step_size: float | None = None,
        nonnegative: bool = False,
    ) -> None:
        super().__init__()
        _check_numbers(noise_sd, num_iterations, step_size)
        self.atoms = torch.nn.Parameter(with_unit_norm(as_atoms(atoms)))
        self.rate = torch.nn.Parameter(_as_rate(rate, self.atoms))
        self.noise_sd = noise_sd
        self.num_iterations = num_iterations
        self.step_size = step_size
        self.nonnegative = nonnegative

    @property
    def regularization(self) -> Float[Tensor, " atom"]:
        """Weight of the l1 norm of each atom's code: ``noise_sd^2 * rate``."""
        return (self.noise_sd**2 * self.rate).expand(len(self.atoms))

    def encode(self, traces: Float[Tensor, "batch channel *sample"] | ArrayLike) -> Float[Tensor, "batch atom *shift"]:
        """Return the code of some windows or images: Algorithm 1.

        Parameters
        ----------
        traces : Tensor, shape (batch, channel, sample) or (batch, channel, height, width)

        Returns
        -------
        Tensor, shape (batch, atom, ...)
            Exactly sparse; differentiable with respect to the traces and the parameters.

        Raises
        ------
        ValueError
            If the traces are not finite, or do not fit the atoms.
        """
        traces = as_windows(traces, name="traces", atoms=self.atoms)
        settings = {
            "num_iterations": self.num_iterations,
            "step_size": self.step_size or safe_step_size(self.atoms),
            "nonnegative": self.nonnegative,
        }
        if self.atoms.ndim == 3 and traces.device.type == "cpu" and HAS_NUMBA:
            maps = correlate(traces, self.atoms)
            return unroll(maps, atom_correlations(self.atoms), self.regularization, **settings)
        return fista_solve(traces, self.atoms, self.regularization, **settings)

    def decode(self, code: Float[Tensor, "batch atom *shift"] | ArrayLike) -> Float[Tensor, "batch channel *sample"]:
        """Return the traces that a code stands for."""
        return synthesize(as_floats(code, name="code").to(self.atoms.dtype), self.atoms)

    def forward(
        self, traces: Float[Tensor, "batch channel *sample"] | ArrayLike
    ) -> Float[Tensor, "batch channel *sample"]:
        """Return the traces as the auto-encoder sees them: Eq. 23."""
        return self.decode(self.encode(traces))

    @torch.no_grad()
    def normalize(self) -> None:
        """Scale the atoms back to unit norm, in place."""
        self.atoms.copy_(with_unit_norm(self.atoms))


def reconstruction_loss(
    traces: Float[Tensor, "batch channel *sample"], reconstruction: Float[Tensor, "batch channel *sample"]
) -> Float[Tensor, ""]:
    """Return half the squared error of a window, averaged over windows: Eq. 24 of the paper."""
    return (traces - reconstruction).square().sum() / (2 * len(traces))


def _as_rate(rate: Values, atoms: Tensor) -> Float[Tensor, "*atom"]:
    tensor = as_floats(rate, name="rate").detach().clone().to(atoms)
    if tensor.shape not in ((), (len(atoms),)):
        raise ValueError(f"rate has shape {tuple(tensor.shape)}: it must be a scalar or have one value per atom")
    if not bool((tensor > 0).all() and tensor.isfinite().all()):
        raise ValueError(
            f"rate = {tensor.tolist()}: it must be positive, and finite; sqrt(2 log(num_coefficients)) / noise_sd is "
            "usual"
        )
    return tensor


def _check_numbers(noise_sd: float, num_iterations: int, step_size: float | None) -> None:
    check_positive("noise_sd", noise_sd, remedy="estimate it from the traces")
    check_at_least_one(num_iterations=num_iterations)
    if step_size is not None:
        check_positive("step_size", step_size, remedy="pass None to derive it from the atoms")
