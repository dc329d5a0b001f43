"""Claims about what is taken down while units are learned: who, why, with whom, and what came of it."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from simulated_units import (
    NUM_BEFORE,
    RATE_HZ,
    WIDTH,
    draw_bursts,
    draw_times,
    encoder_of,
    join,
    make_dictionary,
    make_recording,
    make_template,
    make_unit,
    smooth_basis,
)

from si_crsae.config import CrsaeConfig
from si_crsae.core.operators.filtering import component_lags
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.cleaning import clean_code, drop_parts, join_fragments
from si_crsae.sorting.learning import splitting, structure
from si_crsae.sorting.learning.collisions import find_collisions
from si_crsae.sorting.learning.history import (
    AFTER_ROUNDS,
    NO_UNIT,
    Decision,
    History,
    Member,
    Reason,
    from_table,
    no_decisions,
    to_table,
)
from si_crsae.sorting.learning.learner import Learner
from si_crsae.sorting.learning.units import TemplateGeometry, separation
from si_crsae.sorting.stages import Code

CONFIG = CrsaeConfig(ms_before=1000 * NUM_BEFORE / RATE_HZ, ms_after=1000 * (WIDTH - NUM_BEFORE) / RATE_HZ)
JOB_KWARGS = {"n_jobs": 1, "chunk_duration": "1s", "progress_bar": False}
GAINS = (1.0, 0.6, 0.3, 0.2)
# Of eight units and two refused clusters, in the second round.
EARLIER = [
    Decision(
        round=0,
        what="found",
        unit=number,
        others=(),
        became=(),
        main_channel=0,
        figure="num_peaks",
        value=20.0,
        threshold=12.0,
        num_events=20,
    )
    for number in [*range(8), NO_UNIT, NO_UNIT]
]


@pytest.fixture(scope="module")
def geometry():
    basis = smooth_basis()
    return TemplateGeometry(component_lags(torch.from_numpy(basis)).numpy(), basis)


@pytest.fixture
def history():
    """The history of a group of channels 10, 20, 30, 40, in its second round, with eight units so far."""
    history = History([10, 20, 30, 40], earlier=to_table(EARLIER))
    history.round = 2
    return history


def last(history):
    """Return the only decision that was added."""
    (decision,) = history.decisions[len(EARLIER) :]
    return decision


def numbered(template, times, number, seed=0):
    return replace(make_unit(template, times, seed=seed), number=number)


def test_a_split_tells_both_parts_and_how_far_they_are_apart(geometry, history):
    one = numbered(make_template(GAINS, norm=20), draw_times(1, count=100), 5, seed=1)
    two = make_unit(make_template(GAINS[::-1], norm=20), draw_times(2, count=300), seed=2)
    mixed = join_as(5, one, two)
    parts = splitting.split_units([mixed], geometry, CONFIG, sampling_frequency=RATE_HZ, history=history)
    assert {part.number: part.num_events for part in parts} == {5: 300, 8: 100}
    decision = last(history)
    assert (decision.round, decision.what, decision.unit, decision.became) == (2, "split", 5, (5, 8))
    assert (decision.figure, decision.threshold) == ("separation", CONFIG.merge_threshold)
    assert decision.value == separation(*parts, geometry, 0) > CONFIG.merge_threshold
    assert (decision.num_events, decision.main_channel) == (400, 0)


def test_the_largest_of_several_parts_goes_on_with_the_number(history):
    parts = [numbered(make_template(GAINS, norm=20), draw_times(1, count=count), 5) for count in (30, 50, 50, 40)]
    split = history.split(join_as(5, *parts), parts, Reason("separation", 5.0, 4.0))
    assert [part.number for part in split] == [8, 5, 9, 10]
    assert (last(history).became, last(history).num_events) == ((5, 8, 9, 10), 170)


def join_as(number, *units):
    return replace(join(*units), number=number)


def test_two_groups_that_are_no_two_units_are_told(geometry, history):
    one = make_unit(make_template(GAINS, norm=20), draw_times(1, count=300), seed=1)
    two = make_unit(one.template + make_template(GAINS[::-1], norm=7.5), draw_times(2, count=300), seed=2)
    mixed = join_as(3, one, two)
    config = CONFIG.model_copy(update={"merge_threshold": 12.0})
    kept = splitting.split_units([mixed], geometry, config, sampling_frequency=RATE_HZ, history=history)
    assert kept == [mixed]
    decision = last(history)
    assert (decision.what, decision.unit, decision.became, decision.figure) == ("not split", 3, (), "separation")
    assert decision.value == pytest.approx(7.5, abs=0.7)
    assert decision.threshold == 12.0


def test_two_groups_too_near_to_be_encoded_apart_are_told(geometry, history):
    one = make_unit(make_template(GAINS, norm=20), draw_times(1, count=300), seed=1)
    two = make_unit(one.template + make_template(GAINS[::-1], norm=6), draw_times(2, count=300), seed=2)
    splitting.split_units([join_as(3, one, two)], geometry, CONFIG, sampling_frequency=RATE_HZ, history=history)
    decision = last(history)
    assert (decision.what, decision.unit, decision.became, decision.figure) == ("not split", 3, (), "distance")
    assert decision.value == pytest.approx(6, abs=0.5)
    assert decision.threshold == ASSUMED.structure.repeat_distance


def test_a_merge_tells_the_smaller_unit_what_it_became(geometry, history):
    template, times = make_template(GAINS, norm=20), draw_times(1, count=400)
    small, large = numbered(template, times[:150], 2, seed=1), numbered(template * 1.02, times[150:], 6, seed=2)
    (joined,) = structure.merge_units([small, large], geometry, CONFIG, sampling_frequency=RATE_HZ, history=history)
    assert joined.number == 6
    decision = last(history)
    assert (decision.what, decision.unit, decision.others, decision.became) == ("merged", 2, (6,), (6,))
    assert decision.figure == "relative_distance"
    assert decision.value == pytest.approx(0.02, abs=0.005)
    assert (decision.threshold, decision.num_events) == (ASSUMED.structure.same_shape_fraction, 150)


def test_units_merged_by_their_waveforms_tell_the_separation(geometry, history):
    times = draw_times(1, count=400, refractory=200)
    weak = [make_template((1.0, 0.5, 0.3, 0.1), norm=5), make_template((0.7, 0.8, 0.3, 0.1), norm=5)]
    units = [numbered(weak[0], times[::2], 0, seed=1), numbered(weak[1], times[1::2], 1, seed=2)]
    structure.merge_units(units, geometry, CONFIG, sampling_frequency=RATE_HZ, history=history)
    assert (last(history).what, last(history).unit, last(history).figure) == ("merged", 1, "separation")
    assert last(history).value == pytest.approx(separation(*units, geometry, 0), rel=0.1)


def test_faint_and_rare_units_tell_by_how_much(history):
    faint = numbered(make_template(GAINS, norm=8), draw_times(1, count=100), 0)
    rare = numbered(make_template(GAINS, norm=20), draw_times(1, count=2), 1)
    noise = np.array([2.0, 2.0], "float32")
    assert structure.drop_units([faint, rare], noise, CONFIG, duration_s=10.0, history=history) == []
    first, second = history.decisions[len(EARLIER) :]
    assert (first.what, first.unit, first.figure, first.value) == ("dropped", 0, "norm_to_noise", pytest.approx(4))
    assert first.threshold == ASSUMED.units.min_norm_to_noise
    assert (second.what, second.unit, second.figure, second.value) == ("dropped", 1, "num_events", 2)
    assert second.threshold == 10.0 * ASSUMED.units.min_event_rate_hz


def test_a_part_of_another_tells_of_which(history):
    neuron = numbered(make_template(GAINS, norm=30), draw_times(1, count=300), 4)
    times = np.concatenate([neuron.sample_index[:60] + 4, draw_times(2, count=300)[-40:]])
    rest = numbered(make_template(GAINS[::-1], norm=10), times, 7)
    assert structure.drop_satellites([neuron, rest], sampling_frequency=RATE_HZ, history=history) == [neuron]
    decision = last(history)
    assert (decision.unit, decision.others, decision.figure) == (7, (4,), "accompanied_fraction")
    assert decision.value == pytest.approx(0.6, abs=0.05)
    assert decision.main_channel == 3


def test_a_repeat_tells_of_whom_and_how_near(geometry, history):
    template = make_template(GAINS, norm=20)
    other = numbered(make_template(GAINS[::-1], norm=20), [], 0)
    units = [other, numbered(template, [], 1), numbered(1.2 * template, [], 2)]
    kept = structure.drop_near_repeats(units, geometry, sampling_frequency=RATE_HZ, history=history)
    assert [unit.number for unit in kept] == [0, 1]
    decision = last(history)
    assert (decision.unit, decision.others, decision.figure) == (2, (1,), "distance")
    assert (decision.value, decision.threshold) == (pytest.approx(4, abs=1e-3), ASSUMED.structure.repeat_distance)


def test_no_unit_repeats_another_where_there_is_none(geometry):
    assert structure.drop_near_repeats([], geometry, sampling_frequency=RATE_HZ) == []


def test_a_collision_tells_of_whom(history):
    first = make_template((1.0, 0.5, 0.1, 0.0), norm=25)
    second = make_template((0.0, 0.1, 0.5, 1.0), norm=22, shape=(-0.6, 0.2, 0.7))
    stranger = make_template((0.2, 1.0, 1.0, 0.2), norm=25, shape=(0.3, -1.0, 0.4))
    templates = {3: first, 1: stranger, 5: second, 7: first + second}
    units = [numbered(template, draw_times(number, count=99), number) for number, template in templates.items()]
    units[-1] = numbered(first + second, [], 7)
    reasons = find_collisions(make_recording([]), encoder_of(units), units)
    assert [unit.number for unit in history.drop(units, reasons)] == [3, 1, 5]
    assert (last(history).unit, last(history).others, last(history).figure) == (7, (3, 5), "unexplained_fraction")
    assert last(history).value < last(history).threshold


def test_after_the_last_round_atoms_are_told_by_the_numbers_of_their_units():
    here, there = make_template((1.0, 0.7, 0.3, 0.1), norm=30), make_template((0.7, 1.0, 0.5, 0.2), norm=28)
    units = [make_unit(template, [], seed=0) for template in (here, there, here[::-1], there[::-1])]
    times = np.cumsum(np.random.default_rng(0).integers(90, 3900, 6000)).astype("int64")
    turn = times // int(6 * RATE_HZ) % 3
    trains = [times[turn < 2], times[turn == 2], times[:1]]
    atom_index = np.repeat([0, 1, 2], [train.size for train in trains])
    code = Code(
        segment_index=np.zeros(atom_index.size, "int64"),
        sample_index=np.concatenate(trains),
        sample_offset=np.zeros(atom_index.size, "float32"),
        atom_index=atom_index,
        amplitude=np.full(atom_index.size, 30, "float32"),
    )
    places = {4: 0, 9: 1, 2: 3, 7: 2}
    atoms = [Member(number=number, main_channel=channel, num_events=0) for number, channel in places.items()]
    history = History(atoms=atoms, first_round=AFTER_ROUNDS)
    joined = join_fragments(
        code, make_dictionary(units), sampling_frequency=RATE_HZ, num_samples=[times[-1] + 1], history=history
    )
    duration_s = times[-1] / RATE_HZ
    clean_code(joined, CONFIG, sampling_frequency=RATE_HZ, duration_s=duration_s, history=history)
    told = {decision.unit: decision for decision in history.decisions}
    assert {number: (decision.what, decision.figure) for number, decision in told.items()} == {
        9: ("merged", "presence_score"),
        7: ("dropped", "num_events"),
        2: ("dropped", "num_events"),
        4: ("kept", "num_events"),
    }
    assert {decision.round for decision in history.decisions} == {AFTER_ROUNDS}
    assert told[9].became == told[9].others == (4,)
    assert told[9].value < told[9].threshold == ASSUMED.fragments.max_presence_score
    assert (told[9].num_events, told[9].main_channel) == (trains[1].size, 1)
    assert (told[7].value, told[7].threshold) == (0, 1)
    assert (told[2].value, told[2].threshold) == (1, pytest.approx(CONFIG.min_firing_rate * duration_s))
    assert told[4].num_events == trains[0].size + trains[1].size


def test_atoms_of_a_burst_and_parts_tell_of_whom_after_the_last_round():
    shape = make_template((1.0, 0.7, 0.3, 0.1), norm=30)
    units = [make_unit(template, [], seed=0) for template in (shape, 0.45 * shape, 0.3 * shape[::-1])]
    times, places = draw_bursts(1, count=100)
    trains = [times[places >= 2], times[places < 2], times[places < 3] + 5]
    atom_index = np.repeat(np.arange(3), [train.size for train in trains])
    code = Code(
        segment_index=np.zeros(atom_index.size, "int64"),
        sample_index=np.concatenate(trains),
        sample_offset=np.zeros(atom_index.size, "float32"),
        atom_index=atom_index,
        amplitude=np.array([30, 13, 9], "float32")[atom_index],
    )
    atoms = [Member(number=number, main_channel=0, num_events=0) for number in (4, 9, 7)]
    history = History(atoms=atoms, first_round=AFTER_ROUNDS)
    dictionary = make_dictionary(units)
    joined = join_fragments(
        code, dictionary, sampling_frequency=RATE_HZ, num_samples=[times[-1] + 100], history=history
    )
    drop_parts(joined, dictionary, sampling_frequency=RATE_HZ, history=history)
    merged, dropped = history.decisions
    assert (merged.what, merged.unit, merged.became) == ("merged", 9, (4,))
    assert merged.figure == "chance_of_so_few_close_pairs"
    assert merged.value < merged.threshold == ASSUMED.bursts.max_false_joins
    assert (dropped.what, dropped.unit, dropped.others, dropped.num_events) == ("dropped", 7, (4,), 300)
    assert (dropped.figure, dropped.threshold) == ("accompanied_fraction", ASSUMED.structure.satellite_fraction)
    assert dropped.value > 0.9


def test_the_log_has_a_line_for_each_change(history, caplog):
    unit = Member(number=7, main_channel=1, num_events=143)
    with caplog.at_level(logging.INFO, "si_crsae"):
        history.note("split", unit, Reason("separation", 4.8312, 4.0), became=(7, 12))
        history.note("not split", unit, Reason("separation", 2.0, 4.0))
        history.note("dropped", unit, Reason("accompanied_fraction", 0.63, 0.4, (3, 5)))
        history.round = 0
        history.note("found", unit, Reason("num_peaks", 143, 12))
        history.note("refused", replace(unit, number=NO_UNIT), Reason("num_peaks", 9, 12))
        history.round = AFTER_ROUNDS
        history.note("merged", unit, Reason("presence_score", -6.123, -2.5, (3,)), became=(1,))
        history.note("kept", unit, Reason("num_events", 143, 9))
    assert caplog.messages == [
        "round 2: unit 7 split into 7 and 12: separation 4.83 >= 4, 143 events on channel 20",
        "round 2: unit 7 dropped because of 3 and 5: accompanied fraction 0.63 >= 0.4, 143 events on channel 20",
        "before round 1: unit 7 found: num peaks 143 >= 12 on channel 20",
        "after the last round: unit 7 merged into 1: presence score -6.12 < -2.5, 143 events on channel 20",
    ]


def test_units_that_are_gone_leave_their_last_template(geometry, history):
    times = draw_times(1, count=400)
    small = numbered(make_template(GAINS, norm=20), times[:150], 2, seed=1)
    large = numbered(1.02 * small.template, times[150:], 6, seed=2)
    structure.merge_units([small, large], geometry, CONFIG, sampling_frequency=RATE_HZ, history=history)
    gone, kept = numbered(make_template(GAINS[::-1], norm=9), [], 4), numbered(large.template, [], 5)
    history.drop([gone, kept], [Reason("norm_to_noise", 1.0, 6.0), None])
    history.note("dropped", Member(number=7, main_channel=0, num_events=0), Reason("num_events", 0, 1))
    assert history.last_templates.keys() == {2, 4}
    np.testing.assert_array_equal(history.last_templates[4], gone.template)


def test_a_table_holds_every_decision(history):
    history.note("dropped", Member(number=3, main_channel=2, num_events=5), Reason("distance", np.inf, 7, (1, 20, 300)))
    history.note("split", Member(number=1, main_channel=0, num_events=0), Reason("x" * 40, 1 / 3, 0.1), became=(1, 8))
    assert from_table(history.table) == history.decisions
    assert history.table.dtype.hasobject is False  # files without pickles hold it
    assert from_table(no_decisions()) == []


def test_numbers_go_on_where_an_earlier_history_ended(history):
    assert history.newest(3) == range(5, 8)
    history.find(Member(main_channel=0, num_events=20), Reason("num_peaks", 20, 12))
    assert (last(history).what, last(history).unit) == ("born", 8)
    assert History().newest(3) == range(3)  # clusters of a run that had no history yet


def make_learner(neurons, templates, *, others=(), config=CONFIG):
    """Return a learner that begins with some templates (channel, component)."""
    pairs = [(neuron, draw_times(seed, count=120)) for seed, neuron in enumerate(neurons)]
    recording = make_recording([*pairs, *others])
    history = History(recording.channel_ids)
    for template in templates:
        main_channel = int(np.linalg.norm(template, axis=1).argmax())
        history.find(Member(main_channel=main_channel, num_events=50), Reason("num_peaks", 50, 12))
    initial = (np.stack(templates) @ smooth_basis()).astype("float32")
    return Learner(recording, initial, config, num_threads=1, job_kwargs=JOB_KWARGS, history=history)


def learn(neurons, templates, **settings):
    """Return a learner that is done, and what it has learned."""
    learner = make_learner(neurons, templates, **settings)
    model, _ = learner.learn()
    return learner, model.dictionary.templates.numpy()


def changes(learner):
    """Return (round, what, unit, became, figure) of all that changed which units there are."""
    told = [row for row in learner.history.decisions if row.what not in {"found", "refused", "not split"}]
    return [(row.round, row.what, row.unit, row.became, row.figure) for row in told]


def assert_learned(neurons, number_of, learner, learned):
    """Each neuron has the unit of its number, and no other is there."""
    assert sorted(learner.unit_numbers) == sorted(number_of)
    true = (np.stack(neurons) @ smooth_basis()).reshape(len(neurons), -1)
    found = learned[[learner.unit_numbers.index(number) for number in number_of]].reshape(true.shape)
    cosines = found @ true.T / np.linalg.norm(true, axis=1) / np.linalg.norm(found, axis=1)[:, None]
    assert cosines.argmax(axis=1).tolist() == list(range(len(neurons)))
    assert cosines.diagonal().min() > 0.97


def test_a_split_a_merge_and_a_drop_are_told_while_learning():
    one, two = make_template((1.0, 0.6, 0.2, 0.1), norm=40), make_template((0.75, 0.85, 0.3, 0.1), norm=40)
    twice, nobody = make_template((0.1, 0.1, 0.2, 1.0), norm=40), make_template((1.0, -1.0, 1.0, -1.0), norm=30)
    learner, learned = learn([one, two, twice], [(one + two) / 2, twice, 0.82 * twice, nobody])
    assert changes(learner) == [
        (1, "split", 0, (0, 4), "separation"),
        (1, "merged", 2, (1,), "relative_distance"),
        (1, "dropped", 3, (), "num_events"),
    ]
    assert_learned([one, two, twice], [0, 4, 1], learner, learned)


def test_settling_makes_templates_anew_and_drops_none():
    """What no event has yet may have some once the tissue is where it was."""
    one, nobody = make_template((1.0, 0.6, 0.2, 0.1), norm=40), make_template((1.0, -1.0, 1.0, -1.0), norm=30)
    learner = make_learner([one], [0.8 * one, nobody])
    learner.settle()
    assert changes(learner) == []
    assert learner.model.dictionary.scales.numpy() == pytest.approx([40, 30], rel=0.05)
    learner.learn()
    assert changes(learner) == [(1, "dropped", 1, (), "num_events")]


def test_a_birth_is_told_while_learning():
    known, missed = make_template((1.0, 0.6, 0.2, 0.1), norm=40), make_template((0.1, 0.3, 0.8, 1.0), norm=40)
    learner, learned = learn([known, missed], [known])
    assert changes(learner) == [(1, "born", 1, (), "num_peaks")]
    (born,) = [row for row in learner.history.decisions if row.what == "born"]
    assert born.num_events == born.value == pytest.approx(120, rel=0.1)
    assert (born.threshold, born.main_channel) == (10, 3)  # a peak for each second
    assert_learned([known, missed], [0, 1], learner, learned)


def test_all_that_is_not_a_neuron_of_its_own_is_told_while_learning():
    one, two = make_template((1.0, 0.4, 0.1, 0.0), norm=40), make_template((0.0, 0.1, 0.6, 1.0), norm=35)
    part = make_template((-0.2, 1.0, -0.6, 0.1), norm=20, shape=(-0.3, 0.8, 0.4))
    others = [(part, draw_times(0, count=120)[::2] + 6), (part, draw_times(9, count=40))]
    templates = [one, two, one + two, 1.1 * one, make_template((0.2, 0.1, 1.0, 0.2), norm=4), part]
    not_split = CONFIG.model_copy(update={"split_units": False})  # into spikes with and without the part
    learner, learned = learn([one, two], templates, others=others, config=not_split)
    assert changes(learner) == [
        (0, "dropped", 4, (), "norm_to_noise"),
        (0, "dropped", 3, (), "distance"),
        (0, "dropped", 2, (), "unexplained_fraction"),
        (1, "dropped", 5, (), "accompanied_fraction"),
    ]
    assert [row.others for row in learner.history.decisions if row.what == "dropped"] == [(), (0,), (0, 1), (0,)]
    assert_learned([one, two], [0, 1], learner, learned)
