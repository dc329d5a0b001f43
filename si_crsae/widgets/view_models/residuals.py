"""What the spikes of a sorting leave of its traces."""

import numpy as np
from jaxtyping import Float

from si_crsae.evaluation.decomposition import sum_of_waveforms, waveforms_of
from si_crsae.evaluation.sorted_recording import SortedRecording


def traces_and_residual(
    sorted_recording: SortedRecording, *, segment_index: int, start: int, end: int
) -> tuple[Float[np.ndarray, "sample channel"], Float[np.ndarray, "sample channel"]] | None:
    """Return whitened traces of all channels and what is left of them without all spikes; None without traces.

    Parameters
    ----------
    sorted_recording : SortedRecording
    segment_index : int
    start, end : int
        First sample and the one after the last, inside of the segment.
    """
    traces = sorted_recording.get_traces(segment_index, start, end)
    if traces is None:
        return None
    onsets, waveforms, _ = waveforms_of(sorted_recording.units, start=start, end=end, segment_index=segment_index)
    return traces, traces - sum_of_waveforms(onsets, waveforms, end - start)
