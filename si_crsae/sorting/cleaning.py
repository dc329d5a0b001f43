"""Last look at the code: atoms of one drifting neuron, repeated spikes and units not worth keeping.

A drifting neuron has one atom for each place where it dwells, and one unit for all of them.
"""

import logging
from dataclasses import replace

import numpy as np

from si_crsae.config import CrsaeConfig
from si_crsae.core.operators.filtering import component_lags
from si_crsae.core.types import Dictionary
from si_crsae.sorting.learning.coincidence import count_close_pairs, count_in_bins, presence_score
from si_crsae.sorting.learning.structure import MAX_MERGE_LAG_MS, REFRACTORY_WINDOW_MS
from si_crsae.sorting.learning.units import TemplateGeometry
from si_crsae.sorting.model import REFRACTORY_MS
from si_crsae.sorting.stages import AnyCode, Code

MAX_RELATIVE_DISTANCE = 0.75
# In refractory violations per pair that chance would make.
MAX_VIOLATIONS = 0.1
PRESENCE_BIN_S = 3.0
MAX_PRESENCE_SCORE = -2.5

logger = logging.getLogger(__name__)


def join_fragments(
    code: AnyCode, dictionary: Dictionary, *, sampling_frequency: float, num_samples: list[int]
) -> AnyCode:
    """Return the code with the events of atoms that are one drifting neuron given to the largest of these atoms.

    Two atoms are one neuron if they look alike, fire by turns over the recording, and never within a refractory period
    of each other. The first two hold as well for neighbors that drift together, the last does not.

    Parameters
    ----------
    code : Code
    dictionary : Dictionary
    sampling_frequency : float
        In Hz.
    num_samples : list of int
        Length of each segment.
    """
    geometry = TemplateGeometry(component_lags(dictionary.basis).numpy(), dictionary.basis.numpy())
    templates = (dictionary.weights * dictionary.scales[:, None, None]).numpy()
    scales, occupied = dictionary.scales.numpy(), np.any(templates, axis=2)
    max_lag = round(MAX_MERGE_LAG_MS * sampling_frequency / 1000)
    counts = np.bincount(code.atom_index, minlength=scales.size)
    largest_first = np.argsort(-counts, kind="stable")
    events = {atom: code.select(code.atom_index == atom) for atom in np.flatnonzero(counts)}
    neuron, lags = np.arange(scales.size), np.zeros(scales.size, "int64")
    for rank, first in enumerate(largest_first):
        for second in largest_first[rank + 1 :]:
            if counts[second] == 0 or neuron[second] != second or not np.any(occupied[first] & occupied[second]):
                continue
            distance, lag = geometry.nearest(templates[first], templates[second], max_lag)
            if distance > MAX_RELATIVE_DISTANCE * np.sqrt(scales[first] * scales[second]):
                continue
            if _fire_by_turns(events[first], events[second], sampling_frequency, num_samples):
                neuron[second], lags[second] = neuron[first], lags[first] + lag
    if np.any(neuron != np.arange(scales.size)):
        logger.info("%d atoms joined others of the same drifting neuron", np.sum(neuron != np.arange(scales.size)))
    moved = code.sample_index - lags[code.atom_index]
    moved = np.clip(moved, 0, np.array(num_samples)[code.segment_index] - 1)
    order = np.lexsort((neuron[code.atom_index], moved, code.segment_index))
    return replace(code, sample_index=moved, atom_index=neuron[code.atom_index]).select(order)


def _fire_by_turns(first: Code, second: Code, sampling_frequency: float, num_samples: list[int]) -> bool:
    bin_size = round(PRESENCE_BIN_S * sampling_frequency)
    one, two = (count_in_bins(events, bin_size=bin_size, num_samples=num_samples) for events in (first, second))
    if presence_score(one, two) > MAX_PRESENCE_SCORE:
        return False
    violations, _ = count_close_pairs(
        first, second, window_ms=REFRACTORY_WINDOW_MS, sampling_frequency=sampling_frequency
    )
    low, high = REFRACTORY_WINDOW_MS
    by_chance = float(one @ two) * 2 * (high - low) / (1000 * PRESENCE_BIN_S)  # with the rates that they have together
    return violations <= MAX_VIOLATIONS * by_chance


def clean_code(code: AnyCode, config: CrsaeConfig, *, sampling_frequency: float, duration_s: float) -> AnyCode:
    """Return the code without repeated spikes and without units that fire less than `min_firing_rate`.

    Two events of one atom within its refractory period are one spike seen from two tiles: the larger one stays.
    """
    refractory = round(REFRACTORY_MS * sampling_frequency / 1000)
    order = np.lexsort((code.sample_index, code.segment_index, code.atom_index))
    ordered = code.select(order)
    follows = (
        (np.diff(ordered.atom_index) == 0)
        & (np.diff(ordered.segment_index) == 0)
        & (np.diff(ordered.sample_index) < refractory)
    )
    smaller_follows = np.diff(ordered.amplitude) <= 0
    repeated = np.zeros(order.size, bool)
    repeated[1:] |= follows & smaller_follows
    repeated[:-1] |= follows & ~smaller_follows
    kept = code.select(np.sort(order[~repeated]))
    num_events = np.bincount(kept.atom_index)
    return kept.select(num_events[kept.atom_index] >= max(config.min_firing_rate * duration_s, 1))
