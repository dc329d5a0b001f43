"""Lazy simulation of recordings with SpikeInterface's generators: background, spike trains, templates."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import spikeinterface as si
from probeinterface import Probe
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting, Templates
from spikeinterface.core.generate import (
    generate_sorting,
    generate_templates,
    generate_unit_locations,
    inject_templates,
)
from spikeinterface.generation import (
    DriftingTemplates,
    InjectDriftingTemplatesRecording,
    generate_noise,
)
from spikeinterface.preprocessing.normalize_scale import ScaleRecording

from si_crsae.evaluation.drift import Drift, generate_displacements
from si_crsae.sorting.convert import samples_in, whole_samples

MS_BEFORE = 1.5
MS_AFTER = 3.0
REFRACTORY_MS = 3.0
UPSAMPLE_FACTOR = 8
NOISE_LEVEL_UV = 8.0
NOISE_DECAY_UM = 30.0
GAIN_UV = 0.195
FAR_SNR_RANGE = (0.3, 1.2)
FAR_RATE_RANGE_HZ = (4.0, 12.0)
BURST_DECAY = 0.85
BURST_INTERVAL_MS = (3.0, 7.0)
BURST_MAX_SPIKES = 5
BURST_SILENCE_MS = 40.0
MIN_AMPLITUDE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSpec:
    """What distinguishes one kind of generated recording from another."""

    description: str
    """One line for tables."""
    make_probe: Callable[[], Probe]
    """Builds the probe."""
    num_units: int
    """Number of units that a sorter should find."""
    snr_range: tuple[float, float]
    """Peak of the template over the noise level of its channel, unfiltered, evenly spread over the units.

    A spike-band filter raises it by 1.1 to 1.4.
    """
    rate_range_hz: tuple[float, float]
    """Firing rates, uniform between these bounds."""
    collision_ratio: float = 0.0
    """Spikes added within 0.5 ms of another unit's, as a fraction of all others."""
    minimum_distance_um: float = 18.0
    """Closest pair of units."""
    sampling_frequency: float = 30000.0
    """In hertz."""
    bursts: bool = False
    """If True, each spike starts a burst of 1 to 5 spikes of falling amplitude."""
    drift: Drift | None = None
    """Motion along the probe."""
    amplitude_spread: float = 0.0
    """Standard deviation of the sizes of a unit's spikes, as a fraction of their mean."""


def simulate(spec: CaseSpec, *, duration_s: float, seed: int) -> tuple[BaseRecording, BaseSorting]:
    """Generate a recording and its true sorting from a specification.

    Parameters
    ----------
    spec : CaseSpec
        Probe, units and what happens to them.
    duration_s : float
        Length in seconds.
    seed : int
        Same seed, same recording.

    Returns
    -------
    recording : BaseRecording
        Lazy, int16, with gains to uV.
    sorting : BaseSorting
        True spikes, at the trough; properties ``gt_snr`` and ``gt_unit_locations``. Where units move along the probe,
        ``gt_displacement_um`` (time), as often a second as the annotation ``displacement_frequency_hz`` says.
    """
    # A seed per ingredient: with one shared seed, positions and waveforms would come from the same random numbers.
    train_seed, unit_seed, noise_seed = np.random.SeedSequence(seed).generate_state(3).tolist()
    probe = spec.make_probe()
    probe.set_device_channel_indices(np.arange(probe.get_contact_count()))
    background = generate_background(spec, probe, duration_s, noise_seed)
    sorting, amplitudes = _generate_train(spec, duration_s, train_seed)
    generate = _inject_static if spec.drift is None else _inject_drifting
    recording = generate(spec, background, sorting, amplitudes, unit_seed)
    num_channels = recording.get_num_channels()
    recording = ScaleRecording(recording, gain=1.0 / GAIN_UV, offset=0.0, dtype="int16")
    recording.set_channel_gains(np.full(num_channels, GAIN_UV))
    recording.set_channel_offsets(np.zeros(num_channels))
    recording.annotate(is_filtered=False)
    return recording, sorting


