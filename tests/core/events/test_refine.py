"""Claims about the steps from a code to events: group, refit, place, drop."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from si_crsae.core import Dictionary, Gram, correlate, synthesize
from si_crsae.core.events.placement import place_events
from si_crsae.core.events.refine import (
    Interactions,
    group_code,
    interactions,
    join_alike,
    observe,
    refit,
    worst_events,
)
from si_crsae.core.events.worth import Odds
from si_crsae.core.types import Located

WIDTH = 6
seeds = st.integers(0, 2**16)
few_examples = settings(max_examples=20)


def correlation_of(traces, dictionary):
    return correlate(traces, dictionary.atoms)[0].numpy()


def group(rows, max_gap):
    """Return the (atom, shift, amplitude) of the events of a code given by its rows."""
    return without_offsets(group_code(np.array(rows, "float32"), max_gap))


def without_offsets(events):
    """Return the (atom, shift, amplitude) rows of events."""
    columns = (events.atom_index, events.shift, events.amplitude)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_a_run_of_one_atom_becomes_one_event_at_its_peak():
    code = [[0, 1, 3, 0, 2, 0, 0, 5, 0], [4, 0, 0, 0, 0, 0, 0, 0, 0]]
    assert group(code, 2) == [(0, 2, 6.0), (0, 7, 5.0), (1, 0, 4.0)]
    assert group(code, 3) == [(0, 7, 11.0), (1, 0, 4.0)]


def test_a_run_goes_on_as_long_as_every_gap_is_small():
    assert group([[1, 0, 2, 0, 1, 0, 1]], 2) == [(0, 2, 5.0)]


def test_of_equal_coefficients_the_first_is_the_peak():
    assert group([[0, 2, 2, 0]], 1) == [(0, 1, 4.0)]


def test_without_gaps_every_coefficient_is_an_event():
    assert group([[0, 2, 1], [3, 0, 0]], 0) == [(0, 1, 2.0), (0, 2, 1.0), (1, 0, 3.0)]


def test_a_code_of_zeros_has_no_events():
    assert group(np.zeros((2, 5)), 3) == []


def test_an_event_stands_at_the_center_of_mass_of_its_run():
    events = group_code(np.array([[0, 1, 3, 0, 0, 0], [0, 0, 0, 3, 3, 1]], "float32"), 1)
    assert events.shift.tolist() == [2, 3]
    assert events.offset.tolist() == [-0.25, 0.5]  # 5 / 7 of a sample, of which no more than half is the event's


def test_a_change_of_sign_ends_a_run():
    assert group([[0, 2, 3, -4, -1, 0]], 2) == [(0, 2, 5.0), (0, 3, -5.0)]


def as_events(rows):
    """Return the events of (atom, shift, amplitude) rows on whole samples."""
    atom_index, shift, amplitude = zip(*rows, strict=True)
    offset = np.zeros(len(rows), "float32")
    return Located(np.array(atom_index, "int64"), np.array(shift, "int64"), offset, np.array(amplitude, "float32"))


@st.composite
def event_lists(draw, num_atoms=3, num_shifts=25, max_size=8):
    """Return events, on whole samples, at different places, sorted by shift, then atom."""
    places = st.tuples(st.integers(0, num_shifts - 1), st.integers(0, num_atoms - 1))
    rows = sorted(draw(st.lists(places, min_size=1, max_size=max_size, unique=True)))
    amplitude = draw(st.lists(st.floats(1, 10, width=32), min_size=len(rows), max_size=len(rows)))
    return as_events([(atom, shift, size) for (shift, atom), size in zip(rows, amplitude, strict=True)])


def explicit_design(dictionary, events, num_shifts=25):
    """Return the waveform of every event at unit amplitude, in columns."""
    codes = torch.zeros(events.shift.size, dictionary.num_atoms, num_shifts)
    codes[np.arange(events.shift.size), events.atom_index, events.shift] = 1.0
    return synthesize(codes, dictionary.atoms).flatten(1).T.numpy()


@few_examples
@given(seed=seeds, events=event_lists())
def test_interactions_are_the_correlations_of_overlapping_events(draw_dictionary, seed, events):
    dictionary = draw_dictionary(seed, occupied=[[1, 0], [1, 1], [0, 1]])
    gram = Gram.of(dictionary)
    overlaps, num_events = interactions(events, gram.pairs), events.shift.size
    dense = np.eye(num_events)
    dense[np.repeat(np.arange(num_events), np.diff(overlaps.start)), overlaps.other] = overlaps.correlation
    design = explicit_design(dictionary, events)
    np.testing.assert_allclose(dense, design.T @ design, atol=1e-5)
    meet = gram.pair_index[np.ix_(events.atom_index, events.atom_index)] >= 0
    meet &= np.abs(np.subtract.outer(events.shift, events.shift)) < WIDTH
    assert len(overlaps.other) == meet.sum() - num_events


@few_examples
@given(seed=seeds, events=event_lists())
def test_refit_solves_the_nonnegative_least_squares(draw_dictionary, seed, events):
    dictionary, gram = draw_dictionary(seed), Gram.of(draw_dictionary(seed))
    traces = torch.randn(1, 2, 25 + WIDTH - 1, generator=torch.Generator().manual_seed(seed))
    design = explicit_design(dictionary, events)
    amplitude = events.amplitude.copy()
    observed = observe(correlation_of(traces, dictionary), events)
    refit(observed, amplitude, np.sign(amplitude), interactions(events, gram.pairs), 1e-6)
    expected, distance = nnls(design, traces.flatten().numpy())
    np.testing.assert_allclose(np.linalg.norm(design @ amplitude - traces.flatten().numpy()), distance, rtol=1e-3)
    np.testing.assert_allclose(amplitude, expected, atol=0.05)
    assert amplitude.min() >= 0


def keep(rows, pairs, *, max_gap=5):
    """Return which events are kept, given the correlations of the pairs that overlap."""
    dense = np.zeros((len(rows), len(rows)), "float32")
    for (first, second), correlation in pairs.items():
        dense[first, second] = dense[second, first] = correlation
    return join_alike(as_events(rows), as_interactions(dense), max_gap, 0.8).tolist()


def as_interactions(dense):
    """Return the interactions of events given by the correlation of each pair, zero where they do not overlap."""
    start = np.concatenate([[0], (dense != 0).sum(axis=1).cumsum()])
    return Interactions(start, np.nonzero(dense)[1], dense[dense != 0])


def test_of_two_events_that_share_a_spike_the_larger_stays():
    rows = [(0, 10, 5.0), (1, 12, 8.0)]
    assert keep(rows, {(0, 1): 0.9}) == [False, True]
    assert keep(rows, {(0, 1): 0.7}) == [True, True]
    assert keep(rows, {(0, 1): 0.9}, max_gap=1) == [True, True]


def test_of_two_equal_events_that_share_a_spike_one_stays():
    assert sorted(keep([(0, 10, 5.0), (1, 10, 5.0)], {(0, 1): 0.9})) == [False, True]


def test_an_event_that_shares_a_spike_takes_no_other_with_it():
    rows = [(0, 10, 9.0), (1, 13, 8.0), (2, 16, 7.0)]
    assert keep(rows, {(0, 1): 0.9, (1, 2): 0.9}) == [True, False, True]


def traces_of(dictionary, rows, num_shifts=12):
    traces = explicit_design(dictionary, as_events(rows), num_shifts) @ as_events(rows).amplitude
    return torch.as_tensor(traces).view(1, -1, num_shifts + dictionary.width - 1)


def place(traces, dictionary, rows, *, spread=1e3, max_move=2, active=None):
    """Return the placed events as rows; the amplitudes hardly matter unless the spread is small."""
    gram = Gram.of(dictionary)
    placed = place_events(
        correlation_of(traces, dictionary),
        as_events(rows),
        np.ones(len(rows), bool) if active is None else np.array(active),
        gram.pairs,
        gram.similar,
        dictionary.scales.numpy(),
        Odds(noise=np.float32(1.0), spread=np.float32(spread), price=np.float32(7.0)),
        max_move,
    )
    return without_offsets(placed)


@few_examples
@given(
    seed=seeds, shift=st.integers(0, 6), move=st.integers(-2, 2), lag=st.integers(3, 5), atoms=st.permutations(range(3))
)
def test_an_event_moves_to_where_it_stands_under_a_larger_one(draw_dictionary, seed, shift, move, lag, atoms):
    dictionary = draw_dictionary(seed)
    planted = [(atoms[0], shift, 5.0), (atoms[1], shift + lag, 50.0)]
    misplaced = [(atoms[0], max(shift + move, 0), 4.0), planted[1]]
    assert place(traces_of(dictionary, planted), dictionary, misplaced) == [
        pytest.approx(row, abs=1e-3) for row in planted
    ]


def test_an_event_moves_no_further_than_allowed(draw_dictionary):
    dictionary = draw_dictionary(0, shape=(1, 2, 3))
    traces = traces_of(dictionary, [(0, 4, 5.0)])
    assert place(traces, dictionary, [(0, 5, 5.0)], max_move=1) == [(0, 4, pytest.approx(5.0))]
    assert place(traces, dictionary, [(0, 5, 5.0)], max_move=0)[0][:2] == (0, 5)


def test_only_active_events_move(draw_dictionary):
    dictionary = draw_dictionary(0)
    traces = traces_of(dictionary, [(0, 4, 50.0), (1, 9, 50.0)])
    rows = [(0, 3, 50.0), (1, 8, 50.0)]
    placed = place(traces, dictionary, rows, active=[False, True])
    assert placed[0] == rows[0]
    assert placed[1][:2] != rows[1][:2]


def test_an_event_stays_within_the_traces(draw_dictionary):
    # In memory the first shift of the second atom follows the last one of the first.
    dictionary, planted = draw_dictionary(0), [(1, 0, 50.0), (0, 11, 5.0)]
    assert place(traces_of(dictionary, planted), dictionary, planted) == [pytest.approx(row) for row in planted]


def test_an_event_that_fits_nowhere_stays_as_it_is(draw_dictionary):
    dictionary = draw_dictionary(0)
    assert place(torch.zeros(1, 2, 17), dictionary, [(1, 5, 3.0)]) == [(1, 5, 3.0)]


@pytest.mark.parametrize(("amplitude", "atom"), [(9.0, 0), (11.0, 0), (18.0, 1), (23.0, 1)])
def test_of_two_atoms_of_one_shape_the_amplitude_chooses(amplitude, atom):
    coefficients = torch.zeros(2, 1, 8)
    coefficients[0, 0, 1:4], coefficients[1, 0, 4:7] = torch.tensor([1.0, -8.0, 6.0]), torch.tensor([2.0, -16.0, 12.0])
    dictionary = Dictionary.from_coefficients(coefficients, torch.eye(8), num_before=2)
    spikes = [(0, 6, amplitude), (1, 3, amplitude)]  # the same waveform: the second atom is the first, 3 samples later
    for spike in spikes:
        traces = traces_of(dictionary, [spike])
        assert place(traces, dictionary, [spike], spread=0.2) == [pytest.approx(spikes[atom])]


def drop(rows, *, badness=None, refractory=0):
    """Return which of the events, all of whose atoms meet within 6 samples, are dropped."""
    events = as_events(rows)
    overlap = np.abs(np.subtract.outer(events.shift, events.shift)) < WIDTH
    np.fill_diagonal(overlap, val=False)
    badness = np.array(badness or [-1.0] * len(rows), "float32")
    return worst_events(badness, events, as_interactions(overlap.astype("float32")), refractory).tolist()


def test_the_smaller_of_two_events_within_the_refractory_period_is_dropped():
    assert drop([(0, 10, 5.0), (0, 13, 8.0)], refractory=4) == [True, False]
    assert drop([(0, 10, 8.0), (0, 13, 5.0)], refractory=4) == [False, True]
    assert drop([(0, 10, 8.0), (0, 13, 5.0)], refractory=3) == [False, False]
    assert drop([(0, 10, 8.0), (1, 13, 5.0)], refractory=4) == [False, False]


def test_of_two_equal_events_within_the_refractory_period_one_stays():
    assert drop([(0, 10, 5.0), (0, 10, 5.0)], refractory=4) == [False, True]


def test_an_event_stays_when_the_rival_that_exceeds_it_is_dropped():
    assert drop([(0, 10, 10.0), (0, 13, 9.0), (0, 16, 8.0)], refractory=4) == [False, True, False]


def test_the_refractory_period_goes_before_the_amplitude():
    assert drop([(0, 10, 10.0), (0, 13, 9.0)], badness=[0.9, -0.5], refractory=4) == [False, True]


def test_of_overlapping_bad_events_the_worst_is_dropped():
    rows = [(0, 10, 5.0), (1, 13, 5.0), (2, 15, 5.0), (0, 25, 5.0)]
    assert drop(rows, badness=[0.2, 0.5, -0.1, 0.1]) == [False, True, False, True]
    assert drop(rows) == [False] * 4
