"""Claims about overlapping events told apart together: it finds them, and never makes the events less probable."""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from si_crsae.core import Dictionary, Encoder, EncoderSettings, Gram, correlate, synthesize
from si_crsae.core.events import correlation_map as map_module
from si_crsae.core.events import overlaps as overlaps_module
from si_crsae.core.events import worth as worth_module
from si_crsae.core.events.overlaps import Exchanged, Limits
from si_crsae.core.events.worth import Odds
from si_crsae.core.operators import gram as gram_module
from si_crsae.core.operators import interpolation as interpolation_module
from si_crsae.core.operators.gram import Pairs
from si_crsae.core.solvers import descent as descent_module
from si_crsae.core.types import Located

WIDTH, NUM_SHIFTS, NUM_ATOMS = 12, 70, 4
NOISE, SPREAD, PRICE = 1.0, 0.1, 7.0
MAX_MOVE, REFRACTORY = 4, 6
seeds = st.integers(0, 2**16)
any_problem = given(seed=seeds, two_sided=st.booleans(), num_wrong=st.integers(0, 6))
many_examples = settings(max_examples=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Traces (channel, sample), the dictionary behind them, and a guess of the events in them."""

    traces: torch.Tensor
    dictionary: Dictionary
    events: Located


def make_events(rows):
    """Return the events of (shift, atom, amplitude) rows, on samples, sorted by shift."""
    shift, atom, amplitude = np.array(sorted(rows)).reshape(-1, 3).T
    offset = np.zeros(atom.size, "float32")
    return Located(atom.astype("int64"), shift.astype("int64"), offset, amplitude.astype("float32"))


def reconstruct(events, dictionary):
    """Return the traces of events on samples."""
    assert not events.offset.any()
    code = np.zeros((dictionary.num_atoms, NUM_SHIFTS))
    np.add.at(code, (events.atom_index, events.shift), events.amplitude)
    return synthesize(torch.from_numpy(code)[None], dictionary.atoms.double())[0]


def residual_of(problem, events):
    """Return the correlation of what the events leave of the traces."""
    rest = problem.traces - reconstruct(events, problem.dictionary)
    return correlate(rest[None], problem.dictionary.atoms.double())[0].float().numpy()


def worth_of(problem, events):
    """Return the log posterior of the events, times the squared noise, up to a constant."""
    misfit = (problem.traces - reconstruct(events, problem.dictionary)).square().sum().item() / 2
    ratio = np.abs(events.amplitude.astype("float64")) / problem.dictionary.scales.double().numpy()[events.atom_index]
    return -misfit - NOISE**2 * (((ratio - 1) ** 2).sum() / (2 * SPREAD**2) + PRICE * ratio.size)


def draw_dictionary_of_scales(draw_dictionary, seed):
    """Return random atoms, not all of which share a channel, and typical amplitudes five to sixteen times the noise."""
    rng = np.random.default_rng(seed)
    occupied = rng.random((NUM_ATOMS, 3)) < 0.6
    occupied[np.arange(NUM_ATOMS), rng.integers(0, 3, NUM_ATOMS)] = True
    dictionary = draw_dictionary(seed, shape=(NUM_ATOMS, 3, 3), width=WIDTH, occupied=occupied)
    return replace(dictionary, scales=torch.from_numpy(rng.uniform(5, 16, NUM_ATOMS).astype("float32")))


def plant(dictionary, rows, *, seed=0, noise=NOISE):
    """Return the traces of (shift, atom, amplitude) rows in white noise."""
    draw = torch.Generator().manual_seed(seed)
    return reconstruct(make_events(rows), dictionary) + noise * torch.randn(
        dictionary.atoms.shape[1], NUM_SHIFTS + WIDTH - 1, generator=draw, dtype=torch.float64
    )


def draw_problem(draw_dictionary, seed, *, two_sided=False, num_wrong=3, num_events=6):
    """Return noisy traces of random events, as dense as they come, and a guess that has some of them wrong."""
    rng = np.random.default_rng(seed)
    dictionary = draw_dictionary_of_scales(draw_dictionary, seed)
    scales = dictionary.scales.numpy()
    signs = rng.choice([-1, 1] if two_sided else [1], num_events)

    def draw_rows(atoms, shifts, low, high):
        return list(zip(shifts, atoms, signs * scales[atoms] * rng.uniform(low, high, num_events), strict=True))

    atoms, shifts = rng.integers(0, NUM_ATOMS, num_events), rng.integers(0, NUM_SHIFTS, num_events)
    rows = draw_rows(atoms, shifts, 0.9, 1.1)
    moved = np.clip(shifts + rng.integers(-3, 4, num_events), 0, NUM_SHIFTS - 1)
    wrong = draw_rows(rng.integers(0, NUM_ATOMS, num_events), moved, 0.7, 1.5)
    return Problem(
        traces=plant(dictionary, rows, seed=seed),
        dictionary=dictionary,
        events=make_events([*wrong[:num_wrong], *rows[num_wrong:]]),
    )


def resolve(problem, *, residual=None, active=True, scales=None, as_array=np.asarray):
    """Return the events, where the new ones stand, and the residual correlation afterwards."""
    gram = Gram.of(problem.dictionary)
    residual = as_array(residual_of(problem, problem.events) if residual is None else residual)
    events, new_shifts = overlaps_module.resolve_overlaps(
        residual,
        Located(*(part.copy() for part in problem.events)),
        np.full(problem.events.shift.size, active),
        Pairs(*(as_array(part) for part in gram.pairs)),
        problem.dictionary.scales.numpy() if scales is None else scales,
        Odds(*np.array([NOISE, SPREAD, PRICE], "float32")),
        Limits(max_move=MAX_MOVE, refractory=REFRACTORY),
    )
    return events, new_shifts, residual


def rows_of(events):
    return sorted(zip(events.shift.tolist(), events.atom_index.tolist(), events.amplitude.tolist(), strict=True))


@many_examples
@any_problem
def test_the_events_never_become_less_probable(draw_dictionary, seed, two_sided, num_wrong):
    problem = draw_problem(draw_dictionary, seed, two_sided=two_sided, num_wrong=num_wrong)
    events, new_shifts, _ = resolve(problem)
    gain = worth_of(problem, events) - worth_of(problem, problem.events)
    assert gain > NOISE**2 if new_shifts.size else rows_of(events) == rows_of(problem.events)


@many_examples
@any_problem
def test_the_residual_is_that_of_the_events_returned(draw_dictionary, seed, two_sided, num_wrong):
    problem = draw_problem(draw_dictionary, seed, two_sided=two_sided, num_wrong=num_wrong)
    events, _, residual = resolve(problem)
    np.testing.assert_allclose(residual, residual_of(problem, events), atol=1e-4)


@many_examples
@any_problem
def test_the_residual_follows_events_between_samples(draw_dictionary, seed, two_sided, num_wrong):
    problem = draw_problem(draw_dictionary, seed, two_sided=two_sided, num_wrong=num_wrong)
    gram, correlation = Gram.of(problem.dictionary), residual_of(problem, make_events([]))
    offset = np.random.default_rng(seed).uniform(-0.5, 0.5, problem.events.shift.size).astype("float32")
    problem = replace(problem, events=problem.events._replace(offset=offset))

    def without(events):
        residual = correlation.copy()
        descent_module.subtract_events(residual, gram.pairs, events)
        return residual

    events, _, residual = resolve(problem, residual=without(problem.events))
    np.testing.assert_allclose(residual, without(events), atol=1e-4)


@many_examples
@any_problem
def test_new_events_stand_on_samples_near_those_they_replace_and_keep_to_the_model(
    draw_dictionary, seed, two_sided, num_wrong
):
    problem = draw_problem(draw_dictionary, seed, two_sided=two_sided, num_wrong=num_wrong)
    (atom, shift, offset, amplitude), new_shifts, _ = resolve(problem)
    assert np.isin(new_shifts, shift).all()
    assert not offset.any()
    assert atom.size <= 2 * problem.events.shift.size
    assert ((0 <= shift) & (shift < NUM_SHIFTS)).all()
    assert np.isfinite(amplitude).all()
    assert amplitude.all()
    assert two_sided or (amplitude > 0).all()
    distance = np.abs(new_shifts[:, None] - problem.events.shift).min(axis=1, initial=NUM_SHIFTS)
    assert (distance <= 3 * MAX_MOVE).all()


@many_examples
@given(seed=seeds, low=st.integers(0, 10))
def test_events_that_stand_apart_and_fit_are_returned_unchanged(draw_dictionary, seed, low):
    rng = np.random.default_rng(seed)
    dictionary = draw_dictionary_of_scales(draw_dictionary, seed)
    atoms, shifts = rng.integers(0, NUM_ATOMS, 4), low + np.arange(4) * (WIDTH + 3)
    amplitudes = dictionary.scales.numpy()[atoms] * rng.uniform(1 - 0.9 * SPREAD, 1 + 0.9 * SPREAD, 4)
    rows = list(zip(shifts, atoms, amplitudes, strict=True))
    problem = Problem(
        traces=plant(dictionary, rows, seed=seed, noise=0.5), dictionary=dictionary, events=make_events(rows)
    )
    events, new_shifts, residual = resolve(problem)
    assert new_shifts.size == 0
    for part, before in zip(events, problem.events, strict=True):
        np.testing.assert_array_equal(part, before)
    np.testing.assert_array_equal(residual, residual_of(problem, problem.events))


@many_examples
@any_problem
def test_events_not_looked_at_are_returned_unchanged(draw_dictionary, seed, two_sided, num_wrong):
    problem = draw_problem(draw_dictionary, seed, two_sided=two_sided, num_wrong=num_wrong)
    events, new_shifts, residual = resolve(problem, active=False)
    assert new_shifts.size == 0
    assert rows_of(events) == rows_of(problem.events)
    np.testing.assert_array_equal(residual, residual_of(problem, problem.events))


def test_no_events_are_no_events(draw_dictionary):
    problem = replace(draw_problem(draw_dictionary, 0), events=make_events([]))
    events, new_shifts, _ = resolve(problem)
    assert events.shift.size == new_shifts.size == 0


@many_examples
@any_problem
def test_an_atom_that_is_taken_out_is_never_used(draw_dictionary, seed, two_sided, num_wrong):
    problem = draw_problem(draw_dictionary, seed, two_sided=two_sided, num_wrong=num_wrong)
    out = seed % NUM_ATOMS
    stays = problem.events.atom_index != out
    problem = replace(problem, events=Located(*(part[stays] for part in problem.events)))
    scales = problem.dictionary.scales.numpy().copy()
    scales[out] = np.nan
    events, _, _ = resolve(problem, scales=scales)
    assert not (events.atom_index == out).any()


def test_without_atoms_out_the_true_ones_are_used(draw_dictionary):
    """What the claim above rests on: that events of one atom are exchanged for those of another at all."""
    num_changes = 0
    for seed in range(20):
        problem = draw_problem(draw_dictionary, seed, num_wrong=6)
        events, new_shifts, _ = resolve(problem)
        num_changes += new_shifts.size > 0 and not np.isin(events.atom_index, problem.events.atom_index).all()
    assert num_changes > 0


def draw_alike(draw_dictionary, seed):
    """Return four atoms of much the same shape, and typical amplitudes of 4, 5, 6 and 7 times the noise."""
    dictionary = draw_dictionary(seed, shape=(NUM_ATOMS, 2, 3), width=WIDTH)
    weights = dictionary.weights[:1] + 0.4 * dictionary.weights
    return replace(
        dictionary,
        weights=torch.nn.functional.normalize(weights.flatten(1)).view_as(weights),
        scales=torch.tensor([4.0, 5.0, 6.0, 7.0]),
    )


def measure(problem, places):
    """Return the correlations of the traces with atoms at (shift, atom) places, their Gram matrix, and their scales."""
    responses = [reconstruct(make_events([(*place, 1.0)]), problem.dictionary).flatten() for place in places]
    matrix = torch.stack(responses).numpy()
    scales = problem.dictionary.scales.double().numpy()[[atom for _, atom in places]]
    return matrix @ problem.traces.flatten().numpy(), matrix @ matrix.T, scales


def explain(values, gram, scales):
    """Return the worth of events above that of none, at their most probable amplitudes, and these."""
    pull = (NOISE / (SPREAD * scales)) ** 2
    target = values + pull * scales
    amplitude = np.linalg.solve(gram + np.diag(pull), target)
    return (target @ amplitude - pull @ scales**2) / 2 - PRICE * NOISE**2 * scales.size, amplitude


def best_explanation(problem, shifts):
    """Return the most that one or two events on some shifts can be worth, and where they stand, by trying them all."""
    places = [(shift, atom) for shift in shifts for atom in range(NUM_ATOMS)]
    values, gram, scales = measure(problem, places)
    best, chosen = -np.inf, []
    for members in [[one] for one in range(len(places))] + [[*pair] for pair in combinations(range(len(places)), 2)]:
        shift, atom = np.array([places[member] for member in members]).T
        if len(members) == 2 and atom[0] == atom[1] and abs(shift[0] - shift[1]) < REFRACTORY:
            continue
        worth, amplitude = explain(values[members], gram[np.ix_(members, members)], scales[members])
        if worth > best and (amplitude > 0).all():
            best, chosen = worth, sorted(places[member] for member in members)
    return best, chosen


@settings(max_examples=100)
@given(seed=seeds, lag=st.integers(0, 5), edge=st.sampled_from([0, 30, NUM_SHIFTS - 6]), num_planted=st.integers(1, 2))
def test_one_event_is_exchanged_for_the_best_one_or_two_there_are(draw_dictionary, seed, lag, edge, num_planted):
    dictionary, rng = draw_alike(draw_dictionary, seed), np.random.default_rng(seed)
    first, second, wrong = rng.integers(0, NUM_ATOMS, 3)
    rows = [(edge, first, 4.0 + first), (edge + lag, second, 4.0 + second)][:num_planted]
    middle = edge + lag // 2
    guess = make_events([(middle, wrong, 1.5 * (4.0 + wrong))])
    problem = Problem(traces=plant(dictionary, rows, seed=seed), dictionary=dictionary, events=guess)
    events, _, _ = resolve(problem)
    found = [row[:2] for row in rows_of(events)]
    best, chosen = best_explanation(problem, range(max(middle - MAX_MOVE, 0), min(middle + MAX_MOVE + 1, NUM_SHIFTS)))
    assert explain(*measure(problem, found))[0] > best - 1.01 * NOISE**2
    if len(found) == 2:
        assert found == chosen


class Strict(np.ndarray):
    """An array without negative indices: plain Python takes them from the end."""

    def __getitem__(self, key):
        for part in key if isinstance(key, tuple) else (key,):
            for bound in (part.start, part.stop) if isinstance(part, slice) else (part,):
                if isinstance(bound, int | np.integer) and bound < 0:
                    raise IndexError(f"negative index {bound}")
        return super().__getitem__(key)


@pytest.fixture
def _plain_python(monkeypatch):
    """Replace what is compiled by what it was compiled from, where an index beyond an array is an error."""
    for module in (overlaps_module, worth_module, descent_module, gram_module, interpolation_module):
        for name, function in list(vars(module).items()):
            if hasattr(function, "py_func"):
                monkeypatch.setattr(module, name, function.py_func)


def draw_crowd(draw_dictionary, seed, *, are_between_samples):
    """Return a problem whose events crowd at both ends of the map, two under each that is guessed."""
    dictionary, rng = draw_dictionary_of_scales(draw_dictionary, seed), np.random.default_rng(seed)
    scales = dictionary.scales.numpy()
    size = rng.choice([1.0, 2.0], 8)
    shifts = np.concatenate([np.arange(0, 12, 3), np.arange(NUM_SHIFTS - 12, NUM_SHIFTS, 3) + 2])
    atoms = rng.integers(0, NUM_ATOMS, (2, shifts.size))
    later = np.minimum(shifts + 2, NUM_SHIFTS - 1)
    rows = [*zip(shifts, atoms[0], scales[atoms[0]], strict=True), *zip(later, atoms[1], scales[atoms[1]], strict=True)]
    guess = make_events(
        list(zip(shifts, rng.integers(0, NUM_ATOMS, shifts.size), size * scales[atoms[0]], strict=True))
    )
    problem = Problem(traces=plant(dictionary, rows, noise=0.3), dictionary=dictionary, events=guess)
    residual = residual_of(problem, guess)
    if are_between_samples:
        offset = rng.uniform(-0.5, 0.5, shifts.size).astype("float32")
        problem = replace(problem, events=guess._replace(offset=offset))
        gram, residual = Gram.of(dictionary), residual_of(problem, make_events([]))
        descent_module.subtract_events(residual, gram.pairs, problem.events)
    return problem, residual


@pytest.mark.parametrize("are_between_samples", [False, True])
def test_no_index_leaves_its_array_at_the_ends_of_the_map_or_where_many_events_split(
    draw_dictionary, are_between_samples, request
):
    cases = [draw_crowd(draw_dictionary, seed, are_between_samples=are_between_samples) for seed in range(8)]
    compiled = [resolve(problem, residual=residual.copy()) for problem, residual in cases]
    assert max(events.shift.size for events, _, _ in compiled) > cases[0][0].events.shift.size + 2
    request.getfixturevalue("_plain_python")
    assert not hasattr(overlaps_module.resolve_overlaps, "py_func")
    for (problem, residual), (events, _, rest) in zip(cases, compiled, strict=True):
        plain, _, plain_rest = resolve(problem, residual=residual.copy(), as_array=lambda array: array.view(Strict))
        assert [row[:2] for row in rows_of(plain)] == [row[:2] for row in rows_of(events)]
        np.testing.assert_allclose(plain_rest, rest, atol=1e-3)


def draw_pair(seed, likeness):
    """Return the encoder of two spike-like atoms of that correlation: the second is the first and something smooth."""
    rng, time = np.random.default_rng(seed), np.arange(40) - 14
    spike = -np.exp(-0.5 * (time / 2.5) ** 2) + 0.5 * np.exp(-0.5 * ((time - 7) / 4) ** 2)
    first = np.stack([spike, 0.5 * np.roll(spike, 1)])
    first /= np.linalg.norm(first)
    smooth = [np.convolve(rng.standard_normal(60), np.hanning(9), "same")[10:-10] for _ in range(2)]
    change = np.stack(smooth) * np.exp(-0.5 * ((time - 2) / 6) ** 2)
    change -= (change * first).sum() * first
    second = likeness * first + np.sqrt(1 - likeness**2) * change / np.linalg.norm(change)
    templates = torch.from_numpy(np.stack([22 * first, 26 * second]).astype("float32"))
    dictionary = Dictionary.from_coefficients(templates, torch.eye(40), num_before=14)
    scales = dictionary.scales.numpy()
    settings = EncoderSettings(
        regularization=np.full(2, 5.0, "float32"),
        min_amplitude=0.6 * scales,
        max_amplitude=1.6 * scales,
        noise=NOISE,
        max_gap=5,
        refractory=15,
    )
    return Encoder.of(dictionary, settings)


def misplaced_by(encoder, lag, *, first, seed, noise):
    """Return how far (samples) the events of both atoms are from where they were planted; inf if they are not both."""
    dictionary = encoder.dictionary
    code = torch.zeros(1, 2, 120)
    code[0, first, 50], code[0, 1 - first, 50 + lag] = dictionary.scales[first], dictionary.scales[1 - first]
    traces = synthesize(code, dictionary.atoms)
    traces += noise * torch.randn(traces.shape, generator=torch.Generator().manual_seed(seed))
    events = encoder.encode(correlate(traces, dictionary.atoms)[0].numpy())
    if events.atom_index.tolist() != [first, 1 - first]:
        return np.inf
    return np.abs(events.sample_index + events.sample_offset - [50, 50 + lag]).max()


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("lag", [2, 3, 4])
@pytest.mark.parametrize("likeness", [0.92, 0.97])
def test_overlapping_events_of_atoms_much_alike_are_told_apart_only_together(likeness, lag, noise, monkeypatch):
    encoders = [draw_pair(seed, likeness) for seed in range(20)]
    assert all(encoder.gram.values[1].max() > 0.9 for encoder in encoders)

    def misplaced():
        errors = [
            misplaced_by(encoder, lag, first=first, seed=seed, noise=noise)
            for seed, encoder in enumerate(encoders)
            for first in (0, 1)
        ]
        return np.array(errors)

    together = misplaced()
    assert (together < 1).all()
    assert np.mean(together < 0.5) > 0.95
    unchanged = np.zeros(0, "int64")
    monkeypatch.setattr(map_module, "resolve_overlaps", lambda residual, events, *_: Exchanged(events, unchanged))
    one_at_a_time = misplaced()
    assert np.mean(one_at_a_time < 1) < (0.65 if lag < 4 else 0.95)
