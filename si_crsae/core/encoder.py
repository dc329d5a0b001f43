"""Correlation map to events: descend, refine, look again at what is left."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from si_crsae.core import descent, refine
from si_crsae.core.gram import Gram
from si_crsae.core.types import Dictionary, SparseEvents

MAX_MOVE = 2
NUM_PLACEMENTS = 2
MIN_JOIN_CORRELATION = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSettings:
    """What an encoding needs beside the dictionary.

    Parameters
    ----------
    regularization : ndarray of float32, shape (atom,)
        Lambda of each atom; inf takes an atom out.
    min_amplitude, max_amplitude : ndarray of float32, shape (atom,)
        Window of the unpenalized amplitude of an accepted event.
    noise : float
        Standard deviation of the correlation of noise with a unit-norm atom.
    max_gap : int
        Non-zeros of one atom up to this far apart are one event (samples).
    refractory : int
        Two events of one atom are at least this far apart (samples); at most the width of the atoms.
    amplitude_spread : float, default: 0.1
        Relative standard deviation of a unit's amplitudes, against which atoms of one shape are told apart.
    num_looks : int, default: 2
        How often the residual is searched.
    tolerance : float, default: 0.1
        Of the descent, relative to the smallest lambda. A spike between two samples makes neighboring shifts share
        it, and settling their shares takes most of a descent; the refit does not need them.
    """

    regularization: Float[np.ndarray, " atom"]
    min_amplitude: Float[np.ndarray, " atom"]
    max_amplitude: Float[np.ndarray, " atom"]
    noise: float
    max_gap: int
    refractory: int
    amplitude_spread: float = 0.1
    num_looks: int = 2
    tolerance: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """Finds the events of a dictionary in traces; the same traces always give the same events.

    Parameters
    ----------
    dictionary : Dictionary
    settings : EncoderSettings
    gram : Gram
        ``Gram.of(dictionary)``.
    """

    dictionary: Dictionary
    settings: EncoderSettings
    gram: Gram

    def encode(self, correlation: Float[np.ndarray, "atom shift"]) -> SparseEvents:
        """Return the accepted events behind a correlation map.

        Parameters
        ----------
        correlation : ndarray of float32, shape (atom, shift)
            What `correlate_filtered` returns.

        Returns
        -------
        SparseEvents
            `sample_index` holds shifts: the first sample of each event's atom.
        """
        events = SparseEvents.empty()
        for _ in range(self.settings.num_looks):
            candidates = self._search(self.subtract(correlation, events))
            if len(candidates) == 0:
                break
            events = self._decide(correlation, SparseEvents.concatenate([events, candidates]))
        return events

    def subtract(self, correlation: Float[np.ndarray, "atom shift"], events: SparseEvents) -> np.ndarray:
        """Return the correlation map of what is left when events are taken out.

        Parameters
        ----------
        correlation : ndarray of float32, shape (atom, shift)
            What `correlate_filtered` returns; left as it was.
        events : SparseEvents
            `sample_index` holds shifts.

        Returns
        -------
        ndarray of float32, shape (atom, shift)
        """
        residual, gram = correlation.copy(), self.gram
        located = (events.atom_index, events.sample_index, events.amplitude)
        descent.subtract_events(residual, gram.values, gram.neighbors, gram.neighbor_start, located)
        return residual

    def _search(self, residual: Float[np.ndarray, "atom shift"]) -> SparseEvents:
        """Return the events of the l1 code of a residual."""
        settings, gram = self.settings, self.gram
        tolerance = settings.tolerance * settings.regularization.min(initial=np.inf)
        code, _ = descent.descend(
            residual,
            settings.regularization,
            gram.values,
            gram.neighbors,
            gram.neighbor_start,
            tolerance,
            residual.size,
        )
        atom_index, shift, amplitude = refine.group_code(code, settings.max_gap)
        order = np.lexsort((atom_index, shift))
        events = SparseEvents(sample_index=shift[order], atom_index=atom_index[order], amplitude=amplitude[order])
        located = (events.atom_index, events.sample_index, events.amplitude)
        return events.select(
            refine.join_alike(located, *self._interactions(events), settings.max_gap, MIN_JOIN_CORRELATION)
        )

    def _decide(self, correlation: Float[np.ndarray, "atom shift"], events: SparseEvents) -> SparseEvents:
        """Refit, place, refit, and drop what lies outside its unit's amplitude window."""
        for _ in range(NUM_PLACEMENTS):
            events = self._place(correlation, self._refit(correlation, events))
        events = self._refit(correlation, events)
        while len(events):
            drop = refine.worst_events(
                self._badness(events), events.atom_index, events.sample_index, events.amplitude,
                *self._interactions(events)[:2], self.settings.refractory,
            )  # fmt: skip
            if not drop.any():
                break
            events = self._refit(correlation, events.select(~drop))
        return events

    def _badness(self, events: SparseEvents) -> Float[np.ndarray, " event"]:
        """Return how far each amplitude lies outside its window, relative to the window; positive is outside."""
        low = self.settings.min_amplitude[events.atom_index]
        high = self.settings.max_amplitude[events.atom_index]
        return np.maximum((low - events.amplitude) / low, (events.amplitude - high) / high).astype("float32")

    def _interactions(self, events: SparseEvents) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return refine.interactions(events.atom_index, events.sample_index, self.gram.values, self.gram.pair_index)

    def _refit(self, correlation: Float[np.ndarray, "atom shift"], events: SparseEvents) -> SparseEvents:
        amplitude = events.amplitude.copy()
        observed = correlation[events.atom_index, events.sample_index]
        refine.refit(observed, amplitude, *self._interactions(events), 1e-2)
        return SparseEvents(sample_index=events.sample_index, atom_index=events.atom_index, amplitude=amplitude)

    def _place(self, correlation: Float[np.ndarray, "atom shift"], events: SparseEvents) -> SparseEvents:
        gram = self.gram
        excluded = np.isinf(self.settings.regularization)
        scales = np.where(excluded, np.nan, self.dictionary.scales.numpy()).astype("float32")  # NaN never compares best
        atom_index, shift, amplitude = refine.place_events(
            correlation,
            (events.atom_index, events.sample_index, events.amplitude),
            (gram.values, gram.pair_index),
            (gram.similar_start, gram.similar_atom, gram.similar_lag),
            (
                scales,
                np.float32(self.settings.noise),
                np.float32(self.settings.amplitude_spread),
            ),
            MAX_MOVE,
        )
        order = np.lexsort((atom_index, shift))
        return SparseEvents(sample_index=shift[order], atom_index=atom_index[order], amplitude=amplitude[order])
