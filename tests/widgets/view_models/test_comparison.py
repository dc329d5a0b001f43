from dataclasses import replace

import numpy as np
import pytest
from spikeinterface.comparison.comparisontools import make_match_count_matrix
from spikeinterface.core import NumpyRecording, NumpySorting
from spikeinterface.core.base import minimum_spike_dtype

from si_crsae.evaluation.sorted_recording import SortedRecording, explain_like
from si_crsae.sorting.convert import TemplateWindow
from si_crsae.sorting.inventory import Inventory
from si_crsae.widgets.packing import pack
from si_crsae.widgets.view_models.comparison import (
    agreement_matrix,
    lag_histogram,
    match_sortings,
    pair_model,
    summarize_list,
    template_pair,
)
from si_crsae.widgets.view_models.matching import NOBODY, match_spikes, nearest_spikes
from si_crsae.widgets.view_models.spike_browser import comparison_model, describe_spike, nothing_to_compare

RATE_HZ = 10000.0
NUM_SAMPLES = 20_000
DELTA_MS = 0.4  # 4 samples


def make_sorting(*segments):
    return NumpySorting.from_unit_dict([{k: np.array(v) for k, v in units.items()} for units in segments], RATE_HZ)


def explained(sorting, *, name, traces=None, num_segments=1):
    """As `explain_sorting` returns it, of two channels without filtering."""
    nothing = np.zeros(0, "float32")
    units = Inventory(
        atoms=np.zeros((0, 2, 20), "float32"),
        scales=nothing,
        noise=nothing,
        regularization=nothing,
        num_before=np.zeros(0, "int64"),
        main_channel=np.zeros(0, "int64"),
        spikes=np.zeros(0, minimum_spike_dtype),
        sample_offset=nothing,
        amplitude=nothing,
    )
    recording = None
    if traces is not None:
        recording = NumpyRecording(traces, RATE_HZ)
    reference = SortedRecording(
        name="reference",
        sorting=sorting,
        units=units,
        channel_ids=np.arange(2),
        locations=np.array([[0.0, 0.0], [0.0, 20.0]]),
        num_samples=(NUM_SAMPLES,) * num_segments,
        window=TemplateWindow(num_before=8, width=20),
        min_amplitude=nothing,
        whitened=recording,
        segments=np.arange(num_segments),
    )
    return explain_like(sorting, reference, name=name)


def compare(tested, truth, **options):
    tested, truth = explained(tested, name="tested", **options), explained(truth, name="truth", **options)
    return tested, truth, match_sortings(tested, truth, delta_ms=DELTA_MS)


def slow_matches(truth, tested, delta):
    """The rule of `match_spikes` for two spike trains, word for word."""
    pairs, used = [], set()
    for time in truth:
        free = [other for other in tested if abs(other - time) <= delta and other not in used]
        if free:
            used.add(min(free))
            pairs.append((time, min(free)))
    return pairs


def test_bursts_are_matched_one_to_one():
    rng = np.random.default_rng(0)
    trains = [np.unique(rng.integers(0, 300, 60)) for _ in range(4)]
    truth, tested = make_sorting({1: trains[0], 2: trains[1]}), make_sorting({1: trains[2], 2: trains[3]})
    spikes = [np.asarray(sorting.to_spike_vector()) for sorting in (truth, tested)]
    matching = match_spikes(*spikes, num_units=(2, 2), delta=4)
    for row in range(2):
        for column in range(2):
            mine = (matching.truth_unit == row) & (matching.tested_unit == column)
            found = list(
                zip(
                    spikes[0]["sample_index"][matching.truth[mine]],
                    spikes[1]["sample_index"][matching.tested[mine]],
                    strict=True,
                )
            )
            assert found == slow_matches(trains[row], trains[2 + column], 4)


def test_counts_are_those_of_spikeinterface():
    rng = np.random.default_rng(1)
    regular = [np.arange(100, NUM_SAMPLES, 150 + 20 * unit) for unit in range(6)]
    truth = make_sorting(*[dict(enumerate(regular[:3]))] * 2)
    tested = make_sorting(
        *[{unit: np.sort(train + rng.integers(-5, 6, train.size)) for unit, train in enumerate(regular)}] * 2
    )
    _, _, matching = compare(tested, truth, num_segments=2)
    np.testing.assert_array_equal(matching.counts, make_match_count_matrix(truth, tested, 4).to_numpy())


