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
    min_pitch_um: float = 1.0
    """Extent of a probe over the number of its contacts, below which their unit is doubted (um): the densest probes
    have 5 um and more, and 0.02 is 20 um in mm.

    Chosen.
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
    min_line_to_beside: float = 20.0
    """Power at a frequency, to the median of its neighbors, from which on it is taken for hum (ratio).

    Calculated: the power of noise in a slice is 20 times the median with a probability of 2^-20, and in four of eight,
    as their median demands, of 1e-22.
    """
    max_hum_to_noise: float = 1.0
    """Hum that is left after the filter, on any channel, beyond which it is warned of (root mean square, in noise
    standard deviations).

    Measured on a generated tetrode with hum of 50 Hz and its multiples up to 250 Hz: 0.9 cost no accuracy, 2.9 cost
    0.17, and notch filters at the lines gave it back.
    """
    max_sample_to_noise: float = 1e6
    """Largest sample that is taken for one of a recording (noise standard deviations of its channel): artifacts fill
    the range of an amplifier, thousands; beyond this, what filters make of it hides the spikes of a second, and takes a
    minute to explain.

    Chosen.
    """
    max_sample: float = 1e18
    """Largest sample whatever the noise (unit of the traces): squares of larger ones do not fit into float32.

    Chosen.
    """
    min_sampling_hz: float = 1000.0
    """Lowest sampling frequency that is accepted (Hz): below it a spike falls between two samples.

    Chosen.
    """
    min_neuron_sampling_hz: float = 5000.0
    """Sampling frequency below which a recording is taken for one of slower signals than spikes of neurons, where the
    length of templates has to be explained (Hz).

    Chosen.
    """
    min_band_start_hz: float = 1.0
    """Lowest start of the band that is filtered (Hz): filters need five periods of it on either side of every chunk,
    here five times what is wanted of it.

    Chosen.
    """
    min_surface_pitch_um: float = 1000.0
    """Distance of the contacts from which on they are taken for those of surface electrodes (um): no neuron is seen so
    far away, and a template on one channel only is worth a warning.

    Chosen: arrays of penetrating needles have 400 um.
    """
    surface_whitening_pitches: float = 2.5
    """What such a warning recommends for `whitening_radius_um` (distances of contacts): the usual five would whiten
    whole grids at once, whose sources are seen nearly everywhere.

    Measured on simulated surface EMG of 64 channels, 8 motor units, 60 s: an accuracy of 0.99 with no false unit; two
    of them at five, 0.32 at half a distance.
    """
    surface_detect_threshold: float = 3.0
    """What it recommends for `detect_threshold` (noise standard deviations): where units fire all the time, most of
    what is measured as noise is theirs.

    Measured on the same with three seeds and durations: 0.99, 0.998 and 0.999 instead of 0.99, 0.98 and 0.92; where all
    units are seen by all electrodes, 0.997 instead of no unit.
    """
    min_duration_s: float = 3.0
    """Duration, of all segments together, below which a warning says that there are too few spikes to learn from (s);
    the sorting goes on. A neuron that fires five times a second has fifteen spikes until then.

    Chosen. Measured on 16 simulated channels with 6 units of 14 spikes/s: one unit of 0.5 s, all six of 0.8 s and more.
    """
    min_template_samples: int = 8
    """Shortest template that is accepted (samples); fewer do not hold the shape of a spike.

    Chosen.
    """
    max_template_ms: float = 100.0
    """Longest template that is accepted (ms), longer than the waveform of any motor unit: learning takes as much more
    time and memory as templates are long.

    Chosen.
    """
    min_gap_ms: float = 1.0
    """Shortest stretch at one value that is filled before filtering (ms): shorter ones happen to a signal of few
    levels, and ring little, being shorter than the waves that the filter lets through.

    Chosen.
    """
    fade_ms: float = 5.0
    """Time in which the value before such a gap fades to the baseline (ms): slower than a spike, whose band must hold
    nothing of it; the longer, the more of a gap is not silent.

    Chosen.
    """
    min_activity: float = 0.25
    """Noise of a block, over the usual one of its channel, below which nothing was recorded there (fraction). Blocks of
    10 ms of one noise differ by a tenth; an amplifier that is off, or attenuated, leaves a tenth or nothing.

    Chosen.
    """
    min_atom_noise: float = 0.1
    """Least noise that an atom is taken to see (noise standard deviations of a channel): thresholds are multiples of
    it. Whitened traces of any recording so far gave 1 to 2.

    Chosen.
    """
    usual_quantile: float = 0.75
    """Quantile of the noise of blocks that is the usual one (fraction): so much of what is not constant may be faint,
    and the rest may be artifacts.

    Chosen.
    """
    min_digital_share: float = 0.95
    """A channel is a digital line if at least so many of its samples lie within a tenth of either end of its range
    (fraction of the samples): a signal spends most of its time between them.

    Chosen.
    """
    min_level_share: float = 0.01
    """Both levels of a digital line are taken for at least this part of the time (fraction of the samples): a rare
    artifact is no level.

    Chosen.
    """
    stuck_fraction: float = 0.5
    """A channel with at least so many of its samples at one end of its range is left out (fraction of the samples);
    below, it is called saturated, and sorted.

    Chosen.
    """
    min_own_variance: float = 1e-3
    """Variance of a channel that earlier ones do not explain, over its own, below which it is a copy or a sum of them
    (fraction). Amplifiers have noise of their own, tenths of what a channel shows.

    Chosen.
    """
    max_own_variance: float = 1e-2
    """What that may rise to in integers, for the rounding of all channels in a sum (fraction).

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
