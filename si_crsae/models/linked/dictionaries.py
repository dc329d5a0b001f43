"""A scikit-learn-like face of linked dictionaries: fit several views, encode any of them, predict any other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from si_crsae.core.checks import check_at_least_one, check_one_of, check_positive
from si_crsae.core.solvers.by_name import AUTO, solver_names
from si_crsae.core.solvers.quadratic import LinkedView, Quadratic
from si_crsae.models.arrays import Array, as_tensor, check_device, check_values, choose_device, like
from si_crsae.models.atoms import draw_pieces
from si_crsae.models.checks import learned
from si_crsae.models.linked.model import (
    HebbianTraining,
    LinkedFitting,
    LinkedModel,
    ViewLayout,
    Views,
    threshold_prior,
)
from si_crsae.models.linked.views import View, ViewSizes, check_views, describe_view
from si_crsae.models.saving import load_saved, save_whole
from si_crsae.models.training import OnEpoch, TrainingHistory, count_steps, hold_out, train_as_set

ViewArrays = Mapping[str, ArrayLike | Tensor]
_THRESHOLDS = ("soft", "hard")


@dataclass(kw_only=True)
class LinkedDictionaries:
    """Dictionaries of several views of the same things, linked by one sparse code [1]_.

    What fires for a digit in handwriting fires for it in print; what fires for a spike on one shank, on the other. The
    code is inferred from any of the views, and any other is predicted from it. Arrays of numpy and tensors are taken,
    of shape (batch, ...), or (batch, channel, sample) for signals, and the same kind comes back.

    Parameters
    ----------
    views : dict of str to View
        By name.
    num_atoms : int, default: 256
    regularization : float, default: 0.1
        Lambda, for atoms of norm 1 over all views.
    nonnegative : bool, default: True
        If True, codes are zero or more.
    threshold : {"soft", "hard"}, default: "soft"
        That of the Lasso, which the cost of the paper has, or the one its Eq. 2 prints, which does not shrink.
    solver : str, default: "auto"
        See `find_solver`. All find the same code under the soft threshold, up to their tolerance.
    rescaled : bool, default: False
        How the code is inferred where views are missing. If False, under the same lambda: an atom of which they show
        little needs to be all the stronger. If True, lambda is a number of standard deviations of the noise of the
        views that are given: for spikes.
    device : str, default: "auto"
        "cpu", "cuda", "cuda:1" for the second GPU, or "auto" for a GPU if there is one.

    Attributes
    ----------
    model : LinkedModel or None
        What `fit` has learned.
    history : TrainingHistory or None
        Losses and atoms of every epoch of `fit`.
    shapes : dict of str to tuple
        Shape of a window of each view, as `fit` has seen them.

    References
    ----------
    .. [1] Barari and Kim, "Linking sparse coding dictionaries for representation learning", 2021.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> sources = rng.exponential(size=(300, 6)) * (rng.random((300, 6)) < 0.2)
    >>> seen, heard = sources @ rng.normal(size=(6, 20)), sources @ rng.normal(size=(6, 30))
    >>> linked = LinkedDictionaries(views={"seen": View(), "heard": View()}, num_atoms=6)
    >>> linked.fit({"seen": seen, "heard": heard}).predict({"seen": seen}, target="heard").shape
    (300, 30)
    """

    views: dict[str, View]
    num_atoms: int = 256
    regularization: float = 0.1
    nonnegative: bool = True
    threshold: str = "soft"
    solver: str = AUTO
    rescaled: bool = False
    device: str = "auto"
    model: LinkedModel | None = field(default=None, init=False, repr=False)
    history: TrainingHistory | None = field(default=None, init=False, repr=False)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be learned."""
        check_views(self.views)
        check_at_least_one(num_atoms=self.num_atoms)
        check_positive("regularization", self.regularization)
        self.num_atoms, self.regularization = int(self.num_atoms), float(self.regularization)
        check_one_of("threshold", self.threshold, _THRESHOLDS)
        prior = threshold_prior(hard=self.threshold == "hard")
        check_one_of("solver", self.solver, solver_names(problem=Quadratic, prior=prior))
        check_device(self.device)

    def fit(
        self,
        observed: ViewArrays,
        *,
        drive: ArrayLike | Tensor | None = None,
        initial_atoms: ViewArrays | None = None,
        augment: Callable[[Views, torch.Generator], Views] | None = None,
        fitting: LinkedFitting | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> "LinkedDictionaries":
        """Learn the dictionaries of all views.

        Parameters
        ----------
        observed : dict of str to array, each of shape (batch, ...), or (batch, channel, sample) for signals
            All views of the same windows.
        drive : array, shape (batch, atom), default: None
            Currents into the neurons while they learn, such as `class_blocks` gives.
        initial_atoms : dict of str to array, each of shape (atom, ...) or (atom, channel, width), default: None
            Where learning starts; if None, from windows drawn at random, or pieces of them with much energy.
        augment : callable, default: None
            Called with the views of each mini-batch, as tensors of shape (batch, channel, sample), and a generator;
            returns others that belong together as well. Windows of one position have their entries as channels.
        fitting : LinkedFitting, default: None
            If None, the default one.
        on_epoch : callable, default: None
            Called with an `EpochReport` before the first epoch and after each, in place of a bar.

        Returns
        -------
        LinkedDictionaries
            Itself.

        Raises
        ------
        ValueError
            If views are missing, do not belong together or are no numbers, or one of them is zero everywhere; nothing
            learned before is lost.
        """
        fitting = fitting or LinkedFitting()
        if not isinstance(observed, Mapping) or set(observed) != set(self.views):
            raise ValueError(
                f"observed has the views {list(observed)[:9]}: to learn, all are needed, {sorted(self.views)}"
            )
        if not set(fitting.seen) < set(self.views):
            raise ValueError(
                f"seen = {list(fitting.seen)}: it must name some of the views, not all: {list(self.views)}"
            )
        tensors = {name: self._checked(observed[name], f"observed[{name!r}]") for name in self.views}
        for name, windows in tensors.items():
            if not bool(windows.any()):
                raise ValueError(f"observed[{name!r}] is zero everywhere: leave that view out")
        sizes = ViewSizes.of(self.views, tensors)
        views = sizes.as_signals(tensors)
        generator = torch.Generator().manual_seed(fitting.seed)
        model = self._model_of(self._first_atoms(views, sizes, initial_atoms, generator))
        model.problem({name: windows[:1] for name, windows in views.items()})
        if drive is not None:
            views["drive"] = self._as_drive(drive, views)
        stacked = ViewLayout.of(views).stack(views)
        training, validation = hold_out(stacked, fitting.validation_share, generator=generator)
        num_steps = count_steps(training, fitting)
        layout = ViewLayout.of(views)
        trainer = HebbianTraining(model, layout=layout, fitting=fitting, num_steps=num_steps, augment=augment)
        self.history = train_as_set(trainer, training, validation, fitting=fitting, on_epoch=on_epoch)
        self.model, self.shapes = model, sizes.shapes
        return self

    def encode(self, observed: ViewArrays) -> Array:
        """Return the code behind any of the views, of shape (batch, atom), or (batch, atom, shift) for signals.

        Parameters
        ----------
        observed : dict of str to array
            One or more views of the same windows; signals may be of any length.
        """
        model, views = self._ready(observed)
        code = model.encode(views)
        return like(_first(observed), code if self._sizes.have_positions else code[:, :, 0])

    def predict(self, observed: ViewArrays, *, target: str) -> Array:
        """Return how one view would look, from any others, or from itself: then it is a reconstruction.

        Parameters
        ----------
        observed : dict of str to array
            One or more views of the same windows.
        target : str
            The view to predict.

        Returns
        -------
        array, shape (batch, ...), or (batch, channel, sample) for signals
        """
        model, views = self._ready(observed)
        if target not in self.views:
            raise ValueError(f"target = {target!r}: it must be one of the views, {', '.join(self.views)}")
        num_samples = views[target].shape[2] if target in views else None
        windows = model.decode(model.encode(views), target, num_samples=num_samples)
        return like(_first(observed), self._sizes.as_given(windows, target))

    def score(self, observed: ViewArrays, truth: ArrayLike | Tensor, *, target: str) -> float:
        """Return the share of a view's energy that its prediction from other views explains; at most 1."""
        predicted = torch.as_tensor(self.predict(observed, target=target)).cpu()
        true = as_tensor(truth, name="truth", device=predicted.device).to(predicted)
        is_signal = self._sizes.have_positions and true.ndim == predicted.ndim
        if is_signal and 0 < true.shape[-1] - predicted.shape[-1] < self.views[target].stride:
            true = true[..., : predicted.shape[-1]]
        if true.shape != predicted.shape:
            raise ValueError(
                f"truth has shape {tuple(true.shape)}: it must be that of {target}, {tuple(predicted.shape)}"
            )
        if not bool(true.isfinite().all()) or not bool(true.any()):
            raise ValueError("truth is NaN, infinite or zero everywhere: there is nothing to explain")
        return 1.0 - float((true - predicted).square().sum() / true.square().sum())

    def atoms(self, name: str) -> np.ndarray:
        """Return the dictionary of a view, of shape (atom, ...), or (atom, channel, width) for signals."""
        model = self._fitted()
        if name not in self.views:
            raise ValueError(f"name = {name!r}: it must be one of the views, {', '.join(self.views)}")
        return self._sizes.as_given(model.atoms[name], name).cpu().numpy()

    def save(self, path: str | Path) -> None:
        """Write what was learned to a file that torch can read without running code."""
        model = self._fitted()
        names = ("num_atoms", "regularization", "nonnegative", "threshold", "solver", "rescaled")
        save_whole(
            {
                "linked": {name: getattr(self, name) for name in names},
                "views": {name: describe_view(view) for name, view in self.views.items()},
                "shapes": {name: list(shape) for name, shape in self.shapes.items()},
                "atoms": {name: atoms.cpu() for name, atoms in model.atoms.items()},
            },
            path,
        )

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto") -> "LinkedDictionaries":
        """Return linked dictionaries that `save` has written.

        Raises
        ------
        ValueError
            If the file is something else.
        """
        saved = load_saved(path, entries=("linked", "views", "shapes", "atoms"), what="linked dictionaries")
        views = {name: View(**parts) for name, parts in saved["views"].items()}
        linked = cls(views=views, device=device, **saved["linked"])
        linked.shapes = {name: tuple(shape) for name, shape in saved["shapes"].items()}
        linked.model = linked._model_of(
            {name: atoms.to(linked._torch_device) for name, atoms in saved["atoms"].items()}
        )
        return linked

    @property
    def _sizes(self) -> ViewSizes:
        return ViewSizes(views=self.views, shapes=self.shapes)

    @property
    def _torch_device(self) -> torch.device:
        return choose_device(self.device)

    def _fitted(self) -> LinkedModel:
        # What a user has changed since counts: how to infer a code is no part of what was learned.
        return self._model_of(dict(learned(self.model, LinkedDictionaries).atoms.items()))

    def _ready(self, observed: ViewArrays) -> tuple[LinkedModel, Views]:
        """Return what was learned, and the views that are given, or raise ValueError."""
        model = self._fitted()
        if not isinstance(observed, Mapping) or len(observed) == 0 or not set(observed) <= set(self.views):
            raise ValueError(
                f"observed has the views {list(observed)[:9]}: it must have one or more of {sorted(self.views)}"
            )
        tensors = {name: self._checked(values, f"observed[{name!r}]") for name, values in observed.items()}
        return model, self._sizes.as_signals(tensors)

    def _first_atoms(
        self,
        views: Views,
        sizes: ViewSizes,
        initial_atoms: ViewArrays | None,
        generator: torch.Generator,
    ) -> Views:
        """Return the fixed atoms of each view, those that are given, or else pieces of random windows."""
        given = {name: view.atoms for name, view in self.views.items() if view.atoms is not None}
        unknown = set(initial_atoms or {}) - set(self.views)
        if unknown:
            raise ValueError(f"initial_atoms has {sorted(unknown)}: the views are {list(self.views)}")
        given = {**(initial_atoms or {}), **given}
        widths = {name: view.width or 1 for name, view in self.views.items()}
        strides = {name: view.stride for name, view in self.views.items()}
        drawn = draw_pieces(views, widths, strides, self.num_atoms, generator)
        for name, values in given.items():
            shape = (self.num_atoms, *sizes.shape_of_atom(name))
            atoms = self._checked(values, f"atoms of {name}")
            if tuple(atoms.shape) != shape:
                raise ValueError(f"the atoms of {name} have shape {tuple(atoms.shape)}: it must be {shape}")
            drawn[name] = atoms.reshape(drawn[name].shape).to(drawn[name])
        return drawn

    def _model_of(self, atoms: Views) -> LinkedModel:
        return LinkedModel(
            {
                name: LinkedView(atoms=atoms[name], weight=view.weight, stride=view.stride)
                for name, view in self.views.items()
            },
            regularization=self.regularization,
            nonnegative=self.nonnegative,
            hard=self.threshold == "hard",
            solver=self.solver,
            rescaled=self.rescaled,
            fixed=[name for name, view in self.views.items() if view.atoms is not None],
        )

    def _checked(self, values: ArrayLike | Tensor, name: str) -> Tensor:
        tensor = as_tensor(values, name=name, device=self._torch_device).float()
        if tensor.ndim < 2:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}: its first axis must be that of windows")
        check_values(name, tensor)
        return tensor

    def _as_drive(self, drive: ArrayLike | Tensor, views: Views) -> Tensor:
        currents = self._checked(drive, "drive")
        shape = (len(next(iter(views.values()))), self.num_atoms)
        if tuple(currents.shape) != shape:
            raise ValueError(f"drive has shape {tuple(currents.shape)}: it must be (batch, atom), {shape}")
        return currents[:, :, None]


def _first(observed: ViewArrays) -> ArrayLike | Tensor:
    return next(iter(observed.values()))
