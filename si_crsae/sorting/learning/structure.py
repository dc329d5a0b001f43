"""Structure of the dictionary: which units to split, to merge, to drop."""

import logging
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.learning.coincidence import accompanied_fraction, count_close_pairs
from si_crsae.sorting.learning.units import (
    MIN_WAVEFORMS,
    TemplateGeometry,
    Unit,
    join_units,
    separation,
    with_mean_template,
    without,
)

NUM_SPLIT_COMPONENTS = 5
MAX_SPLIT_WAVEFORMS = 3000
MAX_MERGE_LAG_MS = 0.5
FAR_DISTANCE = 12.0
FAR_FRACTION = 0.55
SAME_SHAPE_FRACTION = 0.25
MIN_DISTANCE = 7.0
MIN_EVENTS = 25
MIN_NORM_TO_NOISE = 6.0
REFRACTORY_WINDOW_MS = (0.4, 2.0)
MIN_EXPECTED_COINCIDENCES = 8
SATELLITE_LAG_MS = 0.5
SATELLITE_FRACTION = 0.4
SATELLITE_NORM = 0.67

logger = logging.getLogger(__name__)


def split_units(units: list[Unit], geometry: TemplateGeometry, config: CrsaeConfig) -> list[Unit]:
    """Return the units, those whose clean waveforms form two separate groups in two."""
    return [part for unit in units for part in _split(unit, geometry, config)]


