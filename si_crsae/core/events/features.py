"""Clean waveforms of events: what is left of the traces when every other event is taken out."""

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int

from si_crsae.core.compiled import compile_loops
from si_crsae.core.operators.interpolation import value_between
from si_crsae.core.types import SparseEvents


@compile_loops()
@no_type_check
def _mix_components(mixing, lags, lag, offset):
    """Fill `mixing` with how much of each component another one sees when it stands at a lag and an offset."""
    for seen in range(mixing.shape[0]):
        for component in range(mixing.shape[1]):
            mixing[seen, component] = value_between(lags[seen, component], lag, offset)


@compile_loops()
@no_type_check
def _take_out_others(features, own, shift, channels, events, weights, lags):
    """Subtract from each feature every event but `own[row]`, as the temporal components see it."""
    reach = lags.shape[2] // 2
    num_components = lags.shape[0]
    mixing = np.empty((num_components, num_components), np.float32)
    for row in range(shift.size):
        first = np.searchsorted(events.shift, shift[row] - reach)
        last = np.searchsorted(events.shift, shift[row] + reach + 1)
        for event in range(first, last):
            if event == own[row]:
                continue
            atom_weights, amplitude = weights[events.atom_index[event]], events.amplitude[event]
            _mix_components(mixing, lags, events.shift[event] - shift[row] + reach, events.offset[event])
            for position in range(channels.shape[1]):
                channel = channels[row, position]
                if channel < 0:
                    continue
                for component in range(num_components):
                    if atom_weights[channel, component] == 0:
                        continue
                    scaled = amplitude * atom_weights[channel, component]
                    for seen in range(num_components):
                        features[row, position, seen] -= scaled * mixing[seen, component]


def clean_features(
    filtered: Float[np.ndarray, "channel component shift"],
    *,
    events: SparseEvents,
    own: Int[np.ndarray, " row"],
    shift: Int[np.ndarray, " row"],
    channels: Int[np.ndarray, "row local"],
    weights: Float[np.ndarray, "atom channel component"],
    lags: Float[np.ndarray, "component component lag"],
) -> Float[np.ndarray, "row local component"]:
    """Return the traces around each shift, on the temporal basis, without the events that are not its own.

    Parameters
    ----------
    filtered : ndarray, shape (channel, component, shift)
        What `filter_with_basis` returns.
    events : SparseEvents
        Everything found in the traces; `sample_index` is the shift.
    own : ndarray of int64, shape (row,)
        The event that stays in, -1 for none: then the feature is that of the residual.
    shift : ndarray of int64, shape (row,)
        Where to look.
    channels : ndarray of int64, shape (row, local)
        Channels to look at; -1 gives zeros.
    weights : ndarray, shape (atom, channel, component)
        Weights of the dictionary's atoms.
    lags : ndarray, shape (component, component, lag)
        What `component_lags` returns.

    Returns
    -------
    ndarray of float32, shape (row, local, component)
    """
    features = filtered[channels, :, shift[:, None]]
    features[channels < 0] = 0
    _take_out_others(features, own, shift, channels, events.located, weights, lags)
    return features
