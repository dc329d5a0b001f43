"""Claims about a run with probabilities: what it writes, that it changes no spike, and that they can be trusted."""

import numpy as np
import pytest
import spikeinterface.full as si
from probeinterface import generate_tetrode

import si_crsae
from si_crsae.evaluation.calibration import expected_calibration_error, label_spikes
from si_crsae.evaluation.simulation import CaseSpec
from si_crsae.evaluation.simulation import simulate as simulate_case
from si_crsae.sorting.folder import load_spike_probabilities
from si_crsae.sorting.stages import SpikePosterior

PROPERTIES = ("expected_false_positive_rate", "expected_missed_rate")
HARD = CaseSpec(
    description="tetrode, 14 units close to each other, faint to clear",
    make_probe=generate_tetrode,
    num_units=14,
    snr_range=(2.5, 10.0),
    rate_range_hz=(3.0, 20.0),
    minimum_distance_um=6.0,
)


def arrays_of(posterior):
    return [getattr(posterior, name) for name in SpikePosterior.__dataclass_fields__]


@pytest.fixture(scope="module")
def with_probabilities(reference, tmp_path_factory):
    """The reference run again, with probabilities: (folder, sorting)."""
    recording, _ = reference
    folder = tmp_path_factory.mktemp("posterior") / "run"
    return folder, si.run_sorter("crsae", recording, folder=folder, spike_probabilities=True)


def test_spikes_are_the_same_as_without(reference, with_probabilities):
    np.testing.assert_array_equal(with_probabilities[1].to_spike_vector(), reference[1].to_spike_vector())


def test_every_spike_has_a_probability_and_an_interval_around_its_amplitude(with_probabilities):
    folder, sorting = with_probabilities
    posterior = load_spike_probabilities(folder)
    units = si_crsae.sorting.folder.load_units(folder)
    assert posterior.probability.shape == sorting.to_spike_vector().shape
    assert np.all((posterior.probability > 0) & (posterior.probability < 1))
    assert np.all(posterior.amplitude_low < posterior.amplitude_high)
    inside = (posterior.amplitude_low < units.amplitude) & (units.amplitude < posterior.amplitude_high)
    assert inside.mean() > 0.8
    for name, values in zip(PROPERTIES, (posterior.false_positive_rate, posterior.missed_rate), strict=True):
        np.testing.assert_array_equal(sorting.get_property(name), values)
    unit_index = sorting.to_spike_vector()["unit_index"]
    counts = np.bincount(unit_index)
    expected = 1 - np.bincount(unit_index, weights=posterior.probability) / counts
    np.testing.assert_allclose(posterior.false_positive_rate, expected, atol=1e-5)


