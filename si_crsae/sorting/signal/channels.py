"""Channels that are none: constant, saturated, digital, copies of others."""

import logging
import warnings
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Shaped
from spikeinterface.core import BaseRecording

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.signal.preprocessing import bandpass
from si_crsae.sorting.signal.sampling import draw_traces, sample_traces

# Part of a digital line's range that belongs to its levels, at either end.
DIGITAL_MARGIN = 0.1
# Variance of a uniform distribution of width 1: what rounding adds to an integer.
ROUNDING_VARIANCE = 1 / 12
# Noise standard deviations beyond which a sample says nothing of how channels go together.
MAX_ORDINARY = 10.0
# So many samples for every channel, or correlations say nothing.
MIN_SAMPLES_PER_CHANNEL = 20

RECORDINGS = ASSUMED.recordings

_DEFECTS = {
    "dead": "constant",
    "digital": "at one of two levels nearly all the time, as a TTL or sync line is",
    "saturated": "at the end of their range most of the time",
    "duplicated": "copies of an earlier channel",
    "dependent": "sums of other channels, as one is after an average reference",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BadChannels:
    """Channels that carry no information of their own.

    Parameters
    ----------
    dead : tuple
        Ids of channels that are constant.
    digital : tuple
        Ids of channels that are at one of two levels.
    saturated : tuple
        Ids of channels that are at the end of their range most of the time.
    duplicated : tuple
        Ids of channels whose traces are those of an earlier channel, up to a factor.
    dependent : tuple
        Ids of channels whose traces are a sum of earlier channels.
    """

    dead: tuple[int | str, ...] = ()
    digital: tuple[int | str, ...] = ()
    saturated: tuple[int | str, ...] = ()
    duplicated: tuple[int | str, ...] = ()
    dependent: tuple[int | str, ...] = ()

    def usable_mask(self, recording: BaseRecording) -> Bool[np.ndarray, " channel"]:
        """Return True for the channels of a recording that have no defect."""
        bad = {channel_id for field in fields(self) for channel_id in getattr(self, field.name)}
        return np.array([channel_id not in bad for channel_id in recording.channel_ids.tolist()], dtype=bool)


def find_bad_channels(recording: BaseRecording, config: CrsaeConfig) -> BadChannels:
    """Return the channels that are none, and warn of them.

    Parameters
    ----------
    recording : BaseRecording
        Raw, with at least two samples in a segment.
    config : CrsaeConfig
        How it will be filtered, and the seed of the samples that are looked at.

    Returns
    -------
    BadChannels
        The later one of two equal channels, the earlier is usable.
    """
    traces = draw_traces(recording, seed=config.seed)
    dead = traces.min(axis=0) == traces.max(axis=0)
    digital = ~dead & is_digital(traces)
    saturated = ~dead & ~digital & is_saturated(traces)
    duplicated, dependent = (np.zeros(dead.size, bool) for _ in range(2))
    analog = ~(dead | digital | saturated)
    if analog.sum() > 1:
        others = recording.select_channels(recording.channel_ids[analog])
        duplicated[analog], dependent[analog] = _find_dependent(others, config)
    masks = {"dead": dead, "digital": digital, "saturated": saturated, "duplicated": duplicated, "dependent": dependent}
    bad = BadChannels(**{name: tuple(recording.channel_ids[mask].tolist()) for name, mask in masks.items()})
    for name, defect in _DEFECTS.items():
        if ids := getattr(bad, name):
            message = f"channels {list(ids)} are {defect}: they are left out, no spike will be found on them"
            logger.info(message)
            warnings.warn(message, stacklevel=2)
    return bad


def is_digital(traces: Shaped[np.ndarray, "sample channel"]) -> Bool[np.ndarray, " channel"]:
    """Return which channels are at one of two levels nearly all the time, both of them taken.

    Parameters
    ----------
    traces : ndarray, shape (sample, channel)
        Raw.
    """
    lowest, highest = (extreme(traces.astype("float64"), axis=0) for extreme in (np.min, np.max))
    margin = DIGITAL_MARGIN * (highest - lowest)
    low, high = (traces <= lowest + margin).mean(axis=0), (traces >= highest - margin).mean(axis=0)
    enough_levels = (traces.dtype.kind == "f") | (highest - lowest >= RECORDINGS.min_quantization_levels)
    return (
        enough_levels
        & (low + high >= RECORDINGS.min_digital_share)
        & (np.minimum(low, high) >= RECORDINGS.min_level_share)
    )


def is_saturated(traces: Shaped[np.ndarray, "sample channel"]) -> Bool[np.ndarray, " channel"]:
    """Return which channels are at the end of their range most of the time.

    Parameters
    ----------
    traces : ndarray, shape (sample, channel)
        Raw.
    """
    lowest, highest = traces.min(axis=0), traces.max(axis=0)
    share = np.maximum((traces == lowest).mean(axis=0), (traces == highest).mean(axis=0))
    enough_levels = highest.astype("float64") - lowest.astype("float64") >= RECORDINGS.min_quantization_levels
    return (share >= RECORDINGS.stuck_fraction) & (enough_levels | (traces.dtype.kind == "f"))


def own_variances(
    traces: Float[np.ndarray, "sample channel"], least: Float[np.ndarray, " channel"]
) -> Float[np.ndarray, " channel"]:
    """Return the part of every channel's variance that earlier channels with a part of their own do not explain.

    Parameters
    ----------
    traces : ndarray of float, shape (sample, channel)
        No channel constant.
    least : ndarray of float, shape (channel,)
        Channels with less of their own explain no later one.

    Returns
    -------
    ndarray of float64, shape (channel,)
        From 0, a sum of others, to 1, uncorrelated with them.
    """
    centered = traces.astype("float64") - traces.mean(axis=0)
    centered /= np.linalg.norm(centered, axis=0)
    correlation = centered.T @ centered
    factor = np.zeros_like(correlation)
    own = np.ones(len(correlation))
    for channel in range(len(correlation)):
        own[channel] = max(correlation[channel, channel] - factor[channel] @ factor[channel], 0.0)
        if own[channel] >= least[channel]:
            later = correlation[channel:, channel] - factor[channel:] @ factor[channel]
            factor[channel:, channel] = later / np.sqrt(own[channel])
    return own


def _find_dependent(
    recording: BaseRecording, config: CrsaeConfig
) -> tuple[Bool[np.ndarray, " channel"], Bool[np.ndarray, " channel"]]:
    """Return which channels copy an earlier one, and which are sums of several, in the band of spikes."""
    sample = sample_traces(bandpass(recording, config), seed=config.seed)
    noise = sample.noise_levels()
    is_ordinary = (np.abs(sample.traces) <= MAX_ORDINARY * noise).all(axis=1)  # artifacts are the same on all channels
    traces = sample.traces[sample.active.all(axis=1) & is_ordinary]
    copies, sums = (np.zeros(traces.shape[1], bool) for _ in range(2))
    if len(traces) < MIN_SAMPLES_PER_CHANNEL * traces.shape[1]:
        return copies, sums
    least = np.full(traces.shape[1], RECORDINGS.min_own_variance)
    if np.dtype(recording.get_dtype()).kind in "iu":
        # a rounded mean of all channels, taken out of each, is missing from their sum as often as there are channels
        rounding = traces.shape[1] ** 2 * ROUNDING_VARIANCE / traces.var(axis=0)
        least = np.clip(rounding, RECORDINGS.min_own_variance, RECORDINGS.max_own_variance)
    correlation = np.corrcoef(traces.T)
    for channel in np.flatnonzero(own_variances(traces, least) < least):
        is_copy = (correlation[channel, :channel] ** 2 >= 1 - 2 * least[channel]).any()
        (copies if is_copy else sums)[channel] = True
    return copies, sums
