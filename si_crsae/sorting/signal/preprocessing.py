"""SpikeInterface's filters, chained: raw recording to whitened traces with unit noise."""

import logging
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from jaxtyping import Float
from spikeinterface.core import BaseRecording, NumpyRecording
from spikeinterface.preprocessing import (
    bandpass_filter,
    common_reference,
    scale,
    whiten,
)
from spikeinterface.preprocessing.whiten import compute_whitening_matrix

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.signal.gaps import fill_gaps
from si_crsae.sorting.signal.sampling import TraceSample, active_share, sample_traces

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whitening:
    """How filtered traces become traces of unit noise that is alike on neighboring channels.

    Parameters
    ----------
    matrix : ndarray, shape (channel, channel)
        Whitened traces are filtered traces (sample, channel) times this matrix.
    """

    matrix: Float[np.ndarray, "channel channel"]

    @classmethod
    def of(cls, filtered: BaseRecording, config: CrsaeConfig) -> "Whitening":
        """Return the whitening that a sample of the traces asks for; what is silent has no say in it."""
        sample = sample_traces(filtered, seed=config.seed)
        is_local = config.apply_preprocessing and filtered.get_num_channels() > 1
        matrix = _whitening_matrix(filtered, sample, config) if is_local else np.eye(filtered.get_num_channels())
        seen = replace(sample, traces=sample.traces @ matrix.astype("float32"))
        return cls(matrix=matrix / usable_noise_levels(seen))

    def apply(self, filtered: BaseRecording) -> BaseRecording:
        """Return the traces whitened, lazily, as float32."""
        gains = np.diag(self.matrix)
        if np.array_equal(self.matrix, np.diag(gains)):
            return cast(BaseRecording, scale(filtered, gain=gains, dtype="float32"))
        return cast(BaseRecording, whiten(filtered, dtype="float32", mode="local", W=self.matrix))

    def undo(self, whitened: BaseRecording) -> BaseRecording:
        """Return the filtered traces of whitened ones, lazily."""
        inverse = np.linalg.inv(self.matrix.astype("float64"))
        return cast(BaseRecording, whiten(whitened, dtype="float32", mode="local", W=inverse))


def preprocess(recording: BaseRecording, config: CrsaeConfig) -> BaseRecording:
    """Return the recording filtered, referenced and whitened to unit noise; only a sample of it is computed.

    Parameters
    ----------
    recording : BaseRecording
        Any data type, gain and offset; needs channel locations.
    config : CrsaeConfig

    Returns
    -------
    BaseRecording
        Lazy, float32, noise of standard deviation 1 on every channel.
    """
    filtered = filter_traces(recording, config)
    return Whitening.of(filtered, config).apply(filtered)


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
        filled,
        freq_min=config.freq_min,
        freq_max=freq_max,
        ftype="bessel",
        filter_order=2,
        dtype="float32",
        ignore_low_freq_error=True,  # of its margins, which are read anew for every chunk: they are five periods long
    )
    enough_channels = recording.get_num_channels() >= ASSUMED.recordings.min_channels_for_reference
    if config.common_reference == "yes" or (config.common_reference == "auto" and enough_channels):
        filtered = common_reference(cast(BaseRecording, filtered))
    return cast(BaseRecording, filtered)


def filter_traces(recording: BaseRecording, config: CrsaeConfig) -> BaseRecording:
    """Return the same as float32: what the sorter whitens."""
    filtered = bandpass(recording, config)
    return filtered if config.apply_preprocessing else cast(BaseRecording, filtered.astype("float32"))


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


def _whitening_matrix(
    filtered: BaseRecording, sample: TraceSample, config: CrsaeConfig
) -> Float[np.ndarray, "channel channel"]:
    active = NumpyRecording([sample.fully_active_traces()], filtered.sampling_frequency)
    active.set_dummy_probe_from_locations(filtered.get_channel_locations())
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
    return matrix
