"""Last look at the code: repeated spikes and units not worth keeping."""

import numpy as np

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.expectation import REFRACTORY_MS
from si_crsae.sorting.stages import AnyCode


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
