"""Write: everything that a sorting leaves for its users, the exporters and the widgets."""

import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from spikeinterface.core import (
    BaseRecording,
    BaseSorting,
    ChannelSparsity,
    NumpySorting,
    Templates,
)

from si_crsae.config import CrsaeConfig
from si_crsae.core.tables import to_arrays
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.convert import samples_in
from si_crsae.sorting.excluded import excluded_everywhere, outside_excluded, save_excluded, without_excluded
from si_crsae.sorting.inventory import GroupResult, Inventory, take_inventory
from si_crsae.sorting.learning.history import NO_UNIT, no_decisions
from si_crsae.sorting.learning.rounds import LearningCurve
from si_crsae.sorting.quality.labels import QUALITY_LABELS, UnitQuality
from si_crsae.sorting.runs.manifest import noted_whole
from si_crsae.sorting.signal.preprocessing import bandpass, usable_noise_levels
from si_crsae.sorting.signal.recording import channel_groups
from si_crsae.sorting.signal.sampling import sample_traces
from si_crsae.sorting.stages import SpikePosterior
from si_crsae.sorting.templates import measure_templates

MOVED_FILE = "moved_atoms.npz"
# Between which the displacements of a unit's spikes lie, but for single ones.
DRIFT_QUANTILES = (0.05, 0.95)
# The table of decisions.
HISTORY_COLUMNS = (
    "round",
    "what",
    "unit",
    "others",
    "became",
    "main_channel_id",
    "figure",
    "value",
    "threshold",
    "num_events",
    "group",
    "unit_id",
)

logger = logging.getLogger(__name__)


def write_results(
    recording: BaseRecording,
    groups: list[GroupResult],
    *,
    segments: Int[np.ndarray, " segment"],
    folder: Path,
    config: CrsaeConfig,
    job_kwargs: dict[str, Any],
) -> BaseSorting:
    """Save the sorting of all groups and, with `save_array`, how it came about; return the sorting.

    Parameters
    ----------
    recording : BaseRecording
        Raw, all groups, of the segments that were sorted.
    groups : list of GroupResult
    segments : ndarray of int64, shape (segment,)
        Which segments those are in the recording that the user gave.
    folder : Path
        The run's ``sorter_output``.
    config : CrsaeConfig
    job_kwargs : dict
        SpikeInterface's, complete.

    Returns
    -------
    BaseSorting
        Unit ids are 0, 1, ... in the order of their main channels.
    """
    units = take_inventory(recording, groups)
    if config.spike_probabilities and units.posterior is None:
        units = replace(units, posterior=SpikePosterior.empty())  # without spikes the properties are there, too
    filtered = bandpass(without_excluded(recording, [group.excluded for group in groups], config), config)
    sample = sample_traces(filtered, seed=config.seed, is_excluded=excluded_everywhere(groups).contain)
    noise_levels = usable_noise_levels(sample)
    units, templates = measure_templates(filtered, units, config, job_kwargs=job_kwargs)
    units = outside_excluded(units, groups)
    kept_s = np.array([group.excluded.kept_s(recording) for group in groups])
    active_s = kept_s[[group for group, _ in units.sources]] * sample.active_share
    properties = unit_properties(recording, units, templates, noise_levels, active_s=active_s)
    properties |= depth_properties(recording, units)
    units.spikes["segment_index"] = segments[units.spikes["segment_index"]]
    sorting = NumpySorting(units.spikes, recording.sampling_frequency, np.arange(units.num_units, dtype="int64"))
    for name, values in properties.items():
        sorting.set_property(name, values)
    if units.num_units == 0:
        warnings.warn(
            f"crsae found no unit: no cluster of peaks above detect_threshold = {config.detect_threshold:g} noise "
            f"standard deviations (median noise level {np.median(noise_levels):.3g} in the units of the filtered "
            "traces) stayed; lower detect_threshold or min_firing_rate, or check peak_sign and the recording",
            stacklevel=2,
        )
    _tell_kept(sorting, units, groups)
    if config.save_array:
        _save_arrays(recording, units, groups, noise_levels, folder=folder)
        _save_templates(templates, folder / "templates.zarr")
    save_excluded(groups, segments, folder)
    if units.posterior is not None:
        with noted_whole(folder / "spike_probabilities.npz") as unfinished:
            np.savez(unfinished, **to_arrays(units.posterior))
    with warnings.catch_warnings(), noted_whole(folder / "sorting") as unfinished:
        warnings.filterwarnings("ignore", "The extractor is not serializable", UserWarning)  # it is made in memory
        sorting.save(folder=unfinished)
    return sorting


