"""Claims about the exact code of many windows: each holds the minimizer of the objective, whatever the others hold."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from si_crsae.core import correlate, fista_solve, objective, optimality_residual, synthesize
from si_crsae.core.windows import solve_windows

TOLERANCE = 1e-4
seeds = st.integers(0, 2**16)
shapes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 7))
few_examples = settings(max_examples=20)
sides = pytest.mark.parametrize("nonnegative", [False, True])


def draw_problem(seed, *, shape=(3, 2, 4), num_windows=3, num_shifts=30):
    """Return noise traces, unit-norm atoms (atom, channel, width), and regularization that leaves few events."""
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(seed))
    atoms = torch.nn.functional.normalize(draw(*shape).flatten(1)).view(shape)
    return draw(num_windows, shape[1], num_shifts + shape[2] - 1), atoms, 0.5 + 0.5 * draw(shape[0]).abs()
