"""Claims about times of events: close pairs, company, turns, atoms of one neuron, parts, repeated and rare spikes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from simulated_units import (
    NUM_SAMPLES,
    RATE_HZ,
    draw_bursts,
    draw_times,
    make_dictionary,
    make_template,
    make_unit,
    smooth_basis,
)

from si_crsae.config import CrsaeConfig
from si_crsae.core.operators.filtering import component_lags
from si_crsae.sorting.cleaning import clean_code, drop_parts, join_fragments
from si_crsae.sorting.learning.coincidence import are_accompanied, count_close_pairs, count_in_bins, presence_score
from si_crsae.sorting.learning.units import TemplateGeometry
from si_crsae.sorting.stages import Code

SECOND = int(RATE_HZ)
PERIOD = 6 * SECOND
DURATION = 360 * SECOND
HERE, THERE = make_template((1.0, 0.7, 0.3, 0.1), norm=30), make_template((0.7, 1.0, 0.5, 0.2), norm=28)


def code_of(*trains, segment=None):
    """Return a code with an atom for each train (sample,)."""
    samples = np.concatenate(trains)
    atoms = np.repeat(np.arange(len(trains)), [len(train) for train in trains])
    segments = np.zeros(samples.size, "int64") if segment is None else segment
    order = np.lexsort((samples, segments))
    amplitude = np.linspace(20, 30, samples.size).astype("float32")
    return Code(
        segment_index=segments,
        sample_index=samples,
        sample_offset=np.linspace(-0.5, 0.5, samples.size).astype("float32"),
        atom_index=atoms,
        amplitude=amplitude,
    ).select(order)


def by_turns(times):
    """Return the times in even and in odd periods."""
    is_even = times // PERIOD % 2 == 0
    return times[is_even], times[~is_even]


@pytest.fixture(scope="module")
def long_times():
    """Spikes of one neuron, 15 per second."""
    times = np.cumsum(np.random.default_rng(0).integers(90, 3900, 6000)).astype("int64")
    return times[times < DURATION]


def join(code, templates):
    units = [make_unit(template, [], seed=0) for template in templates]
    return join_fragments(code, make_dictionary(units), sampling_frequency=RATE_HZ, num_samples=[DURATION])


def test_close_pairs_are_counted_in_both_directions():
    one, two = code_of(np.array([100, 1000])), code_of(np.array([70, 115, 1200, NUM_SAMPLES]))
    found, expected = count_close_pairs(one, two, window_ms=(0.4, 2.0), sampling_frequency=RATE_HZ)
    assert found == 2  # 1 ms before and 0.5 ms after the first
    assert expected == pytest.approx(2 * 4 * 2 * (60 - 12) / (NUM_SAMPLES - 70 + 1))


def test_independent_trains_have_about_as_many_close_pairs_as_expected():
    one, two = (code_of(draw_times(seed, count=1500)) for seed in (1, 2))
    found, expected = count_close_pairs(one, two, window_ms=(0.4, 2.0), sampling_frequency=RATE_HZ)
    assert found == pytest.approx(expected, rel=0.1)


def test_company_counts_only_within_a_segment():
    one = code_of(np.array([100, 500, 900]))
    two = code_of(np.array([104, 497, 900]), segment=np.array([0, 0, 1]))
    assert are_accompanied(one, two, lags=(-4, 4)).tolist() == [True, True, False]
    assert are_accompanied(one, two, lags=(-3, 3)).tolist() == [False, True, False]
    assert are_accompanied(one, two, lags=(0, 4)).tolist() == [True, False, False]


def test_events_are_counted_in_whole_bins_of_each_segment():
    events = code_of(np.array([0, 9, 10, 25, 31, 5]), segment=np.array([0, 0, 0, 0, 0, 2]))
    np.testing.assert_array_equal(count_in_bins(events, bin_size=10, num_samples=[35, 8, 20]), [2, 1, 1, 1, 0])
    assert count_in_bins(events, bin_size=100, num_samples=[35, 8, 20]).size == 0


def test_presence_tells_turns_from_chance_and_company(long_times):
    shuffled = np.random.default_rng(1).integers(0, DURATION, 500)
    even, odd, chance = (
        count_in_bins(code_of(times), bin_size=SECOND, num_samples=[DURATION])
        for times in (*by_turns(long_times), shuffled)
    )
    assert presence_score(even, odd) < -4
    assert presence_score(even, even) > 4
    assert abs(presence_score(even, chance)) < 2.5
    assert presence_score(even[:3], odd[:3]) == 0.0
    assert presence_score(even, np.ones_like(even)) == 0.0


def test_two_atoms_of_a_drifting_neuron_become_one_unit(long_times):
    even, odd = by_turns(long_times)
    joined = join(code_of(even, odd), [HERE, THERE])
    assert np.unique(joined.atom_index).size == 1
    np.testing.assert_array_equal(joined.sample_index, long_times)


def test_three_atoms_in_a_chain_become_one_unit(long_times):
    phase = long_times // PERIOD % 4
    parts = [long_times[phase == 0], long_times[phase % 2 == 1], long_times[phase == 2]]
    joined = join(code_of(*parts), [HERE, (HERE + THERE) / 2, THERE])
    assert set(joined.atom_index.tolist()) == {1}


def test_the_ends_of_a_chain_become_one_unit_although_they_look_different(long_times):
    ends = HERE, make_template((0.2, 0.7, 1.0, 0.6), norm=30)
    middle = (ends[0] + ends[1]) / 2
    assert np.linalg.norm(ends[0] - ends[1]) > 0.75 * 30
    phase = long_times // PERIOD % 4
    parts = [long_times[phase < 2], long_times[phase == 2], long_times[phase == 3][::2]]
    joined = join(code_of(*parts), [ends[0], middle, ends[1]])
    assert set(joined.atom_index.tolist()) == {0}


def test_a_delayed_atom_is_joined_at_the_times_of_the_larger_one(long_times):
    basis = smooth_basis()
    geometry = TemplateGeometry(component_lags(torch.from_numpy(basis)).numpy(), basis)
    here, there = long_times[long_times // PERIOD % 3 < 2], long_times[long_times // PERIOD % 3 == 2]
    joined = join(code_of(here, there - 3), [HERE, geometry.delayed(THERE, 3).astype("float32")])
    np.testing.assert_array_equal(joined.sample_index, long_times)


def test_neighbors_that_drift_together_stay_apart(long_times):
    """The second neuron is seen while the first one is away, but the first one's remaining spikes give it away."""
    even, odd = by_turns(long_times)
    near = odd[::3] + 40
    code = code_of(np.sort(np.concatenate([even, odd[::3]])), np.sort(np.concatenate([odd[1::3] + 900, near])))
    assert np.unique(join(code, [HERE, THERE]).atom_index).size == 2