def test_bursts_of_many_units_are_told_apart():
    rng = np.random.default_rng(2)
    trains = [np.unique(rng.integers(0, 300, 40)) for _ in range(20)]
    sorting = make_sorting(dict(enumerate(trains)))
    _, _, matching = compare(sorting, sorting)
    slow = [[len(slow_matches(truth, tested, 4)) for tested in trains] for truth in trains]
    np.testing.assert_array_equal(matching.counts, slow)


def test_spikes_of_different_segments_are_never_the_same():
    _, _, matching = compare(make_sorting({1: []}, {1: [100]}), make_sorting({1: [100]}, {1: []}), num_segments=2)
    assert matching.counts.sum() == 0


def test_matches_lie_on_the_diagonal_and_the_rest_comes_last():
    times = np.arange(100, 10_000, 100)
    truth = make_sorting({"a": times, "b": times + 30, "c": times + 60})
    tested = make_sorting({7: times + 90 - 50 + 10, 8: times[:60] + 61, 9: times - 1})
    tested, truth, matching = compare(tested, truth)
    matrix = agreement_matrix(tested, truth, matching, delta_ms=DELTA_MS)
    assert matrix.num_matched == 2
    assert [matrix.truth_ids[row] for row in matrix.rows] == ["a", "c", "b"]
    assert [matrix.tested_ids[column] for column in matrix.columns] == ["9", "8", "7"]
    np.testing.assert_allclose(np.diag(matrix.agreement), [1, 60 / times.size, 0])
    assert matrix.match_of(1) == 2


def test_a_pair_has_its_matched_missed_and_false_spikes():
    truth = make_sorting({"a": [100, 200, 300, 400, 508], "b": [205, 700]})
    tested = make_sorting({1: [101, 302, 500, 702], 2: [199, 600]})
    tested, truth, matching = compare(tested, truth)
    pair = pair_model(tested, truth, (0, 0), matching, delta_ms=DELTA_MS)
    lists = {name: spikes.sample_index.tolist() for name, spikes in pair.lists.items()}
    assert lists == {"matched": [100, 300], "missed": [200, 400, 508], "false": [500, 702]}
    assert pair.lists["matched"].lag.tolist() == [1, 2]
    assert (pair.accuracy, pair.recall, pair.precision) == (2 / 7, 2 / 5, 2 / 4)
    assert pair.median_lag == 1.5
    assert (pair.lists["missed"].other_tested != NOBODY).tolist() == [True, False, False]
    assert (pair.lists["missed"].other_true != NOBODY).tolist() == [True, False, False]
    assert (pair.lists["false"].other_true != NOBODY).tolist() == [False, True]
    said = [" ".join(describe_spike(tested, truth, pair, "missed", row, delta_ms=DELTA_MS)) for row in range(3)]
    assert said[0] == "Taken by unit 2, 0.10 ms earlier. Overlapping: true unit b, 0.50 ms later."
    assert said[1] == "No tested unit fired within 0.4 ms. No other true unit within 1 ms."
    assert "Tested unit 1 itself: unit 1, 0.80 ms earlier." in said[2]
    assert "A spike of true unit b, 0.20 ms earlier." in describe_spike(
        tested, truth, pair, "false", 1, delta_ms=DELTA_MS
    )
    assert summarize_list(pair, "missed", delta_ms=DELTA_MS).startswith("1 of 3 missed spikes")


def test_a_position_is_the_nearest_spike_in_the_segment():
    truth = make_sorting({1: [100, 200]}, {1: [50, 300]})
    tested, truth, matching = compare(make_sorting({1: [1000]}, {1: []}), truth, num_segments=2)
    missed = pair_model(tested, truth, (0, 0), matching, delta_ms=DELTA_MS).lists["missed"]
    assert missed.nearest_to(0, 170) == 1
    assert missed.nearest_to(1, 0) == 2
    assert missed.nearest_to(5, 0) == 0


