"""A unit while it is learned: its template and the clean waveforms of its events."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from si_crsae.core.robust import robust_sd
from si_crsae.core.tables import concatenate_rows, select_rows
from si_crsae.core.types import Dictionary
from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.convert import shared_channels
from si_crsae.sorting.learning.expectation import EventWaveforms

# Variance of the median of many normal values, in those of their mean.
VARIANCE_OF_MEDIAN = np.pi / 2
# Ways in which the spikes of a unit vary, by size, shape and time.
NUM_VARIATIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A candidate unit, on the temporal basis of the dictionary.

    Parameters
    ----------
    template : ndarray of float32, shape (channel, component)
        Mean waveform.
    channels : ndarray of int64, shape (local,)
        Channels around the main one; -1 where there are fewer.
    features : ndarray of float32, shape (event, local, component)
        Clean waveforms of the events on those channels.
    amplitude : ndarray of float32, shape (event,)
        Coefficients of the unit-norm atom.
    segment_index, sample_index : ndarray of int64, shape (event,)
        When the events are.
    row : ndarray of int64, shape (event,)
        Which events they are of those that were found in the round.
    number : int, default: -1
        The unit's own, over all rounds; see `Decision`.
    split_from : int, default: -1
        Number of the unit that was split into this one and others in this round; -1 if none was.
    """

    template: Float[np.ndarray, "channel component"]
    channels: Int[np.ndarray, " local"]
    features: Float[np.ndarray, "event local component"]
    amplitude: Float[np.ndarray, " event"]
    segment_index: Int[np.ndarray, " event"]
    sample_index: Int[np.ndarray, " event"]
    row: Int[np.ndarray, " event"]
    number: int = -1
    split_from: int = -1

    @property
    def num_events(self) -> int:
        """Number of events."""
        return self.sample_index.size

    @property
    def norm(self) -> float:
        """Whitened norm of the template."""
        return float(np.linalg.norm(self.template))

    @property
    def main_channel(self) -> int:
        """Channel on which the template is largest."""
        return int(np.argmax(np.linalg.norm(self.template, axis=1)))

    def select(self, mask: np.ndarray) -> "Unit":
        """Return the unit with some of its events."""
        return select_rows(self, mask, "event")


class TemplateGeometry:
    """What shifting and comparing templates on a temporal basis needs.

    Parameters
    ----------
    lags : ndarray, shape (component, component, lag)
        What `component_lags` returns.
    basis : ndarray, shape (component, width)
    """

    def __init__(self, lags: Float[np.ndarray, "component component lag"], basis: Float[np.ndarray, "component width"]):
        self.lags = lags
        self.zero_lag = lags.shape[2] // 2
        self.derivative = np.gradient(basis, axis=1) @ basis.T

    def delayed(self, features: np.ndarray, lag: int) -> np.ndarray:
        """Return features (..., component) of waveforms delayed by a number of samples, as far as the basis can."""
        return features @ self.lags[:, :, self.zero_lag + lag].T

    def nearest(self, first: np.ndarray, second: np.ndarray, max_lag: int) -> tuple[float, int]:
        """Return the distance of two templates at the best delay of the second one, and that delay."""
        lags = np.arange(-max_lag, max_lag + 1)
        window = self.lags[:, :, self.zero_lag - max_lag : self.zero_lag + max_lag + 1]
        products = np.einsum("rq,rql->l", first.T @ second, window, optimize=True)
        best = int(np.argmax(products))
        squared = np.sum(first**2) + np.sum(second**2) - 2 * products[best]
        return float(np.sqrt(max(squared, 0.0))), int(lags[best])


