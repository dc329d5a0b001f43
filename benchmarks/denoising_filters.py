"""Filters recovered from simulated data of three families, as in the talk and in DCEA's supplement."""

import argparse
import math
import time
from collections.abc import Callable

import numpy as np
import torch
from sorters import Row

from si_crsae.core import Binomial, Gaussian, Likelihood, Placement, Poisson, Sparse, synthesize
from si_crsae.evaluation import filter_error, perturb_atoms
from si_crsae.models import Denoiser, Fitting, Unrolling

NUM_FILTERS, WIDTH, NUM_SAMPLES, EVENTS_PER_FILTER = 3, 50, 500, 3
FAMILIES: dict[str, tuple[Likelihood, float]] = {
    "gaussian": (Gaussian(noise_sd=0.2), 0.0),
    "binomial, M = 30": (Binomial(num_trials=30), -1.5),
    "poisson": (Poisson(), 1.0),
}


def run(arguments: argparse.Namespace, add: Callable[[list[Row]], None]) -> str:
    """Learn the filters of every family from a perturbed start; returns a table."""
    num_windows, num_epochs = (40, 4) if arguments.quick else (300, 20)
    lines = ["| family | error at the start, dB | error, dB | learning, s |", "|---" * 4 + "|"]
    true = true_filters()
    start = perturb_atoms(true.numpy().astype("float64"), seed=arguments.seed)
    level = math.sqrt(2 * math.log(NUM_FILTERS * NUM_SAMPLES))
    for name, (likelihood, baseline) in FAMILIES.items():
        observed = simulate(likelihood, baseline, true, num_windows=num_windows, seed=arguments.seed)
        denoiser = Denoiser(
            likelihood=likelihood,
            width=WIDTH,
            num_atoms=NUM_FILTERS,
            prior=Sparse(regularization=torch.full((NUM_FILTERS,), level), nonnegative=True),
            unrolling=Unrolling(num_iterations=250, placement=Placement()),
            device="cpu",
        )
        began = time.perf_counter()
        denoiser.fit(
            observed,
            baseline=[[[baseline]]],
            initial_atoms=start.astype("float32"),
            fitting=Fitting(num_epochs=num_epochs, batch_size=32, learning_rate=0.01, seed=arguments.seed),
        )
        seconds = time.perf_counter() - began
        learned = denoiser.model.atoms.detach().double().numpy() if denoiser.model else start
        first, last = (filter_error(true.numpy().astype("float64"), atoms).error_db for atoms in (start, learned))
        add(
            [
                {"case": name, "method": "fixed code", "figure": figure, "value": value, "unit": unit}
                for figure, value, unit in (
                    ("first_error", np.round(first, 2).tolist(), "dB"),
                    ("error", np.round(last, 2).tolist(), "dB"),
                    ("learning", round(seconds, 2), "s"),
                )
            ]
        )
        lines.append(f"| {name} | {_joined(first)} | {_joined(last)} | {seconds:.0f} |")
    return "\n".join(lines)


def true_filters() -> torch.Tensor:
    """Return three filters of unit norm: a bump, a sharp onset with slow decay, and a slow bump after a fast one."""
    time_bins = torch.arange(WIDTH).double()
    bump = torch.exp(-0.5 * ((time_bins - 20) / 3) ** 2)
    decay = (time_bins >= 8) * torch.exp(-(time_bins - 8) / 10)
    double = torch.exp(-0.5 * ((time_bins - 12) / 3) ** 2) + 0.8 * torch.exp(-0.5 * ((time_bins - 34) / 6) ** 2)
    return torch.nn.functional.normalize(torch.stack([bump, decay, double]))[:, None]


def simulate(
    likelihood: Likelihood, baseline: float, filters: torch.Tensor, *, num_windows: int, seed: int
) -> torch.Tensor:
    """Return windows of a few events of each filter, with amplitudes of 4 to 6 in natural parameters."""
    generator = torch.Generator().manual_seed(seed)
    code = torch.zeros(num_windows, NUM_FILTERS, NUM_SAMPLES - WIDTH + 1, dtype=torch.double)
    place = torch.randint(code.shape[2], (num_windows, NUM_FILTERS, EVENTS_PER_FILTER), generator=generator)
    amplitude = 4 + 2 * torch.rand(place.shape, generator=generator, dtype=torch.double)
    code.scatter_(2, place, amplitude)
    return likelihood.sample(synthesize(code, filters) + baseline, generator).float()


def _joined(errors: np.ndarray) -> str:
    return " / ".join(f"{error:.1f}" for error in errors)
