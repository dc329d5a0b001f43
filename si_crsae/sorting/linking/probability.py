"""How probable it is that a unit of one epoch is a unit of another."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import gaussian_kde, multivariate_normal

from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.linking.displacement import CompressedTemplates, compare_both_ways

LINKING = ASSUMED.linking
# Pairs of different units that a density is estimated from: each is compared with every pair.
MAX_DIFFERENT = 4000
# Both iterations end when probabilities change by less than the tolerance, or after so many rounds.
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
        return self.similarity > LINKING.min_similarity


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
        tail = LINKING.degrees_of_freedom
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
        How far the units of A and of B have moved (um).
    length_scale_um : float
        Distance over which a template changes (um).

    Returns
    -------
    Evidence
    """
    similarity, log_gain = compare_both_ways(
        templates_a, templates_b, displacements_um, length_scale_um=length_scale_um
    )
    shape_similarity = np.einsum("up,dvp->duv", _middle(templates_a.shapes), templates_b.shapes).max(axis=0)
    (spatial_a, temporal_a), (spatial_b, temporal_b) = _expected_errors(templates_a), _expected_errors(templates_b)
    differences = 1.0 + LINKING.similarity_floor - np.clip(similarity, -1.0, 1.0)
    shape_differences = 1.0 + LINKING.shape_floor - np.clip(shape_similarity, -1.0, 1.0)
    scores = [
        np.log1p((spatial_a[:, None] + spatial_b) / LINKING.similarity_scale) - np.log(differences),
        np.log1p((temporal_a[:, None] + temporal_b) / LINKING.shape_scale) - np.log(shape_differences),
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
        Distance over which a template changes (um).

    Returns
    -------
    scores : array, shape (pair, 3)
    num_pairs : int
    """
    differs = ~np.eye(len(displacements_um), dtype=bool)
    scores = []
    for offset_um in LINKING.offsets_um:
        moved = displacements_um + offset_um
        evidence = gather_evidence(templates, templates, (moved, moved), length_scale_um=length_scale_um)
        scores.append(evidence.scores[evidence.is_candidate & differs])
    return np.concatenate(scores), len(LINKING.offsets_um) * int(differs.sum())


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
    same = SamePairs(
        mean=np.array(LINKING.same_mean),
        covariance=np.diag(np.square(LINKING.same_sd)),
        gain_sd=LINKING.same_gain_sd,
    )
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
    before, usual_sd, tail = LINKING.same_pairs, LINKING.same_gain_sd, LINKING.degrees_of_freedom
    total = weights.sum() + before
    mean = (weights @ scores[:, :2] + before * np.array(LINKING.same_mean)) / total
    centered = replace(same, mean=mean)
    robust = weights * (tail + 2) / (tail + centered.distances(scores))
    deviation = scores[:, :2] - mean
    scatter = (robust[:, None] * deviation).T @ deviation + before * np.diag(np.square(LINKING.same_sd))
    gains = np.minimum(np.square(scores[:, 2]), np.square(LINKING.max_gain_sds * usual_sd))
    gain_sd = np.sqrt((weights @ gains + before * usual_sd**2) / total)
    return SamePairs(mean=mean, covariance=scatter / total, gain_sd=float(gain_sd))


def _log_density_of_different(
    scores: Float[np.ndarray, "pair 3"], different: Float[np.ndarray, "other 3"], num_different: int
) -> Float[np.ndarray, " pair"]:
    """Return the log-density of scores under pairs of different units, times the share of those that are similar."""
    before, sd = LINKING.different_pairs, LINKING.different_sd
    share = (len(different) + LINKING.different_share * before) / (num_different + before)
    density = np.exp(-0.5 * np.square((scores - LINKING.different_mean) / sd).sum(axis=1))
    density /= np.prod(sd) * (2 * np.pi) ** 1.5
    if len(different) > before:
        step = -(-len(different) // MAX_DIFFERENT)
        seen = gaussian_kde(different[::step].T).pdf(scores.T)
        covariance = LINKING.broad_factor * np.cov(different.T)
        broad = multivariate_normal.pdf(scores, different.mean(axis=0), covariance)  # pyright: ignore[reportArgumentType]
        weight, broad_share = len(different) / (len(different) + before), LINKING.broad_share
        density = (1 - weight) * density + weight * ((1 - broad_share) * seen + broad_share * broad)
    return np.log(share * density + 1e-300)


def _prior_odds(probabilities: Float[np.ndarray, "unit other"]) -> float:
    """Return the odds of a pair before its scores are seen, from how many pairs are expected."""
    num_units, num_others = probabilities.shape
    expected = min(float(probabilities.sum()), num_units, num_others)
    return (expected + 0.5) / ((num_units - expected + 1.0) * (num_others - expected + 1.0))


def _mutual_best(similarity: Float[np.ndarray, "unit other"]) -> Float[np.ndarray, "unit other"]:
    """Return 1 where two units are each other's most similar, and similar enough to start from."""
    is_best = (similarity == similarity.max(axis=1, keepdims=True)) & (similarity == similarity.max(axis=0))
    return (is_best & (similarity > LINKING.first_similarity)).astype(float)


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