def without_events(
    template: Float[np.ndarray, "channel component"],
    near: Int[np.ndarray, "channel local"],
    *,
    number: int = -1,
    assumed: Assumptions = ASSUMED,
) -> Unit:
    """Return a unit of which only the template is known, cut to the channels on which it stands out of the noise."""
    norms = np.linalg.norm(template, axis=1)
    main_channel = int(np.argmax(norms))
    channels = near[main_channel]
    lowest = min(assumed.units.min_channel_norm, norms[main_channel])
    kept = np.isin(np.arange(len(template)), channels) & (norms >= lowest)
    return Unit(
        template=np.where(kept[:, None], template, 0).astype("float32"),
        channels=channels,
        features=np.zeros((0, channels.size, template.shape[1]), "float32"),
        amplitude=np.zeros(0, "float32"),
        segment_index=np.zeros(0, "int64"),
        sample_index=np.zeros(0, "int64"),
        row=np.zeros(0, "int64"),
        number=number,
    )


def collect_units(
    dictionary: Dictionary,
    events: EventWaveforms,
    near: Int[np.ndarray, "channel local"],
    *,
    average: bool = True,
    assumed: Assumptions = ASSUMED,
) -> list[Unit]:
    """Return the unit of every atom, its template made anew from the clean waveforms, or the atom itself.

    Parameters
    ----------
    dictionary : Dictionary
    events : EventWaveforms
    near : ndarray of int64, shape (channel, local)
        Channels around each channel; -1 where there are fewer.
    average : bool, default: True
        If False, templates are atoms at the median amplitude of their events.
    assumed : Assumptions, default: ASSUMED
    """
    units = []
    weights, scales = dictionary.weights.numpy(), dictionary.scales.numpy()
    for atom in range(dictionary.num_atoms):
        mine = events.atom_index == atom
        channels = near[np.argmax(np.linalg.norm(weights[atom], axis=1))]
        unit = Unit(
            template=weights[atom] * scales[atom],
            channels=channels,
            features=events.features[mine],
            amplitude=events.amplitude[mine],
            segment_index=events.segment_index[mine],
            sample_index=events.sample_index[mine],
            row=np.flatnonzero(mine),
        )
        if not average:
            is_known = unit.num_events >= assumed.units.min_waveforms
            typical = np.median(unit.amplitude) if is_known else scales[atom]
            units.append(replace(unit, template=weights[atom] * typical))
            continue
        own = weights[atom][channels] * (channels >= 0)[:, None]
        residual = unit.features - unit.amplitude[:, None, None] * own
        unexplained = np.sum(residual**2, axis=(1, 2))
        units.append(with_mean_template(unit, unexplained=unexplained, assumed=assumed))
    return units


def with_mean_template(
    unit: Unit, *, unexplained: Float[np.ndarray, " event"] | None = None, assumed: Assumptions = ASSUMED
) -> Unit:
    """Return the unit with the trimmed mean of its clean waveforms as template.

    A tenth of the events, those with most unexplained energy, is left out, then the tenth farthest from the median.
    A unit with few events keeps its template.
    """
    if unit.num_events < assumed.units.min_waveforms:
        return unit
    mean = unit.features[typical_events(unit, unexplained=unexplained, assumed=assumed)].mean(axis=0)
    present = (unit.channels >= 0) & (np.linalg.norm(mean, axis=1) >= assumed.units.min_channel_norm)
    template = np.zeros_like(unit.template)
    template[unit.channels[present]] = mean[present]
    return replace(unit, template=template) if template.any() else unit


def typical_events(
    unit: Unit, *, unexplained: Float[np.ndarray, " event"] | None = None, assumed: Assumptions = ASSUMED
) -> Bool[np.ndarray, " event"]:
    """Return which events make the template: those with the least unexplained energy, nearest to their median."""
    kept_fraction = 1 - assumed.units.trimmed_fraction
    kept = np.ones(unit.num_events, bool)
    if unexplained is not None:
        kept = unexplained <= np.quantile(unexplained, kept_fraction)
    features = unit.features[kept]
    distance = np.sum((features - np.median(features, axis=0)) ** 2, axis=(1, 2))
    kept[kept] = distance <= np.quantile(distance, kept_fraction)
    return kept


