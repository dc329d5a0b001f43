"""Linked dictionaries: one sparse code, as several views show it, and how the views learn from each other."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from si_crsae.core.checks import check_at_least_one, check_positive, check_seed, check_share
from si_crsae.core.priors import Counted, Sparse
from si_crsae.core.solvers.by_name import AUTO
from si_crsae.core.solvers.quadratic import LinkedView, Quadratic

# Share of the regularization that the optimality conditions of a code may be off by. Rougher codes teach worse atoms.
_TOLERANCE = 0.02

Views = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewLayout:
    """How the windows of all views lie side by side in one tensor, which `train` can shuffle.

    Parameters
    ----------
    shapes : dict of str to (int, int)
        Channels and samples of a window of each view.
    """

    shapes: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, views: Views) -> "ViewLayout":
        """Return the layout of some views."""
        return cls(shapes={name: (windows.shape[1], windows.shape[2]) for name, windows in views.items()})

    def stack(self, views: Views) -> Float[Tensor, "batch one entry"]:
        """Return all views of every window in a row."""
        return torch.cat([views[name].flatten(1) for name in self.shapes], dim=1)[:, None]

    def split(self, stacked: Float[Tensor, "batch one entry"]) -> Views:
        """Return what was stacked."""
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        parts = stacked[:, 0].split(sizes, dim=1)
        return {name: part.unflatten(1, shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}


class LinkedModel(torch.nn.Module):
    """Dictionaries of several views that share one code.

    A code is inferred from any of the views. While they are learned, atoms have the norm 1 over all views that are not
    fixed, each weighted; over some of the views they have less.

    Parameters
    ----------
    views : dict of str to LinkedView
        With first atoms.
    regularization : float
        Lambda.
    nonnegative : bool, default: True
        If True, codes are zero or more.
    hard : bool, default: False
        If True, the threshold is the hard one: codes are not shrunk, and local minima.
    solver : str, default: "auto"
        See `find_solver`. Under the hard threshold the potentials of "lca" may never rest if an atom's norm exceeds 1.
    rescaled : bool, default: False
        If False, one prior holds whatever views are given: the fewer, the fewer data against it. If True, the lambda of
        an atom is multiplied by its norm over the views that are given, so that noise alone exceeds it as often.
    fixed : sequence of str, default: ()
        Views whose atoms stay what they are.
    """

    def __init__(
        self,
        views: Mapping[str, LinkedView],
        *,
        regularization: float,
        nonnegative: bool = True,
        hard: bool = False,
        solver: str = AUTO,
        rescaled: bool = False,
        fixed: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.atoms = torch.nn.ParameterDict(
            {name: torch.nn.Parameter(view.atoms.clone(), requires_grad=False) for name, view in views.items()}
        )
        self.weights = {name: view.weight for name, view in views.items()}
        self.strides = {name: view.stride for name, view in views.items()}
        self.regularization, self.nonnegative, self.hard, self.solver = regularization, nonnegative, hard, solver
        self.rescaled = rescaled
        self.learned = tuple(name for name in views if name not in fixed)

    def view(self, name: str) -> LinkedView:
        """Return what a view shows of a code now."""
        return LinkedView(atoms=self.atoms[name], weight=self.weights[name], stride=self.strides[name])

    @torch.no_grad()
    def normalize(self) -> None:
        """Give every atom the norm 1 over the views that are learned: ``sum_i w_i ||h_ic||^2 = 1``."""
        squares = [self.weights[name] * self.atoms[name].square().sum(dim=(1, 2)) for name in self.learned]
        norms = torch.stack(squares).sum(dim=0).sqrt()
        for name in self.learned:
            self.atoms[name].div_(torch.where(norms > 0, norms, 1.0)[:, None, None])

    def problem(self, views: Views, *, drive: Tensor | None = None) -> Quadratic:
        """Return the least-squares problem of some views.

        Parameters
        ----------
        views : dict of str to Tensor, each of shape (batch, channel, sample)
        drive : Tensor, shape (batch, atom), default: None
            A current into every neuron, which lowers its threshold.
        """
        problem = Quadratic.of([self.view(name) for name in views], list(views.values()))
        if drive is None:
            return problem
        return Quadratic(correlation=problem.correlation + drive[:, :, None], gram=problem.gram)

    def encode(
        self, views: Views, *, drive: Tensor | None = None, tolerance: float = _TOLERANCE
    ) -> Float[Tensor, "batch atom shift"]:
        """Return the code behind some of the views.

        Parameters
        ----------
        views, drive
            As for `problem`.
        tolerance : float, default: 0.02
            Violation of the optimality conditions that is let pass, as a share of the regularization.
        """
        return self.encode_with_energy(views, drive=drive, tolerance=tolerance)[0]

    @torch.no_grad()
    def encode_with_energy(
        self, views: Views, *, drive: Tensor | None = None, tolerance: float = _TOLERANCE
    ) -> tuple[Float[Tensor, "batch atom shift"], Float[Tensor, " batch"]]:
        """Return the code, as `encode`, and Eq. 6 of the paper: weighted squared errors plus penalty, less drive."""
        problem = self.problem(views, drive=drive)
        prior = self._prior(problem)
        code = problem.solve(prior, solver=self.solver, tolerance=tolerance * self.regularization)
        squares = [self.weights[name] / 2 * windows.square().sum(dim=(1, 2)) for name, windows in views.items()]
        return code, torch.stack(squares).sum(dim=0) + problem.value(code) + prior.penalty(code)

    def decode(
        self, code: Float[Tensor, "batch atom shift"], name: str, *, num_samples: int | None = None
    ) -> Float[Tensor, "batch channel sample"]:
        """Return how a view would show a code, in windows of the smallest size or of a given one."""
        return self.view(name).synthesize(code, num_samples=num_samples)

    def _prior(self, problem: Quadratic) -> Sparse | Counted:
        norms = problem.norms()
        level = self.regularization * (norms if self.rescaled else torch.ones_like(norms))
        return threshold_prior(hard=self.hard)(regularization=level, nonnegative=self.nonnegative)


def threshold_prior(*, hard: bool) -> type[Sparse] | type[Counted]:
    """Return the prior whose activation is the soft or the hard threshold."""
    return Counted if hard else Sparse


def hebbian_change(
    residual: Float[Tensor, "batch channel sample"], code: Float[Tensor, "batch atom shift"], *, stride: int = 1
) -> Float[Tensor, "atom channel width"]:
    """Return the change of the atoms that lowers the squared error: what fires together with what is left over.

    ``a (x) R`` of Eq. 4 of [1]_, at every position of the code, summed over windows.

    Parameters
    ----------
    residual : Tensor, shape (batch, channel, sample)
        What the code leaves of the traces.
    code : Tensor, shape (batch, atom, shift)
    stride : int, default: 1
        Samples from one position of the code to the next.

    Returns
    -------
    Tensor, shape (atom, channel, width)

    References
    ----------
    .. [1] Barari and Kim, "Linking sparse coding dictionaries for representation learning", 2021.
    """
    if code.shape[2] == 1:
        return torch.einsum("ba,bcw->acw", code[:, :, 0], residual)
    return functional.conv1d(residual.transpose(0, 1), code.transpose(0, 1), dilation=stride).transpose(0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedFitting:
    """How `LinkedDictionaries` learns.

    Parameters
    ----------
    num_epochs : int, default: 20
    batch_size : int, default: 100
    learning_rate : float, default: 0.1
        Rate of the Hebbian rule, in units of one over the mean squared coefficient of a mini-batch; it falls to zero.
    seen : sequence of str, default: ()
        Views from which codes will be inferred later. Where they are named, learning also makes the code that they
        alone give the one that all give, by as much as `contrast` says.
    contrast : float, default: 0.8
        From 0, the paper's rule, to 1, where only the prediction of the other views counts.
    validation_share : float, default: 0.1
        Share of the windows that is held out to choose the best epoch.
    seed : int, default: 0
        Decides the first atoms, which windows are held out, and the order.
    progress : bool, default: False
        If True, show a bar of epochs.
    """

    num_epochs: int = 20
    batch_size: int = 100
    learning_rate: float = 0.1
    seen: Sequence[str] = ()
    contrast: float = 0.8
    validation_share: float = 0.1
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing can be learned."""
        check_at_least_one(num_epochs=self.num_epochs, batch_size=self.batch_size)
        check_positive("learning_rate", self.learning_rate)
        check_share(contrast=self.contrast, validation_share=self.validation_share)
        if self.validation_share in (0, 1):
            raise ValueError(f"validation_share = {self.validation_share}: it must be above 0 and below 1")
        check_seed(self.seed)
        is_list = isinstance(self.seen, Sequence) and not isinstance(self.seen, str)
        if not (is_list and all(isinstance(name, str) for name in self.seen)):
            raise ValueError(f"seen = {self.seen!r}: it must be a sequence of names, such as [{self.seen!r}]")


