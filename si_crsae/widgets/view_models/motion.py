"""How the tissue has moved: depths of peaks as they were recorded and at rest, and the estimate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from si_crsae.evaluation.motion import TissueMotion
from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.convert import nearest_samples
from si_crsae.widgets.view_models.raster import spikes_between
from si_crsae.widgets.view_models.spike_features import evenly_chosen
from si_crsae.widgets.view_models.unit_activity import spikes_of_units
from si_crsae.widgets.view_models.words import MICRO

MAX_POINTS = 30_000
MAX_SELECTED_POINTS = 10_000
# How far a peak may be from a spike that it is taken for.
REACH_MS, REACH_UM = 0.4, 60.0
# What is shown around the selected units, where not all of the probe is.
MARGIN_UM = 120.0
# Of no unit.
NOBODY = -1
NO_MOTION = (
    f"No motion is known for this sorting. It is estimated where a group has {ASSUMED.drift.min_channels} contacts or "
    "more that are close enough to show it; apply_motion_correction=False estimates none, and a run whose stages were "
    "deleted has lost it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionWindow:
    """What of a motion is looked at.

    Parameters
    ----------
    group : int
        Position among the groups whose motion is known.
    segment_index : int
    start_s, end_s : float
        From the beginning of the segment.
    is_whole : bool
        Whether all of the probe is shown, or the depths around the selected units only.
    """

    group: int
    segment_index: int
    start_s: float
    end_s: float
    is_whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionModel:
    """Peaks of a window, and the motion of the whole segment."""

    groups: list[str]
    group: int
    """Position among the groups."""
    segment_index: int
    num_segments: int
    duration_s: float
    start_s: float
    end_s: float
    cursor_s: float
    unit_ids: list[str]
    selected: list[int]
    """Indices of the selected units."""
    is_whole: bool
    depths_um: list[float]
    """Least and largest depth that is shown."""
    num_peaks: int
    """In the window, of which some are drawn."""
    point_time_s: Float[np.ndarray, " point"]
    point_depth_um: Float[np.ndarray, " point"]
    point_moved_um: Float[np.ndarray, " point"]
    """How far the tissue was up the probe, there and then."""
    point_unit: Int[np.ndarray, " point"]
    """Index of the unit whose spike the peak is; -1 for none."""
    bin_time_s: Float[np.ndarray, " bin"]
    window_depth_um: Float[np.ndarray, " window"]
    displacement_um: Float[np.ndarray, "bin window"]
    said: str
    """How large the motion is, how well it is known, and what the sorter did about it."""
    notes: list[str]
    empty: str


def motion_model(
    sorted_recording: SortedRecording,
    motions: Sequence[TissueMotion],
    window: MotionWindow,
    *,
    selected: Sequence[int] = (),
    cursor_s: float = 0.0,
    max_points: int = MAX_POINTS,
) -> MotionModel:
    """Return what the motion view shows of a window.

    Parameters
    ----------
    sorted_recording : SortedRecording
    motions : sequence of TissueMotion
        From `open_motion`.
    window : MotionWindow
    selected : sequence of int, default: ()
        Indices of the selected units.
    cursor_s : float, default: 0
        Time that all views look at.
    max_points : int, default: 30000
        Of more peaks, these are spread evenly over them; those of the selected units come in addition.
    """
    shown = motions[window.group] if motions else None
    depths = _depth_range(sorted_recording, selected, is_whole=window.is_whole)
    near = np.zeros(0, "int64") if shown is None else _peaks_between(shown, window, depths)
    points = _drawn(sorted_recording, shown, near, window.segment_index, selected, max_points)
    times_s, course = (np.zeros(0), np.zeros((0, 0))) if shown is None else shown.course(window.segment_index)
    return MotionModel(
        groups=[str(one.group) for one in motions],
        group=window.group,
        segment_index=window.segment_index,
        num_segments=len(sorted_recording.num_samples),
        duration_s=sorted_recording.duration_s(window.segment_index),
        start_s=window.start_s,
        end_s=window.end_s,
        cursor_s=cursor_s,
        unit_ids=[str(unit_id) for unit_id in sorted_recording.unit_ids],
        selected=list(selected),
        is_whole=window.is_whole,
        depths_um=list(depths),
        num_peaks=int(near.size),
        point_time_s=_of(shown, "peak_time_s", points),
        point_depth_um=_of(shown, "peak_depth_um", points),
        point_moved_um=_of(shown, "peak_moved_um", points),
        point_unit=match_peaks(sorted_recording, shown, points, window.segment_index).astype("int32"),
        bin_time_s=times_s.astype("float32"),
        window_depth_um=np.zeros(0) if shown is None else shown.motion.spatial_bins_um,
        displacement_um=course.astype("float32"),
        said="" if shown is None else _say(shown),
        notes=list(sorted_recording.missing),
        empty="" if motions else NO_MOTION,
    )


def _of(shown: TissueMotion | None, name: str, points: Int[np.ndarray, " point"]) -> Float[np.ndarray, " point"]:
    return np.zeros(0, "float32") if shown is None else getattr(shown, name)[points].astype("float32")


def _depth_range(sorted_recording: SortedRecording, selected: Sequence[int], *, is_whole: bool) -> tuple[float, float]:
    """Return the depths that are shown: of all contacts, or around those where the selected units are largest."""
    depths = sorted_recording.locations[:, 1]
    lowest, highest = float(depths.min()), float(depths.max())
    if is_whole or not selected:
        return lowest, highest
    places = depths[sorted_recording.units.main_channel[list(selected)]]
    return max(lowest, float(places.min()) - MARGIN_UM), min(highest, float(places.max()) + MARGIN_UM)


def _peaks_between(shown: TissueMotion, window: MotionWindow, depths: tuple[float, float]) -> Int[np.ndarray, " peak"]:
    first, last = np.searchsorted(shown.peak_segment, [window.segment_index, window.segment_index + 1])
    within = np.searchsorted(shown.peak_time_s[first:last], [window.start_s, window.end_s])
    peaks = first + np.arange(*within)
    if window.is_whole:
        return peaks  # those that were placed beyond the last contact, too
    where = shown.peak_depth_um[peaks]
    return peaks[(where >= depths[0]) & (where <= depths[1])]


def _drawn(
    sorted_recording: SortedRecording,
    shown: TissueMotion | None,
    peaks: Int[np.ndarray, " peak"],
    segment_index: int,
    selected: Sequence[int],
    max_points: int,
) -> Int[np.ndarray, " point"]:
    """Return which peaks are drawn: some of all, and those at the times of the selected units' spikes."""
    if shown is None or peaks.size <= max_points:
        return peaks
    samples, spikes = _samples(sorted_recording, shown, peaks), sorted_recording.units.spikes
    reach = nearest_samples(REACH_MS, sorted_recording.sampling_frequency)
    at_spikes = np.zeros(peaks.size, bool)
    for unit in selected:
        mine = spikes_of_units(sorted_recording)[unit]
        times = spikes["sample_index"][mine[spikes["segment_index"][mine] == segment_index]]
        at_spikes |= np.searchsorted(times, samples - reach) < np.searchsorted(times, samples + reach, side="right")
    of_selected = evenly_chosen(peaks[at_spikes], MAX_SELECTED_POINTS)
    return np.union1d(evenly_chosen(peaks, max_points), of_selected)