def test_nothing_is_written_unless_asked_for(reference, tmp_path):
    recording, _ = reference
    sorting = si.run_sorter("crsae", recording, folder=tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*spike_probabilit*"))
    assert not list((tmp_path / "run").rglob("posterior*"))
    assert not set(PROPERTIES) & set(sorting.get_property_keys())
    with pytest.raises(ValueError, match="run with spike_probabilities=True"):
        load_spike_probabilities(tmp_path / "run")


def test_the_number_of_threads_changes_nothing(reference, with_probabilities, tmp_path):
    recording, _ = reference
    si.run_sorter(
        "crsae",
        recording,
        folder=tmp_path / "run",
        spike_probabilities=True,
        job_kwargs={"n_jobs": 3},
    )
    for found, expected in zip(
        arrays_of(load_spike_probabilities(tmp_path / "run")),
        arrays_of(load_spike_probabilities(with_probabilities[0])),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("lost", ["posterior", "clean", "encode"])
def test_a_run_is_resumed_to_the_same_probabilities(reference, with_probabilities, tmp_path, lost):
    recording, _ = reference
    folder = tmp_path / "run"
    si.run_sorter("crsae", recording, folder=folder, spike_probabilities=True)
    stages = ["encode", "clean", "posterior"]
    for stage in stages[stages.index(lost) :]:
        (folder / "sorter_output" / "stages" / "group_0" / f"{stage}.npz").unlink()
    (folder / "sorter_output" / "spike_probabilities.npz").unlink()
    si_crsae.resume_sorter(folder)
    found, expected = load_spike_probabilities(folder), load_spike_probabilities(with_probabilities[0])
    np.testing.assert_array_equal(found.probability, expected.probability)


@pytest.mark.slow
def test_probabilities_on_a_hard_recording_are_calibrated(tmp_path):
    probability, is_right = [], []
    for seed in (901, 902):
        recording, truth = simulate_case(HARD, duration_s=20.0, seed=seed)
        saved = recording.save(folder=tmp_path / f"recording_{seed}", progress_bar=False)
        folder = tmp_path / f"run_{seed}"
        sorting = si.run_sorter("crsae", saved, folder=folder, spike_probabilities=True)
        probability.append(load_spike_probabilities(folder).probability)
        is_right.append(label_spikes(sorting, truth)[0])
    probability, is_right = np.concatenate(probability), np.concatenate(is_right)
    assert 0.3 < is_right.mean() < 0.98  # hard indeed
    assert expected_calibration_error(probability, is_right) < 0.1
    assert np.mean((probability - is_right) ** 2) < 0.8 * is_right.mean() * (1 - is_right.mean())


def test_segments_and_groups_have_probabilities_in_the_order_of_the_spikes(make_simulation, save, tmp_path):
    simulation = make_simulation(num_channels=4, num_units=4, durations=(4.0, 3.0))
    silent = np.zeros_like(simulation.segments[0][:20_000])
    silent += np.random.default_rng(0).normal(0, 5, silent.shape).astype("float32")
    recording = save(simulation, simulation.segments[0], silent, simulation.segments[1], group=[0, 0, 1, 1])
    sorting = si.run_sorter("crsae", recording, folder=tmp_path / "run", spike_probabilities=True)
    posterior = load_spike_probabilities(tmp_path / "run")
    units = si_crsae.sorting.folder.load_units(tmp_path / "run")
    np.testing.assert_array_equal(units.spikes, sorting.to_spike_vector())
    assert set(np.unique(units.spikes["segment_index"])) >= {0, 2}
    middle = (posterior.amplitude_low + posterior.amplitude_high) / 2
    assert np.corrcoef(middle, units.amplitude)[0, 1] > 0.95
    for group, of_group in recording.split_by("group").items():
        folder = tmp_path / f"group_{group}"
        si.run_sorter("crsae", of_group, folder=folder, spike_probabilities=True)
        alone = load_spike_probabilities(folder)
        is_unit = sorting.get_property("group") == group
        np.testing.assert_array_equal(posterior.missed_rate[is_unit], alone.missed_rate)
        np.testing.assert_array_equal(posterior.probability[is_unit[units.spikes["unit_index"]]], alone.probability)


def test_one_channel_is_enough(make_simulation, save, tmp_path):
    simulation = make_simulation(num_channels=1, num_units=2)
    sorting = si.run_sorter("crsae", save(simulation), folder=tmp_path / "run", spike_probabilities=True, rank=1)
    posterior = load_spike_probabilities(tmp_path / "run")
    is_right, missed_rate = label_spikes(sorting, simulation.sorting)
    assert is_right.mean() > 0.99
    assert expected_calibration_error(posterior.probability, is_right) < 0.02
    np.testing.assert_allclose(posterior.missed_rate, missed_rate, atol=0.01)


def test_no_unit_is_a_result_too(save, make_simulation, tmp_path):
    simulation = make_simulation()
    noise = np.random.default_rng(0).normal(0, 5, simulation.traces.shape).astype("float32")
    recording = save(simulation, noise)
    with pytest.warns(UserWarning, match="found no unit"):
        sorting = si.run_sorter(
            "crsae", recording, folder=tmp_path / "run", spike_probabilities=True, detect_threshold=30.0
        )
    posterior = load_spike_probabilities(tmp_path / "run")
    assert sorting.get_num_units() == posterior.probability.size == posterior.missed_rate.size == 0
    assert set(PROPERTIES) <= set(sorting.get_property_keys())


def test_it_is_written_without_the_other_arrays(reference, with_probabilities, tmp_path):
    recording, _ = reference
    si.run_sorter("crsae", recording, folder=tmp_path / "run", spike_probabilities=True, save_array=False)
    found, expected = load_spike_probabilities(tmp_path / "run"), load_spike_probabilities(with_probabilities[0])
    for values, same in zip(arrays_of(found), arrays_of(expected), strict=True):
        np.testing.assert_array_equal(values, same)
    assert not (tmp_path / "run" / "sorter_output" / "code.npz").exists()
