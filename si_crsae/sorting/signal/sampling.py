"""Samples of a recording from all over it, and which of them carry a signal."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from spikeinterface.core import BaseRecording

from si_crsae.core.robust import robust_sd
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.convert import nearest_samples

# Which samples (segment and index of each) are left out of all that is learned.
Exclusion = Callable[[Int[np.ndarray, " sample"], Int[np.ndarray, " sample"]], Bool[np.ndarray, " sample"]]

# Together 6 s, about as much as SpikeInterface takes to measure noise.
SLICE_S = 0.1
NUM_SLICES = 60
# Looked at where most of the recording is silent.
MAX_SLICES = 480
BLOCK_MS = 10.0
# Samples of a block that are looked at: its neighbors say the same, and medians take time.
SAMPLES_PER_BLOCK = 60
# Noise of a block over the largest one of its channel: what a filter leaves where nothing goes in.
NEGLIGIBLE = 1e-5
# Values whose median tells a channel's noise to 1 %: neighbors say nearly the same, and medians take time.
MAX_NOISE_VALUES = 2**16
# Of one sample: 128 MiB, a few seconds of 384 channels.
MAX_SAMPLED_VALUES = 2**25
# Part of a sample that is enough to learn from how channels go together.
MIN_USABLE_SHARE = 0.1
# Part of a recording, or of rows of noise, that is not called silent: rare noise is that faint.
NEGLIGIBLE_SILENCE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSample:
    """Traces drawn from all over a recording.

    Parameters
    ----------
    traces : ndarray of float32, shape (sample, channel)
    active : ndarray of bool, shape (sample, channel)
        Whether a channel carried a signal then, and was not constant or far fainter than usual, nor excluded.
    num_excluded : int, default: 0
        How many of the samples are in excluded periods.
    """

    traces: Float[np.ndarray, "sample channel"]
    active: Bool[np.ndarray, "sample channel"]
    num_excluded: int = 0

    @property
    def active_share(self) -> float:
        """Part of the recording, beside excluded periods, in which any channel carries a signal."""
        return float(self.active.any(axis=1).sum() / max(len(self.active) - self.num_excluded, 1))

    def fully_active_traces(self) -> Float[np.ndarray, "sample channel"]:
        """Return the samples in which all channels carry a signal; where these are few, those in which any does."""
        for active in (self.active.all(axis=1), self.active.any(axis=1)):
            if active.mean() >= MIN_USABLE_SHARE:
                return self.traces if active.all() else self.traces[active]
        return self.traces

    def baselines(self) -> Float[np.ndarray, " channel"]:
        """Return the median of every channel where it is active; of all its samples if it never is."""
        columns = zip(self.traces.T, self.active.T, strict=True)
        return np.array(
            [np.median(values[active] if active.any() else values) for values, active in columns], "float32"
        )

    def noise_levels(self) -> Float[np.ndarray, " channel"]:
        """Return the standard deviation of every channel's noise where it is active; 0 where it never is."""
        columns = zip(self.traces.T, self.active.T, strict=True)
        return np.array([_noise_level(values[active]) for values, active in columns], "float32")


