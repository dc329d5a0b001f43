"""The label of every unit and how probable each label is, from what the unit shows."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from si_crsae.sorting.probabilities.context import CodeInContext
from si_crsae.sorting.probabilities.logistic import standardize, with_squares
from si_crsae.sorting.quality.coefficients import COEFFICIENTS
from si_crsae.sorting.quality.features import QUALITY_FEATURES, describe_units, refractory_evidence
from si_crsae.sorting.stages import Code

# As SpikeInterface, Bombcell and phy call them.
QUALITY_LABELS = ("good", "mua", "noise")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitQuality:
    """How probable each label is.

    Parameters
    ----------
    good : ndarray of float64, shape (unit,)
        Probability that the unit agrees with one neuron by at least 0.8: spikes of both, over those of either.
    mua : ndarray of float64, shape (unit,)
        That it does not, and at least half its spikes are of neurons.
    noise : ndarray of float64, shape (unit,)
        That most of its spikes are of no neuron.
    """

    good: Float[np.ndarray, " unit"]
    mua: Float[np.ndarray, " unit"]
    noise: Float[np.ndarray, " unit"]

    @classmethod
    def empty(cls) -> "UnitQuality":
        """Return the quality of no units."""
        return cls(good=np.zeros(0), mua=np.zeros(0), noise=np.zeros(0))

    @property
    def labels(self) -> np.ndarray:
        """The likeliest of QUALITY_LABELS for each unit, as strings."""
        likeliest = np.stack([getattr(self, name) for name in QUALITY_LABELS]).argmax(axis=0)
        return np.array(QUALITY_LABELS)[likeliest]


def infer_quality(context: CodeInContext[Code]) -> UnitQuality:
    """Return the quality of the units of a code; of no meaning for atoms without events.

    What short intervals take from "good" goes to "mua": they come of spikes of several neurons.

    Parameters
    ----------
    context : CodeInContext
        Of a code that is not weighed, see `describe_units`.
    """
    quality = quality_by(describe_units(context))
    good = quality.good * np.exp(refractory_evidence(context))
    return UnitQuality(good=good, mua=quality.mua + quality.good - good, noise=quality.noise)


def quality_by(
    features: Float[np.ndarray, "unit feature"], coefficients: dict[str, tuple[float, ...]] = COEFFICIENTS
) -> UnitQuality:
    """Return the quality of units, by a logistic function of their features.

    Its coefficients were fitted on generated recordings whose truth is known, see ``benchmarks/unit_quality.py``.

    Parameters
    ----------
    features : ndarray, shape (unit, feature)
        Columns QUALITY_FEATURES.
    coefficients : dict, optional
        By the name of the feature: mean, standard deviation, then for each label the linear and the squared term;
        ``intercept`` has one value for each label.
    """
    table = np.array([coefficients[name] for name in QUALITY_FEATURES])
    terms = with_squares(standardize(features, table[:, 0], table[:, 1]))
    slopes = table[:, 2:].reshape(len(QUALITY_FEATURES), len(QUALITY_LABELS), 2)
    scores = np.array(coefficients["intercept"]) + terms @ slopes.transpose(2, 0, 1).reshape(-1, len(QUALITY_LABELS))
    return UnitQuality(**dict(zip(QUALITY_LABELS, softmax(scores, axis=1).T, strict=True)))
