"""Correlations between the atoms of a dictionary at every lag."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from si_crsae.core.operators.filtering import component_lags
from si_crsae.core.types import Dictionary

MIN_SIMILARITY = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Gram:
    """Correlations at every lag of the pairs of atoms that share a channel.

    Parameters
    ----------
    values : ndarray of float32, shape (pair, 2 * width - 1)
    neighbors : ndarray of int64, shape (pair,)
        Second atom of each pair; pairs are ordered by their first atom.
    neighbor_start : ndarray of int64, shape (atom + 1,)
        Where the pairs of each first atom begin.
    pair_index : ndarray of int64, shape (atom, atom)
        Row of a pair in `values`, -1 where the atoms share no channel.
    similar_start, similar_atom, similar_lag : ndarray of int64
        For every atom the atoms that could be taken for it, itself included, as compressed rows, and the delay at which
        they are most alike (samples).
    """

    values: Float[np.ndarray, "pair lag"]
    neighbors: Int[np.ndarray, " pair"]
    neighbor_start: Int[np.ndarray, " start"]
    pair_index: Int[np.ndarray, "atom atom"]
    similar_start: Int[np.ndarray, " start"]
    similar_atom: Int[np.ndarray, " similar"]
    similar_lag: Int[np.ndarray, " similar"]

    @classmethod
    def of(cls, dictionary: Dictionary) -> "Gram":
        """Compute the correlations of a dictionary's atoms."""
        occupied = dictionary.weights.any(dim=2).float()
        meets = ((occupied @ occupied.T) > 0).cpu().numpy()
        first, second = np.nonzero(meets)
        width = dictionary.width
        lags = component_lags(dictionary.basis)
        values = np.empty((first.size, 2 * width - 1), "float32")
        for atom in range(dictionary.num_atoms):
            rows = first == atom
            mixing = torch.einsum("mr,amq->arq", dictionary.weights[atom], dictionary.weights[second[rows]])
            values[rows] = torch.einsum("arq,rql->al", mixing, lags).cpu().numpy()
        pair_index = np.full(meets.shape, -1, "int64")
        pair_index[first, second] = np.arange(first.size)
        starts = np.concatenate([[0], np.cumsum(meets.sum(axis=1))]).astype("int64")
        alike = values.max(axis=1, initial=0) >= MIN_SIMILARITY
        return cls(
            values=values,
            neighbors=second.astype("int64"),
            neighbor_start=starts,
            pair_index=pair_index,
            similar_start=np.searchsorted(first[alike], np.arange(dictionary.num_atoms + 1)).astype("int64"),
            similar_atom=second[alike].astype("int64"),
            similar_lag=values[alike].argmax(axis=1).astype("int64") - (width - 1),
        )
