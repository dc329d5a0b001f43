"""Part `learning` of `crsae_paper.py`: atoms and lambda against epochs, Figures 4 to 6 of the paper."""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Literal

from paper_simulation import Experiment, error_rows, markdown, row
from sorters import Row

from si_crsae.models import (
    Backpropagation,
    EventMaximization,
    ExpectationMaximization,
    Lcsc,
    ReconstructionTraining,
    Trainer,
    TrainingHistory,
    train,
)

NUM_WINDOWS, NUM_WINDOWS_QUICK = 10_100, 1010
BATCH_SIZE, BATCH_SIZE_QUICK = 1024, 256
NUM_EPOCHS = 6
# What the range test finds with the code held fixed, and a rate for lambda inside the paper's range.
ATOM_RATE, LAMBDA_RATE = 0.03, 3.0
LCSC_RATE = 0.01
LCSC_WINDOWS = 2048
NUM_UNTIED = 1
SHOWN_EPOCHS = (1, 2, 4, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to train."""

    snrs: tuple[float, ...] | None = None
    """Only at these, in dB; None for all."""
    gradient: Literal["fixed-code", "unrolled"] | None = None
    """None for the closed form."""
    rate_factor: float = 1.0
    """First lambda, in units of the paper's."""
    num_seeds: int | None = None
    """Only so many recordings; None for all."""


VARIANTS = {
    "closed form": Variant(),
    "back-propagation, code fixed": Variant(gradient="fixed-code", snrs=(16.0,)),
    "back-propagation, unrolled": Variant(gradient="unrolled", snrs=(16.0,), num_seeds=1),
    "back-propagation, unrolled, 2.5 lambda": Variant(gradient="unrolled", rate_factor=2.5, snrs=(16.0,), num_seeds=1),
}


def run(arguments: argparse.Namespace, add: Callable[[list[Row]], None]) -> str:
    """Train every variant on every recording; return the table."""
    rows: list[Row] = []
    for snr_db in arguments.snrs:
        for place, seed in enumerate(arguments.seeds):
            case = f"{snr_db:g}dB_seed{seed}"
            num_windows = NUM_WINDOWS_QUICK if arguments.quick else NUM_WINDOWS
            experiment = Experiment.of(snr_db=snr_db, seed=seed, num_windows=num_windows)
            for name, variant in VARIANTS.items():
                is_wanted = variant.snrs is None or snr_db in variant.snrs
                if is_wanted and (variant.num_seeds is None or place < variant.num_seeds):
                    new = learn(case, name, variant, experiment, quick=arguments.quick)
                    rows += new
                    add(new)
            if snr_db == max(arguments.snrs) and place < NUM_UNTIED:
                new = learn_untied(case, experiment)
                rows += new
                add(new)
    return table(rows)


def learn(case: str, name: str, variant: Variant, experiment: Experiment, *, quick: bool) -> list[Row]:
    """Train one variant and return its errors and lambda after every epoch."""
    model = experiment.model(rate_factor=variant.rate_factor)
    prior = experiment.prior(rate_factor=variant.rate_factor)
    trainer: Trainer
    if variant.gradient is None:
        trainer = ExpectationMaximization(model, prior, first_regularization=experiment.first_level)
    else:
        trainer = Backpropagation(
            model,
            prior,
            atom_learning_rate=ATOM_RATE,
            rate_learning_rate=LAMBDA_RATE,
            atom_gradient=variant.gradient,
        )
    batch_size = BATCH_SIZE_QUICK if quick else BATCH_SIZE
    seconds, history = timed_training(trainer, experiment, num_epochs=NUM_EPOCHS, batch_size=batch_size)
    rows = [row(case, name, "seconds", seconds, "s"), row(case, name, "best_epoch", history.best_epoch, "")]
    for epoch, parameters in enumerate(history.parameters):
        rows += error_rows(case, name, epoch, experiment.errors(parameters["atoms"]))
        rows.append(row(case, name, f"lambda_epoch{epoch}", float(parameters["rate"]) / experiment.first_rate, "start"))
    if variant.gradient is None:
        seconds, _ = timed_training(
            EventMaximization(model), experiment, num_epochs=2, batch_size=len(experiment.windows)
        )
        rows += [
            *error_rows(case, "closed form, then events", 2, experiment.errors(model.atoms.detach())),
            row(case, "closed form, then events", "seconds", seconds, "s"),
        ]
    return rows


def learn_untied(case: str, experiment: Experiment) -> list[Row]:
    """Train LCSC, on part of the windows, and return its errors and least threshold after every epoch."""
    level = experiment.first_rate * experiment.simulated.noise_sd**2
    trainer = ReconstructionTraining(Lcsc(experiment.first_atoms, level), learning_rate=LCSC_RATE)
    windows = experiment.windows[:LCSC_WINDOWS]
    history = train(trainer, windows, experiment.validation, num_epochs=8, batch_size=256)
    rows: list[Row] = []
    for epoch, parameters in enumerate(history.parameters):
        rows += error_rows(case, "LCSC", epoch, experiment.errors(parameters["atoms"]))
        rows.append(row(case, "LCSC", f"threshold_epoch{epoch}", float(parameters["threshold"].max()), "code"))
    rows.append(row(case, "LCSC", "validation_loss", min(history.validation_loss), ""))
    rows.append(row(case, "LCSC", "validation_loss_start", history.validation_loss[0], ""))
    return rows


def timed_training(
    trainer: Trainer, experiment: Experiment, *, num_epochs: int, batch_size: int
) -> tuple[float, TrainingHistory]:
    """Return the seconds of a training, validation included, and its history."""
    start = time.perf_counter()
    history = train(trainer, experiment.windows, experiment.validation, num_epochs=num_epochs, batch_size=batch_size)
    return time.perf_counter() - start, history


def table(rows: list[Row]) -> str:
    """Return medians over seeds of the worst atom's error after some epochs."""
    cases = sorted({str(entry["case"]).split("_")[0] for entry in rows}, key=lambda snr: float(snr[:-2]))
    methods = list(dict.fromkeys(str(entry["method"]) for entry in rows))
    header = ["SNR", "method", *[f"epoch {epoch}" for epoch in SHOWN_EPOCHS], "lambda / start"]
    lines = []
    for case in cases:
        for method in methods:
            chosen = [r for r in rows if r["method"] == method and str(r["case"]).split("_")[0] == case]
            if chosen:
                errors = [worst_error(chosen, epoch) for epoch in SHOWN_EPOCHS]
                lambdas = values(chosen, f"lambda_epoch{NUM_EPOCHS}")
                lines.append([case, method, *errors, show(lambdas, ".2f")])
    return markdown(header, lines)


def worst_error(rows: list[Row], epoch: int) -> str:
    """Return the median over seeds of the largest error among a recording's atoms."""
    worst = []
    for case in {row_["case"] for row_ in rows}:
        errors = [
            r["value"]
            for r in rows
            if r["case"] == case
            and str(r["figure"]).endswith(f"_epoch{epoch}")
            and str(r["figure"]).startswith("error")
        ]
        worst += [max(errors)] if errors else []
    return show(worst, ".1f")


def values(rows: list[Row], figure: str) -> list[float]:
    """Return the values of a figure."""
    return [float(r["value"]) for r in rows if r["figure"] == figure]


def show(found: list[float], form: str) -> str:
    """Return the median, or nothing."""
    return format(median(found), form) if found else ""
