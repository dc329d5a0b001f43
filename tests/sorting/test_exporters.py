"""What the rest of SpikeInterface, and the programs behind it, can do with a result."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import spikeinterface as si
import spikeinterface.sorters as ss
from numpy.testing import assert_allclose, assert_array_equal
from spikeinterface.comparison import compare_sorter_to_ground_truth
from spikeinterface.exporters import export_report, export_to_phy
from wideband import GAIN_UV, as_wideband

from si_crsae import CrsaeSorter, load_filtered
from si_crsae.sorting.folder import load_units
from si_crsae.sorting.templates import MAX_TEMPLATE_SPIKES

MIN_ACCURACY = 0.95
NUM_UNITS = 4
PROPERTY_KINDS = {
    "main_channel_id": "U",
    "group": "i",
    "snr": "f",
    "firing_rate": "f",
    "num_spikes": "i",
    "amplitude_median": "f",
    "amplitude_cv": "f",
    "refractory_violations": "f",
    "atom_snr": "f",
    "quality": "U",
    "probability_good": "f",
    "probability_mua": "f",
    "probability_noise": "f",
    "depth_um": "f",
    "drift_um": "f",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run: its folder, what was sorted, the truth and the result."""

    folder: Path
    recording: si.BaseRecording
    truth: si.BaseSorting
    sorting: si.BaseSorting

    @property
    def output(self) -> Path:
        """Where the sorter left its files."""
        return self.folder / "sorter_output"


def generate(folder, *, duration_s):
    """Return a saved wideband recording of a tetrode in int16 with gains, slow waves in it, and its truth."""
    generated, truth = si.generate_ground_truth_recording(
        durations=[duration_s], num_channels=4, num_units=NUM_UNITS, sampling_frequency=30000.0, seed=0
    )
    recording = as_wideband(generated, channel_ids=["a", "b", "c", "d"])
    return recording.save(folder=folder, progress_bar=False), truth


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """30 s of 4 channels, sorted with the default parameters."""
    folder = tmp_path_factory.mktemp("exporters")
    recording, truth = generate(folder / "recording", duration_s=30.0)
    sorting = ss.run_sorter("crsae", recording, folder=folder / "run")
    return Run(folder=folder / "run", recording=recording, truth=truth, sorting=sorting)


@pytest.fixture(scope="module")
def analyzer(run):
    analyzer = si.create_sorting_analyzer(run.sorting, load_filtered(run.folder), sparse=False)
    analyzer.compute(
        ["random_spikes", "templates", "noise_levels", "spike_amplitudes", "correlograms", "unit_locations"]
    )
    analyzer.compute("quality_metrics", metric_names=["snr", "isi_violation", "firing_rate"])
    return analyzer


@pytest.fixture(scope="module")
def empty_sorting(tmp_path_factory):
    """Result of a recording without any spike."""
    folder = tmp_path_factory.mktemp("empty")
    noise = np.random.default_rng(0).normal(scale=50.0, size=(60000, 4)).astype("int16")
    recording = si.NumpyRecording([noise], 30000.0, channel_ids=["e", "f", "g", "h"])
    recording.set_dummy_probe_from_locations(np.array([[0, 0], [0, 20], [20, 0], [20, 20]]))
    with pytest.warns(UserWarning, match="crsae found no unit"):
        return ss.run_sorter("crsae", recording.save(folder=folder / "recording"), folder=folder / "run")


@pytest.fixture(scope="module")
def contract(tmp_path_factory):
    """A run with every default parameter spelled out, its output deleted."""
    folder = tmp_path_factory.mktemp("contract")
    recording, truth = generate(folder / "recording", duration_s=60.0)
    (folder / "run").mkdir()
    sorting = ss.run_sorter(
        "crsae",
        recording,
        folder=folder / "run",
        remove_existing_folder=True,
        delete_output_folder=True,
        verbose=False,
        raise_error=True,
        **CrsaeSorter.default_params(),
    )
    return Run(folder=folder / "run", recording=recording, truth=truth, sorting=sorting)


def accuracy(truth, sorting):
    return compare_sorter_to_ground_truth(truth, sorting).get_performance()["accuracy"].to_numpy(float)


