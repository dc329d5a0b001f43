"""How the tissue has moved during a recording that was sorted, and the peaks that tell of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from spikeinterface.core.motion import Motion

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.drift.estimation import DRIFT_FILE, DriftFound
from si_crsae.sorting.folder import load_motion
from si_crsae.sorting.stages import load_stage


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueMotion:
    """The motion of the tissue at one group of channels, and the peaks from which it was estimated.

    Parameters
    ----------
    group : int
        Index of the group.
    motion : Motion
        SpikeInterface's; its segments are those of `segments`.
    segments : ndarray of int64, shape (moving segment,)
        Which segments of the recording those are.
    start_s : ndarray, shape (moving segment,)
        What the recording's clock says at the beginning of each, which is 0 in what follows.
    peak_segment : ndarray of int64, shape (peak,)
        Segment of the recording; peaks are ordered by segment, then time.
    peak_time_s : ndarray, shape (peak,)
        Since the beginning of the segment.
    peak_depth_um : ndarray, shape (peak,)
        Along the probe, where it was recorded.
    peak_moved_um : ndarray, shape (peak,)
        How far the tissue was up the probe, there and then.
    size_um, error_um : float
        Standard deviation over time of the motion as it was estimated from peaks, and of its error.
    is_followed : bool
        Whether the sorter took it into account.
    """

    group: int
    motion: Motion
    segments: Int[np.ndarray, " moving_segment"]
    start_s: Float[np.ndarray, " moving_segment"]
    peak_segment: Int[np.ndarray, " peak"]
    peak_time_s: Float[np.ndarray, " peak"]
    peak_depth_um: Float[np.ndarray, " peak"]
    peak_moved_um: Float[np.ndarray, " peak"]
    size_um: float
    error_um: float
    is_followed: bool

    def displacement_um(
        self, segment_index: int, times_s: Float[np.ndarray, " time"], depths_um: Float[np.ndarray, " time"]
    ) -> Float[np.ndarray, " time"]:
        """Return how far the tissue is up the probe at times since the beginning of a segment, at depths there."""
        place = int(np.flatnonzero(self.segments == segment_index)[0])
        return self.motion.get_displacement_at_time_and_depth(
            times_s + self.start_s[place], depths_um, segment_index=place
        )

    def course(self, segment_index: int) -> tuple[Float[np.ndarray, " bin"], Float[np.ndarray, "bin window"]]:
        """Return times since the beginning of a segment (s) and displacements then (um); none where it was not sorted.

        Columns are the depths `motion.spatial_bins_um`.
        """
        places = np.flatnonzero(self.segments == segment_index)
        if places.size == 0:
            return np.zeros(0), np.zeros((0, self.motion.spatial_bins_um.size))
        place = int(places[0])
        return self.motion.temporal_bins_s[place] - self.start_s[place], self.motion.displacement[place]


def is_motion_followed(sorted_recording: SortedRecording) -> bool:
    """Tell whether the sorter took a motion of the tissue into account, and it is still known which."""
    stages = _stages_of(sorted_recording)
    return stages is not None and any(
        load_stage(path, DriftFound).is_followed for path in stages.glob(f"group_*/{DRIFT_FILE}")
    )


def open_motion(sorted_recording: SortedRecording) -> tuple[TissueMotion, ...]:
    """Return how the tissue moved, for every group of channels in which a run has estimated it.

    Parameters
    ----------
    sorted_recording : SortedRecording
        From `open_run`; those of other sorters know no motion.
    """
    stages = _stages_of(sorted_recording)
    if stages is None or sorted_recording.folder is None:
        return ()
    found = load_motion(sorted_recording.folder)
    return tuple(
        _motion_of(sorted_recording, group, info, load_stage(stages / f"group_{group}" / DRIFT_FILE, DriftFound))
        for group, info in found.items()
    )


def _stages_of(sorted_recording: SortedRecording) -> Path | None:
    """Return the folder of the stages; None where there is none, or it was deleted."""
    if sorted_recording.folder is None:
        return None
    stages = sorted_recording.folder / "sorter_output" / "stages"
    return stages if stages.is_dir() else None


def _motion_of(shown: SortedRecording, group: int, info: dict[str, Any], found: DriftFound) -> TissueMotion:
    motion: Motion = info["motion"]
    segments = shown.segments if shown.segments.size else np.arange(motion.num_segments)
    start_s = np.array([_begin_s(shown, motion, place) for place in range(segments.size)])
    # peaks are counted over all segments joined
    ends = np.cumsum(np.array(shown.num_samples)[segments])
    samples = info["peaks"]["sample_index"].astype("int64")
    place = np.minimum(np.searchsorted(ends, samples, side="right"), segments.size - 1)
    order = np.lexsort((samples, place))
    samples, place = samples[order], place[order]
    times_s = (samples - np.concatenate([[0], ends[:-1]])[place]) / shown.sampling_frequency
    depths = info["peak_locations"]["y"][order].astype("float64")
    moved = np.zeros(samples.size)
    for index in range(segments.size):
        mine = place == index
        moved[mine] = motion.get_displacement_at_time_and_depth(
            times_s[mine] + start_s[index], depths[mine], segment_index=index
        )
    return TissueMotion(
        group=group,
        motion=motion,
        segments=segments,
        start_s=start_s,
        peak_segment=segments[place],
        peak_time_s=times_s,
        peak_depth_um=depths,
        peak_moved_um=moved,
        size_um=found.size_um,
        error_um=found.error_um,
        is_followed=found.is_followed,
    )


def _begin_s(shown: SortedRecording, motion: Motion, place: int) -> float:
    """Return what the clock says at the first sample of a segment; about that where the recording is not there."""
    if shown.whitened is not None:
        return float(shown.whitened.sample_index_to_time(0, segment_index=place))
    return float(motion.temporal_bin_edges_s[place][0])
