import json

import numpy as np
import pytest
import spikeinterface as si
import spikeinterface.sorters as ss
from spikeinterface.core.base import minimum_spike_dtype

import si_crsae
from si_crsae.config import CrsaeConfig
from si_crsae.sorting.sorter import CrsaeSorter


@pytest.fixture
def run_folder(tmp_path):
    """The folder of a run of two segments, before any result."""
    (tmp_path / "sorter_output").mkdir()
    (tmp_path / "recording_attributes.json").write_text(json.dumps({"num_samples": [1000, 1000]}))
    return tmp_path


def test_public_names_are_there_and_others_are_not():
    assert {name: getattr(si_crsae, name) is not None for name in si_crsae.__all__} == dict.fromkeys(
        si_crsae.__all__, True
    )
    assert set(si_crsae.__all__) <= set(dir(si_crsae))
    with pytest.raises(AttributeError, match="no attribute 'CrsaeSolver'"):
        _ = si_crsae.CrsaeSolver


def test_spikeinterface_lists_describes_and_versions_the_sorter():
    assert "crsae" in ss.available_sorters()
    assert "crsae" in ss.installed_sorters()
    assert ss.get_default_sorter_params("crsae") == CrsaeConfig.sorter_defaults()
    assert ss.get_default_sorter_params(CrsaeSorter) == CrsaeConfig.sorter_defaults()
    assert ss.get_sorter_params_description("crsae") == CrsaeConfig.sorter_descriptions()
    assert "10.1109/TNNLS.2020.3005348" in ss.get_sorter_description("crsae")
    assert CrsaeSorter.get_sorter_version() == si_crsae.__version__


def test_the_gpu_is_asked_for_unless_the_cpu_is_chosen():
    assert CrsaeSorter.use_gpu({"device": "auto"})
    assert CrsaeSorter.use_gpu({})
    assert not CrsaeSorter.use_gpu({"device": "cpu"})


def test_doctor_reports_versions_device_and_registration():
    report = si_crsae.doctor()
    assert report["registered"] == "yes"
    assert report["spikeinterface"] == si.__version__
    assert report["device"].startswith(("cpu", "cuda"))
    assert all(isinstance(line, str) for line in report.values())


@pytest.mark.parametrize("parameters", [{"rank": 0}, {"raduis_um": 3.0}])
def test_a_refused_parameter_leaves_no_folder_behind(tiny_recording, tmp_path, parameters):
    with pytest.raises(ValueError, match="crsae cannot run with these parameters"):
        ss.run_sorter("crsae", tiny_recording, folder=tmp_path / "run", **parameters)
    assert not (tmp_path / "run").exists()


def test_a_refusal_spares_a_folder_that_holds_anything_else(run_folder, tiny_recording):
    (run_folder / "notes.txt").write_text("precious")
    with pytest.raises(ValueError, match="rank = 0"):
        CrsaeSorter.set_params_to_folder(tiny_recording, run_folder, {"rank": 0}, verbose=False)
    assert (run_folder / "notes.txt").exists()


def test_a_result_without_units_keeps_its_types_and_segments(run_folder):
    empty = si.NumpySorting(np.zeros(0, minimum_spike_dtype), 30000.0, np.array([], dtype="int64"))
    empty.set_property("main_channel_id", np.array([], dtype="<U4"))
    empty.save(folder=run_folder / "sorter_output" / "sorting")

    sorting = CrsaeSorter._get_result_from_folder(run_folder / "sorter_output")

    assert sorting.unit_ids.dtype == np.int64
    assert sorting.get_property("main_channel_id").dtype.kind == "U"
    assert sorting.get_num_segments() == 2


def test_a_last_segment_without_spikes_is_kept(run_folder):
    sorting = si.NumpySorting.from_unit_dict([{0: np.array([5, 50]), 1: np.array([7])}], 30000.0)
    sorting.set_property("main_channel_id", np.array(["a", "b"]))
    sorting.save(folder=run_folder / "sorter_output" / "sorting")

    sorting = CrsaeSorter._get_result_from_folder(run_folder / "sorter_output")

    assert [sorting.get_unit_spike_train(0, segment_index=segment).tolist() for segment in (0, 1)] == [[5, 50], []]
    assert sorting.get_property("main_channel_id").tolist() == ["a", "b"]


def test_empty_and_full_groups_can_be_aggregated(run_folder):
    empty = si.NumpySorting(np.zeros(0, minimum_spike_dtype), 30000.0, np.array([], dtype="int64"))
    empty.set_property("main_channel_id", np.array([], dtype="<U4"))
    empty.save(folder=run_folder / "sorter_output" / "sorting")
    full = si.NumpySorting.from_unit_dict([{0: np.array([5])}, {0: np.array([6])}], 30000.0)
    full.set_property("main_channel_id", np.array(["a"]))

    aggregated = si.aggregate_units([CrsaeSorter._get_result_from_folder(run_folder / "sorter_output"), full])

    assert aggregated.get_property("main_channel_id").tolist() == ["a"]


def test_only_the_folder_of_a_crsae_run_is_resumed(tmp_path):
    with pytest.raises(ValueError, match="give the folder passed to run_sorter"):
        si_crsae.resume_sorter(tmp_path)
    parameters_file = tmp_path / "spikeinterface_params.json"
    parameters_file.write_text(json.dumps({"sorter_name": "lupin"}))
    with pytest.raises(ValueError, match="is a run of 'lupin'"):
        si_crsae.resume_sorter(tmp_path)
    parameters_file.write_text(json.dumps({"sorter_name": "crsae", "sorter_params": {}}))
    with pytest.raises(ValueError, match="no sorter_output left"):
        si_crsae.resume_sorter(tmp_path)
