"""Correlation map to events: descend, refine, look again at what is left."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from si_crsae.core.events.correlation_map import CorrelationMap
from si_crsae.core.events.overlaps import Limits
from si_crsae.core.events.refine import AmplitudeWindow
from si_crsae.core.events.worth import Odds
from si_crsae.core.operators.factors import FactorGroup, correlate_factored, factor_atoms
from si_crsae.core.operators.filtering import correlate_filtered, filter_with_basis
from si_crsae.core.operators.gram import Gram
from si_crsae.core.priors import Sparse
from si_crsae.core.solvers.by_name import AUTO, MapSolver, make_solver
from si_crsae.core.types import Dictionary, SparseEvents

# How far events are moved, alone and in an exchange of overlapping ones (samples).
MAX_MOVE = 2
MAX_EXCHANGE_MOVE = 4
# Places depend on the amplitudes of what overlaps, and these on places: both are found twice.
NUM_PLACEMENTS = 2
# Of amplitudes, whose noise is about 1.
REFIT_TOLERANCE = 1e-2
# Defaults of `EncoderSettings`, and the share of its scale above which a lambda would silence an atom.
EVENT_PRICE, AMPLITUDE_SPREAD, JOIN_CORRELATION = 7.0, 0.1, 0.8
MAX_REGULARIZATION_TO_SCALE = 0.7
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
    event_price : float, default: 7.0
        What an event must explain to be worth it where explanations are compared: how rare spikes are (nats).
    join_correlation : float, default: 0.8
        Atoms of at least this correlation, where they stand, share a spike rather than having one each.
    exchange_overlaps : bool, default: True
        If True, overlapping events are told apart together, see `resolve_overlaps`. While atoms are still learned and
        some of their scales are wrong, that explains spikes by sums of atoms that do not exist.
    num_looks : int, default: 2
        How often the residual is searched.
    tolerance : float, default: 0.1
        How far the descent may stop from the code, relative to the smallest lambda. A spike between two samples makes
        neighboring shifts share it, and settling their shares takes most of a descent; the refit does not need them.
    """

    regularization: Float[np.ndarray, " atom"]
    min_amplitude: Float[np.ndarray, " atom"]
    max_amplitude: Float[np.ndarray, " atom"]
    noise: float
    max_gap: int
    refractory: int
    amplitude_spread: float = AMPLITUDE_SPREAD
    event_price: float = EVENT_PRICE
    join_correlation: float = JOIN_CORRELATION
    exchange_overlaps: bool = True
    num_looks: int = 2
    tolerance: float = 0.1
    two_sided: bool = False


@dataclass(frozen=True, kw_only=True)  # slots have no room for what is made once
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
        Finds the sparse code behind a map.
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

    def at(self, segment_index: int, sample_index: int) -> "Encoder":
        """Return the encoder of the atoms as they are at a sample of a segment: itself, where they do not change."""
        return self

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
        seen, settings = self.map_of(correlation), self.settings
        events = SparseEvents.empty()
        for _ in range(settings.num_looks):
            left = seen.without(events)
            found = left.find(self._solve, max_gap=settings.max_gap, min_correlation=settings.join_correlation)
            if len(found) == 0:
                break
            events = self._decide(seen, SparseEvents.concatenate([events, found]), found.sample_index)
        return events

    def map_of(self, correlation: Float[np.ndarray, "atom shift"]) -> CorrelationMap:
        """Return what `correlate` returns together with what is known of the atoms and believed of their events."""
        return CorrelationMap(values=correlation, gram=self.gram, scales=self.usable_scales, odds=self.odds)

    @cached_property
    def prior(self) -> Sparse:
        """Prior of the code, on the device."""
        settings = self.settings
        regularization = torch.tensor(settings.regularization, device=self.device)
        return Sparse(regularization=regularization, nonnegative=not settings.two_sided)

    @cached_property
    def odds(self) -> Odds:
        """What is believed of events before they are seen."""
        settings = self.settings
        numbers = (settings.noise, settings.amplitude_spread, settings.event_price)
        noise, spread, price = (np.float32(number) for number in numbers)
        return Odds(noise=noise, spread=spread, price=price)

    @cached_property
    def usable_scales(self) -> Float[np.ndarray, " atom"]:
        """Scales of the atoms, NaN for those that are out: NaN never compares best."""
        excluded = np.isinf(self.settings.regularization)
        return np.where(excluded, np.nan, self.dictionary.scales.numpy()).astype("float32")

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
        return self.map_of(correlation).without(events).values

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
        return self.map_of(correlation).explained_energy(events)

    def _solve(self, correlation: Float[Tensor, "atom shift"]) -> Float[Tensor, "atom shift"]:
        """Return the l1 code behind a map, found on the CPU where the device's memory does not suffice."""
        settings = self.settings
        tolerance = float(settings.tolerance * settings.regularization.min(initial=np.inf))
        try:
            return self.solver.solve(correlation.to(self.device), self.prior, tolerance=tolerance)
        except torch.cuda.OutOfMemoryError:
            solver = make_solver(AUTO, self.dictionary, self.gram, device=CPU)
            return solver.solve(correlation.cpu(), self.prior, tolerance=tolerance)

    def _decide(self, seen: CorrelationMap, events: SparseEvents, new_shifts: Int[np.ndarray, " new"]) -> SparseEvents:
        """Refit, place what is new or meets it, refit, and drop what lies outside its unit's amplitude window."""
        settings = self.settings
        for _ in range(NUM_PLACEMENTS):
            events = self._place(seen, events, new_shifts)
        if settings.exchange_overlaps:
            refitted = seen.refit(events, tolerance=REFIT_TOLERANCE)
            limits = Limits(max_move=MAX_EXCHANGE_MOVE, refractory=settings.refractory)
            events, exchanged_shifts = seen.exchange(refitted, self._are_near(events, new_shifts), limits)
            events = self._place(seen, events, exchanged_shifts)
        return seen.prune(
            events,
            AmplitudeWindow(settings.min_amplitude[events.atom_index], settings.max_amplitude[events.atom_index]),
            refractory=settings.refractory,
            tolerance=REFIT_TOLERANCE,
        )

    def _place(self, seen: CorrelationMap, events: SparseEvents, new_shifts: Int[np.ndarray, " new"]) -> SparseEvents:
        """Refit all events and place those that new ones may meet."""
        refitted = seen.refit(events, tolerance=REFIT_TOLERANCE)
        return seen.place(refitted, self._are_near(events, new_shifts), max_move=MAX_MOVE)

    def _are_near(self, events: SparseEvents, shifts: Int[np.ndarray, " other"]) -> Bool[np.ndarray, " event"]:
        """Return which events, sorted or not, have one of some shifts, sorted, within two atom widths."""
        distance = 2 * self.dictionary.width
        after = np.searchsorted(shifts, events.sample_index + distance, side="right")
        return after > np.searchsorted(shifts, events.sample_index - distance)