def spike_amplitudes(spec: CaseSpec, *, duration_s: float, seed: int) -> np.ndarray:
    """Return the size of each true spike of the recording that `simulate` generates, relative to its template.

    Parameters
    ----------
    spec : CaseSpec
    duration_s : float
        Length in seconds.
    seed : int
        All three as given to `simulate`.

    Returns
    -------
    np.ndarray, shape (spike,)
        In the order of ``sorting.to_spike_vector()``.
    """
    train_seed = int(np.random.SeedSequence(seed).generate_state(3)[0])
    sorting, amplitudes = _generate_train(spec, duration_s, train_seed)
    return np.ones(np.asarray(sorting.to_spike_vector()).size) if amplitudes is None else amplitudes


def generate_background(spec: CaseSpec, probe: Probe, duration_s: float, seed: int) -> BaseRecording:
    """Correlated noise plus the spikes of units too far away to be sorted."""
    noise_seed, train_seed, place_seed, snr_seed = np.random.SeedSequence(seed).generate_state(4).tolist()
    noise = generate_noise(
        probe,
        spec.sampling_frequency,
        [duration_s],
        noise_levels=NOISE_LEVEL_UV,
        spatial_decay=NOISE_DECAY_UM,
        seed=noise_seed,
    )
    noise.set_probe(probe)
    num_far = max(16, probe.get_contact_count())
    sorting = generate_sorting(
        num_far,
        spec.sampling_frequency,
        [duration_s],
        firing_rates=FAR_RATE_RANGE_HZ,  # pyright: ignore[reportArgumentType]
        refractory_period_ms=REFRACTORY_MS,
        seed=train_seed,
    )
    locations = generate_unit_locations(
        num_far,
        probe.contact_positions,
        margin_um=80.0,
        minimum_z=60.0,
        maximum_z=120.0,
        minimum_distance=None,  # pyright: ignore[reportArgumentType]
        seed=place_seed,
    )
    snr = np.random.default_rng(snr_seed).uniform(*FAR_SNR_RANGE, num_far)
    templates = _unit_peak_templates(spec, probe, locations, place_seed) * (snr * NOISE_LEVEL_UV)[:, None, None, None]
    return _inject(noise, sorting, templates, amplitudes=None, seed=train_seed)


def _inject_static(
    spec: CaseSpec, background: BaseRecording, sorting: BaseSorting, amplitudes: np.ndarray | None, seed: int
) -> BaseRecording:
    """Add the units to the background, spikes between samples."""
    locations, peaks_uV = _place_units(spec, background, sorting, seed)
    templates = _unit_peak_templates(spec, background.get_probe(), locations, seed) * peaks_uV[:, None, None, None]
    return _inject(background, sorting, templates, amplitudes=amplitudes, seed=seed)


def _inject_drifting(
    spec: CaseSpec, background: BaseRecording, sorting: BaseSorting, amplitudes: np.ndarray | None, seed: int
) -> BaseRecording:
    """Add units to the background that move up and down the probe together."""
    locations, peaks_uV = _place_units(spec, background, sorting, seed)
    probe = background.get_probe()
    assert spec.drift is not None, "only what moves is injected so"
    moving = generate_displacements(spec.drift, locations[:, :2], duration_s=background.get_total_duration(), seed=seed)
    sorting.annotate(displacement_frequency_hz=moving.frequency_hz)
    sorting.set_property("gt_displacement_um", moving.of_unit_um.T)
    static = _unit_peak_templates(spec, probe, locations, seed, normalize=False)[..., 0]
    scale = (peaks_uV / np.abs(static).max(axis=(1, 2)))[:, None, None]
    moved = [
        _unit_peak_templates(spec, probe, locations + np.append(step_um, 0.0), seed, normalize=False)[..., 0] * scale
        for step_um in moving.steps_um
    ]
    templates = DriftingTemplates.from_static_templates(
        Templates(static * scale, spec.sampling_frequency, _num_before(spec.sampling_frequency), probe=probe)
    )
    templates.templates_array_moved = np.stack(moved).astype("float32")
    templates.displacements = moving.steps_um
    return InjectDriftingTemplatesRecording(
        sorting,
        templates,
        parent_recording=background,
        displacement_vectors=[moving.vectors],
        displacement_sampling_frequency=moving.frequency_hz,
        displacement_unit_factor=moving.unit_factors,
        amplitude_factor=amplitudes,
    )


