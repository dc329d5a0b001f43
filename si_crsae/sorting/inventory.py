"""The units of all groups of channels, under one numbering."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from spikeinterface.core import BaseRecording
from spikeinterface.core.base import minimum_spike_dtype

from si_crsae.core.tables import concatenate_rows, select_rows
from si_crsae.sorting.drift.moved import AT_REST, MovedAtoms
from si_crsae.sorting.learning.history import no_decisions
from si_crsae.sorting.quality.labels import UnitQuality
from si_crsae.sorting.signal.periods import ExcludedPeriods
from si_crsae.sorting.stages import Code, LearningResult, SpikePosterior

# Fields of `Inventory` that are saved as they are, with the units and with the spikes.
DICTIONARY_FIELDS = ("atoms", "scales", "noise", "regularization", "num_before")
CODE_FIELDS = ("sample_offset", "amplitude")
SPIKE_FIELDS = tuple(name for name, _ in minimum_spike_dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupResult:
    """What the stages found in one group of channels.

    Parameters
    ----------
    recording : BaseRecording
        The usable channels of the group, raw.
    learned : LearningResult or None
        None if no channel is usable.
    code : Code or None
        None if there is no atom.
    posterior : SpikePosterior, optional
        What is expected of the code, if it was asked for; its units are all atoms.
    quality : UnitQuality, optional
        How probable each label of each atom is.
    excluded : ExcludedPeriods, optional
        Periods in which nothing was learned or found.
    decisions_after : ndarray, shape (decision,)
        What was decided about the units after they were learned; see `to_table`.
    """

    recording: BaseRecording
    learned: LearningResult | None
    code: Code | None
    posterior: SpikePosterior | None = None
    quality: UnitQuality | None = None
    excluded: ExcludedPeriods = field(default_factory=ExcludedPeriods)
    decisions_after: Shaped[np.ndarray, " decision"] = field(default_factory=no_decisions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Units and spikes of a recording, units in the order of their main channels.

    Parameters
    ----------
    atoms : ndarray of float32, shape (unit, channel, width)
        Unit-norm whitened waveforms, on all channels of the recording.
    scales, noise, regularization : ndarray of float32, shape (unit,)
        Typical amplitude of an event, noise of the correlation map, lambda.
    num_before : ndarray of int64, shape (unit,)
        Samples of each atom before its peak, where its spikes are.
    main_channel : ndarray of int64, shape (unit,)
        Index of the channel on which the atom is largest.
    spikes : ndarray of SpikeInterface's spike dtype, shape (spike,)
        Ordered by segment, then time, then unit.
    sample_offset : ndarray of float32, shape (spike,)
        From the sample of each spike to its atom's peak, which may lie between samples.
    amplitude : ndarray of float32, shape (spike,)
        Coefficient of the unit-norm atom.
    posterior : SpikePosterior, optional
        What is expected of these spikes and units, if it was asked for.
    quality : UnitQuality, optional
        How probable each label of each unit is, as long as that is known.
    sources : tuple of (int, int), optional
        Group and atom in it that each unit comes from, as long as that is known.
    moved : MovedAtoms, optional
        Atoms of the spikes where the tissue has moved.
    """

    atoms: Float[np.ndarray, "unit channel width"]
    scales: Float[np.ndarray, " unit"]
    noise: Float[np.ndarray, " unit"]
    regularization: Float[np.ndarray, " unit"]
    num_before: Int[np.ndarray, " unit"]
    main_channel: Int[np.ndarray, " unit"]
    spikes: Shaped[np.ndarray, " spike"]
    sample_offset: Float[np.ndarray, " spike"]
    amplitude: Float[np.ndarray, " spike"]
    posterior: SpikePosterior | None = None
    quality: UnitQuality | None = None
    sources: tuple[tuple[int, int], ...] = ()
    moved: MovedAtoms = field(default_factory=MovedAtoms)

    @classmethod
    def empty(cls, *, num_channels: int) -> "Inventory":
        """Return no units."""
        nothing = np.zeros(0, "float32")
        return cls(
            atoms=np.zeros((0, num_channels, 1), "float32"),
            scales=nothing,
            noise=nothing,
            regularization=nothing,
            num_before=np.zeros(0, "int64"),
            main_channel=np.zeros(0, "int64"),
            spikes=np.zeros(0, minimum_spike_dtype),
            sample_offset=nothing,
            amplitude=nothing,
        )

    @classmethod
    def of_arrays(cls, dictionary: Mapping[str, np.ndarray], code: Mapping[str, np.ndarray]) -> "Inventory":
        """Return the units and spikes of which `dictionary_arrays` and `code_arrays` were made."""
        spikes = np.zeros(code["amplitude"].size, minimum_spike_dtype)
        for name in SPIKE_FIELDS:
            spikes[name] = code[name]
        saved: dict[str, Any] = {name: dictionary[name] for name in DICTIONARY_FIELDS}
        saved |= {name: code[name] for name in CODE_FIELDS}
        return cls(
            **saved,
            main_channel=np.abs(dictionary["atoms"]).max(axis=2).argmax(axis=1),
            spikes=spikes,
        )

    @property
    def dictionary_arrays(self) -> dict[str, Any]:
        """The arrays of the units by name, as they are saved."""
        return {name: getattr(self, name) for name in DICTIONARY_FIELDS}

    @property
    def code_arrays(self) -> dict[str, Any]:
        """The arrays of the spikes by name, as they are saved."""
        times = {name: self.spikes[name] for name in SPIKE_FIELDS}
        return times | {name: getattr(self, name) for name in CODE_FIELDS}

    @property
    def num_units(self) -> int:
        """Number of units."""
        return self.scales.size

    def widened(self, width: int) -> "Inventory":
        """Return the units with atoms of so many samples, with silence before them."""
        added = width - self.atoms.shape[2]
        atoms = np.pad(self.atoms, ((0, 0), (0, 0), (added, 0)))
        return replace(self, atoms=atoms, num_before=self.num_before + added)

    def in_order_of_time(self) -> "Inventory":
        """Return the units with the spikes ordered by segment, then time, then unit."""
        spikes = self.spikes
        order = np.lexsort((spikes["unit_index"], spikes["sample_index"], spikes["segment_index"]))
        posterior = None if self.posterior is None else select_rows(self.posterior, order, "spike")
        return replace(select_rows(self, order, "spike"), posterior=posterior, moved=self.moved.reordered(order))

    def atoms_of(
        self, chosen: Int[np.ndarray, " chosen"], channels: Int[np.ndarray, " channel"] | slice = slice(None)
    ) -> Float[np.ndarray, "chosen channel width"]:
        """Return the atom of each of some spikes (indices), where the tissue was, on some channels."""
        atoms = self.atoms[:, channels][self.spikes["unit_index"][chosen]]
        if self.moved.num_places:
            place = self.moved.place[chosen]
            has_moved = np.flatnonzero(place != AT_REST)
            places, index = np.unique(place[has_moved], return_inverse=True)
            atoms[has_moved] = self.moved.atoms(places, num_channels=self.atoms.shape[1])[:, channels][index]
        return atoms

    def relative_amplitude(self, chosen: Int[np.ndarray, " chosen"]) -> Float[np.ndarray, " chosen"]:
        """Return amplitudes in units of the typical one of their unit, 1 where that is unknown.

        Parameters
        ----------
        chosen : ndarray of int64, shape (chosen,)
            Indices of spikes.
        """
        scales = self.scales[self.spikes["unit_index"][chosen]].astype("float64")
        is_known = scales > 0
        return np.where(is_known, self.amplitude[chosen] / np.where(is_known, scales, 1), 1.0)


