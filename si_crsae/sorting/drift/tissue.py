"""The tissue of a recording: where it is, and what contacts see of it."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from spikeinterface.core import BaseRecording
from spikeinterface.core.motion import Motion

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.drift.covariance import TemplateCovariance
from si_crsae.sorting.drift.estimation import interpolate
from si_crsae.sorting.drift.trajectory import Trajectory
from si_crsae.sorting.signal.preprocessing import Whitening
from si_crsae.sorting.signal.recording import Tile


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
        """Return whitened traces as they would be at rest, interpolated between contacts, lazily."""
        still = interpolate(self.whitening.undo(whitened), self.trajectory.motion_of(whitened), config)
        return self.whitening.apply(still)
