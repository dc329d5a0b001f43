"""The atoms of units where the tissue was when they fired."""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int

from si_crsae.core.tables import concatenate_rows, no_rows

AT_REST = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedAtoms:
    """Atoms of units at displacements, each a place; none where nothing moves.

    Parameters
    ----------
    unit_index : ndarray of int64, shape (place,)
    displacement_um : ndarray, shape (place,)
        Of the tissue, along the probe.
    weights : ndarray of float32, shape (place, local, component)
        On the temporal basis; an event of amplitude 1 adds this much.
    channels : ndarray of int64, shape (place, local)
        Channels they are on; -1 where there are fewer.
    basis_index : ndarray of int64, shape (place,)
    bases : ndarray of float32, shape (basis, component, width)
        Temporal components, those of each group of channels.
    place : ndarray of int64, shape (spike,)
        Of each spike of a sorting, `AT_REST` where its atom is that of its unit.
    """

    unit_index: Int[np.ndarray, " place"] = field(default_factory=lambda: no_rows(0, dtype="int64"))
    displacement_um: Float[np.ndarray, " place"] = field(default_factory=lambda: no_rows(0))
    weights: Float[np.ndarray, "place local component"] = field(default_factory=lambda: no_rows(0, 0, 0))
    channels: Int[np.ndarray, "place local"] = field(default_factory=lambda: no_rows(0, 0, dtype="int64"))
    basis_index: Int[np.ndarray, " place"] = field(default_factory=lambda: no_rows(0, dtype="int64"))
    bases: Float[np.ndarray, "basis component width"] = field(default_factory=lambda: no_rows(0, 0, 0))
    place: Int[np.ndarray, " spike"] = field(default_factory=lambda: no_rows(0, dtype="int64"))

    @property
    def num_places(self) -> int:
        """Number of places."""
        return self.unit_index.size

    def atoms(self, places: Int[np.ndarray, " chosen"], *, num_channels: int) -> np.ndarray:
        """Return the atoms of some places (chosen, channel, width)."""
        rows, local = np.nonzero(self.channels[places] >= 0)
        atoms = np.zeros((len(places), num_channels, self.bases.shape[2]), "float32")
        chosen = np.asarray(places)[rows]
        waveforms = np.einsum("rq,rqw->rw", self.weights[chosen, local], self.bases[self.basis_index[chosen]])
        atoms[rows, self.channels[chosen, local]] = waveforms
        return atoms

    def reordered(self, order: Int[np.ndarray, " spike"]) -> "MovedAtoms":
        """Return the same for spikes in another order."""
        return replace(self, place=self.place[order]) if self.num_places else self

    @classmethod
    def joined(cls, parts: list["MovedAtoms"], num_spikes: list[int]) -> "MovedAtoms":
        """Return the places and spikes of all groups of channels, one after the other."""
        if not any(part.num_places for part in parts):
            return cls()
        num_local = max(part.channels.shape[1] for part in parts)
        num_components = max(part.weights.shape[2] for part in parts)
        width = max(part.bases.shape[2] for part in parts)
        first_basis, first_place, moved = 0, 0, []
        for part, count in zip(parts, num_spikes, strict=True):
            place = part.place if part.num_places else np.full(count, AT_REST)
            padded = part._padded(num_local, num_components, width)
            moved.append(
                replace(
                    padded,
                    basis_index=part.basis_index + first_basis,
                    place=np.where(place == AT_REST, AT_REST, place + first_place),
                )
            )
            first_basis, first_place = first_basis + len(part.bases), first_place + part.num_places
        return concatenate_rows(moved, "place", "basis", "spike")

    def _padded(self, num_local: int, num_components: int, width: int) -> "MovedAtoms":
        local, component = num_local - self.channels.shape[1], num_components - self.weights.shape[2]
        later = width - self.bases.shape[2]
        return replace(
            self,
            weights=np.pad(self.weights, ((0, 0), (0, local), (0, component))),
            channels=np.pad(self.channels, ((0, 0), (0, local)), constant_values=-1),
            bases=np.pad(self.bases, ((0, 0), (0, num_components - self.bases.shape[1]), (0, later))),
        )
