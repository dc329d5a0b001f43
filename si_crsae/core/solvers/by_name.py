"""The solvers by name: the one list from which parameters, messages and tests take them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.compiled import HAS_NUMBA
from si_crsae.core.operators.gram import Gram
from si_crsae.core.priors import Sparse
from si_crsae.core.solvers.fista import Fista
from si_crsae.core.solvers.greedy import Descent
from si_crsae.core.solvers.iteration import Solver, iterate
from si_crsae.core.solvers.lca import Lca
from si_crsae.core.solvers.maps import DictionaryOnDevice, MapProblem
from si_crsae.core.solvers.parallel import ParallelDescent
from si_crsae.core.types import Dictionary

AUTO = "auto"
# The faster first; a new solver goes to the end.
SOLVERS: dict[str, type[Solver]] = {
    "descent": Descent,
    "parallel": ParallelDescent,
    "fista": Fista,
    "lca": Lca,
}


def solver_names(*, problem: type, prior: type) -> tuple[str, ...]:
    """Return "auto", and the names of the solvers that can have a kind of problem and a kind of prior."""
    able = (
        name
        for name, kind in SOLVERS.items()
        if issubclass(problem, kind.problem_kind) and issubclass(prior, kind.prior_kind)
    )
    return (AUTO, *able)


def find_solver(name: str, *, problem: type, prior: type, device: torch.device) -> Callable[..., Solver]:
    """Return the class of a solver, to be called with its tolerance.

    Parameters
    ----------
    name : str
        "auto", or a key of `SOLVERS`. "auto" is the first of them that can have the problem and the prior; the compiled
        "descent" only on a CPU where numba is installed. For the maps of the sorter that is "descent" on a CPU, else
        "parallel"; elsewhere "descent" on a CPU, and "fista" on a GPU and for priors that are not `Sparse`.
    problem, prior : type
        Kinds of problem and prior that it is to have.
    device : torch.device
        Where the problem is.

    Raises
    ------
    ValueError
        If no solver that can have them has that name.
    """
    names = solver_names(problem=problem, prior=prior)
    if name not in names:
        raise ValueError(
            f"solver = {name!r}: it must be one of {', '.join(names)}, for {problem.__name__} and {prior.__name__}"
        )
    if name == AUTO:
        is_compiled = HAS_NUMBA and device.type == "cpu"
        name = next(each for each in names[1:] if is_compiled or each != "descent")
    return SOLVERS[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSolver:
    """Finds the codes behind correlation maps of one dictionary: see `make_solver`.

    Parameters
    ----------
    kind : callable
        One of `SOLVERS`.
    dictionary : DictionaryOnDevice
    """

    kind: Callable[..., Solver]
    dictionary: DictionaryOnDevice

    def solve(
        self, correlation: Float[Tensor, "atom shift"], prior: Sparse, *, tolerance: float
    ) -> Float[Tensor, "atom shift"]:
        """Return the minimizer of ``1/2 ||traces - synthesize(code)||^2`` plus the penalty of the prior.

        Parameters
        ----------
        correlation : Tensor, shape (atom, shift)
            ``correlate(traces, atoms)``, for atoms of norm 1; left as it was.
        prior : Sparse
            A lambda of inf takes an atom out.
        tolerance : float
            No coefficient is further than this from its minimum, the others fixed.

        Returns
        -------
        Tensor, shape (atom, shift)
            Exactly sparse, on the device of `correlation`.
        """
        if correlation.numel() == 0:
            return torch.zeros_like(correlation)
        here = replace(prior, regularization=prior.regularization.to(correlation.device))
        problem = MapProblem(correlation=correlation, dictionary=self.dictionary)
        return iterate(self.kind(tolerance=tolerance), problem, here)[0]


def make_solver(name: str, dictionary: Dictionary, gram: Gram, *, device: torch.device) -> MapSolver:
    """Return a solver for the correlation maps of a dictionary.

    Parameters
    ----------
    name : str
        See `find_solver`.
    dictionary : Dictionary
    gram : Gram
        ``Gram.of(dictionary)``.
    device : torch.device
        Where the correlation maps will be.

    Returns
    -------
    MapSolver

    Raises
    ------
    ValueError
        If there is no solver of that name.
    """
    kind = find_solver(name, problem=MapProblem, prior=Sparse, device=device)
    return MapSolver(kind=kind, dictionary=DictionaryOnDevice(dictionary=dictionary, gram=gram, device=device))
