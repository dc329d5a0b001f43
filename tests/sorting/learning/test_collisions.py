"""Claims about which atoms are sums of others."""

import numpy as np
import pytest
from simulated_units import (
    NUM_BEFORE,
    WIDTH,
    draw_times,
    encoder_of,
    make_recording,
    make_template,
    make_unit,
    smooth_basis,
)

from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.learning.collisions import find_collisions, is_chance

FIRST = make_template((1.0, 0.5, 0.1, 0.0), norm=25)
SECOND = make_template((0.0, 0.1, 0.5, 1.0), norm=22, shape=(-0.6, 0.2, 0.7))
STRANGER = make_template((0.2, 1.0, 1.0, 0.2), norm=25, shape=(0.3, -1.0, 0.4))


def tell(recording, units):
    return [reason is not None for reason in find_collisions(recording, encoder_of(units), units)]


@pytest.fixture(scope="module")
def neurons():
    """Two neurons and the times at which they fire with a varying delay."""
    one, two = draw_times(1, count=200, refractory=250), draw_times(2, count=200, refractory=250)
    return make_unit(FIRST, one, seed=1), make_unit(SECOND, two, seed=2)


@pytest.mark.parametrize("num_events", [0, 14], ids=["new", "as many as by chance"])
def test_the_sum_of_two_atoms_is_a_collision(neurons, num_events):
    together = draw_times(3, count=30, refractory=300)
    recording = make_recording([(FIRST, together), (SECOND, together)])
    both = make_unit(FIRST + SECOND, together[:num_events], seed=3)
    assert tell(recording, [*neurons, both]) == [False, False, True]


def test_the_smeared_sum_of_two_atoms_is_told_by_its_events(neurons):
    together = draw_times(3, count=40, refractory=300)
    delays = np.random.default_rng(0).integers(-7, 8, together.size)
    recording = make_recording([(FIRST, together), (SECOND, together + delays)])
    waveforms = [
        recording.get_traces(start_frame=time - NUM_BEFORE, end_frame=time - NUM_BEFORE + WIDTH) for time in together
    ]
    smeared = np.mean(waveforms, axis=0).T @ smooth_basis().T
    new, seen = make_unit(smeared, together[:0], seed=3), make_unit(smeared, together, seed=3)
    assert tell(recording, [*neurons, new]) == [False, False, False]
    assert tell(recording, [*neurons, seen]) == [False, False, True]


def test_a_neuron_of_its_own_is_no_collision(neurons):
    times = draw_times(3, count=30, refractory=300)
    recording = make_recording([(STRANGER, times)])
    assert tell(recording, [*neurons, make_unit(STRANGER, times, seed=3)]) == [False, False, False]


def test_a_neuron_that_resembles_a_sum_is_kept_for_its_events(neurons):
    template = 0.9 * FIRST + 0.85 * SECOND + 0.5 * STRANGER
    times = draw_times(3, count=40, refractory=300)
    recording = make_recording([(template, times)])
    assert tell(recording, [*neurons, make_unit(template, times, seed=3)]) == [False, False, False]


def test_a_repeat_of_one_atom_is_no_collision(neurons):
    assert tell(make_recording([]), [*neurons, make_unit(1.05 * FIRST, [], seed=3)]) == [False, False, False]


def test_what_happens_more_often_than_by_chance_is_a_neuron_of_its_own(neurons):
    times = draw_times(3, count=60, refractory=300)
    template = 0.95 * FIRST + 0.95 * SECOND
    recording = make_recording([(template, times)])
    assert tell(recording, [*neurons, make_unit(template, times, seed=3)]) == [False, False, False]


def test_the_sum_is_told_wherever_it_stands(neurons):
    together = draw_times(3, count=14, refractory=300)
    recording = make_recording([(FIRST, together), (SECOND, together)])
    both = make_unit(FIRST + SECOND, together, seed=3)
    assert tell(recording, [both, *neurons]) == [True, False, False]


def test_as_many_as_neurons_in_synchrony_make_are_collisions():
    """At any lag within half a millisecond they fire together so often that the same events tell no third neuron."""
    rng = np.random.default_rng(0)
    times, both_times = draw_times(1, count=200, refractory=250), draw_times(3, count=60, refractory=300)
    template = 0.95 * FIRST + 0.95 * SECOND
    recording = make_recording([(template, both_times)])
    one, both = make_unit(FIRST, times, seed=1), make_unit(template, both_times, seed=3)
    for others, expected in ((draw_times(2, count=200, refractory=250), False), (times, True)):
        two = make_unit(SECOND, others + rng.integers(-14, 15, 200), seed=2)
        assert tell(recording, [one, two, both]) == [False, False, expected]


def test_a_unit_is_not_in_synchrony_with_itself():
    """Twice the same atom: its own events are no pairs, or whatever resembles a doublet would be chance."""
    one = make_unit(FIRST, draw_times(1, count=200, refractory=250), seed=1)
    doublet = make_unit(FIRST, draw_times(3, count=60, refractory=300), seed=3)
    assert not is_chance([one, one], doublet, make_recording([]), ASSUMED)


def test_the_sum_of_two_of_nearly_one_shape_is_a_collision():
    """At once, they are too large an event of either."""
    first = make_template((1.0, 0.7, 0.3, 0.0), norm=30)
    second = make_template((1.0, 0.3, 0.7, 0.0), norm=31)
    units = [
        make_unit(each, draw_times(seed, count=200, refractory=250), seed=seed)
        for seed, each in ((1, first), (2, second))
    ]
    both = make_unit(first + second, [], seed=3)
    assert tell(make_recording([]), [*units, both]) == [False, False, True]
