"""Tiles and whole recordings to events."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from spikeinterface.core import BaseRecording

from si_crsae.core.events.encoder import Encoder
from si_crsae.core.operators.filtering import correlate_filtered, filter_with_basis
from si_crsae.core.types import SparseEvents
from si_crsae.sorting.model import margin_of
from si_crsae.sorting.runs.progress import StageBar
from si_crsae.sorting.signal.recording import Tile, map_tiles, plan_tiles, read_tile


def middle_of(tile: Tile) -> tuple[int, int]:
    """Return the segment of a tile and the sample in its middle."""
    return tile.segment_index, (tile.start + tile.end) // 2


def encoder_of_tile(encoder: Encoder, tile: Tile) -> Encoder:
    """Return the encoder of the atoms as they are in the middle of a tile."""
    return encoder.at(*middle_of(tile))


def as_at_rest(
    amplitude: Float[np.ndarray, " event"], atoms: Int[np.ndarray, " event"], there: Encoder, rest: Encoder
) -> Float[np.ndarray, " event"]:
    """Return amplitudes of atoms that have moved in those of the atoms at rest: a spike of usual size is of that size.

    What a neuron's spikes lose where no contact is near is no change of them.
    """
    if there is rest:
        return amplitude
    growth = there.dictionary.scales / rest.dictionary.scales
    return amplitude / growth.numpy()[atoms]


def encode_tile(recording: BaseRecording, tile: Tile, encoder: Encoder) -> SparseEvents:
    """Return a tile's events, those of its margins included; `sample_index` holds shifts."""
    there = encoder_of_tile(encoder, tile)
    events = there.encode(there.correlate(read_tile(recording, tile, margin_of(encoder))))
    return replace(events, amplitude=as_at_rest(events.amplitude, events.atom_index, there, encoder))


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
    recording: BaseRecording, encoder: Encoder, *, num_threads: int, bar: StageBar | None = None
) -> list[SparseEvents]:
    """Return the events of every segment of a recording, streamed tile by tile.

    Memory does not depend on the duration, and the events not on the number of threads.
    """
    offset = encoder.dictionary.num_before - margin_of(encoder)

    def encode(tile: Tile) -> SparseEvents:
        events = encode_tile(recording, tile, encoder)
        return events.shifted(tile.start + offset).between(tile.start, tile.end)

    tiles, bar = plan_tiles(recording), bar or StageBar()
    bar.expect(len(tiles))
    found = map_tiles(encode, tiles, num_threads)
    parts: list[list[SparseEvents]] = [[] for _ in range(recording.get_num_segments())]
    for tile, events in zip(tiles, found, strict=True):
        parts[tile.segment_index].append(events)
        bar.advance()
    return [SparseEvents.concatenate(segment) for segment in parts]
