"""The logistic functions that turn features of spikes and units into probabilities.

Their coefficients, in `si_crsae.sorting.probabilities.coefficients`, were fitted on generated recordings with known
spikes by ``python benchmarks/spike_probability_fit.py``.
"""

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.probabilities.coefficients import MISSED_RATE, SPIKE_PROBABILITY
from si_crsae.sorting.probabilities.features import SPIKE_FEATURES, UNIT_FEATURES


def standardize(
    features: Float[np.ndarray, "row feature"], mean: Float[np.ndarray, " feature"], sd: Float[np.ndarray, " feature"]
) -> Float[np.ndarray, "row feature"]:
    """Return features in standard deviations from their means, what lies beyond all that was fitted cut off."""
    largest = ASSUMED.probabilities.max_deviation
    return np.clip((features - mean) / sd, -largest, largest)


def with_squares(standardized: Float[np.ndarray, "row feature"]) -> Float[np.ndarray, "row term"]:
    """Return standardized features and their centered, halved squares."""
    return np.concatenate([standardized, (standardized**2 - 1) / 2], axis=1)


def spike_probability(
    spikes: Float[np.ndarray, "spike feature"], units: Float[np.ndarray, "spike feature"]
) -> Float[np.ndarray, " spike"]:
    """Return the probability of each spike to be right.

    Parameters
    ----------
    spikes : ndarray, shape (spike, feature)
        Columns SPIKE_FEATURES.
    units : ndarray, shape (spike, feature)
        Columns UNIT_FEATURES, of the unit of each spike.
    """
    return probability_by(SPIKE_PROBABILITY, spikes, units)


def probability_by(
    coefficients: dict[str, tuple[float, ...]],
    spikes: Float[np.ndarray, "spike feature"],
    units: Float[np.ndarray, "spike feature"],
) -> Float[np.ndarray, " spike"]:
    """Return what `spike_probability` returns, with other coefficients."""
    intercept, table = _table(coefficients, SPIKE_FEATURES + UNIT_FEATURES)
    standardized = standardize(np.concatenate([spikes, units], axis=1), table[:, 0], table[:, 1])
    return expit(intercept + with_squares(standardized) @ table[:, 2:].T.ravel())


def missed_rate(units: Float[np.ndarray, "unit feature"]) -> Float[np.ndarray, " unit"]:
    """Return the expected fraction of its neuron's spikes that each unit lacks.

    Parameters
    ----------
    units : ndarray, shape (unit, feature)
        Columns UNIT_FEATURES.
    """
    intercept, table = _table(MISSED_RATE, UNIT_FEATURES)
    return expit(intercept + standardize(units, table[:, 0], table[:, 1]) @ table[:, 2])


def _table(
    coefficients: dict[str, tuple[float, ...]], names: tuple[str, ...]
) -> tuple[float, Float[np.ndarray, "feature column"]]:
    """Return the intercept, and mean, standard deviation and coefficients of each feature, as rows."""
    return coefficients["intercept"][0], np.array([coefficients[name] for name in names])
