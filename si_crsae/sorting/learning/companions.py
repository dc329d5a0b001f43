"""Events that come with those of another unit at a steady lag: what is left of a spike whose own atom is missing.

Two units that share one atom, their mean, leave their difference behind. Where the small atom of a third unit explains
it, spike by spike, the clean waveforms of the shared atom show one group, and no split can see the two. Put back into
them, those events show both.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.convert import nearest_samples
from si_crsae.sorting.learning.coincidence import close_pairs
from si_crsae.sorting.learning.units import TemplateGeometry, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """Events of another unit that come with events of a unit at a steady lag.

    Parameters
    ----------
    other : int
        Index of the other unit.
    own, theirs : ndarray of int64, shape (pair,)
        Indices of the unit's events and of the other's.
    waveforms : ndarray of float32, shape (pair, local, component)
        What the other's events add to the unit's waveforms.
    """

    other: int
    own: Int[np.ndarray, " pair"]
    theirs: Int[np.ndarray, " pair"]
    waveforms: Float[np.ndarray, "pair local component"]

    def among(self, mask: Bool[np.ndarray, " event"]) -> "Companions":
        """Return those of some of the unit's events, these alone numbered."""
        kept = mask[self.own]
        own = (np.cumsum(mask) - 1)[self.own[kept]]
        return replace(self, own=own, theirs=self.theirs[kept], waveforms=self.waveforms[kept])

    def put_back(self, unit: Unit) -> Unit:
        """Return the unit with the other's events in its waveforms."""
        features = unit.features.copy()
        np.add.at(features, self.own, self.waveforms)
        return replace(unit, features=features)


def find_companions(
    unit: Unit,
    others: dict[int, Unit],
    geometry: TemplateGeometry,
    *,
    sampling_frequency: float,
    assumed: Assumptions = ASSUMED,
) -> list[Companions]:
    """Return the steady companions of a unit's events.

    Parameters
    ----------
    unit : Unit
    others : dict of int to Unit
        Where they are looked for; the unit is not among them.
    geometry : TemplateGeometry
    sampling_frequency : float
        In Hz.
    assumed : Assumptions, default: ASSUMED
    """
    max_lag = min(nearest_samples(assumed.structure.companion_lag_ms, sampling_frequency), geometry.zero_lag)
    found = []
    for index, other in others.items():
        if not np.any(other.template.any(axis=1) & unit.template.any(axis=1)):
            continue
        own, theirs, lags = pairs_at_steady_lag(unit, other, max_lag=max_lag, assumed=assumed)
        if own.size == 0:
            continue
        shape = other.template[unit.channels] * (unit.channels >= 0)[:, None] / other.norm
        moved = {lag: geometry.delayed(shape, lag) for lag in np.unique(lags).tolist()}
        waveforms = np.stack([moved[lag] for lag in lags.tolist()]) * other.amplitude[theirs, None, None]
        found.append(Companions(other=index, own=own, theirs=theirs, waveforms=waveforms.astype("float32")))
    return found


def pairs_at_steady_lag(
    unit: Unit, other: Unit, *, max_lag: int, assumed: Assumptions = ASSUMED
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """Return events of a unit and of another that come together at one lag, give or take a sample, and their lags.

    None unless there are enough for a unit of their own, and many times more than at the other lags: units that fire
    together by chance, or in synchrony, do so at all lags alike.

    Parameters
    ----------
    unit, other : Unit
    max_lag : int
        Largest distance that is looked at (samples).
    assumed : Assumptions, default: ASSUMED
    """
    own, theirs = _close_pairs(unit, other, max_lag)
    lags = other.sample_index[theirs] - unit.sample_index[own]
    counts = np.bincount(lags + max_lag, minlength=2 * max_lag + 1)
    around = np.convolve(counts, np.ones(3, "int64"), "same")
    steady = int(np.argmax(around))
    elsewhere = (counts.sum() - around[steady]) / max(counts.size - 3, 1) * 3
    enough = max(assumed.units.min_events, assumed.structure.min_companion_excess * elsewhere)
    chosen = np.abs(lags + max_lag - steady) <= 1 if around[steady] >= enough else np.zeros(lags.size, bool)
    return own[chosen], theirs[chosen], lags[chosen]


def _close_pairs(unit: Unit, other: Unit, max_lag: int) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """Return the indices of all events of a unit and of another that are no farther apart."""
    pairs = [(np.zeros(0, "int64"), np.zeros(0, "int64"))]
    for segment in np.intersect1d(unit.segment_index, other.segment_index):
        one, two = (np.flatnonzero(each.segment_index == segment) for each in (unit, other))
        two = two[np.argsort(other.sample_index[two], kind="stable")]
        own, theirs = close_pairs(unit.sample_index[one], other.sample_index[two], max_lag)
        pairs.append((one[own], two[theirs]))
    own, theirs = (np.concatenate(indices) for indices in zip(*pairs, strict=True))
    return own, theirs
