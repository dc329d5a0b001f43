"""What is assumed of units that are labelled."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityAssumptions:
    """What short intervals say against a unit, beyond what its features do.

    The features are made with `ProbabilityAssumptions`; whoever changes one of those has to run
    ``benchmarks/unit_quality.py fit`` again.
    """

    max_snr: float = 8.0
    """Units larger than this are all as large (noise sd of the correlation map): no artifact is told by its size.
    Without a limit, a cell of 55 sd that was recorded alone was called noise for its size.

    Measured for 8, 12 and none (``benchmarks/unit_quality.py validate``): the area under the curve of "good"
    is 0.971, 0.968 and 0.977.
    """
    short_interval_ms: tuple[float, float] = (0.8, 1.5)
    """Intervals that one neuron hardly has (ms), and that the encoder still tells apart.

    Chosen: the usual limit of quality metrics, and that of `RefractoryAssumptions`.
    """
    usual_share: float = 0.01
    """Such intervals are taken for the neuron's own up to this share of its spikes (fraction). Raise for cells that
    burst faster; lower, and single errors of timing count against a unit.

    Chosen.
    """
    max_contamination: float = 0.2
    """A unit with more spikes of others than this (fraction) cannot agree with its neuron by 0.8; as many short
    intervals as they make by chance are allowed.

    Chosen: an accuracy of 0.8 leaves room for no more.
    """