def _samples(
    sorted_recording: SortedRecording, shown: TissueMotion, peaks: Int[np.ndarray, " peak"]
) -> Int[np.ndarray, " peak"]:
    return np.rint(shown.peak_time_s[peaks] * sorted_recording.sampling_frequency).astype("int64")


def match_peaks(
    sorted_recording: SortedRecording,
    shown: TissueMotion | None,
    peaks: Int[np.ndarray, " peak"],
    segment_index: int,
) -> Int[np.ndarray, " peak"]:
    """Return the unit whose spike each peak of a segment is: of those within reach the nearest in depth; -1 for none.

    Parameters
    ----------
    sorted_recording : SortedRecording
    shown : TissueMotion or None
    peaks : ndarray of int64, shape (peak,)
        Positions among its peaks.
    segment_index : int
        In which all of them are.
    """
    best = np.full(peaks.size, NOBODY, "int64")
    if shown is None or peaks.size == 0:
        return best
    units = sorted_recording.units
    spikes = units.spikes[
        spikes_between(sorted_recording, 0, sorted_recording.num_samples[segment_index], segment_index)
    ]
    times, reach = spikes["sample_index"], nearest_samples(REACH_MS, sorted_recording.sampling_frequency)
    samples = _samples(sorted_recording, shown, peaks)
    first = np.searchsorted(times, samples - reach)
    last = np.searchsorted(times, samples + reach, side="right")
    rest_um = _rest_depths(sorted_recording)
    at_rest = shown.peak_depth_um[peaks] - shown.peak_moved_um[peaks]
    distance = np.full(peaks.size, REACH_UM)
    for candidate in range(int((last - first).max(initial=0))):
        there = np.flatnonzero(first + candidate < last)
        unit = spikes["unit_index"][first[there] + candidate]
        apart = np.abs(rest_um[unit] - at_rest[there])
        is_nearer = apart < distance[there]
        best[there[is_nearer]], distance[there[is_nearer]] = unit[is_nearer], apart[is_nearer]
    return best


def _rest_depths(sorted_recording: SortedRecording) -> Float[np.ndarray, " unit"]:
    """Return where the units are along the probe when nothing has moved."""
    known = sorted_recording.sorting.get_property("depth_um")
    main = sorted_recording.locations[sorted_recording.units.main_channel, 1]
    return main if known is None else np.asarray(known, "float64")


def _say(shown: TissueMotion) -> str:
    if shown.is_followed:
        did = "followed"
    else:
        did = "left alone: smaller than what units notice, or than its error allows"
    return f"moves by {shown.size_um:.1f} {MICRO}m (standard deviation), known to {shown.error_um:.1f} {MICRO}m; {did}"


def points_of(model: MotionModel, units: Sequence[int]) -> Bool[np.ndarray, " point"]:
    """Return which of the drawn peaks are spikes of some units."""
    return np.isin(model.point_unit, np.asarray(units, "int64"))
