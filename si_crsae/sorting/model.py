"""What is learned, and the encoder that it makes."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from si_crsae.config import CrsaeConfig
from si_crsae.core.events.encoder import Encoder, EncoderSettings
from si_crsae.core.tables import select_rows
from si_crsae.core.types import Dictionary
from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.checks import resolve_device
from si_crsae.sorting.convert import nearest_samples
from si_crsae.sorting.drift.encoder import MovingEncoder
from si_crsae.sorting.drift.moving import MovingTemplates
from si_crsae.sorting.drift.trajectory import Trajectory

# Events act on those that they overlap, and these on the next: chains are taken to be no longer than this.
MARGIN_WIDTHS = 4


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
    moving : MovingTemplates, optional
        The atoms where the tissue has moved; the dictionary has them at rest.
    """

    dictionary: Dictionary
    noise: Float[np.ndarray, " atom"]
    regularization: Float[np.ndarray, " atom"]
    moving: MovingTemplates = field(default_factory=MovingTemplates)

    def select(self, atoms: np.ndarray) -> "Model":
        """Return the model of some of the atoms (mask or indices)."""
        dictionary = select_rows(self.dictionary, torch.as_tensor(atoms), "atom")
        return replace(select_rows(self, atoms, "atom"), dictionary=dictionary, moving=self.moving.select(atoms))


def make_encoder(
    model: Model,
    config: CrsaeConfig,
    *,
    sampling_frequency: float,
    trajectory: Trajectory | None = None,
    made: Encoder | None = None,
    assumed: Assumptions = ASSUMED,
) -> Encoder:
    """Return the encoder of a model, for tissue on its trajectory if it moves; faster with one made of its atoms."""
    settings = make_settings(model, config, sampling_frequency=sampling_frequency, assumed=assumed)
    if made is None:
        encoder = Encoder.of(model.dictionary, settings, solver=config.solver, device=resolve_device(config.device))
    else:
        encoder = replace(made, settings=settings)
    if trajectory is None or model.moving.are_still:
        return encoder
    return MovingEncoder(
        dictionary=encoder.dictionary,
        settings=encoder.settings,
        gram=encoder.gram,
        factors=encoder.factors,
        solver=encoder.solver,
        device=encoder.device,
        templates=model.moving,
        trajectory=trajectory,
        settings_of=partial(
            _settings_of, model=model, config=config, sampling_frequency=sampling_frequency, assumed=assumed
        ),
        solver_name=config.solver,
    )


def make_settings(
    model: Model, config: CrsaeConfig, *, sampling_frequency: float, assumed: Assumptions = ASSUMED
) -> EncoderSettings:
    """Return what the encoder of a model needs, with its amplitude windows in units of the noise."""
    scales, spikes = model.dictionary.scales.numpy(), assumed.spikes
    return EncoderSettings(
        regularization=np.minimum(model.regularization, spikes.max_regularization_to_scale * scales).astype("float32"),
        min_amplitude=lowest_amplitudes(scales, model.noise, config, assumed=assumed),
        max_amplitude=(spikes.max_amplitude * scales).astype("float32"),
        noise=float(np.median(model.noise)),
        max_gap=nearest_samples(spikes.group_gap_ms, sampling_frequency),
        refractory=nearest_samples(assumed.refractory.one_spike_ms, sampling_frequency),
        amplitude_spread=spikes.amplitude_spread,
        event_price=spikes.event_price,
        join_correlation=spikes.join_correlation,
    )


def _settings_of(dictionary: Dictionary, *, model: Model, **settings: Any) -> EncoderSettings:
    """Return the settings of a model of other atoms."""
    return make_settings(replace(model, dictionary=dictionary), **settings)


def lowest_amplitudes(
    scales: Float[np.ndarray, " atom"],
    noise: Float[np.ndarray, " atom"],
    config: CrsaeConfig,
    *,
    assumed: Assumptions = ASSUMED,
) -> Float[np.ndarray, " atom"]:
    """Return the coefficient of each atom below which no event is accepted.

    An event of amplitude x lowers the objective by more than the log odds against it where
    ``x > scale / 2 + noise^2 * log_odds / scale``.
    """
    highest = max(assumed.spikes.max_min_amplitude, config.min_amplitude)
    relative = 0.5 + assumed.spikes.acceptance_log_odds * (noise / scales) ** 2
    lowest = np.clip(relative, config.min_amplitude, highest)
    return (lowest * scales).astype("float32")


def margin_of(encoder: Encoder) -> int:
    """Return the samples read on either side of a tile: events further away have no say in it."""
    return MARGIN_WIDTHS * encoder.dictionary.width
