"""From a file that neo wrote to a sorting in a file that neo reads."""

import neo
import numpy as np
import pytest
import spikeinterface.full as si

from si_crsae.io.neo import recording_from_neo, sorting_from_neo, to_neo


@pytest.fixture(scope="module")
def simulated():
    return si.generate_ground_truth_recording(durations=[20.0], num_channels=4, num_units=4, seed=3)


def write(block, path):
    if path.suffix == ".nix":
        pytest.importorskip("nixio")
        with neo.NixIO(str(path), mode="ow") as file:
            file.write_block(block)
    else:
        neo.PickleIO(str(path)).write_block(block)
    return path


def read(path):
    if path.suffix == ".nix":
        with neo.NixIO(str(path), mode="ro") as file:
            return file.read_block()
    return neo.PickleIO(str(path)).read_block()


@pytest.mark.parametrize("suffix", [".nix", ".pkl"])
def test_sorting_and_signals_survive_a_file(simulated, tmp_path, suffix):
    recording, truth = simulated
    recording = recording.frame_slice(0, 20_000)
    recording.shift_times(12.5)
    truth = truth.frame_slice(0, 20_000)
    amplitudes = np.arange(truth.count_total_num_spikes(), dtype="float64")
    block = read(write(to_neo(truth, recording, amplitudes=amplitudes, with_signals=True), tmp_path / f"block{suffix}"))
    sorting = sorting_from_neo(block)
    assert sorting.unit_ids.tolist() == truth.unit_ids.tolist()
    assert sorting.get_start_time() == 12.5
    np.testing.assert_array_equal(sorting.get_property("main_channel_id"), truth.get_property("main_channel_id"))
    for unit_id in truth.unit_ids:
        np.testing.assert_array_equal(sorting.get_unit_spike_train(unit_id), truth.get_unit_spike_train(unit_id))
    by_time = np.sort(np.concatenate([train.array_annotations["amplitude"] for train in block.segments[0].spiketrains]))
    np.testing.assert_array_equal(by_time, amplitudes)
    back = recording_from_neo(block)
    assert back.get_start_time() == 12.5
    assert back.channel_ids.tolist() == recording.channel_ids.tolist()
    np.testing.assert_array_equal(back.get_traces(return_in_uV=True), recording.get_traces(return_in_uV=True))


@pytest.mark.slow
def test_a_neo_file_is_sorted_and_the_sorting_comes_back_from_one(simulated, tmp_path):
    recording, truth = simulated
    nothing = truth.select_units([])
    file = write(to_neo(nothing, recording, with_signals=True), tmp_path / "signals.nix")
    from_file = si.read_nix(file)
    from_file.set_probe(recording.get_probe())
    sorting = si.run_sorter("crsae", from_file, folder=tmp_path / "crsae", verbose=False)
    result = write(to_neo(sorting, from_file), tmp_path / "sorting.nix")
    comparison = si.compare_sorter_to_ground_truth(truth, sorting_from_neo(read(result)), exhaustive_gt=True)
    accuracy = comparison.get_performance()["accuracy"].to_numpy(dtype=float)
    assert (accuracy >= 0.8).mean() > 0.5, accuracy


@pytest.mark.slow
def test_neo_objects_in_memory_are_sorted(simulated, tmp_path):
    recording, truth = simulated
    signals = to_neo(truth, recording, with_signals=True).segments[0].analogsignals
    in_memory = recording_from_neo(signals, probe=recording.get_probe())
    saved = in_memory.save(folder=tmp_path / "recording", verbose=False, progress_bar=False)
    sorting = si.run_sorter("crsae", saved, folder=tmp_path / "crsae", verbose=False)
    comparison = si.compare_sorter_to_ground_truth(truth, sorting_from_neo(to_neo(sorting, saved)), exhaustive_gt=True)
    accuracy = comparison.get_performance()["accuracy"].to_numpy(dtype=float)
    assert (accuracy >= 0.8).mean() > 0.5, accuracy
