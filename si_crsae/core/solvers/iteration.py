"""Steps of a solver, taken until they move nothing any more."""

import warnings
from collections.abc import Callable
from typing import TypeVar

from si_crsae.core.checks import check_at_least_one

# Measuring the distance costs as much as a step; every tenth step it costs a tenth of the time.
_STEPS_PER_CHECK = 10

State = TypeVar("State")


def iterate(
    state: State,
    step: Callable[[State], State],
    distance: Callable[[State], float],
    *,
    num_iterations: int,
    tolerance: float | None,
    quantity: str,
) -> State:
    """Return the state after some steps.

    Parameters
    ----------
    state
        Where to start.
    step : callable
        Returns the next state.
    distance : callable
        Returns how far a state is from the last one.
    num_iterations : int
        Steps, at least 1; with a tolerance, the most that are made.
    tolerance : float or None
        If given, stop once the distance, which is looked at every 10 steps, is not larger.
    quantity : str
        What the distance measures, for the warning.

    Raises
    ------
    ValueError
        If there is to be no step.

    Warns
    -----
    RuntimeWarning
        If a tolerance was given and `num_iterations` did not suffice.
    """
    check_at_least_one(num_iterations=num_iterations)
    for iteration in range(1, num_iterations + 1):
        state = step(state)
        is_last = iteration == num_iterations
        if tolerance is None or not (is_last or iteration % _STEPS_PER_CHECK == 0):
            continue
        reached = distance(state)
        if reached <= tolerance:
            break
        if is_last:
            warnings.warn(
                f"num_iterations = {num_iterations} did not bring {quantity}, {reached:.3g}, down to "
                f"tolerance = {tolerance:.3g}; raise num_iterations or tolerance",
                RuntimeWarning,
                stacklevel=4,
            )
    return state
