"""Learned convolutional sparse coding: the untied auto-encoder that CRsAE is compared with."""

import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from si_crsae.core.checks import check_at_least_one, check_at_least_zero, check_positive
from si_crsae.core.operators.convolution import correlate, synthesize
from si_crsae.core.priors import Sparse
from si_crsae.core.solvers.fista import Fista, FistaState
from si_crsae.core.solvers.problems import Convolutional, safe_step_size
from si_crsae.models.arrays import as_atoms, as_floats, as_windows
from si_crsae.models.crsae.autoencoder import reconstruction_loss


class Lcsc(torch.nn.Module):
    """A few iterations of ISTA whose filters are learned apart from the decoder's [1]_, for comparison only.

    Parameters
    ----------
    atoms : Tensor, shape (atom, channel, width)
        Where the decoder and both filters of the encoder start.
    threshold : float
        Where the threshold of every atom starts, in the unit of the code.
    num_iterations : int, default: 3

    References
    ----------
    .. [1] Sreter and Giryes, "Learned convolutional sparse coding", ICASSP 2018.
    """

    def __init__(
        self, atoms: Float[Tensor, "atom channel width"] | ArrayLike, threshold: float, *, num_iterations: int = 3
    ) -> None:
        super().__init__()
        check_at_least_zero(threshold=threshold)
        check_at_least_one(num_iterations=num_iterations)
        first = as_atoms(atoms)
        step_size = safe_step_size(first)
        self.atoms = torch.nn.Parameter(first)
        self.analysis = torch.nn.Parameter(step_size * first)
        self.synthesis = torch.nn.Parameter(first.clone())
        self.threshold = torch.nn.Parameter(first.new_full((len(first),), step_size * threshold))
        self.num_iterations = num_iterations

    def encode(self, traces: Float[Tensor, "batch channel sample"] | ArrayLike) -> Float[Tensor, "batch atom shift"]:
        """Return the code of some windows."""
        traces = as_windows(traces, name="traces", atoms=self.atoms)
        problem = Convolutional(traces=traces, atoms=self.synthesis, analysis_atoms=self.analysis)
        prior = Sparse(regularization=self.threshold.clamp_min(0.0))
        solver = Fista(accelerated=False)
        state = FistaState.at(prior.activation(correlate(traces, self.analysis), 1.0), step_size=1.0)
        for _ in range(self.num_iterations - 1):
            state = solver.step(problem, prior, state)
        return state.code

    def forward(
        self, traces: Float[Tensor, "batch channel sample"] | ArrayLike
    ) -> Float[Tensor, "batch channel sample"]:
        """Return the reconstruction by the decoder's own atoms."""
        return synthesize(self.encode(traces), self.atoms)


class ReconstructionTraining:
    """Back-propagation of the reconstruction loss through everything, by ADAM.

    Parameters
    ----------
    model : torch.nn.Module
        An auto-encoder; trained in place.
    learning_rate : float
    """

    def __init__(self, model: torch.nn.Module, *, learning_rate: float) -> None:
        check_positive("learning_rate", learning_rate)
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, amsgrad=True)

    def step(self, windows: Tensor) -> float:
        """Change the model for a mini-batch; returns its loss before the change."""
        windows = as_floats(windows, name="windows")
        self.optimizer.zero_grad()
        loss = reconstruction_loss(windows, self.model(windows))
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def loss(self, windows: Tensor) -> float:
        """Return half the squared error of a window."""
        windows = as_floats(windows, name="windows")
        return float(reconstruction_loss(windows, self.model(windows)))
