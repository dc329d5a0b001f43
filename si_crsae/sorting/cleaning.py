"""Last look at the code: atoms of one neuron, repeated spikes and units not worth keeping.

A drifting neuron has an atom for each place where it dwells, and one whose spikes shrink within bursts an atom for each
size; either has one unit for all of them.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Int

from si_crsae.config import CrsaeConfig
from si_crsae.core.operators.filtering import component_lags
from si_crsae.core.types import Dictionary
from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.convert import nearest_samples
from si_crsae.sorting.learning.bursts import share_bursts
from si_crsae.sorting.learning.coincidence import count_close_pairs, count_in_bins, presence_score
from si_crsae.sorting.learning.history import History, Reason
from si_crsae.sorting.learning.structure import fraction_in_company
from si_crsae.sorting.learning.units import TemplateGeometry
from si_crsae.sorting.stages import AnyCode, Code


def join_fragments(
    code: AnyCode,
    dictionary: Dictionary,
    *,
    sampling_frequency: float,
    num_samples: list[int],
    assumed: Assumptions = ASSUMED,
    history: History | None = None,
) -> AnyCode:
    """Return the code with the events of atoms that are one neuron given to the one with most events.

    Two atoms are one drifting neuron if they look alike, fire by turns over the recording, and never within a
    refractory period of each other. The first two hold as well for neighbors that drift together, the last does not.
    They are one bursting neuron if they look alike but for their size, and one follows the other within a burst's
    intervals, but hardly within a refractory period. Where events of a neuron of several atoms are that close after
    all, they are parts of one spike, which no atom explains by itself: the larger one stays.

    Parameters
    ----------
    code : Code
    dictionary : Dictionary
    sampling_frequency : float
        In Hz.
    num_samples : list of int
        Length of each segment.
    assumed : Assumptions, default: ASSUMED
    history : History, optional
        Told of atoms that are joined or have no event.
    """
    geometry = TemplateGeometry(component_lags(dictionary.basis).numpy(), dictionary.basis.numpy())
    templates = (dictionary.weights * dictionary.scales[:, None, None]).numpy()
    scales, occupied = dictionary.scales.numpy(), np.any(templates, axis=2)
    history, max_lag = history or History(), nearest_samples(assumed.structure.max_lag_ms, sampling_frequency)
    counts = np.bincount(code.atom_index, minlength=scales.size)
    largest_first = np.argsort(-counts, kind="stable")
    events = {atom: code.select(code.atom_index == atom) for atom in np.flatnonzero(counts)}
    bin_size = round(assumed.fragments.presence_bin_s * sampling_frequency)
    in_bins = partial(count_in_bins, bin_size=bin_size, num_samples=num_samples)
    fire_by_turns = partial(
        _fire_by_turns,
        in_bins=in_bins,
        is_busy=in_bins(code) > 0,
        sampling_frequency=sampling_frequency,
        assumed=assumed,
    )
    why_one_burst = partial(share_bursts, sampling_frequency=sampling_frequency, assumed=assumed)
    neuron, lags = np.arange(scales.size), np.zeros(scales.size, "int64")
    for rank, first in enumerate(largest_first):
        for second in largest_first[rank + 1 :]:
            if counts[second] == 0 or neuron[second] != second or not np.any(occupied[first] & occupied[second]):
                continue
            distance, lag = geometry.nearest(templates[first], templates[second], max_lag)
            product = scales[first] * scales[second]
            squared_difference = distance**2 - (scales[first] - scales[second]) ** 2  # that of shapes, times product
            farthest = assumed.fragments.max_distance * np.sqrt(product)
            why = fire_by_turns(events[first], events[second]) if distance <= farthest else None
            if why is None and squared_difference <= farthest**2:
                why = why_one_burst(events[first], events[second])
            if why is not None:
                neuron[second], lags[second] = neuron[first], lags[first] + lag
                largest = history.atom(int(neuron[first]), 0).number
                history.absorb(history.atom(int(second), int(counts[second])), largest, why)
    for atom in np.flatnonzero(counts == 0):
        history.note("dropped", history.atom(atom, 0), Reason("num_events", 0, 1))
    refractory = nearest_samples(assumed.refractory.impossible_ms[1], sampling_frequency)
    return _given_to(code, neuron, lags, num_samples, refractory)


def drop_parts(
    code: AnyCode,
    dictionary: Dictionary,
    *,
    sampling_frequency: float,
    assumed: Assumptions = ASSUMED,
    history: History | None = None,
) -> AnyCode:
    """Return the code without units that are a part of a larger one's waveform, as `drop_satellites` tells them.

    What no atom of a bursting neuron explains by itself shows once all of them are one unit.
    """
    history, structure = history or History(), assumed.structure
    occupied = np.any(dictionary.weights.numpy(), axis=2)
    units = {int(atom): code.select(code.atom_index == atom) for atom in np.unique(code.atom_index)}
    size = {atom: float(np.median(events.amplitude)) for atom, events in units.items()}
    is_part = np.zeros(dictionary.num_atoms, bool)
    for atom, events in units.items():
        for other, theirs in units.items():
            if size[other] * structure.satellite_norm <= size[atom] or not np.any(occupied[atom] & occupied[other]):
                continue
            company = fraction_in_company(events, theirs, sampling_frequency=sampling_frequency, assumed=assumed)
            if company > structure.satellite_fraction:
                larger = (history.atom(other, 0).number,)
                reason = Reason("accompanied_fraction", company, structure.satellite_fraction, larger)
                history.note("dropped", history.atom(atom, len(events.sample_index)), reason)
                is_part[atom] = True
                break
    return code.select(~is_part[code.atom_index])


def _given_to(
    code: AnyCode,
    neuron: Int[np.ndarray, " atom"],
    lags: Int[np.ndarray, " atom"],
    num_samples: list[int],
    refractory: int,
) -> AnyCode:
    """Return the code with the events of every atom given to another one, and moved by its lag, each spike once."""
    moved = code.sample_index - lags[code.atom_index]
    moved = np.clip(moved, 0, np.array(num_samples)[code.segment_index] - 1)
    given = replace(code, sample_index=moved, atom_index=neuron[code.atom_index])
    order = _by_unit(given)
    ordered, has_several = given.select(order), np.bincount(neuron, minlength=neuron.size) > 1
    are_one = _are_close(ordered, refractory) & has_several[ordered.atom_index[1:]]
    kept = ordered.select(~_smaller_ones(ordered.amplitude, are_one))
    return kept.select(np.lexsort((kept.atom_index, kept.sample_index, kept.segment_index)))


def _by_unit(code: Code) -> Int[np.ndarray, " event"]:
    """Return the order in which the events of a unit follow each other."""
    return np.lexsort((code.sample_index, code.segment_index, code.atom_index))


def _are_close(ordered: Code, distance: int) -> Bool[np.ndarray, " pair"]:
    """Tell of each event and the next one whether they are of one unit, and nearer than so many samples."""
    return (
        (np.diff(ordered.atom_index) == 0)
        & (np.diff(ordered.segment_index) == 0)
        & (np.diff(ordered.sample_index) < distance)
    )


def _smaller_ones(
    amplitude: Float[np.ndarray, " event"], are_one: Bool[np.ndarray, " pair"]
) -> Bool[np.ndarray, " event"]:
    """Tell which events are one spike with the one before or after, and the smaller of the two."""
    smaller_follows = np.diff(amplitude) <= 0
    smaller = np.zeros(amplitude.size, bool)
    smaller[1:] |= are_one & smaller_follows
    smaller[:-1] |= are_one & ~smaller_follows
    return smaller


def _fire_by_turns(
    first: Code,
    second: Code,
    *,
    in_bins: Callable[[Code], Int[np.ndarray, " bin"]],
    is_busy: Bool[np.ndarray, " bin"],
    sampling_frequency: float,
    assumed: Assumptions,
) -> Reason | None:
    """Tell why two atoms fire when the other does not, in the time in which any atom does: gaps say nothing."""
    fragments, (low, high) = assumed.fragments, assumed.refractory.impossible_ms
    one, two = (in_bins(events)[is_busy] for events in (first, second))
    presence = presence_score(one, two)
    if presence > fragments.max_presence_score:
        return None
    violations, _ = count_close_pairs(first, second, window_ms=(low, high), sampling_frequency=sampling_frequency)
    with_their_rates = float(one @ two)  # those that they have at the same time
    by_chance = with_their_rates * 2 * (high - low) / (1000 * fragments.presence_bin_s)
    if violations > fragments.max_violations * by_chance:
        return None
    return Reason("presence_score", presence, fragments.max_presence_score)


def clean_code(
    code: AnyCode,
    config: CrsaeConfig,
    *,
    sampling_frequency: float,
    duration_s: float,
    assumed: Assumptions = ASSUMED,
    history: History | None = None,
) -> AnyCode:
    """Return the code without repeated spikes and without units that fire less than `min_firing_rate`.

    Two events of one atom within its refractory period are one spike seen from two tiles: the larger one stays.
    """
    refractory = nearest_samples(assumed.refractory.one_spike_ms, sampling_frequency)
    order = _by_unit(code)
    repeated = _smaller_ones(code.amplitude[order], _are_close(code.select(order), refractory))
    kept = code.select(np.sort(order[~repeated]))
    history, fewest = history or History(), max(config.min_firing_rate * duration_s, 1)
    num_events = np.bincount(kept.atom_index)
    for atom in np.flatnonzero(num_events):
        unit = history.atom(atom, num_events[atom])
        what = "kept" if unit.num_events >= fewest else "dropped"
        history.note(what, unit, Reason("num_events", unit.num_events, fewest))
    return kept.select(num_events[kept.atom_index] >= fewest)