def take_inventory(recording: BaseRecording, groups: list[GroupResult]) -> Inventory:
    """Return the units of all groups that have a spike.

    Parameters
    ----------
    recording : BaseRecording
        All groups.
    groups : list of GroupResult

    Returns
    -------
    Inventory
        Spikes are timed at the largest extremum of their atom, of whatever sign, on its main channel.
    """
    found = [
        _units_of_group(recording, group, index)
        for index, group in enumerate(groups)
        if group.code is not None and group.code.sample_index.size
    ]
    if not found:
        return Inventory.empty(num_channels=recording.get_num_channels())
    sources = [source for part in found for source in part.sources]
    width = max(part.atoms.shape[2] for part in found)
    joined = concatenate_rows([part.widened(width) for part in found], "unit", "spike")
    order = np.argsort(joined.main_channel, kind="stable")
    spikes = joined.spikes
    first_unit = np.cumsum([0] + [part.num_units for part in found])
    spikes["unit_index"] += np.repeat(first_unit[:-1], [part.spikes.size for part in found])
    spikes["unit_index"] = np.argsort(order)[spikes["unit_index"]]
    moved = MovedAtoms.joined([part.moved for part in found], [part.spikes.size for part in found])
    if moved.num_places:
        from_group = np.repeat(first_unit[:-1], [part.moved.num_places for part in found])
        moved = replace(moved, unit_index=np.argsort(order)[moved.unit_index + from_group])
    posteriors = [part.posterior for part in found if part.posterior is not None]
    posterior = select_rows(concatenate_rows(posteriors, "spike", "unit"), order, "unit") if posteriors else None
    qualities = [part.quality for part in found if part.quality is not None]
    quality = select_rows(concatenate_rows(qualities, "unit"), order, "unit") if qualities else None
    by_unit = replace(select_rows(joined, order, "unit"), posterior=posterior, quality=quality, moved=moved)
    return replace(by_unit, sources=tuple(sources[unit] for unit in order)).in_order_of_time()


