"""Templates moved along the probe, and the displacement that makes those of one epoch explain those of another."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import shift
from spikeinterface.preprocessing.preprocessing_tools import get_kriging_kernel_distance

from si_crsae.sorting.assumptions import ASSUMED

LINKING = ASSUMED.linking
# Steps in which delays (samples) and displacements (um) are tried: finer ones take longer.
DELAY_STEP = 0.5
GRID_UM = 2.0
# One of so many delays is tried for each displacement.
SCANNED_DELAYS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedTemplates:
    """Templates of one epoch on a temporal basis that both epochs share.

    Parameters
    ----------
    at_delays : array, shape (delay, unit, channel, component)
        In uV, at each of some delays around zero; channels that hold mostly noise are shrunk.
    errors : array, shape (unit, channel)
        Variance of each component of the mean (uV^2).
    locations : array, shape (channel, 2)
        In um.
    """

    at_delays: Float[np.ndarray, "delay unit channel component"]
    errors: Float[np.ndarray, "unit channel"]
    locations: Float[np.ndarray, "channel 2"]

    @property
    def values(self) -> Float[np.ndarray, "unit channel component"]:
        """Templates without a delay."""
        return self.at_delays[len(self.at_delays) // 2]

    @property
    def depths_um(self) -> Float[np.ndarray, " unit"]:
        """Mean position of each template's energy along the second axis of the probe."""
        energy = np.square(self.values).sum(axis=2)
        total = energy.sum(axis=1)
        depths = energy @ self.locations[:, 1] / np.maximum(total, 1e-12)
        return np.where(total > 0, depths, self.locations[:, 1].mean())

    @property
    def shapes(self) -> Float[np.ndarray, "delay unit component"]:
        """Time course that explains most of a template, as a unit vector at every delay."""
        weights = np.linalg.svd(self.values, full_matrices=False).U[:, :, 0]
        # The largest channel keeps its sign: of opposite spikes, one is not the other.
        largest = np.take_along_axis(weights, np.abs(weights).argmax(axis=1)[:, None], axis=1)
        shapes = np.einsum("uc,ducq->duq", weights * np.sign(largest), self.at_delays)
        return shapes / np.maximum(np.linalg.norm(shapes, axis=2, keepdims=True), 1e-12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Displacement:
    """How far the tissue has moved along the probe, as a function of depth.

    Parameters
    ----------
    depths_um : array, shape (depth,)
        Ascending, in the first epoch (um).
    displacements_um : array, shape (depth,)
        Positive towards larger depths (um).
    """

    depths_um: Float[np.ndarray, " depth"]
    displacements_um: Float[np.ndarray, " depth"]

    def at(self, depths_um: Float[np.ndarray, " unit"]) -> Float[np.ndarray, " unit"]:
        """Return the displacement of units at some depths of the first epoch (um)."""
        return np.interp(depths_um, self.depths_um, self.displacements_um)

    def at_final(self, depths_um: Float[np.ndarray, " unit"]) -> Float[np.ndarray, " unit"]:
        """Return the displacement of units at some depths of the second epoch (um)."""
        # Depths may fold where the displacement changes fast; interpolation needs them in order.
        arrived = np.maximum.accumulate(self.depths_um + self.displacements_um)
        return np.interp(depths_um, arrived, self.displacements_um)


def compress_epochs(
    averages: tuple[Float[np.ndarray, "unit sample channel"], Float[np.ndarray, "unit sample channel"]],
    errors: tuple[Float[np.ndarray, "unit channel"], Float[np.ndarray, "unit channel"]],
    locations: Float[np.ndarray, "channel 2"],
    *,
    max_delay: float,
) -> tuple[CompressedTemplates, CompressedTemplates]:
    """Return the templates of two epochs on the time courses that explain both best.

    Parameters
    ----------
    averages : pair of arrays, shape (unit, sample, channel)
        Mean waveforms (uV).
    errors : pair of arrays, shape (unit, channel)
        Their squared errors at a sample (uV^2).
    locations : array, shape (channel, 2)
        In um.
    max_delay : float
        Templates are given at delays up to this one, either way (samples).

    Returns
    -------
    pair of CompressedTemplates
    """
    second_moment = sum(np.einsum("usc,utc->st", average, average) for average in averages)
    basis = np.linalg.eigh(second_moment)[1][:, : -LINKING.num_components - 1 : -1]
    num_delays = int(max_delay / DELAY_STEP)
    delays = DELAY_STEP * np.arange(-num_delays, num_delays + 1)
    delayed = np.stack([shift(basis, (delay, 0.0), order=3) for delay in delays])
    compressed = []
    for average, error in zip(averages, errors, strict=True):
        energy = np.square(np.einsum("usc,sq->ucq", average, basis)).sum(axis=2)
        noise = LINKING.min_energy_ratio * basis.shape[1] * error
        kept = average * np.maximum(0.0, 1.0 - noise / np.maximum(energy, 1e-12))[:, None]
        at_delays = np.einsum("usc,dsq->ducq", kept, delayed, optimize=True).astype(np.float32)
        compressed.append(CompressedTemplates(at_delays=at_delays, errors=error, locations=locations))
    return compressed[0], compressed[1]


def move_templates(
    templates: CompressedTemplates, displacements_um: Float[np.ndarray, " unit"], *, length_scale_um: float
) -> Float[np.ndarray, "unit channel component"]:
    """Return what the contacts would see if every unit had moved along the probe.

    Between contacts a template is taken for a Gaussian process with a squared-exponential covariance, as in the kriging
    of SpikeInterface's motion correction, and outside the probe it tends to zero.

    Parameters
    ----------
    templates : CompressedTemplates
    displacements_um : array, shape (unit,)
        Towards larger depths (um).
    length_scale_um : float
        Distance over which the covariance falls (um).

    Returns
    -------
    array, shape (unit, channel, component)
        In uV.
    """
    moved = np.zeros_like(templates.values)
    rounded = np.round(displacements_um)
    for displacement in np.unique(rounded):
        chosen = rounded == displacement
        weights = _kriging_weights(templates.locations, displacement, length_scale_um)
        moved[chosen] = np.einsum("cd,udq->ucq", weights, templates.values[chosen], optimize=True)
    return moved


def compare_moved(
    moved: Float[np.ndarray, "unit channel component"], templates: CompressedTemplates, *, every: int = 1
) -> Float[np.ndarray, "unit other"]:
    """Return the cosine of moved templates with others, at the delay that makes it largest.

    Parameters
    ----------
    moved : array, shape (unit, channel, component)
        In uV.
    templates : CompressedTemplates
    every : int, default: 1
        One of so many delays is tried.

    Returns
    -------
    array, shape (unit, other)
    """
    middle = len(templates.at_delays) // 2
    flat = moved.reshape(len(moved), -1)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    best = np.full((len(moved), templates.at_delays.shape[1]), -1.0)
    for at_delay in templates.at_delays[middle % every :: every]:
        others = at_delay.reshape(len(at_delay), -1)
        norms = np.maximum(np.linalg.norm(others, axis=1), 1e-12)
        best = np.maximum(best, flat @ others.T / norms)
    return best


def compare_both_ways(
    templates_a: CompressedTemplates,
    templates_b: CompressedTemplates,
    displacements_um: tuple[Float[np.ndarray, " unit"], Float[np.ndarray, " other"]],
    *,
    length_scale_um: float,
    every: int = 1,
) -> tuple[Float[np.ndarray, "unit other"], Float[np.ndarray, "unit other"]]:
    """Compare the moved templates of A with those of B, and those of B, moved back, with those of A.

    Parameters
    ----------
    templates_a, templates_b : CompressedTemplates
    displacements_um : pair of arrays, shapes (unit,) and (other,)
        How far the units of A and of B have moved, from the first epoch to the second (um).
    length_scale_um : float
        Distance over which a template changes (um).
    every : int, default: 1
        One of so many delays is tried.

    Returns
    -------
    similarity : array, shape (unit, other)
        Mean of the cosines either way.
    log_gain : array, shape (unit, other)
        Logarithm of how much larger a template of B is than one of A that has moved.
    """
    similarity, log_gain = 0.0, 0.0
    for sign, source, target in ((1, templates_a, templates_b), (-1, templates_b, templates_a)):
        moved = move_templates(source, sign * displacements_um[int(sign < 0)], length_scale_um=length_scale_um)
        norms, original, norms_target = _norms(moved), _norms(source.values), _norms(target.values)
        least = np.maximum(LINKING.min_share_left * original, 1e-12)
        cosines = compare_moved(moved, target, every=every) * np.minimum(norms / least, 1.0)[:, None]
        gain = sign * np.log(np.maximum(norms_target, 1e-12) / np.maximum(norms, least)[:, None])
        similarity = similarity + 0.5 * (cosines if sign > 0 else cosines.T)
        log_gain = log_gain + 0.5 * (gain if sign > 0 else gain.T)
    return np.asarray(similarity), np.asarray(log_gain)


def estimate_displacement(
    templates_a: CompressedTemplates,
    templates_b: CompressedTemplates,
    *,
    max_displacement_um: float,
    length_scale_um: float,
) -> Displacement:
    """Return the smooth displacement that makes the moved templates of A most similar to those of B.

    Every displacement is tried for every unit. In windows along the probe the units' best similarities are pooled, on a
    scale where the step from 0.8 to 0.9 counts as much as that from 0.6 to 0.8; the best sequence of displacements of
    the windows, changes and large values being penalized, comes from dynamic programming. That nearby depths share
    their motion is what non-rigid registration of recordings rests on [1]_.

    Parameters
    ----------
    templates_a, templates_b : CompressedTemplates
    max_displacement_um : float
        Either way (um).
    length_scale_um : float
        Distance over which a template changes (um).

    Returns
    -------
    Displacement

    References
    ----------
    .. [1] Windolf et al., "DREDge: robust motion correction for high-density extracellular recordings across species",
       Nature Methods, 2025.
    """
    num_steps = int(np.ceil(max_displacement_um / GRID_UM))
    grid_um = GRID_UM * np.arange(-num_steps, num_steps + 1)
    num_a, num_b = templates_a.at_delays.shape[1], templates_b.at_delays.shape[1]
    scores = np.zeros((len(grid_um), num_a))
    for index, step_um in enumerate(grid_um):
        steps = np.full(num_a, step_um), np.full(num_b, step_um)
        similarity, _ = compare_both_ways(
            templates_a, templates_b, steps, length_scale_um=length_scale_um, every=SCANNED_DELAYS
        )
        best = np.clip(similarity.max(axis=1), 0.0, 1.0)
        scores[index] = -np.log(1.0 + LINKING.displacement_floor - best)
    depths = templates_a.depths_um
    width_um = LINKING.window_um
    centers = np.arange(depths.min(), depths.max() + width_um, width_um)
    windows = np.exp(-0.5 * np.square((depths - centers[:, None]) / width_um))
    windows /= windows.sum(axis=0)
    # Among so many displacements, some make a few different units alike: large ones need more evidence.
    usual_um = max(max_displacement_um, GRID_UM) / LINKING.max_displacement_sds
    log_prior = -0.5 * np.square(grid_um / usual_um) / len(centers)
    penalty = np.square((grid_um[:, None] - grid_um) / LINKING.stiffness_um)
    path = _best_path(windows @ scores.T + log_prior, penalty)
    return Displacement(depths_um=centers, displacements_um=grid_um[path])


def _best_path(gains: Float[np.ndarray, "window step"], penalty: Float[np.ndarray, "step step"]) -> list[int]:
    """Return the step of each window with the largest sum of gains less the penalty of every change (Viterbi)."""
    total, origins = gains[0], []
    for gain in gains[1:]:
        arrived = total[None] - penalty
        origins.append(arrived.argmax(axis=1))
        total = arrived.max(axis=1) + gain
    path = [int(total.argmax())]
    for origin in reversed(origins):
        path.append(int(origin[path[-1]]))
    return path[::-1]


def _kriging_weights(
    locations: Float[np.ndarray, "channel 2"], displacement_um: float, length_scale_um: float
) -> Float[np.ndarray, "channel channel"]:
    # SpikeInterface's covariance is exp(-(distance / sigma) ** p).
    sigma_um = np.sqrt(2.0) * length_scale_um
    covariance = np.asarray(get_kriging_kernel_distance(locations, locations, sigma_um, 2))
    origins = locations - np.array([0.0, displacement_um])
    cross = np.asarray(get_kriging_kernel_distance(origins, locations, sigma_um, 2))
    covariance[np.diag_indices_from(covariance)] += LINKING.relative_error
    return np.linalg.solve(covariance, cross.T).T.astype(np.float32)


def _norms(values: Float[np.ndarray, "unit channel component"]) -> Float[np.ndarray, " unit"]:
    return np.sqrt(np.square(values).sum(axis=(1, 2)))
