"""How often noise looks like a unit: maxima of the correlation of its atom with what all spikes leave of the traces."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Complex, Float, Int
from scipy.fft import irfft, next_fast_len, rfft
from scipy.optimize import brentq
from scipy.signal import find_peaks

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.convert import nearest_samples
from si_crsae.widgets.view_models.residuals import traces_and_residual

MAX_SAMPLED_S = 10.0
STRETCH_S = 0.5
# Reading and filtering more of them takes longer than a second.
MAX_SAMPLED_VALUES = 3_000_000
PEAK_DISTANCE_MS = 0.5
NUM_TAIL_PEAKS = 200
MIN_TAIL_PEAKS = 20
# In white noise of unit variance, the rate at which the tail begins is at least exp of this times that at the limit.
NUM_FOLDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualSample:
    """Stretches of the residual, spread over the recording, as their spectra."""

    spectra: tuple[Complex[np.ndarray, "channel frequency"], ...]
    num_samples: tuple[int, ...]
    padded: int
    """Length of the Fourier transforms."""
    sampling_frequency: float

    @property
    def duration_s(self) -> float:
        """Length of all stretches (s)."""
        return sum(self.num_samples) / self.sampling_frequency


def sample_residual(
    sorted_recording: SortedRecording, *, max_s: float = MAX_SAMPLED_S, max_values: int = MAX_SAMPLED_VALUES
) -> ResidualSample | None:
    """Return the residual of some stretches at equal distances; None without traces.

    Parameters
    ----------
    sorted_recording : SortedRecording
    max_s : float, default: 10
        How much to read in all (s).
    max_values : int, default: 3 million
        Likewise, samples times channels.
    """
    frequency, num_channels = sorted_recording.sampling_frequency, max(sorted_recording.channel_ids.size, 1)
    stretch = max(round(STRETCH_S * frequency), sorted_recording.units.atoms.shape[2])
    budget = int(min(max_s * frequency, max_values / num_channels))
    padded: Any = next_fast_len(stretch + sorted_recording.units.atoms.shape[2], real=True)
    spectra, lengths = [], []
    for segment_index, start, end in _spread(sorted_recording, stretch, max(budget // stretch, 1)):
        layers = traces_and_residual(sorted_recording, segment_index=segment_index, start=start, end=end)
        if layers is not None:
            spectra.append(rfft(layers[1].T.astype("float32"), padded))
            lengths.append(end - start)
    if not spectra:
        return None
    return ResidualSample(
        spectra=tuple(spectra), num_samples=tuple(lengths), padded=padded, sampling_frequency=frequency
    )


def _spread(sorted_recording: SortedRecording, stretch: int, num_wanted: int) -> list[tuple[int, int, int]]:
    """Return segment, start and end of stretches at equal distances over all segments that have traces."""
    segments = sorted_recording.segments.tolist() if sorted_recording.whitened is not None else []
    places = [
        (segment_index, start, min(start + stretch, sorted_recording.num_samples[segment_index]))
        for segment_index in segments
        for start in range(0, sorted_recording.num_samples[segment_index], stretch)
    ]
    places = [place for place in places if place[2] - place[1] >= min(stretch, sorted_recording.window.width)]
    chosen = np.unique(np.linspace(0, len(places) - 1, min(num_wanted, len(places))).round().astype(int))
    return [places[index] for index in chosen]


def peaks_like_atom(sample: ResidualSample, atom: Float[np.ndarray, "channel width"]) -> Float[np.ndarray, " peak"]:
    """Return the local maxima of the correlation of an atom with the residual, from the largest on.

    Parameters
    ----------
    sample : ResidualSample
    atom : ndarray, shape (channel, width)
        With unit norm, so that a maximum is a coefficient.
    """
    channels = np.flatnonzero(atom.any(axis=1))
    spectrum: Any = rfft(atom[channels].astype("float32"), sample.padded)
    distance = max(nearest_samples(PEAK_DISTANCE_MS, sample.sampling_frequency), 1)
    heights = [np.zeros(0, "float32")]
    for stretch, length in zip(sample.spectra, sample.num_samples, strict=True):
        correlation: Any = irfft((stretch[channels] * spectrum.conj()).sum(axis=0), sample.padded)
        correlation = correlation[: max(length - atom.shape[1] + 1, 0)]
        heights.append(correlation[find_peaks(correlation, height=0.0, distance=distance)[0]])
    return np.sort(np.concatenate(heights))[::-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualNull:
    """Rate at which the residual resembles a unit, for all coefficients.

    Below `limit`, from where on the sorter took such maxima for spikes, they are counted; above, they are continued as
    the maxima of Gaussian noise would go on, whose rate falls with the coefficient u as ``exp(-u^2 / 2 variance)``.
    """

    heights: Float[np.ndarray, " peak"]
    """Maxima below the limit, from the largest on."""
    duration_s: float
    limit: float
    tail_start: float
    tail_rate_hz: float
    """Rate of the maxima from `tail_start` to `limit`, and of those that would follow."""
    variance: float
    """Zero where there are too few maxima to continue them."""

    def rate_above(self, levels: Float[np.ndarray, " level"]) -> Float[np.ndarray, " level"]:
        """Return how many false spikes of at least some coefficients there are to expect (Hz)."""
        below = np.minimum(levels, self.limit)
        counted = np.searchsorted(-self.heights, -below, side="right") / self.duration_s
        return counted + self._continued(np.maximum(levels, self.limit))

    def _continued(self, levels: Float[np.ndarray, " level"]) -> Float[np.ndarray, " level"]:
        if self.variance == 0:
            return np.zeros(np.shape(levels))
        return self.tail_rate_hz * np.exp(-(levels**2 - self.tail_start**2) / (2 * self.variance))


def fit_null(heights: Float[np.ndarray, " peak"], *, duration_s: float, limit: float) -> ResidualNull:
    """Return the null of a unit from the maxima of its correlation with the residual.

    Parameters
    ----------
    heights : ndarray, shape (peak,)
        From `peaks_like_atom`; the sorter has left those above the limit for other reasons than their size.
    duration_s : float
        In what length of the recording they were found.
    limit : float
        Coefficient from which on the sorter accepts.
    """
    below = heights[heights < limit].astype("float64")
    # where the limit lies among the maxima, the largest ones are too equal to tell how their rate falls
    within_reach = int((below**2 > limit**2 - 2 * NUM_FOLDS).sum())
    tail = below[: max(NUM_TAIL_PEAKS, within_reach)]
    if tail.size < MIN_TAIL_PEAKS:
        return ResidualNull(
            heights=below, duration_s=duration_s, limit=limit, tail_start=limit, tail_rate_hz=0.0, variance=0.0
        )
    start = tail[-1]
    longest = (limit**2 - start**2) / 2
    variance = _truncated_exponential_mean((tail**2 - start**2) / 2, longest)
    # those beyond the limit are missing from the residual: the sorter took them
    share_below = -np.expm1(-longest / variance)
    return ResidualNull(
        heights=below,
        duration_s=duration_s,
        limit=limit,
        tail_start=float(start),
        tail_rate_hz=tail.size / duration_s / share_below,
        variance=variance,
    )


def _truncated_exponential_mean(values: Float[np.ndarray, " value"], longest: float) -> float:
    """Return the mean of the exponential distribution of which only values up to the longest were seen."""
    mean = float(values.mean())
    # from half the longest on the values are no longer denser near zero, and nothing can be said
    if mean >= 0.45 * longest:
        return 10 * longest

    def excess(scale: float) -> float:
        return scale - longest / np.expm1(min(longest / scale, 700.0)) - mean

    root: Any = brentq(excess, mean / 2, 100 * longest)
    return float(root)


def count_null(null: ResidualNull, edges: Float[np.ndarray, " edge"], *, duration_s: float) -> Int[np.ndarray, " bin"]:
    """Return how many maxima below the limit a recording of some length has between coefficients, rounded."""
    counts = np.histogram(null.heights, bins=edges)[0]
    return np.round(counts * (duration_s / null.duration_s)).astype("int64")
