"""What is learned, and the encoder that it makes."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from si_crsae.config import CrsaeConfig
from si_crsae.core.events.encoder import Encoder, EncoderSettings
from si_crsae.core.tables import select_rows
from si_crsae.core.types import Dictionary
from si_crsae.sorting.checks import resolve_device

GROUP_GAP_MS = 0.3
REFRACTORY_MS = 0.7
MARGIN_WIDTHS = 4
MAX_REGULARIZATION_TO_SCALE = 0.7
MAX_AMPLITUDE = 1.6
MAX_MIN_AMPLITUDE = 0.9
# Log odds against a spike at one sample: an event is accepted where it lowers the objective by more than that.
LOG_PRIOR_ODDS = 7.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is learned: the atoms, the noise that each of them sees, and its regularization.

    Parameters
    ----------
    dictionary : Dictionary
    noise : ndarray of float32, shape (atom,)
        Standard deviation of the correlation of the traces' noise with each atom.
    regularization : ndarray of float32, shape (atom,)
        Lambda of each atom.
    """

    dictionary: Dictionary
    noise: Float[np.ndarray, " atom"]
    regularization: Float[np.ndarray, " atom"]

    def select(self, atoms: np.ndarray) -> "Model":
        """Return the model of some of the atoms (mask or indices)."""
        dictionary = select_rows(self.dictionary, torch.as_tensor(atoms), "atom")
        return replace(select_rows(self, atoms, "atom"), dictionary=dictionary)


def make_encoder(model: Model, config: CrsaeConfig, *, sampling_frequency: float) -> Encoder:
    """Return the encoder of a model."""
    settings = make_settings(model, config, sampling_frequency=sampling_frequency)
    return Encoder.of(model.dictionary, settings, solver=config.solver, device=resolve_device(config.device))


def make_settings(model: Model, config: CrsaeConfig, *, sampling_frequency: float) -> EncoderSettings:
    """Return what the encoder of a model needs, with its amplitude windows in units of the noise."""
    scales = model.dictionary.scales.numpy()
    return EncoderSettings(
        regularization=np.minimum(model.regularization, MAX_REGULARIZATION_TO_SCALE * scales).astype("float32"),
        min_amplitude=lowest_amplitudes(scales, model.noise, config),
        max_amplitude=(MAX_AMPLITUDE * scales).astype("float32"),
        noise=float(np.median(model.noise)),
        max_gap=round(GROUP_GAP_MS * sampling_frequency / 1000),
        refractory=round(REFRACTORY_MS * sampling_frequency / 1000),
    )


def lowest_amplitudes(
    scales: Float[np.ndarray, " atom"], noise: Float[np.ndarray, " atom"], config: CrsaeConfig
) -> Float[np.ndarray, " atom"]:
    """Return the coefficient of each atom below which no event is accepted.

    An event of amplitude x lowers the objective by more than the log odds against it where
    ``x > scale / 2 + noise^2 * log_odds / scale``.
    """
    lowest = np.clip(
        0.5 + LOG_PRIOR_ODDS * (noise / scales) ** 2, config.min_amplitude, max(MAX_MIN_AMPLITUDE, config.min_amplitude)
    )
    return (lowest * scales).astype("float32")


def margin_of(encoder: Encoder) -> int:
    """Return the samples read on either side of a tile: events further away have no say in it."""
    return MARGIN_WIDTHS * encoder.dictionary.width
