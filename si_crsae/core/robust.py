"""Spread that a few outliers leave as it is."""

import numpy as np
from jaxtyping import Float

MAD_TO_SD = 1.4826


def robust_sd(values: Float[np.ndarray, " value *other"]) -> Float[np.ndarray, " *other"]:
    """Return the standard deviation along the first axis, from the median absolute deviation.

    Parameters
    ----------
    values : ndarray of float, shape (value, ...)
    """
    return np.asarray(MAD_TO_SD * np.median(np.abs(values - np.median(values, axis=0)), axis=0), "float32")
