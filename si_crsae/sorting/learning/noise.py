"""Noise as the atoms see it."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from spikeinterface.core import BaseRecording
from torch import Tensor

from si_crsae.core.operators.filtering import filter_with_basis
from si_crsae.core.robust import robust_sd
from si_crsae.core.types import Dictionary
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.signal.recording import Tile, read_tile
from si_crsae.sorting.signal.sampling import NEGLIGIBLE_SILENCE, draw_slices, is_active

# Enough for a standard deviation to 2 %, from all over the recording.
NUM_ROWS = 4000
NUM_SLICES = 40
# Samples between rows, at most: what lies between is filtered for nothing.
MAX_ROW_DISTANCE = 30


def noise_of_atoms(
    dictionary: Dictionary, noise_features: Float[np.ndarray, "row channel component"]
) -> Float[np.ndarray, " atom"]:
    """Return the standard deviation of the correlation of noise with each atom.

    Whitening is spatial, so that noise stays colored in time and this is not 1; thresholds are in units of it.
    """
    seen = (torch.from_numpy(noise_features).flatten(1) @ dictionary.weights.flatten(1).T).numpy()
    active = find_active_rows(noise_features)
    if active.all():
        noise = robust_sd(seen)
    else:
        main_channel = dictionary.weights.norm(dim=2).argmax(dim=1).numpy()
        noise = np.array([robust_sd(seen[active[:, main], atom]) for atom, main in enumerate(main_channel)], "float32")
    return np.maximum(noise, ASSUMED.recordings.min_atom_noise)


def find_active_rows(noise_features: Float[np.ndarray, "row channel component"]) -> Bool[np.ndarray, "row channel"]:
    """Return in which rows of noise each channel carries a signal; in all of them where hardly any seem silent."""
    active = is_active(np.sqrt(np.square(noise_features).mean(axis=2)))
    active[:, active.mean(axis=0) > 1 - NEGLIGIBLE_SILENCE] = True
    active[:, ~active.any(axis=0)] = True
    return active


def sample_noise(
    recording: BaseRecording, basis: Float[Tensor, "component width"], *, seed: int
) -> Float[np.ndarray, "row channel component"]:
    """Return the traces on the temporal basis at times from all over the recording, spikes and all."""
    slice_s = MAX_ROW_DISTANCE * NUM_ROWS / NUM_SLICES / recording.sampling_frequency
    slices = draw_slices(recording, num_slices=NUM_SLICES, slice_s=slice_s, seed=seed)
    rows_per_tile = NUM_ROWS // len(slices)
    rows = []
    for segment_index, start, end in slices:
        tile = Tile(segment_index=segment_index, start=start, end=end)
        filtered = filter_with_basis(read_tile(recording, tile, basis.shape[1]), basis)
        times = torch.linspace(0, filtered.shape[2] - 1, rows_per_tile).long()
        rows.append(filtered[:, :, times].permute(2, 0, 1).numpy())
    return np.concatenate(rows)
