"""Noise as the atoms see it."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from spikeinterface.core import BaseRecording
from torch import Tensor

from si_crsae.core.operators.filtering import filter_with_basis
from si_crsae.core.robust import robust_sd
from si_crsae.core.types import Dictionary
from si_crsae.sorting.recording import plan_tiles, read_tile

# Enough for a standard deviation to 2 %, from all over the recording.
NUM_ROWS = 4000
NUM_TILES = 40
# Samples between rows, at most: what lies between is filtered for nothing.
MAX_ROW_DISTANCE = 30


def noise_of_atoms(
    dictionary: Dictionary, noise_features: Float[np.ndarray, "row channel component"]
) -> Float[np.ndarray, " atom"]:
    """Return the standard deviation of the correlation of noise with each atom.

    Whitening is spatial, so that noise stays colored in time and this is not 1; thresholds are in units of it.
    """
    seen = torch.from_numpy(noise_features).flatten(1) @ dictionary.weights.flatten(1).T
    return robust_sd(seen.numpy())


def sample_noise(
    recording: BaseRecording, basis: Float[Tensor, "component width"]
) -> Float[np.ndarray, "row channel component"]:
    """Return the traces on the temporal basis at times spread over the recording, spikes and all."""
    tiles = plan_tiles(recording)
    chosen = [tiles[index] for index in np.linspace(0, len(tiles) - 1, min(len(tiles), NUM_TILES)).astype(int)]
    rows_per_tile = NUM_ROWS // len(chosen)
    rows = []
    for tile in chosen:
        length = min(tile.end - tile.start, MAX_ROW_DISTANCE * rows_per_tile)
        start = replace(tile, end=tile.start + length)
        filtered = filter_with_basis(read_tile(recording, start, basis.shape[1]), basis)
        times = torch.linspace(0, filtered.shape[2] - 1, rows_per_tile).long()
        rows.append(filtered[:, :, times].permute(2, 0, 1).numpy())
    return np.concatenate(rows)
