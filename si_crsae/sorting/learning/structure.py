"""Structure of the dictionary: which units to merge and to drop."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.convert import nearest_samples
from si_crsae.sorting.learning.bursts import share_bursts
from si_crsae.sorting.learning.coincidence import (
    Timed,
    are_accompanied,
    count_close_pairs,
    excess_fraction,
    steady_fraction,
)
from si_crsae.sorting.learning.history import History, Reason, below
from si_crsae.sorting.learning.units import (
    TemplateGeometry,
    Unit,
    join_units,
    separation,
    with_mean_template,
)


def merge_units(
    units: list[Unit],
    geometry: TemplateGeometry,
    config: CrsaeConfig,
    *,
    sampling_frequency: float,
    assumed: Assumptions = ASSUMED,
    history: History | None = None,
) -> list[Unit]:
    """Return the units after joining those that cannot be told apart, nearest pair first.

    A pair is near if its templates differ by less than `far_distance`, or by less than `far_fraction` of their norms'
    geometric mean, at the best delay. A near pair is one unit if its waveforms are not separate
    (d' < `merge_threshold`), or if the templates differ by less than `same_shape_fraction`; unless the two fire
    together within the refractory period. All are fields of `StructureAssumptions`. Parts that a unit was split into in
    this round were found separate at no delay, and are not judged before they have been encoded with.
    """
    history = history or History()
    max_lag = nearest_samples(assumed.structure.max_lag_ms, sampling_frequency)
    units = list(units)
    pairs = _near_pairs(units, range(len(units)), geometry, max_lag, assumed)
    while pairs:
        pairs.sort()
        _, first, second, lag, relative = pairs.pop(0)
        reason = _why_one_unit(
            units[first],
            units[second],
            geometry,
            config,
            lag=lag,
            relative=relative,
            sampling_frequency=sampling_frequency,
            assumed=assumed,
        )
        if reason is None:
            continue
        joined = join_units(units[first], units[second], geometry, lag, assumed=assumed)
        units.append(history.merge(units[first], units[second], joined, reason))
        gone = {first, second}
        units[first] = units[second] = replace(joined, template=np.zeros_like(joined.template))
        pairs = [pair for pair in pairs if not gone & {pair[1], pair[2]}]
        pairs += _near_pairs(units, [len(units) - 1], geometry, max_lag, assumed)
    return [unit for unit in units if unit.norm > 0]


def drop_units(
    units: list[Unit],
    noise: Float[np.ndarray, " unit"],
    config: CrsaeConfig,
    *,
    duration_s: float,
    assumed: Assumptions = ASSUMED,
    history: History | None = None,
) -> list[Unit]:
    """Return the units without those that fire too rarely or do not stand out of the noise that they see.

    Noise makes no clusters of clear waveforms: where the norm is `clear_norm_to_noise`, fewer events are enough.
    """
    history = history or History()
    slowest, in_short = config.min_firing_rate * duration_s, assumed.units.min_event_rate_hz * duration_s

    def too_rare(unit: Unit, sd: float) -> Reason | None:
        is_clear = unit.norm >= assumed.units.clear_norm_to_noise * sd
        enough = min(assumed.units.min_clear_events if is_clear else assumed.units.min_events, in_short)
        return below("num_events", unit.num_events, max(slowest, enough))

    seen = dict(zip((unit.number for unit in units), noise, strict=True))
    loud = drop_faint(units, noise, assumed=assumed, history=history)
    return history.drop(loud, [too_rare(unit, seen[unit.number]) for unit in loud])


def drop_faint(
    units: list[Unit],
    noise: Float[np.ndarray, " unit"],
    *,
    assumed: Assumptions = ASSUMED,
    history: History | None = None,
) -> list[Unit]:
    """Return the units without those whose templates do not stand out of the noise that they see."""
    history, lowest = history or History(), assumed.units.min_norm_to_noise
    faint = [
        None if unit.norm >= lowest * sd else Reason("norm_to_noise", unit.norm / sd, lowest)
        for unit, sd in zip(units, noise, strict=True)
    ]
    return history.drop(units, faint)


def drop_satellites(
    units: list[Unit],
    *,
    sampling_frequency: float,
    assumed: Assumptions = ASSUMED,
    history: History | None = None,
) -> list[Unit]:
    """Return the units without those that are a part of another one's waveform: what its template leaves of it.

    Where a neuron drifts or bursts, the rest of its spikes is alike enough for an atom of its own. That atom is smaller
    and seldom fires without the other; neurons that fire in synchrony do so for a smaller part of their spikes. So is a
    phase of the waveform that lies beyond the template's window, or what channels beyond its radius see of it: its
    events come where the neuron cannot fire again.
    """
    history, structure = history or History(), assumed.structure
    one_spike = nearest_samples(assumed.refractory.one_spike_ms, sampling_frequency)
    kept = []
    for unit in units:
        for other in units:
            is_larger = other.norm * structure.satellite_norm > unit.norm
            if not is_larger or not np.isin(unit.channels, other.channels[other.channels >= 0]).any():
                continue
            fraction = fraction_in_company(unit, other, sampling_frequency=sampling_frequency, assumed=assumed)
            if fraction <= structure.satellite_fraction:
                continue
            reason = Reason("accompanied_fraction", fraction, structure.satellite_fraction, (other.number,))
            alone = unit.select(~are_accompanied(unit, other, lags=(-one_spike, one_spike)))
            if share_bursts(alone, other, sampling_frequency=sampling_frequency, assumed=assumed):
                history.note("lost events", unit, reason)
                kept.append(with_mean_template(alone, assumed=assumed))
            else:
                history.note("dropped", unit, reason)
            break
        else:
            kept.append(unit)
    return kept


def fraction_in_company(
    unit: Timed, other: Timed, *, sampling_frequency: float, assumed: Assumptions = ASSUMED
) -> float:
    """Return the fraction of a unit's events that come with another's as only parts of one spike do.

    At one lag, where those of neurons in synchrony come at all; or where the other neuron cannot fire again, and more
    often than soon after.
    """
    structure, refractory = assumed.structure, assumed.refractory
    lag, jitter, impossible, far = (
        nearest_samples(duration_ms, sampling_frequency)
        for duration_ms in (
            structure.satellite_lag_ms,
            structure.satellite_jitter_ms,
            refractory.impossible_ms[1],
            assumed.bursts.burst_ms,
        )
    )
    return max(
        steady_fraction(unit, other, max_lag=lag, jitter=jitter),
        excess_fraction(unit, other, near=(lag + 1, impossible), far=far),
    )


def drop_near_repeats(
    units: list[Unit],
    geometry: TemplateGeometry,
    *,
    sampling_frequency: float,
    assumed: Assumptions = ASSUMED,
    history: History | None = None,
) -> list[Unit]:
    """Return the units without those whose template is nearer to an earlier one than encoding can tell apart."""
    history = history or History()
    max_lag = nearest_samples(assumed.structure.max_lag_ms, sampling_frequency)
    nearest = assumed.structure.repeat_distance
    occupied, is_kept = _occupied_channels(units), np.zeros(len(units), bool)
    for index, unit in enumerate(units):
        near = np.flatnonzero(is_kept & (occupied & occupied[index]).any(axis=1))
        distances = (
            (geometry.nearest(units[other].template, unit.template, max_lag)[0], units[other]) for other in near
        )
        repeated = next((pair for pair in distances if pair[0] <= nearest), None)
        is_kept[index] = repeated is None
        if repeated is not None:
            history.note("dropped", unit, Reason("distance", repeated[0], nearest, (repeated[1].number,)))
    return [unit for unit, stays in zip(units, is_kept, strict=True) if stays]


def fire_together(first: Unit, second: Unit, *, sampling_frequency: float, assumed: Assumptions = ASSUMED) -> bool:
    """Tell whether two units fire within each other's refractory period about as often as independent ones would.

    It takes a good part of the pairs of spikes that chance makes, where chance is enough to judge; see
    `RefractoryAssumptions`.
    """
    refractory = assumed.refractory
    found, expected = count_close_pairs(
        first, second, window_ms=refractory.impossible_ms, sampling_frequency=sampling_frequency
    )
    return expected > refractory.min_expected_pairs and found > refractory.min_share_of_chance * expected


def _occupied_channels(units: list[Unit]) -> Bool[np.ndarray, "unit channel"]:
    """Return on which channels each template is: those that share none need not be compared."""
    if not units:
        return np.zeros((0, 0), bool)
    return np.array([unit.template.any(axis=1) for unit in units])


def _near_pairs(
    units: list[Unit], changed: range | list[int], geometry: TemplateGeometry, max_lag: int, assumed: Assumptions
) -> list[tuple[float, int, int, int, float]]:
    """Return (distance, first, second, lag, relative distance) of the near pairs that hold a changed unit."""
    pairs = []
    norms = [unit.norm for unit in units]
    occupied = _occupied_channels(units)
    changed_set = set(changed)
    for first in changed:
        for second in np.flatnonzero((occupied & occupied[first]).any(axis=1)).tolist():
            if second == first or (second in changed_set and second < first) or norms[second] == 0:
                continue
            if units[first].split_from == units[second].split_from >= 0:
                continue
            distance, lag = geometry.nearest(units[first].template, units[second].template, max_lag)
            relative = distance / np.sqrt(norms[first] * norms[second])
            if distance <= assumed.structure.far_distance or relative <= assumed.structure.far_fraction:
                pairs.append((distance, first, second, lag, relative))
    return pairs


def _why_one_unit(
    first: Unit,
    second: Unit,
    geometry: TemplateGeometry,
    config: CrsaeConfig,
    *,
    lag: int,
    relative: float,
    sampling_frequency: float,
    assumed: Assumptions,
) -> Reason | None:
    same_shape = below("relative_distance", relative, assumed.structure.same_shape_fraction)
    if same_shape:
        return same_shape
    if fire_together(first, second, sampling_frequency=sampling_frequency, assumed=assumed):
        return None
    if min(first.num_events, second.num_events) < assumed.units.min_waveforms:
        return below("relative_distance", relative, assumed.structure.far_fraction)
    return below("separation", separation(first, second, geometry, lag, assumed=assumed), config.merge_threshold)
