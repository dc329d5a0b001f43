"""Recording to tensors: fixed tiles with margins, and the stretch of signal that is learned from."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar, cast

import numpy as np
import torch
from jaxtyping import Float
from spikeinterface.core import BaseRecording, append_recordings
from torch import Tensor

from si_crsae.config import CrsaeConfig
from si_crsae.core.robust import robust_sd
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.convert import TemplateWindow
from si_crsae.sorting.signal.sampling import draw_slices

TILE_S = 1.0
# Larger arrays would be mapped anew for every tile, which costs as much as filling them.
MAX_TILE_VALUES = 2**20
# Shorter tiles would be mostly margins.
MIN_TILE_SAMPLES = 4096
# Windows that are learned from: long against templates, short against drift.
TRAINING_WINDOW_S = 5.0
# Windows that are looked at for one that is learned from, and places looked at in each.
CANDIDATES_PER_WINDOW, NUM_PROBES, PROBE_S = 4, 5, 0.02
# What sets contacts at one place apart, for a probe does not take them.
NUDGE_UM = 1e-3
# Of unit noise: whitening makes more of an artifact than the recording shows.
MAX_TILE_VALUE = 100 * ASSUMED.recordings.max_sample_to_noise
# No spike is as loud; what artifacts have beyond it would take a descent minutes to explain.
LOUDEST = 1e4
# What SpikeInterface's filters need to run forwards and backwards.
MIN_FILTER_SAMPLES = 32

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A stretch of a segment, the unit of all work on traces.

    Tiles lie on a fixed grid, so that a result never depends on how many of them are read or worked on at once.

    Parameters
    ----------
    segment_index : int
    start, end : int
        First sample and the one after the last.
    """

    segment_index: int
    start: int
    end: int


def plan_tiles(recording: BaseRecording) -> list[Tile]:
    """Return the tiles that cover a recording, in order."""
    length = min(max(round(TILE_S * recording.sampling_frequency), 1), longest_tile(recording.get_num_channels()))
    return [
        Tile(segment_index=segment_index, start=start, end=end)
        for segment_index in range(recording.get_num_segments())
        for start, end in tile_bounds(recording.get_num_samples(segment_index), length)
    ]


