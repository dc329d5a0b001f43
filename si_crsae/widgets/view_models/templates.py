"""Units as they look: waveforms at their contacts, neighbors, firing and amplitudes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int

from si_crsae.evaluation.plots import MIN_DRAWN
from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.convert import nearest_samples
from si_crsae.sorting.results import DRIFT_QUANTILES
from si_crsae.widgets.view_models.moved import atoms_at, displacements_um
from si_crsae.widgets.view_models.unit_activity import (
    Correlogram,
    ThinnedAmplitudes,
    correlogram,
    spikes_of_units,
    thinned_amplitudes,
)
from si_crsae.widgets.view_models.unit_figures import OnProbe, UnitOverview
from si_crsae.widgets.view_models.words import MICRO

# If more were drawn, none could be told from the others.
MAX_DRAWN_UNITS = 12
NUM_NEIGHBORS = 6
MAX_LAG_MS = 0.5
# A contact belongs to the neighborhood of a unit where its waveform has this share of its height.
NEIGHBORHOOD_SHARE = 0.15
NO_UNITS = (
    "The sorting has no units. Look at the recording and the sorter's log, sort again with a lower detect_threshold, "
    "or open another run."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waveforms:
    """Waveforms of some units, one for each contact where there is something to see."""

    unit: Int[np.ndarray, " waveform"]
    channel: Int[np.ndarray, " waveform"]
    num_before: Int[np.ndarray, " waveform"]
    """Samples before the unit's peak, at which units are aligned."""
    values: Float[np.ndarray, "waveform sample"]
    unit_of_measurement: str


class ShowsUnits(Protocol):
    """What a picture of waveforms must know beside them."""

    @property
    def overview(self) -> OnProbe:
        """Names, and where contacts are."""
        ...

    @property
    def drawn(self) -> list[int]:
        """Indices of the units, the leading one first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatesModel:
    """What the template inspector shows of the selected units."""

    overview: UnitOverview
    selected: list[int]
    """Indices of the selected units, the leading one first."""
    drawn: list[int]
    """Those of them that are drawn."""
    sampling_frequency: float
    neighborhood: list[float]
    """Least and largest x, least and largest y of the contacts on which the drawn units are seen (um)."""
    atoms: Waveforms
    templates: Waveforms | None
    """None where the sorting has no mean waveforms."""
    has_moved: bool
    """Whether atoms differ over time, as the tissue moves."""
    at_s: float | None
    """At what time atoms are drawn where the tissue was; None for at rest."""
    displacement_um: list[float]
    """How far up the probe each drawn unit is then."""
    range_um: list[list[float]]
    """Between which displacements each drawn unit fired."""
    neighbors: list[int]
    """Units like the leading one, the most similar first."""
    similarity: list[float]
    """How much each of the neighbors resembles the leading unit, see `nearest_units`."""
    correlograms: list[Correlogram]
    """The leading unit with itself, then with the second one."""
    refractory_ms: float
    amplitudes: ThinnedAmplitudes
    segment_index: int
    num_segments: int
    duration_s: float
    notes: list[str]
    empty: str


def templates_model(
    sorted_recording: SortedRecording,
    overview: UnitOverview,
    *,
    selected: Sequence[int] = (),
    segment_index: int = 0,
    correlogram_ms: float = 50.0,
    at_s: float | None = None,
) -> TemplatesModel:
    """Return what the template inspector shows.

    Parameters
    ----------
    sorted_recording : SortedRecording
    overview : UnitOverview
        What is known of every unit, from `describe_units`; it stays the same while the selection changes.
    selected : sequence of int, default: ()
        Indices of the selected units, the leading one first.
    segment_index : int, default: 0
        Whose amplitudes are shown.
    correlogram_ms : float, default: 50
        Largest lag of the correlograms (ms).
    at_s : float or None, default: None
        Draw atoms where the tissue was at this time of the segment (s); None for at rest.
    """
    drawn = list(selected[:MAX_DRAWN_UNITS])
    at_sample = None if at_s is None else round(at_s * sorted_recording.sampling_frequency)
    atoms, displacement = moved_waveforms(sorted_recording, drawn, segment_index=segment_index, sample=at_sample)
    neighbors, similarity = nearest_units(sorted_recording, drawn[0]) if drawn else ([], [])
    pairs = [(drawn[0], other) for other in drawn[:2]]
    correlograms = [correlogram(sorted_recording, *pair, window_ms=correlogram_ms) for pair in pairs]
    return TemplatesModel(
        overview=overview,
        selected=list(selected),
        drawn=drawn,
        sampling_frequency=sorted_recording.sampling_frequency,
        neighborhood=neighborhood_of(sorted_recording, atoms),
        atoms=atoms,
        templates=template_waveforms(sorted_recording, drawn),
        has_moved=sorted_recording.units.moved.num_places > 0,
        at_s=at_s,
        displacement_um=displacement.tolist(),
        range_um=[_range_um(sorted_recording, unit) for unit in drawn],
        neighbors=neighbors,
        similarity=similarity,
        correlograms=correlograms,
        refractory_ms=ASSUMED.refractory.reported_ms,
        amplitudes=thinned_amplitudes(sorted_recording, drawn, segment_index=segment_index),
        segment_index=segment_index,
        num_segments=len(sorted_recording.num_samples),
        duration_s=sorted_recording.duration_s(segment_index),
        notes=_notes(sorted_recording, selected, drawn, correlograms),
        empty="" if sorted_recording.units.num_units else NO_UNITS,
    )


def atom_waveforms(sorted_recording: SortedRecording, units: Sequence[int]) -> Waveforms:
    """Return whitened atoms times their typical amplitude, where they exceed half a noise standard deviation.

    Parameters
    ----------
    sorted_recording : SortedRecording
    units : sequence of int
        Indices of the units.
    """
    return _seen(sorted_recording, units, sorted_recording.units.atoms[list(units)])


def moved_waveforms(
    sorted_recording: SortedRecording, units: Sequence[int], *, segment_index: int, sample: int | None
) -> tuple[Waveforms, Float[np.ndarray, " unit"]]:
    """Return the same where the tissue was at a sample of a segment, or at rest, and how far up the probe that is (um).

    Parameters
    ----------
    sorted_recording : SortedRecording
    units : sequence of int
        Indices of the units.
    segment_index : int
    sample : int or None
        None for at rest.
    """
    if sample is None:
        return atom_waveforms(sorted_recording, units), np.zeros(len(units))
    atoms, displacement = atoms_at(sorted_recording, units, segment_index=segment_index, sample=sample)
    return _seen(sorted_recording, units, atoms), displacement


def _seen(
    sorted_recording: SortedRecording, units: Sequence[int], atoms: Float[np.ndarray, "unit channel width"]
) -> Waveforms:
    """Return atoms times their units' typical amplitudes, on the channels where that is more than noise."""
    inventory = sorted_recording.units
    waveforms = atoms * inventory.scales[list(units), None, None]
    position, channel = np.nonzero(np.abs(waveforms).max(axis=2) >= MIN_DRAWN)
    unit = np.asarray(units, "int64")[position]
    return Waveforms(
        unit=unit,
        channel=channel,
        num_before=inventory.num_before[unit],
        values=waveforms[position, channel].astype("float32"),
        unit_of_measurement="noise sd",
    )


