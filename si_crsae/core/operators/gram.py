"""Correlations between the atoms of a dictionary at every lag."""

from dataclasses import dataclass
from typing import NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int

from si_crsae.core.compiled import compile_loops
from si_crsae.core.operators.filtering import component_lags
from si_crsae.core.types import Dictionary

MIN_SIMILARITY = 0.6


class Pairs(NamedTuple):
    """Pairs of atoms that share a channel, as compiled functions take them: see `Gram`.

    Parameters
    ----------
    values : ndarray of float32, shape (pair, 2 * width - 1)
        Correlation at every lag; the middle one is lag zero.
    neighbors : ndarray of int64, shape (pair,)
        Second atom of each pair; pairs are ordered by their first atom.
    neighbor_start : ndarray of int64, shape (atom + 1,)
        Where the pairs of each first atom begin.
    pair_index : ndarray of int64, shape (atom, atom)
        Row of a pair in `values`, -1 where the atoms share no channel.
    """

    values: Float[np.ndarray, "pair lag"]
    neighbors: Int[np.ndarray, " pair"]
    neighbor_start: Int[np.ndarray, " start"]
    pair_index: Int[np.ndarray, "atom atom"]


class Similar(NamedTuple):
    """Atoms that could be taken for each other, as compressed rows that compiled functions take: see `Gram`.

    Parameters
    ----------
    start : ndarray of int64, shape (atom + 1,)
        Where the rows of each atom begin.
    atom : ndarray of int64, shape (similar,)
        Which atom is similar, the atom itself included.
    lag : ndarray of int64, shape (similar,)
        Delay at which the two are most alike (samples).
    """

    start: Int[np.ndarray, " start"]
    atom: Int[np.ndarray, " similar"]
    lag: Int[np.ndarray, " similar"]


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

    @property
    def pairs(self) -> Pairs:
        """The pairs of atoms that share a channel, as compiled functions take them."""
        return Pairs(self.values, self.neighbors, self.neighbor_start, self.pair_index)

    @property
    def similar(self) -> Similar:
        """The atoms that could be taken for each other, as compiled functions take them."""
        return Similar(self.similar_start, self.similar_atom, self.similar_lag)


@compile_loops()
@no_type_check
def correlation_at(values, pair_index, first, second, lag):
    """Return the correlation of two atoms, the second `lag` samples after the first; zero where they do not meet.

    For inner loops: handed over a tuple of arrays, as which `Pairs` comes, numba counts the references to each.

    Parameters
    ----------
    values, pair_index : ndarray
        As in `Pairs`.
    first, second : int
        Atoms.
    lag : int
        Samples.

    Returns
    -------
    float32
    """
    pair = pair_index[first, second]
    reach = values.shape[1] // 2
    return values[pair, reach + lag] if pair >= 0 and abs(lag) <= reach else np.float32(0.0)
