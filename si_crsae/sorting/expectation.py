"""E-step: encode tiles of a recording with a dictionary, and look at what the events' waveforms really are."""

from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from spikeinterface.core import BaseRecording
from tqdm.auto import tqdm

from si_crsae.config import CrsaeConfig
from si_crsae.core.encoder import Encoder, EncoderSettings
from si_crsae.core.features import clean_features
from si_crsae.core.filtering import component_lags, correlate_filtered, filter_with_basis
from si_crsae.core.types import Dictionary, SparseEvents
from si_crsae.sorting.checks import resolve_device
from si_crsae.sorting.recording import Tile, map_tiles, plan_tiles, read_tile

GROUP_GAP_MS = 0.3
REFRACTORY_MS = 0.7
MARGIN_WIDTHS = 4
MAX_REGULARIZATION_TO_SCALE = 0.7
MAX_AMPLITUDE = 1.6
MAX_MIN_AMPLITUDE = 0.9
# Log odds against a spike at one sample: an event is accepted where it lowers the objective by more than that.
LOG_PRIOR_ODDS = 7.5
NOISE_ROWS_PER_TILE = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is learned: the atoms, the noise that each of them sees, and its regularization.

    Parameters
    ----------
    dictionary : Dictionary
    noise : ndarray of float32, shape (atom,)
        Standard deviation of the correlation of the traces' noise with each atom.
    regularization : ndarray of float32, shape (atom,)
        Lambda of each atom.
    """

    dictionary: Dictionary
    noise: Float[np.ndarray, " atom"]
    regularization: Float[np.ndarray, " atom"]

    def select(self, atoms: np.ndarray) -> "Model":
        """Return the model of some of the atoms (mask or indices)."""
        kept = torch.as_tensor(atoms)
        dictionary = replace(
            self.dictionary, weights=self.dictionary.weights[kept], scales=self.dictionary.scales[kept]
        )
        return Model(dictionary=dictionary, noise=self.noise[atoms], regularization=self.regularization[atoms])


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
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


def make_encoder(model: Model, config: CrsaeConfig, *, sampling_frequency: float) -> Encoder:
    """Return the encoder of a model."""
    settings = make_settings(model, config, sampling_frequency=sampling_frequency)
    return Encoder.of(model.dictionary, settings, solver=config.solver, device=resolve_device(config.device))


def make_settings(model: Model, config: CrsaeConfig, *, sampling_frequency: float) -> EncoderSettings:
    """Return what the encoder of a model needs, with its amplitude windows in units of the noise."""
    scales = model.dictionary.scales.numpy()
    return EncoderSettings(
        regularization=np.minimum(model.regularization, MAX_REGULARIZATION_TO_SCALE * scales).astype("float32"),
        min_amplitude=lowest_amplitudes(scales, model.noise, config),
        max_amplitude=(MAX_AMPLITUDE * scales).astype("float32"),
        noise=float(np.median(model.noise)),
        max_gap=round(GROUP_GAP_MS * sampling_frequency / 1000),
        refractory=round(REFRACTORY_MS * sampling_frequency / 1000),
    )


def lowest_amplitudes(
    scales: Float[np.ndarray, " atom"], noise: Float[np.ndarray, " atom"], config: CrsaeConfig
) -> Float[np.ndarray, " atom"]:
    """Return the coefficient of each atom below which no event is accepted.

    An event of amplitude x lowers the objective by more than the log odds against it where
    ``x > scale / 2 + noise^2 * log_odds / scale``.
    """
    lowest = np.clip(
        0.5 + LOG_PRIOR_ODDS * (noise / scales) ** 2, config.min_amplitude, max(MAX_MIN_AMPLITUDE, config.min_amplitude)
    )
    return (lowest * scales).astype("float32")


def margin_of(encoder: Encoder) -> int:
    """Return the samples read on either side of a tile: events further away have no say in it."""
    return MARGIN_WIDTHS * encoder.dictionary.width


def encode_tile(recording: BaseRecording, tile: Tile, encoder: Encoder) -> SparseEvents:
    """Return a tile's events, those of its margins included; `sample_index` holds shifts."""
    return encoder.encode(encoder.correlate(read_tile(recording, tile, margin_of(encoder))))


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailedTile:
    """A tile with its margins, on the temporal basis, and the events in it.

    Parameters
    ----------
    traces : Tensor, shape (channel, sample)
    filtered : ndarray of float32, shape (channel, component, shift)
    correlation : ndarray of float32, shape (atom, shift)
    events : SparseEvents
        All of them, margins included; `sample_index` holds shifts.
    """

    traces: Float[torch.Tensor, "channel sample"]
    filtered: Float[np.ndarray, "channel component shift"]
    correlation: Float[np.ndarray, "atom shift"]
    events: SparseEvents


def encode_in_detail(recording: BaseRecording, tile: Tile, encoder: Encoder) -> DetailedTile:
    """Return a tile's events and what they were found in."""
    dictionary, device = encoder.dictionary, encoder.device
    traces = read_tile(recording, tile, margin_of(encoder))
    filtered = filter_with_basis(traces.to(device), dictionary.basis.to(device))
    correlation = correlate_filtered(filtered, dictionary.weights.to(device)).cpu().numpy()
    return DetailedTile(
        traces=traces, filtered=filtered.cpu().numpy(), correlation=correlation, events=encoder.encode(correlation)
    )


def encode_recording(
    recording: BaseRecording, encoder: Encoder, *, num_threads: int, progress: bool = False
) -> list[SparseEvents]:
    """Return the events of every segment of a recording, streamed tile by tile.

    Memory does not depend on the duration, and the events not on the number of threads.
    """
    offset = encoder.dictionary.num_before - margin_of(encoder)

    def encode(tile: Tile) -> SparseEvents:
        events = encode_tile(recording, tile, encoder)
        return events.shifted(tile.start + offset).between(tile.start, tile.end)

    tiles = plan_tiles(recording)
    found = map_tiles(encode, tiles, num_threads)
    parts: list[list[SparseEvents]] = [[] for _ in range(recording.get_num_segments())]
    for tile, events in zip(tqdm(tiles, desc="encode", disable=not progress), found, strict=True):
        parts[tile.segment_index].append(events)
    return [SparseEvents.concatenate(segment) for segment in parts]


def observe(
    recording: BaseRecording,
    encoder: Encoder,
    *,
    channels: Int[np.ndarray, "atom local"],
    num_threads: int,
) -> Observations:
    """Encode a recording and return the events with their clean waveforms.

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

    def observe_one(tile: Tile) -> Observations:
        return observe_tile(encode_in_detail(recording, tile, encoder), tile, encoder, channels=channels, lags=lags)

    parts = list(map_tiles(observe_one, plan_tiles(recording), num_threads))
    joined = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Observations)
        if field.name != "objective"
    }
    objective = sum(part.objective for part in parts) / recording.get_total_samples()
    return Observations(**joined, objective=objective)


def observe_tile(
    encoded: DetailedTile,
    tile: Tile,
    encoder: Encoder,
    *,
    channels: Int[np.ndarray, "atom local"],
    lags: Float[np.ndarray, "component component lag"],
) -> Observations:
    """Return what `observe` returns, of one tile, its margins left out; the objective is not divided by its length."""
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
    return Observations(
        segment_index=np.full(len(inside), tile.segment_index),
        sample_index=inside.sample_index + tile.start - first,
        atom_index=inside.atom_index,
        amplitude=inside.amplitude,
        features=features,
        noise_features=noise_features,
        objective=float(energy / 2 - explained / 2 + penalty @ inside.amplitude),
    )
