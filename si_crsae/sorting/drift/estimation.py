"""How the tissue has moved, estimated from the depths of peaks, and whether to believe it."""

import logging
import shutil
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int
from spikeinterface.core import BaseRecording, concatenate_recordings
from spikeinterface.core.motion import Motion
from spikeinterface.preprocessing import compute_motion
from spikeinterface.preprocessing.motion import get_motion_parameters_preset, load_motion_info, save_motion_info
from spikeinterface.sortingcomponents.motion import estimate_motion, interpolate_motion

from si_crsae.config import CrsaeConfig
from si_crsae.core.tables import no_rows
from si_crsae.sorting.assumptions import ASSUMED

MOTION_FOLDER, DRIFT_FILE = "motion", "drift.npz"
# Presets that register windows along the probe by DREDge, whose windows are made for probes of 4 mm.
DREDGE = "dredge_ap"
# Single times may be far off: between which quantiles displacements lie, and their range and the median of absolute
# values in normal standard deviations.
SIZE_QUANTILES, NORMAL_RANGE, NORMAL_MEDIAN = (0.05, 0.95), 3.29, 0.6745

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftFound:
    """Result of *motion*: where the tissue is, and whether that is followed; no bin where nothing was estimated.

    Parameters
    ----------
    bin_segment : ndarray of int64, shape (bin,)
        Segment of each time bin.
    bin_time_s : ndarray, shape (bin,)
        Its middle, as the recording counts.
    window_depth_um : ndarray, shape (window,)
        Depths along the probe.
    displacement_um : ndarray, shape (bin, window)
        Towards larger depths.
    size_um : float
        Standard deviation of the displacement over time, the largest of all depths, single times left out.
    error_um : float
        Standard error of the displacement at most times, from two halves of the peaks.
    is_followed : bool
        Whether the sorter takes it into account.
    """

    bin_segment: Int[np.ndarray, " bin"] = field(default_factory=lambda: no_rows(0, dtype="int64"))
    bin_time_s: Float[np.ndarray, " bin"] = field(default_factory=lambda: no_rows(0, dtype="float64"))
    window_depth_um: Float[np.ndarray, " window"] = field(default_factory=lambda: no_rows(0, dtype="float64"))
    displacement_um: Float[np.ndarray, "bin window"] = field(default_factory=lambda: no_rows(0, 0, dtype="float64"))
    size_um: float = 0.0
    error_um: float = 0.0
    is_followed: bool = False

    @property
    def motion(self) -> Motion:
        """The displacement as SpikeInterface has it."""
        segments = [self.bin_segment == segment for segment in np.unique(self.bin_segment)]
        return Motion(
            [self.displacement_um[mine] for mine in segments],
            [self.bin_time_s[mine] for mine in segments],
            self.window_depth_um,
        )

    def refined(self, motion: Motion) -> "DriftFound":
        """Return the same with a motion that is known better."""
        bins = [times.size for times in motion.temporal_bins_s]
        return replace(
            self,
            bin_segment=np.repeat(np.arange(len(bins)), bins),
            bin_time_s=np.concatenate(motion.temporal_bins_s),
            window_depth_um=motion.spatial_bins_um,
            displacement_um=np.concatenate(motion.displacement),
        )


def can_estimate(recording: BaseRecording, config: CrsaeConfig) -> bool:
    """Tell whether motion can be estimated from a recording and followed."""
    can_follow = config.learning == "closed_form" or config.motion_correction_mode == "traces"
    return config.apply_preprocessing and can_follow and recording.has_probe() and shows_motion(recording)


def shows_motion(recording: BaseRecording) -> bool:
    """Tell whether the contacts show how far tissue moves along the second axis of the probe."""
    drift = ASSUMED.drift
    depths = np.unique(np.round(recording.get_channel_locations()[:, 1], 1))
    if recording.get_num_channels() < drift.min_channels or np.ptp(depths) < drift.min_span_um:
        return False
    return bool(np.median(np.diff(depths)) <= drift.max_row_distance_um)


def find_drift(filtered: BaseRecording, config: CrsaeConfig, *, folder: Path, job_kwargs: dict[str, Any]) -> DriftFound:
    """Estimate the motion of the tissue and decide whether to follow it; what it rests on is left in a folder.

    The motion is estimated three times: from all peaks, and from each half of them. It is followed if it is asked for,
    or, if left to the data, where it exceeds what units notice and what the halves differ by.

    Parameters
    ----------
    filtered : BaseRecording
        Not whitened: amplitudes place a spike along the probe.
    config : CrsaeConfig
    folder : Path
        Where SpikeInterface's ``motion`` folder is put, see `load_motion_info`.
    job_kwargs : dict
        SpikeInterface's, complete.
    """
    try:
        info, halves = _register(filtered, config, job_kwargs)
    except Exception as error:  # whatever a method that is left to SpikeInterface raises, a sorting needs no motion
        if config.apply_motion_correction is True:
            raise ValueError(
                f"apply_motion_correction = True: the motion could not be estimated ({error}); set it to False, or "
                "choose another motion_correction_preset"
            ) from error
        logger.warning("the motion of the tissue could not be estimated, it is taken to rest: %s", error)
        return DriftFound()
    motion = info["motion"]
    shutil.rmtree(folder / MOTION_FOLDER, ignore_errors=True)  # a run that was interrupted may have left half of it
    save_motion_info(info, folder / MOTION_FOLDER)
    displacement = _centered(motion.displacement[0])
    error = _centered(halves[0].displacement[0]) - _centered(halves[1].displacement[0])
    size_um = float(np.ptp(np.quantile(displacement, SIZE_QUANTILES, axis=0), axis=0).max()) / NORMAL_RANGE
    error_um = float(np.median(np.abs(error))) / NORMAL_MEDIAN / 2  # that of a half has twice the variance
    least = max(ASSUMED.drift.min_size_um, ASSUMED.drift.min_size_to_error * error_um)
    is_known = bool(np.isfinite(displacement).all())
    is_followed = is_known and (config.apply_motion_correction is True or size_um > least)
    logger.info(
        "the tissue moves by %.1f um (standard deviation, with an error of %.2f um): %s",
        size_um,
        error_um,
        "followed" if is_followed else "left alone",
    )
    segment, times, row = _in_segments(motion.temporal_bins_s[0], filtered)
    return DriftFound(
        bin_segment=segment,
        bin_time_s=times,
        window_depth_um=motion.spatial_bins_um,
        displacement_um=displacement[row],
        size_um=size_um,
        error_um=error_um,
        is_followed=is_followed,
    )


