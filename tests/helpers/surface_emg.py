"""Surface electromyography of a muscle at low force, simulated: motor units on a grid of electrodes."""

import numpy as np
import spikeinterface as si
from probeinterface import generate_multi_columns_probe

RATE_HZ, PITCH_UM, NOISE_UV = 2000.0, 8000.0, 5.0
HALF_WIDTH = 30


def simulate_emg(*, num_rows=8, num_units=8, duration_s=60.0, seed=0):
    """Return a recording of 2 kHz on a square grid, and its true sorting.

    Potentials last 15 to 25 ms, travel along the columns with 3.5 to 5 m/s, and are seen by half of the grid; motor
    units fire 8 to 16 times a second, nearly regularly.
    """
    random = np.random.default_rng(seed)
    probe = generate_multi_columns_probe(num_rows, num_rows, xpitch=PITCH_UM, ypitch=PITCH_UM)
    probe.set_device_channel_indices(np.arange(num_rows**2))
    num_samples = int(duration_s * RATE_HZ)
    traces = NOISE_UV * random.standard_normal((num_samples, num_rows**2))
    spikes = []
    for unit in range(num_units):
        potential = _potential(random, probe.contact_positions)
        intervals_s = random.normal(1 / random.uniform(8, 16), 0.015, int(20 * duration_s)).clip(0.03)
        times_s = np.cumsum(intervals_s)
        samples = (RATE_HZ * times_s[(times_s > 0.1) & (times_s < duration_s - 0.1)]).astype("int64")
        for sample in samples:
            traces[sample - HALF_WIDTH : sample + HALF_WIDTH] += potential
        spikes += [(sample, unit) for sample in samples.tolist()]
    times, labels = np.array(sorted(spikes)).T
    recording = si.NumpyRecording([traces.astype("float32")], RATE_HZ)
    recording.set_probe(probe)
    return recording, si.NumpySorting.from_samples_and_labels([times], [labels], RATE_HZ)


def _potential(random, positions):
    """Return what the electrodes see of a motor unit, shape (sample, channel)."""
    times_ms = 1000 * np.arange(-HALF_WIDTH, HALF_WIDTH) / RATE_HZ
    innervation = positions.mean(axis=0) + random.uniform(-1, 1, 2) * 2.5 * PITCH_UM
    width_ms, speed_um_ms = random.uniform(1.5, 3.0), random.uniform(3500, 5000)
    height_uV, asymmetry = random.uniform(60, 200), random.uniform(-0.6, 0.6)
    across, along = (positions - innervation).T
    seen = height_uV * np.exp(-0.5 * (across / 12e3) ** 2 - 0.5 * (along / 18e3) ** 2)
    phase = (times_ms[:, None] - np.abs(along) / speed_um_ms) / width_ms
    return seen * (asymmetry * phase - 1 + phase**2) * np.exp(-(phase**2) / 2)