def test_atoms_that_fire_all_the_time_or_look_different_stay_apart(long_times):
    another = np.sort(np.random.default_rng(2).integers(0, DURATION, long_times.size))
    assert np.unique(join(code_of(long_times, another), [HERE, THERE]).atom_index).size == 2
    other = make_template((0.1, 0.2, 0.6, 1.0), norm=30, shape=(-0.3, -0.8, 0.4))
    assert np.unique(join(code_of(*by_turns(long_times)), [HERE, other]).atom_index).size == 2


BURST, PLACES = draw_bursts(1, count=100)
FIRST, LATER = BURST[PLACES < 2], BURST[PLACES >= 2]
SMALLER = make_template((1.0, 0.7, 0.3, 0.1), norm=13)


def test_atoms_of_all_sizes_of_a_bursting_neuron_become_one_unit():
    assert np.linalg.norm(HERE - SMALLER) > 0.75 * np.sqrt(30 * 13)  # too different for a drifting one
    joined = join(code_of(FIRST, LATER), [HERE, SMALLER])
    assert set(joined.atom_index.tolist()) == {1}  # that of most events
    np.testing.assert_array_equal(joined.sample_index, BURST)


def test_three_atoms_of_a_bursting_neuron_become_one_unit():
    parts = [BURST[PLACES < 1], BURST[(PLACES >= 1) & (PLACES < 4)], BURST[PLACES == 4]]
    joined = join(code_of(*parts), [HERE, (HERE + SMALLER) / 2, SMALLER])
    assert set(joined.atom_index.tolist()) == {1}


