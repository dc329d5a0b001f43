"""Recordings and sortings from neo: whatever a neo reader returns, in the terms of SpikeInterface."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from probeinterface import Probe, ProbeGroup
from spikeinterface.core import NumpyRecording, NumpySorting, SpikeVectorSortingSegment
from spikeinterface.core.base import minimum_spike_dtype

# Annotations that describe a spike train, not its unit; NixIO adds the last one.
_RESERVED_ANNOTATIONS = frozenset({"unit_id", "waveform_kind", "nix_name"})


def recording_from_neo(source: Any, *, probe: Probe | ProbeGroup | None = None) -> NumpyRecording:
    """Return the signals of neo as a recording in memory; ``recording.save()`` it before sorting.

    Parameters
    ----------
    source : neo.Block, neo.Segment, neo.AnalogSignal or list
        A block or a list of segments gives one segment of the recording each. A list of signals is one segment: their
        channels are put side by side. A list of lists of signals is several segments. Lazy objects are loaded.
    probe : Probe or ProbeGroup, optional
        Attached to the recording; its `device_channel_indices` number the channels.

    Returns
    -------
    NumpyRecording
        Samples in the dtype of neo, with gains that scale them to uV (none for dimensionless signals). The channel
        ids are the first of `channel_names`, `channel_ids` (array annotations) and the names of one-channel signals
        that are there and unique, else numbers from 0.

    Raises
    ------
    TypeError
        If `source` or `probe` is of another type.
    ValueError
        If signals of a segment differ in sampling rate, start or length, if segments differ in sampling rate,
        channels or gains, if units are no voltages, or if the probe does not fit.
    """
    segments = [_merge_signals(signals) for signals in _signals_by_segment(source)]
    first = segments[0]
    for index, segment in enumerate(segments[1:], start=1):
        _check_same_layout(first, segment, index)
    dtype = np.result_type(*[segment.traces.dtype for segment in segments])
    recording = NumpyRecording(
        [segment.traces.astype(dtype, copy=False) for segment in segments],
        first.sampling_frequency,
        t_starts=[segment.t_start for segment in segments],
        channel_ids=first.channel_ids,
    )
    if not np.isnan(first.gains_to_uV).any():
        recording.set_channel_gains(first.gains_to_uV)
        recording.set_channel_offsets(0.0)
    if probe is not None:
        _attach_probe(recording, probe)
    return recording


def sorting_from_neo(source: Any, *, sampling_frequency: float | None = None) -> NumpySorting:
    """Return the spike trains of neo as a sorting: the inverse of `to_neo`.

    Parameters
    ----------
    source : neo.Block, neo.Segment or list
        A block or a list of segments gives one segment of the sorting each. A list of spike trains is one segment, a
        list of lists several. Lazy objects are loaded.
    sampling_frequency : float, optional
        In Hz. Default: the one that the segments or the spike trains carry.

    Returns
    -------
    NumpySorting
        Sample 0 is the start of the signals of a segment, where it has any, else the earliest `t_start` of its spike
        trains. Units are matched across segments by the annotation `unit_id`, where all spike trains have it, else by
        position. Annotations that are numbers, booleans or strings and on all spike trains become unit properties.

    Raises
    ------
    TypeError
        If `source` is of another type.
    ValueError
        If the sampling frequency is missing or ambiguous, if units cannot be matched, or if a spike precedes the start.
    """
    segments = _spike_trains_by_segment(source)
    if sampling_frequency is None:
        sampling_frequency = _carried_sampling_frequency(segments)
    elif not sampling_frequency > 0:
        raise ValueError(f"sampling_frequency = {sampling_frequency}: must be positive; give it in Hz")
    trains_by_unit = _match_units(segments)
    spikes = [np.zeros(0, minimum_spike_dtype)]
    for unit_index, trains in enumerate(trains_by_unit.values()):
        for segment_index, train in trains.items():
            samples = _sample_indices(train, segments[segment_index].t_start, sampling_frequency)
            unit_spikes = np.zeros(samples.size, minimum_spike_dtype)
            unit_spikes["sample_index"] = samples
            unit_spikes["unit_index"] = unit_index
            unit_spikes["segment_index"] = segment_index
            spikes.append(unit_spikes)
    spike_vector = np.sort(np.concatenate(spikes), order=["segment_index", "sample_index", "unit_index"])
    # An empty list would give float64 ids, which SpikeInterface's comparisons refuse.
    unit_ids = np.array(list(trains_by_unit)) if trains_by_unit else np.zeros(0, dtype="int64")
    sorting = NumpySorting(spike_vector, sampling_frequency, unit_ids)
    # NumpySorting counts segments up to the last spike; silent ones at the end are lost.
    for segment_index in range(sorting.get_num_segments(), len(segments)):
        sorting.add_sorting_segment(SpikeVectorSortingSegment(spike_vector, segment_index, unit_ids))
    for segment_index, segment in enumerate(segments):
        sorting.shift_times(segment.t_start, segment_index=segment_index)
    for key, values in _unit_properties(trains_by_unit).items():
        sorting.set_property(key, values)
    return sorting


@dataclass(frozen=True, slots=True, kw_only=True)
class _SignalSegment:
    """The signals of one segment, side by side."""

    traces: np.ndarray
    sampling_frequency: float
    t_start: float
    gains_to_uV: np.ndarray
    channel_ids: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class _TrainSegment:
    """The spike trains of one segment, its start (s) and the sampling frequencies (Hz) it mentions."""

    trains: list
    t_start: float
    sampling_frequencies: list[float]


def _load(item: Any) -> Any:
    """Return the object itself, or the one that a lazy proxy stands for."""
    return item.load() if hasattr(item, "proxy_for") else item


def _items_by_segment(source: Any, kind: str, children: str) -> list[tuple[list, Any]]:
    """Return the loaded objects of class `kind` of each segment, and the `neo.Segment` they come from if any."""
    import neo

    item_class = getattr(neo, kind)

    def is_item(item: Any) -> bool:
        return isinstance(item, item_class) or getattr(item, "proxy_for", None) is item_class

    if isinstance(source, neo.Block):
        source = list(source.segments)
    elif isinstance(source, neo.Segment) or is_item(source):
        source = [source]
    if isinstance(source, Iterable) and not isinstance(source, np.ndarray | str):
        entries = list(source)
        if all(is_item(entry) for entry in entries):
            return [([_load(entry) for entry in entries], None)]
        if all(isinstance(entry, neo.Segment) for entry in entries):
            return [([_load(item) for item in getattr(entry, children)], entry) for entry in entries]
        if all(isinstance(entry, Iterable) and all(is_item(item) for item in entry) for entry in entries):
            return [([_load(item) for item in entry], None) for entry in entries]
    raise TypeError(
        f"source = {type(source).__name__}: must be a neo.Block, a neo.Segment, a neo.{kind}, or a list of "
        f"segments, of neo.{kind} (one segment) or of lists of neo.{kind} (several segments)"
    )


def _signals_by_segment(source: Any) -> list[list]:
    segments = [signals for signals, _ in _items_by_segment(source, "AnalogSignal", "analogsignals")]
    for segment_index, signals in enumerate(segments):
        if not signals:
            raise ValueError(
                f"source has no AnalogSignal in segment {segment_index}: give the segments or signals to be sorted"
            )
    return segments


def _merge_signals(signals: list) -> _SignalSegment:
    """Put the channels of simultaneous signals side by side."""
    rates = np.array([signal.sampling_rate.rescale("Hz").item() for signal in signals])
    starts = np.array([signal.t_start.rescale("s").item() for signal in signals])
    lengths = np.array([signal.shape[0] for signal in signals])
    agree = (
        np.isclose(rates, rates[0], rtol=1e-9) & (np.abs(starts - starts[0]) * rates[0] < 0.5) & (lengths == lengths[0])
    )
    if not agree.all():
        described = "\n".join(
            f"  {signal.name or index}: {rates[index]} Hz from {starts[index]} s, {lengths[index]} samples"
            for index, signal in enumerate(signals)
        )
        raise ValueError(
            "source has signals in one segment that differ in sampling rate, start or length:\n"
            f"{described}\ngive a list of the signals that belong together"
        )
    gains = np.concatenate([np.full(signal.shape[1], _gain_to_uV(signal)) for signal in signals])
    if np.isnan(gains).any() and not np.isnan(gains).all():
        raise ValueError(
            "source has voltages and dimensionless signals in one segment: give a list of those that belong together"
        )
    parts = [signal.magnitude for signal in signals]
    traces = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    return _SignalSegment(
        traces=traces,
        sampling_frequency=float(rates[0]),
        t_start=float(starts[0]),
        gains_to_uV=gains,
        channel_ids=_channel_ids(signals),
    )


def _gain_to_uV(signal: Any) -> float:
    """Return the size of the signal's unit in uV, nan for a dimensionless signal."""
    if not signal.dimensionality.simplified:
        return float("nan")
    try:
        return signal.units.rescale("uV").item()
    except ValueError as error:
        raise ValueError(
            f"source has a signal {signal.name!r} in {signal.dimensionality}: must be a voltage or dimensionless; "
            "give a list of the signals to be sorted"
        ) from error


