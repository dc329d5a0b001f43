"""What tells right spikes from wrong ones without knowing the truth: features of spikes and of their units."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit, ndtr

from si_crsae.core.operators.gram import Gram
from si_crsae.core.robust import robust_sd
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.model import Model
from si_crsae.sorting.probabilities.context import CodeInContext
from si_crsae.sorting.stages import WeighedCode

PROBABILITIES = ASSUMED.probabilities
# Spikes among which two groups are sought, evenly spread, and the steps of the fit: more takes longer.
MAX_GROUPED, NUM_GROUP_STEPS = 5000, 40
# Further apart than the spikes of any segment (samples).
_SEGMENT = 1 << 40

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
    "snr",
    "spread",
    "truncation",
    "skew",
    "rate",
    "violations",
    "coincidence",
    "presence",
    "crowding",
    "neighbor",
    "turns",
    "unit_alternatives",
    "unit_misfit",
    "misfit_spread",
    "separation",
    "minority",
    "excess",
)

Groups = list[tuple[int, Int[np.ndarray, " own"]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Amplitudes:
    """Distribution of the amplitudes of each unit's spikes, without the noise of the fit.

    Parameters
    ----------
    mean, spread : ndarray of float64, shape (atom,)
        In units of the coefficient of the unit-norm atom.
    """

    mean: Float[np.ndarray, " atom"]
    spread: Float[np.ndarray, " atom"]


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


def describe(context: CodeInContext) -> Description:
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
    units |= _amplitude_features_of_units(context, amplitudes, groups)
    units |= _timing_features(context, groups)
    units |= _neighbor_features(context, groups, spikes["alternatives"])
    return Description(
        amplitudes=amplitudes,
        spikes=np.stack([spikes[name] for name in SPIKE_FEATURES], axis=1).astype("float64"),
        units=np.stack([units[name] for name in UNIT_FEATURES], axis=1),
    )


def spikes_of_atoms(atom_index: Int[np.ndarray, " event"], num_atoms: int) -> Groups:
    """Return every atom that has events, and which these are, in order."""
    order = np.argsort(atom_index, kind="stable")
    bounds = np.searchsorted(atom_index[order], np.arange(num_atoms + 1))
    parts = zip(bounds[:-1], bounds[1:], strict=True)
    return [(atom, order[start:end]) for atom, (start, end) in enumerate(parts) if end > start]


def distribution_of_amplitudes(context: CodeInContext, groups: Groups) -> Amplitudes:
    """Return median and spread of each unit's amplitudes, the latter without the noise of the fit."""
    scales, noise_variance = context.scales, context.noise_variance
    usual, num_usual = ASSUMED.spikes.amplitude_spread, PROBABILITIES.num_usual_spikes
    mean, spread = scales.copy(), usual * scales
    for atom, own in groups:
        amplitude = context.code.amplitude[own]
        mean[atom] = np.median(amplitude)
        variance = float(robust_sd(amplitude)) ** 2 - np.median(noise_variance[own])
        variance = max(variance, (PROBABILITIES.min_spread * scales[atom]) ** 2)
        before = num_usual * (usual * scales[atom]) ** 2
        spread[atom] = np.sqrt((own.size * variance + before) / (own.size + num_usual))
    return Amplitudes(mean=mean, spread=spread)


def local_log_odds(context: CodeInContext, amplitudes: Amplitudes) -> Float[np.ndarray, " event"]:
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


def _amplitude_features_of_spikes(context: CodeInContext, amplitudes: Amplitudes) -> dict[str, np.ndarray]:
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


def _amplitude_features_of_units(
    context: CodeInContext, amplitudes: Amplitudes, groups: Groups
) -> dict[str, Float[np.ndarray, " atom"]]:
    """Return size, spread, what lies below the smallest accepted amplitude, lopsidedness and rate of the spikes."""
    scales, noise = context.scales, context.noise
    total = np.sqrt(noise**2 + amplitudes.spread**2)
    duration_s = context.num_samples / context.sampling_frequency
    skew, rate = np.zeros(scales.size), np.zeros(scales.size)
    for atom, own in groups:
        surprise = (context.code.amplitude[own] - amplitudes.mean[atom]) / total[atom]
        skew[atom] = np.clip(np.mean(surprise**3), -PROBABILITIES.max_skew, PROBABILITIES.max_skew)
        rate[atom] = np.log(own.size / duration_s)
    return {
        "snr": np.log(scales / noise),
        "spread": np.log(amplitudes.spread / amplitudes.mean),
        "truncation": ndtr((context.min_amplitude - amplitudes.mean) / total),
        "skew": skew,
        "rate": rate,
    }


def _residual_features(context: CodeInContext, groups: Groups) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
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


