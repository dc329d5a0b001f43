"""What can be wrong with where the channels are."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree
from spikeinterface.core import BaseRecording
from spikeinterface.preprocessing import get_motion_presets

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.drift.estimation import shows_motion
from si_crsae.sorting.signal.recording import split_groups


def geometry_problems(recording: BaseRecording, config: CrsaeConfig) -> Iterator[str]:
    """Yield what is wrong with groups and locations of the channels, and with the motion that is asked for."""
    groups = recording.get_property("group")
    unset = [] if groups is None else [index for index, group in enumerate(groups) if group is None or group != group]
    if unset:
        yield (
            f"property 'group' is NaN or None for channels {recording.channel_ids[unset].tolist()}: give every channel "
            "a group, recording.set_property('group', values), or remove these channels (recording.remove_channels)"
        )
        return
    if recording.has_probe():
        if recording.is_probe_3d():
            yield (
                "channel locations have 3 coordinates, 2 are allowed: project the probe on the plane of its contacts, "
                "recording.set_probe(recording.get_probe().to_2d(axes='xy'))"
            )
        elif not np.isfinite(recording.get_channel_locations()).all():
            yield "channel locations hold NaN or inf: give every contact a position (um), then recording.set_probe"
    if config.apply_motion_correction is not False and config.motion_correction_preset not in get_motion_presets():
        known = ", ".join(preset for preset in get_motion_presets() if preset)
        yield f"motion_correction_preset = {config.motion_correction_preset!r} is unknown; choose one of {known}"
    if config.apply_motion_correction is True:
        yield from _motion_problems(recording, config)


def _motion_problems(recording: BaseRecording, config: CrsaeConfig) -> Iterator[str]:
    if not config.apply_preprocessing:
        yield "apply_motion_correction = True needs apply_preprocessing = True; set both or neither"
    if not recording.has_probe():
        yield "apply_motion_correction = True needs channel locations: attach a probe, or set it to False"
    elif not all(shows_motion(group) for group in split_groups(recording)):
        drift = ASSUMED.drift
        yield (
            f"apply_motion_correction = True needs {drift.min_channels} channels or more in every group, over "
            f"{drift.min_span_um:g} um along the second axis of the probe, in rows no more than "
            f"{drift.max_row_distance_um:g} um apart: set it to 'auto', or group the channels by shank"
        )
    if config.learning == "backpropagation" and config.motion_correction_mode == "templates":
        yield (
            "apply_motion_correction = True with motion_correction_mode = 'templates' needs learning = 'closed_form': "
            "back-propagation learns templates that do not move; set motion_correction_mode = 'traces'"
        )


def doubtful_geometry(recording: BaseRecording, config: CrsaeConfig) -> Iterator[str]:
    """Yield what is doubtful about the locations of the channels."""
    if recording.get_num_channels() == 1:
        return
    if not recording.has_probe():
        pitch = f"{ASSUMED.recordings.contact_pitch_um:g}"
        yield (
            f"recording has no probe: its contacts are taken for a line, {pitch} um apart; attach the real one, as in "
            f"probe = probeinterface.generate_linear_probe(num_elec={recording.get_num_channels()}, ypitch={pitch}) or "
            "generate_tetrode(); probe.set_device_channel_indices(range(probe.get_contact_count())); "
            "recording.set_probe(probe)"
        )
        return
    yield from _small_pitch(recording.get_channel_locations())
    for group in split_groups(recording):
        yield from _far_contacts(group, config)
        locations = group.get_channel_locations()
        num_positions = len(np.unique(locations, axis=0))
        if num_positions < len(locations):
            yield (
                f"{len(locations)} channels share {num_positions} contact positions: those at one position are taken "
                "for the closest of neighbors; if they belong to several shanks, set the property 'group'"
            )


def _small_pitch(locations: Float[np.ndarray, "channel dimension"]) -> Iterator[str]:
    """Say what is wrong with contacts nearer to each other than any are made."""
    distinct = np.unique(locations, axis=0)
    extent = np.ptp(distinct, axis=0).max(initial=0.0) / max(len(distinct) - 1, 1)
    if 0 < extent < ASSUMED.recordings.min_pitch_um:
        yield (
            f"channel locations lie {extent:.3g} um apart on average: they must be in um; if they are in mm, "
            "multiply them by 1000, probe.move and probe.set_contacts or probeinterface's si_units='mm'"
        )


def _far_contacts(group: BaseRecording, config: CrsaeConfig) -> Iterator[str]:
    """Say how far to look where contacts are so far apart that no neuron is seen by two of them."""
    locations, assumed = np.unique(group.get_channel_locations(), axis=0), ASSUMED.recordings
    if len(locations) < 2:
        return
    pitch_um = float(np.median(KDTree(locations).query(locations, k=2)[0][:, 1]))
    if pitch_um < assumed.min_surface_pitch_um or config.template_radius_um >= pitch_um:
        return
    usual = CrsaeConfig()
    radii = ", ".join(
        f"{name} = {getattr(usual, name) / assumed.contact_pitch_um * pitch_um:g}"
        for name in ("template_radius_um", "detection_radius_um")
    )
    whitening_um = assumed.surface_whitening_pitches * pitch_um
    yield (
        f"contacts are {pitch_um:g} um apart, template_radius_um = {config.template_radius_um:g}: every channel is "
        "sorted by itself, and a source that several channels see, as in surface EMG, becomes several units; for such "
        f"signals set {radii}, whitening_radius_um = {whitening_um:g}, detect_threshold = "
        f"{assumed.surface_detect_threshold:g}; if the locations are not in um, mend them"
    )
