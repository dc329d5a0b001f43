"""Peaks of whitened traces, from SpikeInterface's detection: the spikes that units are first looked for among."""

import logging
from functools import partial
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Bool, Float
from numpy.lib.recfunctions import repack_fields
from spikeinterface.core import BaseRecording, get_channel_distances
from spikeinterface.core.base import base_peak_dtype
from spikeinterface.sortingcomponents.peak_detection import detect_peaks
from spikeinterface.sortingcomponents.peak_selection import select_peaks
from spikeinterface.sortingcomponents.tools import get_prototype_and_waveforms_from_peaks

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.convert import nearest_samples, with_num_before
from si_crsae.sorting.learning.coincidence import close_pairs
from si_crsae.sorting.signal.recording import select_segments

# Peaks that a matched filter is the mean of, and the chunks that its noise is measured on.
NUM_PROTOTYPE_PEAKS = 5000
NUM_NOISE_CHUNKS = 5
# Where the sources of a matched filter lie behind the contacts: seen by one, and by its neighbors.
SOURCE_DEPTHS_UM = (0.0, 120.0)

logger = logging.getLogger(__name__)


def find_peaks(
    recording: BaseRecording,
    config: CrsaeConfig,
    *,
    faint: bool = False,
    job_kwargs: dict[str, Any],
    assumed: Assumptions = ASSUMED,
) -> np.ndarray:
    """Return SpikeInterface's peaks of the traces, each the largest within its radius and sweep.

    Where both signs are looked for, a spike counts by its trough unless its positive peak is clearly larger.
    """
    of_sign = partial(_peaks_of_sign, recording, config=config, faint=faint, job_kwargs=job_kwargs, assumed=assumed)
    if config.peak_sign != "both":
        return of_sign(config.peak_sign)
    troughs, crests = of_sign("neg"), of_sign("pos")
    ratio, reach = assumed.units.min_crest_to_trough, get_channel_distances(recording) <= config.detection_radius_um
    sweep = nearest_samples(assumed.initial.opposite_sweep_ms, recording.sampling_frequency)
    crests = crests[~are_dominated(crests, troughs, reach, max_distance=sweep, ratio=ratio)]
    troughs = troughs[~are_dominated(troughs, crests, reach, max_distance=sweep, ratio=1 / ratio)]
    names = [name for name, _ in base_peak_dtype]  # a matched filter adds one
    peaks = np.concatenate([repack_fields(each[names]) for each in (troughs, crests)])
    return peaks[np.lexsort((peaks["sample_index"], peaks["segment_index"]))]


def _peaks_of_sign(
    recording: BaseRecording,
    peak_sign: Literal["neg", "pos"],
    *,
    config: CrsaeConfig,
    faint: bool,
    job_kwargs: dict[str, Any],
    assumed: Assumptions,
) -> np.ndarray:
    """Return the peaks of one sign: of the matched filter with their mean waveform in a short recording, or if asked.

    It finds fainter ones, and takes several times as long.
    """
    crossing = {
        "peak_sign": peak_sign,
        "detect_threshold": config.detect_threshold,
        "exclude_sweep_ms": assumed.initial.exclude_sweep_ms,
        "radius_um": config.detection_radius_um,
    }
    unit_noise = {"noise_levels": np.ones(recording.get_num_channels(), "float32")}
    peaks = np.asarray(
        detect_peaks(recording, method="locally_exclusive", method_kwargs=crossing | unit_noise, job_kwargs=job_kwargs)
    )
    is_short = recording.get_total_duration() < assumed.initial.matched_filter_below_s
    if not (faint or is_short) or peaks.size < min_cluster_size(recording, assumed=assumed):
        return peaks
    prototype, _ = prototype_of(recording, peaks, config, job_kwargs=job_kwargs)
    matched = {
        "prototype": prototype,
        "ms_before": config.ms_before,
        "weight_method": {"z_list_um": np.array(SOURCE_DEPTHS_UM)},
        "random_chunk_kwargs": {"num_chunks_per_segment": NUM_NOISE_CHUNKS, "seed": config.seed},
    }
    return np.asarray(
        detect_peaks(recording, method="matched_filtering", method_kwargs=crossing | matched, job_kwargs=job_kwargs)
    )


