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
from si_crsae.sorting.drift.encoder import MovingEncoder
from si_crsae.sorting.encoding import DetailedTile, as_at_rest, encode_in_detail, encoder_of_tile, middle_of
from si_crsae.sorting.model import margin_of
from si_crsae.sorting.signal.recording import Tile, map_tiles, plan_tiles

NOISE_ROWS_PER_TILE = 40
# Tiles from all over the recording that are encoded with and without motion.
NUM_COMPARED_TILES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class EventWaveforms:
    """Events of a recording with their clean waveforms on the temporal basis.

    Parameters
    ----------
    segment_index, sample_index, atom_index : ndarray of int64, shape (event,)
        Ordered by segment, then time.
    amplitude : ndarray of float32, shape (event,)
        Coefficient of the unit-norm atom at rest.
    features : ndarray of float32, shape (event, local, component)
        Traces without all other events, on the channels around the atom's main channel; if the tissue moves, as they
        would be at rest, see `hold_still`.
    recorded : ndarray of float32, shape (event, local, component)
        The same as they were recorded; without channels if nothing moves.
    step : ndarray of int64, shape (event,)
        Step of displacement of the event's atom; 0 if nothing moves.
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
    recorded: Float[np.ndarray, "event recorded component"]
    step: Int[np.ndarray, " event"]
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
        there = encoder_of_tile(encoder, tile)
        found = waveforms_of_tile(encode_in_detail(recording, tile, there), tile, there, channels=channels, lags=lags)
        if not isinstance(encoder, MovingEncoder):
            return found
        return replace(
            found,
            amplitude=as_at_rest(found.amplitude, found.atom_index, there, encoder),
            recorded=found.features,
            step=encoder.steps_at(*middle_of(tile))[found.atom_index],
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
    return EventWaveforms(
        segment_index=np.full(len(inside), tile.segment_index),
        sample_index=inside.sample_index + tile.start - first,
        atom_index=inside.atom_index,
        amplitude=inside.amplitude,
        features=features,
        recorded=features[:, :0],
        step=np.zeros(len(inside), "int64"),
        noise_features=noise_features,
        objective=objective_of_tile(encoded, tile, encoder),
    )


def objective_of_tile(encoded: DetailedTile, tile: Tile, encoder: Encoder) -> float:
    """Return half the energy of the residual of a tile and the weighted l1 norm of its code, its margins left out."""
    margin, num_before, num_samples = margin_of(encoder), encoder.dictionary.num_before, tile.end - tile.start
    first = margin - num_before
    start, end = np.searchsorted(encoded.events.sample_index, [first, first + num_samples])
    inside = encoded.events.select(slice(start, end))
    explained = encoder.explained_energy(encoded.correlation, encoded.events)[start:end].sum()
    energy = float(encoded.traces[:, margin : margin + num_samples].square().sum())
    penalty = encoder.settings.regularization[inside.atom_index]
    return float(energy / 2 - explained / 2 + penalty @ inside.amplitude)


def objective_of_sample(recording: BaseRecording, encoder: Encoder, *, num_threads: int) -> float:
    """Return the objective on some tiles, spread over a recording (nats)."""

    def objective(tile: Tile) -> float:
        there = encoder_of_tile(encoder, tile)
        return objective_of_tile(encode_in_detail(recording, tile, there), tile, there)

    tiles = plan_tiles(recording)
    chosen = np.unique(np.linspace(0, len(tiles) - 1, NUM_COMPARED_TILES).astype("int64"))
    return sum(map_tiles(objective, [tiles[index] for index in chosen], num_threads))
