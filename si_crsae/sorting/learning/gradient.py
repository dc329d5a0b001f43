"""The M-step by back-propagation: the atoms and lambda of a model, improved by steps of ADAM on windows of traces."""

import numpy as np
import torch
from jaxtyping import Float
from spikeinterface.core import BaseRecording
from torch import Tensor

from si_crsae.core.regularization import centered_prior
from si_crsae.core.types import Dictionary
from si_crsae.models import Backpropagation, Crsae, RatePrior, train
from si_crsae.sorting.convert import nearest_samples
from si_crsae.sorting.model import Model
from si_crsae.sorting.signal.recording import Tile, read_tile

# Windows as long as the paper's; how many, and in what batches, trades accuracy for time and was not measured.
WINDOW_MS = 100.0
NUM_WINDOWS = 320
BATCH_SIZE = 32
NUM_VALIDATION = 32
# Of the encoder, an unrolled FISTA.
NUM_ITERATIONS = 60
# Of ADAM, chosen: atoms have norm 1, lambda is in noise standard deviations.
ATOM_LEARNING_RATE = 1e-3
RATE_LEARNING_RATE = 0.02


def improve_by_gradient(
    recording: BaseRecording, model: Model, start: Float[Tensor, " atom"], *, strength: float, seed: int
) -> Model:
    """Return the model after one epoch of the two-stage back-propagation on windows spread over a recording.

    Parameters
    ----------
    recording : BaseRecording
        Whitened, unit noise.
    model : Model
    start : Tensor, shape (atom,)
        Lambda that noise justifies, around which its prior is centered.
    strength : float
        How many coefficients the prior of lambda is worth for each one of the code; see `centered_prior`.
    seed : int
        Decides on the order of the windows.

    Returns
    -------
    Model
        Atoms on the channels and the temporal basis that they had.
    """
    dictionary = model.dictionary
    windows = _read_windows(recording, dictionary.width)
    network = Crsae(
        dictionary.atoms,
        torch.from_numpy(model.regularization),
        num_iterations=NUM_ITERATIONS,
        nonnegative=True,
    )
    num_shifts = windows.shape[2] - dictionary.width + 1
    shape, rate = centered_prior(start, num_coefficients=num_shifts, strength=strength)
    trainer = Backpropagation(
        network,
        RatePrior(shape=shape, rate=rate),
        atom_learning_rate=ATOM_LEARNING_RATE,
        rate_learning_rate=RATE_LEARNING_RATE,
    )
    num_held_out = min(NUM_VALIDATION, len(windows) // 2)
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(seed))
    learned, held_out = windows[order[num_held_out:]], windows[order[: max(num_held_out, 1)]]
    train(trainer, learned, held_out, num_epochs=1, batch_size=BATCH_SIZE, seed=seed)
    return Model(
        dictionary=_on_basis(network.atoms.detach(), dictionary),
        noise=model.noise,
        regularization=network.rate.detach().numpy(),
    )


def _read_windows(recording: BaseRecording, width: int) -> Float[Tensor, "batch channel sample"]:
    """Return windows of equal length, spread evenly over the segments."""
    length = max(nearest_samples(WINDOW_MS, recording.sampling_frequency), 4 * width)
    tiles = []
    for segment_index in range(recording.get_num_segments()):
        num_samples = recording.get_num_samples(segment_index)
        share = -(-NUM_WINDOWS * num_samples // recording.get_total_samples())
        count = max(min(share, num_samples // length), 1)
        starts = np.linspace(0, max(num_samples - length, 0), count).astype("int64")
        tiles += [Tile(segment_index=segment_index, start=start, end=start + length) for start in starts.tolist()]
    return torch.stack([read_tile(recording, tile, 0) for tile in tiles])


def _on_basis(atoms: Float[Tensor, "atom channel width"], dictionary: Dictionary) -> Dictionary:
    """Return learned atoms as a dictionary of the same channels, basis and scales."""
    occupied = dictionary.weights.any(dim=2, keepdim=True)
    weights = (atoms @ dictionary.basis.T) * occupied
    norms = weights.flatten(1).norm(dim=1)[:, None, None]
    return Dictionary.from_coefficients(
        weights / norms * dictionary.scales[:, None, None], dictionary.basis, num_before=dictionary.num_before
    )