def test_lags_are_counted_sample_by_sample_where_they_fit():
    counts, edges = lag_histogram(np.array([-4, 0, 0, 4]), delta=4, sampling_frequency=RATE_HZ)
    assert counts.tolist() == [1, 0, 0, 0, 2, 0, 0, 0, 1]
    np.testing.assert_allclose(edges[[0, -1]], [-0.45, 0.45])
    counts, edges = lag_histogram(np.array([-100, 0, 100]), delta=100, sampling_frequency=RATE_HZ)
    assert counts.sum() == 3
    assert counts.size <= 41


def test_nearest_spikes_are_signed_and_in_reach():
    nearest, lag = nearest_spikes(np.array([10, 50, 99]), np.array([8, 53]), reach=5)
    assert nearest.tolist() == [0, 1, NOBODY]
    assert lag[:2].tolist() == [-2, 3]


@pytest.fixture
def with_traces():
    rng = np.random.default_rng(0)
    traces = rng.normal(size=(NUM_SAMPLES, 2)).astype("float32")
    times = np.arange(100, NUM_SAMPLES - 100, 100)
    for time in times:
        traces[time - 3 : time + 4, 0] -= 20 * np.hanning(9)[1:-1]
    return compare(make_sorting({1: times[::2]}), make_sorting({"a": times}), traces=traces)


def test_the_residual_holds_what_was_missed(with_traces):
    tested, truth, matching = with_traces
    pair = pair_model(tested, truth, (0, 0), matching, delta_ms=DELTA_MS)
    matrix = agreement_matrix(tested, truth, matching, delta_ms=DELTA_MS)
    depth = {}
    for listed in ("missed", "matched"):
        model = comparison_model(tested, truth, matrix, pair, listed=listed, position=3)
        assert model.spike is not None
        assert model.spike.snippet is not None
        middle = round(-model.spike.snippet.start_ms / model.spike.snippet.step_ms)
        row = model.spike.snippet.channels.index("0")
        assert model.spike.snippet.traces[row, middle] < -15
        depth[listed] = model.spike.snippet.residual[row, middle]
        pack(model)
    assert depth["missed"] < -15
    assert depth["matched"] > -5
    assert model.num_listed == {"missed": 99, "false": 0, "matched": 99}
    templates = template_pair(tested, truth, pair)
    assert templates.channels == [0]
    np.testing.assert_allclose(templates.truth, templates.tested, atol=1.5)


def test_a_position_beyond_the_list_is_its_last_spike(with_traces):
    tested, truth, matching = with_traces
    pair = pair_model(tested, truth, (0, 0), matching, delta_ms=DELTA_MS)
    matrix = agreement_matrix(tested, truth, matching, delta_ms=DELTA_MS)
    assert comparison_model(tested, truth, matrix, pair, listed="missed", position=1000).position == 98
    nothing = comparison_model(tested, truth, matrix, pair, listed="false", position=1000)
    assert (nothing.position, nothing.spike) == (0, None)


def test_without_traces_counts_and_texts_are_left():
    tested, truth, matching = compare(make_sorting({1: [100]}), make_sorting({1: [100, 500]}))
    pair = pair_model(tested, truth, (0, 0), matching, delta_ms=DELTA_MS)
    matrix = agreement_matrix(tested, truth, matching, delta_ms=DELTA_MS)
    model = comparison_model(tested, truth, matrix, pair, listed="missed", position=0)
    assert model.templates is None
    assert model.spike is not None
    assert model.spike.snippet is None
    assert model.spike.text[0] == "No tested unit fired within 0.4 ms."


def test_nothing_to_compare_says_what_to_do():
    some, none = explained(make_sorting({1: [100]}), name="some"), explained(make_sorting({}), name="none")
    assert "open_session(folder, truth=sorting)" in nothing_to_compare(some, None)
    assert "none has no units" in nothing_to_compare(none, some)
    assert "none has no units" in nothing_to_compare(some, none)
    assert nothing_to_compare(some, replace(some, name="truth")) == ""


def test_a_unit_without_spikes_agrees_with_none():
    tested, truth, matching = compare(make_sorting({1: [], 2: [100]}), make_sorting({1: [100]}))
    matrix = agreement_matrix(tested, truth, matching, delta_ms=DELTA_MS)
    assert matrix.columns == [1, 0]
    assert pair_model(tested, truth, (0, 0), matching, delta_ms=DELTA_MS).precision == 0
