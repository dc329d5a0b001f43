"""What the posterior of spikes and units is inferred from."""

from dataclasses import dataclass
from typing import Generic

import numpy as np
from jaxtyping import Float
from spikeinterface.core import BaseRecording

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.convert import samples_in
from si_crsae.sorting.model import Model, lowest_amplitudes
from si_crsae.sorting.stages import AnyCode, WeighedCode


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeInContext(Generic[AnyCode]):
    """A code, the model that it was found with, and how much signal it was found in.

    Parameters
    ----------
    code : Code
    model : Model
    min_amplitude : ndarray of float32, shape (atom,)
        Smallest amplitude of an accepted event.
    sampling_frequency : float
        In Hz.
    num_samples : int
        Length of all segments together, without excluded periods.
    """

    code: AnyCode
    model: Model
    min_amplitude: Float[np.ndarray, " atom"]
    sampling_frequency: float
    num_samples: int

    @classmethod
    def of(
        cls,
        recording: BaseRecording,
        code: AnyCode,
        model: Model,
        config: CrsaeConfig,
        *,
        num_excluded: int = 0,
    ) -> "CodeInContext[AnyCode]":
        """Return what the code of a recording, so many samples of which are excluded, is judged by."""
        return cls(
            code=code,
            model=model,
            min_amplitude=lowest_amplitudes(model.dictionary.scales.numpy(), model.noise, config),
            sampling_frequency=recording.sampling_frequency,
            num_samples=recording.get_total_samples() - num_excluded,
        )

    @property
    def scales(self) -> Float[np.ndarray, " atom"]:
        """Typical amplitude of each atom."""
        return self.model.dictionary.scales.numpy().astype("float64")

    @property
    def noise(self) -> Float[np.ndarray, " atom"]:
        """Noise of each atom's correlation map."""
        return self.model.noise.astype("float64")

    @property
    def noise_variance(self) -> Float[np.ndarray, " event"]:
        """Variance of the fitted amplitude of each event; where events overlap, larger if that was weighed."""
        variance = self.noise[self.code.atom_index] ** 2
        return variance / self.code.information if isinstance(self.code, WeighedCode) else variance

    def samples(self, duration_ms: float) -> float:
        """Return how many samples a duration takes."""
        return samples_in(duration_ms, self.sampling_frequency)
