"""What the feature view shows of the selected units: their spikes as points, single waveforms, intervals and rate."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.widgets.view_models.spike_features import FeatureSpace, Snippets, channels_of
from si_crsae.widgets.view_models.spike_list import ListedSpikes, listed_spikes
from si_crsae.widgets.view_models.templates import NO_UNITS
from si_crsae.widgets.view_models.unit_activity import (
    ThinnedAmplitudes,
    spike_times_s,
    spikes_in_segment,
    spikes_of_units,
    thinned_amplitudes,
)

MAX_DRAWN_UNITS = 4
# On which single waveforms are drawn, and how many of each unit.
NUM_WAVEFORM_CHANNELS = 3
NUM_SINGLE = 40
INTERVAL_MS, NUM_INTERVAL_BINS = 50.0, 50
NUM_RATE_BINS = 60
FEATURE_LABELS = {"pc1": "PC 1", "pc2": "PC 2", "pc3": "PC 3", "depth": "depth (µm)"}
NO_TRACES = "There are no traces: principal components, depths and single waveforms need the recording."


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikePoints:
    """Spikes of which the waveforms were read."""

    unit: Int[np.ndarray, " spike"]
    time_s: Float[np.ndarray, " spike"]
    features: dict[str, Float[np.ndarray, " spike"]]
    """By the name in FEATURE_LABELS."""
    is_inside: Bool[np.ndarray, " spike"]
    """Whether the lasso has caught it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleWaveforms:
    """Some whitened waveforms of each unit, and the mean of those that were read."""

    channel_ids: list[str]
    unit: Int[np.ndarray, " spike"]
    is_inside: Bool[np.ndarray, " spike"]
    values: Float[np.ndarray, "spike channel sample"]
    means: Float[np.ndarray, "unit channel sample"]
    """Of the drawn units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasso:
    """What was caught of the spikes of the leading unit.

    Parameters
    ----------
    x, y : str
        What was across and up: "time", "amplitude" or a feature.
    corners : list of pairs of float
    inside : ndarray of int64, shape (spike,)
        Positions among all spikes of the sorting.
    """

    x: str
    y: str
    corners: list[list[float]]
    inside: Int[np.ndarray, " spike"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesModel:
    """What the feature view shows."""

    unit_ids: list[str]
    """Of all units."""
    selected: list[int]
    drawn: list[int]
    labels: dict[str, str]
    points: SpikePoints
    amplitudes: ThinnedAmplitudes
    is_inside: Bool[np.ndarray, " spike"]
    """Of the amplitudes: whether the lasso has caught it."""
    waveforms: SingleWaveforms
    sampling_frequency: float
    interval_edges_ms: Float[np.ndarray, " edge"]
    intervals: Int[np.ndarray, "unit bin"]
    refractory_ms: float
    rate_edges_s: Float[np.ndarray, " edge"]
    rates_hz: Float[np.ndarray, "unit bin"]
    spikes: ListedSpikes
    lasso: list[list[float]]
    """Its corners; empty if there is none."""
    lasso_axes: list[str]
    num_inside: int
    num_of_leading: int
    read_of_leading: int
    """Of these, of which the waveforms are drawn as points."""
    duration_s: float
    segment_index: int
    num_segments: int
    notes: list[str]
    empty: str


def features_model(
    sorted_recording: SortedRecording,
    snippets: Mapping[int, Snippets],
    space: FeatureSpace | None,
    *,
    selected: Sequence[int],
    segment_index: int = 0,
    lasso: Lasso | None = None,
    sort: tuple[str, bool] = ("time", False),
) -> FeaturesModel:
    """Return what the feature view shows.

    Parameters
    ----------
    sorted_recording : SortedRecording
    snippets : mapping of int to Snippets
        By unit, of those that are drawn.
    space : FeatureSpace or None
        None where there are no traces, or too few spikes.
    selected : sequence of int
        Indices of the selected units, the leading one first.
    segment_index : int, default: 0
    lasso : Lasso or None, default: None
    sort : tuple of str and bool, default: ("time", False)
        By which column spikes are listed, and whether the largest comes first.
    """
    drawn = list(selected[:MAX_DRAWN_UNITS])
    inside = np.zeros(0, "int64") if lasso is None else lasso.inside
    amplitudes = thinned_amplitudes(sorted_recording, drawn, segment_index=segment_index)
    edges_ms = np.linspace(0, INTERVAL_MS, NUM_INTERVAL_BINS + 1)
    duration_s = sorted_recording.duration_s(segment_index)
    rate_edges_s = np.linspace(0, duration_s, NUM_RATE_BINS + 1)
    trains = [
        spike_times_s(sorted_recording, spikes_in_segment(sorted_recording, unit, segment_index)) for unit in drawn
    ]
    notes = list(sorted_recording.missing)
    if space is None and drawn:
        notes.append(NO_TRACES if sorted_recording.whitened is None else "too few spikes for principal components")
    if len(selected) > len(drawn):
        notes.append(f"the first {len(drawn)} of the {len(selected)} selected units are drawn")
    return FeaturesModel(
        unit_ids=[str(unit_id) for unit_id in sorted_recording.unit_ids],
        selected=list(selected),
        drawn=drawn,
        labels=FEATURE_LABELS if space is not None else {},
        points=_points(sorted_recording, [snippets[unit] for unit in drawn if space is not None], space, inside),
        amplitudes=amplitudes,
        is_inside=np.isin(amplitudes.spike, inside),
        waveforms=_single_waveforms(sorted_recording, [snippets[unit] for unit in drawn if unit in snippets], inside),
        sampling_frequency=sorted_recording.sampling_frequency,
        interval_edges_ms=edges_ms,
        intervals=_stacked(np.histogram(1000 * np.diff(train), edges_ms)[0] for train in trains),
        refractory_ms=ASSUMED.refractory.reported_ms,
        rate_edges_s=rate_edges_s,
        rates_hz=_stacked(np.histogram(train, rate_edges_s)[0] * NUM_RATE_BINS / duration_s for train in trains),
        spikes=listed_spikes(sorted_recording, drawn, segment_index=segment_index, sort=sort),
        lasso=[] if lasso is None else lasso.corners,
        lasso_axes=[] if lasso is None else [lasso.x, lasso.y],
        num_inside=inside.size,
        num_of_leading=spikes_of_units(sorted_recording)[drawn[0]].size if drawn else 0,
        read_of_leading=snippets[drawn[0]].spikes.size if drawn and space is not None else 0,
        duration_s=duration_s,
        segment_index=segment_index,
        num_segments=len(sorted_recording.num_samples),
        notes=notes,
        empty="" if sorted_recording.units.num_units else NO_UNITS,
    )


def _stacked(rows: Iterable[np.ndarray]) -> np.ndarray:
    found = list(rows)
    return np.stack(found) if found else np.zeros((0, 1))


def _points(
    sorted_recording: SortedRecording, snippets: list[Snippets], space: FeatureSpace | None, inside: np.ndarray
) -> SpikePoints:
    spikes = np.concatenate([one.spikes for one in snippets] or [np.zeros(0, "int64")])
    features = [space.of(one) for one in snippets] if space is not None else []
    return SpikePoints(
        unit=sorted_recording.units.spikes["unit_index"][spikes],
        time_s=spike_times_s(sorted_recording, spikes),
        features={
            name: np.concatenate([one[name] for one in features]).astype("float32")
            for name in (FEATURE_LABELS if features else ())
        },
        is_inside=np.isin(spikes, inside),
    )


def _single_waveforms(
    sorted_recording: SortedRecording, snippets: list[Snippets], inside: np.ndarray
) -> SingleWaveforms:
    """Return waveforms on the channels where the leading unit is largest, which come first in every snippet."""
    if not snippets:
        nothing = np.zeros((0, 1, 1), "float32")
        no_spikes = np.zeros(0, "int64")
        return SingleWaveforms(channel_ids=[], unit=no_spikes, is_inside=no_spikes > 0, values=nothing, means=nothing)
    chosen = [np.linspace(0, len(one.spikes) - 1, min(NUM_SINGLE, len(one.spikes))).astype(int) for one in snippets]
    spikes = np.concatenate([one.spikes[kept] for one, kept in zip(snippets, chosen, strict=True)])
    values = [one.values[:, :NUM_WAVEFORM_CHANNELS] for one in snippets]
    leading = sorted_recording.units.spikes["unit_index"][snippets[0].spikes[:1]]
    channels = channels_of(sorted_recording, int(leading[0]))[:NUM_WAVEFORM_CHANNELS] if leading.size else []
    return SingleWaveforms(
        channel_ids=[str(sorted_recording.channel_ids[channel]) for channel in channels],
        unit=sorted_recording.units.spikes["unit_index"][spikes],
        is_inside=np.isin(spikes, inside),
        values=np.concatenate([one[kept] for one, kept in zip(values, chosen, strict=True)]),
        means=np.stack([one.mean(axis=0) if len(one) else np.zeros(one.shape[1:], "float32") for one in values]),
    )
