"""How much every unit resembles every other, as a matrix and as pairs to look at."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.widgets.view_models.templates import similarity_to

MIN_LISTED = 0.3
MAX_LISTED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two units that look alike."""

    units: list[int]
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarityMatrix:
    """Similarity of all units, in the order of their depth."""

    units: list[int]
    """Indices of the units, the deepest first."""
    unit_ids: list[str]
    """Of all units, by their indices."""
    values: Float[np.ndarray, "row column"]


def similarity_of_all(sorted_recording: SortedRecording) -> Float[np.ndarray, "unit other"]:
    """Return how much every unit resembles every other, see `similarity_to`; 0 on the diagonal."""
    occupied = sorted_recording.units.atoms.any(axis=2).astype("float32")
    meets = occupied @ occupied.T > 0
    found = np.zeros(meets.shape, "float32")
    for unit in np.flatnonzero(meets.diagonal()).tolist():
        near = np.flatnonzero(meets[unit])
        found[unit, near] = similarity_to(sorted_recording, unit, near)
    return np.maximum(found, found.T)


def similarity_matrix(
    sorted_recording: SortedRecording, similarity: Float[np.ndarray, "unit other"]
) -> SimilarityMatrix:
    """Return similarities in the order of depth, so that those of neighbors lie beside the diagonal."""
    depths = sorted_recording.locations[sorted_recording.units.main_channel, 1]
    order = np.argsort(depths, kind="stable")
    return SimilarityMatrix(
        units=order.tolist(),
        unit_ids=[str(unit_id) for unit_id in sorted_recording.unit_ids],
        values=similarity[np.ix_(order, order)],
    )


def ranked_pairs(similarity: Float[np.ndarray, "unit other"]) -> list[Pair]:
    """Return the pairs of units that look most alike, the most similar first."""
    first, second = np.triu_indices(len(similarity), 1)
    values = similarity[first, second]
    order = np.argsort(-values, kind="stable")[:MAX_LISTED]
    return [
        Pair(units=[int(first[place]), int(second[place])], similarity=float(values[place]))
        for place in order[values[order] >= MIN_LISTED]
    ]
