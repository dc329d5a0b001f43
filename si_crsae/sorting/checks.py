"""Everything that can be wrong with a recording, a device or a disk, said before any work starts."""

import logging
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from spikeinterface.core import BaseRecording

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.convert import TemplateWindow, channels_without_gain
from si_crsae.sorting.geometry import doubtful_geometry, geometry_problems
from si_crsae.sorting.signal.caching import memory_problems
from si_crsae.sorting.signal.channels import is_digital
from si_crsae.sorting.signal.hum import find_hum
from si_crsae.sorting.signal.periods import ExcludedPeriods, exclude, period_problems
from si_crsae.sorting.signal.preprocessing import filter_traces, filtered_share
from si_crsae.sorting.signal.recording import (
    describe_bad_sample,
    longest_tile,
    plausible_limits,
    tile_bounds,
)
from si_crsae.sorting.signal.sampling import draw_slices, draw_traces, sample_traces

# A recording of more values is searched for those that are not finite in slices only: some seconds of reading.
MAX_SCANNED_VALUES = 2 * 10**8
NUM_SCANNED_SLICES = 400
# Integers of so many bytes hold no sample that is implausible.
NARROW_BYTES = 2
# From so many its channels are judged.
NUM_SAMPLED_SLICES = 50
SLICE_S = 0.1
# Of many segments of one kind.
NUM_NAMED = 5
BYTES_PER_CACHED_VALUE = 4  # float32

logger = logging.getLogger(__name__)


def check_recording(recording: BaseRecording, config: CrsaeConfig, *, folder: Path | None = None) -> None:
    """Refuse a recording that cannot be sorted with these parameters, and warn of what is doubtful.

    Recordings of more than 16 bits are searched for samples that are not finite, or implausibly large: all of a short
    one, random slices of a long one.

    Parameters
    ----------
    recording : BaseRecording
        As given by the user.
    config : CrsaeConfig
    folder : Path or None, default: None
        Existing folder of the run, whose disk must hold a cache that is asked for; None skips that check.

    Raises
    ------
    ValueError
        Lists every problem with what is allowed and what to do.
    """
    problems = [*_settings_problems(recording, config), *_size_problems(recording, config)]
    given = ExcludedPeriods()
    if recording.get_num_channels() and recording.get_total_samples():
        faults = list(period_problems(recording, config))
        problems += faults
        given = given if faults else ExcludedPeriods.given(recording, config)
        recording = exclude(recording, given, config)
        problems += [*geometry_problems(recording, config), *_value_problems(recording, config.seed)]
        if folder is not None:
            problems += _disk_problems(recording, config, folder)
    if problems:
        raise ValueError("\n  ".join(["crsae cannot sort this recording:", *problems]))
    for doubt in (
        *_short_recording(recording, given),
        *_short_segments(recording, config),
        *doubtful_geometry(recording, config),
        *_useless_gains(recording),
        *_saturation(recording, config.seed),
        *_silence(recording, config, given),
        *_hum(recording, config),
    ):
        warnings.warn(doubt, stacklevel=2)


