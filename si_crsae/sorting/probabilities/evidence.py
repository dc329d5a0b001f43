"""Encode a recording and weigh every event against what else may explain it."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float, Int
from spikeinterface.core import BaseRecording

from si_crsae.core.events import explanations
from si_crsae.core.events.correlation_map import CorrelationMap
from si_crsae.core.events.encoder import Encoder
from si_crsae.core.events.refine import Interactions
from si_crsae.core.tables import concatenate_rows
from si_crsae.core.types import Dictionary, SparseEvents
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.convert import nearest_samples
from si_crsae.sorting.encoding import as_at_rest, encoder_of_tile
from si_crsae.sorting.learning.expectation import NOISE_ROWS_PER_TILE
from si_crsae.sorting.model import margin_of
from si_crsae.sorting.runs.progress import StageBar
from si_crsae.sorting.signal.recording import Tile, map_tiles, plan_tiles, read_tile
from si_crsae.sorting.stages import WeighedCode

# Signal of which the residuals are kept until it is known along which direction those of a unit vary most.
SAMPLED_S = 60.0
MAX_NOISE_ROWS = 2400


@dataclass(frozen=True, slots=True, kw_only=True)
class TileEvidence:
    """The weighed events of a tile and what they leave on the temporal components.

    Parameters
    ----------
    code : WeighedCode
    features : ndarray of float32, shape (event, local, component)
        What is left at the strongest channels of the event's atom.
    noise_features : ndarray of float32, shape (row, channel, component)
        What is left at evenly spread times.
    """

    code: WeighedCode
    features: Float[np.ndarray, "event local component"]
    noise_features: Float[np.ndarray, "row channel component"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What the events of an encoder are examined with.

    Parameters
    ----------
    encoder : Encoder
    atoms : ndarray of float32, shape (atom, channel, width)
    shares : ndarray of float32, shape (atom, channel)
        Energy of each atom on each channel.
    channels : ndarray of int64, shape (atom, local)
        Strongest channels of each atom; -1 where it has fewer.
    num_noise_rows : int
        Times in a tile at which the residual is taken for noise.
    """

    encoder: Encoder
    atoms: Float[np.ndarray, "atom channel width"]
    shares: Float[np.ndarray, "atom channel"]
    channels: Int[np.ndarray, "atom local"]
    num_noise_rows: int

    @classmethod
    def of(cls, encoder: Encoder, *, num_sampled: int) -> "Examination":
        """Return what the events of an encoder are examined with, if residuals are sampled in so many tiles."""
        atoms = encoder.dictionary.atoms.numpy()
        shares = np.square(atoms).sum(axis=2)
        channels = np.argsort(-shares, axis=1, kind="stable")[:, : ASSUMED.probabilities.num_channels]
        channels = np.where(np.take_along_axis(shares, channels, axis=1) > 0, channels, -1)
        num_noise_rows = min(NOISE_ROWS_PER_TILE, -(-MAX_NOISE_ROWS // num_sampled))
        return cls(encoder=encoder, atoms=atoms, shares=shares, channels=channels, num_noise_rows=num_noise_rows)

    def of_moved(self, encoder: Encoder) -> "Examination":
        """Return what the events are examined with where the atoms are those of another encoder."""
        if encoder is self.encoder:
            return self
        atoms = encoder.dictionary.atoms.numpy()
        return replace(self, encoder=encoder, atoms=atoms, shares=np.square(atoms).sum(axis=2))


def encode_and_weigh(
    recording: BaseRecording, encoder: Encoder, *, num_threads: int, bar: StageBar | None = None
) -> WeighedCode:
    """Return the events of a recording, the same as `encode_recording`, with what speaks for and against each.

    Parameters
    ----------
    recording : BaseRecording
        Whitened, unit noise.
    encoder : Encoder
    num_threads : int
        Tiles worked on at once; the result does not depend on it.
    bar : StageBar, optional
        Told of every tile.

    Returns
    -------
    WeighedCode
    """
    tiles, bar = plan_tiles(recording), bar or StageBar()
    bar.expect(len(tiles))
    sampled = _sample(tiles, recording.sampling_frequency)
    examination = Examination.of(encoder, num_sampled=sampled.size)
    examine = partial(examine_tile, recording, examination=examination)
    others = np.setdiff1d(np.arange(len(tiles)), sampled)
    parts: dict[int, WeighedCode] = {}
    kept = []
    for found in map_tiles(examine, [tiles[index] for index in sampled], num_threads):
        kept.append(found)
        bar.advance()
    directions = directions_of_residuals(encoder.dictionary, examination.channels, kept)

    def project(found: TileEvidence) -> WeighedCode:
        return _with_deviation(found, directions)

    parts |= dict(zip(sampled.tolist(), map(project, kept), strict=True))
    rest = map_tiles(lambda tile: project(examine(tile)), [tiles[index] for index in others], num_threads)
    for index, code in zip(others.tolist(), rest, strict=True):
        parts[index] = code
        bar.advance()
    return concatenate_rows([parts[index] for index in range(len(tiles))], "event")


def _sample(tiles: list[Tile], sampling_frequency: float) -> Int[np.ndarray, " sampled"]:
    """Return the indices of SAMPLED_S of tiles, evenly spread."""
    longest = max(tile.end - tile.start for tile in tiles)
    count = min(len(tiles), -(-round(SAMPLED_S * sampling_frequency) // longest))
    return np.unique(np.linspace(0, len(tiles) - 1, count).astype("int64"))


def examine_tile(recording: BaseRecording, tile: Tile, *, examination: Examination) -> TileEvidence:
    """Return the weighed events of one tile, its margins left out."""
    rest, encoder = examination.encoder, encoder_of_tile(examination.encoder, tile)
    examination = examination.of_moved(encoder)
    num_before, margin, frequency = encoder.dictionary.num_before, margin_of(encoder), recording.sampling_frequency
    traces = read_tile(recording, tile, margin)
    correlation = encoder.correlate(traces)
    events = encoder.encode(correlation)
    to_time = tile.start + num_before - margin
    chosen = slice(*np.searchsorted(events.sample_index, [tile.start - to_time, tile.end - to_time]))
    max_move = nearest_samples(ASSUMED.probabilities.max_move_ms, frequency)
    weighed = _weigh(encoder.map_of(correlation), events, chosen, max_move=max_move)
    inside = events.select(chosen)
    residual = traces.numpy()
    explanations.subtract_waveforms(residual, events.located, examination.atoms)
    window = window_of(num_before, encoder.dictionary.width, frequency)
    project = partial(explanations.project_residual, residual, basis=encoder.dictionary.basis.numpy())
    quiet = np.linspace(tile.start - to_time, tile.end - 1 - to_time, examination.num_noise_rows).astype("int64")
    code = WeighedCode(
        segment_index=np.full(len(inside), tile.segment_index),
        sample_index=inside.sample_index + to_time,
        sample_offset=inside.sample_offset,
        atom_index=inside.atom_index,
        amplitude=as_at_rest(inside.amplitude, inside.atom_index, encoder, rest),
        found_atom=inside.atom_index,
        misfit=explanations.relative_misfit(residual, inside.located, examination.shares, *window),
        deviation=np.zeros(len(inside), "float32"),
        **weighed,
    )
    return TileEvidence(
        code=code,
        features=project(inside.sample_index, examination.channels[inside.atom_index]),
        noise_features=project(quiet, np.tile(np.arange(len(residual)), (quiet.size, 1))),
    )


def _weigh(seen: CorrelationMap, events: SparseEvents, chosen: slice, *, max_move: int) -> dict[str, np.ndarray]:
    """Return what the correlation map says of the events chosen."""
    weights = seen.weigh(events, chosen, max_move=max_move)
    overlaps = seen.interactions(events)
    return {
        "own_weight": weights.own,
        "rival_weight": weights.rival,
        "rest_weight": weights.rest,
        "rival_atom": weights.rival_atom,
        "information": explanations.amplitude_information(events.located, overlaps, seen.scales, seen.odds)[chosen],
        "overlap": _largest_overlap(overlaps)[chosen],
    }


def window_of(num_before: int, width: int, sampling_frequency: float) -> tuple[int, int]:
    """Return the first sample of an atom in which the residual is looked at, and the one after the last."""
    edges = ASSUMED.probabilities.misfit_ms
    start, end = (num_before + nearest_samples(edge, sampling_frequency) for edge in edges)
    return max(start, 0), min(end, width)


def directions_of_residuals(
    dictionary: Dictionary, channels: Int[np.ndarray, "atom local"], found: list[TileEvidence]
) -> Float[np.ndarray, "atom local component"]:
    """Return for each atom the direction in which the residuals of its events exceed noise most.

    A unit that holds the spikes of two neurons leaves their difference, with either sign. Neither amplitude nor time,
    which vary in any unit, count.

    Parameters
    ----------
    dictionary : Dictionary
    channels : ndarray of int64, shape (atom, local)
    found : list of TileEvidence
        At least one.

    Returns
    -------
    ndarray of float32, shape (atom, local, component)
        Products with noise have a standard deviation of 1; zero for atoms with few events.
    """
    atom_index = np.concatenate([part.code.atom_index for part in found])
    features = np.concatenate([part.features for part in found])
    noise = np.concatenate([part.noise_features for part in found])
    weights, basis = dictionary.weights.numpy(), dictionary.basis.numpy()
    derivative = np.gradient(basis, axis=1) @ basis.T
    directions = np.zeros((*channels.shape, basis.shape[0]), "float32")
    num_events = np.bincount(atom_index, minlength=len(weights))
    for atom in np.flatnonzero(num_events >= ASSUMED.probabilities.min_waveforms):
        present = channels[atom] >= 0
        local = channels[atom, present]
        own = weights[atom, local]
        nuisance = np.stack([own.ravel(), (own @ derivative).ravel()])
        events = features[atom_index == atom][:, present].reshape(-1, own.size)
        direction = _largest_excess(events, noise[:, local].reshape(-1, own.size), nuisance)
        directions[atom, present] = direction.reshape(own.shape)
    return directions


def _largest_excess(
    values: Float[np.ndarray, "row dimension"],
    noise: Float[np.ndarray, "other dimension"],
    nuisance: Float[np.ndarray, "excluded dimension"],
) -> Float[np.ndarray, " dimension"]:
    """Return the direction of most variance in units of the noise, after projecting out some directions."""
    ridge = ASSUMED.probabilities.noise_ridge * noise.var(axis=0).mean() + 1e-9
    covariance = np.cov(noise, rowvar=False) + np.eye(noise.shape[1]) * ridge
    values_n, vectors = np.linalg.eigh(covariance)
    whiten = vectors / np.sqrt(values_n) @ vectors.T
    excluded = np.linalg.qr((nuisance @ whiten).T)[0]
    whitened = (values - values.mean(axis=0)) @ whiten
    whitened -= whitened @ excluded @ excluded.T
    top = np.linalg.eigh(whitened.T @ whitened)[1][:, -1]
    return whiten @ (top - excluded @ (excluded.T @ top))


def _with_deviation(found: TileEvidence, directions: Float[np.ndarray, "atom local component"]) -> WeighedCode:
    """Return the events of a tile with how far each leaves its unit's mean along the direction of most variance."""
    deviation = np.einsum("elc,elc->e", found.features, directions[found.code.atom_index])
    return replace(found.code, deviation=deviation.astype("float32"))


def _largest_overlap(overlaps: Interactions) -> Float[np.ndarray, " event"]:
    """Return the largest correlation, of either sign, of each event with another one."""
    largest = np.zeros(overlaps.start.size - 1, "float32")
    crowded = np.flatnonzero(np.diff(overlaps.start))
    if crowded.size:
        largest[crowded] = np.maximum.reduceat(np.abs(overlaps.correlation), overlaps.start[crowded])
    return largest
