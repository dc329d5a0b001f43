"""How well templates are known where they were not seen: displaced ones predicted from some, or from the one at rest.

Templates are those of the recordings of `drifting.py`, without noise and before whitening, on all channels. Errors are
norms of what the prediction misses, relative to the template's, the median and the 0.9 quantile over units and
displacements.

    python benchmarks/moved_templates.py --out rows.json
"""

import sys

import numpy as np
from command_line import make_parser, parse
from drifting import DRIFTING, PROBES
from sorters import save
from spikeinterface.core.generate import generate_templates, generate_unit_locations

from si_crsae.evaluation.simulation import MS_AFTER, MS_BEFORE
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.drift.covariance import TemplateCovariance
from si_crsae.sorting.drift.moving import SeenMeans, fit_moving_template

SEEN_UM, UNSEEN_UM = (-20.0, -14.0, -8.0, -4.0, 0.0, 4.0, 8.0, 14.0, 20.0), (-12.0, -6.0, 2.0, 6.0, 12.0)
# Waveforms in each mean, variance of the noise of each, and the largest peak: there is no noise to speak of.
COUNT, NOISE, PEAK = 1e6, 1e-6, 100.0
SEED = 3


def main() -> None:
    """Print the table."""
    arguments = parse(make_parser(__doc__))
    rows = []
    for probe in PROBES:
        for seen, displacements in (("some", SEEN_UM), ("rest", (0.0,))):
            errors = errors_of(probe, np.array(displacements))
            for figure, value in (("median", np.median(errors)), ("0.9 quantile", np.quantile(errors, 0.9))):
                row = {"case": probe, "method": seen, "figure": figure, "value": round(float(value), 4), "unit": "1"}
                rows.append(row)
    save(rows, arguments.out)
    sys.stdout.write("| probe | seen | median | 0.9 quantile |\n|---|---|---|---|\n")
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        sys.stdout.write(f"| {first['case']} | {first['method']} | {first['value']} | {second['value']} |\n")


def errors_of(name: str, seen_um: np.ndarray) -> np.ndarray:
    """Return the relative errors of all units at displacements that were not seen."""
    spec = DRIFTING[f"{name}_still"]
    positions = np.array(spec.make_probe().contact_positions)
    locations = generate_unit_locations(
        spec.num_units,
        positions,
        margin_um=10.0,
        minimum_z=5.0,
        maximum_z=40.0,
        minimum_distance=spec.minimum_distance_um,
        seed=SEED,
    )
    steps_um = ASSUMED.drift.step_um * np.arange(-12, 13)
    covariance = TemplateCovariance.of(positions, np.eye(len(positions)), steps_um)
    channels = np.arange(len(positions))
    at = {
        step: generate_templates(
            positions,
            locations + [0.0, step, 0.0],
            spec.sampling_frequency,
            MS_BEFORE,
            MS_AFTER,
            seed=SEED,
            unit_params={"alpha": 1.0},
        )
        for step in {0.0, *seen_um.tolist(), *UNSEEN_UM}
    }
    steps = np.array([np.abs(steps_um - step).argmin() for step in seen_um])
    errors = []
    for unit in range(spec.num_units):
        scale = PEAK / np.abs(at[0.0][unit]).max()
        means = scale * np.stack([at[step][unit].T for step in seen_um])
        counts = np.full(means.shape[:2], COUNT)
        fitted = fit_moving_template(
            SeenMeans(means=means, counts=counts, steps=steps), channels, covariance, noise_variance=NOISE
        )
        for step in UNSEEN_UM:
            true = scale * at[step][unit].T
            off = fitted[np.abs(steps_um - step).argmin()] - true
            errors.append(np.linalg.norm(off) / np.linalg.norm(true))
    return np.array(errors)


if __name__ == "__main__":
    main()
