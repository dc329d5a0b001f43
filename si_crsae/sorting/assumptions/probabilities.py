"""What is assumed of spikes that are given probabilities."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbabilityAssumptions:
    """How the features are made from which spikes get their probabilities.

    The coefficients were fitted to features made with these values: whoever changes one has to run
    ``benchmarks/spike_probability_fit.py`` again. None was measured by itself; what holds for all is the calibration
    that the benchmarks report.
    """

    max_move_ms: float = 0.25
    """Another explanation of an event stands at most this far from it (ms); farther, and neighbors of the event count
    as its rivals.

    Chosen.
    """
    misfit_ms: tuple[float, float] = (-0.4, 0.6)
    """Stretch around the peak in which the residual is looked at (ms).

    Chosen.
    """
    num_channels: int = 4
    """Channels on which the residual is looked at, those where the atom is strongest (channels); more for differences
    on far channels, and more noise.

    Chosen.
    """
    min_waveforms: int = 30
    """Fewest events of which a direction of largest deviation is sought (events); fewer always have one.

    Chosen.
    """
    noise_ridge: float = 0.05
    """Added to the covariance of the noise before it is inverted (fraction of its mean variance).

    Chosen.
    """
    min_spread: float = 0.02
    """Amplitudes spread by at least this (fraction of the scale): none are all the same. Raise for wider intervals.

    Chosen.
    """
    num_usual_spikes: float = 10
    """So many spikes of the usual spread are taken to have been seen beside a unit's own (spikes); raise to trust the
    spread of few spikes less.

    Chosen.
    """
    max_log_odds: float = 12.0
    """Log odds count no more than this, either way (nats).

    Chosen.
    """
    coincidence_ms: float = 0.5
    """Spikes of two units this close come together (ms).

    Chosen.
    """
    coincidence_sds: float = 2.0
    """Coincidences count from this far beyond chance on (standard deviations of what chance makes).

    Chosen.
    """
    min_hiding: float = 0.3
    """Atoms this much alike hide each other's spikes (cosine).

    Chosen.
    """
    num_presence_bins: int = 10
    """Parts of the code in which a unit's spikes are counted, for how unevenly it fires (bins).

    Chosen.
    """
    num_turn_bins: int = 20
    """Parts of the recording in which spikes are counted, for whether units fire by turns (bins).

    Chosen.
    """
    max_distance: float = 20.0
    """Other templates farther away than this are none that a spike could be taken for (noise sd of the correlation
    map).

    Chosen.
    """
    min_grouped: int = 20
    """Fewest spikes among whose residuals two groups are sought (spikes); fewer are one group.

    Chosen.
    """
    min_group_sd: float = 0.3
    """A group is at least this wide (noise sd): a few equal values are none.

    Chosen.
    """
    min_group_share: float = 0.02
    """A group holds at least this, while groups are sought (fraction of the spikes): none dies out.

    Chosen.
    """
    max_group_odds: float = 8.0
    """Log odds to belong to one of two groups count no more than this, either way (nats).

    Chosen.
    """
    usual_separation: float = 2.0
    """Groups less far apart are two halves of any distribution and say nothing (standard deviations of a group).

    Chosen.
    """
    max_separation_excess: float = 3.0
    """Groups farther apart than `usual_separation` by this, or by more, say all that they can (standard deviations).

    Chosen.
    """
    max_surprise: float = 5.0
    """An amplitude counts as no more unusual than this (standard deviations).

    Chosen.
    """
    max_skew: float = 3.0
    """The third moment of a unit's amplitudes counts no more than this, either way (standard deviations cubed).

    Chosen.
    """
    max_misfit: float = 2.0
    """A residual counts as no more unusual for its unit than this, either way (nats: logarithm of a ratio of energies).

    Chosen.
    """
    max_off_center: float = 6.0
    """A residual counts as no farther from its unit's median than this (noise sd).

    Chosen.
    """
    max_deviation: float = 2.5
    """A feature counts as no farther from its mean than this (standard deviations): beyond lies nothing that was
    fitted.

    Chosen.
    """
    fit_error: float = 1.1
    """Error of a fitted amplitude, since no atom matches its spikes exactly (ratio to what noise makes of it); raise
    for wider intervals.

    Chosen; the benchmarks report how often its intervals hold the true amplitude.
    """
