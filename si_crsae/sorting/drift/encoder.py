"""The encoder of a dictionary that moves with the tissue."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Int

from si_crsae.core.events.encoder import Encoder, EncoderSettings
from si_crsae.core.types import Dictionary
from si_crsae.sorting.drift.moving import MovingTemplates
from si_crsae.sorting.drift.trajectory import Trajectory

# Encoders kept: a slow motion comes back to the same steps, one beyond all of them is made anew.
NUM_KEPT = 32


@dataclass(frozen=True, kw_only=True)
class MovingEncoder(Encoder):
    """The encoder of atoms at rest, which gives those of the atoms where the tissue is at a time.

    Parameters
    ----------
    templates : MovingTemplates
    trajectory : Trajectory
        Of the recording that is encoded.
    settings_of : callable
        Gives the settings of a dictionary.
    solver_name : str
        See `find_solver`.
    """

    templates: MovingTemplates
    trajectory: Trajectory
    settings_of: Callable[[Dictionary], EncoderSettings]
    solver_name: str
    _kept: "OrderedDict[bytes, Encoder]" = field(default_factory=OrderedDict, repr=False, compare=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return what goes to another process: neither a lock nor what can be made anew."""
        return {**vars(self), "_kept": OrderedDict(), "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make what does not go to another process."""
        vars(self).update({**state, "_lock": threading.Lock()})

    def steps_at(self, segment_index: int, sample_index: int) -> Int[np.ndarray, " atom"]:
        """Return the step of displacement at which each atom is at a sample of a segment."""
        return self.trajectory.steps(segment_index, sample_index, self.templates.rest_depth_um)

    def at(self, segment_index: int, sample_index: int) -> Encoder:
        """Return the encoder of the atoms where they are at a sample of a segment."""
        steps = self.steps_at(segment_index, sample_index)
        name = steps.tobytes()
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        made = self._made_at(steps)
        with self._lock:
            self._kept[name] = made
            if len(self._kept) > NUM_KEPT:
                self._kept.popitem(last=False)
        return made

    def _made_at(self, steps: Int[np.ndarray, " atom"]) -> Encoder:
        dictionary = self.templates.at(steps, self.dictionary)
        settings = replace(self.settings_of(dictionary), exchange_overlaps=self.settings.exchange_overlaps)
        return Encoder.of(dictionary, settings, solver=self.solver_name, device=self.device)
