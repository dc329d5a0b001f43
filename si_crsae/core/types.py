"""What flows through the core: dictionaries of atoms and sparse events."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from si_crsae.core.tables import check_lengths, joined_columns, select_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Dictionary:
    """Unit-norm atoms, each a sum of a few shared temporal components.

    An atom is ``sum_r weights[atom, channel, r] * basis[r, sample]``. The rows of the basis are orthonormal, so the
    norm of an atom is the norm of its weights and a dictionary of any size is correlated with the traces by one
    temporal filtering and one matrix product.

    Parameters
    ----------
    weights : Tensor, shape (atom, channel, component)
        Unit norm per atom; zero on the channels that an atom does not occupy.
    basis : Tensor, shape (component, width)
        Orthonormal temporal components.
    scales : Tensor, shape (atom,)
        Amplitude of a typical event of each atom: the whitened norm of the unit's template.
    num_before : int
        Samples of an atom before its peak.

    Raises
    ------
    ValueError
        If the shapes do not fit together, the basis is not orthonormal or the peak lies outside the atoms.
    """

    weights: Float[Tensor, "atom channel component"]
    basis: Float[Tensor, "component width"]
    scales: Float[Tensor, " atom"]
    num_before: int

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        if self.weights.shape[2] != self.basis.shape[0]:
            raise ValueError(
                f"weights have {self.weights.shape[2]} components and the basis has {self.basis.shape[0]}; "
                "they must be equal"
            )
        if self.scales.shape[0] != self.weights.shape[0]:
            raise ValueError(f"scales has {self.scales.shape[0]} entries for {self.weights.shape[0]} atoms")
        if not 0 <= self.num_before < self.width:
            raise ValueError(f"num_before = {self.num_before}: must be in [0, {self.width}), the width of the atoms")
        identity = torch.eye(self.basis.shape[0], dtype=self.basis.dtype, device=self.basis.device)
        if not torch.allclose(self.basis @ self.basis.T, identity, atol=1e-4):
            raise ValueError("basis: rows must be orthonormal; orthonormalize them with torch.linalg.qr")

    @property
    def num_atoms(self) -> int:
        """Number of atoms."""
        return self.weights.shape[0]

    @property
    def width(self) -> int:
        """Samples in an atom."""
        return self.basis.shape[1]

    @property
    def atoms(self) -> Float[Tensor, "atom channel width"]:
        """The atoms themselves, unit norm."""
        return self.weights @ self.basis

    @property
    def templates(self) -> Float[Tensor, "atom channel width"]:
        """Whitened mean waveforms: atoms times their typical amplitude."""
        return self.atoms * self.scales[:, None, None]

    @classmethod
    def from_coefficients(
        cls,
        coefficients: Float[Tensor, "atom channel component"],
        basis: Float[Tensor, "component width"],
        *,
        num_before: int,
    ) -> "Dictionary":
        """Split templates, given by their coefficients on the basis, into unit-norm atoms and their amplitudes.

        Parameters
        ----------
        coefficients : Tensor, shape (atom, channel, component)
            In whitened units.
        basis : Tensor, shape (component, width)
            Orthonormal temporal components.
        num_before : int
            Samples of an atom before its peak.

        Returns
        -------
        Dictionary

        Raises
        ------
        ValueError
            If a template is zero, or as for the dictionary itself.
        """
        scales = coefficients.flatten(1).norm(dim=1)
        if bool((scales <= 0).any()):
            raise ValueError(f"coefficients: atoms {(scales <= 0).nonzero().flatten().tolist()} are zero; remove them")
        return cls(weights=coefficients / scales[:, None, None], basis=basis, scales=scales, num_before=num_before)


class Located(NamedTuple):
    """Events as compiled functions take them; in the order of their shifts where nothing else is said.

    Parameters
    ----------
    atom_index : ndarray of int64, shape (event,)
        Row in the dictionary.
    shift : ndarray of int64, shape (event,)
        Sample nearest to where the atom stands: to its first sample in a code or a correlation map.
    offset : ndarray of float32, shape (event,)
        From that sample to where the atom stands (samples).
    amplitude : ndarray of float32, shape (event,)
        Coefficient of the unit-norm atom, in whitened units.
    """

    atom_index: Int[np.ndarray, " event"]
    shift: Int[np.ndarray, " event"]
    offset: Float[np.ndarray, " event"]
    amplitude: Float[np.ndarray, " event"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseEvents:
    """Non-zeros of a code: which atom, when, how large; sorted by time, then atom.

    Parameters
    ----------
    sample_index : ndarray of int64, shape (event,)
        Sample nearest to the atom's peak.
    sample_offset : ndarray of float32, shape (event,)
        From that sample to the peak, at most half a sample.
    atom_index : ndarray of int64, shape (event,)
        Row in the dictionary.
    amplitude : ndarray of float32, shape (event,)
        Coefficient of the unit-norm atom, in whitened units.

    Raises
    ------
    ValueError
        If the arrays differ in length or the times are not sorted.
    """

    sample_index: Int[np.ndarray, " event"]
    sample_offset: Float[np.ndarray, " event"]
    atom_index: Int[np.ndarray, " event"]
    amplitude: Float[np.ndarray, " event"]

    def __post_init__(self) -> None:
        """Refuse what is no list of events in time."""
        check_lengths(self, "event")
        if (self.sample_index[1:] < self.sample_index[:-1]).any():
            raise ValueError("sample_index must be sorted by time")

    def __len__(self) -> int:
        """Return the number of events."""
        return self.sample_index.size

    @property
    def located(self) -> Located:
        """The events as compiled functions take them."""
        return Located(self.atom_index, self.sample_index, self.sample_offset, self.amplitude)

    def between(self, start: int, end: int) -> "SparseEvents":
        """Return the events with ``start <= sample_index < end``."""
        first, last = np.searchsorted(self.sample_index, [start, end])
        return self.select(slice(first, last))

    def select(self, mask: np.ndarray | slice) -> "SparseEvents":
        """Return the events that a boolean mask, sorted indices or a slice picks."""
        return select_rows(self, mask, "event")

    def shifted(self, num_samples: int) -> "SparseEvents":
        """Return the events moved in time by a number of samples."""
        return replace(self, sample_index=self.sample_index + num_samples)

    @classmethod
    def empty(cls) -> "SparseEvents":
        """Return no events."""
        return cls.in_order(np.zeros(0, "int64"), np.zeros(0, "int64"), np.zeros(0, "float32"), np.zeros(0, "float32"))

    @classmethod
    def in_order(
        cls,
        atom_index: Int[np.ndarray, " event"],
        sample_index: Int[np.ndarray, " event"],
        sample_offset: Float[np.ndarray, " event"],
        amplitude: Float[np.ndarray, " event"],
    ) -> "SparseEvents":
        """Return events given in any order, sorted by time, then atom."""
        order = np.lexsort((atom_index, sample_index))
        return cls(
            sample_index=sample_index[order],
            sample_offset=sample_offset[order],
            atom_index=atom_index[order],
            amplitude=amplitude[order],
        )

    @classmethod
    def concatenate(cls, parts: list["SparseEvents"]) -> "SparseEvents":
        """Join lists of events and sort them by time, then atom."""
        if not parts:
            return cls.empty()
        return cls.in_order(**joined_columns(parts, "event"))