def test_a_smaller_atom_of_a_burst_is_joined_at_the_times_of_the_larger_one():
    basis = smooth_basis()
    geometry = TemplateGeometry(component_lags(torch.from_numpy(basis)).numpy(), basis)
    joined = join(code_of(FIRST - 3, LATER), [geometry.delayed(HERE, 3).astype("float32"), SMALLER])
    np.testing.assert_array_equal(joined.sample_index, BURST)


def test_parts_of_one_spike_of_a_neuron_of_several_atoms_are_one_spike():
    """A second event 1 ms after every fortieth spike, of the other atom or of the same, is smaller and goes."""
    of_another, of_same = (np.sort(np.concatenate([LATER, times[::40] + 30])) for times in (FIRST, LATER))
    for later in (of_another, of_same):
        code = code_of(FIRST, later)
        amplitude = np.where(np.isin(code.sample_index, BURST), 20, 10).astype("float32")
        joined = join(replace(code, amplitude=amplitude), [HERE, SMALLER])
        np.testing.assert_array_equal(joined.sample_index, BURST)


def test_close_spikes_of_a_single_atom_stay(long_times):
    doublets = np.sort(np.concatenate([long_times, long_times[::10] + 30]))
    other = make_template((0.1, 0.2, 0.6, 1.0), norm=30, shape=(-0.3, -0.8, 0.4))
    assert len(join(code_of(doublets, FIRST), [HERE, other]).sample_index) == doublets.size + FIRST.size


def test_bursting_neurons_stay_apart_alone_and_together():
    independent, _ = draw_bursts(2, count=100)
    together, _ = draw_bursts(3, count=100, onsets=BURST[PLACES == 0] + 20)
    for other in (independent, together):
        assert np.unique(join(code_of(BURST, other), [HERE, SMALLER]).atom_index).size == 2


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(make_template((0.1, 0.2, 0.6, 1.0), norm=13, shape=(-0.3, -0.8, 0.4)), id="another shape"),
        pytest.param(make_template((1.0, -0.7, 0.3, 0.1), norm=13), id="other channels"),
    ],
)
def test_bursts_join_one_shape_only(other):
    assert np.unique(join(code_of(FIRST, LATER), [HERE, other]).atom_index).size == 2


WHOLE = draw_times(4, count=300, refractory=400)
PART = make_template((0.1, 0.3, 0.7, 1.0), norm=9)


def drop(whole, part, templates=(HERE, PART)):
    """Return the number of events of each of two units that stay, at the amplitudes of their templates."""
    units = [make_unit(template, [], seed=0) for template in templates]
    code = code_of(whole, part)
    amplitude = np.array([unit.norm for unit in units], "float32")[code.atom_index]
    kept = drop_parts(replace(code, amplitude=amplitude), make_dictionary(units), sampling_frequency=RATE_HZ)
    return np.bincount(kept.atom_index, minlength=2).tolist()


@pytest.mark.parametrize("lag", [0, 5, 32], ids=["at once", "soon", "beyond the window"])
def test_a_part_of_a_larger_unit_is_dropped(lag):
    assert drop(WHOLE, WHOLE[::2] + lag) == [300, 0]


@pytest.mark.parametrize(
    ("part", "template"),
    [
        pytest.param(WHOLE[::2] + 90, PART, id="3 ms later"),
        pytest.param(np.concatenate([WHOLE[::10] + 4, draw_times(5, count=100)]), PART, id="often alone"),
        pytest.param(WHOLE[::2] + np.random.default_rng(0).integers(-15, 16, 150), PART, id="in synchrony"),
        pytest.param(WHOLE[::2] + 4, PART * 2.5, id="as large"),
        pytest.param(WHOLE[::2] + 4, make_template((0.0, 0.0, 0.0, 1.0), norm=9), id="elsewhere"),
    ],
)
def test_a_unit_of_its_own_is_no_part(part, template):
    whole = make_template((1.0, 0.7, 0.3, 0.0), norm=30)
    assert drop(WHOLE, part, (whole, template)) == [300, part.size]


def test_an_atom_without_events_has_no_parts():
    assert drop(WHOLE, WHOLE[:0]) == [300, 0]
    assert drop(WHOLE[:0], WHOLE) == [0, 300]
    assert drop(WHOLE[:0], WHOLE[:0]) == [0, 0]


