"""How probable it is that a unit of one epoch is a unit of another."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import gaussian_kde, multivariate_normal

from si_crsae.sorting.linking.displacement import CompressedTemplates, compare_both_ways

# Pairs less similar than this are never the same unit; what others are is learned from pairs above it.
MIN_SIMILARITY = 0.5
# Differences that a perfect match may have, and those that interpolation and time leave in most.
SIMILARITY_FLOOR, SIMILARITY_SCALE = 0.005, 0.02
SHAPE_FLOOR, SHAPE_SCALE = 0.002, 0.004
# Units of one epoch are compared with each other at these distances from the displacement that was found, too: at zero
# none is where another one is, since no sorter would have told them apart.
OFFSETS_UM = (-20.0, -10.0, 0.0, 10.0, 20.0)
MAX_DIFFERENT = 4000
# Pairs beyond all that were seen are not infinitely improbable.
BROAD_SHARE, BROAD_FACTOR = 0.02, 4.0
DEGREES_OF_FREEDOM = 6.0
# What is assumed before a pair is seen, and how many pairs that is worth: logarithms of similarity and of shape.
SAME_MEAN, SAME_SD, SAME_GAIN_SD, SAME_PAIRS = (3.9, 5.5), (0.9, 0.7), 0.2, 6.0
DIFFERENT_MEAN, DIFFERENT_SD, DIFFERENT_SHARE, DIFFERENT_PAIRS = (1.4, 4.0, 0.0), (0.7, 1.0, 1.2), 0.1, 20
FIRST_SIMILARITY = 0.8
MAX_GAIN_SDS = 2.5
MAX_ITERATIONS = 30
MAX_MESSAGES = 200
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What templates say about pairs of units.

    Parameters
    ----------
    scores : array, shape (unit, other, 3)
        Logarithms of how small the difference of templates is, how small that of time courses is, both in units of
        their error, and of the gain.
    similarity : array, shape (unit, other)
        Mean cosine of the moved templates either way.
    """

    scores: Float[np.ndarray, "unit other 3"]
    similarity: Float[np.ndarray, "unit other"]

    @property
    def is_candidate(self) -> Bool[np.ndarray, "unit other"]:
        """Whether the two may be one unit."""
        return self.similarity > MIN_SIMILARITY


@dataclass(frozen=True, slots=True, kw_only=True)
class SamePairs:
    """Distribution of the scores of pairs that are one unit: Student's t for the first two, and for the gain.

    Parameters
    ----------
    mean : array, shape (2,)
    covariance : array, shape (2, 2)
    gain_sd : float
    """

    mean: Float[np.ndarray, "2"]
    covariance: Float[np.ndarray, "2 2"]
    gain_sd: float

    def distances(self, scores: Float[np.ndarray, "pair 3"]) -> Float[np.ndarray, " pair"]:
        """Return squared Mahalanobis distances of similarity and shape."""
        deviation = scores[:, :2] - self.mean
        return np.einsum("pi,ij,pj->p", deviation, np.linalg.inv(self.covariance), deviation)

    def log_density(self, scores: Float[np.ndarray, "pair 3"]) -> Float[np.ndarray, " pair"]:
        """Return the logarithm of the density of each pair."""
        tail = DEGREES_OF_FREEDOM
        log_density = -(tail + 2) / 2 * np.log1p(self.distances(scores) / tail)
        log_density -= 0.5 * np.log(np.linalg.det(self.covariance)) + np.log(2 * np.pi)
        log_density -= (tail + 1) / 2 * np.log1p(np.square(scores[:, 2] / self.gain_sd) / tail)
        return log_density - np.log(self.gain_sd) - 0.5 * np.log(2 * np.pi)