def _units_of_group(recording: BaseRecording, group: GroupResult, index: int) -> Inventory:
    assert group.learned is not None
    assert group.code is not None
    model, code = group.learned.model, group.code
    kept, unit_index = np.unique(code.atom_index, return_inverse=True)
    channels = np.asarray(recording.ids_to_indices(group.recording.channel_ids))
    local_atoms = model.dictionary.atoms.numpy()[kept]
    atoms = np.zeros((kept.size, recording.get_num_channels(), local_atoms.shape[2]), "float32")
    atoms[:, channels] = local_atoms
    main_channel, num_before = peaks_of_atoms(atoms)
    spikes = np.zeros(unit_index.size, minimum_spike_dtype)
    lengths = np.array([recording.get_num_samples(index) for index in range(recording.get_num_segments())])
    at_peak = code.sample_index + (num_before - model.dictionary.num_before)[unit_index]
    spikes["sample_index"] = np.clip(at_peak, 0, lengths[code.segment_index] - 1)
    spikes["segment_index"] = code.segment_index
    spikes["unit_index"] = unit_index
    return Inventory(
        atoms=atoms,
        scales=model.dictionary.scales.numpy()[kept],
        noise=model.noise[kept],
        regularization=model.regularization[kept],
        num_before=num_before,
        main_channel=main_channel,
        spikes=spikes,
        sample_offset=code.sample_offset,
        amplitude=code.amplitude,
        posterior=None if group.posterior is None else select_rows(group.posterior, kept, "unit"),
        quality=None if group.quality is None else select_rows(group.quality, kept, "unit"),
        sources=tuple((index, atom) for atom in kept.tolist()),
        moved=_moved_atoms(group, kept, unit_index, channels),
    )


def _moved_atoms(
    group: GroupResult,
    kept: Int[np.ndarray, " unit"],
    unit_index: Int[np.ndarray, " spike"],
    channels: Int[np.ndarray, " channel"],
) -> MovedAtoms:
    """Return the atoms of a group's spikes where the tissue was, on the channels of the recording."""
    assert group.learned is not None
    assert group.code is not None
    model, code = group.learned.model, group.code
    if model.moving.are_still:
        return MovedAtoms()
    moving, trajectory = model.moving.select(kept), group.learned.trajectory_of(group.recording)
    depths = moving.rest_depth_um[unit_index]
    step = trajectory.steps_of_events(code.segment_index, code.sample_index, depths)
    (units, steps), place = np.unique(np.stack([unit_index, step]), axis=1, return_inverse=True)
    scales = model.dictionary.scales.numpy()[kept][units]
    local = moving.step_channels[units]
    return MovedAtoms(
        unit_index=units,
        displacement_um=moving.step_um[steps],
        weights=moving.step_weights[units, steps] / scales[:, None, None],
        channels=np.where(local >= 0, channels[local], -1),
        basis_index=np.zeros(units.size, "int64"),
        bases=model.dictionary.basis.numpy()[None],
        place=place.ravel(),
    )


def peaks_of_atoms(
    atoms: Float[np.ndarray, "atom channel width"],
) -> tuple[Int[np.ndarray, " atom"], Int[np.ndarray, " atom"]]:
    """Return the channel and the sample at which each atom is largest, of whatever sign."""
    heights = np.abs(atoms)
    main_channel = heights.max(axis=2).argmax(axis=1)
    return main_channel, heights[np.arange(len(atoms)), main_channel].argmax(axis=1)