def _register(
    filtered: BaseRecording, config: CrsaeConfig, job_kwargs: dict[str, Any]
) -> tuple[dict[str, Any], list[Motion]]:
    """Return SpikeInterface's motion info of all segments joined, and the motions of two halves of its peaks."""
    joined = filtered if filtered.get_num_segments() == 1 else concatenate_recordings([filtered])
    preset: Any = config.motion_correction_preset
    settings = _for_probe(filtered, get_motion_parameters_preset(preset)["estimate_motion_kwargs"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own calls, which a user cannot change
        found = compute_motion(
            joined, preset=preset, estimate_motion_kwargs=settings, output_motion_info=True, **job_kwargs
        )
        info = cast(tuple[Motion, dict[str, Any]], found)[1]
        halves = [
            estimate_motion(joined, info["peaks"][half::2], info["peak_locations"][half::2], **settings)
            for half in (0, 1)
        ]
    return info, cast(list[Motion], halves)


def keep_motion(motion: Motion, folder: Path) -> None:
    """Put a motion that is known better in the place of that which `find_drift` has left in a folder."""
    info = load_motion_info(folder / MOTION_FOLDER)
    save_motion_info({**info, "motion": motion}, folder / MOTION_FOLDER, overwrite=True)


def still_traces(filtered: BaseRecording, drift: DriftFound, config: CrsaeConfig) -> BaseRecording:
    """Return the traces with the tissue held still by interpolation, where motion is followed in this way."""
    is_interpolated = drift.is_followed and config.motion_correction_mode == "traces"
    return interpolate(filtered, drift.motion, config) if is_interpolated else filtered


def interpolate(recording: BaseRecording, motion: Motion, config: CrsaeConfig) -> BaseRecording:
    """Return the traces as they would be at rest, interpolated between contacts as the preset says, lazily."""
    settings = get_motion_parameters_preset(config.motion_correction_preset)["interpolate_motion_kwargs"]
    return cast(BaseRecording, interpolate_motion(recording, motion, **settings))


def _for_probe(recording: BaseRecording, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what DREDge is told, its windows and displacements as large as probes of a few hundred um need."""
    if settings.get("method") != DREDGE:
        return settings
    drift, span_um = ASSUMED.drift, float(np.ptp(recording.get_channel_locations()[:, 1]))
    farthest_um = min(drift.max_displacement_um, drift.max_displacement_share * span_um)
    windows = {} if settings.get("rigid") else {"win_step_um": drift.window_um, "win_scale_um": drift.window_um}
    return {**settings, **windows, "max_disp_um": farthest_um}


def _centered(displacement: Float[np.ndarray, "bin window"]) -> Float[np.ndarray, "bin window"]:
    """Return displacements around their median: where the tissue rests is a matter of definition."""
    return displacement - np.median(displacement, axis=0)


def _in_segments(
    times_s: Float[np.ndarray, " bin"], recording: BaseRecording
) -> tuple[Int[np.ndarray, " row"], Float[np.ndarray, " row"], Int[np.ndarray, " row"]]:
    """Return segment, time there and bin of rows that give every segment the bins of its time in all of them joined.

    A segment shorter than a bin has the one nearest to its middle.
    """
    num_segments = recording.get_num_segments()
    if num_segments == 1:
        return np.zeros(times_s.size, "int64"), times_s, np.arange(times_s.size)
    durations = np.array([recording.get_num_samples(each) for each in range(num_segments)])
    durations = durations / recording.sampling_frequency
    starts = np.cumsum(durations) - durations
    begins = np.array([float(recording.sample_index_to_time(0, segment_index=each)) for each in range(num_segments)])
    of_bin = np.searchsorted(starts, times_s, side="right") - 1
    segments, times, rows = [], [], []
    for segment in range(num_segments):
        mine = np.flatnonzero(of_bin == segment)
        within = times_s[mine] - starts[segment]
        if mine.size == 0:
            within = durations[[segment]] / 2
            mine = np.abs(times_s - starts[segment] - within).argmin(keepdims=True)
        segments.append(np.full(mine.size, segment))
        times.append(begins[segment] + within)
        rows.append(mine)
    return np.concatenate(segments), np.concatenate(times), np.concatenate(rows)
