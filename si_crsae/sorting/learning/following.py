"""The M-step for templates that move: one from the waveforms of a unit at all displacements."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from si_crsae.core.robust import robust_sd
from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.convert import shared_channels
from si_crsae.sorting.drift.moving import MovingTemplates, SeenMeans, fit_moving_template
from si_crsae.sorting.drift.tissue import Tissue
from si_crsae.sorting.learning.expectation import EventWaveforms
from si_crsae.sorting.learning.units import TemplateGeometry, Unit, typical_events
from si_crsae.sorting.model import Model


def hold_still(
    events: EventWaveforms, model: Model, tissue: Tissue, channels: Int[np.ndarray, "atom local"]
) -> EventWaveforms:
    """Return the events with their waveforms as they would be at rest.

    Of each, the atom is put where it is at rest, and what is beside it is moved there.

    Parameters
    ----------
    events : EventWaveforms
        As they were recorded.
    model : Model
        With which they were found.
    tissue : Tissue
    channels : ndarray of int64, shape (atom, local)
        On which the events of each atom were looked at; -1 where there are fewer.
    """
    features, rest, num_channels = events.recorded.copy(), model.dictionary, len(tissue.depths_um)
    sizes = events.amplitude / rest.scales.numpy()[events.atom_index]
    for atom in np.unique(events.atom_index):
        present = channels[atom] >= 0
        local = channels[atom, present]
        one = model.moving.select(np.array([atom]))
        still = rest.weights[atom].numpy()[local] * float(rest.scales[atom])
        for step in np.unique(events.step[events.atom_index == atom]):
            mine = np.flatnonzero((events.atom_index == atom) & (events.step == step))
            moved = one.coefficients_at(np.array([step]), num_channels=num_channels)[0, local]
            beside = events.recorded[mine][:, present] - sizes[mine, None, None] * moved
            if step != tissue.covariance.rest:
                registration = tissue.covariance.registrations[step][np.ix_(local, local)]
                beside = np.einsum("cd,edq->ecq", registration, beside)
            features[np.ix_(mine, present)] = beside + sizes[mine, None, None] * still
    return replace(events, features=features)


def follow_units(
    units: list[Unit],
    events: EventWaveforms | None,
    tissue: Tissue,
    geometry: TemplateGeometry,
    *,
    channels: Int[np.ndarray, "atom local"],
    noise_features: Float[np.ndarray, "row channel component"],
    assumed: Assumptions = ASSUMED,
) -> MovingTemplates:
    """Return the templates of units at every displacement of the tissue.

    Parameters
    ----------
    units : list of Unit
        At least one. Those of few events keep their template, moved.
    events : EventWaveforms or None
        Of the round, in which units have their rows.
    tissue : Tissue
    geometry : TemplateGeometry
    channels : ndarray of int64, shape (atom, local)
        On which the events of each atom were looked at; -1 where there are fewer.
    noise_features : ndarray of float32, shape (row, channel, component)
        Noise on the temporal basis.
    assumed : Assumptions, default: ASSUMED
    """
    noise_variance = float(robust_sd(noise_features.ravel())) ** 2
    weights, depths = [], []
    for unit in units:
        if events is None or unit.num_events < assumed.units.min_waveforms:
            seen = _from_template(unit, tissue, assumed)
        else:
            seen = _from_events(unit, events, geometry, channels, assumed)
        fitted = fit_moving_template(
            seen, unit.channels, tissue.covariance, noise_variance=noise_variance, assumed=assumed
        )
        rest = fitted[tissue.covariance.rest]
        if not rest.any():  # all of it lies where no contact is
            rest[:] = unit.template[unit.channels] * (unit.channels >= 0)[:, None]
        energy = np.square(rest).sum(axis=1)
        weights.append(fitted)
        depths.append(energy @ tissue.depths_um[unit.channels] / energy.sum())
    return MovingTemplates(
        step_um=tissue.covariance.steps_um,
        step_weights=np.stack(weights),
        step_channels=np.stack([unit.channels for unit in units]),
        rest_depth_um=np.array(depths),
    )


def _from_template(unit: Unit, tissue: Tissue, assumed: Assumptions) -> SeenMeans:
    """Return the template as the mean of as many waveforms at rest as make the smallest cluster."""
    mean = unit.template[unit.channels] * (unit.channels >= 0)[:, None]
    counts = np.full((1, unit.channels.size), assumed.initial.min_cluster_sizes[1])
    return SeenMeans(means=mean[None], counts=counts, steps=np.array([tissue.covariance.rest]))


def _from_events(
    unit: Unit,
    events: EventWaveforms,
    geometry: TemplateGeometry,
    channels: Int[np.ndarray, "atom local"],
    assumed: Assumptions,
) -> SeenMeans:
    """Return the means of a unit's typical events as they were recorded, on its own channels."""
    kept = typical_events(unit, assumed=assumed)
    rows, times = unit.row[kept], unit.sample_index[kept]
    atoms, lags = events.atom_index[rows], times - events.sample_index[rows]
    features = np.full((rows.size, *unit.features.shape[1:]), np.nan, "float32")
    for atom, lag in np.unique(np.stack([atoms, lags]), axis=1).T.tolist():
        mine = np.flatnonzero((atoms == atom) & (lags == lag))
        here, there = shared_channels(unit.channels, channels[atom])
        recorded = events.recorded[rows[mine]][:, there]
        features[np.ix_(mine, here)] = geometry.delayed(recorded, -lag) if lag else recorded
    return SeenMeans.of(features, events.step[rows], assumed=assumed)
