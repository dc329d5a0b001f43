from dataclasses import replace

import numpy as np
import pytest
from accuracy_chart import accuracies, plot_accuracy
from cases import PARTLY_KNOWN, prepare_case, save_case
from drawn import KINDS, MAX_PAIR_DISTANCE, MIN_DISTANCE, Distances, Library, draw_case
from sorters import is_meant_for, score
from spikeinterface.core import NumpyRecording, NumpySorting
from true_templates import (
    SILENCE_MS,
    TRUE_TEMPLATES,
    NormalEquations,
    filter_templates,
    match_true_templates,
    mean_templates,
)

from si_crsae.config import CrsaeConfig
from si_crsae.evaluation import generate_case, overlapping_spikes, score_sorting
from si_crsae.sorting.convert import whole_samples
from si_crsae.sorting.whitening import whiten_groups

SMALL_KINDS = ("mixed_tetrode", "polarity_tetrode", "polarity_mono", "bursts_tetrode", "long_bursts_tetrode")


@pytest.fixture(scope="module")
def saved_tetrode(tmp_path_factory):
    recording, truth = generate_case("tetrode", duration_s=12.0)
    folder = tmp_path_factory.mktemp("case") / "tetrode_0"
    save_case(recording, truth, folder)
    return folder, recording, truth


def test_true_templates_find_nearly_all_spikes(saved_tetrode):
    folder, _, truth = saved_tetrode
    found = score_sorting(match_true_templates(folder), truth)
    assert found.accuracy > 0.97
    assert found.num_false_positive == 0


def test_fitted_templates_find_what_the_exact_ones_do_but_for_a_few_spikes(saved_tetrode, tmp_path):
    folder, _, truth = saved_tetrode
    for name in ("recording", "sorting"):
        (tmp_path / name).symlink_to(folder / name)
    assert score_sorting(match_true_templates(tmp_path), truth).accuracy > 0.94


def test_fitted_templates_are_the_filtered_true_ones_but_for_noise(saved_tetrode, tmp_path):
    _, recording, truth = saved_tetrode
    whitened = whiten_groups(recording, CrsaeConfig(), folder=tmp_path)
    known = mean_templates(recording)
    assert known is not None
    num_before, num_after = 32, 64
    first = whole_samples(SILENCE_MS, recording.sampling_frequency) + int(known["num_before"]) - num_before
    exact = filter_templates(whitened, known["templates"])[:, first : first + num_before + num_after]
    fitted = NormalEquations.of(whitened, truth, num_before=num_before, width=num_before + num_after).solve()
    assert np.linalg.norm(fitted - exact) < 0.3 * np.linalg.norm(exact)
    np.testing.assert_array_equal(np.abs(exact).max(axis=1).argmax(axis=1), np.abs(fitted).max(axis=1).argmax(axis=1))


def test_templates_are_fitted_exactly_where_spikes_always_overlap():
    rng = np.random.default_rng(0)
    templates, width = rng.normal(size=(2, 20, 3)), 20
    first = np.arange(100, 5000, 100)
    trains = {"a": first, "b": first + rng.integers(-8, 8, first.size)}
    traces = np.zeros((5200, 3))
    for template, train in zip(templates, trains.values(), strict=True):
        for sample in train:
            traces[sample - 5 : sample - 5 + width] += template
    recording = NumpyRecording([traces], 1000.0)
    sorting = NumpySorting.from_unit_dict([trains], 1000.0)
    equations = NormalEquations.of(recording, sorting, num_before=5, width=width)
    np.testing.assert_allclose(equations.solve(), templates, atol=0.05)
    np.testing.assert_allclose(equations.solve(without=2), templates, atol=0.05)


@pytest.mark.parametrize("name", SMALL_KINDS)
def test_drawn_spikes_are_timed_at_the_largest_sample_of_their_template(name, data_folder):
    recording, truth = draw_case(KINDS[name], data_folder, duration_s=4.0, seed=3)
    known = mean_templates(recording)
    assert known is not None
    sizes = np.abs(known["templates"])
    largest = sizes.max(axis=1).argmax(axis=1)
    assert (sizes[np.arange(len(sizes)), :, largest].argmax(axis=1) == known["num_before"]).all()
    assert truth.get_num_units() == KINDS[name].num_units


