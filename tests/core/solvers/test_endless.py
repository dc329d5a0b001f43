"""Claims about descents that used to go on for ever: each ends, is refused, or hears an interrupt."""

import signal
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from si_crsae.core import Gram, Quadratic, Sparse, correlate, iterate, make_solver
from si_crsae.core.solvers import maps
from si_crsae.core.solvers.fista import Fista
from si_crsae.core.solvers.vectors import descend_vectors

CPU = torch.device("cpu")
LEVEL = [0.8, 1.1, 1.4]
descents = pytest.mark.parametrize("name", ["descent", "parallel"])


def solve(dictionary, correlation, *, name="descent", level=LEVEL, tolerance=0.1):
    solver = make_solver(name, dictionary, Gram.of(dictionary), device=CPU)
    return solver.solve(correlation, Sparse(regularization=torch.tensor(level), nonnegative=True), tolerance=tolerance)


def draw_map(dictionary, *, num_samples=400, place=0, artifact=0.0):
    traces = torch.randn(1, 2, num_samples, generator=torch.Generator().manual_seed(0))
    traces[0, 1, place] += artifact
    return correlate(traces, dictionary.atoms)[0]


@pytest.mark.parametrize("name", ["descent", "parallel", "fista", "lca"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_is_refused_by_every_solver(draw_dictionary, name, value):
    dictionary = draw_dictionary(0)
    correlation = draw_map(dictionary)
    correlation[1, 7] = value
    with pytest.raises(ValueError, match="the correlation is NaN or infinite: replace such traces"):
        solve(dictionary, correlation, name=name)


@descents
@pytest.mark.parametrize("level", [0.0, 1e-300])
def test_a_penalty_of_zero_is_refused(draw_dictionary, name, level):
    dictionary = draw_dictionary(0)
    with pytest.raises(ValueError, match="regularization = 0: a descent needs a lambda above zero for every atom"):
        solve(dictionary, draw_map(dictionary), name=name, level=[1.0, level, 1.0])


@settings(max_examples=10)
@given(
    size=st.floats(0, 37).map(lambda power: 10.0**power),
    place=st.integers(0, 399),
    tolerance=st.sampled_from([0.0, 1e-6, 0.1]),
)
@pytest.mark.filterwarnings("ignore:the descent was cut short")
def test_a_sample_of_any_size_and_any_tolerance_come_to_an_end(draw_dictionary, size, place, tolerance):
    dictionary = draw_dictionary(0)
    correlation = draw_map(dictionary, place=place, artifact=size)
    assert solve(dictionary, correlation, tolerance=tolerance).isfinite().all()


@pytest.mark.parametrize("size", [1e2, 1e3])
def test_a_large_sample_comes_to_an_end_in_torch_too(draw_dictionary, size):
    dictionary = draw_dictionary(0)
    correlation = draw_map(dictionary, num_samples=60, artifact=size)
    assert solve(dictionary, correlation, name="parallel").isfinite().all()


def test_a_descent_in_many_calls_finds_what_one_call_finds(draw_dictionary, monkeypatch):
    dictionary = draw_dictionary(0)
    correlation = draw_map(dictionary)
    at_once = solve(dictionary, correlation, tolerance=1e-4)
    monkeypatch.setattr(maps, "UPDATES_PER_CALL", 3)
    torch.testing.assert_close(solve(dictionary, correlation, tolerance=1e-4), at_once, rtol=0, atol=1e-2)


def test_a_descent_that_is_cut_short_says_so(draw_dictionary, monkeypatch):
    dictionary = draw_dictionary(0)
    monkeypatch.setattr(maps, "MAX_UPDATES_PER_COEFFICIENT", 0)
    monkeypatch.setattr(maps, "UPDATES_PER_CALL", 2)
    with pytest.warns(RuntimeWarning, match=r"cut short before its tolerance = 0\.1 was met: raise the regularization"):
        solve(dictionary, draw_map(dictionary))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no such timer on this system")
def test_an_interrupt_is_heard_within_a_second(draw_dictionary):
    dictionary = draw_dictionary(0)
    correlation = draw_map(dictionary, num_samples=300_000)
    solve(dictionary, correlation[:, :100])  # compiled beforehand

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        start = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            solve(dictionary, correlation, level=[1e-3] * 3, tolerance=0.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.perf_counter() - start < 1.5


def test_vectors_with_nan_end():
    maps_of_nan, codes = np.full((2, 3), np.nan, "float32"), np.zeros((2, 3), "float32")
    thresholds = np.ones((3, 2), "float32")
    descend_vectors(maps_of_nan, thresholds, np.eye(3, dtype="float32"), np.full(2, 0.1, "float32"), codes)


def test_an_iteration_that_comes_to_nan_says_so_at_once():
    problem = Quadratic(correlation=torch.tensor([[[np.nan]]]), gram=torch.ones(1, 1, 1))
    with pytest.raises(ValueError, match="Fista came to NaN after 10 steps: the observations hold NaN"):
        iterate(Fista(tolerance=1e-4), problem, Sparse(regularization=torch.ones(1)))
