"""Networks that tell the posterior of a code from a window: a perceptron at every position, or an unrolled solver."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.bases import Heads
from si_crsae.core.checks import check_at_least_one
from si_crsae.core.code_distribution import CodeDistribution
from si_crsae.core.operators.convolution import lipschitz_bound
from si_crsae.core.priors import Sparse, soft_threshold
from si_crsae.core.solvers.fista import Fista, FistaState
from si_crsae.core.solvers.problems import Convolutional

# In standard deviations of the data: about an eighth of the atoms of a first code exceed it.
_FIRST_THRESHOLD = 1.5
_FIRST_SHARPNESS = 8.0


class PerceptronEncoder(torch.nn.Module):
    """The multi-layer perceptron of [1]_, at every position of the window.

    With d the size of an atom (channels times width) its layers have 2d, 4d, 2d and d rectified units and then one
    linear unit per atom and head. A vector has one position.

    Parameters
    ----------
    atom_shape : tuple of int
        Atoms, channels, width.
    distribution : CodeDistribution
        Whose heads it returns.

    References
    ----------
    .. [1] Fallah and Rozell, "Variational sparse coding with learned thresholding", ICML 2022.
    """

    def __init__(self, atom_shape: tuple[int, int, int], distribution: CodeDistribution) -> None:
        super().__init__()
        num_atoms, num_channels, self.width = atom_shape
        size = num_channels * self.width
        self.names = distribution.heads
        layers: list[torch.nn.Module] = []
        sizes = [size, 2 * size, 4 * size, 2 * size, size]
        for before, after in zip(sizes[:-1], sizes[1:], strict=True):
            layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
        self.trunk = torch.nn.Sequential(*layers)
        self.outputs = torch.nn.ModuleDict({name: torch.nn.Linear(size, num_atoms) for name in self.names})

    def forward(
        self, windows: Float[Tensor, "batch channel sample"], atoms: Float[Tensor, "atom channel width"]
    ) -> Heads:
        """Return the heads; the dictionary does not matter."""
        patches = windows.unfold(2, self.width, 1).movedim(2, 1).flatten(2)
        features = self.trunk(patches)
        return {name: self.outputs[name](features).movedim(1, 2) for name in self.names}


class UnrolledEncoder(torch.nn.Module):
    """Some iterations of FISTA on the dictionary of the decoder, with learned filters, steps and thresholds.

    The code is the shift. How far the last iteration was beyond its threshold tells whether a coefficient is in, and
    with it the other heads: each goes from a value for coefficients that are out to one for those that are in, both
    learned per atom. Filters that differ from the atoms make the iteration converge in few steps [1]_.

    Parameters
    ----------
    atoms : Tensor, shape (atom, channel, width)
        First dictionary.
    distribution : CodeDistribution
        Whose heads it returns.
    num_iterations : int, default: 8

    References
    ----------
    .. [1] Gregor and LeCun, "Learning fast approximations of sparse coding", ICML 2010.
    """

    def __init__(
        self, atoms: Float[Tensor, "atom channel width"], distribution: CodeDistribution, *, num_iterations: int = 8
    ) -> None:
        super().__init__()
        check_at_least_one(num_iterations=num_iterations)
        num_atoms = len(atoms)
        unit = _with_norms(atoms.detach())[0]
        self.names = distribution.heads
        self.filters = torch.nn.Parameter(unit.clone())
        step = 1 / float(lipschitz_bound(unit))
        self.log_steps = torch.nn.Parameter(torch.full((num_iterations,), math.log(step)).to(unit))
        thresholds = torch.full((num_iterations, num_atoms), math.log(_FIRST_THRESHOLD))
        self.log_thresholds = torch.nn.Parameter(thresholds.to(unit))
        self.log_sharpness = torch.nn.Parameter(torch.full((num_atoms,), math.log(_FIRST_SHARPNESS)).to(unit))
        self.levels = torch.nn.ParameterDict(
            {
                name: torch.nn.Parameter(torch.tensor([values] * num_atoms).T.contiguous().to(unit))
                for name, values in distribution.starts.items()
            }
        )

    def forward(
        self, windows: Float[Tensor, "batch channel sample"], atoms: Float[Tensor, "atom channel width"]
    ) -> Heads:
        """Return the heads under a dictionary."""
        unit, norms = _with_norms(atoms)
        problem = Convolutional(traces=windows, atoms=unit, analysis_atoms=self.filters)
        *steps, last_step = self.log_steps.exp()[:, None].expand(-1, len(windows))
        *thresholds, last_threshold = self.log_thresholds.exp()
        solver, state = Fista(), FistaState.at(problem.empty_code(), step_size=last_step)
        for step, threshold in zip(steps, thresholds, strict=True):
            state = solver.step(problem, Sparse(regularization=threshold), replace(state, step_size=step))
        start = state.extrapolated_code
        potential = start + last_step[:, None, None] * problem.descent_direction(start)
        height = last_step[:1, None] * last_threshold[:, None]
        heads = {"shift": soft_threshold(potential, height[:, 0]) / norms[:, None]}
        is_in = torch.sigmoid(self.log_sharpness.exp()[:, None] * (potential.abs() / height - 1))
        return heads | {
            name: torch.lerp(low[:, None], high[:, None], is_in) for name, (low, high) in self.levels.items()
        }


def _with_norms(atoms: Tensor) -> tuple[Tensor, Tensor]:
    norms = atoms.flatten(1).norm(dim=1).clamp_min(1e-6)
    return atoms / norms[:, None, None], norms
