"""What contacts see of a template when the tissue has moved: a Gaussian process, seen through the whitening."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

from si_crsae.sorting.assumptions import ASSUMED


@dataclass(frozen=True, kw_only=True)  # slots have no room for what is made once
class TemplateCovariance:
    """Covariances between what contacts see of a template at two displacements, on a grid of displacements.

    Along the probe and across it, a template before whitening is taken for a Gaussian process of zero mean with a
    Matérn covariance of smoothness 5/2 [1]_. Its components in time are taken for independent.

    Parameters
    ----------
    steps_um : ndarray, shape (step,)
        Displacements, ascending and evenly spaced, zero among them.
    values : ndarray of float32, shape (difference, channel, channel)
        Between whitened channels, the second displaced by a difference of steps more; the middle one is no difference.

    References
    ----------
    .. [1] Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, Eq. 4.17.
    """

    steps_um: Float[np.ndarray, " step"]
    values: Float[np.ndarray, "difference channel channel"]

    @classmethod
    def of(
        cls,
        locations: Float[np.ndarray, "channel 2"],
        whitening: Float[np.ndarray, "channel channel"],
        steps_um: Float[np.ndarray, " step"],
    ) -> "TemplateCovariance":
        """Return the covariances of a probe.

        Parameters
        ----------
        locations : ndarray, shape (channel, 2)
            In um; the tissue moves along the second axis.
        whitening : ndarray, shape (channel, channel)
            Whitened traces are traces (sample, channel) times this matrix.
        steps_um : ndarray, shape (step,)
        """
        differences = (np.arange(2 * steps_um.size - 1) - (steps_um.size - 1)) * np.diff(steps_um).mean()
        values = []
        for difference in differences:
            seen = whitening.T @ _matern(locations, locations - np.array([0.0, difference])) @ whitening
            values.append(seen.astype("float32"))
        return cls(steps_um=steps_um, values=np.stack(values))

    @property
    def rest(self) -> int:
        """The step at which nothing has moved."""
        return int(np.abs(self.steps_um).argmin())

    def between(self, first: int, second: int) -> Float[np.ndarray, "channel channel"]:
        """Return the covariance of the channels at one step with those at another."""
        return self.values[self.steps_um.size - 1 + second - first]

    @cached_property
    def registrations(self) -> Float[np.ndarray, "step channel channel"]:
        """Matrices that give what the channels would see at rest of what they see at each step."""
        rest = self.between(0, 0)
        noise = ASSUMED.drift.relative_error * np.diag(rest).mean()
        inverse = np.linalg.inv(rest + noise * np.eye(len(rest)))
        steps = range(self.steps_um.size)
        return np.stack([self.between(self.rest, step) @ inverse for step in steps]).astype("float32")


def _matern(one: Float[np.ndarray, "point 2"], two: Float[np.ndarray, "other 2"]) -> Float[np.ndarray, "point other"]:
    scaled = np.sqrt(5) * cdist(one, two) / ASSUMED.drift.length_scale_um
    return (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