def assert_same_sorting(loaded, sorting):
    assert_array_equal(loaded.to_spike_vector(), sorting.to_spike_vector())
    assert_array_equal(loaded.unit_ids, sorting.unit_ids)
    assert loaded.unit_ids.dtype == sorting.unit_ids.dtype
    for name in PROPERTY_KINDS:
        assert_array_equal(loaded.get_property(name), sorting.get_property(name))


def test_every_true_unit_is_found(run):
    assert run.sorting.get_num_units() == NUM_UNITS
    assert accuracy(run.truth, run.sorting).min() > MIN_ACCURACY


def test_properties_are_plain_scalars(run):
    kinds = {name: run.sorting.get_property(name).dtype.kind for name in run.sorting.get_property_keys()}
    assert kinds == PROPERTY_KINDS
    assert run.sorting.unit_ids.dtype == np.int64


def test_properties_agree_with_the_spikes_and_the_templates(run):
    sorting = run.sorting
    counts = np.array(list(sorting.count_num_spikes_per_unit().values()))
    assert_array_equal(sorting.get_property("num_spikes"), counts)
    assert_allclose(sorting.get_property("firing_rate"), counts / 30.0)
    assert_allclose(sorting.get_property("amplitude_median"), 1.0, atol=0.05)
    templates = si.load(run.output / "templates.zarr").get_dense_templates()
    main_channel = run.recording.ids_to_indices(sorting.get_property("main_channel_id"))
    assert_array_equal(np.abs(templates).max(axis=1).argmax(axis=1), main_channel)
    noise_uV = np.load(run.output / "noise_levels.npy") * GAIN_UV
    peaks = np.abs(templates).max(axis=(1, 2))
    assert_allclose(sorting.get_property("snr"), peaks / noise_uV[main_channel], rtol=1e-5)


def test_the_folder_holds_what_widgets_and_exporters_need(run):
    files = {path.name for path in run.output.iterdir()}
    assert files >= {
        "sorting", "templates.zarr", "dictionary.npz", "code.npz", "learning_curve.npz", "history.npz",
        "noise_levels.npy", "crsae.log",
    }  # fmt: skip
    assert f"{NUM_UNITS} units" in (run.output / "crsae.log").read_text(encoding="utf8")


def test_the_code_is_the_sorting_with_amplitudes(run):
    units = load_units(run.folder)
    assert_array_equal(units.spikes, run.sorting.to_spike_vector())
    assert_allclose(np.linalg.norm(units.atoms, axis=(1, 2)), 1.0, rtol=1e-4)
    assert (units.regularization > 0).all()
    assert_array_equal(run.recording.channel_ids[units.main_channel], run.sorting.get_property("main_channel_id"))


def test_saved_templates_are_the_averages_of_the_filtered_traces_in_uV(run):
    templates = si.Templates.from_zarr(run.output / "templates.zarr")
    assert templates.is_in_uV
    assert_array_equal(templates.unit_ids, run.sorting.unit_ids)
    filtered = load_filtered(run.folder)
    nbefore, nafter = templates.nbefore, templates.nafter
    for unit_index, unit_id in enumerate(run.sorting.unit_ids):
        train = run.sorting.get_unit_spike_train(unit_id)
        snippets = [
            filtered.get_traces(start_frame=t - nbefore, end_frame=t + nafter, return_in_uV=True) for t in train
        ]
        average = np.mean([snippet for snippet in snippets if len(snippet) == nbefore + nafter], axis=0)
        saved = templates.get_dense_templates()[unit_index]
        occupied = templates.sparsity_mask[unit_index]
        # the saved template is the mean of some of these spikes
        tolerance = 5 * np.std(snippets[1:-1], axis=0).max() / np.sqrt(min(train.size, MAX_TEMPLATE_SPIKES))
        assert_allclose(saved[:, occupied], average[:, occupied], atol=tolerance)
        assert not saved[:, ~occupied].any()


def test_an_analyzer_of_the_filtered_recording_agrees_on_the_snr(run, analyzer):
    """On the raw recording the slow waves are its noise."""
    snr = analyzer.get_extension("quality_metrics").get_data()["snr"].to_numpy(float)
    assert_allclose(snr, run.sorting.get_property("snr"), rtol=0.15)


