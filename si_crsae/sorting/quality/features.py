"""What tells good units from others without knowing the truth: how they fire, and the shape of their templates."""

import numpy as np
from jaxtyping import Float
from scipy.signal import find_peaks

from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.probabilities.context import CodeInContext
from si_crsae.sorting.probabilities.units import (
    FIRING_FEATURES,
    count_pairs,
    distribution_of_amplitudes,
    firing_features,
    spikes_of_atoms,
    times_of,
)
from si_crsae.sorting.stages import Code

SHAPE_FEATURES = ("extent", "everywhere", "duration", "lobes")
QUALITY_FEATURES = FIRING_FEATURES + SHAPE_FEATURES
# Part of the largest extremum from which on another one is counted.
MIN_LOBE = 0.25


def describe_units(context: CodeInContext[Code]) -> Float[np.ndarray, "atom feature"]:
    """Return the columns QUALITY_FEATURES of all atoms, all finite; of no meaning for atoms without events.

    Parameters
    ----------
    context : CodeInContext
        Of a code that is not weighed, so that units are described alike whether probabilities are asked for or not.
    """
    groups = spikes_of_atoms(context.code.atom_index, context.scales.size)
    features = firing_features(context, distribution_of_amplitudes(context, groups), groups)
    features["snr"] = np.minimum(features["snr"], np.log(ASSUMED.quality.max_snr))
    features |= shape_features(context.model.dictionary.atoms.numpy(), context.sampling_frequency)
    return np.stack([features[name] for name in QUALITY_FEATURES], axis=1).astype("float64")


def refractory_evidence(context: CodeInContext[Code]) -> Float[np.ndarray, " atom"]:
    """Return by how much short intervals lower the log odds of each atom's unit to be good: 0, or below.

    Their number is that of a Poisson distribution. The evidence is the logarithm of the likelihood with the largest
    mean that a good unit has, over that with the mean that fits best.
    """
    assumed = ASSUMED.quality
    low, high = (context.samples(edge) for edge in assumed.short_interval_ms)
    mixed = 1 - (1 - assumed.max_contamination) ** 2
    evidence = np.zeros(context.scales.size)
    for atom, own in spikes_of_atoms(context.code.atom_index, evidence.size):
        found = count_pairs(times_of(context.code, own), low, high)
        by_chance = own.size**2 * (high - low) / context.num_samples
        largest = assumed.usual_share * own.size + mixed * by_chance
        if found > largest:
            evidence[atom] = found * np.log(largest / found) + found - largest
    return evidence


def shape_features(
    atoms: Float[np.ndarray, "atom channel width"], sampling_frequency: float
) -> dict[str, Float[np.ndarray, " atom"]]:
    """Return the columns SHAPE_FEATURES by name.

    Over how many channels the energy is spread, and over what part of them; how long the waveform of the strongest
    channel is, and how many extrema it has. A spike is large on a few neighboring contacts; an artifact is everywhere,
    and muscles and oscillations have many extrema.

    Parameters
    ----------
    atoms : ndarray, shape (atom, channel, width)
        Whitened, of unit norm.
    sampling_frequency : float
        In Hz.
    """
    energy = np.square(atoms.astype("float64")).sum(axis=2)
    num_channels = energy.sum(axis=1) ** 2 / np.maximum(np.square(energy).sum(axis=1), 1e-12)
    strongest = atoms[np.arange(len(atoms)), energy.argmax(axis=1)].astype("float64")
    power = np.square(strongest) / np.maximum(np.square(strongest).sum(axis=1, keepdims=True), 1e-12)
    times_ms = 1e3 * np.arange(atoms.shape[2]) / sampling_frequency
    center = power @ times_ms
    spread = power @ np.square(times_ms) - center**2
    heights = np.abs(strongest)
    lobes = [find_peaks(values, height=MIN_LOBE * max(values.max(), 1e-12))[0].size for values in heights]
    return {
        "extent": np.log(np.maximum(num_channels, 1.0)),
        "everywhere": num_channels / atoms.shape[1],
        "duration": np.log(np.sqrt(np.maximum(spread, 0.0)) + 0.01),
        "lobes": np.log(np.maximum(lobes, 1)),
    }
