"""E-step: the events of a recording, and what their waveforms really are."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float, Int
from spikeinterface.core import BaseRecording

from si_crsae.core.events.encoder import Encoder
from si_crsae.core.events.features import clean_features
from si_crsae.core.operators.filtering import component_lags
from si_crsae.core.tables import concatenate_rows
from si_crsae.sorting.encoding import DetailedTile, encode_in_detail
from si_crsae.sorting.model import margin_of
from si_crsae.sorting.signal.recording import Tile, map_tiles, plan_tiles

NOISE_ROWS_PER_TILE = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class EventWaveforms:
    """Events of a recording with their clean waveforms on the temporal basis.

    Parameters
    ----------
    segment_index, sample_index, atom_index : ndarray of int64, shape (event,)
        Ordered by segment, then time.
    amplitude : ndarray of float32, shape (event,)
        Coefficient of the unit-norm atom.
    features : ndarray of float32, shape (event, local, component)
        Traces without all other events, on the channels around the atom's main channel.
    noise_features : ndarray of float32, shape (row, channel, component)
        The residual at evenly spread times.
    objective : float
        Sparse-coding objective per sample: half the energy of the residual and the weighted l1 norm of the code.
    """

    segment_index: Int[np.ndarray, " event"]
    sample_index: Int[np.ndarray, " event"]
    atom_index: Int[np.ndarray, " event"]
    amplitude: Float[np.ndarray, " event"]
    features: Float[np.ndarray, "event local component"]
    noise_features: Float[np.ndarray, "row channel component"]
    objective: float


def encode_with_waveforms(
    recording: BaseRecording,
    encoder: Encoder,
    *,
    channels: Int[np.ndarray, "atom local"],
    num_threads: int,
) -> EventWaveforms:
    """Return the events of a recording with their clean waveforms.

    Parameters
    ----------
    recording : BaseRecording
        Whitened, unit noise.
    encoder : Encoder
    channels : ndarray of int64, shape (atom, local)
        Where to look at the events of each atom; -1 for nowhere.
    num_threads : int
    """
    lags = component_lags(encoder.dictionary.basis).numpy()

    def encode(tile: Tile) -> EventWaveforms:
        return waveforms_of_tile(
            encode_in_detail(recording, tile, encoder), tile, encoder, channels=channels, lags=lags
        )

    parts = list(map_tiles(encode, plan_tiles(recording), num_threads))
    objective = sum(part.objective for part in parts) / recording.get_total_samples()
    return replace(concatenate_rows(parts, "event", "row"), objective=objective)


def waveforms_of_tile(
    encoded: DetailedTile,
    tile: Tile,
    encoder: Encoder,
    *,
    channels: Int[np.ndarray, "atom local"],
    lags: Float[np.ndarray, "component component lag"],
) -> EventWaveforms:
    """Return the events of one tile, its margins left out; the objective is not divided by its length."""
    weights = encoder.dictionary.weights.numpy()
    margin, num_before, num_samples = margin_of(encoder), encoder.dictionary.num_before, tile.end - tile.start
    first = margin - num_before
    start, end = np.searchsorted(encoded.events.sample_index, [first, first + num_samples])
    inside = encoded.events.select(slice(start, end))
    clean = partial(clean_features, encoded.filtered, events=encoded.events, weights=weights, lags=lags)
    features = clean(own=np.arange(start, end), shift=inside.sample_index, channels=channels[inside.atom_index])
    quiet = np.linspace(first, first + num_samples - 1, NOISE_ROWS_PER_TILE).astype("int64")
    everywhere = np.tile(np.arange(weights.shape[1]), (quiet.size, 1))
    noise_features = clean(own=np.full(quiet.size, -1), shift=quiet, channels=everywhere)
    explained = encoder.explained_energy(encoded.correlation, encoded.events)[start:end].sum()
    energy = float(encoded.traces[:, margin : margin + num_samples].square().sum())
    penalty = encoder.settings.regularization[inside.atom_index]
    return EventWaveforms(
        segment_index=np.full(len(inside), tile.segment_index),
        sample_index=inside.sample_index + tile.start - first,
        atom_index=inside.atom_index,
        amplitude=inside.amplitude,
        features=features,
        noise_features=noise_features,
        objective=float(energy / 2 - explained / 2 + penalty @ inside.amplitude),
    )