def _range_um(sorted_recording: SortedRecording, unit: int) -> list[float]:
    """Return the least and the largest displacement at which a unit fired, single spikes left out."""
    displacement = displacements_um(sorted_recording, spikes_of_units(sorted_recording)[unit])
    return np.quantile(displacement, DRIFT_QUANTILES).tolist() if displacement.size else [0.0, 0.0]


def join_waveforms(parts: Sequence[Waveforms]) -> Waveforms:
    """Return waveforms of several units together; at least one part, in the unit of measurement of the first."""
    names = ("unit", "channel", "num_before", "values")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Waveforms(**joined, unit_of_measurement=parts[0].unit_of_measurement)


def template_waveforms(sorted_recording: SortedRecording, units: Sequence[int]) -> Waveforms | None:
    """Return mean waveforms on the channels that the templates say are theirs; None where there are no templates.

    Parameters
    ----------
    sorted_recording : SortedRecording
    units : sequence of int
        Indices of the units; those without a template are left out.
    """
    templates = sorted_recording.templates
    if templates is None:
        return None
    places = {unit_id: place for place, unit_id in enumerate(templates.unit_ids.tolist())}
    channels = {channel_id: place for place, channel_id in enumerate(sorted_recording.channel_ids.tolist())}
    of_channel = np.array([channels.get(channel_id, -1) for channel_id in templates.channel_ids.tolist()], "int64")
    unit_ids = sorted_recording.unit_ids
    known = [unit for unit in units if unit_ids[unit] in places]
    parts = []
    for unit in known:
        waveforms = templates.get_one_template_dense(places[unit_ids[unit]]).T
        there = np.flatnonzero(waveforms.any(axis=1) & (of_channel >= 0))
        parts.append((np.full(there.size, unit), of_channel[there], waveforms[there].astype("float32")))
    nothing = (np.zeros(0, "int64"), np.zeros(0, "int64"), np.zeros((0, templates.num_samples), "float32"))
    unit, channel, values = (np.concatenate(arrays) for arrays in zip(nothing, *parts, strict=True))
    return Waveforms(
        unit=unit,
        channel=channel,
        num_before=np.full(unit.size, templates.nbefore),
        values=values,
        unit_of_measurement=f"{MICRO}V" if templates.is_in_uV else "units of the recording",
    )


