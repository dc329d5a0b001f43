"""What tells spikes of one unit from another's: principal components of their waveforms, and where they come from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.decomposition import PCA

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.evaluation.windows import read_windows
from si_crsae.widgets.view_models.templates import Waveforms, atom_waveforms, join_waveforms
from si_crsae.widgets.view_models.unit_activity import spikes_of_units

NUM_COMPONENTS = 3
# Contacts on which spikes are compared: those where the leading unit is largest.
MAX_CHANNELS = 8
# Spikes of each unit that are drawn, and whose mean stands for that of all, evenly chosen, on up to 128 channels: with
# more, a third at least. Reading one takes a millisecond there, as what is common to all channels is taken from it.
MAX_READ = 300
MAX_AVERAGED = 60
# Waveforms that are kept at once, while more are read.
BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippets:
    """Whitened traces around spikes on some channels (noise standard deviations)."""

    spikes: Int[np.ndarray, " spike"]
    """Their positions among all spikes of the sorting."""
    values: Float[np.ndarray, "spike channel sample"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpace:
    """Directions in which the spikes of some units differ most, on the channels of the leading one.

    Parameters
    ----------
    channels : ndarray of int64, shape (channel,)
        The largest first.
    depths : ndarray of float64, shape (channel,)
        Their places along the probe (um).
    pca : PCA
        Of waveforms, channel by channel.
    """

    channels: Int[np.ndarray, " channel"]
    depths: Float[np.ndarray, " channel"]
    pca: PCA

    def of(self, snippets: Snippets) -> dict[str, Float[np.ndarray, " spike"]]:
        """Return the features of spikes by name: pc1, pc2, pc3 and depth (um)."""
        values = snippets.values
        scores = self.pca.transform(values.reshape(len(values), -1)) if len(values) else np.zeros((0, NUM_COMPONENTS))
        named = {f"pc{place + 1}": scores[:, place] for place in range(scores.shape[1])}
        return named | {"depth": centers_of_mass(values, self.depths)}


def channels_of(sorted_recording: SortedRecording, unit: int) -> Int[np.ndarray, " channel"]:
    """Return the channels on which a unit is compared with others, the largest first."""
    heights = np.abs(sorted_recording.units.atoms[unit]).max(axis=1)
    largest = np.argsort(-heights, kind="stable")[:MAX_CHANNELS]
    return largest[heights[largest] > 0]


def affordable(number: int, sorted_recording: SortedRecording) -> int:
    """Return of how many spikes the traces are read where, of few channels, they would be of so many."""
    return max(min(number, number * 128 // sorted_recording.channel_ids.size), number // 3)


def evenly_chosen(spikes: Int[np.ndarray, " spike"], number: int) -> Int[np.ndarray, " chosen"]:
    """Return at most so many of some spikes, spread evenly over them."""
    return spikes if spikes.size <= number else spikes[np.linspace(0, spikes.size - 1, number).astype("int64")]


def read_snippets(
    sorted_recording: SortedRecording, spikes: Int[np.ndarray, " spike"], channels: Int[np.ndarray, " channel"]
) -> Snippets:
    """Return the traces around spikes; those that reach over an end of their segment, or have no traces, are left out.

    Parameters
    ----------
    sorted_recording : SortedRecording
    spikes : ndarray of int64, shape (spike,)
        Positions among all spikes.
    channels : ndarray of int64, shape (channel,)
    """
    window, chosen = sorted_recording.window, sorted_recording.units.spikes[spikes]
    starts = chosen["sample_index"] - window.num_before
    lengths = np.array(sorted_recording.num_samples)[chosen["segment_index"]]
    is_inside = (starts >= 0) & (starts + window.width <= lengths)
    kept = np.flatnonzero(is_inside & np.isin(chosen["segment_index"], sorted_recording.segments))
    whitened = sorted_recording.whitened
    if whitened is None:
        return Snippets(spikes=spikes[:0], values=np.zeros((0, channels.size, window.width), "float32"))
    values = np.zeros((kept.size, channels.size, window.width), "float32")
    has_all = whitened.get_num_channels() == sorted_recording.channel_ids.size
    wanted = (whitened.channel_ids if has_all else sorted_recording.channel_ids)[channels]
    used = np.flatnonzero(np.isin(wanted, whitened.channel_ids))  # others have no traces, and are silent
    for place, segment in enumerate(sorted_recording.segments.tolist()):
        mine = np.flatnonzero(chosen["segment_index"][kept] == segment)
        if mine.size and used.size:
            read = read_windows(whitened, place, starts[kept[mine]], wanted[used], window.width)
            values[np.ix_(mine, used)] = np.concatenate(list(read)).transpose(0, 2, 1)
    return Snippets(spikes=spikes[kept], values=values)


def fit_features(sorted_recording: SortedRecording, snippets: Sequence[Snippets], unit: int) -> FeatureSpace | None:
    """Return the principal components of waveforms of several units together; None of fewer than four spikes.

    Parameters
    ----------
    sorted_recording : SortedRecording
    snippets : sequence of Snippets
        Of the units, on the channels of the leading one.
    unit : int
        The leading one.
    """
    if sum(len(one.spikes) for one in snippets) <= NUM_COMPONENTS:
        return None
    stacked = np.concatenate([one.values for one in snippets])
    values = stacked.reshape(len(stacked), -1)
    channels = channels_of(sorted_recording, unit)
    return FeatureSpace(
        channels=channels,
        depths=sorted_recording.locations[channels, 1],
        pca=PCA(NUM_COMPONENTS, svd_solver="randomized", random_state=0).fit(values),
    )


def read_all(sorted_recording: SortedRecording, unit: int, channels: Int[np.ndarray, " channel"]) -> Iterator[Snippets]:
    """Yield the traces around all spikes of a unit, as many at a time as memory should hold.

    Parameters
    ----------
    sorted_recording : SortedRecording
    unit : int
    channels : ndarray of int64, shape (channel,)
    """
    mine = spikes_of_units(sorted_recording)[unit]
    for start in range(0, mine.size, BATCH):
        yield read_snippets(sorted_recording, mine[start : start + BATCH], channels)


def mean_waveforms(sorted_recording: SortedRecording, units: Sequence[int]) -> Waveforms | None:
    """Return the mean whitened waveforms of some spikes of each unit, where its atom is seen; None without traces.

    Parameters
    ----------
    sorted_recording : SortedRecording
    units : sequence of int
        Indices of the units.
    """
    if sorted_recording.whitened is None:
        return None
    most, parts = affordable(MAX_AVERAGED, sorted_recording), []
    for unit in units:
        waveforms = atom_waveforms(sorted_recording, [unit])
        spikes = evenly_chosen(spikes_of_units(sorted_recording)[unit], most)
        snippets = read_snippets(sorted_recording, spikes, waveforms.channel)
        if len(snippets.spikes):
            mean = snippets.values.mean(axis=0)
            before = np.full(waveforms.channel.size, sorted_recording.window.num_before)
            waveforms = replace(waveforms, values=mean, num_before=before)
        parts.append(waveforms)
    return join_waveforms(parts)


def centers_of_mass(
    values: Float[np.ndarray, "spike channel sample"], depths: Float[np.ndarray, " channel"]
) -> Float[np.ndarray, " spike"]:
    """Return where spikes come from along the probe (um): mean depths of channels, by the squares of their extents."""
    weights = np.ptp(values, axis=2) ** 2
    return weights @ depths / np.maximum(weights.sum(axis=1), 1e-12)


def is_inside(
    x: Float[np.ndarray, " point"], y: Float[np.ndarray, " point"], corners: Sequence[Sequence[float]]
) -> Bool[np.ndarray, " point"]:
    """Return which points lie within a polygon: a line to the right crosses its border an odd number of times.

    Parameters
    ----------
    x, y : ndarray, shape (point,)
    corners : sequence of pairs of float
    """
    found = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if y0 != y1:
            found ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return found
