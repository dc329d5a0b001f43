"""Pairs of units that may be one and units that deserve a label, each with its reason in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from spikeinterface.core import BaseSorting

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.convert import samples_in
from si_crsae.widgets.view_models.curation_state import CurationState, LabelDefinition
from si_crsae.widgets.view_models.templates import similarity_to
from si_crsae.widgets.view_models.unit_activity import spikes_of_units
from si_crsae.widgets.view_models.words import counted

REFRACTORY_MS = ASSUMED.refractory.reported_ms
MIN_SIMILARITY = 0.75
# From here on units are alike enough to be one without a gap in their cross-correlogram.
MIN_SIMILARITY_ALONE = 0.9
MAX_SIZE_RATIO = 1.5
# Lags, in ms, that tell how often two spikes would be close together by chance.
CHANCE_FROM_MS, CHANCE_TO_MS = 5.0, 25.0
MIN_EXPECTED = 5.0
MAX_GAP, MIN_CHANCE = 0.5, 0.8
MAX_FALSE_RATE = 0.2
MAX_VIOLATIONS = 0.01
MIN_VIOLATIONS = 5
MIN_SPIKES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Something worth a look, with what might be done."""

    kind: Literal["merge", "label"]
    unit_ids: tuple[int | str, ...]
    reason: str
    score: float
    """How urgent: among suggestions of a kind, the largest comes first."""
    value: str = ""
    """The label that is proposed; empty where only a look is."""


def suggest(sorted_recording: SortedRecording) -> list[Suggestion]:
    """Return what is worth a look: merges first, the most urgent of a kind first.

    Two units may be one if their atoms look alike at some lag and their spikes avoid each other as those of one neuron
    do, or if they look very much alike, are of similar size and nothing speaks against it. A unit deserves a label if
    the sorter gives it another than "good", many of its spikes are expected to be false, or come too close together,
    and a look if there are few.

    Parameters
    ----------
    sorted_recording : SortedRecording
    """
    times = _times_by_unit(sorted_recording)
    merges = sorted(_merges(sorted_recording, times), key=lambda found: -found.score)
    labels = sorted(_labels(sorted_recording, times), key=lambda found: -found.score)
    return merges + labels


def is_open(suggestion: Suggestion, state: CurationState) -> bool:
    """Return whether a suggestion can still be followed, nothing of the kind having been decided."""
    unit_ids = suggestion.unit_ids
    if any(unit_id in state.removed for unit_id in unit_ids):
        return False
    if suggestion.kind == "label":
        return not state.labels_of(unit_ids[0])
    groups = [state.merge_of(unit_id) for unit_id in unit_ids]
    is_merged = groups[0] is not None and groups.count(groups[0]) == len(groups)
    return not is_merged and not any(state.split_of(unit_id) for unit_id in unit_ids)


def label_called(definitions: Sequence[LabelDefinition], value: str) -> tuple[str, str] | None:
    """Return category and label of a name, in whatever case; None where there is no such label."""
    found = (
        (definition.name, option)
        for definition in definitions
        for option in definition.options
        if option.casefold() == value.casefold()
    )
    return next(found, None)


def _times_by_unit(sorted_recording: SortedRecording) -> list[Int[np.ndarray, " spike"]]:
    """Return when each unit fires (samples), segments far apart."""
    spikes = sorted_recording.units.spikes
    apart = max(sorted_recording.num_samples, default=0) + round(sorted_recording.sampling_frequency)
    times = spikes["sample_index"] + spikes["segment_index"] * apart
    return [np.sort(times[mine]) for mine in spikes_of_units(sorted_recording)]


def _merges(sorted_recording: SortedRecording, times: list[Int[np.ndarray, " spike"]]) -> Iterator[Suggestion]:
    for pair, similarity in _similar_pairs(sorted_recording):
        found = _merge(sorted_recording, times, pair, similarity)
        if found is not None:
            yield found


def _similar_pairs(sorted_recording: SortedRecording) -> Iterator[tuple[tuple[int, int], float]]:
    """Return the pairs of units whose atoms are similar at their best lag, and how much."""
    inventory = sorted_recording.units
    norms = np.linalg.norm(inventory.atoms, axis=2)
    # by Cauchy and Schwarz, channel by channel, no lag makes them more similar than this
    possible = np.triu(norms @ norms.T, 1) >= MIN_SIMILARITY
    for unit in np.flatnonzero(possible.any(axis=1)).tolist():
        others = np.flatnonzero(possible[unit])
        similarities = similarity_to(sorted_recording, unit, others)
        alike = np.flatnonzero(similarities >= MIN_SIMILARITY)
        for place in alike[np.argsort(-similarities[alike], kind="stable")].tolist():
            yield (unit, int(others[place])), float(similarities[place])


