"""One missed, false or matched spike: what the traces show there and which other units fired."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.convert import nearest_samples, whole_samples
from si_crsae.widgets.view_models.comparison import (
    OVERLAP_MS,
    OWN_REACH_MS,
    AgreementMatrix,
    PairModel,
    SpikeList,
    TemplatePair,
    lag_histogram,
    summarize_list,
    template_pair,
)
from si_crsae.widgets.view_models.matching import NOBODY
from si_crsae.widgets.view_models.residuals import traces_and_residual
from si_crsae.widgets.view_models.sides import sides_of
from si_crsae.widgets.view_models.words import counted

SNIPPET_MS = 2.0
NUM_SNIPPET_CHANNELS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """Traces around a spike on the main channels of its pair, and the tested sorting's residual."""

    start_ms: float
    """Time of the first sample from the spike on."""
    step_ms: float
    channels: list[str]
    traces: Float[np.ndarray, "channel sample"]
    """Whitened (noise standard deviations), like the residual."""
    residual: Float[np.ndarray, "channel sample"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeModel:
    """The present spike of a list."""

    time_s: float
    segment_index: int
    text: list[str]
    mark_ms: Float[np.ndarray, " mark"]
    """When units fired around the spike, from it on."""
    mark_unit: Int[np.ndarray, " mark"]
    mark_is_true: Int[np.ndarray, " mark"]
    """1 for units of the truth, 0 for tested ones."""
    snippet: Snippet | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonModel:
    """A pair of units and the present one of its spikes; all units are in the `AgreementMatrix`."""

    truth_name: str
    tested_name: str
    truth_unit: int
    """Index, as in the matrix."""
    tested_unit: int
    delta_ms: float
    num_listed: dict[str, int]
    accuracy: float
    recall: float
    precision: float
    templates: TemplatePair | None
    lag_counts: Int[np.ndarray, " bin"]
    lag_edges_ms: Float[np.ndarray, " edge"]
    listed: str
    position: int
    summary: str
    spike: SpikeModel | None
    notes: list[str]
    empty: str


def nothing_to_compare(tested: SortedRecording, truth: SortedRecording | None) -> str:
    """Return why two sortings cannot be compared and what to do; empty if they can."""
    if truth is None:
        return (
            "There is nothing to compare with. Give the known spikes, or another sorting of the recording: "
            "open_session(folder, truth=sorting)"
        )
    if not tested.unit_ids:
        missed = counted(truth.units.spikes.size, "spike")
        return f"{tested.name} has no units: all {missed} of {truth.name} are missed."
    if not truth.unit_ids:
        false = counted(tested.units.spikes.size, "spike")
        return f"{truth.name} has no units: all {false} of {tested.name} count as false."
    return ""


def empty_comparison(reason: str) -> ComparisonModel:
    """Return what is shown where there is nothing to compare."""
    return ComparisonModel(
        truth_name="",
        tested_name="",
        truth_unit=NOBODY,
        tested_unit=NOBODY,
        delta_ms=0.0,
        num_listed={},
        accuracy=0.0,
        recall=0.0,
        precision=0.0,
        templates=None,
        lag_counts=np.zeros(0, "int64"),
        lag_edges_ms=np.zeros(1),
        listed="missed",
        position=0,
        summary="",
        spike=None,
        notes=[],
        empty=reason,
    )


def comparison_model(
    tested: SortedRecording,
    truth: SortedRecording,
    matrix: AgreementMatrix,
    pair: PairModel,
    *,
    listed: str,
    position: int,
) -> ComparisonModel:
    """Return what the comparison shows of a pair of units.

    Parameters
    ----------
    tested, truth : SortedRecording
    matrix : AgreementMatrix
    pair : PairModel
    listed : {"missed", "false", "matched"}
        Which of the pair's spikes are browsed.
    position : int
        Which of them is shown; beyond the ends the last or first one.
    """
    spikes = pair.lists[listed]
    position = min(max(position, 0), max(spikes.size - 1, 0))
    delta = whole_samples(matrix.delta_ms, tested.sampling_frequency)
    counts, edges = lag_histogram(pair.lists["matched"].lag, delta=delta, sampling_frequency=tested.sampling_frequency)
    has_waveforms = tested.units.atoms.any() or truth.units.atoms.any()
    return ComparisonModel(
        truth_name=truth.name,
        tested_name=tested.name,
        truth_unit=pair.truth_unit,
        tested_unit=pair.tested_unit,
        delta_ms=matrix.delta_ms,
        num_listed={name: entries.size for name, entries in pair.lists.items()},
        accuracy=pair.accuracy,
        recall=pair.recall,
        precision=pair.precision,
        templates=template_pair(tested, truth, pair) if has_waveforms else None,
        lag_counts=counts,
        lag_edges_ms=edges,
        listed=listed,
        position=position,
        summary=summarize_list(pair, listed, delta_ms=matrix.delta_ms, sides=matrix.sides) if spikes.size else "",
        spike=spike_model(tested, truth, pair, listed, position, delta_ms=matrix.delta_ms) if spikes.size else None,
        notes=list(dict.fromkeys(tested.missing + truth.missing)),
        empty="",
    )


def spike_model(
    tested: SortedRecording,
    truth: SortedRecording,
    pair: PairModel,
    listed: str,
    position: int,
    *,
    delta_ms: float,
) -> SpikeModel:
    """Return one spike of a list, with the traces around it and what is to be said about it."""
    spikes = pair.lists[listed]
    segment_index, sample = int(spikes.segment_index[position]), int(spikes.sample_index[position])
    frequency = tested.sampling_frequency
    reach = nearest_samples(SNIPPET_MS, frequency)
    marks = [_marks(sorting, segment_index, sample, reach) for sorting in (truth, tested)]
    return SpikeModel(
        time_s=sample / frequency,
        segment_index=segment_index,
        text=describe_spike(tested, truth, pair, listed, position, delta_ms=delta_ms),
        mark_ms=np.concatenate([lag for lag, _ in marks]) * (1000 / frequency),
        mark_unit=np.concatenate([unit for _, unit in marks]),
        mark_is_true=np.repeat([1, 0], [lag.size for lag, _ in marks]),
        snippet=_snippet(tested, truth, pair, segment_index, sample),
    )


def describe_spike(
    tested: SortedRecording,
    truth: SortedRecording,
    pair: PairModel,
    listed: str,
    position: int,
    *,
    delta_ms: float,
) -> list[str]:
    """Return sentences on why a spike is missed or false, and which other units fired."""
    spikes = pair.lists[listed]
    said = _Neighbors(spikes=spikes, position=position, frequency=tested.sampling_frequency)
    sides, within = sides_of(tested, truth), f"unit within {OVERLAP_MS:g} ms."
    true_id, tested_id = truth.unit_ids[pair.truth_unit], tested.unit_ids[pair.tested_unit]
    overlapping, taken = said.of(truth, spikes.other_true), said.of(tested, spikes.other_tested)
    overlap = f"Overlapping: {sides.true} {overlapping}." if overlapping else f"No other {sides.true} {within}"
    nobody = f"unit fired within {delta_ms:g} ms."
    if listed == "missed":
        lines = [f"Taken by {taken}." if taken else f"No {sides.tested} {nobody}", overlap]
        near = said.of(tested, spikes.own)
        return [*lines, f"{_begin(sides.tested)} unit {tested_id} itself: {near}."] if near else lines
    if listed == "false":
        lines = [f"A spike of {sides.true} {overlapping}." if overlapping else f"No {sides.true} {nobody}"]
        near = said.of(truth, spikes.own)
        lines += [f"{_begin(sides.true)} unit {true_id} itself, {OWN_REACH_MS:g} ms around: {near}."] if near else []
        return lines + _of_event(tested, int(spikes.spike[position]))
    lag_ms = 1000 * spikes.lag[position] / tested.sampling_frequency
    lines = [f"{_begin(sides.tested)} unit {tested_id} fired {_later(lag_ms)}.", overlap]
    event = int(spikes.own[position])
    return lines + (_of_event(tested, event) if event != NOBODY else [])


def _begin(word: str) -> str:
    """Return a word as it begins a sentence."""
    return word[:1].upper() + word[1:]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Neighbors:
    """Says who fired near a spike of a list, and when."""

    spikes: SpikeList
    position: int
    frequency: float

    def of(self, source: SortedRecording, nearest: Int[np.ndarray, " spike"]) -> str:
        index = int(nearest[self.position])
        if index == NOBODY:
            return ""
        other = source.units.spikes[index]
        lag_ms = 1000 * (int(other["sample_index"]) - int(self.spikes.sample_index[self.position])) / self.frequency
        return f"unit {source.unit_ids[int(other['unit_index'])]}, {_later(lag_ms)}"


def _later(lag_ms: float) -> str:
    if lag_ms == 0:
        return "at the same sample"
    return f"{abs(lag_ms):.2f} ms {'later' if lag_ms > 0 else 'earlier'}"


def _of_event(tested: SortedRecording, event: int) -> list[str]:
    """Return amplitude and probability of a tested spike, where they are known."""
    units = tested.units
    lines = []
    if tested.min_amplitude.any():
        relative = units.amplitude[event] / units.scales[units.spikes["unit_index"][event]]
        lines.append(f"Amplitude {relative:.2f} of the unit's usual one.")
    if tested.posterior is not None:
        lines.append(f"Probability {float(tested.posterior.probability[event]):.2f}.")
    return lines


def _marks(
    sorting: SortedRecording, segment_index: int, sample: int, reach: int
) -> tuple[Int[np.ndarray, " mark"], Int[np.ndarray, " mark"]]:
    """Return lags and units of all spikes near a sample."""
    spikes = sorting.units.spikes
    first, last = np.searchsorted(spikes["segment_index"], [segment_index, segment_index + 1])
    near = first + np.arange(*np.searchsorted(spikes["sample_index"][first:last], [sample - reach, sample + reach + 1]))
    return spikes["sample_index"][near] - sample, spikes["unit_index"][near]


def _snippet(
    tested: SortedRecording, truth: SortedRecording, pair: PairModel, segment_index: int, sample: int
) -> Snippet | None:
    """Return traces and residual on the channels where the units of a pair are largest, from bottom to top."""
    reach = nearest_samples(SNIPPET_MS, tested.sampling_frequency)
    start, end = max(sample - reach, 0), min(sample + reach + 1, tested.num_samples[segment_index])
    layers = traces_and_residual(tested, segment_index=segment_index, start=start, end=end)
    if layers is None:
        return None
    heights = np.maximum(
        truth.units.scales[pair.truth_unit] * np.abs(truth.units.atoms[pair.truth_unit]).max(axis=1),
        tested.units.scales[pair.tested_unit] * np.abs(tested.units.atoms[pair.tested_unit]).max(axis=1),
    )
    largest = np.argsort(-heights, kind="stable")[:NUM_SNIPPET_CHANNELS]
    channels = largest[np.lexsort((tested.locations[largest, 0], tested.locations[largest, 1]))]
    step_ms = 1000 / tested.sampling_frequency
    return Snippet(
        start_ms=(start - sample) * step_ms,
        step_ms=step_ms,
        channels=[str(channel_id) for channel_id in tested.channel_ids[channels]],
        traces=layers[0][:, channels].T,
        residual=layers[1][:, channels].T,
    )
