"""Time to encode digits, against scikit-learn's sparse_encode at the same objective."""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import linked_digits
import numpy as np
import torch
from cases import data_folder
from sklearn.decomposition import sparse_encode
from sklearn.exceptions import ConvergenceWarning
from sorters import Row

from si_crsae.core import LinkedView, Quadratic, Sparse, solver_names
from si_crsae.evaluation.digits import read_mnist
from si_crsae.models import LinkedDictionaries, LinkedFitting, View

REGULARIZATION = 0.1
PEERS = ("lasso_lars", "lasso_cd")
# Tolerances; that of lca, which takes minutes, is wider, and it is timed once.
SOLVERS = dict.fromkeys(solver_names(problem=Quadratic, prior=Sparse)[1:], 1e-3) | {"lca": 1e-2}


def run(arguments: argparse.Namespace, add: Callable[[list[Row]], None]) -> str:
    """Encode the same digits by every solver in turn; returns a table of medians."""
    images, _ = read_mnist(data_folder() / "mnist")
    digits = linked_digits.unit_norm(images)[: 1000 if arguments.quick else None]
    linked = LinkedDictionaries(views={"digit": View()}, regularization=REGULARIZATION)
    linked.fit({"digit": digits[:8000]}, fitting=LinkedFitting(num_epochs=2, seed=arguments.seed))
    atoms = linked.atoms("digit")
    traces, view = torch.as_tensor(digits)[:, :, None], LinkedView(atoms=torch.as_tensor(atoms)[:, :, None])
    prior = Sparse(regularization=torch.full((len(atoms),), REGULARIZATION), nonnegative=True)

    def ours(solver: str) -> np.ndarray:
        problem = Quadratic.of([view], [traces])
        return problem.solve(prior, solver=solver, tolerance=SOLVERS[solver])[:, :, 0].numpy()

    def theirs(algorithm: str) -> np.ndarray:
        return sparse_encode(digits, atoms, algorithm=algorithm, alpha=REGULARIZATION, positive=True)

    methods: dict[str, Callable[[], np.ndarray]] = {name: lambda name=name: ours(name) for name in SOLVERS}
    methods |= {f"scikit-learn, {name}": lambda name=name: theirs(name) for name in PEERS}
    ours("descent")  # compiles
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    values: dict[str, float] = {}
    for trial in range(1 if arguments.quick else 3):
        for name, encode in methods.items():
            if name == "lca" and trial:
                continue
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                code = encode()
            seconds[name].append(time.perf_counter() - start)
            values[name] = objective(code, digits, atoms)
    lines = ["| solver | s | times descent | objective |", "|---" * 4 + "|"]
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    for name, median in medians.items():
        case = f"{len(digits)}_digits"
        add([row(case, name, "seconds", median, "s"), row(case, name, "objective", values[name], "1")])
        lines.append(f"| {name} | {median:.2f} | {median / medians['descent']:.1f} | {values[name]:.5f} |")
    return "\n".join(lines)


def objective(code: np.ndarray, digits: np.ndarray, atoms: np.ndarray) -> float:
    """Return the mean of what is minimized; coefficients that rounding has left below zero count as zero."""
    code = code.clip(0.0)
    return float((np.square(digits - code @ atoms).sum(axis=1) / 2 + REGULARIZATION * code.sum(axis=1)).mean())


def row(case: str, method: str, figure: str, value: float, unit: str) -> Row:
    """One row of the results."""
    return {"case": case, "method": method, "figure": figure, "value": round(value, 5), "unit": unit}
