"""Values between samples: an event between two samples is a weighted sum of events on the samples around it.

The weights are those of the band-limited interpolation (a sinc under a Kaiser window), so that every quantity that is
linear in the atoms, the correlation map, the Gram and the residual, is interpolated with one table.
"""

import math
from typing import no_type_check

import numpy as np

from si_crsae.core.compiled import compile_loops

NUM_TAPS = 8
NUM_PHASES = 32
KAISER_BETA = 6.0


def _interpolation_weights() -> np.ndarray:
    """Return the weights of the samples -3 to 4 for each of the fractions 0, 1/32, ... 1."""
    fraction = np.arange(NUM_PHASES + 1)[:, None] / NUM_PHASES
    distance = fraction - (np.arange(NUM_TAPS) - NUM_TAPS // 2 + 1)
    inside = np.clip(1 - (distance / (NUM_TAPS / 2)) ** 2, 0, None)
    weights = np.sinc(distance) * np.i0(KAISER_BETA * np.sqrt(inside))
    weights[[0, -1]] = distance[[0, -1]] == 0  # exactly the sample itself
    return (weights / weights.sum(axis=1, keepdims=True)).astype("float32")


WEIGHTS = _interpolation_weights()


@compile_loops()
@no_type_check
def split_offset(offset):
    """Return the first of the samples that a fractional offset involves and the row of their weights.

    Parameters
    ----------
    offset : float
        Samples.

    Returns
    -------
    first : int
        Relative to where the offset starts from.
    phase : int
        Row of `WEIGHTS`.
    """
    whole = math.floor(offset)
    phase = int((offset - whole) * NUM_PHASES + 0.5)
    return whole - NUM_TAPS // 2 + 1, phase


@compile_loops()
@no_type_check
def value_between(values, position, offset):
    """Return a sequence's value at ``position + offset``, which may lie between samples; zero beyond its ends.

    Parameters
    ----------
    values : ndarray of float32, shape (sample,)
    position : int
    offset : float
        Samples.

    Returns
    -------
    float32
    """
    if offset == 0:
        return values[position] if 0 <= position < values.size else np.float32(0.0)
    first, phase = split_offset(offset)
    first += position
    total = np.float32(0.0)
    for tap in range(max(0, -first), min(NUM_TAPS, values.size - first)):
        total += WEIGHTS[phase, tap] * values[first + tap]
    return total