def _noise_level(values: Float[np.ndarray, " value"]) -> float:
    step = max(len(values) // MAX_NOISE_VALUES, 1)
    return float(robust_sd(values[::step])) if len(values) else 0.0


def draw_slices(
    recording: BaseRecording, *, num_slices: int = NUM_SLICES, slice_s: float = SLICE_S, seed: int
) -> list[tuple[int, int, int]]:
    """Return (segment, first sample, sample after the last) of slices from all over a recording, in random order.

    The time of all segments is cut into equal parts, and a slice begins at a random place of each: what is periodic
    in the recording is met as often as it happens. Slices end with their segment. Where so many suffice, all of
    the recording is taken.

    Parameters
    ----------
    recording : BaseRecording
        Holds at least one sample.
    num_slices : int, default: 60
    slice_s : float, default: 0.1
        Length of a slice (s).
    seed : int
    """
    lengths = np.array([recording.get_num_samples(segment) for segment in range(recording.get_num_segments())])
    ends = np.cumsum(lengths)
    length = max(round(slice_s * recording.sampling_frequency), 1)
    random = np.random.default_rng(seed)
    if ends[-1] <= num_slices * length:
        slices = _all_slices(lengths, length)
        if 0 < len(slices) <= num_slices:
            return [slices[index] for index in random.permutation(len(slices))]
    bounds = np.linspace(0, ends[-1], int(np.clip(ends[-1] // length, 1, num_slices)) + 1)
    places = np.floor(random.uniform(bounds[:-1], bounds[1:])).astype("int64")
    slices = []
    for place in random.permutation(places).tolist():
        segment = int(np.searchsorted(ends, place, side="right"))
        start = place - int(ends[segment] - lengths[segment])
        start = max(min(start, int(lengths[segment]) - length), 0)
        slices.append((segment, start, min(start + length, int(lengths[segment]))))
    return slices


def _all_slices(lengths: Int[np.ndarray, " segment"], length: int) -> list[tuple[int, int, int]]:
    """Return slices of one length that cover every segment which is no shorter, with little overlap."""
    return [
        (segment, start, start + length)
        for segment, num_samples in enumerate(lengths.tolist())
        if num_samples >= length
        for start in np.linspace(0, num_samples - length, -(-num_samples // length)).astype("int64").tolist()
    ]


def draw_traces(
    recording: BaseRecording, *, num_slices: int = NUM_SLICES, slice_s: float = SLICE_S, seed: int
) -> Shaped[np.ndarray, "sample channel"]:
    """Return the traces of `draw_slices`, joined, in the recording's own type and unit."""
    return np.concatenate(
        [
            recording.get_traces(segment_index=segment, start_frame=start, end_frame=end)
            for segment, start, end in draw_slices(recording, num_slices=num_slices, slice_s=slice_s, seed=seed)
        ]
    )


def sample_traces(recording: BaseRecording, *, seed: int, is_excluded: Exclusion | None = None) -> TraceSample:
    """Return traces from all over a recording, more of them where most of it is silent.

    Parameters
    ----------
    recording : BaseRecording
        Raw, filtered or whitened.
    seed : int
    is_excluded : callable, optional
        Samples of which nothing is to be learned; see `ExcludedPeriods.contain`.
    """
    values_per_slice = SLICE_S * recording.sampling_frequency * recording.get_num_channels()
    num_slices = wanted = int(np.clip(MAX_SAMPLED_VALUES // values_per_slice, NUM_SLICES // 5, NUM_SLICES))
    while True:
        traces = draw_traces(recording, num_slices=num_slices, seed=seed).astype("float32")
        active = find_activity(traces, recording.sampling_frequency)
        excluded = np.zeros(len(traces), bool)
        if is_excluded is not None:
            slices = draw_slices(recording, num_slices=num_slices, seed=seed)
            segments = np.concatenate([np.full(end - start, segment) for segment, start, end in slices])
            samples = np.concatenate([np.arange(start, end) for _, start, end in slices])
            excluded = is_excluded(segments, samples)
            active[excluded] = False
        is_whole = len(traces) >= recording.get_total_samples()
        if is_whole or num_slices >= MAX_SLICES or active.any(axis=1).mean() * num_slices >= wanted / 2:
            return TraceSample(traces=traces, active=active, num_excluded=int(excluded.sum()))
        num_slices *= 2


def find_activity(
    traces: Float[np.ndarray, "sample channel"], sampling_frequency: float
) -> Bool[np.ndarray, "sample channel"]:
    """Return where each channel carries a signal: not constant, and no far fainter than usual.

    Parameters
    ----------
    traces : ndarray of float32, shape (sample, channel)
    sampling_frequency : float
        In Hz.

    Returns
    -------
    ndarray of bool, shape (sample, channel)
        Decided for blocks of 10 ms.
    """
    length = min(max(nearest_samples(BLOCK_MS, sampling_frequency), 2), len(traces))
    count = len(traces) // length
    step = max(length // SAMPLES_PER_BLOCK, 1)
    blocks = traces[: count * length].reshape(count, length, -1)[:, ::step].swapaxes(0, 1)
    noise = robust_sd(blocks)
    is_coarse = (noise == 0).all(axis=0)  # a signal of few levels, at one of them most of the time
    noise[:, is_coarse] = blocks[:, :, is_coarse].std(axis=0)
    lengths = np.full(count, length)
    lengths[-1] += len(traces) - count * length
    return np.repeat(is_active(noise), lengths, axis=0)


def is_active(noise: Float[np.ndarray, "block channel"]) -> Bool[np.ndarray, "block channel"]:
    """Return which blocks of each channel hold its usual noise, from the noise of all blocks."""
    assumed = ASSUMED.recordings
    active = noise > NEGLIGIBLE * noise.max(axis=0)
    for channel in np.flatnonzero(active.any(axis=0)):
        usual = np.quantile(noise[active[:, channel], channel], assumed.usual_quantile)
        active[:, channel] &= noise[:, channel] >= assumed.min_activity * usual
    return active


def active_share(recording: BaseRecording, *, seed: int, is_excluded: Exclusion | None = None) -> float:
    """Return the part of a recording, beside excluded periods, in which any channel carries a signal.

    It is told from a sample: so near to 1 that blocks of noise could make it, by their own differences, it is 1.
    """
    share = sample_traces(recording, seed=seed, is_excluded=is_excluded).active_share
    return 1.0 if share > 1 - NEGLIGIBLE_SILENCE else share
