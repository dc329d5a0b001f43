"""How the tissue of a generated recording moves along the probe."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from spikeinterface.generation import generate_displacement_vector

# Positions at which templates are made, finer than what a sorter can notice, and how often the tissue moves.
STEPS_PER_RANGE, MAX_STEP_UM = 40, 1.0
SLOW_HZ, BREATHING_HZ, BREATHING_RATE_HZ = 5.0, 30.0, 3.0
# Of the range of a walk: what jumps take, and how far the tip of the probe moves while the surface moves all of it.
SHARE_OF_JUMPS, SHARE_AT_TIP = 0.4, 0.4
JUMP_INTERVAL_S = (20.0, 60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A motion along the probe.

    Parameters
    ----------
    kind : {"zigzag", "walk", "breathing"}
        To and fro at constant speed; a random walk with jumps, at the lower end less than at the upper one; or three
        times a second to and fro.
    range_um : float
        Between the lowest and the highest position.
    """

    kind: Literal["zigzag", "walk", "breathing"]
    range_um: float

    @property
    def frequency_hz(self) -> float:
        """How often the position changes."""
        return BREATHING_HZ if self.kind == "breathing" else SLOW_HZ

    def motions(self, duration_s: float) -> list[dict[str, Any]]:
        """Return the parts of the motion, as SpikeInterface's generator takes them."""
        if self.kind == "zigzag":
            return [{"drift_mode": "zigzag", "t_start_drift": duration_s / 10, "period_s": 0.6 * duration_s}]
        if self.kind == "breathing":
            return [{"drift_mode": "zigzag", "period_s": 1 / BREATHING_RATE_HZ}]
        return [
            {"drift_mode": "random_walk", "amplitude_factor": 1 - SHARE_OF_JUMPS, "non_rigid_gradient": SHARE_AT_TIP},
            {"drift_mode": "bump", "amplitude_factor": SHARE_OF_JUMPS, "bump_interval_s": JUMP_INTERVAL_S},
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Displacements:
    """Where the units of a recording are over time, as SpikeInterface's generator gives it.

    Parameters
    ----------
    of_unit_um : ndarray, shape (time, unit)
        Along the probe.
    vectors : ndarray, shape (time, 2, motion)
        Of the parts of the motion (um).
    unit_factors : ndarray, shape (unit, motion)
        How much of each part a unit takes part in.
    steps_um : ndarray, shape (step, 2)
        Positions to which they are rounded.
    frequency_hz : float
        One over the time between two rows.
    """

    of_unit_um: Float[np.ndarray, "time unit"]
    vectors: Float[np.ndarray, "time 2 motion"]
    unit_factors: Float[np.ndarray, "unit motion"]
    steps_um: Float[np.ndarray, "step 2"]
    frequency_hz: float


def generate_displacements(
    drift: Drift, locations_um: Float[np.ndarray, "unit 2"], *, duration_s: float, seed: int
) -> Displacements:
    """Draw the motion of units.

    Parameters
    ----------
    drift : Drift
    locations_um : ndarray, shape (unit, 2)
        Of the units, at rest.
    duration_s : float
    seed : int
        Decides on random walks and jumps.
    """
    half = drift.range_um / 2
    _, vectors, unit_factors, frequency, _ = generate_displacement_vector(
        duration_s,
        locations_um,
        displacement_sampling_frequency=drift.frequency_hz,
        drift_start_um=[0.0, half],
        drift_stop_um=[0.0, -half],
        motion_list=drift.motions(duration_s),
        seed=seed,
    )
    # A walk does not reach its bounds, nor is it centered: units would be moved off the probe.
    vectors = vectors - (vectors.min(axis=0) + vectors.max(axis=0)) / 2
    along = vectors[:, 1] @ unit_factors.T
    lowest, highest = along.min(), along.max()
    gain = drift.range_um / (highest - lowest)
    num_steps = int(np.ceil(drift.range_um / min(drift.range_um / STEPS_PER_RANGE, MAX_STEP_UM)))
    steps = gain * np.linspace(lowest, highest, num_steps + 1)
    return Displacements(
        of_unit_um=gain * along,
        vectors=gain * vectors,
        unit_factors=unit_factors,
        steps_um=np.column_stack([np.zeros_like(steps), steps]),
        frequency_hz=frequency,
    )
