"""Claims about clean waveforms: an event's own, without all others."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from si_crsae.core import SparseEvents, clean_features, component_lags, filter_with_basis, synthesize

NUM_SHIFTS = 25
seeds = st.integers(0, 2**16)
few_examples = settings(max_examples=20)
OCCUPIED = [[1, 1, 0], [0, 1, 1], [1, 0, 1]]


@st.composite
def event_lists(draw):
    """Return many overlapping events, at most one per atom and shift."""
    places = st.tuples(st.integers(0, NUM_SHIFTS - 1), st.integers(0, 2))
    shift, atom_index = np.array(sorted(draw(st.lists(places, min_size=1, max_size=10, unique=True))), "int64").T.copy()
    amplitude = draw(st.lists(st.floats(5, 50, width=32), min_size=shift.size, max_size=shift.size))
    return at_whole_samples(shift, atom_index, amplitude)


def at_whole_samples(shift, atom_index, amplitude):
    shift, atom_index = np.array(shift, "int64"), np.array(atom_index, "int64")
    return SparseEvents.in_order(atom_index, shift, np.zeros(shift.size, "float32"), np.array(amplitude, "float32"))


def traces_of(dictionary, events):
    code = torch.zeros(1, dictionary.num_atoms, NUM_SHIFTS)
    code[0, events.atom_index, events.sample_index] = torch.from_numpy(events.amplitude)
    return synthesize(code, dictionary.atoms)[0]


def look(dictionary, traces, events, *, own, shift, channels):
    return clean_features(
        filter_with_basis(traces, dictionary.basis).numpy(),
        events=events,
        own=own,
        shift=shift,
        channels=channels,
        weights=dictionary.weights.numpy(),
        lags=component_lags(dictionary.basis).numpy(),
    )


@few_examples
@given(seed=seeds, events=event_lists())
def test_the_feature_of_an_event_is_its_amplitude_times_the_weights_of_its_atom(draw_dictionary, seed, events):
    dictionary = draw_dictionary(seed, shape=(3, 3, 3), occupied=OCCUPIED)
    channels = np.array([[0, 1], [1, 2], [2, 0]])[events.atom_index]
    own = np.arange(len(events))
    traces = traces_of(dictionary, events)
    features = look(dictionary, traces, events, own=own, shift=events.sample_index, channels=channels)
    weights = dictionary.weights.numpy()[events.atom_index[:, None], channels]
    np.testing.assert_allclose(features, events.amplitude[:, None, None] * weights, atol=1e-3)


@few_examples
@given(seed=seeds, events=event_lists(), shift=st.integers(0, NUM_SHIFTS - 1))
def test_without_an_event_of_its_own_the_feature_is_that_of_the_residual(draw_dictionary, seed, events, shift):
    dictionary = draw_dictionary(seed, shape=(3, 3, 3), occupied=OCCUPIED)
    noise = torch.randn(3, NUM_SHIFTS + dictionary.width - 1, generator=torch.Generator().manual_seed(seed))
    row = {"own": np.array([-1]), "shift": np.array([shift]), "channels": np.array([[0, 1, 2]])}
    silent = look(dictionary, traces_of(dictionary, events), events, **row)
    noisy = look(dictionary, traces_of(dictionary, events) + noise, events, **row)
    np.testing.assert_allclose(silent, 0, atol=1e-3)
    np.testing.assert_allclose(noisy[0], filter_with_basis(noise, dictionary.basis)[:, :, shift].numpy(), atol=1e-3)


@few_examples
@given(seed=seeds, events=event_lists())
def test_a_missing_channel_gives_zeros(draw_dictionary, seed, events):
    dictionary = draw_dictionary(seed, shape=(3, 3, 3), occupied=OCCUPIED)
    traces, own = traces_of(dictionary, events), np.arange(len(events))
    channels = np.tile([2, -1, 0], (len(events), 1))
    features = look(dictionary, traces, events, own=own, shift=events.sample_index, channels=channels)
    present = look(dictionary, traces, events, own=own, shift=events.sample_index, channels=channels[:, [0, 2]])
    np.testing.assert_array_equal(features[:, 1], 0)
    np.testing.assert_array_equal(features[:, [0, 2]], present)


def test_looking_leaves_the_filtered_traces_as_they_were(draw_dictionary):
    dictionary = draw_dictionary(0, shape=(3, 3, 3), occupied=OCCUPIED)
    filtered = np.ones((3, 3, NUM_SHIFTS), "float32")
    events = at_whole_samples([4], [1], [1.0])
    clean_features(
        filtered,
        events=events,
        own=np.array([-1]),
        shift=np.array([4]),
        channels=np.array([[0, -1, 2]]),
        weights=dictionary.weights.numpy(),
        lags=component_lags(dictionary.basis).numpy(),
    )
    np.testing.assert_array_equal(filtered, 1)