def _timing_features(context: CodeInContext, groups: Groups) -> dict[str, Float[np.ndarray, " atom"]]:
    """Return short intervals in units of those that chance makes, and how unevenly a unit fires over the recording."""
    code = context.code
    low, high = (context.samples(edge) for edge in ASSUMED.refractory.short_interval_ms)
    features = {name: np.zeros(context.scales.size) for name in ("violations", "presence")}
    edges = np.linspace(0, code.sample_index.size, PROBABILITIES.num_presence_bins + 1)
    for atom, own in groups:
        times = _times(code, own)
        found = np.sum(np.searchsorted(times, times + high) - np.searchsorted(times, times + low))
        features["violations"][atom] = (found + 0.5) / (own.size**2 * (high - low) / context.num_samples + 2)
        counts = np.histogram(own, edges)[0]
        features["presence"][atom] = np.sqrt(max(counts.var() / counts.mean() - 1, 0.0) / counts.mean())
    return features


def _neighbor_features(
    context: CodeInContext, groups: Groups, alternatives: Float[np.ndarray, " event"]
) -> dict[str, Float[np.ndarray, " atom"]]:
    """Return what other units say of a unit.

    How many of its spikes come with one of another unit, beyond chance; how likely one is hidden by another's; how far
    the nearest other template is, in noise standard deviations; whether it fires by turns with a larger unit that looks
    like it, as parts of a drifting neuron do; how well its spikes are told from other explanations.
    """
    window, code = context.samples(PROBABILITIES.coincidence_ms), context.code
    alike = _likeness(context.model)
    distance = _distances(context, alike)
    times = {atom: _times(code, own) for atom, own in groups}
    turns = _turns(context, groups, alike)
    names = ("coincidence", "crowding", "neighbor", "unit_alternatives")
    features = {name: np.zeros(context.scales.size) for name in names}
    for atom, own in groups:
        own_times, nearest = times[atom], PROBABILITIES.max_distance
        for other, other_times in times.items():
            if other == atom or alike[atom, other] <= 0:
                continue
            nearest = min(nearest, distance[atom, other])
            share = other_times.size * 2 * window / context.num_samples
            features["crowding"][atom] += share * (alike[atom, other] > PROBABILITIES.min_hiding)
            near = np.searchsorted(other_times, [own_times - window, own_times + window])
            expected = own.size * share
            chance_sd = np.sqrt(expected + 1)
            excess = np.sum(near[1] > near[0]) - expected - PROBABILITIES.coincidence_sds * chance_sd
            features["coincidence"][atom] = max(features["coincidence"][atom], excess / own.size)
        features["neighbor"][atom] = np.log(nearest + 0.1)
        features["unit_alternatives"][atom] = alternatives[own].mean()
    return features | {"turns": turns}


def _turns(context: CodeInContext, groups: Groups, alike: Float[np.ndarray, "atom atom"]) -> Float[np.ndarray, " atom"]:
    """Return how much each unit fires when a larger one like it does not: minus the correlation, times the likeness."""
    code = context.code
    position = np.concatenate([[0], np.cumsum(_lengths(code))])[code.segment_index] + code.sample_index
    num_bins = PROBABILITIES.num_turn_bins
    edges = np.linspace(0, max(int(position.max(initial=0)), num_bins), num_bins + 1)
    counts = np.array([np.histogram(position[own], edges)[0] for _, own in groups]).reshape(len(groups), num_bins)
    standardized = (counts - counts.mean(axis=1, keepdims=True)) / (counts.std(axis=1, keepdims=True) + 1e-9)
    correlation = standardized @ standardized.T / num_bins
    atoms = np.array([atom for atom, _ in groups], dtype="int64")
    sizes = counts.sum(axis=1)
    is_larger = sizes[None, :] > sizes[:, None]
    scores = np.where(is_larger, np.maximum(-correlation, 0) * np.maximum(alike[np.ix_(atoms, atoms)], 0), 0.0)
    turns = np.zeros(context.scales.size)
    turns[atoms] = scores.max(axis=1, initial=0)
    return turns


def _lengths(code: WeighedCode) -> Int[np.ndarray, " segment"]:
    """Return the samples of each segment up to its last spike."""
    lengths = np.zeros(int(code.segment_index.max(initial=0)) + 1, "int64")
    np.maximum.at(lengths, code.segment_index, code.sample_index + 1)
    return lengths


def _likeness(model: Model) -> Float[np.ndarray, "atom atom"]:
    """Return the correlation of every two atoms at the lag at which they are most alike, 0 if they share no channel."""
    gram = Gram.of(model.dictionary)
    first, second = np.nonzero(gram.pair_index >= 0)
    alike = np.zeros(gram.pair_index.shape)
    alike[first, second] = gram.values[gram.pair_index[first, second]].max(axis=1, initial=0)
    return alike


def _distances(context: CodeInContext, alike: Float[np.ndarray, "atom atom"]) -> Float[np.ndarray, "atom atom"]:
    """Return the distances of every two templates, in noise standard deviations of the first."""
    scales = context.scales
    squared = scales[:, None] ** 2 + scales**2 - 2 * alike * scales[:, None] * scales
    return np.sqrt(np.maximum(squared, 0)) / context.noise[:, None]


def _times(code: WeighedCode, own: Int[np.ndarray, " own"]) -> Int[np.ndarray, " own"]:
    """Return the sorted times of some events, those of different segments far apart."""
    return np.sort(code.segment_index[own].astype("int64") * _SEGMENT + code.sample_index[own])
