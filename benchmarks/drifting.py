"""Recordings in which the tissue moves, by name: three probes, and four motions on each."""

import numpy as np
from probeinterface import Probe, generate_multi_columns_probe

from si_crsae.evaluation import CaseSpec
from si_crsae.evaluation.drift import Drift
from si_crsae.evaluation.recordings import columns_probe

DURATION_S = 180.0
SNR_RANGE, RATE_RANGE_HZ = (5.0, 22.0), (2.0, 12.0)
# Neuropixels: distance of rows and columns, and how far every other row of version 1.0 is set aside (um).
ROWS_UM, COLUMNS_UM = {"np1": 20.0, "np2": 15.0}, 32.0
STAGGER_UM = 16.0
MOTIONS = {
    "zigzag": Drift(kind="zigzag", range_um=20.0),
    "walk": Drift(kind="walk", range_um=50.0),
    "breathing": Drift(kind="breathing", range_um=5.0),
    "still": None,
}


def neuropixels(version: str, num_channels: int) -> Probe:
    """Return the lowest contacts of a shank; those of version 1.0 are in four staggered columns."""
    num_rows = num_channels // 2
    probe = generate_multi_columns_probe(
        num_columns=2, num_contact_per_column=num_rows, xpitch=COLUMNS_UM, ypitch=ROWS_UM[version]
    )
    if version == "np1":
        positions = np.array(probe.contact_positions)
        positions[:, 0] += STAGGER_UM * (np.rint(positions[:, 1] / ROWS_UM[version]) % 2 == 0)
        staggered = Probe(ndim=2, si_units="um")
        staggered.set_contacts(positions=positions, shapes="square", shape_params={"width": 12})
        return staggered
    return probe


# Of a probe: how it is made, and how many units it sees.
PROBES = {
    "columns32": (lambda: columns_probe(2, 16), 20),
    "np2_64": (lambda: neuropixels("np2", 64), 40),
    "np2_96": (lambda: neuropixels("np2", 96), 60),
    "np1_96": (lambda: neuropixels("np1", 96), 60),
}
DRIFTING = {
    f"{probe}_{motion}": CaseSpec(
        description=f"{num_units} units, {motion}",
        make_probe=make_probe,
        num_units=num_units,
        snr_range=SNR_RANGE,
        rate_range_hz=RATE_RANGE_HZ,
        drift=drift,
    )
    for probe, (make_probe, num_units) in PROBES.items()
    for motion, drift in MOTIONS.items()
}
