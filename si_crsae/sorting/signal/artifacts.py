"""Stretches that no neuron can have made: far above any spike on most channels at once, or at the end of the range."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy.ndimage import maximum_filter1d
from spikeinterface.core import BaseRecording

from si_crsae.config import CrsaeConfig
from si_crsae.core.robust import robust_sd
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.convert import nearest_samples
from si_crsae.sorting.runs.progress import StageBar
from si_crsae.sorting.signal.gaps import find_constant_runs
from si_crsae.sorting.signal.periods import ExcludedPeriods, exclude
from si_crsae.sorting.signal.preprocessing import bandpass, usable_noise_levels
from si_crsae.sorting.signal.recording import Tile, map_tiles, plan_tiles
from si_crsae.sorting.signal.sampling import draw_slices, sample_traces

# What is left around a period after it is filled may ring: looked for so often, each time around longer ones.
NUM_PASSES = 2
# Filters are heard for so many periods of the slowest wave that they let through, as SpikeInterface has it.
RINGING_PERIODS = 5
NUM_NAMED = 3
# Of the curvature of white noise, over its own.
BEND_VARIANCE = 6

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvatureScale:
    """How much traces usually bend over short and over long times, and around which value they lie.

    Parameters
    ----------
    lags : tuple of int
        Samples between the three values that a curvature is made of, ascending.
    noise : ndarray, shape (lag, channel)
        Standard deviation of the noise of each curvature; infinite for channels that show none.
    baselines : ndarray, shape (channel,)
        Medians of the traces.
    """

    lags: tuple[int, ...]
    noise: Float[np.ndarray, "lag channel"]
    baselines: Float[np.ndarray, " channel"]

    @classmethod
    def of(cls, recording: BaseRecording, config: CrsaeConfig) -> "CurvatureScale":
        """Return what slices from all over a raw recording show.

        The lags are about the time of a spike, and half a period of the slowest wave that the filter lets through:
        slower waves leave less of themselves in both.
        """
        slowest_ms = 1000 / config.freq_min / 2
        durations_ms = {ASSUMED.artifacts.lag_ms, max(slowest_ms, ASSUMED.artifacts.lag_ms)}
        lags = sorted({max(nearest_samples(each, recording.sampling_frequency), 1) for each in durations_ms})
        slices = [
            recording.get_traces(segment_index=segment, start_frame=start, end_frame=end).astype("float32")
            for segment, start, end in draw_slices(recording, seed=config.seed)
        ]
        noise = np.stack([_usual_bend(slices, lag) for lag in lags])
        return cls(
            lags=tuple(lags),
            noise=np.where(noise > 0, noise, np.inf),
            baselines=np.median(np.concatenate(slices), axis=0),
        )


def _usual_bend(slices: list[Float[np.ndarray, "sample channel"]], lag: int) -> Float[np.ndarray, " channel"]:
    bends = [curvature(traces, lag) for traces in slices if len(traces) > 2 * lag]
    return robust_sd(np.concatenate(bends)) if bends else np.zeros(slices[0].shape[1])


def curvature(traces: Float[np.ndarray, "sample channel"], lag: int) -> Float[np.ndarray, "inner channel"]:
    """Return the second difference of traces at a lag, for all samples that have one on either side.

    It is blind to offsets and slow waves, and beyond the lag it does not ring.
    """
    return traces[2 * lag :] - 2 * traces[lag:-lag] + traces[: -2 * lag]


def find_artifacts(
    recording: BaseRecording, config: CrsaeConfig, *, num_threads: int, bar: StageBar | None = None
) -> ExcludedPeriods:
    """Return the stretches that no neuron can have made.

    A stretch is one if, on most channels at once, the curvature of the raw traces is beyond that of any spike, or if
    they stay at one value far from their median, as a saturated amplifier does. It goes on as long as most channels
    bend more than usual spikes do, and as far as filters ring from what is left of it.

    Parameters
    ----------
    recording : BaseRecording
        Raw, usable channels of one group; periods that are excluded anyhow are filled.
    config : CrsaeConfig
    num_threads : int
    bar : StageBar, optional

    Returns
    -------
    ExcludedPeriods
        None of them where nothing is found.
    """
    scale, bar = CurvatureScale.of(recording, config), bar or StageBar()
    tiles = plan_tiles(recording)
    bar.expect(len(tiles))
    suspects = np.zeros(len(tiles) + 2, bool)
    for index, is_suspect in enumerate(map_tiles(lambda tile: _may_hold(recording, tile, scale), tiles, num_threads)):
        suspects[index : index + 3] |= is_suspect  # an artifact may go on in the tiles before and after
        bar.advance()
    stretches = [
        (tile.segment_index, start, end, is_artifact)
        for tile, is_suspect in zip(tiles, suspects[1:-1], strict=True)
        if is_suspect
        for start, end, is_artifact in _scan(recording, tile, scale)
    ]
    artifacts = _joined(stretches, gap=2 * scale.lags[0])
    for _ in range(NUM_PASSES if config.apply_preprocessing and len(artifacts) else 0):
        artifacts = _with_ringing(recording, artifacts, config)
    return artifacts


def tell_artifacts(found: ExcludedPeriods, recording: BaseRecording, place: str) -> None:
    """Say in the log how much is left out, and how to have it sorted nevertheless."""
    rate_hz = recording.sampling_frequency
    share = found.num_samples / max(recording.get_total_samples(), 1)
    times = ", ".join(f"{start / rate_hz:.3f} s" for _, start, _ in found.bounds()[:NUM_NAMED])
    logger.warning(
        "%s%d artifact%s, %.3g s or %.2f %% of the recording, left out (the first at %s): nothing is learned from them "
        "or found in them; exclude_artifacts = False sorts them",
        place,
        len(found),
        "s" * (len(found) > 1),
        found.duration_s(rate_hz),
        100 * share,
        times,
    )


def _may_hold(recording: BaseRecording, tile: Tile, scale: CurvatureScale) -> bool:
    """Tell whether most channels of a tile bend beyond any spike, or any stays at one value: most tiles have none."""
    traces, shortest = _read(recording, tile, scale)
    if _constant(traces, shortest, scale)[0].any():
        return True
    for lag, noise in zip(scale.lags, scale.noise, strict=True):
        if len(traces) > 2 * lag:
            bends = curvature(traces.astype("float32"), lag)
            highest = np.maximum(bends.max(axis=0), -bends.min(axis=0))
            is_beyond = highest > ASSUMED.artifacts.beyond_spikes_to_noise * noise
            if np.count_nonzero(is_beyond) > is_beyond.size / 2:
                return True
    return False


def _read(
    recording: BaseRecording, tile: Tile, scale: CurvatureScale
) -> tuple[Shaped[np.ndarray, "sample channel"], int]:
    """Return the traces of a tile with what curvatures need on either side, and how long a constant run must be."""
    shortest = max(nearest_samples(ASSUMED.recordings.min_gap_ms, recording.sampling_frequency), 2)
    margin, num_samples = shortest + 2 * scale.lags[-1], recording.get_num_samples(tile.segment_index)
    first, last = max(tile.start - margin, 0), min(tile.end + margin, num_samples)
    return recording.get_traces(segment_index=tile.segment_index, start_frame=first, end_frame=last), shortest


def _scan(recording: BaseRecording, tile: Tile, scale: CurvatureScale) -> list[tuple[int, int, bool]]:
    """Return (first sample, sample after the last, whether it is beyond any spike) of stretches that bend much."""
    traces, shortest = _read(recording, tile, scale)
    is_saturated, is_gap = _constant(traces, shortest, scale)
    is_large, is_beyond = _on_most(is_saturated), _on_most(is_saturated)
    for lag, noise in zip(scale.lags, scale.noise, strict=True):
        if len(traces) <= 2 * lag:
            continue
        bends = np.abs(curvature(traces.astype("float32"), lag)) / noise
        bends = np.pad(bends, ((lag, lag), (0, 0)))
        bends[_within(is_gap, lag)] = 0
        bends[_within(is_large, lag)] = 0  # seen from afar what is known by its own place
        is_beyond = is_beyond | _on_most(bends > ASSUMED.artifacts.beyond_spikes_to_noise)
        is_large = is_large | _on_most((bends > ASSUMED.artifacts.spike_to_noise) | is_saturated) | is_beyond
    before = min(tile.start, shortest + 2 * scale.lags[-1])
    inner = slice(before, before + tile.end - tile.start)
    return [
        (tile.start + begin, tile.start + stop, bool(is_beyond[inner][begin:stop].any()))
        for begin, stop in _runs(is_large[inner])
    ]


def _constant(
    traces: Shaped[np.ndarray, "sample channel"], shortest: int, scale: CurvatureScale
) -> tuple[Bool[np.ndarray, "sample channel"], Bool[np.ndarray, "sample channel"]]:
    """Return where traces stay at one value: far from their median, and others, which are filled before filtering."""
    is_saturated, is_gap = np.zeros(traces.shape, bool), np.zeros(traces.shape, bool)
    least = ASSUMED.artifacts.spike_to_noise * scale.noise[0] / np.sqrt(BEND_VARIANCE)
    for channel, begin, stop in find_constant_runs(traces, shortest):
        value = float(traces[begin, channel])
        distance = abs(value - scale.baselines[channel])
        is_far = value != 0 and distance > least[channel]
        (is_saturated if is_far else is_gap)[begin:stop, channel] = True
    return is_saturated, is_gap


def _within(mask: np.ndarray, lag: int) -> np.ndarray:
    """Return which samples have one of a mask within a lag."""
    return mask if not mask.any() else maximum_filter1d(mask.view("uint8"), 2 * lag + 1, axis=0).view("bool")


def _on_most(mask: Bool[np.ndarray, "sample channel"]) -> Bool[np.ndarray, " sample"]:
    return np.count_nonzero(mask, axis=1) > mask.shape[1] / 2


def _runs(mask: Bool[np.ndarray, " sample"]) -> list[tuple[int, int]]:
    """Return first sample and the one after the last of every stretch of a mask."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _joined(stretches: Iterable[tuple[int, int, int, bool]], *, gap: int) -> ExcludedPeriods:
    """Return the artifacts among stretches, those no farther apart than a gap joined."""
    joined: list[list] = []
    for segment, start, end, is_artifact in stretches:
        if joined and joined[-1][0] == segment and start - joined[-1][2] <= gap:
            joined[-1][2], joined[-1][3] = end, joined[-1][3] or is_artifact
        else:
            joined.append([segment, start, end, is_artifact])
    bounds = [(segment, start, end) for segment, start, end, is_artifact in joined if is_artifact]
    return ExcludedPeriods.of(bounds, is_artifact=True)


