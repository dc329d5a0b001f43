"""What is assumed of drift: how the tissue moves, and how templates change along the probe."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftAssumptions:
    """Which motion is followed, and what templates are between contacts."""

    step_um: float = 2.0
    """Steps to which displacements are rounded (um); finer ones cost time and memory. Half a step changes a template
    by a thirtieth of its norm, which is the noise for a template of thirty noise standard deviations.

    Calculated.
    """
    length_scale_um: float = 20.0
    """Distance over which a template changes (um); longer smooths narrow templates, shorter leaves gaps between
    contacts.

    Measured on generated templates of 32 contacts 22 um apart and of Neuropixels 1.0 and 2.0
    (`benchmarks/moved_templates.py`): moved by a distance at which none was seen, they are off by 0.6 to 0.8 % of
    their norm in the median.
    """
    relative_error: float = 1e-2
    """What templates have that does not follow the covariance (fraction of its variance); larger smooths more.

    Chosen.
    """
    max_fitted_steps: int = 12
    """A template is made from the means at so many displacements at most (displacements), close ones being pooled;
    raise for fast changes along the probe, lower to learn faster.

    Chosen.
    """
    min_channels: int = 16
    """Fewest channels from which motion is estimated (channels); lower to follow that of shorter probes, of which fewer
    peaks tell.

    Chosen.
    """
    min_span_um: float = 100.0
    """Shortest probe on which motion is estimated (um): shorter ones lose their units as these move.

    Chosen.
    """
    max_row_distance_um: float = 40.0
    """Largest distance between the depths of contacts at which motion is estimated (um): peaks further apart cannot be
    placed between them.

    Chosen.
    """
    window_um: float = 200.0
    """Width and distance of the windows along the probe in which motion is estimated (um); wider ones take motion that
    changes with depth for the same, narrower ones hold few units.

    Measured on a walk of 50 um that is 0.4 as large at one end of 480 to 960 um: errors of 1.7 and 1.8 um, 2.1 and 2.3
    with windows of 400 um.
    """
    max_displacement_um: float = 100.0
    """Largest motion between two times (um); larger ones cost time and find more that is none.

    Chosen.
    """
    max_displacement_share: float = 0.15
    """The same as a part of the length of the probe (fraction): of motions that leave few units on the probe, some fit
    those that are left by chance.

    Measured on a walk of 50 um on 330 um of contacts: errors of 2.7 um with 50 um and of 12.5 um with 100 um.
    """
    min_size_um: float = 1.0
    """Standard deviation over time of a motion that units notice (um); lower to follow smaller ones.

    Chosen.
    """
    min_size_to_error: float = 2.0
    """And which is at least so much larger than the standard error of the estimate (ratio); raise to follow only what
    is sure, lower to follow more.

    Chosen.
    """
    spare_steps: int = 4
    """Steps beyond the estimated motion on either side, for what the estimate misses (steps).

    Chosen.
    """
    refined_bin_s: float = 0.5
    """Time for which the tissue is taken to be in one place when events say where it was (s); shorter follows faster
    motion with fewer events.

    Chosen.
    """
    estimate_error_um: float = 4.0
    """Standard deviation of what the estimate from peaks misses (um); larger lets events move it further.

    Measured: the estimate was off by 2.1 to 2.6 um (root mean square) on walks of 50 um, most at their jumps.
    """
    max_event_weight: float = 10.0
    """How much less likely than the best one an event can make a displacement (nats): larger trusts single events more,
    of which some are those of other units.

    Chosen.
    """
    calm_share: float = 0.4
    """Part of the time in which units are looked for, that in which the tissue is nearest to rest (fraction). More, and
    interpolation makes several of one; less, and rare ones are missed.

    Chosen.
    """
    min_calm_s: float = 60.0
    """At least so much is looked at (s); raise for rare units, lower for less blurred ones.

    Chosen.
    """
