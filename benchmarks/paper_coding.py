"""Part `coding` of `crsae_paper.py`: coding the whole recording with learned atoms. Table IV, second row."""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from dictionary_learning_peers import code_with_alphacsc, code_with_sporco
from jaxtyping import Float, Int
from paper_simulation import Experiment, markdown, row
from sorters import Row

from si_crsae.core import objective
from si_crsae.core.solvers.windows import solve_windows
from si_crsae.evaluation import filter_error, missed_false_alarm_curve
from si_crsae.models import EventMaximization, ExpectationMaximization, find_events, make_event_encoder, train
from si_crsae.models.crsae.events import group_windows

NUM_WINDOWS, NUM_WINDOWS_QUICK = 10_100, 505
NUM_LEARNED = 2000
NUM_REPEATS = 3
MATCH_TOLERANCE = 2
WANTED_PRECISIONS = (0.98, 0.995)

Found = tuple[Int[np.ndarray, " event"], Float[np.ndarray, " event"]]


def run(arguments: argparse.Namespace, add: Callable[[list[Row]], None]) -> str:
    """Code one recording by every method; return the table."""
    rows: list[Row] = []
    for seed in arguments.seeds:
        num_windows = NUM_WINDOWS_QUICK if arguments.quick else NUM_WINDOWS
        experiment = Experiment.of(snr_db=16.0, seed=seed, num_windows=num_windows)
        new = Coding(experiment).compare(f"seed{seed}", add)
        rows += new
    return table(rows)


class Coding:
    """Atoms learned from part of a recording, and what codes all of it."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.windows = torch.from_numpy(experiment.simulated.traces)
        self.model = experiment.model(nonnegative=True)
        learned = experiment.windows[:NUM_LEARNED]
        trainer = ExpectationMaximization(self.model, experiment.prior(), first_regularization=experiment.first_level)
        train(trainer, learned, experiment.validation, num_epochs=5, batch_size=len(learned) // 4)
        train(EventMaximization(self.model), learned, experiment.validation, num_epochs=2, batch_size=len(learned))
        self.atoms = self.model.atoms.detach()
        self.level = float(self.model.regularization.detach()[0])

    def compare(self, case: str, add: Callable[[list[Row]], None]) -> list[Row]:
        """Run every method, the fast ones several times."""
        traces, atoms, level = self.windows.numpy(), self.atoms.numpy(), self.level
        regularization = torch.full((len(atoms),), level)
        model = self.model

        def exact(tolerance: float) -> torch.Tensor:
            return solve_windows(
                self.windows, self.atoms, regularization, tolerance=tolerance * level, nonnegative=True
            )

        def unrolled() -> torch.Tensor:
            with torch.no_grad():
                return torch.cat([model.encode(part) for part in self.windows.split(1010)])

        methods: dict[str, tuple[int, Callable[[], torch.Tensor | np.ndarray]]] = {
            "crsae, descent": (NUM_REPEATS, lambda: exact(0.02)),
            "crsae, unrolled, T = 180": (1, unrolled),
            "SPORCO, tolerance 1e-2": (1, lambda: code_with_sporco(traces, atoms, level, tolerance=1e-2)),
            "SPORCO, tolerance 1e-3": (1, lambda: code_with_sporco(traces, atoms, level, tolerance=1e-3)),
            "alphacsc, LGCD": (1, lambda: code_with_alphacsc(traces, atoms, level, tolerance=1e-2)),
        }
        rows = self.code_to_events(case)
        add(rows)
        for name, (repeats, code) in methods.items():
            seconds, found = timed(code, repeats)
            dense = torch.as_tensor(found, dtype=torch.float32)
            value = objective(dense, self.windows, self.atoms, regularization).mean()
            new = [
                row(case, name, "seconds", seconds, "s"),
                row(case, name, "objective", float(value), ""),
                *self.score(case, name, *self.events_of(dense)),
            ]
            rows += new
            add(new)
        return rows

    def code_to_events(self, case: str) -> list[Row]:
        """Find refitted events; the best are those that leave the least behind."""
        name = "crsae, events"
        encoder = make_event_encoder(self.model, self.windows)
        seconds, events = timed(lambda: find_events(encoder, self.windows), NUM_REPEATS)
        times = self.label(events.atom_index, events.batch_index, events.shift)
        return [row(case, name, "seconds", seconds, "s"), *self.score(case, name, times, 1 / (1 + events.misfit))]

    def events_of(self, code: torch.Tensor) -> Found:
        """Group a code's neighbors into events."""
        atom_index, batch_index, shift, amplitude = group_windows(code)
        return self.label(atom_index, batch_index, shift), np.abs(amplitude)

    def label(
        self, atom_index: np.ndarray, batch_index: np.ndarray, shift: np.ndarray, *, learned: bool = True
    ) -> Int[np.ndarray, " event"]:
        """Return one number per event, so that those of different atoms or windows are far apart."""
        if learned:
            match = filter_error(self.experiment.simulated.atoms, self.atoms.numpy())
            true_of = np.argsort(match.match)
            shift = shift + match.shift[true_of][atom_index]
            atom_index = true_of[atom_index]
        length = 2 * self.windows.shape[2]
        return (atom_index * len(self.windows) + batch_index) * length + shift

    def score(self, case: str, name: str, times: np.ndarray, score: np.ndarray) -> list[Row]:
        """Return recall and precision of all events, and the recall at the wanted precision."""
        truth = self.experiment.simulated
        true_times = self.label(truth.atom_index, truth.batch_index, truth.shift, learned=False)
        curve = missed_false_alarm_curve(true_times, times, score, tolerance=MATCH_TOLERANCE, num_thresholds=4000)
        rows = [
            row(case, name, "recall", 1 - curve.missed[0], ""),
            row(case, name, "precision", 1 - curve.false_alarm[0], ""),
        ]
        for precision in WANTED_PRECISIONS:
            recall = 1 - curve.missed[curve.false_alarm <= 1 - precision]
            rows.append(row(case, name, f"recall_at_precision_{precision}", max(recall, default=0.0), ""))
        return rows


def timed(work: Callable[[], object], repeats: int) -> tuple[float, object]:
    """Return the median seconds of some calls, after one that compiles if there are several, and the last result."""
    if repeats > 1:
        work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), result


def table(rows: list[Row]) -> str:
    """Return one line per method, medians over seeds."""
    figures = ("seconds", "objective", "recall", "precision", "recall_at_precision_0.98", "recall_at_precision_0.995")
    lines = []
    for name in dict.fromkeys(str(r["method"]) for r in rows):
        cells = [name]
        for figure in figures:
            found = [float(r["value"]) for r in rows if r["method"] == name and r["figure"] == figure]
            cells.append(f"{np.median(found):.4g}" if found else "")
        lines.append(cells)
    return markdown(["method", "s", "objective", "recall", "precision", "recall at 0.98", "recall at 0.995"], lines)
