"""What is assumed of waveforms that last longer than a neuron's."""

from dataclasses import replace

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.assumptions import ASSUMED, Assumptions


def assumed_of_templates(config: CrsaeConfig, assumed: Assumptions = ASSUMED) -> Assumptions:
    """Return the assumptions that suit the length of the templates that a user asks for.

    Templates of up to some milliseconds hold the spikes of neurons, with more or less of what surrounds them: nothing
    changes. Longer ones are those of other sources, such as the motor units of surface electromyography; times within
    one waveform, and delays at which two of them are compared, are longer by as much as the templates are. Times
    between two spikes stay: a motor neuron is a neuron.

    Parameters
    ----------
    config : CrsaeConfig
        With `ms_before` and `ms_after` as the user gave them.
    assumed : Assumptions, default: ASSUMED
        For templates of `SpikeAssumptions.usual_window_ms`.

    Examples
    --------
    >>> slow = assumed_of_templates(CrsaeConfig(ms_before=10.0, ms_after=20.0))
    >>> slow.structure.max_lag_ms / ASSUMED.structure.max_lag_ms
    10.0
    >>> assumed_of_templates(CrsaeConfig(ms_before=2.0, ms_after=5.0)) == ASSUMED
    True
    """
    window_ms, spikes = config.ms_before + config.ms_after, assumed.spikes
    if window_ms < spikes.slow_window_ms:
        return assumed
    factor = window_ms / spikes.usual_window_ms
    initial, units, structure = assumed.initial, assumed.units, assumed.structure
    return replace(
        assumed,
        initial=replace(
            initial,
            exclude_sweep_ms=factor * initial.exclude_sweep_ms,
            opposite_sweep_ms=factor * initial.opposite_sweep_ms,
            early_flank_ms=factor * initial.early_flank_ms,
            cluster_jitter_ms=factor * initial.cluster_jitter_ms,
        ),
        units=replace(units, max_peak_shift_ms=factor * units.max_peak_shift_ms),
        structure=replace(
            structure,
            max_lag_ms=factor * structure.max_lag_ms,
            companion_lag_ms=factor * structure.companion_lag_ms,
            satellite_lag_ms=factor * structure.satellite_lag_ms,
            satellite_jitter_ms=factor * structure.satellite_jitter_ms,
        ),
    )
