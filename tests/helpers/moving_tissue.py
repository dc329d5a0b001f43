"""Tissue whose templates are known at every displacement: Gaussian bumps along a probe of one column."""

import numpy as np
from spikeinterface.core import NumpyRecording
from spikeinterface.core.motion import Motion

from si_crsae.sorting.drift.moving import MovingTemplates
from si_crsae.sorting.drift.tissue import Tissue
from si_crsae.sorting.signal.preprocessing import Whitening

NUM_CHANNELS, PITCH_UM, REACH_UM, RATE_HZ = 12, 20.0, 25.0, 1000.0
DEPTHS_UM = PITCH_UM * np.arange(NUM_CHANNELS)
LOCATIONS = np.column_stack([np.zeros(NUM_CHANNELS), DEPTHS_UM])
SHAPE = np.array([1.0, -0.5])


def seen_at(depth_um: float, displacement_um: float, *, norm: float = 30.0) -> np.ndarray:
    """Return what the contacts see (channel, component) of a unit at a depth when the tissue has moved up."""
    gains = np.exp(-0.5 * ((DEPTHS_UM - depth_um - displacement_um) / REACH_UM) ** 2)
    return (norm * np.outer(gains, SHAPE)).astype("float32")


def make_motion(path_um: np.ndarray, *, bin_s: float = 1.0) -> Motion:
    """Return a rigid motion, one displacement for each bin of time."""
    times = bin_s * (np.arange(len(path_um)) + 0.5)
    return Motion(np.asarray(path_um, float)[:, None], times, np.array([100.0]))


def make_tissue(motion: Motion, *, whitening: np.ndarray | None = None) -> Tissue:
    """Return the tissue of a silent recording as long as the motion."""
    num_samples = round(RATE_HZ * motion.temporal_bin_edges_s[0][-1])
    recording = NumpyRecording([np.zeros((num_samples, NUM_CHANNELS), "float32")], RATE_HZ)
    recording.set_dummy_probe_from_locations(LOCATIONS)
    matrix = np.eye(NUM_CHANNELS) if whitening is None else whitening
    return Tissue.of(recording, motion, Whitening(matrix=matrix))


def true_templates(tissue: Tissue, depths_um: list[float], *, norm: float = 30.0) -> MovingTemplates:
    """Return the templates of units at some depths at every step of a tissue's grid."""
    steps = tissue.covariance.steps_um
    weights = [[seen_at(depth, step, norm=norm) for step in steps] for depth in depths_um]
    return MovingTemplates(
        step_um=steps,
        step_weights=np.array(weights, "float32"),
        step_channels=np.tile(np.arange(NUM_CHANNELS), (len(depths_um), 1)),
        rest_depth_um=np.array(depths_um),
    )
