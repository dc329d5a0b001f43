"""How probable each spike of a sorting is, how large it may have been, and what a unit has too many and too few of."""

import numpy as np
from jaxtyping import Float

from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.probabilities.context import CodeInContext
from si_crsae.sorting.probabilities.features import describe
from si_crsae.sorting.probabilities.logistic import missed_rate, spike_probability
from si_crsae.sorting.probabilities.units import Amplitudes
from si_crsae.sorting.stages import SpikePosterior, WeighedCode

# Nine tenths of a normal distribution lie within.
INTERVAL_SDS = 1.6449


def infer_posterior(context: CodeInContext[WeighedCode]) -> SpikePosterior:
    """Return probability and amplitude interval of every spike, and the rates expected of every unit.

    A spike is right if it is one of the neuron that most of its unit's spikes are of. Its probability is a logistic
    function of what the traces say, see `weigh_explanations`, and of what its unit shows as a whole; the coefficients
    come from generated recordings, see `si_crsae.sorting.probabilities.logistic`. The amplitude is that of the fit,
    drawn to what is usual for the unit; the interval holds nine tenths of its posterior.

    Parameters
    ----------
    context : CodeInContext

    Returns
    -------
    SpikePosterior
        Rates of atoms without spikes are zero.
    """
    description = describe(context)
    code, num_atoms = context.code, context.scales.size
    probability = spike_probability(description.spikes, description.units[code.atom_index])
    low, high = amplitude_interval(context, description.amplitudes)
    counts = np.bincount(code.atom_index, minlength=num_atoms)
    false = np.bincount(code.atom_index, weights=1 - probability, minlength=num_atoms) / np.maximum(counts, 1)
    return SpikePosterior(
        probability=probability.astype("float32"),
        amplitude_low=low.astype("float32"),
        amplitude_high=high.astype("float32"),
        false_positive_rate=false,
        missed_rate=np.where(counts > 0, missed_rate(description.units), 0.0),
    )


def amplitude_interval(
    context: CodeInContext[WeighedCode], amplitudes: Amplitudes
) -> tuple[Float[np.ndarray, " event"], Float[np.ndarray, " event"]]:
    """Return the ends of the interval that holds nine tenths of the posterior of each amplitude.

    The fitted amplitude is normal with the noise of the fit, overlapping events considered; amplitudes of the unit are
    normal, too.
    """
    code = context.code
    noise_variance = ASSUMED.probabilities.fit_error**2 * context.noise_variance
    spread = amplitudes.spread[code.atom_index]
    precision = 1 / noise_variance + 1 / spread**2
    center = (code.amplitude / noise_variance + amplitudes.mean[code.atom_index] / spread**2) / precision
    reach = INTERVAL_SDS / np.sqrt(precision)
    return np.maximum(center - reach, 0.0), center + reach