def gather_evidence(
    templates_a: CompressedTemplates,
    templates_b: CompressedTemplates,
    displacements_um: tuple[Float[np.ndarray, " unit"], Float[np.ndarray, " other"]],
    *,
    length_scale_um: float,
) -> Evidence:
    """Compare the units of two sets of templates, one of which has moved.

    Parameters
    ----------
    templates_a, templates_b : CompressedTemplates
    displacements_um : pair of arrays, shapes (unit,) and (other,)
        Of the units of A and of B (um).
    length_scale_um : float
        Of the interpolation (um).

    Returns
    -------
    Evidence
    """
    similarity, log_gain = compare_both_ways(
        templates_a, templates_b, displacements_um, length_scale_um=length_scale_um
    )
    shape_similarity = np.einsum("up,dvp->duv", _middle(templates_a.shapes), templates_b.shapes).max(axis=0)
    (spatial_a, temporal_a), (spatial_b, temporal_b) = _expected_errors(templates_a), _expected_errors(templates_b)
    differences = 1.0 + SIMILARITY_FLOOR - np.clip(similarity, -1.0, 1.0)
    shape_differences = 1.0 + SHAPE_FLOOR - np.clip(shape_similarity, -1.0, 1.0)
    scores = [
        np.log1p((spatial_a[:, None] + spatial_b) / SIMILARITY_SCALE) - np.log(differences),
        np.log1p((temporal_a[:, None] + temporal_b) / SHAPE_SCALE) - np.log(shape_differences),
        log_gain,
    ]
    return Evidence(scores=np.stack(scores, axis=2), similarity=similarity)


def scores_of_different_units(
    templates: CompressedTemplates, displacements_um: Float[np.ndarray, " unit"], *, length_scale_um: float
) -> tuple[Float[np.ndarray, "pair 3"], int]:
    """Return the scores of similar pairs of units of one epoch, which are known to differ, and how many were compared.

    Parameters
    ----------
    templates : CompressedTemplates
    displacements_um : array, shape (unit,)
        That was found for the units (um).
    length_scale_um : float
        Of the interpolation (um).

    Returns
    -------
    scores : array, shape (pair, 3)
    num_pairs : int
    """
    differs = ~np.eye(len(displacements_um), dtype=bool)
    scores = []
    for offset_um in OFFSETS_UM:
        moved = displacements_um + offset_um
        evidence = gather_evidence(templates, templates, (moved, moved), length_scale_um=length_scale_um)
        scores.append(evidence.scores[evidence.is_candidate & differs])
    return np.concatenate(scores), len(OFFSETS_UM) * int(differs.sum())


def link_probabilities(
    evidence: Evidence, different: Float[np.ndarray, "pair 3"], num_different: int
) -> Float[np.ndarray, "unit other"]:
    """Return the probability of each pair to be one unit, each unit having one partner or none.

    The scores of pairs that are one unit follow a Student's t distribution, those of others a kernel density estimate
    from pairs that are known to differ. The former and the share of units that have a partner are found by expectation
    maximization; the expectation, over all one-to-one assignments, is approximated by belief propagation [1]_.

    Parameters
    ----------
    evidence : Evidence
    different : array, shape (pair, 3)
        Scores of pairs of different units, those above the least similarity.
    num_different : int
        How many pairs they were chosen from.

    Returns
    -------
    array, shape (unit, other)
        Sums over rows and columns are at most 1.

    References
    ----------
    .. [1] Williams and Lau, "Approximate evaluation of marginal association probabilities with belief propagation",
       IEEE Transactions on Aerospace and Electronic Systems, 2014.
    """
    candidates = evidence.is_candidate
    probabilities = np.zeros(candidates.shape)
    if not candidates.any():
        return probabilities
    scores = evidence.scores[candidates]
    log_different = _log_density_of_different(scores, different, num_different)
    probabilities = _mutual_best(evidence.similarity)
    same = SamePairs(mean=np.array(SAME_MEAN), covariance=np.diag(np.square(SAME_SD)), gain_sd=SAME_GAIN_SD)
    for _ in range(MAX_ITERATIONS):
        same = _update(same, scores, probabilities[candidates])
        odds = np.zeros(candidates.shape)
        odds[candidates] = np.exp(np.clip(same.log_density(scores) - log_different, -50.0, 50.0))
        previous, probabilities = probabilities, match_marginals(odds * _prior_odds(probabilities))
        if np.abs(probabilities - previous).max() < TOLERANCE:
            break
    return probabilities


def match_marginals(odds: Float[np.ndarray, "unit other"]) -> Float[np.ndarray, "unit other"]:
    """Return the marginals of the distribution over one-to-one assignments whose weight is the product of their odds.

    Units may stay without a partner. Belief propagation [1]_, exact without loops and always convergent.

    Parameters
    ----------
    odds : array, shape (unit, other)
        Non-negative, of a pair against both being without a partner.

    Returns
    -------
    array, shape (unit, other)

    References
    ----------
    .. [1] Williams and Lau, 2014, equations 15 and 16.

    Examples
    --------
    >>> match_marginals(np.array([[3.0]]))
    array([[0.75]])
    """
    to_other, to_unit = np.ones_like(odds), np.ones_like(odds)
    for _ in range(MAX_MESSAGES):
        weighted = odds * to_unit
        previous, to_other = to_other, 1.0 / (1.0 + weighted.sum(axis=1, keepdims=True) - weighted)
        weighted = odds * to_other
        to_unit = 1.0 / (1.0 + weighted.sum(axis=0) - weighted)
        if np.abs(to_other - previous).max() < TOLERANCE:
            break
    belief = odds * to_other * to_unit
    return belief / (1.0 + belief)


