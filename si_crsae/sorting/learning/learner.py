"""Learning: rounds of expectation, maximization and of the dictionary's structure."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from spikeinterface.core import BaseRecording

from si_crsae.config import CrsaeConfig
from si_crsae.core.events.encoder import Encoder
from si_crsae.core.operators.filtering import component_lags
from si_crsae.core.regularization import centered_prior, update_regularization
from si_crsae.core.tables import select_rows
from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.convert import TemplateWindow, local_channels
from si_crsae.sorting.drift.moving import MovingTemplates
from si_crsae.sorting.drift.tissue import Tissue
from si_crsae.sorting.learning.births import find_missed_templates, moved_residual_recording, residual_recording
from si_crsae.sorting.learning.collisions import find_collisions
from si_crsae.sorting.learning.expectation import EventWaveforms, encode_with_waveforms, objective_of_sample
from si_crsae.sorting.learning.following import follow_units, hold_still
from si_crsae.sorting.learning.gradient import improve_by_gradient
from si_crsae.sorting.learning.history import History
from si_crsae.sorting.learning.initialization import temporal_basis
from si_crsae.sorting.learning.noise import find_active_rows, noise_of_atoms, sample_noise
from si_crsae.sorting.learning.refinement import refine_trajectory
from si_crsae.sorting.learning.rounds import LearningCurve, LearningRound, announce, waveforms_of_atoms
from si_crsae.sorting.learning.splitting import split_units
from si_crsae.sorting.learning.structure import (
    drop_faint,
    drop_near_repeats,
    drop_satellites,
    drop_units,
    merge_units,
)
from si_crsae.sorting.learning.units import TemplateGeometry, Unit, collect_units, to_dictionary, without_events
from si_crsae.sorting.model import Model, make_encoder

logger = logging.getLogger(__name__)


class Learner:
    """Learns a model from a recording; holds what does not change from round to round."""

    def __init__(
        self,
        recording: BaseRecording,
        templates: Float[np.ndarray, "unit channel width"],
        config: CrsaeConfig,
        *,
        num_threads: int,
        job_kwargs: dict[str, Any],
        assumed: Assumptions = ASSUMED,
        history: History | None = None,
        tissue: Tissue | None = None,
    ) -> None:
        self.recording = recording
        self.tissue = tissue
        self.config = config
        self.assumed = assumed
        self.history = history or History(recording.channel_ids)
        self.num_threads = num_threads
        self.job_kwargs = {**job_kwargs, "progress_bar": False}
        self.sampling_frequency = recording.sampling_frequency
        self.num_before = TemplateWindow.of(recording, config).num_before
        self.near = local_channels(recording, config.template_radius_um)
        waveforms = torch.from_numpy(templates)
        self.basis = temporal_basis(recording, templates, config, job_kwargs=self.job_kwargs, assumed=assumed)
        self.geometry = TemplateGeometry(component_lags(self.basis).numpy(), self.basis.numpy())
        self.noise_features = sample_noise(recording, self.basis, seed=config.seed)
        self.events: EventWaveforms | None = None
        self.channels = self.near[:0]
        self.units = self._admit([], (waveforms @ self.basis.T).numpy())
        self.unit_numbers = [unit.number for unit in self.units]
        self.model = self._model_of(self.units)

    def learn(self, *, group_index: int = 0) -> tuple[Model | None, LearningCurve]:
        """Return the learned model, None if no unit is left, and the learning curve; tell listeners of every round."""
        rounds: list[LearningRound] = []
        model = self.model
        for round_index in range(self.config.num_rounds):
            if model is None:
                break
            is_last = round_index == self.config.num_rounds - 1
            self.history.round = round_index + 1
            events = self._encode(model)
            used, mean_regularization = model.dictionary, float(model.regularization.mean())
            model = self._maximize(model, events, is_first=round_index == 0, is_last=is_last)
            rounds.append(
                LearningRound(
                    group_index=group_index,
                    channel_ids=self.recording.channel_ids,
                    round_index=round_index,
                    num_rounds=self.config.num_rounds,
                    objective=float(events.objective),
                    num_events=events.sample_index.size,
                    mean_regularization=mean_regularization,
                    used=used,
                    learned=None if model is None else model.dictionary,
                )
            )
            logger.info(
                "round %d: %d events of %d atoms, %d atoms kept",
                round_index + 1,
                rounds[-1].num_events,
                used.num_atoms,
                0 if model is None else model.dictionary.num_atoms,
            )
            announce(rounds[-1])
        learned = [] if model is None else waveforms_of_atoms(model.dictionary)
        templates = self.history.last_templates | dict(zip(self.unit_numbers, learned, strict=True))
        return model, LearningCurve.of(rounds, templates=templates)

    def settle(self) -> None:
        """Learn the templates of the units once, before any is split or looked for.

        Where the tissue moves templates are blurred until then, and displacements off at jumps: what is left
        unexplained would be taken for new units, each of one displacement.
        """
        if self.model is None:
            return
        units = collect_units(self.model.dictionary, self._encode(self.model), self.near, assumed=self.assumed)
        units = [replace(unit, number=number) for unit, number in zip(units, self.unit_numbers, strict=True)]
        units = merge_units(units, self.geometry, self.config, **self._rules)
        self.unit_numbers = [unit.number for unit in units]
        self.model = self._model_of(units)

    def objective_on(self, recording: BaseRecording) -> float:
        """Return what the present model leaves of a sample of a recording, and the penalty of its code (nats)."""
        if self.model is None:
            return np.inf
        return objective_of_sample(recording, self._encoder_of(self.model), num_threads=self.num_threads)

    @property
    def _rules(self) -> dict[str, Any]:
        """What every rule about the units is told besides them."""
        return {
            "sampling_frequency": self.sampling_frequency,
            "assumed": self.assumed,
            "history": self.history,
        }

    def _encode(self, model: Model) -> EventWaveforms:
        """Return the events of a model, and keep what they leave as the noise that the next one sees."""
        self.channels = self.near[model.dictionary.weights.norm(dim=2).argmax(dim=1).numpy()]
        events = encode_with_waveforms(
            self.recording,
            self._encoder_of(model),
            channels=self.channels,
            num_threads=self.num_threads,
        )
        if self.tissue is not None:
            events = self._follow(model, events, self.tissue)
        self.events, self.noise_features = events, events.noise_features
        return events

    def _follow(self, model: Model, events: EventWaveforms, tissue: Tissue) -> EventWaveforms:
        """Return the events with their waveforms as they would be at rest, once it is known better where they were."""
        trajectory = refine_trajectory(
            tissue.trajectory, events, model.moving, self.channels, noise_features=self.noise_features
        )
        self.tissue = tissue = replace(tissue, trajectory=trajectory)
        depths = model.moving.rest_depth_um[events.atom_index]
        step = trajectory.steps_of_events(events.segment_index, events.sample_index, depths)
        return hold_still(replace(events, step=step), model, tissue, self.channels)

    def _maximize(self, model: Model, events: EventWaveforms, *, is_first: bool, is_last: bool) -> Model | None:
        """Return the model after the M-step and the changes of structure.

        What the clustering missed shows in the first residual; later ones gave only false units. The last round
        neither splits nor adds.
        """
        by_gradient = self.config.learning == "backpropagation"
        units = collect_units(model.dictionary, events, self.near, average=not by_gradient, assumed=self.assumed)
        units = [replace(unit, number=number) for unit, number in zip(units, self.unit_numbers, strict=True)]
        if self.config.split_units and not is_last:
            units = split_units(units, self.geometry, self.config, **self._rules)
        units = merge_units(units, self.geometry, self.config, **self._rules)
        units = self._prune(units)
        if self.config.find_missed_units and is_first and not is_last:
            missed = find_missed_templates(
                self._at_rest(self._residual(model, events)),
                model.dictionary.basis,
                self.config,
                job_kwargs=self.job_kwargs,
                assumed=self.assumed,
                history=self.history,
            )
            units = self._admit(units, missed)
        self.unit_numbers = [unit.number for unit in units]
        return self._improve(self._model_of(units)) if by_gradient else self._model_of(units)

    def _residual(self, model: Model, events: EventWaveforms) -> BaseRecording:
        """Return what a model leaves of the recording, as far as it is looked at."""
        if self.tissue is None:
            return residual_recording(self.recording, model.dictionary, events)
        width = model.dictionary.width
        is_calm = self.tissue.is_calm(self.recording, events.segment_index, events.sample_index, margin=width)
        events = select_rows(events, is_calm, "event")  # all places of all atoms would take much memory
        return moved_residual_recording(self.recording, model.dictionary, model.moving, events)

    def _at_rest(self, recording: BaseRecording) -> BaseRecording:
        """Return a recording as it would be at rest, interpolated between contacts: good enough to find units in."""
        return recording if self.tissue is None else self.tissue.at_rest(recording, self.config)

    def _improve(self, model: Model | None) -> Model | None:
        if model is None:
            return None
        return improve_by_gradient(
            self.recording,
            model,
            torch.from_numpy(model.noise) * self.config.regularization_scale,
            strength=self.assumed.spikes.regularization_prior_strength,
            seed=self.config.seed,
        )

    def _prune(self, units: list[Unit]) -> list[Unit]:
        """Return the units without rare and faint ones, parts and sums of others."""
        model = self._model_of(units)
        if model is None:
            return []
        active_share = find_active_rows(self.noise_features).any(axis=1).mean()
        duration_s = self.recording.get_total_duration() * active_share
        units = drop_units(
            units, model.noise, self.config, duration_s=duration_s, assumed=self.assumed, history=self.history
        )
        return self._without_collisions(drop_satellites(units, **self._rules))

    def _admit(self, units: list[Unit], templates: Float[np.ndarray, "unit channel component"]) -> list[Unit]:
        """Return the units with new templates added, as far as they are neither faint, repeats nor collisions."""
        candidates = units + [
            without_events(template, self.near, number=number, assumed=self.assumed)
            for number, template in zip(self.history.newest(len(templates)), templates, strict=True)
        ]
        model = self._model_of(candidates)
        if model is None:
            return []
        loud = drop_faint(candidates, model.noise, assumed=self.assumed, history=self.history)
        distinct = drop_near_repeats(loud, self.geometry, **self._rules)
        return self._without_collisions(distinct)

    def _without_collisions(self, units: list[Unit]) -> list[Unit]:
        model = self._model_of(units)
        if model is None:
            return []
        encoder = self._encoder_of(model)
        return self.history.drop(units, find_collisions(self.recording, encoder, units, assumed=self.assumed))

    def _encoder_of(self, model: Model) -> Encoder:
        encoder = make_encoder(
            model,
            self.config,
            sampling_frequency=self.sampling_frequency,
            trajectory=None if self.tissue is None else self.tissue.trajectory,
            assumed=self.assumed,
        )
        return replace(encoder, settings=replace(encoder.settings, exchange_overlaps=False))

    def _model_of(self, units: list[Unit]) -> Model | None:
        """Return the model of the units, lambda by its closed form; None without units."""
        if not units:
            return None
        moving = MovingTemplates()
        if self.tissue is not None:
            moving = follow_units(
                units,
                self.events,
                self.tissue,
                self.geometry,
                channels=self.channels,
                noise_features=self.noise_features,
                assumed=self.assumed,
            )
            rest = np.full(len(units), moving.rest)
            templates = moving.coefficients_at(rest, num_channels=self.recording.get_num_channels())
            units = [replace(unit, template=template) for unit, template in zip(units, templates, strict=True)]
        dictionary = to_dictionary(units, self.basis, self.num_before)
        noise = noise_of_atoms(dictionary, self.noise_features)
        start = torch.from_numpy(noise) * self.config.regularization_scale
        if not self.config.learn_regularization:
            return Model(dictionary=dictionary, noise=noise, regularization=start.numpy(), moving=moving)
        num_coefficients = self.recording.get_total_samples()
        strength = self.assumed.spikes.regularization_prior_strength
        shape, rate = centered_prior(start, num_coefficients=num_coefficients, strength=strength)
        code_l1 = torch.tensor([float(unit.amplitude.sum()) for unit in units])
        learned = update_regularization(code_l1, num_coefficients, prior_shape=shape, prior_rate=rate)
        return Model(dictionary=dictionary, noise=noise, regularization=learned.numpy(), moving=moving)