def _tell_kept(sorting: BaseSorting, units: Inventory, groups: list[GroupResult]) -> None:
    """Say in the log which unit that was learned each unit of the sorting is."""
    numbers = _numbers_of_units(units, groups)
    num_spikes, channel_ids = (sorting.get_property(name) for name in ("num_spikes", "main_channel_id"))
    for unit_id, (group, number) in enumerate(numbers):
        of_group = f" of group {group}" if len(groups) > 1 else ""
        logger.info(
            "unit %d%s is unit_id %d of the sorting: %d spikes on channel %s",
            number,
            of_group,
            unit_id,
            num_spikes[unit_id],
            channel_ids[unit_id],
        )


def _numbers_of_units(units: Inventory, groups: list[GroupResult]) -> list[tuple[int, int]]:
    """Return group and number of the units, as learning calls them."""
    learned = {index: group.learned.units for index, group in enumerate(groups) if group.learned is not None}
    return [(group, learned[group][atom].number) for group, atom in units.sources]


def history_arrays(recording: BaseRecording, units: Inventory, groups: list[GroupResult]) -> dict[str, Any]:
    """Return what was decided about the units of all groups, by the names of HISTORY_COLUMNS; see `load_history`."""
    unit_ids = {source: unit_id for unit_id, source in enumerate(_numbers_of_units(units, groups))}
    all_ids = np.array(recording.channel_ids.tolist())  # of a type that files can hold
    all_groups = np.array(channel_groups(recording).tolist())
    parts = []
    for index, group in enumerate(groups):
        learned = no_decisions() if group.learned is None else group.learned.decisions
        channels = np.asarray(recording.ids_to_indices(group.recording.channel_ids))
        for table in (learned, group.decisions_after):
            main_channels = channels[table["main_channel"]]
            columns = {name: table[name] for name in HISTORY_COLUMNS if name in (table.dtype.names or ())}
            columns["main_channel_id"] = all_ids[main_channels]
            columns["group"] = all_groups[main_channels]
            ids = [unit_ids.get((index, number), NO_UNIT) for number in table["unit"].tolist()]
            parts.append(columns | {"unit_id": np.array(ids, "int64")})
    return {name: np.concatenate([part[name] for part in parts]) for name in HISTORY_COLUMNS}


def unit_properties(
    recording: BaseRecording,
    units: Inventory,
    templates: Templates,
    noise_levels: Float[np.ndarray, " channel"],
    *,
    active_s: Float[np.ndarray, " unit"],
) -> dict[str, np.ndarray]:
    """Return the properties of the units by name: scalars or strings, so that every exporter can carry them.

    `main_channel_id`; `group` of that channel; `snr`, peak of the template over the noise of its channel; `firing_rate`
    (Hz), over the time in which there is a signal that is not excluded (`active_s`); `num_spikes`; `amplitude_median`
    and `amplitude_cv`, size and spread of the spikes relative to the template; `refractory_violations`, the fraction of
    intervals below 1.5 ms; `atom_snr`, the template's whitened norm over the noise of its correlation map, which
    decides what can be detected; `quality`, the likeliest of "good", "mua" and "noise", and `probability_good`,
    `probability_mua` and `probability_noise`, see `UnitQuality`; with `spike_probabilities`, also
    `expected_false_positive_rate` and `expected_missed_rate`.
    """
    count = units.num_units
    unit_index = units.spikes["unit_index"]
    relative = [units.amplitude[unit_index == unit] / units.scales[unit] for unit in range(count)]
    peaks = np.abs(templates.templates_array).max(axis=1)[np.arange(count), units.main_channel]
    scaling = np.abs(recording.get_channel_gains()) if templates.is_in_uV else np.ones(recording.get_num_channels())
    num_spikes = np.bincount(unit_index, minlength=count)
    expected = {}
    if units.posterior is not None:
        expected["expected_false_positive_rate"] = units.posterior.false_positive_rate
        expected["expected_missed_rate"] = units.posterior.missed_rate
    quality = units.quality or UnitQuality.empty()
    return expected | {
        "main_channel_id": recording.channel_ids[units.main_channel],
        "group": channel_groups(recording)[units.main_channel],
        "snr": peaks / (noise_levels * scaling)[units.main_channel],
        "firing_rate": num_spikes / active_s,
        "num_spikes": num_spikes,
        "amplitude_median": np.array([np.median(values) for values in relative]),
        "amplitude_cv": np.array([np.std(values) / np.mean(values) for values in relative]),
        "refractory_violations": _refractory_violations(units, recording.sampling_frequency),
        "atom_snr": units.scales / units.noise,
        "quality": quality.labels,
        **{f"probability_{label}": getattr(quality, label) for label in QUALITY_LABELS},
    }


