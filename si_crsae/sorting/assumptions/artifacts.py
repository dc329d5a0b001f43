"""What is assumed of artifacts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactAssumptions:
    """What no neuron can have made."""

    lag_ms: float = 0.5
    """Raw traces are judged by their second difference at this lag (ms): about the time from the trough of a spike to
    its end. Longer, and slow waves and hum count; shorter, and only the steepest edges do.

    Chosen.
    """
    beyond_spikes_to_noise: float = 300.0
    """An artifact bends more than this on most channels at once (noise standard deviations of that difference): a spike
    of 1.5 mV where noise is 5 uV. Lower for fainter artifacts, raise where many cells at a contact fire at once.

    Measured as the largest there is: 54 for a Purkinje cell on one channel, 6 to 17 on four and 32 recorded channels, 2
    to 20 in simulated recordings, 235 where 15 simulated units of a tetrode fire at one sample.
    """
    spike_to_noise: float = 20.0
    """It goes on while most channels bend more than this (noise standard deviations), as usual spikes do not, and
    traces that stay at one value are saturated if it lies this far from their median. Lower, and spikes right beside an
    artifact are excluded with it.

    Chosen.
    """
