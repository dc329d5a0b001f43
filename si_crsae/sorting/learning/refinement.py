"""Where the tissue really was: the displacement under which templates explain the waveforms best."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from spikeinterface.core.motion import Motion

from si_crsae.core.robust import robust_sd
from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.convert import shared_channels
from si_crsae.sorting.drift.moving import MovingTemplates
from si_crsae.sorting.drift.trajectory import Trajectory
from si_crsae.sorting.learning.expectation import EventWaveforms


def refine_trajectory(
    trajectory: Trajectory,
    events: EventWaveforms,
    moving: MovingTemplates,
    channels: Int[np.ndarray, "atom local"],
    *,
    noise_features: Float[np.ndarray, "row channel component"],
    assumed: Assumptions = ASSUMED,
) -> Trajectory:
    """Return the trajectory with displacements moved to where the waveforms of events say that the tissue was.

    Every event weighs the steps by the likelihood of its waveform, of whatever size; the events of an atom in a bin of
    time show a displacement, with an error. Between some depths the displacement is linear: it is fitted to what all
    atoms show, with a normal prior around the present one.

    Parameters
    ----------
    trajectory : Trajectory
    events : EventWaveforms
    moving : MovingTemplates
        Templates of their atoms.
    channels : ndarray of int64, shape (atom, local)
        On which the events of each atom were looked at; -1 where there are fewer.
    noise_features : ndarray of float32, shape (row, channel, component)
        Noise on the temporal basis.
    assumed : Assumptions, default: ASSUMED
    """
    if events.atom_index.size == 0:
        return trajectory
    log_likelihood = _log_likelihoods(events, moving, channels, noise_features, assumed)
    windows = _windows(moving.rest_depth_um[np.unique(events.atom_index)], assumed)
    displacements, times = [], []
    for segment in range(trajectory.motion.num_segments):
        bins_s = _fine_bins(trajectory.motion.temporal_bins_s[segment], assumed.drift.refined_bin_s)
        bins, rows = _bins_of_events(trajectory, events, segment, bins_s)
        shown = _shown_by_atoms(bins, events.atom_index[rows], log_likelihood[rows], trajectory.steps_um)
        start = trajectory.motion.get_displacement_at_time_and_depth(
            bins_s, windows, segment_index=segment, grid=True
        ).T
        displacements.append(_most_probable(start, shown, moving.rest_depth_um, windows, assumed))
        times.append(bins_s)
    return replace(trajectory, motion=Motion(displacements, times, windows))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownDisplacements:
    """Displacements that the events of an atom show in a bin of time.

    Parameters
    ----------
    bin_index, atom_index : ndarray of int64, shape (place,)
    mean_um, precision : ndarray, shape (place,)
        Of the displacement, given the waveforms alone (um, um^-2).
    """

    bin_index: Int[np.ndarray, " place"]
    atom_index: Int[np.ndarray, " place"]
    mean_um: Float[np.ndarray, " place"]
    precision: Float[np.ndarray, " place"]


def _bins_of_events(
    trajectory: Trajectory, events: EventWaveforms, segment: int, bins_s: Float[np.ndarray, " bin"]
) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"]]:
    """Return the bins of the events that lie in a segment of the recording, and which events these are."""
    bins, rows = [], []
    length_s = bins_s[1] - bins_s[0] if bins_s.size > 1 else np.inf
    for index, piece in enumerate(trajectory.pieces):
        if piece.segment_index == segment:
            mine = np.flatnonzero(events.segment_index == index)
            nearest = np.rint((piece.seconds(events.sample_index[mine]) - bins_s[0]) / length_s)
            bins.append(np.clip(nearest, 0, bins_s.size - 1).astype("int64"))
            rows.append(mine)
    return np.concatenate(bins), np.concatenate(rows)


def _shown_by_atoms(
    bins: Int[np.ndarray, " row"],
    atoms: Int[np.ndarray, " row"],
    log_likelihood: Float[np.ndarray, "row step"],
    steps_um: Float[np.ndarray, " step"],
) -> ShownDisplacements:
    places, place = np.unique(np.stack([bins, atoms]), axis=1, return_inverse=True)
    summed = np.zeros((places.shape[1], steps_um.size))
    np.add.at(summed, place.ravel(), log_likelihood)
    weights = np.exp(summed - summed.max(axis=1, keepdims=True, initial=-np.inf))
    weights /= weights.sum(axis=1, keepdims=True)
    mean = weights @ steps_um
    variance = weights @ steps_um**2 - mean**2 + ASSUMED.drift.step_um**2 / 12
    return ShownDisplacements(
        bin_index=places[0], atom_index=places[1], mean_um=mean, precision=1 / np.maximum(variance, 1e-6)
    )


def _most_probable(
    start_um: Float[np.ndarray, "bin window"],
    shown: ShownDisplacements,
    depths_um: Float[np.ndarray, " atom"],
    windows_um: Float[np.ndarray, " window"],
    assumed: Assumptions,
) -> Float[np.ndarray, "bin window"]:
    """Return the displacements at the windows, between which they are linear, that fit those shown and the start."""
    shares = np.stack([np.interp(depths_um[shown.atom_index], windows_um, each) for each in np.eye(windows_um.size)], 1)
    prior = np.eye(windows_um.size) / assumed.drift.estimate_error_um**2
    equations = np.broadcast_to(prior, (len(start_um), *prior.shape)).copy()
    totals = start_um @ prior
    weighted = shown.precision[:, None] * shares
    np.add.at(equations, shown.bin_index, weighted[:, :, None] * shares[:, None, :])
    np.add.at(totals, shown.bin_index, weighted * shown.mean_um[:, None])
    return np.linalg.solve(equations, totals[:, :, None])[:, :, 0]


def _log_likelihoods(
    events: EventWaveforms,
    moving: MovingTemplates,
    channels: Int[np.ndarray, "atom local"],
    noise_features: Float[np.ndarray, "row channel component"],
    assumed: Assumptions,
) -> Float[np.ndarray, "event step"]:
    """Return the log likelihood of every event at every step, less its largest; sizes vary around the usual one."""
    variance, size_variance = float(robust_sd(noise_features.ravel())) ** 2, assumed.spikes.amplitude_spread**2
    values = np.zeros((events.atom_index.size, moving.step_um.size))
    for atom in np.unique(events.atom_index):
        mine = events.atom_index == atom
        here, there = shared_channels(moving.step_channels[atom], channels[atom])
        seen = events.recorded[mine][:, there].reshape(mine.sum(), -1)
        templates = moving.step_weights[atom][:, here].reshape(moving.step_um.size, -1)
        # The size that explains an event best, given that it is 1 but for its spread, has a closed form.
        product, energy = seen @ templates.T / variance, np.square(templates).sum(axis=1) / variance
        size = (product + 1 / size_variance) / (energy + 1 / size_variance)
        left = np.square(seen).sum(axis=1)[:, None] / variance - 2 * size * product + size**2 * energy
        values[mine] = -0.5 * (left + (size - 1) ** 2 / size_variance)
    values -= values.max(axis=1, keepdims=True, initial=-np.inf)
    return np.maximum(values, -assumed.drift.max_event_weight)


def _windows(depths_um: Float[np.ndarray, " event"], assumed: Assumptions) -> Float[np.ndarray, " window"]:
    """Return depths from end to end of where events are, between which the motion is taken for linear."""
    lowest, highest = (float(end(depths_um)) for end in (np.min, np.max))
    count = max(round((highest - lowest) / assumed.drift.window_um) + 1, 2)
    return np.linspace(lowest, max(highest, lowest + 1.0), count)


def _fine_bins(bins_s: Float[np.ndarray, " bin"], length_s: float) -> Float[np.ndarray, " fine"]:
    """Return the middles of bins of a length over the time of other bins."""
    half_s = np.diff(bins_s).mean() / 2 if bins_s.size > 1 else length_s / 2
    count = max(round((bins_s[-1] - bins_s[0] + 2 * half_s) / length_s), 1)
    return bins_s[0] - half_s + length_s * (np.arange(count) + 0.5)
