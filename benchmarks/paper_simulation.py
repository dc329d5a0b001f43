"""What the parts of `crsae_paper.py` share: the simulated recording, first atoms, first lambda, and rows."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from sorters import Row

from si_crsae.evaluation import SimulatedWindows, filter_error, perturb_atoms, simulate_windows
from si_crsae.models import Crsae, RatePrior

NUM_VALIDATION = 1000
NUM_TEST = 100
# Weight of the l1 norm in the first step of expectation-maximization, in units of a typical amplitude.
FIRST_LEVEL = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A simulated recording, what to learn from and what to validate on, and where learning starts."""

    simulated: SimulatedWindows
    windows: torch.Tensor
    validation: torch.Tensor
    first_atoms: torch.Tensor
    first_rate: float

    @classmethod
    def of(cls, *, snr_db: float, seed: int, num_windows: int) -> "Experiment":
        """Simulate windows; a tenth of them validate, a hundredth is left out, as in Table III."""
        simulated = simulate_windows(snr_db, num_windows=num_windows, seed=seed)
        traces = torch.from_numpy(simulated.traces)
        num_atoms, _, width = simulated.atoms.shape
        num_coefficients = num_atoms * (traces.shape[2] - width + 1)
        num_train = round(num_windows * 90 / 101)
        num_seen = round(num_windows * 100 / 101)
        return cls(
            simulated=simulated,
            windows=traces[:num_train],
            validation=traces[num_train:num_seen],
            first_atoms=torch.from_numpy(perturb_atoms(simulated.atoms, seed=seed)),
            first_rate=math.sqrt(2 * math.log(num_coefficients)) / simulated.noise_sd,
        )

    def model(self, *, rate_factor: float = 1.0, nonnegative: bool = False) -> Crsae:
        """Return an untrained model."""
        rate = torch.tensor(rate_factor * self.first_rate, dtype=torch.float32)
        return Crsae(self.first_atoms, rate, noise_sd=self.simulated.noise_sd, nonnegative=nonnegative)

    def prior(self, *, rate_factor: float = 1.0) -> RatePrior:
        """Return the paper's prior, around the rate of `model`."""
        return RatePrior.around(rate_factor * self.first_rate)

    @property
    def first_level(self) -> float:
        """Weight of the l1 norm that leaves only what is sure in the code."""
        return FIRST_LEVEL * float(np.median(self.simulated.amplitude))

    def errors(self, atoms: np.ndarray | torch.Tensor) -> np.ndarray:
        """Return the error of every true atom, in dB."""
        return filter_error(self.simulated.atoms, np.asarray(atoms)).error_db


def error_rows(case: str, method: str, epoch: int, errors: np.ndarray) -> list[Row]:
    """Return the errors of all atoms after an epoch."""
    return [
        {
            "case": case,
            "method": method,
            "figure": f"error_atom{atom}_epoch{epoch}",
            "value": float(error),
            "unit": "dB",
        }
        for atom, error in enumerate(errors)
    ]


def row(case: str, method: str, figure: str, value: float, unit: str) -> Row:
    """Return one row."""
    return {"case": case, "method": method, "figure": figure, "value": float(value), "unit": unit}


def markdown(header: list[str], lines: list[list[str]]) -> str:
    """Return a table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *lines])
