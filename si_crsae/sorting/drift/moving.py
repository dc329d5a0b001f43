"""Templates that move with the tissue: one for each displacement, from the waveforms at all of them."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve

from si_crsae.core.tables import no_rows, select_rows
from si_crsae.core.types import Dictionary
from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.drift.covariance import TemplateCovariance


@dataclass(frozen=True, slots=True, kw_only=True)
class MovingTemplates:
    """Templates of atoms at every step of displacement; no step where nothing moves.

    Parameters
    ----------
    step_um : ndarray of float, shape (step,)
        Displacements along the probe, ascending.
    step_weights : ndarray of float32, shape (moving, step, local, component)
        Whitened templates on the temporal basis.
    step_channels : ndarray of int64, shape (moving, local)
        Channels they are on; -1 where there are fewer.
    rest_depth_um : ndarray of float, shape (moving,)
        Where along the probe each is when nothing has moved.
    """

    step_um: Float[np.ndarray, " step"] = field(default_factory=lambda: no_rows(0))
    step_weights: Float[np.ndarray, "moving step local component"] = field(default_factory=lambda: no_rows(0, 0, 0, 0))
    step_channels: Int[np.ndarray, "moving local"] = field(default_factory=lambda: no_rows(0, 0, dtype="int64"))
    rest_depth_um: Float[np.ndarray, " moving"] = field(default_factory=lambda: no_rows(0))

    @property
    def rest(self) -> int:
        """The step at which nothing has moved."""
        return int(np.abs(self.step_um).argmin())

    @property
    def are_still(self) -> bool:
        """Whether nothing moves."""
        return self.step_um.size == 0

    def select(self, atoms: np.ndarray) -> "MovingTemplates":
        """Return the templates of some of the atoms (mask or indices)."""
        return self if self.are_still else select_rows(self, atoms, "moving")

    def at(self, steps: Int[np.ndarray, " atom"], rest: Dictionary) -> Dictionary:
        """Return the dictionary of the atoms, each at its own step; one that shows nothing there is the one at rest."""
        coefficients = torch.from_numpy(self.coefficients_at(steps, num_channels=rest.weights.shape[1]))
        is_gone = ~coefficients.any(dim=2).any(dim=1)
        coefficients[is_gone] = rest.weights[is_gone] * rest.scales[is_gone, None, None]
        return Dictionary.from_coefficients(coefficients, rest.basis, num_before=rest.num_before)

    def coefficients_at(
        self, steps: Int[np.ndarray, " moving"], *, num_channels: int
    ) -> Float[np.ndarray, "moving channel component"]:
        """Return the templates, each at its own step, on all channels."""
        rows, local = np.nonzero(self.step_channels >= 0)
        dense = np.zeros((len(steps), num_channels, self.step_weights.shape[3]), "float32")
        dense[rows, self.step_channels[rows, local]] = self.step_weights[rows, steps[rows], local]
        return dense


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenMeans:
    """Mean waveforms of one unit, by where the tissue was.

    Parameters
    ----------
    means : ndarray, shape (seen, local, component)
    counts : ndarray, shape (seen, local)
        Waveforms in each mean; 0 where there is none.
    steps : ndarray of int64, shape (seen,)
        Steps of displacement.
    """

    means: Float[np.ndarray, "seen local component"]
    counts: Float[np.ndarray, "seen local"]
    steps: Int[np.ndarray, " seen"]

    @classmethod
    def of(
        cls,
        features: Float[np.ndarray, "event local component"],
        steps: Int[np.ndarray, " event"],
        *,
        assumed: Assumptions = ASSUMED,
    ) -> "SeenMeans":
        """Return the means of single waveforms, NaN on channels that were not looked at.

        Steps that are close to each other are pooled where there are many.
        """
        reach = steps.max() - steps.min() + 1
        pooled = (steps - steps.min()) // -(-reach // assumed.drift.max_fitted_steps)
        kinds, index = np.unique(pooled, return_inverse=True)
        is_seen = ~np.isnan(features[:, :, 0])
        sums, counts = np.zeros((kinds.size, *features.shape[1:])), np.zeros((kinds.size, features.shape[1]))
        np.add.at(sums, index, np.nan_to_num(features))
        np.add.at(counts, index, is_seen)
        centers = np.bincount(index, weights=steps) / np.bincount(index)
        means = sums / np.maximum(counts, 1)[:, :, None]
        return cls(means=means, counts=counts, steps=np.round(centers).astype("int64"))


def move_templates(
    rest: Dictionary,
    channels: Int[np.ndarray, "atom local"],
    covariance: TemplateCovariance,
    depths_um: Float[np.ndarray, " channel"],
    *,
    assumed: Assumptions = ASSUMED,
) -> MovingTemplates:
    """Return templates that are known at rest, and nowhere else, at every step.

    Parameters
    ----------
    rest : Dictionary
        In noise standard deviations.
    channels : ndarray of int64, shape (atom, local)
        On which each atom is looked at; -1 where there are fewer.
    covariance : TemplateCovariance
    depths_um : ndarray, shape (channel,)
        Of the contacts.
    assumed : Assumptions, default: ASSUMED
    """
    coefficients = (rest.weights * rest.scales[:, None, None]).numpy()
    energies = np.square(coefficients).sum(axis=2)
    weights = []
    for atom, local in enumerate(channels):
        known = coefficients[atom, local] * (local >= 0)[:, None]
        seen = SeenMeans(means=known[None], counts=np.full((1, local.size), np.inf), steps=np.array([covariance.rest]))
        weights.append(fit_moving_template(seen, local, covariance, noise_variance=1.0, assumed=assumed))
    return MovingTemplates(
        step_um=covariance.steps_um,
        step_weights=np.stack(weights),
        step_channels=channels,
        rest_depth_um=energies @ depths_um / energies.sum(axis=1),
    )


def fit_moving_template(
    seen: SeenMeans,
    channels: Int[np.ndarray, " local"],
    covariance: TemplateCovariance,
    *,
    noise_variance: float,
    assumed: Assumptions = ASSUMED,
) -> Float[np.ndarray, "step local component"]:
    """Return the posterior mean of a unit's template at every step, given its mean waveforms at some.

    Parameters
    ----------
    seen : SeenMeans
        At least one.
    channels : ndarray of int64, shape (local,)
        Channels of the waveforms; -1 where there are fewer.
    covariance : TemplateCovariance
    noise_variance : float
        Of a component of one waveform on one channel.
    assumed : Assumptions, default: ASSUMED

    Returns
    -------
    ndarray of float32, shape (step, local, component)
        Zero on the channels where it shows nothing.
    """
    present, num_components = np.flatnonzero(channels >= 0), seen.means.shape[2]
    local = np.ix_(channels[present], channels[present])
    counts = seen.counts[:, present].ravel()
    known = np.flatnonzero(counts)
    blocks = [[covariance.between(one, two)[local] for two in seen.steps] for one in seen.steps]
    prior = np.block(blocks).astype("float64")[np.ix_(known, known)]
    values, of_noise = seen.means[:, present].reshape(-1, num_components)[known], noise_variance / counts[known]
    signal = (values**2).sum(axis=1) / num_components - of_noise
    scale = max(float(signal.mean()), 1e-6) / np.diag(prior).mean()
    error = of_noise / scale + assumed.drift.relative_error * np.diag(prior).mean()
    solved = cho_solve(cho_factor(prior + np.diag(error)), values)
    fitted = np.zeros((covariance.steps_um.size, channels.size, num_components), "float32")
    for step in range(len(fitted)):
        cross = np.concatenate([covariance.between(step, other)[local] for other in seen.steps], axis=1)
        fitted[step, present] = cross[:, known] @ solved
    fitted[np.linalg.norm(fitted, axis=2) < assumed.units.min_channel_norm] = 0
    return fitted
