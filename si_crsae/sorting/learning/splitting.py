"""Which units are several, by their clean waveforms."""

from dataclasses import replace
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.learning.companions import Companions, find_companions
from si_crsae.sorting.learning.history import History, Reason, below
from si_crsae.sorting.learning.units import TemplateGeometry, Unit, separation, with_mean_template, without

# Waveforms that a mixture is fitted to, which takes its time; all are then given to its groups.
MAX_SPLIT_WAVEFORMS = 3000
# Added to the variances of a mixture, of which those of noise are 1, so that no group shrinks to a point.
MIXTURE_RIDGE = 1e-3
# Scores (noise standard deviations) of spikes stay below; those of an artifact would leave the covariances singular.
MAX_SCORE = 1e4
# Far more than a unit was ever seen to hold; each more takes its time.
MAX_GROUPS = 8


def split_units(
    units: list[Unit],
    geometry: TemplateGeometry,
    config: CrsaeConfig,
    *,
    sampling_frequency: float,
    assumed: Assumptions = ASSUMED,
    history: History | None = None,
) -> list[Unit]:
    """Return the units, those whose clean waveforms form separate groups in as many.

    Where events of smaller units come with those of a unit at a steady lag, its waveforms are judged with these put
    back. A group most of whose events have them keeps them, and the smaller unit loses them: see `find_companions`.
    """
    history, left = history or History(), dict(enumerate(units))
    parts: list[Unit] = []
    for index in sorted(left, key=lambda index: -units[index].norm):
        unit = left.pop(index)
        companions = find_companions(unit, left, geometry, sampling_frequency=sampling_frequency, assumed=assumed)
        whole = unit
        for each in companions:
            whole = each.put_back(whole)
        labels, apart = _separate_groups(whole, geometry, config, assumed)
        if companions and not labels.any():
            labels, apart = _separate_groups(unit, geometry, config, assumed)
        if labels.any():
            assert apart is not None, "groups are separate by how far they are apart"
            groups, taken = _groups_of(unit, labels, companions, assumed)
            numbers = {left[other].number for other in taken}
            left |= {other: _without_events(left[other], events, assumed) for other, events in taken.items()}
            made = history.split(unit, groups, apart._replace(others=tuple(sorted(numbers))))
            # with what they took from other units they may be alike
            parts += made if taken else [replace(part, split_from=unit.number) for part in made]
        else:
            parts.append(unit)
            if apart is not None:
                history.note("not split", unit, apart)
    return parts


def _groups_of(
    unit: Unit, labels: Int[np.ndarray, " event"], companions: list[Companions], assumed: Assumptions
) -> tuple[list[Unit], dict[int, Int[np.ndarray, " taken"]]]:
    """Return a unit for every group of a unit's events, and the events that they took from other units, by unit."""
    groups, taken = [], {}
    for group in range(labels.max() + 1):
        part = unit.select(labels == group)
        for companion in companions:
            mine = companion.among(labels == group)
            if mine.own.size >= assumed.structure.min_accompanied * part.num_events:
                part = mine.put_back(part)
                taken[mine.other] = np.append(taken.get(mine.other, np.zeros(0, "int64")), mine.theirs)
        groups.append(with_mean_template(part, assumed=assumed))
    return groups, taken


def _without_events(unit: Unit, events: Int[np.ndarray, " event"], assumed: Assumptions) -> Unit:
    kept = np.ones(unit.num_events, bool)
    kept[events] = False
    return with_mean_template(unit.select(kept), assumed=assumed)


def _separate_groups(
    unit: Unit, geometry: TemplateGeometry, config: CrsaeConfig, assumed: Assumptions
) -> tuple[Int[np.ndarray, " event"], Reason | None]:
    """Return which group of its waveforms each event of a unit belongs to, any two of them separate, and how much."""
    if unit.num_events < 2 * assumed.units.min_events:
        return np.zeros(unit.num_events, "int64"), None
    present = unit.channels >= 0
    slope = (unit.template[unit.channels[present]] @ geometry.derivative).ravel()
    waveforms = without(unit.features[:, present].reshape(unit.num_events, -1), slope)
    num_components = min(assumed.structure.num_split_components, waveforms.shape[1])
    scores = PCA(num_components, svd_solver="full").fit_transform(waveforms)
    labels = _large_groups(scores, find_groups(scores, seed=config.seed), assumed.units.min_events)
    parts = {group: with_mean_template(unit.select(labels == group), assumed=assumed) for group in np.unique(labels)}
    apart = None
    while len(parts) > 1:
        how_far = {
            (one, two): _how_far(parts[one], parts[two], geometry, config, assumed)
            for one, two in combinations(parts, 2)
        }
        first, second = min(how_far, key=lambda pair: how_far[pair].value / how_far[pair].threshold)
        apart = how_far[first, second]
        if apart.value >= apart.threshold:
            break
        labels[labels == second] = first
        del parts[second]
        parts[first] = with_mean_template(unit.select(labels == first), assumed=assumed)
    return np.unique(labels, return_inverse=True)[1], apart


def _how_far(
    first: Unit, second: Unit, geometry: TemplateGeometry, config: CrsaeConfig, assumed: Assumptions
) -> Reason:
    """Return how separate two groups are, or how near their templates, if encoding cannot tell them apart."""
    distance = float(np.linalg.norm(first.template - second.template))
    too_near = below("distance", distance, assumed.structure.repeat_distance)
    if too_near:
        return too_near
    return Reason("separation", separation(first, second, geometry, 0, assumed=assumed), config.merge_threshold)


def find_groups(scores: Float[np.ndarray, "event component"], *, seed: int) -> Int[np.ndarray, " event"]:
    """Return the group of every row, as many as a mixture of Gaussians has by its Bayesian information criterion.

    Groups of one shape show with few events, those of different shapes with more: both are tried.
    """
    scores = scores.astype("float64").clip(-MAX_SCORE, MAX_SCORE)
    sample = scores[:: -(-len(scores) // MAX_SPLIT_WAVEFORMS)]
    one = _mixture(1, "full", seed).fit(sample)
    best, least = one, (alone := one.bic(sample))
    for kind in ("full", "tied"):
        before = alone
        for num_groups in range(2, MAX_GROUPS + 1):
            mixture = _mixture(num_groups, kind, seed).fit(sample)
            criterion = mixture.bic(sample)
            if criterion >= before:
                break
            before = criterion
            if criterion < least:
                best, least = mixture, criterion
    return best.predict(scores)


def _mixture(num_groups: int, kind: Literal["full", "tied"], seed: int) -> GaussianMixture:
    return GaussianMixture(num_groups, covariance_type=kind, random_state=seed, reg_covar=MIXTURE_RIDGE)


def _large_groups(
    scores: Float[np.ndarray, "event component"], labels: Int[np.ndarray, " event"], min_events: int
) -> Int[np.ndarray, " event"]:
    """Return the labels, those of groups with too few events replaced by the nearest that has enough."""
    groups, sizes = np.unique(labels, return_counts=True)
    large = groups[sizes >= min_events]
    if large.size == 0:
        return np.zeros_like(labels)
    centers = np.array([scores[labels == group].mean(axis=0) for group in groups])
    distance = np.linalg.norm(centers[:, None] - centers[None, sizes >= min_events], axis=2)
    return large[distance.argmin(axis=1)][np.searchsorted(groups, labels)]
