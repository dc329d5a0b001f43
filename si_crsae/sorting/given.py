"""Templates that the user gives: to the channels, the unit and the noise of a recording."""

import warnings
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from spikeinterface.core import BaseRecording, Templates
from spikeinterface.core.motion import Motion
from spikeinterface.preprocessing import scale

from si_crsae.config import CrsaeConfig
from si_crsae.core.events.encoder import Encoder
from si_crsae.core.operators.compression import compress_templates
from si_crsae.core.robust import robust_sd
from si_crsae.core.types import Dictionary
from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.convert import channels_without_gain, local_channels
from si_crsae.sorting.drift.covariance import TemplateCovariance
from si_crsae.sorting.drift.moving import MovingTemplates, move_templates
from si_crsae.sorting.drift.trajectory import Trajectory
from si_crsae.sorting.encoding import encoder_of_tile
from si_crsae.sorting.model import Model, make_encoder, margin_of
from si_crsae.sorting.signal.recording import Tile, describe_bad_sample, plan_tiles, plausible_limits, read_tile
from si_crsae.sorting.signal.sampling import draw_slices, sample_traces

# What the noise is measured on: it is encoded before it can be.
NUM_SAMPLED_TILES, MAX_DRAWN_TILES = 8, 200
MAX_SAMPLED_S = 0.1
# What the first encoding leaves depends on a noise that still had spikes in it.
NUM_NOISE_ESTIMATES = 2
# Neighboring samples tell the same.
NOISE_STRIDE = 5
# What no noise leaves on a map but by a rare chance, where nothing was recorded (its standard deviation is about 1).
NO_CORRELATION = 1e-3
# An event for sure (noise standard deviations), and how large those of templates in the right unit are (fraction).
MIN_EVENT_TO_NOISE, COMMON_SIZES = 8.0, (0.5, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization:
    """How traces become multiples of the noise, channel by channel: ``(traces - baseline) * gain``.

    Parameters
    ----------
    baseline : ndarray of float32, shape (channel,)
        Median of the traces.
    gain : ndarray of float32, shape (channel,)
        One over the noise level; 0 for a channel without noise, which is not looked at.
    """

    baseline: Float[np.ndarray, " channel"]
    gain: Float[np.ndarray, " channel"]

    @classmethod
    def of(cls, recording: BaseRecording, *, seed: int) -> "Normalization":
        """Measure medians and noise levels of a recording's traces, in their own unit.

        Raises
        ------
        ValueError
            If traces are NaN or infinite.
        """
        sample = sample_traces(recording, seed=seed)
        if not np.isfinite(sample.traces).all():
            _refuse_bad_samples(recording)
        noise = sample.noise_levels()
        gain = np.divide(1, noise, where=noise > 0, out=np.zeros_like(noise))
        return cls(baseline=sample.baselines(), gain=gain)

    @property
    def plausible_limits(self) -> Float[np.ndarray, "end channel"]:
        """The lowest and the highest sample of every channel beside which noise and spikes can be told."""
        noise = np.divide(1, self.gain, where=self.gain > 0, out=np.zeros_like(self.gain))
        return plausible_limits(self.baseline, noise)

    def apply(self, recording: BaseRecording) -> BaseRecording:
        """Return the recording with noise of 1 on every channel, computed as it is read."""
        scaled = scale(recording, gain=self.gain, offset=-self.baseline * self.gain, dtype="float32")
        return cast(BaseRecording, scaled)


def _refuse_bad_samples(recording: BaseRecording) -> None:
    largest = np.finfo("float32").max
    limits = np.array([[-largest], [largest]]).repeat(recording.get_num_channels(), axis=1)
    for tile in plan_tiles(recording):
        traces = recording.get_traces(segment_index=tile.segment_index, start_frame=tile.start, end_frame=tile.end)
        problem = describe_bad_sample(recording, traces, limits, segment_index=tile.segment_index, start=tile.start)
        if problem:
            raise ValueError(problem)


def templates_in_traces(recording: BaseRecording, templates: Templates) -> Float[np.ndarray, "unit channel width"]:
    """Return dense templates on the channels of a recording, in the unit of its traces.

    Parameters
    ----------
    recording : BaseRecording
    templates : Templates
        Dense or sparse. Those in uV are divided by the recording's gains, if it has any.

    Returns
    -------
    ndarray of float32, shape (unit, channel, width)

    Raises
    ------
    ValueError
        If the templates are no `Templates`, are of another sampling frequency or of other channels, have ids twice, or
        are NaN or infinite, or if they are in uV and gains are zero.
    """
    if not isinstance(templates, Templates):
        raise ValueError(
            f"templates = {type(templates).__name__}: a spikeinterface.core.Templates is needed, such as "
            "analyzer.get_extension('templates').get_data(outputs='Templates') or Templates(array, sampling_frequency, "
            "nbefore) give"
        )
    for name in ("unit_ids", "channel_ids"):
        ids, counts = np.unique(np.asarray(getattr(templates, name)), return_counts=True)
        if (counts > 1).any():
            raise ValueError(f"templates.{name}: {ids[counts > 1].tolist()} occur more than once; give each its own id")
    if not np.isclose(templates.sampling_frequency, recording.sampling_frequency):
        raise ValueError(
            f"templates.sampling_frequency = {templates.sampling_frequency:g} Hz: the recording has "
            f"{recording.sampling_frequency:g} Hz; estimate the templates from this recording or resample one of them"
        )
    dense = templates.get_dense_templates().astype("float32")
    if not np.isfinite(dense).all():
        bad = np.asarray(templates.unit_ids)[~np.isfinite(dense).all(axis=(1, 2))].tolist()
        raise ValueError(
            f"templates of units {bad} are NaN or infinite: leave them out with templates.select_units, or estimate "
            "them from more spikes"
        )
    dense = dense[:, :, _channel_order(recording, templates)]
    if templates.is_in_uV and recording.has_scaleable_traces():
        if useless := channels_without_gain(recording):
            raise ValueError(
                f"channels {useless} have a gain of zero, or a gain or offset that is NaN or inf: templates in uV need "
                "those of the recording, recording.set_channel_gains and set_channel_offsets"
            )
        dense = dense / recording.get_channel_gains().astype("float32")
    return np.ascontiguousarray(dense.transpose(0, 2, 1))


def _channel_order(recording: BaseRecording, templates: Templates) -> Int[np.ndarray, " channel"]:
    """Return where each channel of the recording stands in the templates: by id, by position if they have no ids."""
    wanted, given = recording.channel_ids.tolist(), np.asarray(templates.channel_ids).tolist()
    if set(wanted) == set(given):
        return np.array([given.index(channel) for channel in wanted], "int64")
    if len(wanted) == len(given) and given == list(range(len(given))):
        return np.arange(len(given))
    missing = [channel for channel in wanted if channel not in given]
    unknown = [channel for channel in given if channel not in wanted]
    raise ValueError(
        f"templates.channel_ids: {len(missing)} channels of the recording are missing {missing[:5]} and {len(unknown)} "
        f"are unknown {unknown[:5]}; select the same channels of both with select_channels"
    )


def encoder_of_templates(
    recording: BaseRecording,
    templates: Float[np.ndarray, "unit channel width"],
    config: CrsaeConfig,
    *,
    num_before: int,
    gain: Float[np.ndarray, " channel"],
    motion: Motion | None = None,
    assumed: Assumptions = ASSUMED,
) -> tuple[Encoder | None, Int[np.ndarray, " atom"]]:
    """Return the encoder of given templates and the unit of each of its atoms.

    The noise that an atom sees is measured where the recording was encoded already: first everything is noise, then
    what an encoding with that noise leaves.

    Parameters
    ----------
    recording : BaseRecording
        Noise of 1 on every channel.
    templates : ndarray of float32, shape (unit, channel, width)
        In units of that noise.
    config : CrsaeConfig
    num_before : int
        Samples of a template before its peak.
    gain : ndarray, shape (channel,)
        What the traces were multiplied by to have that noise.
    motion : Motion, optional
        Of the tissue, in the segments of the recording; the templates are those where it is zero.
    assumed : Assumptions, default: ASSUMED

    Returns
    -------
    encoder : Encoder or None
        None if no template stands out of the noise.
    unit_index : ndarray of int64, shape (atom,)
        Units that do not stand out of the noise have no atom.
    """
    max_error = assumed.units.max_template_error
    unit_index = np.flatnonzero(np.linalg.norm(templates, axis=(1, 2)) > max_error)
    if unit_index.size == 0:
        return None, unit_index
    dictionary = compress_templates(torch.from_numpy(templates[unit_index]), num_before=num_before, max_error=max_error)
    model, trajectory = _with_noise(dictionary, np.ones(unit_index.size, "float32"), config), None
    if motion is not None:
        trajectory = Trajectory.of(motion, recording)
        model = replace(model, moving=_moving(dictionary, recording, config, trajectory, gain, assumed))
    frequency = recording.sampling_frequency
    make = partial(make_encoder, config=config, sampling_frequency=frequency, trajectory=trajectory, assumed=assumed)
    encoder, tiles = make(model), _sample(recording, config.seed)
    maps = [encoder_of_tile(encoder, tile).correlate(read_tile(recording, tile, margin_of(encoder))) for tile in tiles]
    noise = _noise_of_maps(maps)
    for _ in range(NUM_NOISE_ESTIMATES):
        encoder = make(_with_noise(dictionary, noise, config, moving=model.moving), made=encoder)
        there = [encoder_of_tile(encoder, tile) for tile in tiles]
        noise = _noise_of_maps([each.subtract(map_, each.encode(map_)) for each, map_ in zip(there, maps, strict=True)])
    _warn_of_other_units(maps, noise, dictionary.scales.numpy())
    model = _with_noise(dictionary, noise, config, moving=model.moving)
    loud = dictionary.scales.numpy() > assumed.units.min_norm_to_noise_given * noise
    if loud.all():
        return make(model, made=encoder), unit_index
    return make(model.select(loud)) if loud.any() else None, unit_index[loud]


def _moving(
    dictionary: Dictionary,
    recording: BaseRecording,
    config: CrsaeConfig,
    trajectory: Trajectory,
    gain: Float[np.ndarray, " channel"],
    assumed: Assumptions,
) -> MovingTemplates:
    """Return the templates where the tissue may be, each on the channels near to where it is largest."""
    locations = recording.get_channel_locations()[:, :2]
    covariance = TemplateCovariance.of(locations, np.diag(gain), trajectory.steps_um)
    main = dictionary.weights.norm(dim=2).argmax(dim=1).numpy()
    near = local_channels(recording, config.template_radius_um)[main]
    return move_templates(dictionary, near, covariance, locations[:, 1], assumed=assumed)


def _warn_of_other_units(
    maps: list[Float[np.ndarray, "atom shift"]],
    noise: Float[np.ndarray, " atom"],
    scales: Float[np.ndarray, " atom"],
) -> None:
    """Warn of templates that are, all of them, of another size than what is in the traces."""
    largest = np.max([map_.max(axis=1) for map_ in maps if map_.size], axis=0, initial=0.0)
    if not (largest > MIN_EVENT_TO_NOISE * noise).any():
        return
    low, high = COMMON_SIZES
    ratio = largest / scales
    if ratio.max() < low or ratio.min() > high:
        warnings.warn(
            f"templates: the largest events of the traces are {np.median(ratio):.2g} times their size: few or no "
            "spikes will be found; give templates in the unit of the traces (is_in_uV=False), estimated from this very "
            "recording, filtered or whitened as it is, or set its gains (recording.set_channel_gains)",
            UserWarning,
            stacklevel=5,
        )


def _with_noise(
    dictionary: Dictionary,
    noise: Float[np.ndarray, " atom"],
    config: CrsaeConfig,
    *,
    moving: MovingTemplates | None = None,
) -> Model:
    regularization = config.regularization_scale * noise
    return Model(dictionary=dictionary, noise=noise, regularization=regularization, moving=moving or MovingTemplates())


def _sample(recording: BaseRecording, seed: int) -> list[Tile]:
    """Return stretches from all over the recording in which there is a signal, if there are any."""
    drawn = draw_slices(recording, num_slices=MAX_DRAWN_TILES, slice_s=MAX_SAMPLED_S, seed=seed)
    tiles = [Tile(segment_index=segment, start=start, end=end) for segment, start, end in drawn]
    active = (
        tile
        for tile in tiles
        if (robust_sd(read_tile(recording, tile, 0).T.numpy()) >= ASSUMED.recordings.min_activity).any()
    )
    return list(islice(active, NUM_SAMPLED_TILES)) or tiles[:NUM_SAMPLED_TILES]


def _noise_of_maps(maps: list[Float[np.ndarray, "atom shift"]]) -> Float[np.ndarray, " atom"]:
    """Return the noise that each atom sees, where it sees anything."""
    rows = np.concatenate([map_[:, ::NOISE_STRIDE] for map_ in maps], axis=1).T
    silent = np.abs(rows).max(axis=1) < NO_CORRELATION
    noise = robust_sd(rows[~silent]) if silent.any() and not silent.all() else robust_sd(rows)
    return np.maximum(noise, np.float32(ASSUMED.recordings.min_atom_noise))