def _merge(
    sorted_recording: SortedRecording,
    times: list[Int[np.ndarray, " spike"]],
    pair: tuple[int, int],
    similarity: float,
) -> Suggestion | None:
    """Return why two similar units might be one; None if nothing speaks for it, or their spikes against it."""
    frequency = sorted_recording.sampling_frequency
    first, second = (times[unit] for unit in pair)
    close = _num_close(first, second, samples_in(REFRACTORY_MS, frequency))
    around = [_num_close(first, second, samples_in(lag, frequency)) for lag in (CHANCE_FROM_MS, CHANCE_TO_MS)]
    expected = (around[1] - around[0]) * REFRACTORY_MS / (CHANCE_TO_MS - CHANCE_FROM_MS)
    sizes = sorted_recording.units.scales[list(pair)].tolist()
    ratio = close / expected if expected >= MIN_EXPECTED else None
    has_gap = ratio is not None and ratio < MAX_GAP
    is_alike = similarity >= MIN_SIMILARITY_ALONE and max(sizes) <= MAX_SIZE_RATIO * min(sizes)
    if not has_gap and (not is_alike or (ratio is not None and ratio > MIN_CHANCE)):
        return None
    reason = f"their atoms are alike (cosine {similarity:.2f})"
    if ratio is not None:
        reason += f", {close} pairs of spikes lie within {REFRACTORY_MS:g} ms where chance makes {expected:.0f}"
    if not has_gap:
        reason += f", and so are their sizes ({sizes[0]:.1f} and {sizes[1]:.1f} noise sd)"
    return Suggestion(
        kind="merge",
        unit_ids=tuple(sorted_recording.unit_ids[unit] for unit in pair),
        reason=reason,
        score=similarity + (1 - ratio if ratio is not None else 0.0),
    )


def _num_close(first: Int[np.ndarray, " spike"], second: Int[np.ndarray, " other"], lag: float) -> int:
    """Return how many pairs of spikes lie within a lag."""
    return int(np.sum(np.searchsorted(second, first + lag, "right") - np.searchsorted(second, first - lag, "left")))


def _labels(sorted_recording: SortedRecording, times: list[Int[np.ndarray, " spike"]]) -> Iterator[Suggestion]:
    sorting, limit = sorted_recording.sorting, samples_in(REFRACTORY_MS, sorted_recording.sampling_frequency)
    known = sorting.get_property("expected_false_positive_rate")
    false = np.zeros(len(times)) if known is None else np.nan_to_num(np.asarray(known, "float64"))
    quality, good, noise = _quality_of(sorting)
    for unit, mine in enumerate(times):
        intervals = np.diff(mine)
        num_short = int(np.sum(intervals < limit))
        share = num_short / max(intervals.size, 1)
        reasons = []
        if quality[unit] == "noise":
            reasons.append(f"with a probability of {noise[unit]:.0%}, most of its spikes are of no neuron")
        elif quality[unit] == "mua":
            reasons.append(f"with a probability of {1 - good[unit]:.0%}, it is not one well isolated neuron")
        if false[unit] > MAX_FALSE_RATE:
            reasons.append(f"{false[unit]:.0%} of its spikes are expected to be of something else")
        if share > MAX_VIOLATIONS and num_short >= MIN_VIOLATIONS:
            reasons.append(f"{share:.1%} of its intervals are shorter than {REFRACTORY_MS:g} ms")
        if mine.size < MIN_SPIKES:
            reasons.append(f"it has {counted(mine.size, 'spike')}, too few to judge it by")
        if reasons:
            yield Suggestion(
                kind="label",
                unit_ids=(sorted_recording.unit_ids[unit],),
                reason="; ".join(reasons),
                score=float(false[unit]) + share + float(mine.size < MIN_SPIKES) + float(1 - good[unit]),
                value=_proposed_label(quality[unit], mine.size),
            )


def _proposed_label(quality: str, num_spikes: int) -> str:
    if quality == "noise":
        return "noise"
    return "" if num_spikes < MIN_SPIKES else "MUA"  # few spikes are no reason to call a neuron noise


def _quality_of(sorting: BaseSorting) -> tuple[list[str], Float[np.ndarray, " unit"], Float[np.ndarray, " unit"]]:
    """Return each unit's label, and how probably it is good, or noise; good where the sorter gives none."""
    known = sorting.get_property("quality")
    if known is None:
        return ["good"] * sorting.get_num_units(), np.ones(sorting.get_num_units()), np.zeros(sorting.get_num_units())
    good, noise = (np.asarray(sorting.get_property(f"probability_{label}")) for label in ("good", "noise"))
    return known.tolist(), good, noise
