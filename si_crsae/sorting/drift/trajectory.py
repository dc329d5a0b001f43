"""Where the tissue is while a recording is read."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from spikeinterface.core import BaseRecording
from spikeinterface.core.motion import Motion

from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.signal.recording import Tile

# Time for which traces are moved by the same distance.
BIN_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """The motion of the tissue along the probe, for every segment of what is read.

    Parameters
    ----------
    motion : Motion
        SpikeInterface's, for the segments of the recording.
    pieces : tuple of Piece
        Which stretch of the recording each segment that is read is.
    steps_um : ndarray, shape (step,)
        Grid of displacements, zero among them.
    """

    motion: Motion
    pieces: tuple["Piece", ...]
    steps_um: Float[np.ndarray, " step"]

    @classmethod
    def of(
        cls, motion: Motion, recording: BaseRecording, *, steps_um: Float[np.ndarray, " step"] | None = None
    ) -> "Trajectory":
        """Return the trajectory of a whole recording, on a grid of its own if none is given."""
        segments = range(recording.get_num_segments())
        pieces = tuple(Piece.of(recording, segment) for segment in segments)
        return cls(motion=motion, pieces=pieces, steps_um=_grid(motion) if steps_um is None else steps_um)

    def in_windows(self, windows: list[Tile]) -> "Trajectory":
        """Return that of windows of the recording, which are segments there."""
        pieces = [self.pieces[window.segment_index].later(window.start) for window in windows]
        return replace(self, pieces=tuple(pieces))

    def motion_of(self, recording: BaseRecording) -> Motion:
        """Return the motion of what is read, in its own segments and times."""
        displacements, times = [], []
        for segment, piece in enumerate(self.pieces):
            duration_s = recording.get_num_samples(segment) / recording.sampling_frequency
            seen_s = np.arange(0.0, duration_s, BIN_S) + min(BIN_S, duration_s) / 2
            moved = self.motion.get_displacement_at_time_and_depth(
                piece.start_s + seen_s, self.motion.spatial_bins_um, segment_index=piece.segment_index, grid=True
            )
            displacements.append(np.ascontiguousarray(moved.T))
            times.append(seen_s + float(recording.sample_index_to_time(0, segment_index=segment)))
        return Motion(displacements, times, self.motion.spatial_bins_um)

    def displacements_um(
        self, segment_index: int, sample_index: int, depths_um: Float[np.ndarray, " unit"]
    ) -> Float[np.ndarray, " unit"]:
        """Return how far tissue, which rests at some depths (um), is up the probe at a sample of what is read (um)."""
        piece = self.pieces[segment_index]
        times = np.full(len(depths_um), piece.seconds(sample_index))
        return self.motion.get_displacement_at_time_and_depth(times, depths_um, segment_index=piece.segment_index)

    def steps_of_events(
        self,
        segment_index: Int[np.ndarray, " event"],
        sample_index: Int[np.ndarray, " event"],
        depths_um: Float[np.ndarray, " event"],
    ) -> Int[np.ndarray, " event"]:
        """Return the step of each event of units that rest at some depths (um)."""
        steps = np.zeros(len(sample_index), "int64")
        for segment, piece in enumerate(self.pieces):
            mine = segment_index == segment
            displacements = self.motion.get_displacement_at_time_and_depth(
                piece.seconds(sample_index[mine]), depths_um[mine], segment_index=piece.segment_index
            )
            steps[mine] = self._nearest(displacements)
        return steps

    def _nearest(self, displacements_um: Float[np.ndarray, " value"]) -> Int[np.ndarray, " value"]:
        nearest = np.rint((displacements_um - self.steps_um[0]) / ASSUMED.drift.step_um).astype("int64")
        return np.clip(nearest, 0, self.steps_um.size - 1)

    def steps(
        self, segment_index: int, sample_index: int, depths_um: Float[np.ndarray, " unit"]
    ) -> Int[np.ndarray, " unit"]:
        """Return the same rounded to the grid, as its index."""
        return self._nearest(self.displacements_um(segment_index, sample_index, depths_um))


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of a recording.

    Parameters
    ----------
    segment_index : int
        Segment of the recording.
    start_s : float
        When it begins, as the recording counts.
    sampling_frequency : float
        In Hz.
    """

    segment_index: int
    start_s: float
    sampling_frequency: float

    @classmethod
    def of(cls, recording: BaseRecording, segment_index: int) -> "Piece":
        """Return a whole segment."""
        start_s = float(recording.sample_index_to_time(0, segment_index=segment_index))
        return cls(segment_index=segment_index, start_s=start_s, sampling_frequency=recording.sampling_frequency)

    def seconds(self, sample_index: Any) -> Any:
        """Return when samples of the stretch are, as the recording counts (s)."""
        return self.start_s + sample_index / self.sampling_frequency

    def later(self, num_samples: int) -> "Piece":
        """Return the stretch that begins so many samples later."""
        return replace(self, start_s=self.start_s + num_samples / self.sampling_frequency)


def _grid(motion: Motion) -> Float[np.ndarray, " step"]:
    """Return a grid of displacements that holds all of a motion, zero, and some more."""
    step_um, spare = ASSUMED.drift.step_um, ASSUMED.drift.spare_steps
    extremes = [extreme(values) for values in motion.displacement for extreme in (np.min, np.max)]
    lowest, highest = np.floor(min(*extremes, 0.0) / step_um), np.ceil(max(*extremes, 0.0) / step_um)
    return step_um * np.arange(lowest - spare, highest + spare + 1)
