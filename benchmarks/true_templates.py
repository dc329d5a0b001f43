"""A ceiling for learning: the encoder is given the true templates instead of those that it learns.

Preprocessing, encoder and its parameters are those of the sorter. The templates are, where a recording was made from
some, these very ones, without noise, through the same filters and the same whitening. Elsewhere they are those that
explain the preprocessed traces best in the sense of least squares, given the true spikes; unlike an average of traces
these hold nothing of the spikes that come close to a unit's own. Every sixth of the recording is matched with the
templates of the other five: those of a unit with few spikes would know them again by their noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
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
from si_crsae.sorting.whitening import whiten_groups

TRUE_TEMPLATES = "true_templates"
TEMPLATES_FILE = "templates.npz"
# What a band-pass filter from 300 Hz on needs to forget a spike.
SILENCE_MS = 20.0
CHUNK_S = 10.0
NUM_PARTS = 6
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
    if not (folder / TEMPLATES_FILE).exists():
        equations = NormalEquations.of(whitened, truth, num_before=num_before, width=num_before + num_after)
        spikes = [
            only_part(match(whitened, equations.solve(without=part), num_before), whitened, part)
            for part in range(NUM_PARTS)
        ]
        return sorting_of(np.concatenate(spikes), truth)
    known = np.load(folder / TEMPLATES_FILE)
    channels = recording.ids_to_indices(whitened.channel_ids)
    templates = filter_templates(whitened, known["templates"][:, :, channels])
    first = int(known["num_before"]) + whole_samples(SILENCE_MS, recording.sampling_frequency) - num_before
    return sorting_of(match(whitened, templates[:, first : first + num_before + num_after], num_before), truth)


def match(preprocessed: BaseRecording, templates: np.ndarray, num_before: int) -> np.ndarray:
    """Return the spikes of templates (unit, sample, channel) in the unit of the traces."""
    given = Templates(
        templates.astype("float32"),
        preprocessed.sampling_frequency,
        num_before,
        channel_ids=preprocessed.channel_ids,
        is_in_uV=False,
    )
    job_kwargs = {"n_jobs": 1, "progress_bar": False}
    return np.asarray(find_spikes_from_templates(preprocessed, given, method="crsae", job_kwargs=job_kwargs))


def only_part(spikes: np.ndarray, recording: BaseRecording, part: int) -> np.ndarray:
    """Return the spikes that lie in one part of every segment."""
    edges = [part_edges(recording, segment) for segment in range(recording.get_num_segments())]
    starts, ends = (np.array([edge[part + step] for edge in edges])[spikes["segment_index"]] for step in (0, 1))
    return spikes[(spikes["sample_index"] >= starts) & (spikes["sample_index"] < ends)]


def part_edges(recording: BaseRecording, segment: int) -> np.ndarray:
    """Return where the parts of a segment begin, and where the last one ends."""
    return np.linspace(0, recording.get_num_samples(segment), NUM_PARTS + 1).astype("int64")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalEquations:
    """What the templates whose sum at the spikes is closest to the traces solve, for each part of a recording."""

    gram: np.ndarray
    """(part, unknown, unknown); an unknown is a sample of a unit's template."""
    projection: np.ndarray
    """(part, unknown, channel)."""
    width: int

    @classmethod
    def of(cls, preprocessed: BaseRecording, sorting: BaseSorting, *, num_before: int, width: int) -> "NormalEquations":
        """Read the traces once."""
        num_units = sorting.get_num_units()
        gram = np.zeros((NUM_PARTS, num_units * width, num_units * width))
        projection = np.zeros((NUM_PARTS, num_units * width, preprocessed.get_num_channels()))
        length, spikes = int(CHUNK_S * preprocessed.sampling_frequency), np.asarray(sorting.to_spike_vector())
        for segment in range(preprocessed.get_num_segments()):
            train, edges = spikes[spikes["segment_index"] == segment], part_edges(preprocessed, segment)
            for part, (first, last) in enumerate(pairwise(edges.tolist())):
                for start in range(first, last, length):
                    end = min(start + length, last)
                    design = _design(train, start, end, num_before=num_before, width=width, num_units=num_units)
                    gram[part] += (design.T @ design).toarray()
                    projection[part] += design.T @ preprocessed.get_traces(segment, start, end).astype("float64")
        return cls(gram=gram, projection=projection, width=width)

    def solve(self, *, without: int | None = None) -> np.ndarray:
        """Return templates (unit, sample, channel), from all parts but one."""
        kept = [part for part in range(NUM_PARTS) if part != without]
        gram = self.gram[kept].sum(axis=0) + RIDGE * np.eye(self.gram.shape[1])
        templates = np.linalg.solve(gram, self.projection[kept].sum(axis=0))
        return templates.reshape(-1, self.width, templates.shape[1])


def _design(
    spikes: np.ndarray, start: int, end: int, *, num_before: int, width: int, num_units: int
) -> scipy.sparse.csr_matrix:
    """Return which sample of which template is added to each sample from start to end."""
    samples = spikes["sample_index"][:, None] - num_before + np.arange(width)
    columns = spikes["unit_index"][:, None] * width + np.arange(width)
    inside = (samples >= start) & (samples < end)
    rows = samples[inside] - start
    return scipy.sparse.csr_matrix((np.ones(rows.size), (rows, columns[inside])), (end - start, num_units * width))
