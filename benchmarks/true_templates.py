"""A ceiling for learning: the encoder is given the true templates instead of those that it learns.

Preprocessing, encoder and its parameters are those of the sorter. The templates are, where a recording was made from
some, these very ones, without noise, through the same filters and the same whitening; elsewhere those that explain the
preprocessed traces best in the sense of least squares, given the true spikes. Unlike an average of the traces these
hold nothing of the spikes that come close to a unit's own.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import scipy.sparse
from spikeinterface.core import BaseRecording, BaseSorting, NumpyRecording, NumpySorting, Templates
from spikeinterface.core.base import minimum_spike_dtype
from spikeinterface.core.generate import InjectTemplatesRecording
from spikeinterface.sortingcomponents.matching import find_spikes_from_templates

from si_crsae.config import CrsaeConfig
from si_crsae.evaluation import load_case
from si_crsae.sorting.convert import whole_samples
from si_crsae.sorting.signal.gaps import GapsFilledRecording
from si_crsae.sorting.signal.whitening import whiten_groups

TRUE_TEMPLATES = "true_templates"
TEMPLATES_FILE = "templates.npz"
# What a band-pass filter from 300 Hz on needs to forget a spike.
SILENCE_MS = 20.0
CHUNK_S = 10.0
# Spikes of nothing that each template is fitted to as well: units that only fire together stay finite.
RIDGE = 0.1


def match_true_templates(folder: Path) -> BaseSorting:
    """Return the spikes that the encoder finds in a case with the templates of its true units."""
    recording, truth = load_case(folder)
    config = CrsaeConfig()
    with TemporaryDirectory() as empty:
        whitened = whiten_groups(recording, config, folder=Path(empty))
    num_before, num_after = (
        whole_samples(length_ms, recording.sampling_frequency) for length_ms in (config.ms_before, config.ms_after)
    )
    path = folder / TEMPLATES_FILE
    if path.exists():
        known = np.load(path)
        channels = recording.ids_to_indices(whitened.channel_ids)
        array = filter_templates(whitened, known["templates"][:, :, channels])
        first = int(known["num_before"]) + whole_samples(SILENCE_MS, recording.sampling_frequency) - num_before
        array = array[:, first : first + num_before + num_after]
    else:
        array = fit_templates(whitened, truth, num_before=num_before, num_after=num_after)
    templates = Templates(
        array.astype("float32"),
        recording.sampling_frequency,
        num_before,
        channel_ids=whitened.channel_ids,
        unit_ids=truth.unit_ids,
        is_in_uV=False,
    )
    spikes = find_spikes_from_templates(whitened, templates, method="crsae", job_kwargs={"n_jobs": 1})
    return sorting_of(spikes, truth)


def sorting_of(spikes: np.ndarray, like: BaseSorting) -> BaseSorting:
    """Return the spikes of a matching as a sorting with the units of another one."""
    found = np.zeros(spikes.size, minimum_spike_dtype)
    found["sample_index"], found["unit_index"] = spikes["sample_index"], spikes["cluster_index"]
    found["segment_index"] = spikes["segment_index"]
    order = np.lexsort([found["unit_index"], found["sample_index"], found["segment_index"]])
    return NumpySorting(found[order], like.sampling_frequency, like.unit_ids)


def mean_templates(recording: BaseRecording) -> Mapping[str, np.ndarray] | None:
    """Return the mean waveforms (unit, sample, channel) that a recording was made from, in the unit of its traces.

    None if it was made otherwise: nothing injected, or templates that move.
    """
    injected = recording.get_parent()
    if type(injected) is not InjectTemplatesRecording:
        return None
    details = injected._kwargs
    templates, units = np.asarray(injected.templates, "float64"), np.asarray(injected.spike_vector["unit_index"])
    variants = np.zeros(units.size, "int64") if templates.ndim == 3 else np.asarray(details["upsample_vector"])
    templates = templates.reshape(*templates.shape[:3], -1)
    sizes = np.ones(units.size) if details["amplitude_factor"] is None else np.asarray(details["amplitude_factor"])
    weights = np.zeros((len(templates), templates.shape[3]))
    np.add.at(weights, (units, variants), sizes)
    weights /= np.maximum(np.bincount(units, minlength=len(templates)), 1)[:, None]
    means = np.einsum("uscv,uv->usc", templates, weights) / recording.get_channel_gains()
    return {"templates": means.astype("float32"), "num_before": np.asarray(details["nbefore"])}


def filter_templates(preprocessed: BaseRecording, templates: np.ndarray) -> np.ndarray:
    """Return templates (unit, sample, channel) as they are in preprocessed traces, `SILENCE_MS` longer at both ends.

    The steps of preprocessing are repeated, with the matrices that were measured on the recording, on one that holds
    nothing but the templates, one after the other. They are linear as long as no median of channels is subtracted.
    """
    silence = whole_samples(SILENCE_MS, preprocessed.sampling_frequency)
    padded = np.pad(templates, ((0, 0), (silence, silence), (0, 0)))
    alone = NumpyRecording(
        [padded.reshape(-1, padded.shape[2])], preprocessed.sampling_frequency, channel_ids=preprocessed.channel_ids
    )
    alone.set_dummy_probe_from_locations(preprocessed.get_channel_locations())
    return repeat_steps(preprocessed, alone).get_traces().reshape(padded.shape)


def repeat_steps(preprocessed: BaseRecording, recording: BaseRecording) -> BaseRecording:
    """Return a recording preprocessed like another one, with nothing measured anew and its silence left as it is."""
    if isinstance(preprocessed, GapsFilledRecording):
        return recording
    details = dict(preprocessed._kwargs)
    return type(preprocessed)(**details | {"recording": repeat_steps(details["recording"], recording)})


def fit_templates(preprocessed: BaseRecording, sorting: BaseSorting, *, num_before: int, num_after: int) -> np.ndarray:
    """Return the templates (unit, sample, channel) whose sum at the spikes is closest to the traces."""
    num_units, width = sorting.get_num_units(), num_before + num_after
    gram, projection = RIDGE * np.eye(num_units * width), np.zeros((num_units * width, preprocessed.get_num_channels()))
    length = int(CHUNK_S * preprocessed.sampling_frequency)
    spikes = np.asarray(sorting.to_spike_vector())
    for segment in range(preprocessed.get_num_segments()):
        num_samples = preprocessed.get_num_samples(segment)
        train = spikes[spikes["segment_index"] == segment]
        for start in range(0, num_samples, length):
            end = min(start + length, num_samples)
            design = _design(train, start, end, num_before=num_before, width=width, num_units=num_units)
            gram += (design.T @ design).toarray()
            projection += design.T @ preprocessed.get_traces(segment, start, end).astype("float64")
    return np.linalg.solve(gram, projection).reshape(num_units, width, -1)


def _design(
    spikes: np.ndarray, start: int, end: int, *, num_before: int, width: int, num_units: int
) -> scipy.sparse.csr_matrix:
    """Return which sample of which template is added to each sample from start to end."""
    samples = spikes["sample_index"][:, None] - num_before + np.arange(width)
    columns = spikes["unit_index"][:, None] * width + np.arange(width)
    inside = (samples >= start) & (samples < end)
    rows = samples[inside] - start
    return scipy.sparse.csr_matrix((np.ones(rows.size), (rows, columns[inside])), (end - start, num_units * width))
