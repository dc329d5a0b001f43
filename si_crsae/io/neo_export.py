"""Sortings to neo: how a sorting, its times, amplitudes and waveforms become a `neo.Block`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from spikeinterface.core import BaseRecording, BaseSorting, SortingAnalyzer

from si_crsae.io.neo_numbers import rate_in_hz, refuse_foreign_quantity

if TYPE_CHECKING:
    import neo

# Annotations of a spike train that a unit property must not overwrite.
_TAKEN = frozenset({"unit_id", "waveform_kind", "waveform_channel_ids"})


def to_neo(
    sorting_or_analyzer: BaseSorting | SortingAnalyzer,
    recording: BaseRecording | None = None,
    *,
    amplitudes: np.ndarray | None = None,
    with_waveforms: bool = False,
    with_signals: bool = False,
) -> neo.Block:
    """Return a sorting as a `neo.Block`, which `sorting_from_neo` turns back into the same sorting.

    Every unit has one `neo.SpikeTrain` per segment, empty where the unit is silent. Its annotations are `unit_id` and
    the properties of the unit that are numbers, booleans or strings (`main_channel_id`, `group`, ...). A `neo.Group`
    per unit holds its spike trains.

    Parameters
    ----------
    sorting_or_analyzer : BaseSorting or SortingAnalyzer
        What to export.
    recording : BaseRecording, optional
        Gives the times of the samples: start times and time vectors are respected. Without it the times are those of
        the analyzer's recording, else of the sorting.
    amplitudes : np.ndarray or Quantity, shape (num_spikes,), optional
        One value per spike, of any unit, in the order of ``sorting.to_spike_vector()``. Default: the
        `spike_amplitudes` of the analyzer, where computed. They become the array annotation `amplitude`.
    with_waveforms : bool, default: False
        If True, each spike carries a waveform (channel, sample): its own if the analyzer extracted the waveforms of
        all spikes, else the template of its unit. The annotation `waveform_kind` says which: "spike" or "template".
    with_signals : bool, default: False
        If True, copy the traces into the block as one `neo.AnalogSignal` per segment (uV), and add a
        `neo.ChannelView` of the main channel to the group of each unit that has a `main_channel_id`.

    Returns
    -------
    neo.Block
        One `neo.Segment` per segment; times in seconds. Where the samples are not evenly spaced in time, the array
        annotation `sample_index` of the spike trains keeps the way back exact.

    Raises
    ------
    TypeError
        If `sorting_or_analyzer` is neither a sorting nor an analyzer, or amplitudes have units that would be lost.
    ValueError
        If the recording does not fit the sorting, if what was asked for is not there, or if the sampling frequency is
        not positive or a time not finite.
    """
    import neo

    export = _gather(sorting_or_analyzer, recording, amplitudes, with_waveforms, with_signals)
    unit_ids = export.sorting.unit_ids.tolist()
    block = neo.Block(name="spike sorting")
    groups = [neo.Group(name=f"unit {unit_id}", unit_id=unit_id) for unit_id in unit_ids]
    for segment_index in range(export.sorting.get_num_segments()):
        segment = neo.Segment(
            name=f"segment {segment_index}",
            index=segment_index,
            sampling_frequency=float(export.clock.get_sampling_frequency()),
            t_start_s=float(export.clock.get_start_time(segment_index)),
        )
        for unit_index, group in enumerate(groups):
            spike_train = _spike_train(export, unit_index, segment_index)
            segment.spiketrains.append(spike_train)
            group.add(spike_train)
        if with_signals:
            signal = _signal(export.clock, segment_index)
            segment.analogsignals.append(signal)
            _add_main_channel_views(groups, signal, export.annotations)
        block.segments.append(segment)
    block.groups.extend(groups)
    return block


@dataclass(frozen=True, slots=True, kw_only=True)
class _Export:
    """What `to_neo` needs of a sorting, in the order of its spike vector and of its units."""

    sorting: BaseSorting
    clock: Any  # the recording, else the sorting: they share the methods that tell the time
    sample_indices: np.ndarray
    indices: dict[int, dict[Any, np.ndarray]]
    annotations: list[dict[str, Any]]
    amplitudes: np.ndarray | None
    waveforms: list[_UnitWaveforms] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnitWaveforms:
    """Waveforms of all spikes of one unit, `data` being a quantity (spike, channel, sample)."""

    data: Any
    num_before: int
    channel_ids: list
    kind: str


def _gather(
    sorting_or_analyzer: Any, recording: BaseRecording | None, amplitudes: Any, with_waveforms: bool, with_signals: bool
) -> _Export:
    analyzer = sorting_or_analyzer if isinstance(sorting_or_analyzer, SortingAnalyzer) else None
    sorting = sorting_or_analyzer if analyzer is None else analyzer.sorting
    if not isinstance(sorting, BaseSorting):
        raise TypeError(
            f"sorting_or_analyzer = {type(sorting).__name__}: must be a sorting or a SortingAnalyzer of SpikeInterface"
        )
    if recording is None and analyzer is not None and (analyzer.has_recording() or analyzer.has_temporary_recording()):
        recording = analyzer.recording
    if recording is not None:
        _check_recording_fits(sorting, recording)
    if with_signals:
        _check_has_signals(recording)
    clock = sorting if recording is None else recording
    rate_in_hz(clock.get_sampling_frequency(), name=f"sampling_frequency of {type(clock).__name__}")
    _check_spikes_inside(sorting, clock)
    return _Export(
        sorting=sorting,
        clock=clock,
        sample_indices=np.asarray(sorting.to_spike_vector())["sample_index"],
        indices=sorting.get_spike_vector_to_indices(),
        annotations=_unit_annotations(sorting),
        amplitudes=_amplitudes(sorting, analyzer, amplitudes),
        waveforms=_waveforms(analyzer) if with_waveforms else None,
    )


def _check_recording_fits(sorting: BaseSorting, recording: BaseRecording) -> None:
    if recording.get_num_segments() != sorting.get_num_segments():
        raise ValueError(
            f"recording has {recording.get_num_segments()} segments and the sorting {sorting.get_num_segments()}: "
            "give the recording that was sorted"
        )
    if not np.isclose(recording.sampling_frequency, sorting.sampling_frequency):
        raise ValueError(
            f"recording is sampled at {recording.sampling_frequency} Hz and the sorting at "
            f"{sorting.sampling_frequency} Hz: give the recording that was sorted"
        )


def _check_spikes_inside(sorting: BaseSorting, clock: BaseRecording | BaseSorting) -> None:
    ends = isinstance(clock, BaseRecording) or clock.has_recording()
    for segment_index, spikes in enumerate(sorting.to_spike_vector(concatenated=False)):
        num_samples = clock.get_num_samples(segment_index) if ends else np.inf
        outside = (spikes["sample_index"] < 0) | (spikes["sample_index"] >= num_samples)
        if outside.any():
            raise ValueError(
                f"sorting has {outside.sum()} spikes outside the {num_samples} samples of segment {segment_index} of "
                "the recording: give the recording that was sorted, or drop them with "
                "spikeinterface.curation.remove_excess_spikes(sorting, recording)"
            )


def _check_has_signals(recording: BaseRecording | None) -> None:
    if recording is None:
        raise ValueError("with_signals = True: there is no recording to take signals from; give recording=")
    for segment_index in range(recording.get_num_segments()):
        if recording.has_time_vector(segment_index):
            raise ValueError(
                f"with_signals = True: segment {segment_index} has a time vector, which neo.AnalogSignal cannot hold; "
                "leave with_signals off, or call recording.reset_times() first"
            )


def _amplitudes(sorting: BaseSorting, analyzer: SortingAnalyzer | None, amplitudes: Any) -> Any:
    """Return one amplitude per spike of the spike vector, or None if nobody knows them."""
    import quantities

    refuse_foreign_quantity(amplitudes, name="amplitudes")
    if amplitudes is None:
        extension = None if analyzer is None else analyzer.get_extension("spike_amplitudes")
        return None if extension is None else quantities.Quantity(extension.get_data(), _unit_of(analyzer))
    num_spikes = sorting.count_total_num_spikes()
    if np.shape(amplitudes) != (num_spikes,):
        raise ValueError(
            f"amplitudes has shape {np.shape(amplitudes)}: must be ({num_spikes},), one value per spike in the order "
            "of sorting.to_spike_vector()"
        )
    return amplitudes if hasattr(amplitudes, "units") else np.asarray(amplitudes)


def _unit_of(analyzer: Any) -> str:
    return "uV" if analyzer.return_in_uV else "dimensionless"


def _waveforms(analyzer: Any) -> list[_UnitWaveforms]:
    """Return the waveforms of every unit: of each spike if all were extracted, else its template repeated."""
    import quantities

    if analyzer is None:
        raise ValueError(
            "with_waveforms = True: a sorting holds no waveforms; give spikeinterface.create_sorting_analyzer(sorting, "
            "recording) with 'templates' computed"
        )
    selection = analyzer.get_extension("random_spikes")
    extension = analyzer.get_extension("waveforms")
    num_spikes = analyzer.sorting.count_num_spikes_per_unit()
    has_all_spikes = extension is not None and selection.get_data().size == sum(num_spikes.values())
    if not has_all_spikes:
        extension = analyzer.get_extension("templates")
    if extension is None:
        raise ValueError(
            "with_waveforms = True: the analyzer has neither 'templates' nor the 'waveforms' of all spikes; call "
            "analyzer.compute(['random_spikes', 'templates'])"
        )
    waveforms = []
    for unit_id in analyzer.unit_ids:
        channels = analyzer.sparsity.unit_id_to_channel_indices[unit_id] if analyzer.is_sparse() else slice(None)
        if has_all_spikes:
            data = quantities.Quantity(extension.get_waveforms_one_unit(unit_id), _unit_of(analyzer))
        else:
            template = quantities.Quantity(extension.get_unit_template(unit_id)[:, channels], _unit_of(analyzer))
            # A view: a template costs the same for a million spikes as for one.
            data = np.broadcast_to(template, (num_spikes[unit_id], *template.shape), subok=True)
        waveforms.append(
            _UnitWaveforms(
                data=data.transpose(0, 2, 1),
                num_before=extension.nbefore,
                channel_ids=analyzer.channel_ids[channels].tolist(),
                kind="spike" if has_all_spikes else "template",
            )
        )
    return waveforms


def _unit_annotations(sorting: BaseSorting) -> list[dict[str, Any]]:
    """Return the id and the scalar properties of every unit, as plain Python values."""
    columns = {key: sorting.get_property(key) for key in sorting.get_property_keys() if key not in _TAKEN}
    scalars = {key: values for key, values in columns.items() if values.ndim == 1 and values.dtype.kind in "biufU"}
    return [
        {"unit_id": unit_id} | {key: values[unit_index].item() for key, values in scalars.items()}
        for unit_index, unit_id in enumerate(sorting.unit_ids.tolist())
    ]


def _spike_train(export: _Export, unit_index: int, segment_index: int) -> neo.SpikeTrain:
    import neo
    import quantities

    unit_id = export.sorting.unit_ids[unit_index]
    spikes = export.indices[segment_index][unit_id]
    sample_indices = export.sample_indices[spikes]
    sampling_frequency = export.clock.get_sampling_frequency()
    array_annotations = {}
    if export.clock.has_time_vector(segment_index):
        array_annotations["sample_index"] = sample_indices
    if export.amplitudes is not None:
        array_annotations["amplitude"] = export.amplitudes[spikes]
    times = export.clock.sample_index_to_time(sample_indices, segment_index=segment_index)
    if not np.isfinite(times).all():
        raise ValueError(
            f"recording has times in segment {segment_index} that are NaN or infinite: set others, or call "
            "recording.reset_times()"
        )
    spike_train = neo.SpikeTrain(
        times,
        units="s",
        t_start=export.clock.get_start_time(segment_index) * quantities.s,
        # SpikeInterface's end is the time of the last sample, neo's is where the recording stops.
        t_stop=export.clock.get_end_time(segment_index) + 1 / sampling_frequency,
        sampling_rate=sampling_frequency * quantities.Hz,
        name=f"unit {unit_id}",
        array_annotations=array_annotations,
    )
    spike_train.annotate(**export.annotations[unit_index])
    if export.waveforms is not None:
        waveforms = export.waveforms[unit_index]
        first = sum(export.indices[earlier][unit_id].size for earlier in range(segment_index))
        spike_train.waveforms = waveforms.data[first : first + spikes.size]
        spike_train.left_sweep = waveforms.num_before / sampling_frequency * quantities.s
        spike_train.annotate(waveform_kind=waveforms.kind, waveform_channel_ids=waveforms.channel_ids)
    return spike_train


def _signal(recording: BaseRecording, segment_index: int) -> Any:
    import neo
    import quantities

    in_uV = recording.has_scaleable_traces()
    return neo.AnalogSignal(
        recording.get_traces(segment_index=segment_index, return_in_uV=in_uV),
        units="uV" if in_uV else "dimensionless",
        sampling_rate=recording.sampling_frequency * quantities.Hz,
        t_start=recording.get_start_time(segment_index) * quantities.s,
        name="traces",
        array_annotations={"channel_ids": recording.channel_ids},
    )


def _add_main_channel_views(groups: list, signal: neo.AnalogSignal, annotations: list[dict[str, Any]]) -> None:
    import neo

    for group, unit in zip(groups, annotations, strict=True):
        (channels,) = np.nonzero(signal.array_annotations["channel_ids"] == unit.get("main_channel_id"))
        if channels.size:
            group.add(neo.ChannelView(signal, channels, name="main channel"))
