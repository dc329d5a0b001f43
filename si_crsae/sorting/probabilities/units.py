"""What units show by how large their spikes are, when they come, and beside which others."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr

from si_crsae.core.operators.gram import Gram
from si_crsae.core.robust import robust_sd
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.model import Model
from si_crsae.sorting.probabilities.context import CodeInContext
from si_crsae.sorting.stages import Code

PROBABILITIES = ASSUMED.probabilities
# Further apart than the spikes of any segment (samples).
_SEGMENT = 1 << 40

FIRING_FEATURES = (
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


def firing_features(
    context: CodeInContext, amplitudes: Amplitudes, groups: Groups
) -> dict[str, Float[np.ndarray, " atom"]]:
    """Return the columns FIRING_FEATURES by name.

    Parameters
    ----------
    context : CodeInContext
    amplitudes : Amplitudes
    groups : list of (int, ndarray)
        See `spikes_of_atoms`.

    Returns
    -------
    dict
        Of no meaning for atoms without events.
    """
    return {
        **_amplitude_features(context, amplitudes, groups),
        **_timing_features(context, groups),
        **_neighbor_features(context, groups),
    }


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


def _amplitude_features(
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


def _timing_features(context: CodeInContext, groups: Groups) -> dict[str, Float[np.ndarray, " atom"]]:
    """Return short intervals in units of those that chance makes, and how unevenly a unit fires over the recording."""
    code = context.code
    low, high = (context.samples(edge) for edge in ASSUMED.refractory.short_interval_ms)
    features = {name: np.zeros(context.scales.size) for name in ("violations", "presence")}
    edges = np.linspace(0, code.sample_index.size, PROBABILITIES.num_presence_bins + 1)
    for atom, own in groups:
        times = times_of(code, own)
        found = count_pairs(times, low, high)
        features["violations"][atom] = (found + 0.5) / (own.size**2 * (high - low) / context.num_samples + 2)
        counts = np.histogram(own, edges)[0]
        features["presence"][atom] = np.sqrt(max(counts.var() / counts.mean() - 1, 0.0) / counts.mean())
    return features


def count_pairs(times: Int[np.ndarray, " spike"], low: float, high: float) -> int:
    """Return how many pairs of sorted times are apart by `low` or more, and less than `high`."""
    return int(np.sum(np.searchsorted(times, times + high) - np.searchsorted(times, times + low)))


def _neighbor_features(context: CodeInContext, groups: Groups) -> dict[str, Float[np.ndarray, " atom"]]:
    """Return what other units say of a unit.

    How many of its spikes come with one of another unit, beyond chance; how likely one is hidden by another's; how far
    the nearest other template is, in noise standard deviations; whether it fires by turns with a larger unit that looks
    like it, as parts of a drifting neuron do.
    """
    window, code = context.samples(PROBABILITIES.coincidence_ms), context.code
    alike = _likeness(context.model)
    distance = _distances(context, alike)
    times = {atom: times_of(code, own) for atom, own in groups}
    turns = _turns(context, groups, alike)
    features = {name: np.zeros(context.scales.size) for name in ("coincidence", "crowding", "neighbor")}
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


def _lengths(code: Code) -> Int[np.ndarray, " segment"]:
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


def times_of(code: Code, own: Int[np.ndarray, " own"]) -> Int[np.ndarray, " own"]:
    """Return the sorted times of some events, those of different segments far apart."""
    return np.sort(code.segment_index[own].astype("int64") * _SEGMENT + code.sample_index[own])