class HebbianTraining:
    """Learning by a local rule: every atom moves towards what its neuron has left unexplained.

    With views that will be seen alone, a free phase follows the one in which all views are clamped, and what the
    neurons do in it is unlearned: ``contrast`` times. The gradient is that of

        min_x E(x; all views) - contrast * min_x E(x; seen views)

    whose last term rewards nothing that the seen views alone would have explained as well. With a contrast of 1 and
    small weights of the others it is that of their prediction error: equilibrium propagation [1]_.

    Parameters
    ----------
    model : LinkedModel
        Trained in place.
    layout : ViewLayout
        Layout of the windows; an entry "drive", if there is one, is a current into the neurons while all views are
        clamped.
    fitting : LinkedFitting
    num_steps : int
        Steps in which the learning rate falls to zero.
    augment : callable, default: None
        Given the views of a mini-batch and a generator, returns others that belong together as well.

    References
    ----------
    .. [1] Scellier and Bengio, "Equilibrium propagation: bridging the gap between energy-based models and
       backpropagation", Frontiers in Computational Neuroscience 11, 2017.
    """

    def __init__(
        self,
        model: LinkedModel,
        *,
        layout: ViewLayout,
        fitting: LinkedFitting,
        num_steps: int,
        augment: Callable[[Views, torch.Generator], Views] | None = None,
    ) -> None:
        self.model, self._layout, self._fitting, self._augment = model, layout, fitting, augment
        self._steps_left = self._num_steps = num_steps
        self._generator = torch.Generator().manual_seed(fitting.seed)
        model.normalize()

    @torch.no_grad()
    def step(self, windows: Tensor) -> float:
        """Change the atoms for a mini-batch of stacked views; returns the loss before the change."""
        views, drive = self._unpacked(windows)
        if self._augment is not None:
            views = self._augment(views, self._generator)
        codes, losses = self._phases(views, drive)
        fitting = self._fitting
        rate = fitting.learning_rate * max(self._steps_left, 0) / self._num_steps
        rate = rate / max(float(codes[0].square().sum(dim=2).mean()) * len(windows), torch.finfo(windows.dtype).tiny)
        changes = {name: self._change(views, codes, name) for name in self.model.learned}
        for name, change in changes.items():
            self.model.atoms[name].add_(change, alpha=rate)
        self.model.normalize()
        self._steps_left -= 1
        return losses

    @torch.no_grad()
    def loss(self, windows: Tensor) -> float:
        """Return the mean loss of stacked views."""
        return self._phases(*self._unpacked(windows))[1]

    def _unpacked(self, windows: Tensor) -> tuple[Views, Tensor | None]:
        views = self._layout.split(windows)
        drive = views.pop("drive", None)
        return views, None if drive is None else drive[:, :, 0]

    def _phases(self, views: Views, drive: Tensor | None) -> tuple[list[Tensor], float]:
        """Return the code of the clamped phase and, if there is one, of the free phase; and the loss."""
        model, fitting = self.model, self._fitting
        code, loss = model.encode_with_energy(views, drive=drive)
        codes = [code]
        if fitting.seen and fitting.contrast:
            seen = {name: views[name] for name in fitting.seen}
            free, energy = model.encode_with_energy(seen)
            codes.append(free)
            loss = loss - fitting.contrast * energy
        return codes, float(loss.mean())

    def _change(self, views: Views, codes: list[Tensor], name: str) -> Tensor:
        model = self.model

        def learned_from(code: Tensor) -> Tensor:
            covered = model.decode(code, name)
            residual = views[name][:, :, : covered.shape[2]] - covered
            return model.weights[name] * hebbian_change(residual, code, stride=model.strides[name])

        change = learned_from(codes[0])
        if len(codes) > 1 and name in self._fitting.seen:
            change = change - self._fitting.contrast * learned_from(codes[1])
        return change