def _channel_ids(signals: list) -> np.ndarray:
    """Return the names of the channels if they are known and unique, else numbers."""
    num_channels = sum(signal.shape[1] for signal in signals)
    candidates = [
        np.concatenate([signal.array_annotations[key] for signal in signals])
        for key in ("channel_names", "channel_ids")
        if all(key in signal.array_annotations for signal in signals)
    ]
    if all(signal.name for signal in signals):
        candidates.append(np.array([signal.name for signal in signals]))
    for ids in candidates:
        if np.unique(ids).size == ids.size == num_channels:
            return ids
    return np.arange(num_channels)


def _check_same_layout(first: _SignalSegment, segment: _SignalSegment, segment_index: int) -> None:
    for name in ("sampling_frequency", "channel_ids", "gains_to_uV"):
        expected, found = getattr(first, name), getattr(segment, name)
        if not np.array_equal(expected, found, equal_nan=name == "gains_to_uV"):
            raise ValueError(
                f"source has {name} = {expected} in segment 0 and {found} in segment {segment_index}: segments of one "
                "recording must agree; give the segments or signals that do"
            )


def _attach_probe(recording: NumpyRecording, probe: Probe | ProbeGroup) -> None:
    """Attach the probe where its wiring fits the channels; say what to change where not."""
    if not isinstance(probe, Probe | ProbeGroup):
        raise TypeError(f"probe = {type(probe).__name__}: must be a Probe or ProbeGroup of probeinterface")
    probes = probe.probes if isinstance(probe, ProbeGroup) else [probe]
    if any(one.ndim != 2 for one in probes):
        raise ValueError("probe has 3-D contact positions: must be 2-D; give probe.to_2d()")
    num_channels = recording.get_num_channels()
    wiring = [indices for one in probes if (indices := one.device_channel_indices) is not None]
    if len(wiring) < len(probes):
        raise ValueError(
            "probe has no device_channel_indices: they say which channel a contact is wired to; call "
            f"probe.set_device_channel_indices(range({num_channels})) if contacts are in channel order"
        )
    connected = np.concatenate(wiring)
    connected = np.sort(connected[connected >= 0])
    if not np.array_equal(connected, np.arange(num_channels)):
        raise ValueError(
            f"probe has device_channel_indices {connected.tolist()}: must name each of the {num_channels} channels of "
            "the recording once; change them, or give probe=None and call recording.select_channels_with_probegroup"
        )
    if isinstance(probe, ProbeGroup):
        recording.set_probegroup(probe)
    else:
        recording.set_probe(probe)