def _update(same: SamePairs, scores: Float[np.ndarray, "pair 3"], weights: Float[np.ndarray, " pair"]) -> SamePairs:
    """Return the distribution of pairs that are one unit, from how probable each is to be one."""
    total = weights.sum() + SAME_PAIRS
    mean = (weights @ scores[:, :2] + SAME_PAIRS * np.array(SAME_MEAN)) / total
    centered = replace(same, mean=mean)
    robust = weights * (DEGREES_OF_FREEDOM + 2) / (DEGREES_OF_FREEDOM + centered.distances(scores))
    deviation = scores[:, :2] - mean
    scatter = (robust[:, None] * deviation).T @ deviation + SAME_PAIRS * np.diag(np.square(SAME_SD))
    gains = np.minimum(np.square(scores[:, 2]), np.square(MAX_GAIN_SDS * SAME_GAIN_SD))
    gain_sd = np.sqrt((weights @ gains + SAME_PAIRS * SAME_GAIN_SD**2) / total)
    return SamePairs(mean=mean, covariance=scatter / total, gain_sd=float(gain_sd))


def _log_density_of_different(
    scores: Float[np.ndarray, "pair 3"], different: Float[np.ndarray, "other 3"], num_different: int
) -> Float[np.ndarray, " pair"]:
    """Return the log-density of scores under pairs of different units, times the share of those that are similar."""
    share = (len(different) + DIFFERENT_SHARE * DIFFERENT_PAIRS) / (num_different + DIFFERENT_PAIRS)
    density = np.exp(-0.5 * np.square((scores - DIFFERENT_MEAN) / DIFFERENT_SD).sum(axis=1))
    density /= np.prod(DIFFERENT_SD) * (2 * np.pi) ** 1.5
    if len(different) > DIFFERENT_PAIRS:
        step = -(-len(different) // MAX_DIFFERENT)
        seen = gaussian_kde(different[::step].T).pdf(scores.T)
        broad = multivariate_normal.pdf(scores, different.mean(axis=0), BROAD_FACTOR * np.cov(different.T))  # pyright: ignore[reportArgumentType]
        weight = len(different) / (len(different) + DIFFERENT_PAIRS)
        density = (1 - weight) * density + weight * ((1 - BROAD_SHARE) * seen + BROAD_SHARE * broad)
    return np.log(share * density + 1e-300)


def _prior_odds(probabilities: Float[np.ndarray, "unit other"]) -> float:
    """Return the odds of a pair before its scores are seen, from how many pairs are expected."""
    num_units, num_others = probabilities.shape
    expected = min(float(probabilities.sum()), num_units, num_others)
    return (expected + 0.5) / ((num_units - expected + 1.0) * (num_others - expected + 1.0))


def _mutual_best(similarity: Float[np.ndarray, "unit other"]) -> Float[np.ndarray, "unit other"]:
    """Return 1 where two units are each other's most similar, and similar enough to start from."""
    is_best = (similarity == similarity.max(axis=1, keepdims=True)) & (similarity == similarity.max(axis=0))
    return (is_best & (similarity > FIRST_SIMILARITY)).astype(float)


def _expected_errors(
    templates: CompressedTemplates,
) -> tuple[Float[np.ndarray, " unit"], Float[np.ndarray, " unit"]]:
    """Return how much noise alone takes from the cosine of a template, and of its time course, with another one."""
    values = templates.values
    energy = np.square(values).sum(axis=2)
    total = np.maximum(energy.sum(axis=1), 1e-12)
    errors = np.where(energy > 0, templates.errors, 0.0)
    spatial = 0.5 * values.shape[2] * errors.sum(axis=1) / total
    temporal = 0.5 * (values.shape[2] - 1) * (errors * energy).sum(axis=1) / np.square(total)
    return spatial, temporal


def _middle(at_delays: Float[np.ndarray, "delay unit component"]) -> Float[np.ndarray, "unit component"]:
    return at_delays[len(at_delays) // 2]
