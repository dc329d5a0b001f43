"""What is assumed of units: which there are, what their templates are, which are parts or sums of others."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialAssumptions:
    """Which peaks make the first templates."""

    min_cluster_sizes: tuple[int, int] = (8, 12)
    """Bounds of the smallest cluster, within which one peak for each second of signal will do (peaks). Lower for rare
    units and more clusters of noise; the upper bound is also how many waveforms a template without events is the mean
    of.

    Chosen.
    """
    exclude_sweep_ms: float = 1.5
    """A peak this close to a larger one within `detection_radius_um` does not count (ms); shorter, and later phases of
    a spike become clusters, longer, and overlapping spikes are missed.

    Chosen.
    """
    opposite_sweep_ms: float = 2.0
    """A trough and a positive peak this close, within `detection_radius_um`, are taken for phases of one spike (ms);
    shorter, and wide spikes are found twice.

    Measured on a Purkinje cell, whose phases lie 0.9 and 1.5 ms apart.
    """
    matched_filter_below_s: float = 15.0
    """In a shorter recording peaks come from a matched filter, which finds fainter ones (s). Elsewhere it led to no
    better units, since atoms do the same, and took as long as all the rest of the initialization.

    Chosen: no length in between was measured.
    """
    min_early_phase: float = 0.25
    """A phase of the median peak this large before the window makes the window longer (fraction of the height). Noise
    alone has 0.14 of the lowest peaks; raise for shorter templates, lower to hold smaller phases.

    Measured 1.0 ms before the peak: 0.81 in a Purkinje cell, 0.09 to 0.13 in five other recordings.
    """
    early_flank_ms: float = 0.25
    """Such a window begins this much before the phase, whose beginning is smaller (ms).

    Chosen. The Purkinje cell's window becomes 1.5 ms with it; with 1.25 ms a part of it was a unit of its own.
    """
    cluster_window: tuple[float, float] = (0.5, 0.75)
    """Part of `ms_before` and of `ms_after` in which peaks are told from each other (fractions). Wider, and the
    noise of more samples hides the difference.

    Chosen: the window of SpikeInterface's clustering, 0.5 and 1.5 ms, where templates have their usual length.
    """
    num_cluster_components: int = 5
    """Temporal components of a peak that is clustered, or as many as it has samples there (components); more for fine
    differences and more noise.

    Chosen: SpikeInterface's number.
    """
    cluster_jitter_ms: float = 0.2
    """A cluster whose median waveform is largest this far from its peaks is none (ms); longer, and other phases of a
    spike become clusters.

    Chosen: SpikeInterface's limit.
    """
    split_radius_um: float = 60.0
    """Channels this close to a cluster's own tell its parts apart (um); wider, and the noise of more channels hides the
    difference.

    Chosen with the prototype.
    """
    num_split_features: int = 5
    """Principal components on which a cluster is cut (components); more for fine differences and more noise.

    Chosen with the prototype.
    """
    min_channel_peak: float = 0.5
    """A channel on which a first template stays below this is none of its channels (noise sd); raise for narrow
    templates, lower for the noise of medians on far channels.

    Chosen with the prototype.
    """
    single_peak_weight: float = 0.3
    """Weight of the waveforms of single peaks in the temporal basis (fraction of that of all templates). They are noisy
    and only fill what the templates leave free; without them, few templates would span too little to learn another
    shape.

    Chosen.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitAssumptions:
    """What makes a unit, and what its template is."""

    min_norm_to_noise: float = 6.0
    """Smallest norm of a template that is learned (noise sd of its correlation map). Lower for small units and for
    clusters of noise, raise for fewer of both.

    Chosen, and raised once, from 5.5. The prototype never found two units of 5 to 6 on `lowsnr32`.
    """
    min_norm_to_noise_given: float = 3.5
    """The same for a template that the user gives (noise sd of its correlation map), whose unit is known to exist: it
    only has to be worth its false spikes.

    Calculated: a smaller template, at 15 Hz, would have more spikes missed or false than found.
    """
    max_template_error: float = 1.0
    """Norm of what the compression of a given template may leave of it (noise sd): so much hides in the noise along any
    direction. Raise for fewer filters, lower for exact spikes of every size.

    Calculated, not measured; noise of 1 hides it in spikes of any size.
    """
    min_events: int = 25
    """Fewest events of a unit, and of each half of one that is split (events); lower for rare units and more false
    ones.

    Chosen with the prototype.
    """
    clear_norm_to_noise: float = 12.0
    """A template of this norm is no cluster of noise (noise sd of its correlation map); raise for fewer false units,
    lower for more rare ones.

    Chosen: twice `min_norm_to_noise`, near which noise made clusters.
    """
    min_clear_events: int = 12
    """Fewest events of a unit with such a template (events): as many as the smallest cluster of a long recording has.

    Measured on 24 units of 0.05 to 2 Hz in 600 s on 32 channels: with `min_events` four of them were lost.
    """
    min_event_rate_hz: float = 0.3
    """Where a recording is so short that this makes fewer events than asked for, so many will do (Hz).

    Chosen.
    """
    min_waveforms: int = 15
    """Fewest waveforms for a mean, a median or a separation to be taken (events): below, a unit keeps its template and
    is compared by it alone.

    Chosen with the prototype.
    """
    min_crest_to_trough: float = 1.3
    """A spike is found, and timed, by its trough, unless its positive peak is larger by this (ratio): of two phases of
    about one size, noise would choose another one each time.

    Chosen.
    """
    max_peak_shift_ms: float = 1.2
    """The extremum of a unit's mean waveform is sought this far from that of its atom (ms): whitening can make any
    phase of a spike the largest. Longer, and the time may be that of another phase.

    Measured on a Purkinje cell, whose atom peaks 1.07 ms before its trough; on tetrodes with 16 um between contacts
    atoms were up to 0.5 ms off.
    """
    trimmed_fraction: float = 0.1
    """Events with most unexplained energy that are left out of a template, and again those farthest from the median
    (fraction of the events). Raise against collisions, lower to use more events.

    Chosen with the prototype.
    """
    min_channel_norm: float = 1.0
    """A channel on which the norm of a template is below this is none of its channels (noise sd); raise for narrow and
    fast templates, lower for far channels and the noise of means on them.

    Chosen.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureAssumptions:
    """Which units are one, two, or part of another. The separation d' is the user's: `merge_threshold`."""

    max_lag_ms: float = 0.5
    """Templates are compared at the best delay within this, either way (ms); longer, and other phases of other
    waveforms seem alike.

    Chosen with the prototype.
    """
    far_distance: float = 12.0
    """Units whose templates differ by less are near: their waveforms are compared (noise sd of a channel).

    Chosen with the prototype, where two neurons of 63 and 186 spikes lay 15 apart.
    """
    far_fraction: float = 0.55
    """So are units whose templates differ by less than this (fraction of the geometric mean of their norms). Near units
    of too few waveforms to compare are one. Raise either to join more parts of drifting neurons, lower to keep
    neighbors.

    Measured with the prototype: true pairs differed by 0.39 and more, parts of one neuron by up to 0.53 under drift.
    """
    same_shape_fraction: float = 0.25
    """Units whose templates differ by less are one, whatever their waveforms and times say (fraction of the geometric
    mean of their norms). Raise to join parts that collisions, jitter and amplitudes make, lower to keep neurons of one
    shape.

    Measured with the prototype: true pairs differed by 0.39 and more, parts of one neuron by 0.20 to 0.35; at 0.30
    `lowsnr32`, `dev_tetrode` and `dev_neuronexus32` gained nothing, and under drift 0.25 was better (0.852 to 0.810).
    """
    repeat_distance: float = 7.0
    """A new template nearer than this to another one is not admitted, and groups of a unit's waveforms whose means are
    nearer are one (noise sd of a channel): encoding cannot tell them apart. Lower to admit more.

    Chosen with the prototype: about four times the noise of a correlation map, which was 1.5 to 1.9. Simulated since
    (`benchmarks/thresholds.py`) in white noise of 1: two neurons 6 apart stay one for it alone, 8 apart are split.
    """
    num_split_components: int = 5
    """Principal components of its waveforms on which a unit is split (components); more for fine differences and more
    noise.

    Chosen with the prototype.
    """
    companion_lag_ms: float = 0.5
    """Events of two atoms this close may be of one spike whose own atom is missing (ms).

    Chosen.
    """
    min_companion_excess: float = 5.0
    """They are, if at one lag, give or take a sample, there are so many times more than at the others (ratio). Lower to
    look at more, raise where units fire in synchrony.

    Chosen.
    """
    min_accompanied: float = 0.5
    """Of a group of events at least this part has such a companion if it is theirs (fraction); the rest is chance.

    Chosen.
    """
    satellite_lag_ms: float = 0.5
    """Two events this close belong together (ms): one may be what the other's template leaves.

    Chosen.
    """
    satellite_jitter_ms: float = 0.15
    """They do so at one lag, give or take this (ms); wider, and neurons in synchrony are taken for parts of each other.

    Measured on two recordings with drift and four with bursts: parts had all of their company at one lag; of that of
    a neuron that fires together with another, half was. Simulated, too (`benchmarks/thresholds.py`): of 300
    spikes, all of them within 0.5 ms of a larger unit's, no neuron was dropped at 0.15 ms, every one at 0.2 ms.
    """
    satellite_fraction: float = 0.4
    """A smaller unit of which more accompanies another is a part of it (fraction of its events). Lower to drop more,
    raise to keep neurons that fire in synchrony.

    Simulated (`benchmarks/thresholds.py`): neurons of 300 spikes with up to 0.6 of them within 1 ms of a larger
    unit's were kept, parts dropped from a fraction of 0.5 on; at 0.2 most of the former were, at 0.6 no parts of 0.5.
    """
    satellite_norm: float = 0.67
    """A part's norm is below this (fraction of the norm of the whole); raise to drop larger parts.

    Chosen.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class CollisionAssumptions:
    """Which atoms are sums of others."""

    max_unexplained: float = 0.2
    """A template of which others leave less is a collision (fraction of its norm, beside the noise of its mean). Jitter
    and the spread of amplitudes leave so much of a true one; raise to drop more, lower to keep units that look like
    sums.

    Chosen.
    """
    max_chance_excess: float = 3.0
    """Two units make a collision at one delay by chance up to so many times as often as their rates say (ratio). What
    happens more often is judged by the traces around it. Lower to keep more, raise where units fire in synchrony.

    Chosen.
    """
    max_smeared: float = 0.6
    """A template of which others leave more is none (fraction of its norm); below, its events are looked at one by one,
    since the mean of collisions at varying delays is smeared. Raise for more to look at.

    Chosen.
    """
    amplitudes: tuple[float, float] = (0.75, 1.3)
    """In a collision both spikes have about their usual size, within these (fraction of the atom's scale): with free
    amplitudes a few atoms on few channels fit anything.

    Chosen.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class FragmentAssumptions:
    """Which atoms are one drifting neuron, at the places where it dwells."""

    max_distance: float = 0.75
    """Templates differ by less than this at the best delay (fraction of the geometric mean of their norms); raise to
    join the ends of a longer drift, lower to keep neighbors.

    Measured with the rest of the group and the dropping of parts: the accuracy on `drift32` (seed 11) rose from 0.68 to
    0.93. Not by itself.
    """
    presence_bin_s: float = 3.0
    """Bins in which events are counted to tell whether two atoms fire by turns (s); longer than bursts, shorter than
    the drift.

    Measured with the rest of the group.
    """
    max_presence_score: float = -2.5
    """Atoms fire by turns if the correlation of their counts is below this (standard deviations, Fisher's z); lower to
    join only those that surely do.

    Measured with the rest of the group.
    """
    max_violations: float = 0.1
    """They have no more pairs of events within `RefractoryAssumptions.impossible_ms` than this (fraction of those that
    chance makes of their counts). Neighbors that drift together have about all of them.

    Measured with the rest of the group.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstAssumptions:
    """Which atoms are one neuron whose spikes shrink within bursts."""

    burst_ms: float = 10.0
    """Intervals of a burst end here (ms): pairs of events up to it tell how many there would be within a refractory
    period if two atoms were two neurons. Longer, and the rate of bursts counts for more than what is in them.

    Simulated (`benchmarks/thresholds.py`) with intervals of 3 to 7 ms: at 5 ms and at 20 ms more events are needed.
    """
    max_violations: float = 0.35
    """Atoms of one bursting neuron have no more pairs from `RefractoryAssumptions.one_spike_ms` to the end of its
    `impossible_ms` than this (fraction of those that the intervals up to `burst_ms` would make). Raise to join atoms
    with false events, lower to keep neurons that avoid each other.

    Measured, from 0.4 ms on, on a Purkinje cell: 0.29 of its two largest atoms. Of alike neurons in six
    recordings of which eight or more such pairs were expected, all had 0.9 and more, but for one whose atom held late
    spikes of the other.
    """
    max_false_joins: float = 0.001
    """And this is the chance of so few pairs from two neurons (probability, one pair of atoms): with none of them too
    close, 46 are needed. Raise to join atoms of few events, lower for fewer false joins.

    Simulated (`benchmarks/thresholds.py`): of 1000 pairs of neurons that burst, independently or together, with 50 to
    1000 events, none was joined; atoms of a bursting neuron of 100 events mostly stayed two, of 300 none did.
    """
