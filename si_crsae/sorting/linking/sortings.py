"""The units of two sortings of the same tissue, between which the probe has moved, linked to each other."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from spikeinterface.core import (
    BaseRecording,
    BaseSorting,
    estimate_templates_with_accumulator,
    random_spikes_selection,
)
from spikeinterface.core.waveform_tools import has_exceeding_spikes

from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.convert import is_scalable, nearest_samples, samples_in
from si_crsae.sorting.linking.displacement import Displacement, compress_epochs, estimate_displacement
from si_crsae.sorting.linking.probability import gather_evidence, link_probabilities, scores_of_different_units

LINKING = ASSUMED.linking


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkingSettings:
    """Parameters of `link_sortings`: times in ms, distances in um.

    Parameters
    ----------
    max_displacement_um : float, default: 100.0
        Largest displacement that is looked for, either way (um); 0 if there can be none.
    length_scale_um : float, default: 30.0
        Distance over which a template changes, for its interpolation between contacts (um).
    ms_before, ms_after : float, default: 1.5 and 2.0
        Length of the templates before and after the spike's sample (ms).
    max_delay_ms : float, default: 0.2
        How far the two sortings may place a spike differently on its waveform (ms).
    min_confidence : float, default: 0.5
        Links less probable than this are not given, between 0 and 1.
    max_spikes_per_unit : int, default: 500
        Spikes that are averaged, at least 5.
    seed : int, default: 0
        Decides which spikes are averaged.
    """

    max_displacement_um: float = 100.0
    length_scale_um: float = 30.0
    ms_before: float = 1.5
    ms_after: float = 2.0
    max_delay_ms: float = 0.2
    min_confidence: float = 0.5
    max_spikes_per_unit: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        limits = {
            "max_displacement_um": (0.0, 2000.0),
            "length_scale_um": (1.0, 1000.0),
            "ms_before": (0.1, 20.0),
            "ms_after": (0.1, 20.0),
            "max_delay_ms": (0.0, 2.0),
            "min_confidence": (0.0, 1.0),
            "max_spikes_per_unit": (LINKING.min_spikes, np.inf),
            "seed": (0, np.inf),
        }
        for field in fields(self):
            (low, high), value = limits[field.name], getattr(self, field.name)
            if not low <= value <= high:
                raise ValueError(f"{field.name} = {value}: it must be between {low:g} and {high:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedSortings:
    """Which units of two sortings are the same.

    Parameters
    ----------
    unit_ids_a, unit_ids_b : tuple
        The two units of each link, in the order of sorting A.
    confidences : array, shape (link,)
        Probability of each link to be right.
    similarities : array, shape (link,)
        Cosine of the templates, after moving one to the other and back.
    unmatched_a, unmatched_b : tuple
        Units without a link.
    probabilities : DataFrame, shape (unit of A, unit of B)
        That a pair is one unit; what a row or a column lacks to 1 is the probability of having no partner.
    displacement : Displacement
        How far the units have moved along the second axis of the probe from A to B, by their depth in A (um); the probe
        has moved the other way.
    """

    unit_ids_a: tuple[Any, ...]
    unit_ids_b: tuple[Any, ...]
    confidences: Float[np.ndarray, " link"]
    similarities: Float[np.ndarray, " link"]
    unmatched_a: tuple[Any, ...]
    unmatched_b: tuple[Any, ...]
    probabilities: pd.DataFrame
    displacement: Displacement

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row per link: unit_id_a, unit_id_b, confidence, similarity."""
        return pd.DataFrame(
            {
                "unit_id_a": list(self.unit_ids_a),
                "unit_id_b": list(self.unit_ids_b),
                "confidence": self.confidences,
                "similarity": self.similarities,
            }
        )


