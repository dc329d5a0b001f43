"""How the views of a link are made, and how large their windows and atoms are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from si_crsae.core.checks import check_at_least_one, check_positive
from si_crsae.models.linked.model import Views


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """How one view of a `LinkedDictionaries` is made.

    Parameters
    ----------
    weight : float, default: 1.0
        Weight of its squared error: one over the variance of its noise, or how much it should shape the code.
    width : int, default: None
        Samples of an atom, for signals in which it may lie anywhere. If None, atoms are as large as the windows, and
        the code has one position: vectors, images, snippets. All views of a link have a width, or none has.
    stride : int, default: 1
        Samples from one position of the code to the next: 2 for a signal of twice the sampling rate.
    atoms : Tensor, default: None
        If given, what they are, once and for all: of shape (atom, ...) of the windows, or (atom, channel, width).
    """

    weight: float = 1.0
    width: int | None = None
    stride: int = 1
    atoms: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        for name in ("width", "stride"):
            value = getattr(self, name)
            if value is not None:
                check_at_least_one(**{name: value})
        check_positive("weight", self.weight, remedy="leave a view out that should not count")


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSizes:
    """Shapes of windows and atoms of views, as they are given and as signals, which is how a `LinkedModel` has them.

    Parameters
    ----------
    views : dict of str to View
    shapes : dict of str to tuple
        Shape of a window of each view.
    """

    views: dict[str, View]
    shapes: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, views: dict[str, View], windows: Views) -> "ViewSizes":
        """Return the sizes of some windows of all views."""
        return cls(views=views, shapes={name: tuple(given.shape[1:]) for name, given in windows.items()})

    @property
    def have_positions(self) -> bool:
        """Whether atoms may lie anywhere in a window; if not, they are as large as it."""
        return next(iter(self.views.values())).width is not None

    def shape_of_atom(self, name: str) -> tuple[int, ...]:
        """Return the shape of an atom of a view, as it is given."""
        width = self.views[name].width
        return self.shapes[name] if width is None else (self.shapes[name][0], width)

    def as_given(self, signals: Tensor, name: str) -> Tensor:
        """Return windows or atoms of a view, of shape (batch, channel, sample), as they would be given."""
        return signals if self.have_positions else signals.reshape(-1, *self.shapes[name])

    def as_signals(self, windows: Views) -> Views:
        """Return windows of some views as (batch, channel, sample), or raise ValueError if they do not fit."""
        numbers = {name: len(given) for name, given in windows.items()}
        if len(set(numbers.values())) > 1 or 0 in numbers.values():
            raise ValueError(f"observed has {numbers} windows: there must be some, and as many in every view")
        for name, given in windows.items():
            self._check(given, name)
        return windows if self.have_positions else {name: each.flatten(1)[:, :, None] for name, each in windows.items()}

    def _check(self, windows: Tensor, name: str) -> None:
        shape, wanted, width = tuple(windows.shape), self.shapes[name], self.views[name].width
        if width is not None and (len(shape) != 3 or shape[1] != wanted[0]):
            raise ValueError(f"observed[{name!r}] has shape {shape}: it must be (batch, channel, sample), as in fit")
        if width is None and shape[1:] != wanted:
            axes = f"(batch, {', '.join(map(str, wanted))})"
            raise ValueError(f"observed[{name!r}] has shape {shape}: it must be {axes}, as in fit")
        if width is not None and shape[2] < width:
            raise ValueError(f"observed[{name!r}] has {shape[2]} samples: it needs at least width = {width}")


def check_views(views: Mapping[str, View]) -> None:
    """Raise ValueError if views cannot be linked."""
    if not isinstance(views, Mapping) or len(views) == 0:
        raise ValueError(f"views = {views}: it must be a dict with at least one view")
    for name, view in views.items():
        is_free = isinstance(name, str) and name.isidentifier() and not hasattr(torch.nn.ParameterDict, name)
        if not is_free or name == "drive":
            raise ValueError(f"views: {name!r} cannot be the name of one; use another word of letters and digits")
        if not isinstance(view, View):
            raise ValueError(f"views[{name!r}] = {view}: it must be a View")
    if all(view.atoms is not None for view in views.values()):
        raise ValueError("views: all have fixed atoms, so that there is nothing to learn; leave one without")
    if len({view.width is None for view in views.values()}) > 1:
        raise ValueError("views: some have a width and others none; give a width to all, or to none")


def describe_view(view: View) -> dict[str, Any]:
    """Return a view as what torch reads without running code."""
    atoms = None if view.atoms is None else torch.as_tensor(view.atoms).cpu()
    return {"weight": float(view.weight), "width": view.width, "stride": view.stride, "atoms": atoms}