def separation(
    first: Unit, second: Unit, geometry: TemplateGeometry, lag: int, *, assumed: Assumptions = ASSUMED
) -> float:
    """Return d': the distance of the units' medians along their difference, in standard deviations of one unit.

    The direction is the difference of the templates without their time derivatives, along which jitter alone makes
    any two halves of a unit differ, and across the ways in which the units' spikes vary. What the noise of the medians
    adds to the distance is taken off. Infinite if there are too few waveforms to tell.
    """
    if min(first.num_events, second.num_events) < assumed.units.min_waveforms:
        return np.inf
    shared = np.intersect1d(first.channels[first.channels >= 0], second.channels[second.channels >= 0])
    if shared.size == 0:
        return np.inf
    one = _on_channels(first, shared)
    two = geometry.delayed(_on_channels(second, shared), lag)
    direction = np.median(one, axis=0) - np.median(two, axis=0)
    slope = (first.template[shared] @ geometry.derivative).ravel()
    direction = without(direction.ravel(), slope)
    one, two = (waveforms.reshape(len(waveforms), -1) for waveforms in (one, two))
    direction = across_variation(direction, np.concatenate([each - np.median(each, axis=0) for each in (one, two)]))
    along = [waveforms @ direction for waveforms in (one, two)]
    centers = [np.median(values) for values in along]
    spread = np.concatenate([values - center for values, center in zip(along, centers, strict=True)])
    sd = robust_sd(spread)
    if sd == 0:
        return np.inf
    of_noise = VARIANCE_OF_MEDIAN * direction.size * (1 / len(one) + 1 / len(two))
    return float(np.sqrt(max(((centers[0] - centers[1]) / sd) ** 2 - of_noise, 0.0)))


def across_variation(
    direction: Float[np.ndarray, " dimension"], deviations: Float[np.ndarray, "event dimension"]
) -> Float[np.ndarray, " dimension"]:
    """Return the direction that tells two groups apart best, given how their members deviate from their own.

    Fisher's discriminant, with the largest principal components for the variation and white noise for the rest.
    """
    centered = deviations - deviations.mean(axis=0)
    variances, components = np.linalg.eigh(centered.T @ centered / len(centered))
    noise = max(float(np.median(variances)), 1e-12)
    largest = slice(-NUM_VARIATIONS, None)
    excess = 1 - noise / np.maximum(variances[largest], noise)
    return direction - components[:, largest] @ (excess * (components[:, largest].T @ direction))


def without(values: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Return values (..., dimension) with their part along a direction taken out."""
    squared = direction @ direction
    return values - np.multiply.outer(values @ direction, direction) / squared if squared > 0 else values


def join_units(
    first: Unit, second: Unit, geometry: TemplateGeometry, lag: int, *, assumed: Assumptions = ASSUMED
) -> Unit:
    """Return two units as one, on the channels of the larger one, the second delayed by `lag` samples."""
    if second.num_events > first.num_events:
        return join_units(second, first, geometry, -lag, assumed=assumed)
    moved_template = geometry.delayed(second.template, lag)
    # channels that the second unit's waveforms do not cover are filled from its template
    features = np.repeat((moved_template[first.channels] * (first.channels >= 0)[:, None])[None], second.num_events, 0)
    mine, theirs = shared_channels(first.channels, second.channels)
    features[:, mine] = geometry.delayed(second.features[:, theirs], lag)
    moved = replace(second, features=features, sample_index=second.sample_index - lag)
    return with_mean_template(concatenate_rows([first, moved], "event"), assumed=assumed)


def to_dictionary(units: list[Unit], basis: Float[Tensor, "component width"], num_before: int) -> Dictionary:
    """Return the dictionary of the units' templates."""
    coefficients = torch.from_numpy(np.stack([unit.template for unit in units]).astype("float32"))
    return Dictionary.from_coefficients(coefficients, basis, num_before=num_before)


def _on_channels(unit: Unit, channels: np.ndarray) -> np.ndarray:
    position = {channel: index for index, channel in enumerate(unit.channels.tolist())}
    return unit.features[:, [position[channel] for channel in channels.tolist()]]