def resolve_device(name: str) -> torch.device:
    """Return the device of the parameter `device`: of ``"auto"`` a GPU if there is one.

    Raises
    ------
    ValueError
        If the machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    problems = _device_problems(name)
    if problems:
        raise ValueError(problems[0])
    return torch.device(name)


def _settings_problems(recording: BaseRecording, config: CrsaeConfig) -> Iterator[str]:
    yield from _device_problems(config.device)
    slowest = ASSUMED.recordings.min_sampling_hz
    if recording.sampling_frequency < slowest:
        yield (
            f"sampling_frequency = {recording.sampling_frequency:g} Hz: spikes last about a millisecond, so that at "
            f"least {slowest:g} Hz are needed; if it is given in kHz, multiply it by 1000"
        )
    elif config.apply_preprocessing:
        yield from _band_problems(recording, config)
    yield from _window_problems(recording, config)


def _band_problems(recording: BaseRecording, config: CrsaeConfig) -> Iterator[str]:
    highest = ASSUMED.recordings.max_frequency_fraction * recording.sampling_frequency
    if config.freq_min >= highest:
        yield (
            f"sampling_frequency = {recording.sampling_frequency:g} Hz: the band must start below {highest:g} Hz, "
            f"freq_min = {config.freq_min:g} Hz does not; lower it or give the recording at its full rate"
        )
    lowest = ASSUMED.recordings.min_band_start_hz
    if config.freq_min < lowest:
        yield (
            f"freq_min = {config.freq_min:g} Hz: the band must start at {lowest:g} Hz or above, for every second of "
            "signal is filtered with five periods on either side; raise it, or filter the recording yourself and set "
            "apply_preprocessing = False"
        )


def _window_problems(recording: BaseRecording, config: CrsaeConfig) -> Iterator[str]:
    window, assumed = TemplateWindow.of(recording, config), ASSUMED.recordings
    asked = f"ms_before = {config.ms_before:g}, ms_after = {config.ms_after:g}"
    num_after = window.width - window.num_before
    if window.width < assumed.min_template_samples or window.num_before < 1 or num_after < 1:
        slow = (
            f"{recording.sampling_frequency:g} Hz hold waveforms of surface EMG, not spikes of neurons: for them try "
        )
        is_slow = recording.sampling_frequency < assumed.min_neuron_sampling_hz
        yield (
            f"{asked}: {window.num_before} + {num_after} samples at {recording.sampling_frequency:g} Hz; at least "
            f"{assumed.min_template_samples} are needed, one of them before the peak and one from it on; raise them"
            + (f" ({slow}ms_before = 10, ms_after = 15 and freq_min = 20)" if is_slow else "")
        )
    elif config.ms_before + config.ms_after > assumed.max_template_ms:
        yield (
            f"{asked}: a template of {config.ms_before + config.ms_after:g} ms, longer than the waveform of any neuron "
            f"or motor unit; {assumed.max_template_ms:g} ms at most are allowed; lower them"
        )


def _device_problems(name: str) -> list[str]:
    if not name.startswith("cuda"):
        return []
    if not torch.cuda.is_available():
        return [f"device = {name!r}: torch finds no CUDA device on this machine; use 'auto' or 'cpu'"]
    count = torch.cuda.device_count()
    if (torch.device(name).index or 0) >= count:
        return [f"device = {name!r}: this machine has {count} CUDA device(s); use 'cuda:0' to 'cuda:{count - 1}'"]
    return []


def _size_problems(recording: BaseRecording, config: CrsaeConfig) -> Iterator[str]:
    if recording.get_num_channels() == 0:
        yield "num_channels = 0: at least one channel is needed; select others"
    longest = _longest_segment(recording)
    width = TemplateWindow.of(recording, config).width
    if longest == 0:
        yield "num_samples = 0 in every segment: there is no signal; check how the recording was made"
    elif longest < width:
        yield (
            f"num_samples = {longest} in the longest segment: one template takes {width} samples; "
            "give more signal, or lower ms_before and ms_after"
        )


def _value_problems(recording: BaseRecording, seed: int) -> Iterator[str]:
    data_type = np.dtype(recording.get_dtype())
    if data_type.kind not in "iuf":
        yield f"dtype = {data_type}: integers or floating-point numbers are needed; convert with recording.astype"
        return
    if data_type.kind in "iu" and data_type.itemsize <= NARROW_BYTES:
        return
    with np.errstate(all="ignore"):  # of what is not finite, which is told by itself
        sample = sample_traces(recording, seed=seed)
        limits = plausible_limits(sample.baselines(), sample.noise_levels())
    for segment_index, start, end in _slices_to_scan(recording, seed):
        traces = recording.get_traces(segment_index=segment_index, start_frame=start, end_frame=end)
        problem = describe_bad_sample(recording, traces, limits, segment_index=segment_index, start=start)
        if problem:
            yield problem
            return


def _disk_problems(recording: BaseRecording, config: CrsaeConfig, folder: Path) -> Iterator[str]:
    duration_s = min(recording.get_total_duration(), config.learning_duration_s)
    needed = duration_s * recording.sampling_frequency * recording.get_num_channels() * BYTES_PER_CACHED_VALUE
    if config.cache_preprocessing_mode == "memory":
        yield from memory_problems(int(needed), config.job_kwargs)
    if config.cache_preprocessing_mode not in ("folder", "zarr"):
        return
    free = shutil.disk_usage(folder).free
    if needed > free:
        yield (
            f"cache_preprocessing_mode = {config.cache_preprocessing_mode!r} needs up to {needed / 1e9:.2f} GB, "
            f"{folder} has {free / 1e9:.2f} GB free: free some space, or use 'memory' or 'no-cache'"
        )


def _short_recording(recording: BaseRecording, given: ExcludedPeriods) -> Iterator[str]:
    duration_s, enough_s = given.kept_s(recording), ASSUMED.recordings.min_duration_s
    if duration_s < enough_s:
        yield (
            f"the recording lasts {duration_s:.2g} s: most neurons fire too few spikes in that to be told from each "
            f"other and from noise, so that units may be missing, joined or false; give at least {enough_s:g} s, "
            "better minutes, all segments together"
        )


def _short_segments(recording: BaseRecording, config: CrsaeConfig) -> Iterator[str]:
    width = TemplateWindow.of(recording, config).width
    lengths = [recording.get_num_samples(segment) for segment in range(recording.get_num_segments())]
    short = [segment for segment, num_samples in enumerate(lengths) if num_samples < width]
    if len(short) == 1:
        yield (
            f"segment {short[0]} has {lengths[short[0]]} samples, less than the {width} of a template: "
            "no spike will be found in it"
        )
    elif short:
        which = ", ".join(map(str, short[:NUM_NAMED])) + (", ..." if len(short) > NUM_NAMED else "")
        yield (
            f"{len(short)} of {len(lengths)} segments ({which}) have less than the {width} samples of a template: "
            "no spike will be found in them"
        )


def _useless_gains(recording: BaseRecording) -> Iterator[str]:
    if useless := channels_without_gain(recording):
        yield (
            f"channels {useless} have a gain of zero, or a gain or offset that is NaN or inf: templates are told in "
            "the units of the traces, not in uV; set them, recording.set_channel_gains and set_channel_offsets"
        )


def _saturation(recording: BaseRecording, seed: int) -> Iterator[str]:
    traces, assumed = draw_traces(recording, seed=seed), ASSUMED.recordings
    lowest, highest = traces.min(axis=0), traces.max(axis=0)
    num_extreme = np.maximum((traces == lowest).sum(axis=0), (traces == highest).sum(axis=0))
    enough = num_extreme >= assumed.min_saturated_samples
    saturated = enough & (num_extreme > assumed.saturated_fraction * len(traces))
    saturated &= (highest > lowest) & (~is_digital(traces) | _fills_range(traces.dtype, lowest, highest))
    if traces.dtype.kind in "iu":  # few levels: extremes are common without any clipping
        saturated &= highest.astype("float64") - lowest.astype("float64") >= assumed.min_quantization_levels
    if saturated.any():
        ids = recording.channel_ids[saturated].tolist()
        misread = _misread_hint(traces.dtype, lowest[saturated], highest[saturated])
        yield (
            f"channels {ids} are saturated: up to {num_extreme[saturated].max() / len(traces):.1%} of their samples "
            "lie at one extreme value; spikes there are distorted or lost; record at a lower gain, or blank them "
            f"(spikeinterface.preprocessing.blank_saturation){misread}"
        )


def _silence(recording: BaseRecording, config: CrsaeConfig, given: ExcludedPeriods) -> Iterator[str]:
    share = filtered_share(recording, config, is_excluded=given.contain)
    if 0 < share < 1:  # of no share at all, every channel is called constant
        yield (
            f"about {1 - share:.0%} of the recording is silent on all channels, constant or far fainter than the rest: "
            "nothing is learned from it or found in it, and rates are those of the rest"
        )


def _hum(recording: BaseRecording, config: CrsaeConfig) -> Iterator[str]:
    hum = find_hum(filter_traces(recording, config), seed=config.seed)
    if hum.size_to_noise > ASSUMED.recordings.max_hum_to_noise:
        frequencies = ", ".join(f"{frequency:g}" for frequency in hum.frequencies_hz)
        yield (
            f"hum is left after the filter, up to {hum.size_to_noise:.1f} times as large as the noise: raise freq_min "
            f"or take it out first, for frequency in ({frequencies},): recording = "
            "spikeinterface.preprocessing.notch_filter(recording, freq=frequency, q=frequency / 5)"
        )


def _fills_range(dtype: np.dtype, lowest: np.ndarray, highest: np.ndarray) -> Bool[np.ndarray, " channel"]:
    """Return which channels reach both ends of a signed type."""
    if dtype.kind != "i":
        return np.zeros(lowest.shape, bool)
    limits = np.iinfo(dtype)
    return (lowest <= limits.min + 1) & (highest >= limits.max - 1)


def _misread_hint(dtype: np.dtype, lowest: np.ndarray, highest: np.ndarray) -> str:
    """Say what else it may be where saturated channels fill the range of a signed type."""
    if not _fills_range(dtype, lowest, highest).any():
        return ""
    return (
        f"; or unsigned samples were read as {dtype}: read them as u{dtype}, then "
        "spikeinterface.preprocessing.unsigned_to_signed"
    )


def _longest_segment(recording: BaseRecording) -> int:
    return max((recording.get_num_samples(segment) for segment in range(recording.get_num_segments())), default=0)


def _slices_to_scan(recording: BaseRecording, seed: int) -> list[tuple[int, int, int]]:
    """Return (segment, start, end): the whole of a small recording, random slices of a large one."""
    if recording.get_total_samples() * recording.get_num_channels() > MAX_SCANNED_VALUES:
        return draw_slices(recording, num_slices=NUM_SCANNED_SLICES, seed=seed)
    length = longest_tile(recording.get_num_channels())
    return [
        (segment, start, end)
        for segment in range(recording.get_num_segments())
        for start, end in tile_bounds(recording.get_num_samples(segment), length)
    ]