def nearest_units(
    sorted_recording: SortedRecording, unit: int, *, num_neighbors: int = NUM_NEIGHBORS
) -> tuple[list[int], list[float]]:
    """Return the units whose atoms look most like that of a unit, and how much they do.

    Parameters
    ----------
    sorted_recording : SortedRecording
    unit : int
        Index of the unit.
    num_neighbors : int, default: 6
        Fewer are returned where fewer have anything in common with the unit.

    Returns
    -------
    neighbors : list of int
        The most similar first.
    similarity : list of float
    """
    similarity = similarity_to(sorted_recording, unit)
    order = np.argsort(-similarity, kind="stable")[:num_neighbors]
    order = order[similarity[order] > 0]
    return order.tolist(), similarity[order].tolist()


def similarity_to(
    sorted_recording: SortedRecording, unit: int, others: Int[np.ndarray, " other"] | None = None
) -> Float[np.ndarray, " other"]:
    """Return how much other units resemble one of them, which has 0 itself.

    The similarity of two atoms is their cosine, in whitened units, at the lag within half a millisecond of their peaks
    that makes it largest, on the channels that the one unit occupies.

    Parameters
    ----------
    sorted_recording : SortedRecording
    unit : int
        Index of the unit.
    others : ndarray of int, shape (other,), optional
        Indices of the other units; all by default.
    """
    inventory = sorted_recording.units
    others = np.arange(inventory.num_units) if others is None else others
    atoms, width = inventory.atoms, inventory.atoms.shape[2]
    used = np.flatnonzero(atoms[unit].any(axis=1))
    reach = min(nearest_samples(MAX_LAG_MS, sorted_recording.sampling_frequency), width)
    apart = inventory.num_before[others] - inventory.num_before[unit]
    lags = np.arange(int(apart.min()) - reach, int(apart.max()) + reach + 1)
    margin = int(np.abs(lags).max())
    padded = np.pad(atoms[unit, used], ((0, 0), (margin, margin)))
    shifted = np.stack([padded[:, margin - lag : margin - lag + width] for lag in lags.tolist()])
    cosines = atoms[np.ix_(others, used)].reshape(others.size, -1) @ shifted.reshape(lags.size, -1).T
    cosines[np.abs(lags - apart[:, None]) > reach] = 0
    similarity = cosines.max(axis=1)
    similarity[others == unit] = 0
    return similarity


def neighborhood_of(sorted_recording: SortedRecording, waveforms: Waveforms) -> list[float]:
    """Return the bounds of the contacts at which some unit has much of its height; of all where there is no unit."""
    heights = np.abs(waveforms.values).max(axis=1, initial=0)
    tallest = np.zeros(int(waveforms.unit.max(initial=-1)) + 1)
    np.maximum.at(tallest, waveforms.unit, heights)
    near = waveforms.channel[heights >= NEIGHBORHOOD_SHARE * tallest[waveforms.unit]]
    places = sorted_recording.locations[near] if near.size else sorted_recording.locations
    (left, bottom), (right, top) = places.min(axis=0).tolist(), places.max(axis=0).tolist()
    return [left, right, bottom, top]


def _notes(
    sorted_recording: SortedRecording, selected: Sequence[int], drawn: list[int], correlograms: list[Correlogram]
) -> list[str]:
    notes = list(sorted_recording.missing)
    if len(selected) > len(drawn):
        notes.append(f"the first {len(drawn)} of the {len(selected)} selected units are drawn")
    mute = [unit for unit in drawn if not sorted_recording.units.atoms[unit].any()]
    if mute:
        names = ", ".join(str(sorted_recording.unit_ids[unit]) for unit in mute)
        notes.append(f"unit {names} has no waveform: give the recording to `open_session`")
    if any(one.is_sampled for one in correlograms):
        notes.append("the correlograms are of a part of the spikes, in stretches spread over the recording")
    return notes
