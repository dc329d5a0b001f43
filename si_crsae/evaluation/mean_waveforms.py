"""Mean waveforms of the units of any sorting, from as little of a recording as they need."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from spikeinterface.core import BaseRecording, estimate_templates

SPIKES_PER_TEMPLATE = 200
# A channel belongs to an estimated template where the mean waveform exceeds this many of its standard errors.
MIN_STANDARD_ERRORS = 6.0
# What is read at once, of which the filter's margins are a small part.
STRETCH_S = 1.0
GOLDEN_RATIO = (1 + 5**0.5) / 2


def mean_waveforms(
    whitened: BaseRecording, spikes: np.ndarray, *, num_units: int, num_before: int, width: int
) -> Float[np.ndarray, "unit channel width"]:
    """Return means over some spikes of each unit, zero on the channels where they do not stand out of the noise.

    Parameters
    ----------
    whitened : BaseRecording
        With noise of standard deviation 1.
    spikes : ndarray of SpikeInterface's spikes, shape (spike,)
        By segment and time.
    num_units : int
    num_before, width : int
        Samples before a spike, and of its waveform.
    """
    stretch = round(STRETCH_S * whitened.sampling_frequency)
    lengths = [whitened.get_num_samples(index) // stretch + 1 for index in range(whitened.get_num_segments())]
    first = np.concatenate([[0], np.cumsum(lengths)])
    chosen = choose_spikes(
        spikes["unit_index"], first[spikes["segment_index"]] + spikes["sample_index"] // stretch, int(first[-1])
    )
    if chosen.size == 0:
        return np.zeros((num_units, whitened.get_num_channels(), width), "float32")
    averages: Any = estimate_templates(
        whitened,
        spikes[chosen],
        np.arange(num_units),
        num_before,
        width - num_before,
        return_in_uV=False,
        progress_bar=False,
        chunk_size=stretch,
    )
    averages = np.nan_to_num(averages).transpose(0, 2, 1)
    counts = np.maximum(np.bincount(spikes["unit_index"][chosen], minlength=num_units), 1)
    stands_out = np.abs(averages).max(axis=2) > MIN_STANDARD_ERRORS / np.sqrt(counts)[:, None]
    return np.where(stands_out[:, :, None], averages, 0).astype("float32")


def choose_spikes(
    units: Int[np.ndarray, " spike"], stretches: Int[np.ndarray, " spike"], num_stretches: int
) -> Int[np.ndarray, " chosen"]:
    """Return the positions of some spikes of each unit, in their order, that lie in as few stretches as will do.

    Stretches are gone through in an order of which any beginning is spread evenly over the recording.

    Parameters
    ----------
    units : ndarray of int, shape (spike,)
        Which unit each spike is of.
    stretches : ndarray of int, shape (spike,)
        In which stretch of the recording it lies.
    num_stretches : int
    """
    turn = np.argsort(np.argsort(np.arange(num_stretches) * GOLDEN_RATIO % 1))
    order = np.lexsort((turn[stretches], units))
    ordered = units[order]
    place = np.arange(units.size) - np.searchsorted(ordered, ordered)
    return np.sort(order[place < SPIKES_PER_TEMPLATE])
