"""Recordings and sortings from neo: whatever a neo reader returns, in the terms of SpikeInterface."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from probeinterface import Probe, ProbeGroup
from spikeinterface.core import NumpyRecording, NumpySorting, SpikeVectorSortingSegment
from spikeinterface.core.base import minimum_spike_dtype

from si_crsae.io.neo_numbers import number_in, rate_in_hz
from si_crsae.io.neo_units import match_units, unit_properties

# Rates that differ by less, relatively, are one: 1 / 0.1 ms and 10 kHz are not quite the same number.
SAME_RATE = 1e-9


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
        channels or gains, if units are no voltages, if a rate is not positive or a start not finite, or if the probe
        does not fit.
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


def sorting_from_neo(source: Any, *, sampling_frequency: Any = None) -> NumpySorting:
    """Return the spike trains of neo as a sorting: the inverse of `to_neo`.

    Parameters
    ----------
    source : neo.Block, neo.Segment or list
        A block or a list of segments gives one segment of the sorting each. A list of spike trains is one segment, a
        list of lists several. Lazy objects are loaded.
    sampling_frequency : float or Quantity, optional
        In Hz, or a quantity of any unit of frequency. Default: the one that the segments or the spike trains carry.

    Returns
    -------
    NumpySorting
        Sample 0 is the start of the signals of a segment, where it has any, else the earliest `t_start` of its spike
        trains. Units are matched across segments by the annotation `unit_id`, where all spike trains have it, else by
        position; where some ids are strings, all become strings. Annotations that are numbers, booleans or strings, on
        all spike trains, and the same on all of a unit, become properties of the units.

    Raises
    ------
    TypeError
        If `source` or the sampling frequency is of another type.
    ValueError
        If the sampling frequency is missing, ambiguous, not positive or no frequency, if units cannot be matched, if a
        spike precedes the start or its time is not finite, or if an annotation cannot be the name of a property.
    """
    segments = _spike_trains_by_segment(source)
    if sampling_frequency is None:
        sampling_frequency = _carried_sampling_frequency(segments)
    else:
        sampling_frequency = rate_in_hz(sampling_frequency, name="sampling_frequency")
    trains_by_unit = match_units([segment.trains for segment in segments])
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
    for key, values in unit_properties(trains_by_unit).items():
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
    """The spike trains of one segment, its start (s) and what else its neo.Segment says, if it comes from one."""

    trains: list
    t_start: float
    annotations: dict[str, Any]


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
        for signal in signals:
            if signal.dtype.kind not in "iuf":
                raise ValueError(
                    f"source has {_called(signal)} of {signal.dtype}: must be integers or floats; give a list of the "
                    "signals to be sorted"
                )
    return segments


def _merge_signals(signals: list) -> _SignalSegment:
    """Put the channels of simultaneous signals side by side."""
    rates = np.array([rate_in_hz(one.sampling_rate, name=f"sampling_rate of {_called(one)}") for one in signals])
    starts = np.array([number_in("s", one.t_start, name=f"t_start of {_called(one)}") for one in signals])
    lengths = np.array([signal.shape[0] for signal in signals])
    agree = np.isclose(rates, rates[0], rtol=SAME_RATE) & (np.abs(starts - starts[0]) * rates[0] < 0.5)
    agree &= lengths == lengths[0]
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
        gain = signal.units.rescale("uV").item()
    except ValueError as error:
        raise ValueError(
            f"source has a signal {signal.name!r} in {signal.dimensionality}: must be a voltage or dimensionless; "
            "give a list of the signals to be sorted"
        ) from error
    if not np.isfinite(gain) or gain == 0:
        raise ValueError(f"source has {_called(signal)} in units of {gain} uV: must be finite and not 0; correct it")
    return gain


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
        agree = np.array_equal(expected, found) if name == "channel_ids" else _close(expected, found)
        if not agree:
            raise ValueError(
                f"source has {name} = {expected} in segment 0 and {found} in segment {segment_index}: segments of one "
                "recording must agree; give the segments or signals that do"
            )


def _close(expected: Any, found: Any) -> bool:
    return np.shape(expected) == np.shape(found) and np.allclose(
        expected, found, rtol=SAME_RATE, atol=0, equal_nan=True
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
        starts = [number_in("s", item.t_start, name=f"t_start of {_called(item)}") for item in (signals or trains)]
        if not starts and "t_start_s" in annotations:
            starts = [number_in("s", annotations["t_start_s"], name="annotation t_start_s of a segment")]
        segments.append(_TrainSegment(trains=trains, t_start=min(starts, default=0.0), annotations=annotations))
    return segments


def _carried_sampling_frequency(segments: list[_TrainSegment]) -> float:
    frequencies = []
    for segment in segments:
        rates = [rate for train in segment.trains if (rate := _own_rate(train)) is not None]
        if not rates and "sampling_frequency" in segment.annotations:
            annotation = segment.annotations["sampling_frequency"]
            rates = [rate_in_hz(annotation, name="annotation sampling_frequency of a segment")]
        frequencies += rates
    if not frequencies or not np.allclose(frequencies, frequencies[0], rtol=SAME_RATE):
        found = sorted(set(frequencies)) or "no sampling rate"
        raise ValueError(
            f"sampling_frequency = None: the spike trains carry {found}; give the sampling frequency of the recording "
            "in Hz, sampling_frequency="
        )
    return frequencies[0]


def _own_rate(train: Any) -> float | None:
    """Return the sampling rate (Hz) that a spike train carries, if any."""
    if train.sampling_rate is None:
        return None
    rate = rate_in_hz(train.sampling_rate, name=f"sampling_rate of {_called(train)}")
    # neo's default for a spike train is 1 Hz, which no recording has.
    return None if rate == 1.0 else rate


def _sample_indices(train: Any, t_start: float, sampling_frequency: float) -> np.ndarray:
    indices = train.array_annotations.get("sample_index")
    if indices is not None and np.isclose(_own_rate(train) or sampling_frequency, sampling_frequency, rtol=SAME_RATE):
        return _checked_indices(np.asarray(indices), train)
    scale = number_in("s", train.units, name=f"unit of {_called(train)}")
    times = np.asarray(train.magnitude, dtype="float64") * scale
    if not np.isfinite(times).all():
        raise ValueError(
            f"source has {_called(train)} with {np.sum(~np.isfinite(times))} times that are NaN or infinite: take them "
            "out, train[numpy.isfinite(train)]"
        )
    samples = np.round((times - t_start) * sampling_frequency)
    if (samples < 0).any():
        raise ValueError(
            f"source has a spike at {times.min()} s in a segment whose signals start at {t_start} s: cut the spike "
            "trains with train.time_slice(signal.t_start, signal.t_stop)"
        )
    return _checked_indices(samples, train)


def _checked_indices(samples: np.ndarray, train: Any) -> np.ndarray:
    """Return positions of spikes as integers, if they are whole and can be."""
    if samples.dtype.kind not in "iuf" or not ((samples >= 0) & (samples < 2.0**63) & (samples == samples // 1)).all():
        raise ValueError(
            f"source has {_called(train)} with the samples {samples}: must be whole numbers from 0 to 2**63; check its "
            "array annotation sample_index, its unit, and the sampling frequency"
        )
    return samples.astype("int64")


def _called(item: Any) -> str:
    """Return a spike train or signal in words."""
    kind = "a spike train" if hasattr(item, "left_sweep") else "a signal"
    return f"{kind} {item.name!r}" if item.name else kind
