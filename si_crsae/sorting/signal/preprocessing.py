"""SpikeInterface's filters, chained: raw recording to whitened traces with unit noise."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float
from spikeinterface.core import BaseRecording, NumpyRecording
from spikeinterface.preprocessing import (
    bandpass_filter,
    common_reference,
    correct_motion,
    get_motion_parameters_preset,
    load_motion_info,
    scale,
    whiten,
)
from spikeinterface.preprocessing.whiten import compute_whitening_matrix
from spikeinterface.sortingcomponents.motion import interpolate_motion

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.signal.gaps import fill_gaps
from si_crsae.sorting.signal.sampling import TraceSample, active_share, sample_traces

logger = logging.getLogger(__name__)


def preprocess(
    recording: BaseRecording,
    config: CrsaeConfig,
    *,
    folder: Path,
    keep_motion: bool = False,
) -> BaseRecording:
    """Return the recording filtered, referenced, whitened and scaled to unit noise; nothing is computed yet.

    Parameters
    ----------
    recording : BaseRecording
        Any data type, gain and offset; needs channel locations.
    config : CrsaeConfig
    folder : Path
        Where the estimated motion is saved, if motion correction is asked for.
    keep_motion : bool, default: False
        If True, motion saved in the folder is taken instead of estimating it again.

    Returns
    -------
    BaseRecording
        Lazy, float32, noise of standard deviation 1 on every channel.
    """
    if config.apply_preprocessing:
        recording = bandpass(recording, config)
        if config.apply_motion_correction:
            recording = _correct_motion(recording, config, folder=folder / "motion", keep=keep_motion)
        recording, sample = _whiten(recording, config)
    else:
        recording = cast(BaseRecording, recording.astype("float32"))
        sample = sample_traces(recording, seed=config.seed)
    return cast(BaseRecording, scale(recording, gain=1.0 / usable_noise_levels(sample), dtype="float32"))


def usable_noise_levels(sample: TraceSample) -> Float[np.ndarray, " channel"]:
    """Return the noise of every channel in the units of its traces; 1 for a channel that shows none."""
    noise_levels = sample.noise_levels()
    return np.where(noise_levels > 0, noise_levels, 1.0)


def bandpass(recording: BaseRecording, config: CrsaeConfig) -> BaseRecording:
    """Return the recording with its gaps filled, filtered and, with enough channels, referenced; in its own units."""
    if not config.apply_preprocessing:
        return recording
    freq_max = _highest_frequency(recording, config)
    filled = fill_gaps(recording, seed=config.seed)
    filtered = bandpass_filter(
        filled, freq_min=config.freq_min, freq_max=freq_max, ftype="bessel", filter_order=2, dtype="float32"
    )
    enough_channels = recording.get_num_channels() >= ASSUMED.recordings.min_channels_for_reference
    if config.common_reference == "yes" or (config.common_reference == "auto" and enough_channels):
        filtered = common_reference(cast(BaseRecording, filtered))
    return cast(BaseRecording, filtered)


def tell_lowered_band(recording: BaseRecording, config: CrsaeConfig) -> None:
    """Say in the log, once for a run, that the recording is too slow for the upper end of the band."""
    freq_max = _highest_frequency(recording, config)
    if config.apply_preprocessing and freq_max < config.freq_max:
        lowered = "freq_max = %g Hz lowered to %g Hz, %g of the sampling frequency"
        logger.info(lowered, config.freq_max, freq_max, ASSUMED.recordings.max_frequency_fraction)


def _highest_frequency(recording: BaseRecording, config: CrsaeConfig) -> float:
    return min(config.freq_max, ASSUMED.recordings.max_frequency_fraction * recording.sampling_frequency)


def filtered_share(recording: BaseRecording, config: CrsaeConfig) -> float:
    """Return the part of a raw recording that is not silent once filtered: beside slow waves all else is faint."""
    return active_share(bandpass(recording, config), seed=config.seed)


def _whiten(recording: BaseRecording, config: CrsaeConfig) -> tuple[BaseRecording, TraceSample]:
    """Return the whitened recording and a sample of its traces; what is silent has no say in how it is whitened."""
    sample = sample_traces(recording, seed=config.seed)
    if recording.get_num_channels() == 1:
        return recording, sample
    active = NumpyRecording([sample.fully_active_traces()], recording.sampling_frequency)
    active.set_dummy_probe_from_locations(recording.get_channel_locations())
    matrix, _ = compute_whitening_matrix(
        active,
        mode="local",
        random_chunk_kwargs={
            "num_chunks_per_segment": 1,
            "chunk_size": active.get_num_samples(0) - 1,
            "seed": config.seed,
        },
        apply_mean=False,
        radius_um=config.whitening_radius_um,
    )
    whitened = whiten(recording, dtype="float32", mode="local", radius_um=config.whitening_radius_um, W=matrix)
    return cast(BaseRecording, whitened), replace(sample, traces=sample.traces @ matrix)


def _correct_motion(recording: BaseRecording, config: CrsaeConfig, *, folder: Path, keep: bool) -> BaseRecording:
    if keep and folder.is_dir():
        settings = get_motion_parameters_preset(config.motion_correction_preset)["interpolate_motion_kwargs"]
        return cast(BaseRecording, interpolate_motion(recording, load_motion_info(folder)["motion"], **settings))
    shutil.rmtree(folder, ignore_errors=True)  # a run that was interrupted may have left half of it
    preset: Any = config.motion_correction_preset
    return cast(BaseRecording, correct_motion(recording, preset=preset, folder=folder))
