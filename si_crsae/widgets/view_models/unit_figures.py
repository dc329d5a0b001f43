"""What is known of every unit, for lists and tables: place, size, rate and expected errors."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.widgets.view_models.words import MICRO

MAX_UNITS_AT_CONTACT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFigure:
    """A number of every unit; NaN where it is unknown."""

    name: str
    label: str
    unit: str
    """Unit of measurement; empty for a ratio."""
    hint: str
    is_listed: bool
    """Whether it is shown in the list of all units, not only for the selected ones."""
    values: Float[np.ndarray, " unit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitText:
    """A word about every unit."""

    label: str
    values: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnProbe:
    """The probe, and what the units on it are called."""

    unit_ids: list[str]
    channel_ids: list[str]
    locations: Float[np.ndarray, "channel 2"]
    pitch: list[float]
    """Smallest distances of contacts across and along the probe (um)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitOverview(OnProbe):
    """What does not depend on the selection: the probe and one number or word for each unit."""

    main_channel: Int[np.ndarray, " unit"]
    units_at_contact: Int[np.ndarray, "channel rank"]
    """Units by the height of their atom at a contact, the largest first; -1 where there are no more."""
    figures: list[UnitFigure]
    texts: list[UnitText]


# Property, label, unit of measurement, factor, whether it is in the list of all units, what it means.
_PROPERTIES = (
    ("probability_good", "good", "%", 100, True, "how probably it is one well isolated neuron"),
    ("probability_noise", "noise", "%", 100, False, "how probably most of its spikes are of no neuron"),
    ("snr", "SNR", "", 1, True, "height of the template over the noise of its main channel"),
    ("atom_snr", "atom SNR", "", 1, False, "size of the whitened atom over the noise of its amplitudes"),
    ("amplitude_median", "median amplitude", "", 1, False, "in units of the unit's typical amplitude"),
    ("amplitude_cv", "amplitude spread", "%", 100, False, "standard deviation over mean"),
    ("refractory_violations", "intervals < 1.5 ms", "%", 100, False, "share of intervals in the refractory period"),
    ("expected_false_positive_rate", "false spikes", "%", 100, True, "expected share of spikes of something else"),
    ("expected_missed_rate", "missed spikes", "%", 100, False, "expected share of the neuron's spikes not found"),
)
_TEXTS = (("quality", "quality"), ("main_channel_id", "main channel"), ("group", "group"))


def describe_units(sorted_recording: SortedRecording) -> UnitOverview:
    """Return what can be said of the units of a sorting without selecting one.

    Depth, rate and number of spikes are always there; the other figures are properties of the sorting.

    Parameters
    ----------
    sorted_recording : SortedRecording
    """
    units, sorting = sorted_recording.units, sorted_recording.sorting
    known = sorting.get_property_keys()
    texts = [
        UnitText(label=label, values=[str(value) for value in sorting.get_property(name)])
        for name, label in _TEXTS
        if name in known
    ]
    if "main_channel_id" not in known and units.num_units:
        main_ids = sorted_recording.channel_ids[units.main_channel]
        texts.append(UnitText(label="main channel", values=[str(channel_id) for channel_id in main_ids]))
    return UnitOverview(
        unit_ids=[str(unit_id) for unit_id in sorted_recording.unit_ids],
        channel_ids=[str(channel_id) for channel_id in sorted_recording.channel_ids],
        locations=sorted_recording.locations.astype("float32"),
        pitch=pitch_of(sorted_recording.locations),
        main_channel=units.main_channel,
        units_at_contact=units_at_contacts(sorted_recording),
        figures=_always_known(sorted_recording) + _properties(sorted_recording),
        texts=texts,
    )


def pitch_of(locations: Float[np.ndarray, "channel 2"]) -> list[float]:
    """Return the smallest distances of two columns and of two rows of contacts (um); 1 where there is but one."""
    apart = [np.diff(np.unique(np.round(locations[:, axis], 1))) for axis in (0, 1)]
    return [float(distances.min()) if distances.size else 1.0 for distances in apart]


def units_at_contacts(sorted_recording: SortedRecording) -> Int[np.ndarray, "channel rank"]:
    """Return for each contact the units whose waveforms are largest there, as indices, filled up with -1.

    Parameters
    ----------
    sorted_recording : SortedRecording
    """
    units, num_channels = sorted_recording.units, sorted_recording.channel_ids.size
    found = np.full((num_channels, MAX_UNITS_AT_CONTACT), -1)
    if units.num_units == 0:
        return found
    heights = np.abs(units.atoms).max(axis=2) * units.scales[:, None]
    order = np.argsort(-heights, axis=0, kind="stable")[:MAX_UNITS_AT_CONTACT]
    is_there = np.take_along_axis(heights, order, axis=0) > 0
    found[:, : len(order)] = np.where(is_there, order, -1).T
    return found


def searched_s(sorted_recording: SortedRecording) -> Float[np.ndarray, " unit"]:
    """Return in how much of the recording each unit was looked for (s): a run knows what was silent or excluded."""
    units = sorted_recording.units
    total_s = max(sum(sorted_recording.num_samples) / sorted_recording.sampling_frequency, 1e-9)
    counts = np.bincount(units.spikes["unit_index"], minlength=units.num_units)[: units.num_units]
    rates = sorted_recording.sorting.get_property("firing_rate") if sorted_recording.folder is not None else None
    if rates is None:
        return np.full(units.num_units, total_s)
    return np.where(counts > 0, counts / np.where(rates > 0, rates, 1), total_s)


def _always_known(sorted_recording: SortedRecording) -> list[UnitFigure]:
    units = sorted_recording.units
    counts = np.bincount(units.spikes["unit_index"], minlength=units.num_units)[: units.num_units]
    rates = counts / searched_s(sorted_recording)
    columns = (
        ("depth", "depth", f"{MICRO}m", "place of the main channel along the probe", _depths(sorted_recording)),
        ("firing_rate", "rate", "Hz", "spikes over the time in which units are looked for", rates),
        ("num_spikes", "spikes", "", "number of spikes", counts),
    )
    return [
        UnitFigure(name=name, label=label, unit=unit, hint=hint, is_listed=True, values=np.asarray(values, "float32"))
        for name, label, unit, hint, values in columns
    ]


def _depths(sorted_recording: SortedRecording) -> Float[np.ndarray, " unit"]:
    return sorted_recording.locations[sorted_recording.units.main_channel, 1]


def _properties(sorted_recording: SortedRecording) -> list[UnitFigure]:
    """Return the properties that are one number for each unit."""
    sorting = sorted_recording.sorting
    found = {name: np.asarray(sorting.get_property(name)) for name in sorting.get_property_keys()}
    known = {name: values for name, values in found.items() if values.ndim == 1 and values.dtype.kind in "fiub"}
    return [
        UnitFigure(
            name=name,
            label=label,
            unit=unit,
            hint=hint,
            is_listed=is_listed,
            values=known[name].astype("float32") * np.float32(factor),
        )
        for name, label, unit, factor, is_listed, hint in _PROPERTIES
        if name in known
    ]
