"""Rates behind spike counts, beside the histogram and smoothing."""

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable

import numpy as np
from sorters import Row

from si_crsae.core import Binomial
from si_crsae.evaluation.spike_counts import (
    SimulatedCounts,
    binary_log_likelihood,
    bits_per_spike,
    histogram_rates,
    poisson_log_likelihood,
    rate_error,
    simulate_counts,
    smooth,
    smoothed_rates,
)
from si_crsae.models import CountModel, denoise_counts

RATES_HZ = (1.0, 5.0, 20.0, 60.0)
NUMBERS_OF_TRIALS = (5, 20, 100)
NUM_HELD_OUT = 100


def run(arguments: argparse.Namespace, add: Callable[[list[Row]], None]) -> str:
    """Estimate the rates of populations by every method; returns a table."""
    rates_hz, trials = ((20.0,), (20,)) if arguments.quick else (RATES_HZ, NUMBERS_OF_TRIALS)
    lines = ["| counts | rate, Hz | trials | method | error / mean rate | bits per spike | s |", "|---" * 7 + "|"]
    for is_binary in (False, True):
        for rate_hz in rates_hz:
            for num_trials in trials:
                settings = {"rate_hz": rate_hz, "is_binary": is_binary, "seed": arguments.seed}
                simulated = simulate_counts(num_trials=num_trials, **settings)
                held_out = simulate_held_out(simulated, seed=arguments.seed + 1000)
                family = "binary" if is_binary else "poisson"
                case = f"{family}_{rate_hz:g}hz_{num_trials}trials"
                for name, (error, bits, seconds) in compare(simulated, held_out).items():
                    figures = {"error": (error, "mean rate"), "bits": (bits, "bit/spike"), "seconds": (seconds, "s")}
                    add(
                        [
                            {"case": case, "method": name, "figure": figure, "value": round(value, 4), "unit": unit}
                            for figure, (value, unit) in figures.items()
                        ]
                    )
                    start = f"| {family} | {rate_hz:g} | {num_trials} | {name}"
                    lines.append(f"{start} | {error:.3f} | {bits:.4f} | {seconds:.1f} |")
                    sys.stderr.write(lines[-1] + "\n")
    return "\n".join(lines)


def simulate_held_out(simulated: SimulatedCounts, *, seed: int) -> np.ndarray:
    """Return further trials of the same rates."""
    rng = np.random.default_rng(seed)
    num_units, num_bins = simulated.rates.shape
    shape = (num_units, NUM_HELD_OUT, num_bins)
    if isinstance(simulated.likelihood, Binomial):
        return rng.binomial(1, simulated.rates[:, None], shape)
    return rng.poisson(simulated.rates[:, None], shape)


def compare(simulated: SimulatedCounts, held_out: np.ndarray) -> dict[str, tuple[float, float, float]]:
    """Return error, bits per spike and seconds of every method."""
    log_likelihood = binary_log_likelihood if isinstance(simulated.likelihood, Binomial) else poisson_log_likelihood
    counts = simulated.counts
    mean = np.maximum(counts.mean(axis=(1, 2)), 0.5 / counts[0].size)
    methods: dict[str, Callable[[], np.ndarray]] = {
        "constant": lambda: np.repeat(mean[:, None], counts.shape[2], axis=1),
        "PSTH": lambda: histogram_rates(counts),
        "Gaussian, cross-validated": lambda: smoothed_rates(counts, log_likelihood)[0],
        "denoise_counts": lambda: denoise_counts(counts, model=CountModel(likelihood=simulated.likelihood)).rates[:, 0],
        "true rates": lambda: simulated.rates,
    }
    if importlib.util.find_spec("elephant") is None:
        sys.stderr.write("elephant is not installed and left out: pip install elephant\n")
    else:
        methods["elephant, optimal kernel"] = lambda: elephant_rates(counts, simulated.bin_s)
    results = {}
    for name, estimate in methods.items():
        start = time.perf_counter()
        rates = estimate()
        seconds = time.perf_counter() - start
        bits = bits_per_spike(held_out, rates, mean, log_likelihood)
        results[name] = (rate_error(rates, simulated.rates), bits, seconds)
    return results


def elephant_rates(counts: np.ndarray, bin_s: float) -> np.ndarray:
    """Return the histogram smoothed by the width that elephant finds from the pooled spikes of each unit."""
    from elephant.statistics import optimal_kernel_bandwidth

    rng = np.random.default_rng(0)
    histogram = histogram_rates(counts)
    smoothed = []
    for unit, unit_counts in enumerate(counts):
        bins = np.repeat(np.arange(counts.shape[2]), unit_counts.sum(axis=0))
        times = np.sort((bins + rng.random(len(bins))) * bin_s)
        width = optimal_kernel_bandwidth(times)["optw"] if len(times) > 1 else None
        # Without enough spikes there is no width, and the histogram is taken for constant.
        usable = width is not None and np.isfinite(width) and width > 0
        smoothed.append(smooth(histogram[unit], width / bin_s if usable else float(counts.shape[2])))
    return np.stack(smoothed)