def longest_tile(num_channels: int) -> int:
    """Return how many samples of so many channels are worked on at once."""
    return max(MAX_TILE_VALUES // num_channels, MIN_TILE_SAMPLES)


def tile_bounds(num_samples: int, length: int) -> list[tuple[int, int]]:
    """Return the first sample of each tile of a stretch, and the one after its last."""
    return [(start, min(start + length, num_samples)) for start in range(0, num_samples, length)]


def read_tile(recording: BaseRecording, tile: Tile, margin: int) -> Float[Tensor, "channel sample"]:
    """Return the traces of a tile, of unit noise, and of a margin on both sides, zero beyond the ends of the segment.

    Artifacts are cut off where they are louder than any spike.

    Raises
    ------
    ValueError
        If a trace is NaN, infinite or implausibly large: of a very large recording only slices are looked at before.
    """
    num_samples = recording.get_num_samples(tile.segment_index)
    start, end = max(tile.start - margin, 0), min(tile.end + margin, num_samples)
    traces = recording.get_traces(segment_index=tile.segment_index, start_frame=start, end_frame=end)
    padding = (start - (tile.start - margin), tile.end + margin - end)
    tensor = torch.from_numpy(np.array(traces.T, dtype="float32", order="C"))
    lowest, highest = tensor.aminmax()
    if not (lowest >= -MAX_TILE_VALUE and highest <= MAX_TILE_VALUE):
        limits = np.array([[-MAX_TILE_VALUE], [MAX_TILE_VALUE]]).repeat(traces.shape[1], axis=1)
        raise ValueError(describe_bad_sample(recording, traces, limits, segment_index=tile.segment_index, start=start))
    if lowest < -LOUDEST or highest > LOUDEST:
        tensor.clamp_(-LOUDEST, LOUDEST)
    return torch.nn.functional.pad(tensor, padding)


def describe_bad_sample(
    recording: BaseRecording,
    traces: Float[np.ndarray, "sample channel"],
    limits: Float[np.ndarray, "end channel"],
    *,
    segment_index: int,
    start: int,
) -> str:
    """Return where the first sample stands that is NaN, infinite or too large, and what to do; empty if there is none.

    Parameters
    ----------
    recording : BaseRecording
    traces : ndarray, shape (sample, channel)
    limits : ndarray of float, shape (2, channel)
        The lowest and the highest plausible sample of every channel.
    segment_index : int
    start : int
        Which sample of the segment the traces begin with.
    """
    lowest, highest = limits
    if ((traces.max(axis=0) <= highest) & (traces.min(axis=0) >= lowest)).all():
        return ""
    with np.errstate(over="ignore"):  # float64 may hold what float32 cannot
        is_bad = ~np.isfinite(traces.astype("float32"))
    is_huge = not is_bad.any()
    if is_huge:
        is_bad = (traces > highest) | (traces < lowest)
    sample, channel = np.argwhere(is_bad)[0].tolist()
    where = (
        f"first in segment {segment_index} at {(start + sample) / recording.sampling_frequency:.4f} s (sample "
        f"{start + sample}) on channel {recording.channel_ids[channel].item()!r}"
    )
    if not is_huge:
        return (
            f"traces hold NaN or inf, {where}: every sample must be finite in float32; remove the channel "
            "(recording.remove_channels) or blank the stretch (spikeinterface.preprocessing.silence_periods)"
        )
    return (
        f"traces reach {traces[sample, channel]:g}, {where}, where noise and spikes can be told beside samples from "
        f"{lowest[channel]:.3g} to {highest[channel]:.3g}: blank it (spikeinterface.preprocessing.silence_periods) or "
        "clip the traces (spikeinterface.preprocessing.clip)"
    )


def plausible_limits(
    baselines: Float[np.ndarray, " channel"], noise: Float[np.ndarray, " channel"]
) -> Float[np.ndarray, "end channel"]:
    """Return the lowest and the highest plausible sample of every channel; of a silent one what float32 can square."""
    assumed, levels = ASSUMED.recordings, noise.astype("float64")
    reach = np.where(levels > 0, assumed.max_sample_to_noise * levels, assumed.max_sample)
    return np.clip(
        np.nan_to_num(baselines) + np.array([[-1.0], [1.0]]) * reach, -assumed.max_sample, assumed.max_sample
    )


def select_segments(recording: BaseRecording, segments: list[int]) -> BaseRecording:
    """Return some segments of a recording; the recording itself where they are all of it.

    SpikeInterface's selection takes the segments over: those that ask their recording for its channels, as generated
    and hybrid ones do, would not work where they came from afterwards. They are given back.
    """
    if segments == list(range(recording.get_num_segments())):
        return recording
    selected = cast(BaseRecording, recording.select_segments(segments))
    for segment in recording.segments:
        segment.set_parent_extractor(recording)
    return selected


def select_channels(recording: BaseRecording, chosen: np.ndarray) -> BaseRecording:
    """Return the channels of a mask; the recording itself where they are all of it."""
    return recording if chosen.all() else cast(BaseRecording, recording.select_channels(recording.channel_ids[chosen]))


def map_tiles(function: Callable[[Tile], Result], tiles: Iterable[Tile], num_threads: int) -> Iterator[Result]:
    """Yield the function of every tile, in order, a few tiles ahead in each thread.

    Threads share the traces without copies, and no more results wait than there are threads to make them. Each computes
    on itself alone: the number of threads of a product is a setting of the thread that asks for it.
    """
    if num_threads == 1:
        yield from map(function, tiles)
        return
    remaining = iter(tiles)
    with ThreadPoolExecutor(num_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting = [pool.submit(function, tile) for tile in islice(remaining, 2 * num_threads)]
        try:
            while waiting:
                yield waiting.pop(0).result()
                waiting.extend(pool.submit(function, tile) for tile in islice(remaining, 1))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after an error or an interrupt no more tiles are begun


def plan_training_windows(recording: BaseRecording, duration_s: float, *, seed: int) -> list[Tile] | None:
    """Return the windows to learn from, from all over a long recording, none of them silent; None for a short one.

    Parameters
    ----------
    recording : BaseRecording
        Whitened, unit noise.
    duration_s : float
        How long the windows are together (s).
    seed : int
        Chooses where they lie.
    """
    if recording.get_total_duration() <= duration_s:
        return None
    count = max(round(duration_s / TRAINING_WINDOW_S), 1)
    drawn = draw_slices(recording, num_slices=CANDIDATES_PER_WINDOW * count, slice_s=TRAINING_WINDOW_S, seed=seed)
    active = (window for window in _apart(drawn) if _has_signal(recording, window))
    chosen = sorted(islice(active, count)) or sorted(_apart(drawn))[:count]
    return [Tile(segment_index=segment, start=start, end=end) for segment, start, end in chosen]


def select_windows(recording: BaseRecording, windows: list[Tile] | None) -> BaseRecording:
    """Return the signal to learn from: the windows as segments, or the recording itself where there are none."""
    if windows is None:
        return recording
    return append_recordings(
        [select_segments(recording, [each.segment_index]).frame_slice(each.start, each.end) for each in windows]
    )


def _apart(windows: list[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield the windows that overlap none before them: two that end with their segment may."""
    taken: list[tuple[int, int, int]] = []
    for segment, start, end in windows:
        if all(segment != other or end <= first or last <= start for other, first, last in taken):
            taken.append((segment, start, end))
            yield segment, start, end


def _has_signal(recording: BaseRecording, window: tuple[int, int, int]) -> bool:
    """Tell whether any channel shows noise at most of a few places of a window."""
    segment, start, end = window
    length = min(max(round(PROBE_S * recording.sampling_frequency), 2), end - start)
    places = np.linspace(start, end - length, NUM_PROBES).astype("int64").tolist()
    probes = [recording.get_traces(segment_index=segment, start_frame=at, end_frame=at + length) for at in places]
    noisy = [robust_sd(probe).max() >= ASSUMED.recordings.min_activity for probe in probes]
    return bool(sum(noisy) > NUM_PROBES / 2)


def with_one_probe(recording: BaseRecording) -> BaseRecording:
    """Return the recording with all its contacts on one probe, which SpikeInterface's components ask for.

    Without locations the contacts are put on a line.
    """
    if recording.has_probe() and len(recording.get_probes()) == 1:
        return recording
    if recording.has_probe():
        locations = recording.get_channel_locations()
        if len(np.unique(locations, axis=0)) < len(locations):  # a probe refuses contacts at one place
            locations = locations + NUDGE_UM * np.arange(len(locations))[:, None]
    else:
        depths = ASSUMED.recordings.contact_pitch_um * np.arange(recording.get_num_channels())
        locations = np.column_stack([np.zeros_like(depths), depths])
    located = cast(BaseRecording, recording.clone())
    located.set_dummy_probe_from_locations(locations)
    return located


def sortable_segments(recording: BaseRecording, config: CrsaeConfig) -> np.ndarray:
    """Return the indices of the segments that are longer than a template and what the filters need at their ends."""
    shortest = max(TemplateWindow.of(recording, config).width, MIN_FILTER_SAMPLES)
    lengths = np.array([recording.get_num_samples(segment) for segment in range(recording.get_num_segments())])
    return np.flatnonzero(lengths >= shortest)


def channel_groups(recording: BaseRecording) -> np.ndarray:
    """Return the group of every channel; one group for all where SpikeInterface knows none."""
    groups = recording.get_channel_groups()
    return np.zeros(recording.get_num_channels(), "int64") if groups is None else groups


def split_groups(recording: BaseRecording) -> list[BaseRecording]:
    """Return the channels of every group (shank, tetrode) as a recording of its own.

    SpikeInterface's ``split_by`` refuses a recording that was already split, as `run_sorter_by_property` does.
    """
    groups = channel_groups(recording)
    values = np.unique(groups)
    if values.size < 2:
        return [recording]
    parts = [recording.select_channels(recording.channel_ids[groups == value]) for value in values]
    return cast(list[BaseRecording], parts)