def depth_properties(recording: BaseRecording, units: Inventory) -> dict[str, np.ndarray]:
    """Return where along the probe units are, by name of the property; nothing without locations of contacts.

    `depth_um`, where the energy of each atom lies when nothing has moved; `drift_um`, the distance over which the
    tissue has moved while the unit fired, single spikes left out.
    """
    if not recording.has_probe():
        return {}
    energy = np.square(units.atoms).sum(axis=2)
    depths = energy @ recording.get_channel_locations()[:, 1] / np.maximum(energy.sum(axis=1), 1e-12)
    ranges, moved, unit_index = np.zeros(units.num_units), units.moved, units.spikes["unit_index"]
    for unit in np.unique(moved.unit_index):
        places = moved.place[unit_index == unit]
        ranges[unit] = np.ptp(np.quantile(moved.displacement_um[places], DRIFT_QUANTILES))
    return {"depth_um": depths, "drift_um": ranges}


def _refractory_violations(units: Inventory, sampling_frequency: float) -> Float[np.ndarray, " unit"]:
    fractions = np.zeros(units.num_units)
    limit = samples_in(ASSUMED.refractory.reported_ms, sampling_frequency)
    for unit in range(units.num_units):
        spikes = units.spikes[units.spikes["unit_index"] == unit]
        intervals = np.diff(spikes["sample_index"])[np.diff(spikes["segment_index"]) == 0]
        fractions[unit] = np.mean(intervals < limit) if intervals.size else 0.0
    return fractions


def _save_arrays(
    recording: BaseRecording, units: Inventory, groups: list[GroupResult], noise_levels: np.ndarray, *, folder: Path
) -> None:
    with noted_whole(folder / "noise_levels.npy") as unfinished:
        np.save(unfinished, noise_levels)
    with noted_whole(folder / "dictionary.npz") as unfinished:
        np.savez(unfinished, **units.dictionary_arrays)
    with noted_whole(folder / "code.npz") as unfinished:
        np.savez(unfinished, **units.code_arrays)
    if units.moved.num_places:
        with noted_whole(folder / MOVED_FILE) as unfinished:
            np.savez_compressed(unfinished, **to_arrays(units.moved))
    with noted_whole(folder / "history.npz") as unfinished:
        np.savez_compressed(unfinished, **history_arrays(recording, units, groups))
    curves: dict[str, Any] = {
        f"group_{index}_{name}": values
        for index, group in enumerate(groups)
        if group.learned is not None
        for name, values in to_arrays(_with_channels(group.learned.curve, group.recording)).items()
    }
    with noted_whole(folder / "learning_curve.npz") as unfinished:
        np.savez_compressed(unfinished, **curves)


def _with_channels(curve: LearningCurve, recording: BaseRecording) -> LearningCurve:
    """Return a curve with the ids of its channels, of a type that files can hold."""
    return replace(curve, channel_ids=np.array(recording.channel_ids.tolist()))


def _save_templates(templates: Templates, folder: Path) -> None:
    if templates.num_units:
        mask = templates.templates_array.any(axis=1)
        templates = templates.to_sparse(ChannelSparsity(mask, templates.unit_ids, templates.channel_ids))
    try:
        with noted_whole(folder) as unfinished:
            templates.to_zarr(unfinished)
    except NotImplementedError as error:  # zarr 3, with which SpikeInterface cannot write yet
        logger.warning("templates.zarr was not written: %s", error)
