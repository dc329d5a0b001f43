"""Where the tissue is while a recording is read."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from spikeinterface.core import BaseRecording
from spikeinterface.core.motion import Motion

from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.signal.recording import Tile

# Time for which traces are moved by the same distance.
BIN_S = 1.0


@dataclass(frozen=True, kw_only=True)  # slots have no room for what is made once
class Trajectory:
    """The motion of the tissue along the probe, for every segment of what is read.

    Parameters
    ----------
    motion : Motion
        SpikeInterface's, for the segments of the recording.
    pieces : tuple of Piece
        Which stretch of the recording each segment that is read is.
    """

    motion: Motion
    pieces: tuple["Piece", ...]

    @classmethod
    def of(cls, motion: Motion, recording: BaseRecording) -> "Trajectory":
        """Return the trajectory of a whole recording."""
        segments = range(recording.get_num_segments())
        return cls(motion=motion, pieces=tuple(Piece.of(recording, segment) for segment in segments))

    def in_windows(self, windows: list[Tile]) -> "Trajectory":
        """Return that of windows of the recording, which are segments there."""
        pieces = [self.pieces[window.segment_index].later(window.start) for window in windows]
        return replace(self, pieces=tuple(pieces))

    @cached_property
    def steps_um(self) -> Float[np.ndarray, " step"]:
        """Grid of displacements that holds all of the motion, and zero."""
        step_um = ASSUMED.drift.step_um
        extremes = [extreme(values) for values in self.motion.displacement for extreme in (np.min, np.max)]
        lowest, highest = np.floor(min(extremes) / step_um), np.ceil(max(extremes) / step_um)
        return step_um * np.arange(min(lowest, -1), max(highest, 1) + 1)

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
        times = np.full(len(depths_um), piece.start_s + sample_index / piece.sampling_frequency)
        return self.motion.get_displacement_at_time_and_depth(times, depths_um, segment_index=piece.segment_index)

    def steps(
        self, segment_index: int, sample_index: int, depths_um: Float[np.ndarray, " unit"]
    ) -> Int[np.ndarray, " unit"]:
        """Return the same rounded to the grid, as its index."""
        displacements = self.displacements_um(segment_index, sample_index, depths_um)
        nearest = np.rint((displacements - self.steps_um[0]) / ASSUMED.drift.step_um).astype("int64")
        return np.clip(nearest, 0, self.steps_um.size - 1)


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

    def later(self, num_samples: int) -> "Piece":
        """Return the stretch that begins so many samples later."""
        return replace(self, start_s=self.start_s + num_samples / self.sampling_frequency)
