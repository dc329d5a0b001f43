"""Claims about the correlation map: what events leave of it is the map of the traces without them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from si_crsae.core import Encoder, EncoderSettings, SparseEvents, correlate
from si_crsae.core.events import encoder as encoder_module
from si_crsae.core.events.explanations import LogWeights, subtract_waveforms
from si_crsae.core.events.overlaps import Limits
from si_crsae.core.events.refine import AmplitudeWindow, Interactions
from si_crsae.core.types import Located

WIDTH, NUM_ATOMS, NUM_SHIFTS = 12, 4, 80
EDGE = 8  # an event between samples is a sum of events on eight samples, none of which may stand outside the traces
OCCUPIED = [[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]]
seeds = st.integers(0, 2**16)
few_examples = settings(max_examples=30)


@pytest.fixture(scope="module")
def make_encoder(draw_dictionary):
    def make(seed, **changes):
        dictionary = draw_dictionary(seed, shape=(NUM_ATOMS, 3, 3), width=WIDTH, occupied=OCCUPIED)
        dictionary = replace(dictionary, scales=torch.tensor([6.0, 8.0, 10.0, 12.0]))
        settings = {
            "regularization": np.full(NUM_ATOMS, 2.0, "float32"),
            "min_amplitude": np.full(NUM_ATOMS, 3.0, "float32"),
            "max_amplitude": np.full(NUM_ATOMS, 20.0, "float32"),
            "noise": 1.0,
            "max_gap": 3,
            "refractory": 6,
        }
        return Encoder.of(dictionary, EncoderSettings(**settings | changes))

    return make


def draw_traces(seed):
    return 2 * np.random.default_rng(seed).standard_normal((3, NUM_SHIFTS + WIDTH - 1)).astype("float32")


def correlation_of(traces, encoder):
    return correlate(torch.from_numpy(traces)[None], encoder.dictionary.atoms)[0].numpy()


@st.composite
def event_lists(draw, max_size=6):
    """Return events at any times and of either sign, some of them on samples; they may be none."""
    places = st.tuples(
        st.integers(0, NUM_ATOMS - 1),
        st.integers(EDGE, NUM_SHIFTS - EDGE),
        st.sampled_from([0.0, -0.5, 0.25, 0.5]) | st.floats(-0.5, 0.5, width=32),
        st.floats(-15, 15, width=32),
    )
    rows = draw(st.lists(places, max_size=max_size))
    columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    return SparseEvents.in_order(
        *(np.array(c, kind) for c, kind in zip(columns, ("i8", "i8", "f4", "f4"), strict=True))
    )


@few_examples
@given(seed=seeds, sequence=st.lists(event_lists(), max_size=4))
def test_what_any_sequence_of_events_leaves_is_the_map_of_the_traces_without_them(make_encoder, seed, sequence):
    encoder, traces = make_encoder(seed), draw_traces(seed)
    left = encoder.map_of(correlation_of(traces, encoder))
    for events in sequence:
        left = left.without(events)
        subtract_waveforms(traces, events.located, encoder.dictionary.atoms.numpy())
        np.testing.assert_allclose(left.values, correlation_of(traces, encoder), atol=1e-3)


@few_examples
@given(seed=seeds, first=event_lists(), second=event_lists())
def test_events_are_taken_out_in_parts_or_at_once_or_put_back(make_encoder, seed, first, second):
    encoder = make_encoder(seed)
    seen = encoder.map_of(correlation_of(draw_traces(seed), encoder))
    at_once = seen.without(SparseEvents.concatenate([first, second]))
    np.testing.assert_allclose(at_once.values, seen.without(second).without(first).values, atol=1e-3)
    put_back = at_once.without(replace(first, amplitude=-first.amplitude))
    np.testing.assert_allclose(put_back.values, seen.without(second).values, atol=1e-3)


@few_examples
@given(seed=seeds, events=event_lists(), active=st.booleans())
def test_the_map_is_never_changed(make_encoder, seed, events, active):
    encoder = make_encoder(seed)
    correlation = correlation_of(draw_traces(seed), encoder)
    seen, chosen = encoder.map_of(correlation.copy()), np.full(len(events), active)
    seen.without(events)
    seen.observe(events)
    seen.explained_energy(events)
    seen.refit(events, tolerance=1e-2)
    seen.place(events, chosen, max_move=2)
    seen.exchange(events, chosen, Limits(max_move=4, refractory=6))
    everywhere = np.ones(len(events), "float32")
    seen.prune(events, AmplitudeWindow(everywhere, 2 * everywhere), refractory=6, tolerance=1e-2)
    seen.weigh(events, slice(None), max_move=3)
    seen.find(encoder._solve, max_gap=3, min_correlation=0.8)
    np.testing.assert_array_equal(seen.values, correlation)


@few_examples
@given(seed=seeds, events=event_lists())
def test_weights_are_those_of_the_events_chosen(make_encoder, seed, events):
    encoder = make_encoder(seed)
    seen, half = encoder.map_of(correlation_of(draw_traces(seed), encoder)), slice(0, len(events) // 2)
    every, some = (seen.weigh(events, chosen, max_move=3) for chosen in (slice(None), half))
    assert type(some) is LogWeights
    for ours, theirs in zip(some, every, strict=True):
        np.testing.assert_array_equal(ours, theirs[half])


def test_without_events_the_map_is_itself(make_encoder):
    encoder = make_encoder(0)
    seen = encoder.map_of(correlation_of(draw_traces(0), encoder))
    assert seen.without(SparseEvents.empty()) is seen
    assert encoder.subtract(seen.values, SparseEvents.empty()) is seen.values
    assert type(seen.interactions(SparseEvents.empty())) is Interactions
    assert type(SparseEvents.empty().located) is Located


def test_the_odds_are_those_of_the_settings_and_atoms_out_have_no_scale(make_encoder):
    regularization = np.array([2.0, np.inf, 2.0, 2.0], "float32")
    encoder = make_encoder(0, noise=1.5, amplitude_spread=0.2, regularization=regularization)
    seen = encoder.map_of(correlation_of(draw_traces(0), encoder))
    np.testing.assert_array_equal(seen.scales, np.array([6.0, np.nan, 10.0, 12.0], "float32"))
    assert tuple(seen.odds) == (np.float32(1.5), np.float32(0.2), np.float32(encoder_module.EVENT_PRICE))
    assert {type(number) for number in seen.odds} == {np.float32}
