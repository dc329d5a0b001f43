"""Claims about overlapping events told apart together: what it finds, and that it never makes things less probable."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from si_crsae.core import Dictionary, Encoder, EncoderSettings, Gram, correlate, synthesize
from si_crsae.core import descent as descent_module
from si_crsae.core import encoder as encoder_module
from si_crsae.core import interpolation as interpolation_module
from si_crsae.core import overlaps as overlaps_module
from si_crsae.core.overlaps import resolve_overlaps

WIDTH, NUM_SHIFTS = 12, 70
NOISE, SPREAD, PRICE = 1.0, 0.1, 7.0
MAX_MOVE, REFRACTORY = 4, 6
seeds = st.integers(0, 2**16)
many_examples = settings(max_examples=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Traces (channel, sample), the dictionary behind them, and a guess of the events in them."""

    traces: torch.Tensor
    dictionary: Dictionary
    events: tuple[np.ndarray, ...]

    @property
    def scales(self):
        return self.dictionary.scales.numpy()


def make_events(rows):
    """Return the arrays of (atom, shift, amplitude) rows, on samples, sorted by shift."""
    atom, shift, amplitude = zip(*sorted(rows, key=lambda row: row[1]), strict=True)
    return np.array(atom), np.array(shift), np.zeros(len(atom), "float32"), np.array(amplitude, "float32")


def reconstruct(events, dictionary, num_shifts=NUM_SHIFTS):
    """Return the traces of events on samples."""
    code = torch.zeros(1, dictionary.num_atoms, num_shifts, dtype=torch.float64)
    atom, shift, offset, amplitude = events
    assert not offset.any()
    code.index_put_((torch.tensor(0), *map(torch.from_numpy, (atom, shift))), torch.from_numpy(amplitude).double(), accumulate=True)
    return synthesize(code, dictionary.atoms.double())[0]


def residual_of(problem, events):
    """Return the correlation of what the events leave, computed from the traces."""
    rest = problem.traces.double() - reconstruct(events, problem.dictionary)
    return correlate(rest[None], problem.dictionary.atoms.double())[0].float().numpy()


def worth_of(problem, events):
    """Return the log posterior of the events, times the squared noise, up to a constant."""
    atom, _, _, amplitude = events
    error = (problem.traces.double() - reconstruct(events, problem.dictionary)).square().sum().item() / 2
    surprise = ((np.abs(amplitude) / problem.scales[atom] - 1) ** 2).sum() / (2 * SPREAD**2)
    return -error - NOISE**2 * (surprise + PRICE * atom.size)


def draw_problem(draw_dictionary, seed, *, num_events=6, two_sided=False, num_wrong=3):
    """Return noisy traces of random events, as dense as they come, and a guess that has some of them wrong."""
    rng = np.random.default_rng(seed)
    dictionary = draw_dictionary(seed, shape=(4, 2, 3), width=WIDTH)
    dictionary = replace(dictionary, scales=torch.from_numpy(rng.uniform(10, 16, 4).astype("float32")))
    scales = dictionary.scales.numpy()

    def draw_row():
        atom = rng.integers(4)
        sign = rng.choice([-1, 1]) if two_sided else 1
        return atom, rng.integers(NUM_SHIFTS), sign * scales[atom] * rng.normal(1, SPREAD)

    rows = [draw_row() for _ in range(num_events)]
    noise = NOISE * torch.randn(2, NUM_SHIFTS + WIDTH - 1, generator=torch.Generator().manual_seed(seed))
    traces = reconstruct(make_events(rows), dictionary).float() + noise
    for wrong in rng.choice(num_events, num_wrong, replace=False):
        atom, shift, amplitude = rows[wrong]
        other = rng.integers(4)
        moved = int(np.clip(shift + rng.integers(-3, 4), 0, NUM_SHIFTS - 1))
        rows[wrong] = (other, moved, np.sign(amplitude) * scales[other] * rng.uniform(0.7, 1.5))
    return Problem(traces=traces, dictionary=dictionary, events=make_events(rows))


def resolve(problem, *, residual=None, active=True, scales=None):
    """Return the events, where the new ones stand, and the residual correlation afterwards."""
    gram = Gram.of(problem.dictionary)
    residual = residual_of(problem, problem.events) if residual is None else residual
    events, new_shifts = resolve_overlaps(
        residual,
        problem.events,
        np.full(problem.events[0].size, active),
        (gram.values, gram.pair_index),
        (problem.scales if scales is None else scales, *np.array([NOISE, SPREAD, PRICE], "float32")),
        (MAX_MOVE, REFRACTORY),
    )
    return events, new_shifts, residual
