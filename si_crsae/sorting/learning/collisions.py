"""Atoms that are collisions: the sum of other atoms at a fixed delay, born from units that often fire together."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from spikeinterface.core import BaseRecording

from si_crsae.core.events.encoder import Encoder
from si_crsae.core.tables import select_rows
from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.learning.coincidence import count_close_pairs
from si_crsae.sorting.learning.history import Reason, below
from si_crsae.sorting.learning.units import Unit
from si_crsae.sorting.signal.recording import Tile, read_tile

# Each is encoded twice; the median of so many is told from zero.
MAX_EXAMINED_EVENTS = 50


def find_collisions(
    recording: BaseRecording, encoder: Encoder, units: list[Unit], *, assumed: Assumptions = ASSUMED
) -> list[Reason | None]:
    """Tell why units are sums of at least two others at a more or less fixed delay.

    Every unit, rarest first, is explained by the others: its template and, where that succeeds in part, the traces
    around its events. It is a collision if no more of the template remains than jitter and the noise of a mean leave
    and it has no more events than the others make by chance, or if the traces are as probable without it. A collision
    explains no other unit.

    Parameters
    ----------
    recording : BaseRecording
        Whitened; the times of the units' events are in it.
    encoder : Encoder
        With an atom for each unit.
    units : list of Unit
    assumed : Assumptions, default: ASSUMED

    Returns
    -------
    list of Reason or None
        None for a unit that is no such sum.
    """
    collisions, dictionary = assumed.collisions, encoder.dictionary
    scales = dictionary.scales.numpy()
    num_weights = dictionary.weights.count_nonzero(dim=(1, 2)).numpy()
    num_events = np.array([unit.num_events for unit in units])
    num_averaged = np.maximum(num_events, assumed.initial.min_cluster_sizes[1])
    noise_of_mean = encoder.settings.noise * np.sqrt(num_weights / num_averaged)
    is_collision = np.zeros(dictionary.num_atoms, bool)
    reasons: list[Reason | None] = [None] * dictionary.num_atoms
    for atom in np.argsort(num_events, kind="stable"):
        others = _without(encoder, is_collision | (np.arange(is_collision.size) == atom))
        unexplained, of_usual_size, parts = _explain_template(others, atom, assumed)
        if unexplained > (collisions.max_smeared * scales[atom]) ** 2:
            continue
        allowed = (collisions.max_unexplained * scales[atom]) ** 2 + noise_of_mean[atom] ** 2
        if (
            of_usual_size
            and unexplained < allowed
            and is_chance([units[part] for part in parts], units[atom], recording, assumed)
        ):
            relative = np.sqrt(np.array([max(unexplained, 0), allowed])) / scales[atom]
            reasons[atom] = Reason("unexplained_fraction", *relative)
        elif num_events[atom] >= assumed.units.min_waveforms:
            gained = _evidence_gained(recording, encoder, is_collision, atom, units[atom], assumed)
            reasons[atom] = below("evidence_gained", np.median(gained), 0)
        reason = reasons[atom]
        if reason is not None:
            reasons[atom] = reason._replace(others=tuple(units[part].number for part in np.unique(parts)))
            is_collision[atom] = True
    return reasons


def _without(encoder: Encoder, left_out: Bool[np.ndarray, " atom"]) -> Encoder:
    regularization = np.where(left_out, np.float32(np.inf), encoder.settings.regularization)
    # Exchanging overlapping events would put any two of the others in the place of what is left out.
    settings = replace(encoder.settings, regularization=regularization, exchange_overlaps=False)
    return replace(encoder, settings=settings)


def _explain_template(
    others: Encoder, atom: int, assumed: Assumptions
) -> tuple[float, bool, Int[np.ndarray, " event"]]:
    """Return how much of an atom's template others leave, if they have their usual size, and which they are.

    Fewer than two leave inf.
    """
    dictionary = others.dictionary
    padding = (dictionary.width, dictionary.width)
    (template,) = select_rows(dictionary, torch.tensor([atom]), "atom").templates
    correlation = others.correlate(torch.nn.functional.pad(template, padding))
    events = others.encode(correlation)
    if len(events) < 2:  # two of nearly one shape, at once, are too large for either
        events = replace(others, settings=replace(others.settings, exchange_overlaps=True)).encode(correlation)
    if len(events) < 2:
        return np.inf, False, events.atom_index
    relative = events.amplitude / dictionary.scales.numpy()[events.atom_index]
    smallest, largest = assumed.collisions.amplitudes
    of_usual_size = bool(np.all((relative > smallest) & (relative < largest)))
    explained = float(others.explained_energy(correlation, events).sum())
    return float(dictionary.scales[atom]) ** 2 - explained, of_usual_size, events.atom_index


def is_chance(parts: list[Unit], unit: Unit, recording: BaseRecording, assumed: Assumptions) -> bool:
    """Tell whether a unit has no more events than two others make collisions at about its delay.

    They make them by chance, as their rates say, or as often as they fire together at all delays: in synchrony.
    """
    first, second = sorted(parts, key=lambda part: part.num_events)[:2]
    window_ms, together_ms = 2 * assumed.spikes.group_gap_ms, assumed.structure.satellite_lag_ms
    expected = first.num_events * second.num_events * window_ms / 1000 / recording.get_total_duration()
    if first is not second:
        window = (0.0, together_ms)
        pairs, _ = count_close_pairs(first, second, window_ms=window, sampling_frequency=recording.sampling_frequency)
        expected = max(expected, pairs * window_ms / (2 * together_ms))
    return unit.num_events <= assumed.collisions.max_chance_excess * (expected + np.sqrt(expected) + 1)


def _evidence_gained(
    recording: BaseRecording,
    encoder: Encoder,
    left_out: Bool[np.ndarray, " atom"],
    atom: int,
    unit: Unit,
    assumed: Assumptions,
) -> Float[np.ndarray, " event"]:
    """Return by how much its atom raises the log posterior of the traces around some of a unit's events."""
    width = encoder.dictionary.width
    chosen = np.linspace(0, unit.num_events - 1, min(unit.num_events, MAX_EXAMINED_EVENTS)).astype("int64")
    gained = []
    without_it = left_out | (np.arange(left_out.size) == atom)
    for segment, sample in zip(unit.segment_index[chosen].tolist(), unit.sample_index[chosen].tolist(), strict=True):
        around = Tile(segment_index=segment, start=max(sample - width, 0), end=sample + width)
        there = encoder.at(segment, sample)
        correlation = there.correlate(read_tile(recording, around, width))
        with_it, others = _without(there, left_out), _without(there, without_it)
        gained.append(_log_posterior(with_it, correlation, assumed) - _log_posterior(others, correlation, assumed))
    return np.array(gained)


def _log_posterior(encoder: Encoder, correlation: Float[np.ndarray, "atom shift"], assumed: Assumptions) -> float:
    """Return that of the events found, against none: what they explain, their sizes, and that they are rare."""
    settings, events = encoder.settings, encoder.encode(correlation)
    surprise = (events.amplitude / encoder.dictionary.scales.numpy()[events.atom_index] - 1) / settings.amplitude_spread
    likelihood = float(encoder.explained_energy(correlation, events).sum()) / (2 * settings.noise**2)
    return likelihood - float(np.sum(surprise**2)) / 2 - assumed.spikes.acceptance_log_odds * len(events)
