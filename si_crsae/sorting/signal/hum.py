"""Hum: power at single frequencies, such as those of the mains and their multiples, which no neuron makes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import binary_dilation, maximum_filter1d, median_filter
from scipy.signal import periodogram
from spikeinterface.core import BaseRecording

from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.signal.sampling import draw_slices

NUM_SLICES, SLICE_S = 8, 1.0
# A line takes a few frequencies of a slice; what is beside it is the median of so many.
LINE_BINS, BESIDE_BINS = 2, 31
# Slices with less than this of the power of the loudest one are silent.
MIN_POWER_SHARE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Hum:
    """Power at single frequencies.

    Parameters
    ----------
    frequencies_hz : ndarray, shape (line,)
        Ascending.
    size_to_noise : float
        Root mean square of all lines, on the channel on which it is largest, to the standard deviation of the rest.
    """

    frequencies_hz: Float[np.ndarray, " line"]
    size_to_noise: float


def find_hum(filtered: BaseRecording, *, seed: int) -> Hum:
    """Return the hum that is left in a filtered recording.

    A frequency belongs to it whose power, the median over some slices, is far above that of its neighbors. Spikes have
    power over hundreds of Hz, however regularly they come.

    Parameters
    ----------
    filtered : BaseRecording
        In any unit.
    seed : int
    """
    length = round(SLICE_S * filtered.sampling_frequency)
    drawn = draw_slices(filtered, num_slices=NUM_SLICES, slice_s=SLICE_S, seed=seed)
    powers = [
        periodogram(filtered.get_traces(segment_index=segment, start_frame=start, end_frame=end), window="hann", axis=0)
        for segment, start, end in drawn
        if end - start == length
    ]
    totals = [each.sum() for _, each in powers]
    heard = [each for (_, each), total in zip(powers, totals, strict=True) if total > MIN_POWER_SHARE * max(totals)]
    if not heard:
        return Hum(frequencies_hz=np.zeros(0), size_to_noise=0.0)
    power = np.median(heard, axis=0)
    beside = median_filter(power, size=(BESIDE_BINS, 1), mode="nearest")
    is_line = power > ASSUMED.recordings.min_line_to_beside * np.maximum(beside, beside.max(axis=0) * 1e-6)
    of_line = binary_dilation(is_line, np.ones((2 * LINE_BINS + 1, 1)))
    above = np.where(of_line, power - beside, 0.0).clip(min=0).sum(axis=0)
    noise = beside.sum(axis=0)
    size = np.sqrt(np.divide(above, noise, where=noise > 0, out=np.zeros_like(noise)))
    worst = int(size.argmax())
    tops = is_line[:, worst] & (power[:, worst] == maximum_filter1d(power[:, worst], 2 * LINE_BINS + 1))
    return Hum(frequencies_hz=np.flatnonzero(tops) / SLICE_S, size_to_noise=float(size[worst]))