def _split(unit: Unit, geometry: TemplateGeometry, config: CrsaeConfig) -> list[Unit]:
    if unit.num_events < 2 * MIN_EVENTS:
        return [unit]
    present = unit.channels >= 0
    slope = (unit.template[unit.channels[present]] @ geometry.derivative).ravel()
    waveforms = without(unit.features[:, present].reshape(unit.num_events, -1), slope)
    num_components = min(NUM_SPLIT_COMPONENTS, waveforms.shape[1])
    scores = PCA(num_components, svd_solver="full").fit_transform(waveforms)
    sample = scores[:: -(-len(scores) // MAX_SPLIT_WAVEFORMS)]
    one, two = (GaussianMixture(k, random_state=config.seed, reg_covar=1e-3).fit(sample) for k in (1, 2))
    if two.bic(sample) >= one.bic(sample):
        return [unit]
    second = two.predict(scores).astype(bool)
    parts = [with_mean_template(unit.select(mask)) for mask in (~second, second)]
    if min(part.num_events for part in parts) < MIN_EVENTS:
        return [unit]
    if separation(parts[0], parts[1], geometry, 0) < config.merge_threshold:
        return [unit]
    return parts


def merge_units(
    units: list[Unit], geometry: TemplateGeometry, config: CrsaeConfig, *, sampling_frequency: float
) -> list[Unit]:
    """Return the units after joining those that cannot be told apart, nearest pair first.

    A pair is near if its templates differ by less than FAR_DISTANCE, or by less than FAR_FRACTION of their norms'
    geometric mean, at the best delay. A near pair is one unit if its waveforms are not separate
    (d' < `merge_threshold`), or if the templates differ by less than SAME_SHAPE_FRACTION; unless the two fire
    together within the refractory period.
    """
    max_lag = round(MAX_MERGE_LAG_MS * sampling_frequency / 1000)
    units = list(units)
    pairs = _near_pairs(units, range(len(units)), geometry, max_lag)
    while pairs:
        pairs.sort()
        _, first, second, lag, relative = pairs.pop(0)
        if not _is_one_unit(
            units[first],
            units[second],
            geometry,
            config,
            lag=lag,
            relative=relative,
            sampling_frequency=sampling_frequency,
        ):
            continue
        joined = join_units(units[first], units[second], geometry, lag)
        units.append(joined)
        gone = {first, second}
        units[first] = units[second] = replace(joined, template=np.zeros_like(joined.template))
        pairs = [pair for pair in pairs if not gone & {pair[1], pair[2]}]
        pairs += _near_pairs(units, [len(units) - 1], geometry, max_lag)
    return [unit for unit in units if unit.norm > 0]


def drop_units(
    units: list[Unit], noise: Float[np.ndarray, " unit"], config: CrsaeConfig, *, duration_s: float
) -> list[Unit]:
    """Return the units without those that fire too rarely or do not stand out of the noise that they see."""
    fewest = max(config.min_firing_rate * duration_s, min(MIN_EVENTS, 0.3 * duration_s))
    return [
        unit
        for unit, sd in zip(units, noise, strict=True)
        if unit.num_events >= fewest and unit.norm >= MIN_NORM_TO_NOISE * sd
    ]


def drop_satellites(units: list[Unit], *, sampling_frequency: float) -> list[Unit]:
    """Return the units without those that are a part of another one's waveform: what its template leaves of it.

    Where a neuron drifts or bursts, the rest of its spikes is alike enough for an atom of its own. That atom is smaller
    and seldom fires without the other; neurons that fire in synchrony do so for a smaller part of their spikes.
    """
    max_lag = round(SATELLITE_LAG_MS * sampling_frequency / 1000)

    def is_satellite(unit: Unit) -> bool:
        return any(
            other.norm * SATELLITE_NORM > unit.norm
            and np.any(other.template.any(axis=1) & unit.template.any(axis=1))
            and accompanied_fraction(unit, other, max_lag=max_lag) > SATELLITE_FRACTION
            for other in units
        )

    return [unit for unit in units if not is_satellite(unit)]


def drop_near_repeats(units: list[Unit], geometry: TemplateGeometry, *, sampling_frequency: float) -> list[Unit]:
    """Return the units without those whose template is nearer to an earlier one than encoding can tell apart."""
    max_lag = round(MAX_MERGE_LAG_MS * sampling_frequency / 1000)
    kept: list[Unit] = []
    for unit in units:
        if all(geometry.nearest(other.template, unit.template, max_lag)[0] > MIN_DISTANCE for other in kept):
            kept.append(unit)
    return kept


def fire_together(first: Unit, second: Unit, *, sampling_frequency: float) -> bool:
    """Tell whether two units fire within each other's refractory period as often as independent ones would.

    More than half of the coincidences at 0.4 to 2 ms expected by chance, where chance is enough to judge.
    """
    coincidences, expected = count_close_pairs(
        first, second, window_ms=REFRACTORY_WINDOW_MS, sampling_frequency=sampling_frequency
    )
    return expected > MIN_EXPECTED_COINCIDENCES and coincidences > 0.5 * expected


def _near_pairs(
    units: list[Unit], changed: range | list[int], geometry: TemplateGeometry, max_lag: int
) -> list[tuple[float, int, int, int, float]]:
    """Return (distance, first, second, lag, relative distance) of the near pairs that hold a changed unit."""
    pairs = []
    norms = [unit.norm for unit in units]
    occupied = np.array([unit.template.any(axis=1) for unit in units]).reshape(len(units), -1)
    changed_set = set(changed)
    for first in changed:
        for second in np.flatnonzero((occupied & occupied[first]).any(axis=1)).tolist():
            if second == first or (second in changed_set and second < first) or norms[second] == 0:
                continue
            distance, lag = geometry.nearest(units[first].template, units[second].template, max_lag)
            relative = distance / np.sqrt(norms[first] * norms[second])
            if distance <= FAR_DISTANCE or relative <= FAR_FRACTION:
                pairs.append((distance, first, second, lag, relative))
    return pairs


def _is_one_unit(
    first: Unit,
    second: Unit,
    geometry: TemplateGeometry,
    config: CrsaeConfig,
    *,
    lag: int,
    relative: float,
    sampling_frequency: float,
) -> bool:
    if relative < SAME_SHAPE_FRACTION:
        return True
    if fire_together(first, second, sampling_frequency=sampling_frequency):
        return False
    if min(first.num_events, second.num_events) < MIN_WAVEFORMS:
        return relative < FAR_FRACTION
    return separation(first, second, geometry, lag) < config.merge_threshold
