"""Birth of atoms: clusters of what the dictionary leaves unexplained, collisions apart."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from spikeinterface.core import BaseRecording, NumpySorting
from spikeinterface.core.base import minimum_spike_dtype
from spikeinterface.core.generate import InjectTemplatesRecording
from spikeinterface.core.numpyextractors import SpikeVectorSortingSegment

from si_crsae.config import CrsaeConfig
from si_crsae.core.encoder import Encoder
from si_crsae.core.filtering import correlate_filtered, filter_with_basis
from si_crsae.core.types import Dictionary
from si_crsae.sorting.expectation import Observations
from si_crsae.sorting.initialization import MIN_CLUSTER_SIZES, find_templates

# Of a template's norm: jitter and the spread of amplitudes leave that much of a true collision unexplained.
MAX_UNEXPLAINED_FRACTION = 0.2
# In a collision both spikes have about their usual size; with free amplitudes a few atoms on few channels fit anything.
COLLISION_AMPLITUDES = (0.75, 1.3)


def residual_recording(
    recording: BaseRecording, dictionary: Dictionary, observations: Observations
) -> InjectTemplatesRecording:
    """Return the recording without the events that were found in it, lazily."""
    spikes = np.zeros(observations.sample_index.size, minimum_spike_dtype)
    spikes["sample_index"] = observations.sample_index
    spikes["unit_index"] = observations.atom_index
    spikes["segment_index"] = observations.segment_index
    sorting = NumpySorting(spikes, recording.sampling_frequency, np.arange(dictionary.num_atoms))
    for segment_index in range(sorting.get_num_segments(), recording.get_num_segments()):  # the last ones may be empty
        sorting.add_sorting_segment(SpikeVectorSortingSegment(spikes, segment_index, sorting.unit_ids))
    return InjectTemplatesRecording(
        sorting,
        dictionary.atoms.numpy().transpose(0, 2, 1),
        nbefore=dictionary.num_before,
        amplitude_factor=(-observations.amplitude).tolist(),
        parent_recording=recording,
    )


def find_missed_templates(
    recording: BaseRecording,
    dictionary: Dictionary,
    observations: Observations,
    config: CrsaeConfig,
    *,
    job_kwargs: dict[str, Any],
) -> Float[np.ndarray, "unit channel component"]:
    """Return templates of clusters in the residual, on the dictionary's temporal basis."""
    residual = residual_recording(recording, dictionary, observations)
    templates = find_templates(residual, config, job_kwargs=job_kwargs)
    return (torch.from_numpy(templates) @ dictionary.basis.T).numpy()


def explained_by_others(encoder: Encoder, *, num_events: Int[np.ndarray, " atom"]) -> Bool[np.ndarray, " atom"]:
    """Tell which atoms are collisions: sums of at least two other atoms at a fixed delay.

    Units that often fire together leave a cluster of their summed waveforms. The template of every atom, rarest
    first, is encoded with the others; it is a collision if no more of it remains than jitter and the noise of a mean
    leave. A collision explains no other atom.

    Parameters
    ----------
    encoder : Encoder
    num_events : ndarray of int64, shape (atom,)
        Events of each atom; few or none for an atom that is new.

    Returns
    -------
    ndarray of bool, shape (atom,)
    """
    dictionary = encoder.dictionary
    regularization = encoder.settings.regularization.copy()
    is_collision = np.zeros(dictionary.num_atoms, bool)
    padding = dictionary.width
    scales = dictionary.scales.numpy()
    num_weights = dictionary.weights.count_nonzero(dim=(1, 2)).numpy()
    noise_of_mean = encoder.settings.noise * np.sqrt(num_weights / np.maximum(num_events, MIN_CLUSTER_SIZES[1]))
    for atom in np.argsort(num_events, kind="stable"):
        without_it = regularization.copy()
        without_it[atom] = np.inf
        others = replace(encoder, settings=replace(encoder.settings, regularization=without_it))
        template = dictionary.templates[atom]
        filtered = filter_with_basis(torch.nn.functional.pad(template, (padding, padding)), dictionary.basis)
        correlation = correlate_filtered(filtered, dictionary.weights).numpy()
        events = others.encode(correlation)
        relative = events.amplitude / scales[events.atom_index]
        if len(events) < 2 or not np.all((relative > COLLISION_AMPLITUDES[0]) & (relative < COLLISION_AMPLITUDES[1])):
            continue
        remaining = others.subtract(correlation, events)[events.atom_index, events.sample_index]
        observed = correlation[events.atom_index, events.sample_index]
        energy = scales[atom] ** 2 - np.sum(events.amplitude * (observed + remaining))
        if energy < (MAX_UNEXPLAINED_FRACTION * scales[atom]) ** 2 + noise_of_mean[atom] ** 2:
            is_collision[atom] = True
            regularization[atom] = np.inf
    return is_collision