def link_sortings(
    sorting_a: BaseSorting,
    recording_a: BaseRecording,
    sorting_b: BaseSorting,
    recording_b: BaseRecording,
    *,
    settings: LinkingSettings | None = None,
) -> LinkedSortings:
    """Link the units of two sortings of the same tissue, between which the probe has moved.

    The templates of A are moved by the displacement, a smooth function of depth, that makes them most similar to those
    of B, as drift is estimated in [1]_. A pair of units is then judged by how alike the moved templates are, their time
    courses and their sizes, all relative to what noise and interpolation leave. What these are for different units is
    learned from pairs within one epoch, what they are for the same unit from the pairs that fit best. The confidence is
    the probability that the pair is one unit, given that each has at most one partner [2]_.

    Nothing is assumed of firing rates. A neuron that either sorting has split keeps one partner at most. Where hardly a
    unit is in both epochs, some displacement will make different ones alike: `max_displacement_um` should then be no
    larger than what is possible.

    Parameters
    ----------
    sorting_a, sorting_b : BaseSorting
        Those of the earlier and of the later epoch.
    recording_a, recording_b : BaseRecording
        What they were sorted from, filtered, on the same contacts; read with SpikeInterface's global job arguments.
    settings : LinkingSettings or None, default: None
        None takes the defaults.

    Returns
    -------
    LinkedSortings
        Without links if a sorting has no unit.

    Raises
    ------
    ValueError
        If recordings and sortings do not belong together, the contacts or the sampling frequencies of the epochs
        differ, there is no probe, or a recording is shorter than a template.

    References
    ----------
    .. [1] Windolf et al., "DREDge: robust motion correction for high-density extracellular recordings across species",
       Nature Methods, 2025.
    .. [2] Williams and Lau, "Approximate evaluation of marginal association probabilities with belief propagation",
       IEEE Transactions on Aerospace and Electronic Systems, 2014.

    Examples
    --------
    >>> from spikeinterface import generate_ground_truth_recording
    >>> recording, sorting = generate_ground_truth_recording(durations=[20.0], num_channels=16, num_units=5, seed=0)
    >>> links = link_sortings(sorting, recording, sorting, recording)
    >>> links.unit_ids_a == links.unit_ids_b
    True
    """
    settings = settings or LinkingSettings()
    _check_epochs(sorting_a, recording_a, sorting_b, recording_b, settings=settings)
    in_uV = is_scalable(recording_a)
    epochs = ((sorting_a, recording_a), (sorting_b, recording_b))
    if any(sorting.get_num_units() == 0 for sorting, _ in epochs):
        empty = np.zeros((sorting_a.get_num_units(), sorting_b.get_num_units()))
        nowhere = Displacement(depths_um=np.zeros(1), displacements_um=np.zeros(1))
        return _choose_links(empty, empty, (sorting_a, sorting_b), nowhere, settings.min_confidence)
    means, errors = zip(*[_average(*epoch, settings=settings, in_uV=in_uV) for epoch in epochs], strict=True)
    max_delay = samples_in(settings.max_delay_ms, recording_a.sampling_frequency)
    locations = np.asarray(recording_a.get_channel_locations(), dtype=float)
    templates_a, templates_b = compress_epochs(means, errors, locations, max_delay=max_delay)
    scale = settings.length_scale_um
    displacement = estimate_displacement(
        templates_a, templates_b, max_displacement_um=settings.max_displacement_um, length_scale_um=scale
    )
    moved = displacement.at(templates_a.depths_um), displacement.at_final(templates_b.depths_um)
    evidence = gather_evidence(templates_a, templates_b, moved, length_scale_um=scale)
    different, compared = zip(
        *[
            scores_of_different_units(templates, by, length_scale_um=scale)
            for templates, by in zip((templates_a, templates_b), moved, strict=True)
        ],
        strict=True,
    )
    probabilities = link_probabilities(evidence, np.concatenate(different), sum(compared))
    sortings = sorting_a, sorting_b
    return _choose_links(probabilities, evidence.similarity, sortings, displacement, settings.min_confidence)


def _average(
    sorting: BaseSorting, recording: BaseRecording, *, settings: LinkingSettings, in_uV: bool
) -> tuple[Float[np.ndarray, "unit sample channel"], Float[np.ndarray, "unit channel"]]:
    """Return the mean waveform of each unit and its squared error; units of hardly a spike have none."""
    num_before, num_after = _window(recording, settings)
    num_samples = [recording.get_num_samples(segment) for segment in range(recording.get_num_segments())]
    chosen = random_spikes_selection(
        sorting,
        num_samples,
        max_spikes_per_unit=settings.max_spikes_per_unit,
        margin_size=max(num_before, num_after),
        seed=settings.seed,
    )
    spikes = np.asarray(sorting.to_spike_vector())[chosen]
    means, deviations = estimate_templates_with_accumulator(
        recording,
        spikes,
        sorting.unit_ids,
        num_before,
        num_after,
        return_in_uV=in_uV,
        return_std=True,
        progress_bar=False,
    )
    num_spikes = np.bincount(spikes["unit_index"], minlength=len(sorting.unit_ids))
    means[num_spikes < LINKING.min_spikes] = 0.0
    return means, np.square(deviations).mean(axis=1) / np.maximum(num_spikes - 1, 1)[:, None]


