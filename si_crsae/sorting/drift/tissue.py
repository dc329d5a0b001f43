"""The tissue of a recording: where it is, and what contacts see of it."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from spikeinterface.core import BaseRecording
from spikeinterface.core.motion import Motion

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.drift.covariance import TemplateCovariance
from si_crsae.sorting.drift.estimation import interpolate
from si_crsae.sorting.drift.trajectory import BIN_S, Trajectory
from si_crsae.sorting.signal.preprocessing import Whitening
from si_crsae.sorting.signal.recording import Tile, select_windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Tissue:
    """Tissue that moves along a probe.

    Parameters
    ----------
    trajectory : Trajectory
    covariance : TemplateCovariance
        On the trajectory's grid of displacements.
    depths_um : ndarray, shape (channel,)
        Of the contacts.
    whitening : Whitening
        Of the traces.
    """

    trajectory: Trajectory
    covariance: TemplateCovariance
    depths_um: Float[np.ndarray, " channel"]
    whitening: Whitening

    @classmethod
    def of(cls, recording: BaseRecording, motion: Motion, whitening: Whitening) -> "Tissue":
        """Return the tissue of a recording."""
        trajectory, locations = Trajectory.of(motion, recording), recording.get_channel_locations()[:, :2]
        covariance = TemplateCovariance.of(locations, whitening.matrix, trajectory.steps_um)
        return cls(trajectory=trajectory, covariance=covariance, depths_um=locations[:, 1], whitening=whitening)

    def in_windows(self, windows: list[Tile] | None) -> "Tissue":
        """Return the tissue in windows of the recording, which are segments there; None for all of it."""
        return self if windows is None else replace(self, trajectory=self.trajectory.in_windows(windows))

    def at_rest(self, whitened: BaseRecording, config: CrsaeConfig) -> BaseRecording:
        """Return the whitened traces near rest as they would be at rest, interpolated between contacts, lazily.

        Interpolation blurs a spike, the more the further it is moved, and one neuron would look like several, each at
        another displacement. So only that part of the time is returned in which the tissue is nearest to rest; its
        stretches are segments.
        """
        still = interpolate(self.whitening.undo(whitened), self.trajectory.motion_of(whitened), config)
        return select_windows(self.whitening.apply(still), self._calm_windows(whitened))

    def near_rest(self, whitened: BaseRecording) -> BaseRecording:
        """Return the same part of the time, as it was recorded."""
        return select_windows(whitened, self._calm_windows(whitened))

    def is_calm(
        self,
        whitened: BaseRecording,
        segment_index: Int[np.ndarray, " event"],
        sample_index: Int[np.ndarray, " event"],
        *,
        margin: int,
    ) -> Bool[np.ndarray, " event"]:
        """Return which samples lie in the part of the time that `at_rest` returns, or within a margin of it."""
        is_calm = np.zeros(len(sample_index), bool)
        for window in self._calm_windows(whitened):
            is_late = sample_index >= window.start - margin
            is_calm |= (segment_index == window.segment_index) & is_late & (sample_index < window.end + margin)
        return is_calm

    def _calm_windows(self, whitened: BaseRecording) -> list[Tile]:
        motion, frequency = self.trajectory.motion_of(whitened), whitened.sampling_frequency
        away = [np.abs(displacement).max(axis=1) for displacement in motion.displacement]
        share = max(ASSUMED.drift.calm_share, min(ASSUMED.drift.min_calm_s / whitened.get_total_duration(), 1.0))
        limit = np.quantile(np.concatenate(away), share)
        windows = []
        for segment, is_calm in enumerate(each <= limit for each in away):
            edges = np.flatnonzero(np.diff(np.concatenate([[False], is_calm, [False]])))
            bounds = np.rint(edges * BIN_S * frequency).astype("int64")
            ends = np.minimum(bounds, whitened.get_num_samples(segment)).reshape(-1, 2).tolist()
            windows += [Tile(segment_index=segment, start=start, end=end) for start, end in ends]
        return windows