def _spike_trains_by_segment(source: Any) -> list[_TrainSegment]:
    segments = []
    for trains, segment in _items_by_segment(source, "SpikeTrain", "spiketrains"):
        annotations = {} if segment is None else segment.annotations
        signals = [] if segment is None else segment.analogsignals
        starts = [item.t_start.rescale("s").item() for item in (signals or trains)]
        # neo's default for a spike train is 1 Hz, which no recording has.
        given = [train.sampling_rate.rescale("Hz").item() for train in trains if train.sampling_rate is not None]
        rates = [rate for rate in given if rate != 1.0]
        if not rates and "sampling_frequency" in annotations:
            rates = [float(annotations["sampling_frequency"])]
        t_start = min(starts) if starts else float(annotations.get("t_start_s", 0.0))
        segments.append(_TrainSegment(trains=trains, t_start=t_start, sampling_frequencies=rates))
    return segments


def _carried_sampling_frequency(segments: list[_TrainSegment]) -> float:
    frequencies = [frequency for segment in segments for frequency in segment.sampling_frequencies]
    if not frequencies or not np.allclose(frequencies, frequencies[0], rtol=1e-9):
        found = sorted(set(frequencies)) or "no sampling rate"
        raise ValueError(
            f"sampling_frequency = None: the spike trains carry {found}; give the sampling frequency of the recording "
            "in Hz, sampling_frequency="
        )
    return frequencies[0]