# Samples within which two events of an atom are one spike, 0.7 ms.
REFRACTORY = 21


def code_of_rows(*rows):
    """Return the code of (segment, sample, atom, amplitude) rows."""
    segments, samples, atoms, amplitudes = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Code(
        segment_index=np.array(segments, "int64"),
        sample_index=np.array(samples, "int64"),
        sample_offset=np.linspace(0, 0.5, len(rows)).astype("float32"),
        atom_index=np.array(atoms, "int64"),
        amplitude=np.array(amplitudes, "float32"),
    )


def clean(*rows, min_firing_rate=0.0, duration_s=100.0):
    """Return the numbers of the rows that stay, after checking that all of each stays, in order."""
    code = code_of_rows(*rows)
    config = CrsaeConfig(min_firing_rate=min_firing_rate)
    kept = clean_code(code, config, sampling_frequency=RATE_HZ, duration_s=duration_s)
    numbers = np.searchsorted(code.sample_offset, kept.sample_offset)
    for name in Code.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(kept, name), getattr(code, name)[numbers])
    return numbers.tolist()


@pytest.mark.parametrize(
    ("amplitudes", "stays"),
    [((10.0, 12.0), 1), ((12.0, 10.0), 0), ((10.0, 10.0), 0)],
    ids=["larger", "smaller", "equal"],
)
def test_a_spike_that_two_tiles_have_found_is_kept_once(amplitudes, stays):
    """The larger of the two stays, the first where they are equal."""
    last = REFRACTORY - 1
    first, second = amplitudes
    assert clean((0, 0, 0, first), (0, last, 0, second)) == [stays]
    assert clean((0, 1000, 0, 9.0), (0, 2000, 0, first), (0, 2000 + last, 0, second)) == [0, 1 + stays]


def test_spikes_a_refractory_period_apart_are_two():
    assert clean((0, 0, 0, 10.0), (0, REFRACTORY, 0, 12.0)) == [0, 1]


def test_a_spike_of_another_atom_in_between_is_neither_repeated_nor_in_the_way():
    assert clean((0, 0, 0, 10.0), (0, 5, 1, 30.0), (0, 10, 0, 9.0)) == [0, 1]


@pytest.mark.parametrize("amplitudes", [(12.0, 11.0, 10.0), (10.0, 12.0, 11.0), (10.0, 11.0, 12.0)])
def test_the_largest_of_three_in_a_row_stays(amplitudes):
    rows = [(0, 10 * place, 0, amplitude) for place, amplitude in enumerate(amplitudes)]
    assert clean(*rows) == [int(np.argmax(amplitudes))]


def test_spikes_at_one_sample_of_two_segments_are_two():
    assert clean((0, 500, 0, 10.0), (1, 500, 0, 10.0), (1, 505, 0, 12.0)) == [0, 2]


def test_a_unit_is_kept_from_the_lowest_firing_rate_on():
    """Ten spikes in 100 s are 0.1 per second, nine are fewer."""
    ten, nine = ([(0, 1000 * index, atom, 10.0) for index in range(count)] for atom, count in ((0, 10), (1, 9)))
    rows = sorted(ten + nine)
    kept = clean(*rows, min_firing_rate=0.1)
    assert [rows[number][2] for number in kept] == [0] * 10


def test_repeated_spikes_do_not_count_for_the_firing_rate():
    rows = [(0, 1000 * index, 0, 10.0) for index in range(9)]
    assert clean(*rows, (0, 8010, 0, 9.0), min_firing_rate=0.1) == []
    assert clean(*rows, (0, 9000, 0, 9.0), min_firing_rate=0.1) == list(range(10))


def test_spikes_of_all_segments_count_for_the_firing_rate():
    rows = [(segment, 1000 * index, 0, 10.0) for segment in range(2) for index in range(5)]
    assert clean(*rows, min_firing_rate=0.1) == list(range(10))
    assert clean(*rows[1:], min_firing_rate=0.1) == []


def test_without_a_lowest_firing_rate_a_single_spike_is_a_unit():
    assert clean((0, 7, 3, 10.0)) == [0]


def test_nothing_is_left_of_nothing():
    assert clean() == []
