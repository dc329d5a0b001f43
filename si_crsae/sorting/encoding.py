"""Tiles and whole recordings to events."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from spikeinterface.core import BaseRecording

from si_crsae.core.events.encoder import Encoder
from si_crsae.core.operators.filtering import correlate_filtered, filter_with_basis
from si_crsae.core.types import SparseEvents
from si_crsae.sorting.model import margin_of
from si_crsae.sorting.runs.progress import StageBar
from si_crsae.sorting.signal.recording import Tile, map_tiles, plan_tiles, read_tile


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