def are_dominated(
    peaks: np.ndarray,
    others: np.ndarray,
    is_near: Bool[np.ndarray, "channel channel"],
    *,
    max_distance: int,
    ratio: float,
) -> Bool[np.ndarray, " peak"]:
    """Tell which peaks are no larger than `ratio` times another peak nearby.

    Parameters
    ----------
    peaks, others : ndarray of SpikeInterface's peak dtype, shape (peak,)
        Ordered by segment, then time.
    is_near : ndarray of bool, shape (channel, channel)
    max_distance : int
        Peaks farther apart do not count (samples).
    ratio : float
    """
    dominated = np.zeros(peaks.size, bool)
    for segment in np.unique(peaks["segment_index"]):
        mine, theirs = (np.flatnonzero(each["segment_index"] == segment) for each in (peaks, others))
        own, pair = close_pairs(peaks["sample_index"][mine], others["sample_index"][theirs], max_distance)
        own, pair = mine[own], theirs[pair]
        larger = np.abs(peaks["amplitude"][own]) <= ratio * np.abs(others["amplitude"][pair])
        dominated[own[larger & is_near[peaks["channel_index"][own], others["channel_index"][pair]]]] = True
    return dominated


def prototype_of(
    recording: BaseRecording, peaks: np.ndarray, config: CrsaeConfig, *, job_kwargs: dict[str, Any]
) -> tuple[Float[np.ndarray, " width"], Float[np.ndarray, "peak width"]]:
    """Return the mean waveform of the peaks on their own channels, and some of those waveforms."""
    recording, peaks = leave_out_ends(recording, peaks, config.ms_before, config.ms_after, seed=config.seed)
    prototype, waveforms, _ = get_prototype_and_waveforms_from_peaks(
        recording,
        peaks,
        n_peaks=NUM_PROTOTYPE_PEAKS,
        ms_before=config.ms_before,
        ms_after=config.ms_after,
        seed=config.seed,
        job_kwargs=job_kwargs,
    )
    return cast(np.ndarray, prototype), cast(np.ndarray, waveforms)


def num_before_of(
    recording: BaseRecording,
    peaks: np.ndarray,
    config: CrsaeConfig,
    *,
    job_kwargs: dict[str, Any],
    assumed: Assumptions = ASSUMED,
) -> int:
    """Return the samples of a template before its peak: those of `ms_before`, or more where most peaks begin earlier.

    A phase of opposite sign may come first, and clusters are of either where it is outside the window. It is told by
    the median height of the peaks at each sample, up to twice `ms_before`: what a minority of the peaks show there may
    be other spikes.
    """
    initial, usual = assumed.initial, nearest_samples(config.ms_before, recording.sampling_frequency)
    longest = with_num_before(config, 2 * usual, recording.sampling_frequency)
    _, waveforms = prototype_of(recording, peaks, longest, job_kwargs=job_kwargs)
    heights = np.median(np.abs(waveforms), axis=0)
    early = np.flatnonzero(heights[:usual] > initial.min_early_phase * heights[2 * usual])
    if early.size == 0:
        return usual
    flank = nearest_samples(initial.early_flank_ms, recording.sampling_frequency)
    num_before = min(2 * usual - int(early[0]) + flank, 2 * usual)
    logger.info("templates begin %.2f ms before the peak", 1000 * num_before / recording.sampling_frequency)
    return num_before


def leave_out_ends(
    recording: BaseRecording, peaks: np.ndarray, ms_before: float, ms_after: float, *, seed: int
) -> tuple[BaseRecording, np.ndarray]:
    """Return some of the peaks, whose waveforms lie within their segments, and the segments that have any.

    SpikeInterface leaves out the others itself, but fails at a segment that has none within. A single segment
    stays as it is.
    """
    if recording.get_num_segments() == 1:
        return recording, peaks
    few = np.asarray(select_peaks(peaks, method="uniform", n_peaks=NUM_PROTOTYPE_PEAKS, seed=seed))
    before, after = (
        nearest_samples(duration_ms, recording.sampling_frequency) for duration_ms in (ms_before, ms_after)
    )
    lengths = np.array([recording.get_num_samples(segment) for segment in range(recording.get_num_segments())])
    inside = (few["sample_index"] > before) & (few["sample_index"] < lengths[few["segment_index"]] - after)
    inner = few[inside]
    if inner.size == 0:
        return recording, peaks
    segments, inner["segment_index"] = np.unique(inner["segment_index"], return_inverse=True)
    return select_segments(recording, segments.tolist()), inner


def min_cluster_size(recording: BaseRecording, *, assumed: Assumptions = ASSUMED) -> int:
    """Return how many peaks make a cluster."""
    return int(np.clip(recording.get_total_duration(), *assumed.initial.min_cluster_sizes))
