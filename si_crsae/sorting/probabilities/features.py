"""What tells right spikes from wrong ones without knowing the truth: features of spikes and of their units."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.probabilities.context import CodeInContext
from si_crsae.sorting.probabilities.units import (
    FIRING_FEATURES,
    Amplitudes,
    Groups,
    distribution_of_amplitudes,
    firing_features,
    spikes_of_atoms,
)
from si_crsae.sorting.stages import WeighedCode

PROBABILITIES = ASSUMED.probabilities
# Spikes among which two groups are sought, evenly spread, and the steps of the fit: more takes longer.
MAX_GROUPED, NUM_GROUP_STEPS = 5000, 40

SPIKE_FEATURES = (
    "local",
    "alternatives",
    "small",
    "large",
    "misfit",
    "overlap",
    "information",
    "majority",
    "off_center",
)
UNIT_FEATURES = (
    *FIRING_FEATURES,
    "unit_alternatives",
    "unit_misfit",
    "misfit_spread",
    "separation",
    "minority",
    "excess",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is known of the spikes and the units of a code.

    Parameters
    ----------
    amplitudes : Amplitudes
    spikes : ndarray of float64, shape (event, feature)
        Columns SPIKE_FEATURES.
    units : ndarray of float64, shape (atom, feature)
        Columns UNIT_FEATURES; of no meaning for atoms without events.
    """

    amplitudes: Amplitudes
    spikes: Float[np.ndarray, "event feature"]
    units: Float[np.ndarray, "atom feature"]


def describe(context: CodeInContext[WeighedCode]) -> Description:
    """Return the features of all spikes and units.

    Parameters
    ----------
    context : CodeInContext

    Returns
    -------
    Description
        All finite, whatever the evidence.
    """
    code = context.code
    groups = spikes_of_atoms(code.atom_index, context.scales.size)
    amplitudes = distribution_of_amplitudes(context, groups)
    spikes, units = _residual_features(context, groups)
    spikes |= _amplitude_features_of_spikes(context, amplitudes)
    spikes |= {"overlap": code.overlap, "information": np.log(code.information)}
    units |= firing_features(context, amplitudes, groups)
    units["unit_alternatives"] = _mean_of_units(spikes["alternatives"], groups, context.scales.size)
    return Description(
        amplitudes=amplitudes,
        spikes=np.stack([spikes[name] for name in SPIKE_FEATURES], axis=1).astype("float64"),
        units=np.stack([units[name] for name in UNIT_FEATURES], axis=1),
    )


def local_log_odds(context: CodeInContext[WeighedCode], amplitudes: Amplitudes) -> Float[np.ndarray, " event"]:
    """Return the log odds of each spike against nothing there, from a Gaussian around its amplitude.

    The fitted amplitude has the noise of the fit, and the amplitudes of the unit are normal; spikes are as rare as the
    unit's are.
    """
    code = context.code
    noise_variance = context.noise_variance
    variance = noise_variance + amplitudes.spread[code.atom_index] ** 2
    surprise = (code.amplitude - amplitudes.mean[code.atom_index]) ** 2 / variance
    evidence = code.amplitude**2 / noise_variance - surprise + np.log(noise_variance / variance)
    rate = np.bincount(code.atom_index, minlength=amplitudes.mean.size) / context.num_samples
    return evidence / 2 + np.log(rate[code.atom_index])


def alternative_log_odds(code: WeighedCode) -> Float[np.ndarray, " event"]:
    """Return the log odds of each spike's own unit against all other explanations of what stands there.

    The weights were taken with one rate for all atoms; here the likeliest rival has its own, and speaks for the spike
    where it has become part of the same unit.
    """
    num_atoms = 1 + max(int(index.max(initial=-1)) for index in (code.atom_index, code.found_atom, code.rival_atom))
    log_rate = np.log(np.bincount(code.found_atom, minlength=num_atoms) + 0.5)
    unit = np.arange(num_atoms)
    unit[code.found_atom] = code.atom_index
    rival = np.where(code.rival_atom >= 0, code.rival_atom, code.found_atom)
    rival_weight = code.rival_weight + log_rate[rival] - log_rate[code.found_atom]
    is_same = unit[rival] == code.atom_index
    own = np.where(is_same, np.logaddexp(code.own_weight, rival_weight), code.own_weight)
    other = np.logaddexp(code.rest_weight, np.where(is_same, -np.inf, rival_weight))
    return own - np.logaddexp(0.0, other)


