"""What is assumed of spikes: how rare they are, how their sizes vary, and how soon one neuron fires again."""

from dataclasses import dataclass

from si_crsae.core.events import encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeAssumptions:
    """How rare spikes are, how large, and how they show in the sparse code."""

    acceptance_log_odds: float = 7.5
    """Log odds against a spike at one sample, 17 Hz at 30 kHz (nats): an event is accepted, and an atom that may be a
    collision stays, where it lowers the objective by more. Raise for fewer false spikes of small units, lower for fewer
    missed ones.

    Measured with the prototype: on `lowsnr32` 6, with lambda at 3.3 of the noise rather than 4, gave an accuracy of
    0.818 instead of 0.891; two tetrodes did not notice when there was no such limit.
    """
    event_price: float = encoder.EVENT_PRICE
    """The same odds, 27 Hz at 30 kHz, where explanations of one place are compared (nats): events that overlap are
    exchanged for others, and other explanations of a spike are weighed, at this price for each event. Raise for fewer
    events, lower for more.

    Chosen when the exchange came, beside the older `acceptance_log_odds`; that they differ by half a nat was never
    measured and has no other reason. The coefficients of the spike probabilities were fitted with it.
    """
    amplitude_spread: float = encoder.AMPLITUDE_SPREAD
    """Standard deviation of the amplitudes of a unit's spikes (fraction of their scale): what an unusual size costs
    where explanations are compared, and what units of few spikes are taken to have. Lower, and size tells more between
    atoms of one shape; raise, and bursts and drift cost less.

    Chosen. In the prototype a prior of 0.07 in the refit itself was worse than none: 0.947 and 0.909 against 0.991 and
    0.984 on two tetrodes.
    """
    max_amplitude: float = 1.6
    """Largest amplitude of an accepted event (fraction of the atom's scale); what is larger is several spikes, another
    unit's or an artifact.

    Chosen with the prototype.
    """
    max_min_amplitude: float = 0.9
    """No atom's smallest accepted amplitude is above this (fraction of the atom's scale), however loud its noise: it
    would refuse spikes of the usual size. The user's `min_amplitude` is the other end.

    Chosen with the prototype.
    """
    max_regularization_to_scale: float = encoder.MAX_REGULARIZATION_TO_SCALE
    """No lambda is above this (fraction of the atom's scale): at 1 nothing of a spike would be left in the code of a
    small unit. Lower, and small units compete with an advantage.

    Chosen with the prototype, for small units only: all lambdas at 0.65 of their scale gave 0.49 on a tetrode.
    """
    regularization_prior_strength: float = 10.0
    """Weight of the Gamma prior of lambda (coefficients per coefficient of the code): where the code is empty, lambda
    becomes 1.1 times its start. Raise to hold it there, lower to let the code decide.

    Chosen after the CRsAE paper, whose lambda settles at 1.12 times its start.
    """
    usual_window_ms: float = 3.0
    """Length of templates that every assumption on the duration of a waveform is made for (ms): the default of
    `ms_before` and `ms_after` together.

    Chosen: that of most sorters.
    """
    slow_window_ms: float = 10.0
    """Templates of this length are not of neurons, whose spikes last 1 to 3 ms: sweeps and lags of waveforms are longer
    by as much as the templates are (ms). Lower, and a user who wants the whole of a spike loses the next one.

    Chosen. Measured on simulated surface EMG of 64 channels at 2 kHz, templates of 25 ms, 8 motor units: an accuracy of
    0.98 and two false units with it, without 0.90 and nine.
    """
    group_gap_ms: float = 0.3
    """Non-zeros of one atom up to this far apart are one event (ms); shorter, and a spike between two samples becomes
    two, longer, and two spikes of a burst become one.

    Chosen with the prototype.
    """
    join_correlation: float = encoder.JOIN_CORRELATION
    """Events of two atoms within `group_gap_ms` are one if the atoms, where they stand, are at least so much alike
    (cosine); lower, and two units at once are taken for one spike.

    Chosen.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class RefractoryAssumptions:
    """How soon a neuron fires again: four answers to four questions."""

    one_spike_ms: float = 0.7
    """Two events of one atom closer than this are one spike found twice, the larger one (ms). Shorter, and what a
    template leaves of its spike counts as another; longer, and second spikes are lost. No statement on neurons.

    Chosen with the prototype.
    """
    impossible_ms: tuple[float, float] = (0.4, 2.0)
    """Delays at which one neuron does not fire twice, either way (ms): events of two atoms at them show that these are
    two neurons. Closer events may be one spike that both atoms share, and beyond a neuron may burst.

    Chosen with the prototype.
    """
    min_expected_pairs: int = 8
    """So many pairs of spikes at those delays must be expected by chance for the pairs that are there to say anything
    (pairs); lower, and few spikes keep two halves of a neuron apart.

    Chosen with the prototype.
    """
    min_share_of_chance: float = 0.5
    """Units with more pairs at those delays are two neurons (fraction of the pairs expected by chance); lower, and
    halves of a neuron with some false spikes stay apart, raise, and neurons that avoid each other are joined.

    Chosen with the prototype.
    """
    short_interval_ms: tuple[float, float] = (0.8, 2.0)
    """Intervals within a unit that count as violations where its spikes are given probabilities (ms): too short for one
    neuron, and yet long enough for the encoder, at `one_spike_ms`, to tell two spikes apart.

    Chosen before the coefficients of the spike probabilities were fitted, which hold for these intervals only.
    """
    reported_ms: float = 1.5
    """Intervals below this make up the property `refractory_violations`, and what the views mark and suggest (ms).
    Decides nothing while sorting.

    Chosen: the usual limit of quality metrics.
    """
