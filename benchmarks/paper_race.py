"""Part `race` of `crsae_paper.py`: time to learn the atoms, beside SPORCO and alphacsc. Figure 8 and Table IV."""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from dictionary_learning_peers import learn_with_alphacsc, learn_with_sporco
from paper_simulation import Experiment, markdown, row
from sorters import Row

from si_crsae.core import objective
from si_crsae.core.solvers.windows import solve_windows
from si_crsae.models import EventMaximization, ExpectationMaximization

SIZE, SIZE_OF_FIRST, SIZE_QUICK = 1000, 9000, 300
# alphacsc takes two minutes for an iteration on 9,000 windows.
MOST_WINDOWS_FOR_ALPHACSC = 1000
SPORCO_ITERATIONS, ALPHACSC_ITERATIONS = 60, 14
# Looser than its default: two thirds of the time, and the same atoms in the end.
ALPHACSC_TOLERANCE = 1e-2
TARGET_DB = -12.0
NUM_EPOCHS, NUM_EVENT_EPOCHS = 6, 2
BATCH_SIZE = 512
NUM_JUDGED = 100
# An objective is as low as the least one of SPORCO where it is at most so many times as large.
SAME = 1.001


@dataclass(slots=True)
class Course:
    """Seconds, errors and objective of a learner after each of its epochs."""

    experiment: Experiment
    level: float
    seconds: list[float] = field(default_factory=list)
    errors: list[np.ndarray] = field(default_factory=list)
    objectives: list[float] = field(default_factory=list)

    def note(self, seconds: float, atoms: np.ndarray) -> None:
        """Measure the atoms after an epoch; the time that takes is the caller's to leave out."""
        judged = self.experiment.validation[:NUM_JUDGED]
        unit = torch.nn.functional.normalize(torch.from_numpy(np.array(atoms, "float32")).flatten(1))
        unit = unit.view(atoms.shape)
        level = torch.full((len(unit),), self.level)
        code = solve_windows(judged, unit, level, tolerance=1e-3 * self.level, nonnegative=True)
        self.seconds.append(seconds)
        self.errors.append(self.experiment.errors(unit))
        self.objectives.append(float(objective(code, judged, unit, level).mean()))

    def reaches(self, is_there: Callable[[int], bool]) -> float:
        """Return when something first holds; infinity if never."""
        return next((self.seconds[epoch] for epoch in range(len(self.seconds)) if is_there(epoch)), math.inf)


def run(arguments: argparse.Namespace, add: Callable[[list[Row]], None]) -> str:
    """Race on every recording; return the table."""
    rows: list[Row] = []
    for seed in arguments.seeds:
        full = (SIZE, SIZE_OF_FIRST) if seed == arguments.seeds[0] else (SIZE,)
        for size in (SIZE_QUICK,) if arguments.quick else full:
            experiment = Experiment.of(snr_db=16.0, seed=seed, num_windows=round(size * 101 / 90))
            new = race(f"{size}_windows_seed{seed}", experiment, quick=arguments.quick)
            rows += new
            add(new)
    return table(rows)


def race(case: str, experiment: Experiment, *, quick: bool) -> list[Row]:
    """Let all learn from the same windows and atoms, at the same lambda where it is fixed."""
    windows = experiment.windows
    # The closed form learns its lambda; the others get what it settles at with the paper's prior.
    level = 1.1 * experiment.first_rate * experiment.simulated.noise_sd**2
    traces, atoms = windows.numpy(), experiment.first_atoms.numpy()
    courses = {name: Course(experiment, level) for name in ("crsae", "SPORCO", "alphacsc")}
    learn_in_closed_form(courses["crsae"])  # compiles
    courses["crsae"] = Course(experiment, level)
    learn_in_closed_form(courses["crsae"])
    iterations = SPORCO_ITERATIONS // 2 if quick else SPORCO_ITERATIONS
    learn_with_sporco(traces, atoms, level, max_iterations=iterations, on_epoch=courses["SPORCO"].note)
    if len(windows) <= MOST_WINDOWS_FOR_ALPHACSC:
        iterations = 4 if quick else ALPHACSC_ITERATIONS
        learn_with_alphacsc(
            traces,
            atoms,
            level,
            max_iterations=iterations,
            on_epoch=courses["alphacsc"].note,
            tolerance=ALPHACSC_TOLERANCE,
        )
    target = SAME * min(courses["SPORCO"].objectives)
    return [new for name, course in courses.items() if course.seconds for new in describe(case, name, course, target)]


def learn_in_closed_form(course: Course) -> None:
    """Expectation-maximization, then two epochs on events; only the steps are timed."""
    experiment = course.experiment
    model = experiment.model(nonnegative=True)
    windows, seconds = experiment.windows, 0.0
    trainer = ExpectationMaximization(model, experiment.prior(), first_regularization=experiment.first_level)
    for epoch in range(NUM_EPOCHS + NUM_EVENT_EPOCHS):
        start = time.perf_counter()
        if epoch < NUM_EPOCHS:
            for batch in windows.split(min(BATCH_SIZE, len(windows) // 2)):
                trainer.step(batch)
        else:
            EventMaximization(model).step(windows)
        seconds += time.perf_counter() - start
        course.note(seconds, model.atoms.detach().numpy())


def describe(case: str, name: str, course: Course, target: float) -> list[Row]:
    """Return what a learner reached, and when."""
    worst = [errors.max() for errors in course.errors]
    to_target = course.reaches(lambda epoch: worst[epoch] <= TARGET_DB)
    to_objective = course.reaches(lambda epoch: course.objectives[epoch] <= target)
    return [
        row(case, name, "seconds_to_-12dB", to_target, "s"),
        row(case, name, "seconds_to_objective_of_SPORCO", to_objective, "s"),
        row(case, name, "seconds", course.seconds[-1], "s"),
        row(case, name, "objective", course.objectives[-1], ""),
        *[row(case, name, f"error_atom{atom}", error, "dB") for atom, error in enumerate(course.errors[-1])],
    ]


def table(rows: list[Row]) -> str:
    """Return one line per recording and learner."""
    header = ["windows", "method", "s to -12 dB", "s to SPORCO's objective", "s in all", "errors at the end (dB)"]
    lines = []
    for case, name in dict.fromkeys((str(r["case"]), str(r["method"])) for r in rows):
        found = {str(r["figure"]): float(r["value"]) for r in rows if (r["case"], r["method"]) == (case, name)}
        errors = ", ".join(f"{value:.1f}" for figure, value in found.items() if figure.startswith("error"))
        times = [found[f] for f in ("seconds_to_-12dB", "seconds_to_objective_of_SPORCO", "seconds")]
        lines.append([case, name, *[f"{seconds:.2f}" for seconds in times], errors])
    return markdown(header, lines)
