"""Convolutional dictionary learning and coding by two other packages, for comparisons on windows of one channel.

SPORCO 0.2.2 alternates one ADMM iteration on all codes with one accelerated proximal-gradient step on the atoms, in
single precision; alphacsc 0.4.1 alternates locally greedy coordinate descent down to a tolerance with a converged
update of the atoms, in double precision. An epoch is one such alternation, so the two differ in what an epoch costs and
brings: compare them by seconds. Both solve

    min  1/2 sum_b || y_b - sum_c h_c * z_bc ||^2 + lambda sum_bc || z_bc ||_1   over z and unit-norm h,

over codes of full overlap only (shift = sample - width + 1). Codes are non-negative, as alphacsc's learning always has
them; coding, and SPORCO's learning, can be asked for codes of both signs. alphacsc keeps the norm of atoms at most 1.

All of it is one thread if OMP_NUM_THREADS=1 is set; SPORCO's transforms are set so here. Neither package is a
dependency: `pip install sporco alphacsc`.
"""

import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float

# ADMM's rho: as good as any of 0.2 to 2 for unit-norm atoms; SPORCO's own, 50 lambda + 1, takes several times longer.
PENALTY = 0.5
# SPORCO's default for coding, a new rho in every iteration, makes rho oscillate, and the code never settles.
ITERATIONS_PER_PENALTY = 10
# Inverse step for the atoms and window, in the first iterations only; what SPORCO means to be its default.
CURVATURE_PER_WINDOW = 14.0
# alphacsc's default: the smallest change of a coefficient, in standard deviations of the window.
DESCENT_TOLERANCE = 1e-3

OnEpoch = Callable[[float, Float[np.ndarray, "atom 1 width"]], None]


class Stopwatch:
    """Wall time since it was made, calls through `untimed` left out."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start

    def untimed(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what the function returns; its time does not count."""
        seconds = self.seconds
        result = function(*arguments)
        self.start = time.perf_counter() - seconds
        return result


def learn_with_sporco(
    windows: Float[np.ndarray, "batch 1 sample"],
    atoms: Float[np.ndarray, "atom 1 width"],
    regularization: float,
    *,
    max_iterations: int,
    on_epoch: OnEpoch,
    nonnegative: bool = True,
) -> None:
    """Improve the atoms; after each iteration, `on_epoch` gets the seconds of learning so far and the atoms.

    Setting up is not timed: above all, FFTW measures its plans there.
    """

    def report(learner: Any) -> None:
        watch.untimed(on_epoch, watch.seconds, from_sporco(learner.getdict()))

    prepare = partial(sporco_learner, windows, atoms, regularization, nonnegative=nonnegative)
    prepare(max_iterations=1, callback=None).solve()  # plans are kept for later transforms of these shapes
    learner = prepare(max_iterations=max_iterations, callback=report)
    watch = Stopwatch()
    learner.solve()


def learn_with_alphacsc(
    windows: Float[np.ndarray, "batch 1 sample"],
    atoms: Float[np.ndarray, "atom 1 width"],
    regularization: float,
    *,
    max_iterations: int,
    on_epoch: OnEpoch,
    tolerance: float = DESCENT_TOLERANCE,
) -> None:
    """Improve the atoms; after each iteration, `on_epoch` gets the seconds of learning so far and the atoms.

    Neither the set-up is timed nor the objective, which alphacsc evaluates twice an iteration. Learning ends before
    `max_iterations` once neither codes nor atoms change any more.
    """
    watch = Stopwatch()

    def report(encoder: Any, objectives: list[float]) -> None:
        if objectives:
            watch.untimed(on_epoch, watch.seconds, encoder.D_hat.copy())
        else:  # called once before the first iteration, with nothing done yet
            encoder.get_cost = partial(watch.untimed, encoder.get_cost)
            watch.start = time.perf_counter()

    with redirect_stdout(sys.stderr):  # it prints when it has converged
        alphacsc("learn_d_z_multi").learn_d_z_multi(
            np.asarray(windows, dtype=np.float64),
            n_atoms=len(atoms),
            n_times_atom=atoms.shape[-1],
            n_iter=max_iterations,
            reg=regularization / float(windows.std()),  # it divides the windows by this
            rank1=False,
            solver_z="lgcd",
            solver_z_kwargs={"tol": tolerance},
            D_init=np.array(atoms, dtype=np.float64),
            raise_on_increase=False,
            verbose=0,
            callback=report,
        )


