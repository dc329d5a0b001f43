"""Correlation map to events: descend, refine, look again at what is left."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from si_crsae.core.events import refine
from si_crsae.core.events.overlaps import resolve_overlaps
from si_crsae.core.events.placement import place_events
from si_crsae.core.operators.factors import FactorGroup, correlate_factored, factor_atoms
from si_crsae.core.operators.filtering import correlate_filtered, filter_with_basis
from si_crsae.core.operators.gram import Gram
from si_crsae.core.priors import Sparse
from si_crsae.core.solvers import descent
from si_crsae.core.solvers.by_name import AUTO, MapSolver, make_solver
from si_crsae.core.types import Dictionary, SparseEvents

MAX_MOVE = 2
NUM_PLACEMENTS = 2
MAX_EXCHANGE_MOVE = 4
# Of an event, in nats: the rarity of spikes at one sample.
EVENT_PRICE = 7.0
MIN_JOIN_CORRELATION = 0.8
REFIT_TOLERANCE = 1e-2
CPU = torch.device("cpu")


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
    exchange_overlaps : bool, default: True
        If True, overlapping events are told apart together, see `resolve_overlaps`. While atoms are still learned and
        some of their scales are wrong, that explains spikes by sums of atoms that do not exist.
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
    exchange_overlaps: bool = True
    num_looks: int = 2
    tolerance: float = 0.1
    two_sided: bool = False

    @property
    def prior(self) -> Sparse:
        """Prior of the code."""
        return Sparse(regularization=torch.tensor(self.regularization), nonnegative=not self.two_sided)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """Finds the events of a dictionary in traces; the same traces always give the same events.

    Parameters
    ----------
    dictionary : Dictionary
    settings : EncoderSettings
    gram : Gram
        ``Gram.of(dictionary)``.
    factors : tuple of FactorGroup
        ``factor_atoms(dictionary)``.
    solver : MapSolver
        Finds the sparse code.
    device : torch.device
        Where correlation maps are computed and solved.
    """

    dictionary: Dictionary
    settings: EncoderSettings
    gram: Gram
    factors: tuple[FactorGroup, ...]
    solver: MapSolver
    device: torch.device

    @classmethod
    def of(
        cls,
        dictionary: Dictionary,
        settings: EncoderSettings,
        *,
        solver: str = AUTO,
        device: torch.device = CPU,
    ) -> "Encoder":
        """Return the encoder of a dictionary.

        Parameters
        ----------
        dictionary : Dictionary
        settings : EncoderSettings
        solver : str, default: "auto"
            See `find_solver`.
        device : torch.device, default: CPU
            Where correlation maps are computed and solved; events are refined on the CPU.
        """
        gram = Gram.of(dictionary)
        return cls(
            dictionary=dictionary,
            settings=settings,
            gram=gram,
            factors=factor_atoms(dictionary),
            solver=make_solver(solver, dictionary, gram, device=device),
            device=device,
        )

    def correlate(self, traces: Float[Tensor, "channel sample"]) -> Float[np.ndarray, "atom shift"]:
        """Return the correlation of the traces with every atom.

        On a CPU by the atoms' own factors or by the components that all share, whatever takes fewer products. What does
        not fit in the memory of a GPU is computed in two halves.

        Parameters
        ----------
        traces : Tensor, shape (channel, sample)
            Whitened, on the CPU.

        Returns
        -------
        ndarray of float32, shape (atom, shift)
        """
        basis = self.dictionary.basis
        num_products = sum(group.num_products for group in self.factors)
        if self.device.type == "cpu" and 0 < num_products < len(traces) * basis.numel():
            return correlate_factored(traces, self.factors).numpy()
        try:
            filtered = filter_with_basis(traces.to(self.device), basis.to(self.device))
            return correlate_filtered(filtered, self.dictionary.weights.to(self.device)).cpu().numpy()
        except torch.cuda.OutOfMemoryError:
            half, overlap = traces.shape[1] // 2, self.dictionary.width - 1
            if half <= overlap:
                raise
        return np.concatenate([self.correlate(traces[:, : half + overlap]), self.correlate(traces[:, half:])], axis=1)

    def encode(self, correlation: Float[np.ndarray, "atom shift"]) -> SparseEvents:
        """Return the accepted events behind a correlation map.

        Parameters
        ----------
        correlation : ndarray of float32, shape (atom, shift)
            What `correlate` returns.

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
            events = self._decide(correlation, SparseEvents.concatenate([events, candidates]), candidates.sample_index)
        return events

    def subtract(self, correlation: Float[np.ndarray, "atom shift"], events: SparseEvents) -> np.ndarray:
        """Return the correlation map of what is left when events are taken out.

        Parameters
        ----------
        correlation : ndarray of float32, shape (atom, shift)
            What `correlate` returns; left as it was.
        events : SparseEvents
            `sample_index` holds shifts.

        Returns
        -------
        ndarray of float32, shape (atom, shift)
        """
        if len(events) == 0:
            return correlation
        residual, gram = correlation.copy(), self.gram
        descent.subtract_events(residual, gram.values, gram.neighbors, gram.neighbor_start, events.located)
        return residual

    def explained_energy(self, correlation: Float[np.ndarray, "atom shift"], events: SparseEvents) -> np.ndarray:
        """Return by how much each event lowers the squared norm of the traces; overlaps are shared out evenly.

        Parameters
        ----------
        correlation : ndarray of float32, shape (atom, shift)
            What `correlate` returns.
        events : SparseEvents
            All of them; `sample_index` holds shifts.

        Returns
        -------
        ndarray of float32, shape (event,)
            The sum is the squared norm of the traces less that of the residual.
        """
        observed = refine.observe(correlation, events.located)
        remaining = refine.observe(self.subtract(correlation, events), events.located)
        return events.amplitude * (observed + remaining)

    def _search(self, residual: Float[np.ndarray, "atom shift"]) -> SparseEvents:
        """Return the events of a residual's l1 code, found on the CPU where the device's memory does not suffice."""
        settings = self.settings
        tolerance = float(settings.tolerance * settings.regularization.min(initial=np.inf))
        correlation = torch.from_numpy(residual)
        try:
            code = self.solver.solve(correlation.to(self.device), settings.prior, tolerance=tolerance)
        except torch.cuda.OutOfMemoryError:
            solver = make_solver(AUTO, self.dictionary, self.gram, device=CPU)
            code = solver.solve(correlation, settings.prior, tolerance=tolerance)
        events = SparseEvents.in_order(*refine.group_code(code.cpu().numpy(), settings.max_gap))
        return events.select(
            refine.join_alike(events.located, *self._interactions(events), settings.max_gap, MIN_JOIN_CORRELATION)
        )

    def _decide(
        self, correlation: Float[np.ndarray, "atom shift"], events: SparseEvents, new_shifts: Int[np.ndarray, " new"]
    ) -> SparseEvents:
        """Refit, place what is new or meets it, refit, and drop what lies outside its unit's amplitude window."""
        for _ in range(NUM_PLACEMENTS):
            events = self._place(correlation, self._refit(correlation, events), new_shifts)
        settings = self.settings
        if settings.exchange_overlaps:
            events, exchanged_shifts = self._exchange(correlation, self._refit(correlation, events), new_shifts)
            events = self._place(correlation, self._refit(correlation, events), exchanged_shifts)
        amplitude, stays = refine.prune(
            refine.observe(correlation, events.located),
            events.located,
            self._interactions(events),
            (settings.min_amplitude[events.atom_index], settings.max_amplitude[events.atom_index]),
            settings.refractory,
            REFIT_TOLERANCE,
        )
        return replace(events, amplitude=amplitude).select(stays)

    def _interactions(self, events: SparseEvents) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return refine.interactions(events.located, self.gram.values, self.gram.pair_index)

    def _refit(self, correlation: Float[np.ndarray, "atom shift"], events: SparseEvents) -> SparseEvents:
        amplitude = events.amplitude.copy()
        observed = refine.observe(correlation, events.located)
        refine.refit(observed, amplitude, np.sign(amplitude), *self._interactions(events), REFIT_TOLERANCE)
        return replace(events, amplitude=amplitude)

    def _exchange(
        self, correlation: Float[np.ndarray, "atom shift"], events: SparseEvents, new_shifts: Int[np.ndarray, " new"]
    ) -> tuple[SparseEvents, Int[np.ndarray, " exchanged"]]:
        settings = self.settings
        noise, spread = np.float32(settings.noise), np.float32(settings.amplitude_spread)
        exchanged, shifts = resolve_overlaps(
            self.subtract(correlation, events),  # a copy wherever there are events
            events.located,
            _is_near(events.sample_index, new_shifts, 2 * self.dictionary.width),
            (self.gram.values, self.gram.pair_index),
            (self.usable_scales, noise, spread, np.float32(EVENT_PRICE)),
            (MAX_EXCHANGE_MOVE, settings.refractory),
        )
        return SparseEvents.in_order(*exchanged), np.sort(shifts)

    @property
    def usable_scales(self) -> Float[np.ndarray, " atom"]:
        """Scales of the atoms, NaN for those that are out: NaN never compares best."""
        excluded = np.isinf(self.settings.regularization)
        return np.where(excluded, np.nan, self.dictionary.scales.numpy()).astype("float32")

    def _place(
        self, correlation: Float[np.ndarray, "atom shift"], events: SparseEvents, new_shifts: Int[np.ndarray, " new"]
    ) -> SparseEvents:
        gram, settings = self.gram, self.settings
        placed = place_events(
            correlation,
            events.located,
            _is_near(events.sample_index, new_shifts, 2 * self.dictionary.width),
            (gram.values, gram.pair_index),
            (gram.similar_start, gram.similar_atom, gram.similar_lag),
            (self.usable_scales, np.float32(settings.noise), np.float32(settings.amplitude_spread)),
            MAX_MOVE,
        )
        return SparseEvents.in_order(*placed)


def _is_near(
    times: Int[np.ndarray, " event"], others: Int[np.ndarray, " other"], distance: int
) -> Bool[np.ndarray, " event"]:
    """Return which times, sorted or not, have one of the others, sorted, within a distance."""
    return np.searchsorted(others, times + distance, side="right") > np.searchsorted(others, times - distance)