def two_groups(
    values: Float[np.ndarray, " value"],
) -> tuple[float, float, Float[np.ndarray, " value"]]:
    """Return how far apart two groups of values are, the share of the smaller, and log odds to be in the larger.

    A mixture of two normal distributions of one width, by expectation-maximization; the distance is in units of that
    width. Few values are one group.
    """
    if values.size < PROBABILITIES.min_grouped:
        return 0.0, 0.0, np.zeros(values.size)
    seen = values[:: -(-values.size // MAX_GROUPED)]
    low, high = np.quantile(seen, [0.2, 0.8])
    share, least = 0.5, PROBABILITIES.min_group_share
    sd = max(seen.std() / 2, PROBABILITIES.min_group_sd)
    for _ in range(NUM_GROUP_STEPS):
        of_high = expit(_odds_of_high(seen, low, high, share, sd))
        share = float(np.clip(of_high.mean(), least, 1 - least))
        low = np.average(seen, weights=1 - of_high + 1e-9)
        high = np.average(seen, weights=of_high + 1e-9)
        variance = np.mean((1 - of_high) * (seen - low) ** 2 + of_high * (seen - high) ** 2)
        sd = max(np.sqrt(variance), PROBABILITIES.min_group_sd)
    largest = PROBABILITIES.max_group_odds
    odds = np.clip(_odds_of_high(values, low, high, share, sd), -largest, largest)
    return abs(high - low) / sd, min(share, 1 - share), odds if share > 0.5 else -odds


def _odds_of_high(values: np.ndarray, low: float, high: float, share: float, sd: float) -> np.ndarray:
    return np.log(share / (1 - share)) + ((values - low) ** 2 - (values - high) ** 2) / (2 * sd**2)


def _amplitude_features_of_spikes(context: CodeInContext[WeighedCode], amplitudes: Amplitudes) -> dict[str, np.ndarray]:
    code = context.code
    total = np.sqrt(context.noise_variance + amplitudes.spread[code.atom_index] ** 2)
    surprise = (code.amplitude - amplitudes.mean[code.atom_index]) / total
    largest = PROBABILITIES.max_log_odds
    return {
        "local": np.clip(local_log_odds(context, amplitudes), -largest, largest),
        "alternatives": np.clip(alternative_log_odds(code), -largest, largest),
        "small": np.clip(-surprise, 0, PROBABILITIES.max_surprise),
        "large": np.clip(surprise, 0, PROBABILITIES.max_surprise),
    }


def _residual_features(
    context: CodeInContext[WeighedCode], groups: Groups
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return what the residuals around the spikes say: of spikes, and of units."""
    code = context.code
    log_misfit = np.log(np.maximum(code.misfit, 1e-3)).astype("float64")
    spikes = {name: np.zeros(code.misfit.size) for name in ("misfit", "majority", "off_center")}
    names = ("unit_misfit", "misfit_spread", "separation", "minority", "excess")
    units = {name: np.zeros(context.scales.size) for name in names}
    for atom, own in groups:
        typical = np.median(log_misfit[own])
        deviation = code.deviation[own] - np.median(code.deviation[own]).astype("float64")
        separation, minority, odds = two_groups(deviation)
        units["unit_misfit"][atom] = typical
        units["misfit_spread"][atom] = np.log(log_misfit[own].std() + 0.05)
        units["separation"][atom], units["minority"][atom] = separation, np.sqrt(minority)
        units["excess"][atom] = np.log(deviation.std() + 0.1)
        unusual = log_misfit[own] - typical
        spikes["misfit"][own] = np.clip(unusual, -PROBABILITIES.max_misfit, PROBABILITIES.max_misfit)
        excess = np.clip(separation - PROBABILITIES.usual_separation, 0, PROBABILITIES.max_separation_excess)
        spikes["majority"][own] = odds * excess / PROBABILITIES.max_separation_excess
        spikes["off_center"][own] = np.clip(np.abs(deviation), 0, PROBABILITIES.max_off_center)
    return spikes, units


def _mean_of_units(values: Float[np.ndarray, " event"], groups: Groups, num_atoms: int) -> Float[np.ndarray, " atom"]:
    mean = np.zeros(num_atoms)
    for atom, own in groups:
        mean[atom] = values[own].mean()
    return mean