def code_with_sporco(
    windows: Float[np.ndarray, "batch 1 sample"],
    atoms: Float[np.ndarray, "atom 1 width"],
    regularization: float,
    *,
    tolerance: float,
    nonnegative: bool = True,
) -> Float[np.ndarray, "batch atom shift"]:
    """Return the code by ADMM, once both of its residuals are below the relative tolerance, or after 1000 iterations.

    The first call with windows of a given shape also measures FFTW's plans.
    """
    coding = sporco("admm.cbpdn").ConvBPDN
    options = {
        **sporco_coding_options(nonnegative),
        "RelStopTol": tolerance,
        "AutoRho": {"Period": ITERATIONS_PER_PENALTY},
    }
    solver = coding(to_sporco(atoms), to_sporco(windows), regularization, coding.Options(options), dimK=1, dimN=1)
    code = solver.solve()[:, 0]
    return code.transpose(1, 2, 0)[..., : windows.shape[-1] - atoms.shape[-1] + 1]


def code_with_alphacsc(
    windows: Float[np.ndarray, "batch 1 sample"],
    atoms: Float[np.ndarray, "atom 1 width"],
    regularization: float,
    *,
    tolerance: float = DESCENT_TOLERANCE,
    nonnegative: bool = True,
) -> Float[np.ndarray, "batch atom shift"]:
    """Return the code by locally greedy coordinate descent."""
    code, _, _ = alphacsc("update_z_multi").update_z_multi(
        np.asarray(windows, dtype=np.float64),
        np.asarray(atoms, dtype=np.float64),
        regularization,
        solver="lgcd",
        solver_kwargs={"tol": tolerance},
        positive=nonnegative,
    )
    return code


def sporco_learner(
    windows: Float[np.ndarray, "batch 1 sample"],
    atoms: Float[np.ndarray, "atom 1 width"],
    regularization: float,
    *,
    max_iterations: int,
    callback: Callable[[Any], None] | None,
    nonnegative: bool,
) -> Any:
    """Return a learner that is ready to solve.

    The step of the atoms needs a policy. Without one it is 1, for SPORCO 0.2.2 drops its own default, and diverges; and
    backtracking, in single precision, takes rounding for an increase and shrinks it until the atoms stand still.
    """
    learning = sporco("dictlrn.cbpdndl").ConvBPDNDictLearn
    methods = {"xmethod": "admm", "dmethod": "pgm"}
    options = {
        "MaxMainIter": max_iterations,
        "Callback": callback,
        "CBPDN": sporco_coding_options(nonnegative),
        "CCMOD": {
            "FastSolve": True,
            "L": CURVATURE_PER_WINDOW * len(windows),
            "StepSizePolicy": sporco("pgm.stepsize").StepSizePolicyCauchy(),
        },
    }
    return learning(
        to_sporco(atoms),
        to_sporco(windows),
        regularization,
        learning.Options(options, **methods),
        **methods,
        dimK=1,
        dimN=1,
    )


def sporco_coding_options(nonnegative: bool) -> dict[str, Any]:
    """Return the options that learning and coding share: no objectives, and no atom across the end of a window.

    SPORCO's convolution is circular. With no code in the last width - 1 samples nothing wraps around, and the problem
    is that of full overlap; in windows padded by zeros, atoms could also start in a window and end in the zeros.
    """
    return {"FastSolve": True, "NonNegCoef": nonnegative, "NoBndryCross": True, "rho": PENALTY}


def to_sporco(array: Float[np.ndarray, "item 1 sample"]) -> Float[np.ndarray, "sample item"]:
    """Return the windows or atoms as columns, in single precision."""
    return np.ascontiguousarray(np.squeeze(array, axis=1).T, dtype=np.float32)


def from_sporco(atoms: Float[np.ndarray, "width 1 1 atom"]) -> Float[np.ndarray, "atom 1 width"]:
    """Return a copy of SPORCO's dictionary in the order of axes used here."""
    return np.ascontiguousarray(atoms[:, 0].T)


def sporco(module: str) -> ModuleType:
    """Return a module of SPORCO, whose transforms otherwise take all processors."""
    import_peer("sporco.fft").pyfftw_threads = 1
    return import_peer(f"sporco.{module}")


def alphacsc(module: str) -> ModuleType:
    """Return a module of alphacsc, made to run with numpy 2.4, which it predates."""
    import_peer("alphacsc.utils.coordinate_descent")._init_beta = start_descent
    return import_peer(f"alphacsc.{module}")


def start_descent(window, code, atoms, constants, regularization, squared_norms, tolerance, nonnegative):
    """Return what alphacsc's coordinate descent starts from, for codes that are not zero too.

    These are the gradient at the code without each coefficient's own part, the change that is best for each
    coefficient alone, and the change that is too small to make. alphacsc's own function puts arrays of one element into
    elements, which numpy 2.4 refuses.
    """
    gradient = import_peer("alphacsc.loss_and_gradient").gradient_zi(window, code, D=atoms, constants=constants)
    others = gradient - squared_norms * code
    best = np.maximum(-others - regularization, 0.0)
    if not nonnegative:
        best -= np.maximum(others - regularization, 0.0)
    return others, best / squared_norms - code, tolerance * window.std()


def import_peer(module: str) -> ModuleType:
    """Return a module of a package that need not be installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"{module} cannot be imported; pip install sporco alphacsc") from error