def test_the_filtered_recording_has_the_segments_of_the_sorting_and_no_other(tmp_path):
    """Segments that cannot be sorted keep their place: the sorting counts them."""
    generated, _ = si.generate_ground_truth_recording(durations=[4.0], num_channels=4, num_units=2, seed=0)
    traces = generated.get_traces()
    recording = si.NumpyRecording([traces, traces[:20], traces], generated.sampling_frequency)
    recording.set_probe(generated.get_probe())
    recording = recording.save(folder=tmp_path / "recording", progress_bar=False)
    with pytest.warns(UserWarning, match="segment 1 has 20 samples"):
        sorting = ss.run_sorter("crsae", recording, folder=tmp_path / "run", num_rounds=1)
    lengths = [recording.get_num_samples(segment) for segment in range(3)]
    filtered = load_filtered(tmp_path / "run")
    assert [filtered.get_num_samples(segment) for segment in range(filtered.get_num_segments())] == lengths
    assert si.create_sorting_analyzer(sorting, filtered, sparse=False).get_num_segments() == 3
    with pytest.raises(ValueError, match="not the one that was sorted"):
        load_filtered(tmp_path / "run", recording=recording.select_segments([0]))


def test_an_analyzer_agrees_on_the_main_channels(run, analyzer):
    extremum = si.get_template_extremum_channel(analyzer, peak_sign="both", outputs="id")
    assert list(extremum.values()) == run.sorting.get_property("main_channel_id").tolist()


def test_phy_gets_every_spike_and_the_properties(run, analyzer, tmp_path):
    extra = ["snr", "atom_snr", "main_channel_id"]
    export_to_phy(
        analyzer,
        tmp_path / "phy",
        compute_pc_features=False,
        copy_binary=False,
        verbose=False,
        additional_properties=extra,
    )
    times = np.load(tmp_path / "phy" / "spike_times.npy").ravel()
    assert_array_equal(times, run.sorting.to_spike_vector()["sample_index"])
    for name in extra:
        table = pd.read_csv(tmp_path / "phy" / f"cluster_{name}.tsv", sep="\t")
        assert len(table) == NUM_UNITS


def test_a_report_is_written(analyzer, tmp_path):
    pytest.importorskip("matplotlib").use("agg")
    export_report(analyzer, tmp_path / "report")
    units = pd.read_csv(tmp_path / "report" / "unit list.csv", sep="\t")
    assert len(units) == NUM_UNITS
    assert len(list((tmp_path / "report" / "units").glob("*.png"))) == NUM_UNITS


@pytest.mark.parametrize(("file_format", "name"), [("zarr", "saved.zarr"), ("numpy_folder", "saved")])
def test_saved_and_loaded_the_sorting_is_the_same(run, tmp_path, file_format, name):
    run.sorting.save(folder=tmp_path / name, format=file_format)
    assert_same_sorting(si.load(tmp_path / name), run.sorting)


def test_the_run_folder_can_be_read_back(run):
    assert_same_sorting(ss.read_sorter_folder(run.folder), run.sorting)


def test_results_without_units_aggregate_with_others(run, empty_sorting):
    assert empty_sorting.get_num_units() == 0
    together = si.aggregate_units([run.sorting, empty_sorting])
    assert together.get_num_units() == NUM_UNITS
    assert_array_equal(together.get_property("main_channel_id"), run.sorting.get_property("main_channel_id"))
    assert {name: empty_sorting.get_property(name).dtype.kind for name in PROPERTY_KINDS} == PROPERTY_KINDS


def test_results_without_units_compare_with_a_truth(run, empty_sorting):
    assert accuracy(run.truth, empty_sorting).tolist() == [0.0] * NUM_UNITS


class TestContractOfSpikeInterfaceSorters:
    """What SpikeInterface's own test suite asks of every sorter, and an accuracy."""

    def test_the_result_survives_the_removal_of_the_output(self, contract):
        assert not contract.output.exists()
        assert accuracy(contract.truth, contract.sorting).min() > MIN_ACCURACY

    def test_the_result_tells_how_it_was_made(self, contract):
        assert {"recording", "params", "log"} <= set(contract.sorting.sorting_info)
        assert contract.sorting.sorting_info["params"]["sorter_name"] == "crsae"
        for name in ("recording", "params", "log"):
            assert (contract.folder / f"spikeinterface_{name}.json").is_file()

    def test_the_sorter_has_a_version(self):
        assert CrsaeSorter.get_sorter_version()

    def test_every_parameter_is_described(self):
        assert set(CrsaeSorter.params_description()) == set(CrsaeSorter.default_params())
        assert all(CrsaeSorter.params_description().values())
