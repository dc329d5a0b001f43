"""Birth of atoms: clusters of what the dictionary leaves unexplained."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from spikeinterface.core import BaseRecording, NumpySorting
from spikeinterface.core.base import minimum_spike_dtype
from spikeinterface.core.generate import InjectTemplatesRecording
from spikeinterface.core.numpyextractors import SpikeVectorSortingSegment

from si_crsae.config import CrsaeConfig
from si_crsae.core.tables import select_rows
from si_crsae.core.types import Dictionary
from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.drift.moving import MovingTemplates
from si_crsae.sorting.learning.expectation import EventWaveforms
from si_crsae.sorting.learning.history import History
from si_crsae.sorting.learning.initialization import find_templates


def residual_recording(
    recording: BaseRecording, dictionary: Dictionary, events: EventWaveforms
) -> InjectTemplatesRecording:
    """Return the recording without the events that were found in it, lazily."""
    return _without_events(recording, dictionary.atoms, events, events.atom_index, dictionary.num_before)


def moved_residual_recording(
    recording: BaseRecording, dictionary: Dictionary, moving: MovingTemplates, events: EventWaveforms
) -> InjectTemplatesRecording:
    """Return the recording without the events that were found in it, each where the tissue was, lazily."""
    places, place = np.unique(np.stack([events.atom_index, events.step]), axis=1, return_inverse=True)
    atoms, steps = places
    rest = select_rows(dictionary, torch.from_numpy(atoms), "atom")
    there = moving.select(atoms).at(steps, rest)
    growth = (there.scales / rest.scales)[:, None, None]
    return _without_events(recording, there.atoms * growth, events, place.ravel(), dictionary.num_before)


def _without_events(
    recording: BaseRecording,
    atoms: Float[torch.Tensor, "place channel width"],
    events: EventWaveforms,
    place: Int[np.ndarray, " event"],
    num_before: int,
) -> InjectTemplatesRecording:
    spikes = np.zeros(events.sample_index.size, minimum_spike_dtype)
    spikes["sample_index"] = events.sample_index
    spikes["unit_index"] = place
    spikes["segment_index"] = events.segment_index
    sorting = NumpySorting(spikes, recording.sampling_frequency, np.arange(len(atoms)))
    for segment_index in range(sorting.get_num_segments(), recording.get_num_segments()):  # the last ones may be empty
        sorting.add_sorting_segment(SpikeVectorSortingSegment(spikes, segment_index, sorting.unit_ids))
    return InjectTemplatesRecording(
        sorting,
        atoms.numpy().transpose(0, 2, 1),
        nbefore=num_before,
        amplitude_factor=(-events.amplitude).tolist(),
        parent_recording=recording,
    )


def find_missed_templates(
    residual: BaseRecording,
    basis: Float[torch.Tensor, "component width"],
    config: CrsaeConfig,
    *,
    job_kwargs: dict[str, Any],
    assumed: Assumptions = ASSUMED,
    history: History | None = None,
) -> Float[np.ndarray, "unit channel component"]:
    """Return templates of clusters in what a dictionary leaves, on its temporal basis.

    What is left is searched with a matched filter: mostly units too faint for the first look.
    """
    templates = find_templates(residual, config, faint=True, job_kwargs=job_kwargs, assumed=assumed, history=history)
    return (torch.from_numpy(templates) @ basis.T).numpy()
