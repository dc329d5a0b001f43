"""Simulated recordings as an amplifier gives them: integers with a gain, and slow waves larger than any spike."""

import numpy as np
import spikeinterface as si

GAIN_UV = 0.195
SLOW_WAVES_UV = 300.0  # of each
SLOW_WAVES_HZ = (1.1, 2.3, 4.7, 8.3, 13.9)


def as_wideband(recording, *, channel_ids):
    """Return a recording of one segment and one probe in int16 with gains, slow waves on all its channels."""
    slow_waves = SLOW_WAVES_UV * np.sin(2 * np.pi * np.outer(recording.get_times(), SLOW_WAVES_HZ)).sum(axis=1)
    traces = np.round((recording.get_traces() + slow_waves[:, None]) / GAIN_UV).astype("int16")
    wideband = si.NumpyRecording([traces], recording.sampling_frequency, channel_ids=channel_ids)
    wideband.set_probe(recording.get_probe())
    wideband.set_channel_gains(GAIN_UV)
    wideband.set_channel_offsets(0.0)
    return wideband