def _match_units(segments: list[_TrainSegment]) -> dict[Any, dict[int, Any]]:
    """Return, for each unit id, the spike train of each segment where the unit has one."""
    has_ids = all("unit_id" in train.annotations for segment in segments for train in segment.trains)
    counts = [len(segment.trains) for segment in segments]
    if not has_ids and len(set(counts)) > 1:
        raise ValueError(
            f"source has {counts} spike trains in its segments and not all carry a unit_id, so units cannot be "
            "matched: call spike_train.annotate(unit_id=...) on each"
        )
    units: dict[Any, dict[int, Any]] = {}
    for segment_index, segment in enumerate(segments):
        for position, train in enumerate(segment.trains):
            unit_id = _unit_id(train) if has_ids else position
            trains = units.setdefault(unit_id, {})
            if segment_index in trains:
                raise ValueError(
                    f"source has two spike trains with unit_id = {unit_id!r} in segment {segment_index}: must be one; "
                    "merge them or annotate another unit_id"
                )
            trains[segment_index] = train
    return units


def _unit_id(train: Any) -> int | str:
    unit_id = _plain(train.annotations["unit_id"])
    if isinstance(unit_id, float) and unit_id.is_integer():
        return int(unit_id)
    if not isinstance(unit_id, int | str):
        raise ValueError(
            f"unit_id = {unit_id!r} on a spike train: must be an integer or a string; annotate it with another unit_id"
        )
    return unit_id


def _sample_indices(train: Any, t_start: float, sampling_frequency: float) -> np.ndarray:
    if "sample_index" in train.array_annotations:
        return np.asarray(train.array_annotations["sample_index"], dtype="int64")
    times = np.asarray(train.rescale("s").magnitude, dtype="float64")
    samples = np.round((times - t_start) * sampling_frequency).astype("int64")
    if (samples < 0).any():
        raise ValueError(
            f"source has a spike at {times.min()} s in a segment whose signals start at {t_start} s: cut the spike "
            "trains with train.time_slice(signal.t_start, signal.t_stop)"
        )
    return samples


def _unit_properties(trains_by_unit: dict[Any, dict[int, Any]]) -> dict[str, np.ndarray]:
    """Return the annotations that all units have, as one scalar of one type each."""
    units = [
        {key: _plain(value) for key, value in next(iter(trains.values())).annotations.items()}
        for trains in trains_by_unit.values()
    ]
    properties = {}
    for key in units[0] if units else ():
        values = [unit.get(key) for unit in units]
        if key not in _RESERVED_ANNOTATIONS and type(values[0]) in (bool, int, float, str):
            if all(type(value) is type(values[0]) for value in values):
                properties[key] = np.array(values)
    return properties


def _plain(value: Any) -> Any:
    """Return the Python value of a NumPy scalar, as which some readers give annotations."""
    return value.item() if isinstance(value, np.generic) else value