def _with_ringing(recording: BaseRecording, artifacts: ExcludedPeriods, config: CrsaeConfig) -> ExcludedPeriods:
    """Return the artifacts, longer where the filter still shows large waves on most channels right beside them."""
    filtered = bandpass(exclude(recording, artifacts, config), config)
    noise = usable_noise_levels(sample_traces(filtered, seed=config.seed, is_excluded=artifacts.contain))
    period = recording.sampling_frequency / config.freq_min
    reach, half_wave = round(RINGING_PERIODS * period), max(round(period / 2), 1)
    bounds = []
    for segment, start, end in artifacts.bounds():
        num_samples = recording.get_num_samples(segment)
        first, last = max(start - reach, 0), min(end + reach, num_samples)
        traces = filtered.get_traces(segment_index=segment, start_frame=first, end_frame=last)
        is_loud = _on_most(np.abs(traces) > config.detect_threshold * noise)
        before = _ringing(is_loud[: start - first][::-1], half_wave)
        after = _ringing(is_loud[end - first :], half_wave)
        bounds.append((segment, start - before, min(end + after, num_samples)))
    return ExcludedPeriods.of(bounds, is_artifact=True)


def _ringing(is_loud: Shaped[np.ndarray, " sample"], half_wave: int) -> int:
    """Return after how many samples there is no loud one for half a wave."""
    loud = np.concatenate([[-1], np.flatnonzero(is_loud)])
    return int(loud[np.argmax(np.append(np.diff(loud), half_wave + 2) > half_wave + 1)]) + 1