def _place_units(
    spec: CaseSpec, background: BaseRecording, sorting: BaseSorting, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Locations (unit, xyz) and template peaks (unit,) in uV that give the wanted signal-to-noise ratios."""
    probe = background.get_probe()
    locations = generate_unit_locations(
        spec.num_units,
        probe.contact_positions,
        margin_um=10.0,
        minimum_z=5.0,
        maximum_z=40.0,
        minimum_distance=spec.minimum_distance_um,
        seed=seed,
    )
    noise_levels = si.get_noise_levels(
        background, return_in_uV=False, random_slices_kwargs={"seed": seed}, progress_bar=False
    )
    templates = _unit_peak_templates(spec, probe, locations, seed)
    main_channels = np.abs(templates).max(axis=(1, 3)).argmax(axis=1)
    snr = np.random.default_rng(seed).permutation(np.linspace(*spec.snr_range, spec.num_units))
    sorting.set_property("gt_snr", snr)
    sorting.set_property("gt_unit_locations", locations)
    return locations, snr * noise_levels[main_channels]


def _unit_peak_templates(
    spec: CaseSpec, probe: Probe, locations: np.ndarray, seed: int, *, normalize: bool = True
) -> np.ndarray:
    """Templates (unit, sample, channel, sub-sample shift), largest absolute value 1 unless told otherwise."""
    templates = generate_templates(
        probe.contact_positions,
        locations,
        spec.sampling_frequency,
        MS_BEFORE,
        MS_AFTER,
        seed=seed,
        upsample_factor=UPSAMPLE_FACTOR,
        unit_params={"alpha": 1.0},
    )
    if normalize:
        templates /= np.abs(templates).max(axis=(1, 2, 3), keepdims=True)
    return templates


def _inject(
    parent: BaseRecording,
    sorting: BaseSorting,
    templates: np.ndarray,
    *,
    amplitudes: np.ndarray | None,
    seed: int,
) -> BaseRecording:
    """Add a sorting's spikes to a recording, each at a random fraction of a sample."""
    num_spikes = np.asarray(sorting.to_spike_vector()).size
    recording = inject_templates(
        sorting,
        templates.astype("float32"),
        nbefore=_num_before(sorting.sampling_frequency),
        amplitude_factor=amplitudes,  # pyright: ignore[reportArgumentType]
        parent_recording=parent,
        upsample_vector=np.random.default_rng(seed).integers(0, templates.shape[3], num_spikes),
    )
    recording.set_probe(parent.get_probe())
    return recording


def _num_before(sampling_frequency: float) -> int:
    return whole_samples(MS_BEFORE, sampling_frequency)


def _generate_train(spec: CaseSpec, duration_s: float, seed: int) -> tuple[BaseSorting, np.ndarray | None]:
    """Draw the true sorting and, where they vary, the amplitude of each of its spikes."""
    sorting = generate_sorting(
        spec.num_units,
        spec.sampling_frequency,
        [duration_s],
        firing_rates=spec.rate_range_hz,  # pyright: ignore[reportArgumentType]
        refractory_period_ms=BURST_SILENCE_MS if spec.bursts else REFRACTORY_MS,
        seed=seed,
    )
    amplitudes = None
    if spec.bursts:
        sorting, amplitudes = add_bursts(sorting, seed)
    elif spec.collision_ratio:
        sorting = add_collisions(sorting, spec.collision_ratio, seed)
    if spec.amplitude_spread:
        num_spikes = np.asarray(sorting.to_spike_vector()).size
        rng = np.random.default_rng([seed, num_spikes])
        varied = np.clip(rng.normal(1.0, spec.amplitude_spread, num_spikes), MIN_AMPLITUDE, None)
        amplitudes = varied if amplitudes is None else amplitudes * varied
    return sorting, amplitudes


def add_collisions(
    sorting: BaseSorting, ratio: float, seed: int, *, partners: list[np.ndarray] | None = None
) -> BaseSorting:
    """Add spikes within 0.5 ms of another unit's, where the refractory period allows.

    Parameters
    ----------
    sorting : BaseSorting
        One segment.
    ratio : float
        Spikes to add, as a fraction of those that there are.
    seed : int
    partners : list of ndarray of int, optional
        For every unit the indices of those that fire with it; all others if left out.

    Returns
    -------
    BaseSorting
        The same units, with more spikes.
    """
    rng = np.random.default_rng(seed)
    spikes = np.asarray(sorting.to_spike_vector())
    refractory = samples_in(REFRACTORY_MS, sorting.sampling_frequency)
    added = rng.choice(spikes, size=int(ratio * spikes.size), replace=False)
    num_units = sorting.get_num_units()
    if partners is None:
        added["unit_index"] = (added["unit_index"] + rng.integers(1, num_units, added.size)) % num_units
    else:
        added["unit_index"] = [rng.choice(partners[unit]) for unit in added["unit_index"]]
    shift_limit = whole_samples(0.5, sorting.sampling_frequency)
    added["sample_index"] += rng.integers(-shift_limit, shift_limit + 1, added.size)
    added = added[(added["sample_index"] >= 0) & (added["sample_index"] <= spikes["sample_index"][-1])]
    everything = np.concatenate([spikes, added])
    is_added = np.arange(everything.size) >= spikes.size
    order = np.lexsort([everything["sample_index"], everything["unit_index"]])
    everything, is_added = everything[order], is_added[order]
    too_close = (np.diff(everything["sample_index"]) < refractory) & (
        np.diff(everything["unit_index"].astype("int64")) == 0
    )
    refused = is_added & (np.append(False, too_close) | np.append(too_close, False))
    return _sorted_sorting(everything[~refused], sorting)[0]


def add_bursts(
    sorting: BaseSorting, seed: int, *, decay: float = BURST_DECAY, max_spikes: int = BURST_MAX_SPIKES
) -> tuple[BaseSorting, np.ndarray]:
    """Let each spike start a burst; amplitudes fall by a constant factor from one spike to the next.

    Parameters
    ----------
    sorting : BaseSorting
        One segment; units are silent for as long as the longest burst takes, at most 7 ms a spike, after each spike.
    seed : int
    decay : float, default: 0.85
        That factor.
    max_spikes : int, default: 5
        A burst has 1 to so many.

    Returns
    -------
    sorting : BaseSorting
        The same units, with more spikes.
    amplitudes : ndarray, shape (spike,)
        Size of each spike relative to the first of its burst, in the order of ``sorting.to_spike_vector()``.
    """
    rng = np.random.default_rng(seed)
    onsets = np.asarray(sorting.to_spike_vector())
    samples_per_ms = samples_in(1.0, sorting.sampling_frequency)
    intervals = rng.uniform(*BURST_INTERVAL_MS, (onsets.size, max_spikes)) * samples_per_ms
    intervals[:, 0] = 0.0
    num_spikes = rng.integers(1, max_spikes, onsets.size, endpoint=True)
    spikes = np.repeat(onsets[:, None], max_spikes, axis=1)
    spikes["sample_index"] += np.cumsum(intervals, axis=1).astype("int64")
    positions = np.broadcast_to(np.arange(max_spikes), spikes.shape)
    keep = (positions < num_spikes[:, None]) & (spikes["sample_index"] <= onsets["sample_index"][-1])
    bursting, order = _sorted_sorting(spikes[keep], sorting)
    return bursting, decay ** positions[keep][order].astype("float64")


def _sorted_sorting(spikes: np.ndarray, like: BaseSorting) -> tuple[BaseSorting, np.ndarray]:
    """Sorting of these spikes with the units of another one, and the order that sorts them by time."""
    order = np.lexsort([spikes["unit_index"], spikes["sample_index"]])
    return NumpySorting(spikes[order], like.sampling_frequency, like.unit_ids), order
