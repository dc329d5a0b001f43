"""Traces as their atoms see them: the map that events are found on, and all that is asked of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from si_crsae.core.events import refine
from si_crsae.core.events.explanations import LogWeights, weigh_explanations
from si_crsae.core.events.overlaps import Limits, resolve_overlaps
from si_crsae.core.events.placement import place_events
from si_crsae.core.events.worth import Odds
from si_crsae.core.operators.gram import Gram
from si_crsae.core.solvers.descent import subtract_events
from si_crsae.core.types import SparseEvents


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationMap:
    """The correlation of traces with every atom, with what is known of the atoms and believed of events.

    Whoever asks it hands over events and gets events: only its methods know where the map lies and what works on it.
    The `sample_index` of events holds shifts throughout.

    Parameters
    ----------
    values : ndarray of float32, shape (atom, shift)
        Never changed.
    gram : Gram
    scales : ndarray of float32, shape (atom,)
        Typical amplitude of each atom, in whitened units; NaN for one that is out.
    odds : Odds
    """

    values: Float[np.ndarray, "atom shift"]
    gram: Gram
    scales: Float[np.ndarray, " atom"]
    odds: Odds

    def without(self, events: SparseEvents) -> "CorrelationMap":
        """Return the map of what is left of the traces when events are taken out."""
        if len(events) == 0:
            return self
        residual = self.values.copy()
        subtract_events(residual, self.gram.pairs, events.located)
        return replace(self, values=residual)

    def observe(self, events: SparseEvents) -> Float[np.ndarray, " event"]:
        """Return the value of each event's atom where the event stands."""
        return refine.observe(self.values, events.located)

    def interactions(self, events: SparseEvents) -> refine.Interactions:
        """Return which events overlap, and the correlations of their atoms where they stand."""
        return refine.interactions(events.located, self.gram.pairs)

    def explained_energy(self, events: SparseEvents) -> Float[np.ndarray, " event"]:
        """Return by how much each event lowers the squared norm of the traces; overlaps are shared out evenly."""
        return events.amplitude * (self.observe(events) + self.without(events).observe(events))

    def find(self, solve: Callable[[Tensor], Tensor], *, max_gap: int, min_correlation: float) -> SparseEvents:
        """Return the events of the sparse code behind the map.

        Parameters
        ----------
        solve : callable
            From the map (Tensor, shape (atom, shift)) to the code, of the same shape.
        max_gap : int
            Non-zeros of one atom up to this far apart are one event (samples).
        min_correlation : float
            Atoms at least as much alike, where they stand, do not share a spike, see `join_alike`.
        """
        code = solve(torch.from_numpy(self.values))
        events = SparseEvents.in_order(*refine.group_code(code.cpu().numpy(), max_gap))
        return events.select(refine.join_alike(events.located, self.interactions(events), max_gap, min_correlation))

    def refit(self, events: SparseEvents, *, tolerance: float) -> SparseEvents:
        """Return the events with the amplitudes, signs kept, that leave least of the traces: see `refine.refit`."""
        amplitude = events.amplitude.copy()
        refine.refit(self.observe(events), amplitude, np.sign(amplitude), self.interactions(events), tolerance)
        return replace(events, amplitude=amplitude)

    def place(self, events: SparseEvents, active: Bool[np.ndarray, " event"], *, max_move: int) -> SparseEvents:
        """Return the events, those that are active where they explain the traces best: see `place_events`."""
        gram = self.gram
        placed = place_events(
            self.values, events.located, active, gram.pairs, gram.similar, self.scales, self.odds, max_move
        )
        return SparseEvents.in_order(*placed)

    def exchange(
        self, events: SparseEvents, active: Bool[np.ndarray, " event"], limits: Limits
    ) -> tuple[SparseEvents, Int[np.ndarray, " new"]]:
        """Return the events, some exchanged for better ones, and where these stand, sorted: see `resolve_overlaps`."""
        # The kernel keeps the residual up to date: where there are events it is a map of its own.
        residual = self.without(events).values
        exchanged, new_shifts = resolve_overlaps(
            residual, events.located, active, self.gram.pairs, self.scales, self.odds, limits
        )
        return SparseEvents.in_order(*exchanged), np.sort(new_shifts)

    def prune(
        self, events: SparseEvents, window: refine.AmplitudeWindow, *, refractory: int, tolerance: float
    ) -> SparseEvents:
        """Return the events that stay when, again and again, the worst are dropped, refitted: see `refine.prune`."""
        observed, overlaps = self.observe(events), self.interactions(events)
        amplitude, stays = refine.prune(observed, events.located, overlaps, window, refractory, tolerance)
        return replace(events, amplitude=amplitude).select(stays)

    def weigh(self, events: SparseEvents, chosen: slice, *, max_move: int) -> LogWeights:
        """Return the log weights of what may stand in the place of some of the events: see `weigh_explanations`."""
        residual = self.without(events).values
        return weigh_explanations(
            residual, events.select(chosen).located, self.gram.pairs, self.scales, self.odds, max_move
        )
