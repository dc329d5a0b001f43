"""Mean waveforms of the units in the filtered traces, and the times of their spikes that follow from them."""

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from spikeinterface.core import BaseRecording, Templates, estimate_templates

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.convert import TemplateWindow, is_scalable, nearest_samples
from si_crsae.sorting.durations import assumed_of_templates
from si_crsae.sorting.inventory import Inventory
from si_crsae.sorting.signal.recording import with_one_probe

# Spikes that a template is the mean of, and the seconds in which they are preferred: each is read and filtered.
MAX_TEMPLATE_SPIKES = 200
MIN_TEMPLATE_SPIKES = 50
TEMPLATE_WINDOWS = 20
# Parts of them that are averaged each by itself, and the fewest spikes of one.
NUM_PARTS = 5
MIN_SPIKES_PER_PART = 5


def measure_templates(
    filtered: BaseRecording, units: Inventory, config: CrsaeConfig, *, job_kwargs: dict[str, Any]
) -> tuple[Inventory, Templates]:
    """Return the units, their spikes timed at the extremum of the mean waveform, and these mean waveforms.

    They come from up to MAX_TEMPLATE_SPIKES spikes of each unit in TEMPLATE_WINDOWS stretches of the recording, as the
    median of a few averages, since one artifact would spoil a mean. They are not the learned atoms: those are whitened
    and built from few temporal components. Where neighboring channels carry nearly the same, what whitening leaves of a
    spike may be largest long before or after its trough.

    Parameters
    ----------
    filtered : BaseRecording
        Not whitened.
    units : Inventory
        Spikes at the extremum of their atoms.
    config : CrsaeConfig
    job_kwargs : dict
        SpikeInterface's, complete.

    Returns
    -------
    units : Inventory
    templates : Templates
        On the channels of the atoms, in uV where the recording has gains.
    """
    window = TemplateWindow.of(filtered, config)
    reach = nearest_samples(assumed_of_templates(config).units.max_peak_shift_ms, filtered.sampling_frequency)
    in_uV = is_scalable(filtered)
    wide = TemplateWindow(num_before=window.num_before + reach, width=window.width + 2 * reach)
    averages = _robust_averages(filtered, units, wide, in_uV=in_uV, job_kwargs=job_kwargs)
    shift = _peak_shifts(averages, wide.num_before, reach)
    samples = shift[:, None] + reach + np.arange(window.width)
    probe: Any = with_one_probe(filtered).get_probe() if filtered.has_probe() else None
    templates = Templates(
        templates_array=np.take_along_axis(averages, samples[:, :, None], axis=1),
        sampling_frequency=filtered.sampling_frequency,
        nbefore=window.num_before,
        is_in_uV=in_uV,
        unit_ids=np.arange(units.num_units, dtype="int64"),
        channel_ids=filtered.channel_ids,
        probe=probe,
    )
    return _with_moved_spikes(units, shift, filtered), templates


def _robust_averages(
    filtered: BaseRecording, units: Inventory, window: TemplateWindow, *, in_uV: bool, job_kwargs: dict[str, Any]
) -> Float[np.ndarray, "unit sample channel"]:
    """Return the median over a few parts of each unit's spikes of their averages, zero on channels of no atom."""
    averages = np.zeros((units.num_units, window.width, filtered.get_num_channels()), "float32")
    if units.num_units == 0:
        return averages
    spikes = units.spikes[_choose_spikes(filtered, units)]
    counts = np.bincount(spikes["unit_index"], minlength=units.num_units)
    num_parts = np.where(counts >= NUM_PARTS * MIN_SPIKES_PER_PART, NUM_PARTS, 1)
    unit_index = spikes["unit_index"].copy()
    for unit in range(units.num_units):
        mine = np.flatnonzero(unit_index == unit)
        spikes["unit_index"][mine] = unit * NUM_PARTS + np.arange(mine.size) % num_parts[unit]
    occupied = np.asarray(units.atoms.any(axis=2))
    packed: np.ndarray = estimate_templates(
        filtered,
        spikes,
        np.arange(units.num_units * NUM_PARTS),
        window.num_before,
        window.width - window.num_before,
        return_in_uV=in_uV,
        sparsity_mask=np.repeat(occupied, NUM_PARTS, axis=0),
        **job_kwargs,
    )
    for unit, channels in enumerate(occupied):
        first = unit * NUM_PARTS
        parts = np.asarray(packed[first : first + num_parts[unit], :, : channels.sum()], "float32")
        averages[unit][:, channels] = np.median(parts, axis=0)
    return averages


def _peak_shifts(averages: Float[np.ndarray, "unit sample channel"], peak: int, reach: int) -> Int[np.ndarray, " unit"]:
    """Return by how many samples the extremum of every unit, on any channel, is later than a sample.

    It is the trough unless the positive peak is clearly larger, as for the peaks that units are found by.
    """
    if len(averages) == 0:
        return np.zeros(0, "int64")
    around = averages[:, peak - reach : peak + reach + 1]
    troughs, crests = -around.min(axis=2), around.max(axis=2)
    is_trough = crests.max(axis=1) <= ASSUMED.units.min_crest_to_trough * troughs.max(axis=1)
    shift = np.where(is_trough, troughs.argmax(axis=1), crests.argmax(axis=1)) - reach
    return np.where(around.any(axis=(1, 2)), shift, 0)


def _with_moved_spikes(units: Inventory, shift: Int[np.ndarray, " unit"], recording: BaseRecording) -> Inventory:
    """Return the units with their spikes moved by some samples, within their segments and in order again."""
    spikes = units.spikes.copy()
    lengths = np.array([recording.get_num_samples(segment) for segment in range(recording.get_num_segments())])
    moved = spikes["sample_index"] + shift[spikes["unit_index"]]
    spikes["sample_index"] = np.clip(moved, 0, lengths[spikes["segment_index"]] - 1)
    return replace(units, spikes=spikes, num_before=units.num_before + shift).in_order_of_time()


def _choose_spikes(recording: BaseRecording, units: Inventory) -> np.ndarray:
    """Return the indices, sorted, of spikes of every unit that lie close together, so that few chunks are read."""
    length = round(recording.sampling_frequency)
    spikes = units.spikes
    second = spikes["segment_index"] * (1 << 40) + spikes["sample_index"] // length
    seconds = np.unique(second)
    preferred = np.isin(second, seconds[np.linspace(0, seconds.size - 1, TEMPLATE_WINDOWS).astype("int64")])
    chosen = []
    for unit in range(units.num_units):
        mine = np.flatnonzero(spikes["unit_index"] == unit)
        count = np.clip(preferred[mine].sum(), MIN_TEMPLATE_SPIKES, MAX_TEMPLATE_SPIKES)
        chosen.append(mine[np.argsort(~preferred[mine], kind="stable")][:count])
    return np.sort(np.concatenate(chosen))
