"""What is assumed of recordings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingAssumptions:
    """What a recording looks like that can be sorted, and what is wrong with others."""

    contact_pitch_um: float = 20.0
    """Distance of the contacts, on a line, of a recording without locations (um); the larger, the fewer channels share
    a template and are whitened together.

    Chosen: the pitch of common dense probes.
    """
    min_channels_for_reference: int = 128
    """Number from which on the median of all channels is subtracted (channels). The median of fewer follows their
    spikes, so that two at once no longer add up; above it, what all channels share would stay.

    Measured on `probe32` (seed 11, 90 s): with it an accuracy of 0.994 and three false units, without 1.000 and none.
    From how many channels on it helps was not measured.
    """
    max_frequency_fraction: float = 0.45
    """Highest upper corner of the band-pass filter (fraction of the sampling frequency); at half of it there is none.

    Chosen.
    """
    min_template_samples: int = 8
    """Shortest template that is accepted (samples); fewer do not hold the shape of a spike.

    Chosen.
    """
    saturated_fraction: float = 1e-3
    """A channel with more of its samples at one extreme value is called saturated (fraction of the samples); raise for
    fewer warnings, lower to be warned of rare clipping.

    Chosen.
    """
    min_saturated_samples: int = 10
    """So many samples at least must lie there (samples): a few do so in any short recording.

    Chosen.
    """
    min_quantization_levels: int = 16
    """A channel with fewer levels between its extremes is never called saturated (levels): with so few, extremes are
    common without any clipping.

    Chosen.
    """
