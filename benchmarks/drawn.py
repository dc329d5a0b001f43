"""Recordings drawn from biophysical templates: a kind for each thing that makes units hard to learn.

Templates are those of the data folder; noise and far units are those of the generated cases. Every template has its
largest sample, in which spikes are timed, at the same place, on its largest channel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from probeinterface import Probe
from spikeinterface.core import BaseRecording, BaseSorting
from spikeinterface.core.generate import InjectTemplatesRecording, generate_sorting
from spikeinterface.preprocessing.normalize_scale import ScaleRecording
from true_templates import filter_templates

from si_crsae.config import CrsaeConfig
from si_crsae.evaluation.simulation import (
    GAIN_UV,
    NOISE_LEVEL_UV,
    REFRACTORY_MS,
    CaseSpec,
    add_bursts,
    add_collisions,
    generate_background,
)
from si_crsae.sorting.signal.preprocessing import preprocess

AMPLITUDE_SPREAD = 0.05
# Units that fire with another one: those that share most of their channels.
NUM_PARTNERS = 3
# Noise that distances are measured in, and lags at which two templates are compared.
NOISE_S, NUM_WINDOWS, MAX_LAG = 10.0, 1000, 8
WINDOW = slice(-48, 144)
MIN_DISTANCE, MAX_PAIR_DISTANCE = 5.0, 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bursts:
    """One to some spikes, each smaller by a factor than the one before, and its waveform longer by another."""

    max_spikes: int
    decay: float
    stretch: float
    silence_ms: float
    """After the first spike of a burst, at least; more than `max_spikes` intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What distinguishes one kind of drawn recordings from another."""

    description: str
    """One line for tables."""
    library: str
    """Which templates: tetrode, neuronexus32 or npx64."""
    choose: "Callable[[Library, Kind, np.random.Generator], np.ndarray]"
    """Draws the templates of the units by their index."""
    signs: tuple[float, ...] = ()
    """1 or -1, upside down, for each unit whose template keeps its size."""
    peaks_uV: tuple[float, ...] = ()
    """Or the peak that each unit's template is brought to; upside down where it is negative."""
    peak_range_uV: tuple[float, float] = (40.0, 150.0)
    """Largest absolute sample of the templates that are drawn from."""
    num_channels: int = 0
    """Contacts, those in the middle of the probe; 0 for all."""
    rate_range_hz: tuple[float, float] = (3.0, 10.0)
    """Firing rates; before bursts."""
    duration_s: float = 30.0
    """Unless another length is asked for."""
    num_pairs: int = 0
    """Pairs of units that are alike."""
    bursts: Bursts | None = None
    """What each spike starts, if not None."""
    collision_ratio: float = 0.0
    """Spikes added within 0.5 ms of a neighbor's, as a fraction of all others."""

    @property
    def num_units(self) -> int:
        """How many units are drawn."""
        return len(self.signs or self.peaks_uV)

    def scales(self, templates: np.ndarray) -> np.ndarray:
        """Return what each unit is multiplied with, were it any of the templates: (unit, template)."""
        peaks_uV = np.abs(templates).max(axis=(1, 2))
        if self.peaks_uV:
            return np.divide.outer(np.asarray(self.peaks_uV), peaks_uV)
        return np.multiply.outer(np.asarray(self.signs), np.ones_like(peaks_uV))

    def library_path(self, data_folder: Path) -> Path:
        """Return the file of the templates."""
        return data_folder / "recordings" / f"templates_{self.library}.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """Templates (unit, channel, sample) in uV on contacts at some positions (um), and noise like the recording's."""

    templates: np.ndarray
    num_before: int
    positions_um: np.ndarray
    sampling_frequency: float
    noise_seed: int

    @classmethod
    def load(cls, path: Path, *, num_channels: int, noise_seed: int) -> "Library":
        """Read a file and keep some contacts from the middle of the probe; the only one has every largest channel."""
        content = np.load(path)
        templates, positions = content["templates"].astype("float32"), content["channel_positions"]
        # Probes are flat: the two axes along which contacts differ.
        axes = np.sort(np.argsort(-np.ptp(positions, axis=0), kind="stable")[:2])
        positions = positions[:, axes].astype(float)
        from_middle = np.argsort(np.abs(positions - positions.mean(axis=0)).sum(axis=1), kind="stable")
        kept = np.sort(from_middle[: num_channels or len(positions)])
        largest = np.abs(templates).max(axis=2).argmax(axis=1)
        if num_channels == 1:
            templates = templates[np.arange(len(templates)), largest][:, None]
        else:
            templates = templates[np.isin(largest, kept)][:, kept]
        return cls(
            templates=templates,
            num_before=int(content["peak_sample"]),
            positions_um=positions[kept],
            sampling_frequency=float(content["sampling_rate"]),
            noise_seed=noise_seed,
        )

    def eligible(self, kind: Kind) -> np.ndarray:
        """Return the templates whose peak is as large as the kind wants them."""
        peaks_uV = np.abs(self.templates).max(axis=(1, 2))
        lowest, highest = kind.peak_range_uV
        return np.flatnonzero((peaks_uV > lowest) & (peaks_uV < highest))

    def background(self, duration_s: float) -> BaseRecording:
        """Return the noise of the generated cases on these contacts."""
        probe = Probe(ndim=2, si_units="um")
        probe.set_contacts(self.positions_um, shapes="circle", shape_params={"radius": 5})
        probe.set_device_channel_indices(np.arange(len(self.positions_um)))
        spec = CaseSpec(
            description="",
            make_probe=lambda: probe,
            num_units=1,
            snr_range=(5.0, 10.0),
            rate_range_hz=(3.0, 10.0),
            sampling_frequency=self.sampling_frequency,
        )
        return generate_background(spec, probe, duration_s, self.noise_seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distances:
    """How well two templates, each times a factor, can be told apart: their distance in noise standard deviations.

    Both are whitened as the sorter does, and shifted to where they are most alike. The noise is that along their
    difference: that of the correlation map of an atom which tells them apart.
    """

    products: np.ndarray
    covariances: np.ndarray

    @classmethod
    def of(cls, library: Library, templates: np.ndarray) -> "Distances":
        """Measure templates (unit, channel, sample) in the noise of a library."""
        noise = preprocess(as_int16(library.background(NOISE_S)), CrsaeConfig())
        whitened = filter_templates(noise, templates.transpose(0, 2, 1) / GAIN_UV)
        peak = (whitened.shape[1] - templates.shape[2]) // 2 + library.num_before
        lags = range(-MAX_LAG, MAX_LAG + 1)
        shifted = np.stack([whitened[:, peak + lag + WINDOW.start : peak + lag + WINDOW.stop] for lag in lags])
        shifted = shifted.reshape(len(lags), len(templates), -1)
        traces, width = noise.get_traces(), WINDOW.stop - WINDOW.start
        starts = np.linspace(0, len(traces) - width, NUM_WINDOWS).astype(int)
        windows = np.stack([traces[start : start + width].ravel() for start in starts])
        projections = shifted @ windows.T
        return cls(
            products=np.einsum("ad,lbd->lab", shifted[MAX_LAG], shifted, optimize=True),
            covariances=np.einsum("aw,lbw->lab", projections[MAX_LAG], projections, optimize=True) / NUM_WINDOWS,
        )

    def between(self, first: int, second: int, scales: tuple[float, float]) -> float:
        """Return the distance between two templates, each times its factor."""
        squared, variance = (
            table[MAX_LAG, first, first] * scales[0] ** 2
            + table[MAX_LAG, second, second] * scales[1] ** 2
            # Shifting one back is shifting the other on, but for what leaves the window.
            - scales[0] * scales[1] * (table[:, first, second] + table[::-1, second, first])
            for table in (self.products, self.covariances)
        )
        return float((squared / np.sqrt(np.maximum(variance, 1e-12))).min())


def choose_any(library: Library, kind: Kind, rng: np.random.Generator) -> np.ndarray:
    """Draw units, however much alike they are."""
    return rng.choice(library.eligible(kind), kind.num_units, replace=False)


def choose_apart(library: Library, kind: Kind, rng: np.random.Generator) -> np.ndarray:
    """Draw units that can be told apart: `MIN_DISTANCE` from one another, after `num_pairs` pairs that just can be."""
    distances, scales = Distances.of(library, library.templates), kind.scales(library.templates)
    candidates = rng.permutation(library.eligible(kind)).tolist()
    chosen: list[int] = []

    def distance(candidate: int, unit: int) -> float:
        own = scales[len(chosen), candidate]
        return distances.between(candidate, chosen[unit], (own, scales[unit, chosen[unit]]))

    while len(chosen) < kind.num_units:
        position = len(chosen)
        is_second = position < 2 * kind.num_pairs and position % 2
        for candidate in candidates:
            to_chosen = [distance(candidate, unit) for unit in range(position)]
            if candidate in chosen or min(to_chosen, default=np.inf) < MIN_DISTANCE:
                continue
            if not is_second or to_chosen[-1] <= MAX_PAIR_DISTANCE:
                chosen.append(candidate)
                break
        else:
            # The first of a pair without a partner is drawn again; no other unit runs out of templates.
            candidates.remove(chosen.pop())
    return np.array(chosen)


KINDS = {
    "mixed_tetrode": Kind(
        description="tetrode, 12 units of 35 to 120 uV, some very much alike",
        library="tetrode",
        choose=choose_any,
        signs=(1.0,) * 12,
        peak_range_uV=(35.0, 120.0),
    ),
    "polarity_tetrode": Kind(
        description="tetrode, 8 units, three of them upside down",
        library="tetrode",
        choose=choose_any,
        signs=(1.0,) * 5 + (-1.0,) * 3,
        peak_range_uV=(40.0, 120.0),
    ),
    "polarity_mono": Kind(
        description="1 channel, a large positive unit among three small negative ones",
        library="tetrode",
        num_channels=1,
        choose=choose_apart,
        peaks_uV=(50.0, 70.0, 95.0, -160.0),
    ),
    "bursts_tetrode": Kind(
        description="tetrode, 6 units whose spikes fall and widen within bursts",
        library="tetrode",
        choose=choose_apart,
        signs=(1.0,) * 6,
        peak_range_uV=(50.0, 250.0),
        rate_range_hz=(0.8, 3.0),
        duration_s=60.0,
        # Down to 0.41 of the size, and a fifth longer.
        bursts=Bursts(max_spikes=5, decay=0.8, stretch=1.05, silence_ms=40.0),
    ),
    "long_bursts_tetrode": Kind(
        description="tetrode, 4 units with bursts as long as those of Purkinje cells",
        library="tetrode",
        choose=choose_apart,
        signs=(1.0,) * 4,
        peak_range_uV=(70.0, 420.0),
        rate_range_hz=(0.8, 2.0),
        duration_s=60.0,
        # Down to 0.21 of the size, and a third longer.
        bursts=Bursts(max_spikes=10, decay=0.84, stretch=1.03, silence_ms=80.0),
    ),
    "long_bursts_mono": Kind(
        description="1 channel, one large unit with bursts as long as those of Purkinje cells, and a small one",
        library="tetrode",
        num_channels=1,
        choose=choose_apart,
        peaks_uV=(-400.0, -60.0),
        rate_range_hz=(0.8, 3.0),
        duration_s=60.0,
        bursts=Bursts(max_spikes=10, decay=0.84, stretch=1.03, silence_ms=80.0),
    ),
    "pairs_tetrode": Kind(
        description="tetrode, three pairs of units 5 to 10 noise sd apart, and two others",
        library="tetrode",
        choose=choose_apart,
        signs=(1.0,) * 8,
        num_pairs=3,
    ),
    "rare_neuronexus32": Kind(
        description="32 channels, 24 units of 0.05 to 2 Hz over 10 minutes",
        library="neuronexus32",
        choose=choose_apart,
        signs=(1.0,) * 24,
        rate_range_hz=(0.05, 2.0),
        duration_s=600.0,
    ),
    "faint_neuronexus32": Kind(
        description="32 channels, 24 units of SNR 2.5 to 8",
        library="neuronexus32",
        choose=choose_apart,
        peaks_uV=tuple(np.linspace(2.5 * NOISE_LEVEL_UV, 8.0 * NOISE_LEVEL_UV, 24).tolist()),
        rate_range_hz=(2.0, 12.0),
        duration_s=60.0,
    ),
    "synchrony_neuronexus16": Kind(
        description="16 channels, 10 units, neighbors fire together",
        library="neuronexus32",
        num_channels=16,
        choose=choose_apart,
        signs=(1.0,) * 10,
        collision_ratio=0.2,
    ),
    "synchrony_neuronexus32": Kind(
        description="32 channels, 20 units, neighbors fire together",
        library="neuronexus32",
        choose=choose_apart,
        signs=(1.0,) * 20,
        collision_ratio=0.2,
    ),
    "synchrony_npx64": Kind(
        description="64 channels, 40 units, neighbors fire together",
        library="npx64",
        choose=choose_apart,
        signs=(1.0,) * 40,
        collision_ratio=0.2,
    ),
}


def draw_case(kind: Kind, data_folder: Path, *, duration_s: float, seed: int) -> tuple[BaseRecording, BaseSorting]:
    """Return a recording, not computed yet, and its true sorting; the same for the same seed."""
    rng = np.random.default_rng(seed + 1000)
    library = Library.load(kind.library_path(data_folder), num_channels=kind.num_channels, noise_seed=seed + 7)
    chosen = kind.choose(library, kind, rng)
    scales = kind.scales(library.templates)[np.arange(kind.num_units), chosen]
    templates = library.templates[chosen] * scales[:, None, None].astype("float32")
    sorting = generate_sorting(
        kind.num_units,
        library.sampling_frequency,
        [duration_s],
        firing_rates=draw_rates(kind, rng),  # pyright: ignore[reportArgumentType]
        refractory_period_ms=kind.bursts.silence_ms if kind.bursts else REFRACTORY_MS,
        seed=seed + 3,
    )
    if kind.collision_ratio:
        sorting = add_collisions(sorting, kind.collision_ratio, seed + 3, partners=neighbors(templates))
    falling = 1.0
    variants = {}
    if kind.bursts:
        decay, max_spikes = kind.bursts.decay, kind.bursts.max_spikes
        sorting, falling = add_bursts(sorting, seed + 3, decay=decay, max_spikes=max_spikes)
        stretches = kind.bursts.stretch ** np.arange(max_spikes)
        templates = np.stack([widen(templates, stretch, library.num_before) for stretch in stretches], axis=-1)
        variants["upsample_vector"] = np.rint(np.log(falling) / np.log(decay)).astype("int64")
    sizes = rng.normal(1, AMPLITUDE_SPREAD, np.asarray(sorting.to_spike_vector()).size).clip(0.6, 1.4) * falling
    recording = InjectTemplatesRecording(
        sorting,
        templates.swapaxes(1, 2),
        nbefore=library.num_before,
        amplitude_factor=sizes.tolist(),
        parent_recording=library.background(duration_s),
        **variants,
    )
    return as_int16(recording), sorting


def draw_rates(kind: Kind, rng: np.random.Generator) -> np.ndarray:
    """Return a rate for each unit: drawn, or evenly spread over the decades where there are several."""
    lowest, highest = kind.rate_range_hz
    if highest < 10 * lowest:
        return rng.uniform(lowest, highest, kind.num_units)
    return rng.permutation(np.geomspace(lowest, highest, kind.num_units))


def neighbors(templates: np.ndarray) -> list[np.ndarray]:
    """Return the units that share most of its channels with each."""
    footprints = np.linalg.norm(templates, axis=2)
    footprints /= np.linalg.norm(footprints, axis=1, keepdims=True)
    shared = footprints @ footprints.T
    np.fill_diagonal(shared, -1.0)
    return list(np.argsort(-shared, axis=1, kind="stable")[:, :NUM_PARTNERS])


def widen(templates: np.ndarray, factor: float, num_before: int) -> np.ndarray:
    """Return waveforms (unit, channel, sample) stretched in time about their peak."""
    samples = np.arange(templates.shape[2])
    at = num_before + (samples - num_before) / factor
    return np.apply_along_axis(lambda waveform: np.interp(at, samples, waveform), 2, templates).astype("float32")


def as_int16(recording: BaseRecording) -> BaseRecording:
    """Return traces in uV as those of an amplifier."""
    scaled = ScaleRecording(recording, gain=1.0 / GAIN_UV, offset=0.0, dtype="int16")
    scaled.set_channel_gains(np.full(scaled.get_num_channels(), GAIN_UV))
    scaled.set_channel_offsets(np.zeros(scaled.get_num_channels()))
    return scaled