def _choose_links(
    probabilities: Float[np.ndarray, "unit other"],
    similarity: Float[np.ndarray, "unit other"],
    sortings: tuple[BaseSorting, BaseSorting],
    displacement: Displacement,
    min_confidence: float,
) -> LinkedSortings:
    """Return the one-to-one links that are expected to be right most often."""
    ids_a, ids_b = (sorting.unit_ids.tolist() for sorting in sortings)
    probable = np.where(probabilities >= min_confidence, probabilities, 0.0)
    rows, columns = linear_sum_assignment(-probable)
    is_link = probable[rows, columns] > 0
    rows, columns = rows[is_link], columns[is_link]
    return LinkedSortings(
        unit_ids_a=tuple(ids_a[row] for row in rows),
        unit_ids_b=tuple(ids_b[column] for column in columns),
        confidences=probabilities[rows, columns],
        similarities=similarity[rows, columns],
        unmatched_a=tuple(unit_id for row, unit_id in enumerate(ids_a) if row not in rows),
        unmatched_b=tuple(unit_id for column, unit_id in enumerate(ids_b) if column not in columns),
        probabilities=pd.DataFrame(probabilities, index=ids_a, columns=ids_b),
        displacement=displacement,
    )


def _check_epochs(
    sorting_a: BaseSorting,
    recording_a: BaseRecording,
    sorting_b: BaseSorting,
    recording_b: BaseRecording,
    *,
    settings: LinkingSettings,
) -> None:
    problems = [
        *_epoch_problems(sorting_a, recording_a, "a", settings),
        *_epoch_problems(sorting_b, recording_b, "b", settings),
    ]
    # What is wrong with one recording would only be said again by comparing it.
    problems = problems or list(_differences(recording_a, recording_b))
    if problems:
        raise ValueError("\n  ".join(["link_sortings cannot link these sortings:", *problems]))


def _epoch_problems(
    sorting: BaseSorting, recording: BaseRecording, name: str, settings: LinkingSettings
) -> Iterator[str]:
    sampled, sorted_at = recording.sampling_frequency, sorting.sampling_frequency
    if abs(sorted_at - sampled) > LINKING.max_rate_difference * sampled:
        yield (
            f"sorting_{name} has a sampling frequency of {sorted_at:g} Hz and recording_{name} of {sampled:g} Hz: they "
            "must be equal; pass the recording that was sorted"
        )
    if sorting.get_num_segments() != recording.get_num_segments():
        yield (
            f"sorting_{name} has {sorting.get_num_segments()} segments and recording_{name} "
            f"{recording.get_num_segments()}: they must have as many; pass the recording that was sorted"
        )
    elif has_exceeding_spikes(sorting, recording):
        yield (
            f"sorting_{name} has spikes outside recording_{name}: pass the recording that was sorted, or drop them: "
            "spikeinterface.curation.remove_excess_spikes"
        )
    width = sum(_window(recording, settings))
    longest = max((recording.get_num_samples(index) for index in range(recording.get_num_segments())), default=0)
    if longest < 2 * width:
        yield (
            f"recording_{name} has {longest} samples in its longest segment: twice the {width} of a template are "
            "needed; give more signal, or lower ms_before and ms_after"
        )
    if not recording.has_probe():
        yield (
            f"recording_{name} has no probe: the positions of its contacts are needed; attach it with "
            "recording.set_probe (see probeinterface.get_probe and generate_linear_probe)"
        )
    elif recording.is_probe_3d():
        yield (
            f"recording_{name} has channel locations of 3 coordinates, 2 are allowed: "
            "recording.set_probe(recording.get_probe().to_2d(axes='xy'))"
        )


def _differences(recording_a: BaseRecording, recording_b: BaseRecording) -> Iterator[str]:
    rate_a, rate_b = recording_a.sampling_frequency, recording_b.sampling_frequency
    if abs(rate_a - rate_b) > LINKING.max_rate_difference * rate_a:
        yield (
            f"recording_a has a sampling frequency of {rate_a:g} Hz and recording_b of {rate_b:g} Hz: they must be "
            "equal; resample one (spikeinterface.preprocessing.resample) and its sorting"
        )
    if is_scalable(recording_a) != is_scalable(recording_b):
        named = "recording_b" if is_scalable(recording_a) else "recording_a"
        yield f"{named} has no gains to uV, the other one has: set them (recording.set_channel_gains and _offsets)"
    num_a, num_b = recording_a.get_num_channels(), recording_b.get_num_channels()
    if num_a != num_b:
        yield (
            f"recording_a has {num_a} channels and recording_b {num_b}: they must be the same contacts; choose those "
            "that both have with recording.select_channels"
        )
        return
    distances = np.linalg.norm(recording_a.get_channel_locations() - recording_b.get_channel_locations(), axis=1)
    if distances.max() > LINKING.max_location_difference_um:
        channel = int(distances.argmax())
        yield (
            f"recording_a and recording_b have contacts in different places, up to {distances.max():.1f} um (channel "
            f"{channel}): they must have the same probe and order of channels; reorder with recording.select_channels"
        )


def _window(recording: BaseRecording, settings: LinkingSettings) -> tuple[int, int]:
    """Return the samples of a template before and after its spike."""
    frequency = recording.sampling_frequency
    return nearest_samples(settings.ms_before, frequency), nearest_samples(settings.ms_after, frequency)