def test_the_same_seed_draws_the_same_recording(data_folder):
    kind = KINDS["bursts_tetrode"]
    (first, truth), (again, _), (other, _) = (
        draw_case(kind, data_folder, duration_s=4.0, seed=seed) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.get_traces(), again.get_traces())
    assert not np.array_equal(first.get_traces(), other.get_traces())
    assert truth.count_total_num_spikes() > 0


def test_drawn_units_can_be_told_apart_and_pairs_just_so(data_folder):
    kind = KINDS["pairs_tetrode"]
    library = Library.load(kind.library_path(data_folder), num_channels=0, noise_seed=10)
    chosen = kind.choose(library, kind, np.random.default_rng(0))
    distances = Distances.of(library, library.templates[chosen])
    between = np.array(
        [[distances.between(one, two, (1.0, 1.0)) if one != two else np.inf for two in range(8)] for one in range(8)]
    )
    assert between.min() >= MIN_DISTANCE - 1e-3
    assert max(between[0, 1], between[2, 3], between[4, 5]) <= MAX_PAIR_DISTANCE + 1e-3


def test_neighbors_fire_together(data_folder):
    alone, truth = (
        draw_case(replace(KINDS["mixed_tetrode"], collision_ratio=ratio), data_folder, duration_s=10.0, seed=3)[1]
        for ratio in (0.0, 0.2)
    )
    together, by_chance = (overlapping_spikes(sorting, overlap_ms=0.5).mean() for sorting in (truth, alone))
    assert together > by_chance + 0.2


def test_cases_of_all_kinds_are_saved_by_name(data_folder, tmp_path):
    folders = prepare_case("polarity_mono", duration_s=2.0, seeds=["1", "2"], work_folder=tmp_path)
    assert list(folders) == ["polarity_mono_1", "polarity_mono_2"]
    assert all((folder / "templates.npz").exists() for folder in folders.values())
    folder = prepare_case("purkinje", duration_s=None, seeds=["1"], work_folder=tmp_path)["purkinje"]
    assert not (folder / "templates.npz").exists()


def test_spikes_at_15_khz_may_be_further_apart():
    truth, tested = (NumpySorting.from_unit_dict([{"a": np.arange(100, 9000, 100) + lag}], 15000.0) for lag in (0, 10))
    assert score("locust", tested, truth)["accuracy"] == 1.0
    assert score("tetrode_0", tested, truth)["accuracy"] == 0.0


def test_true_templates_need_all_true_spikes():
    assert not any(is_meant_for(TRUE_TEMPLATES, case) for case in PARTLY_KNOWN)
    assert is_meant_for(TRUE_TEMPLATES, "locust")
    assert is_meant_for("crsae", "harris")


def row(case, method, figure, value):
    return {"case": case, "method": method, "figure": figure, "value": value, "unit": ""}


ROWS = [
    row("machine", "", "where", {}),
    row("dev_neuronexus32", "crsae", "accuracy", 0.9),
    row("mono_1", "crsae", "accuracy", 0.5),
    row("mono_2", "crsae", "accuracy", 0.7),
    row("mono_1", "peer", "error", "ValueError"),
    row("mono_1", TRUE_TEMPLATES, "accuracy", 1.0),
    row("harris", "crsae", "others_in_unit", 3),
]


def test_chart_joins_seeds_and_counts_failures_as_nothing_found():
    assert accuracies(ROWS) == {
        "dev_neuronexus32": {"crsae": [0.9]},
        "mono": {"crsae": [0.5, 0.7], TRUE_TEMPLATES: [1.0], "peer": [0.0]},
    }


def test_chart_is_drawn_with_unknown_sorters_and_gaps(tmp_path):
    pytest.importorskip("matplotlib")
    plot_accuracy(ROWS, tmp_path / "accuracy.png")
    assert (tmp_path / "accuracy.png").stat().st_size > 1000
