"""Public sets are read from files of their format, made here, and scored by hand-made trains as their papers score."""

import pickle
import sys

import numpy as np
import public
import pytest
import spikeinterface.full as si
from public import KINDS, Case, count_found, read_aind, read_janelia, read_kilosort
from spikeinterface.extractors.mdaextractors import MdaRecordingExtractor, MdaSortingExtractor

RATE = 30000.0
NUM_CHANNELS = 16
NOISE_UV = 5.0  # of the simulation
SPIKES = {"num_units": 3, "firing_rates": 15.0, "refractory_period_ms": 4.0, "seed": 0}


def sorting_of(**trains):
    """Sorting of units u0, u1, ... by their samples."""
    return si.NumpySorting.from_unit_dict([{name: np.array(train) for name, train in trains.items()}], RATE)


@pytest.fixture(scope="module")
def simulated():
    return si.generate_ground_truth_recording(
        durations=[8.0], sampling_frequency=RATE, num_channels=NUM_CHANNELS, num_units=4, seed=1
    )


# ---- formats


def neuropixels_meta(num_samples):
    """What SpikeGLX notes beside the first channels of a Neuropixels 1.0 and its sync channel."""
    table = "".join(f"({channel} 0 1 500 250 1)" for channel in range(384))
    lines = {
        "acqApLfSy": "384,384,1",
        "appVersion": "20190327",
        "fileName": "D:/background/sim_g0_t0.imec0.ap.bin",
        "fileSizeBytes": num_samples * (NUM_CHANNELS + 1) * 2,
        "fileTimeSecs": num_samples / RATE,
        "firstSample": 0,
        "imAiRangeMax": 0.6,
        "imAiRangeMin": -0.6,
        "imDatPrb_pn": "PRB_1_4_0480_1",
        "imDatPrb_sn": "1",
        "imDatPrb_type": 0,
        "imMaxInt": 512,
        "imSampRate": RATE,
        "nSavedChans": NUM_CHANNELS + 1,
        "snsApLfSy": f"{NUM_CHANNELS},0,1",
        "snsSaveChanSubset": f"0:{NUM_CHANNELS - 1},768",
        "typeThis": "imec",
        "~imroTbl": f"(0,384){table}",
        "~snsChanMap": "(384,384,1)"
        + "".join(f"(AP{channel};{channel}:{channel})" for channel in range(NUM_CHANNELS))
        + f"(SY0;768:{NUM_CHANNELS})",
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


@pytest.fixture(params=["bin", "cbin"])
def kilosort_folder(request, simulated, tmp_path):
    """A simulation as it is downloaded, whose last unit is background, and the traces that are in it."""
    recording, truth = simulated
    folder = tmp_path / "sim_med_drift"
    folder.mkdir()
    traces = recording.get_traces()
    counts = np.round(traces / (1.2e6 / 1024 / 500)).astype("int16")
    with_sync = np.concatenate([counts, np.zeros((len(counts), 1), "int16")], axis=1)
    binary = folder / "sim.imec0.ap.bin"
    with_sync.tofile(binary)
    (folder / "sim.imec0.ap.meta").write_text(neuropixels_meta(len(counts)), encoding="utf8")
    spikes = truth.to_spike_vector()
    number = np.array([0, 1, 599, 600])[spikes["unit_index"]]
    shuffled = np.random.default_rng(0).permutation(len(spikes))
    known = {"st": spikes["sample_index"][shuffled].astype(float), "cl": number[shuffled].astype(float)}
    np.savez(folder / "sim.imec0.ap_params.npz", **known, wfs=np.zeros(3), cb=np.zeros(3), ci=np.zeros(3))
    if request.param == "cbin":
        mtscomp = pytest.importorskip("mtscomp")
        names = (binary.with_suffix(".cbin"), binary.with_suffix(".ch"))
        mtscomp.compress(binary, *names, sample_rate=RATE, n_channels=NUM_CHANNELS + 1, dtype=np.int16)
        binary.unlink()
    return folder, traces


def test_a_simulation_of_kilosort_is_read(kilosort_folder, simulated):
    folder, traces = kilosort_folder
    (case,) = read_kilosort(folder)
    assert case.name == "sim_med_drift"
    np.testing.assert_allclose(case.recording.get_traces(return_in_uV=True), traces, atol=1.2)
    assert case.recording.get_probe().get_contact_count() == NUM_CHANNELS
    assert case.truth.unit_ids.tolist() == [0, 1, 599]
    for unit, true_unit in zip(case.truth.unit_ids, simulated[1].unit_ids, strict=False):
        train = case.truth.get_unit_spike_train(unit, segment_index=0)
        assert np.array_equal(train, simulated[1].get_unit_spike_train(true_unit, segment_index=0))


@pytest.fixture
def janelia_folder(simulated, tmp_path):
    recording, truth = simulated
    folder = tmp_path / "rec_16c_8s_11"
    renumbered = truth.rename_units(np.arange(1, truth.get_num_units() + 1))
    MdaRecordingExtractor.write_recording(recording, folder, params={"spike_sign": -1}, n_jobs=1, verbose=False)
    MdaSortingExtractor.write_sorting(renumbered, folder / "firings_true.mda")
    return folder


def test_a_hybrid_janelia_recording_is_read(janelia_folder, simulated):
    recording, truth = simulated
    (case,) = read_janelia(janelia_folder)
    np.testing.assert_allclose(case.recording.get_traces(), recording.get_traces(), rtol=1e-6)
    np.testing.assert_allclose(case.recording.get_channel_locations(), recording.get_channel_locations(), atol=1e-3)
    assert case.truth.count_total_num_spikes() == truth.count_total_num_spikes()


@pytest.fixture
def aind_folder(simulated, tmp_path):
    """Two hybrid recordings as AIND's pipeline leaves them, relative to their folder; and the true sortings."""
    folder = tmp_path / "hybrid"
    recording = simulated[0].save(folder=folder / "raw", progress_bar=False)
    truths = {}
    for name in ("session__probeA_0", "session__probeA_1"):
        hybrid, truth = si.generate_hybrid_recording(recording, generate_sorting_kwargs=SPIKES, seed=len(truths))
        described = hybrid.to_dict(
            include_annotations=True, include_properties=True, relative_to=folder, recursive=True
        )
        job = {"session_name": "session", "recording_name": name, "recording_dict": described}
        (folder / f"job_{name}.pkl").write_bytes(pickle.dumps(job))
        truth = truth.save(folder=folder / f"sorting_{name}")
        truth.dump_to_pickle(folder / f"gt_{name}.pkl", relative_to=folder)
        truths[name] = hybrid.get_traces(), truth
    return folder, truths


def test_hybrid_recordings_of_the_aind_are_read(aind_folder):
    folder, truths = aind_folder
    cases = list(read_aind(folder, trust=True))
    assert [case.name for case in cases] == list(truths)
    for case, (traces, truth) in zip(cases, truths.values(), strict=True):
        np.testing.assert_allclose(case.recording.get_traces(), traces, rtol=1e-5, atol=1e-4)
        assert np.array_equal(case.truth.to_spike_vector(), truth.to_spike_vector())


def test_pickles_are_read_only_if_they_are_trusted(aind_folder):
    with pytest.raises(PermissionError, match=r"job_session__probeA_0.pkl is a pickle.*--trust"):
        next(read_aind(aind_folder[0]))


@pytest.mark.parametrize(("read", "name"), [(read_kilosort, "ap_params.npz"), (read_aind, "job_")])
def test_another_folder_is_told_with_what_is_missing(read, name, tmp_path):
    with pytest.raises(FileNotFoundError, match=name):
        next(read(tmp_path))


# ---- scores


def test_true_spikes_are_counted_once_and_within_the_window():
    true = np.array([100, 200, 300, 400])
    samples = np.array([94, 106, 207, 300, 300, 394])
    units = np.array([0, 0, 0, 1, 0, 1])
    assert count_found(true, samples, units, 3, window=6).tolist() == [2, 2, 0]


def test_kilosort_counts_units_whose_misses_and_false_positives_are_together_at_most_a_fifth():
    times = 1000 * np.arange(1, 101)
    truth = sorting_of(good=times, missed=times + 100, impure=times + 200, absent=times + 300)
    tested = sorting_of(
        a=times[:90] + 6,  # a tenth is missed: 0.9
        b=times[:79] + 100,  # 0.79
        c=np.sort(np.concatenate([times + 200, times + 507])),  # half are false: 0.5
        d=times + 307,  # 7 samples off
    )
    figures = KINDS["kilosort"][1](None, truth, tested)
    assert figures == pytest.approx({"score": (0.9 + 0.79 + 0.5) / 4, "correct": 1, "units": 4, "found": 4})


def test_spikeforest_takes_the_best_unit_and_only_true_units_that_stand_out(simulated, monkeypatch):
    times = 1000 * np.arange(1, 101)
    truth = sorting_of(clear=times, faint=times + 500)
    tested = sorting_of(a=times[:80] + 25, b=times[:30] + 100)  # within 1 ms: 30 samples
    monkeypatch.setattr(public, "signal_to_noise", lambda *_: np.array([8.0, 7.9]))
    figures = KINDS["janelia"][1](None, truth, tested)
    assert figures == pytest.approx({"accuracy": 0.8, "well detected": 1, "units": 1, "found": 2})


def test_signal_to_noise_is_the_peak_over_the_noise(simulated):
    recording, truth = simulated
    found = public.signal_to_noise(recording, truth)
    assert found.shape == (truth.get_num_units(),)
    peaks_uV = np.abs(recording.templates).max(axis=(1, 2))
    assert np.corrcoef(found, peaks_uV)[0, 1] > 0.95
    assert 0.5 < np.median(found / (peaks_uV / NOISE_UV)) < 2.0  # the band takes noise away, and some of the peaks


def test_the_aind_counts_a_unit_without_a_match_as_zero():
    times = 1000 * np.arange(1, 101)
    truth = sorting_of(found=times, half=times + 300, lost=times + 500)
    tested = sorting_of(a=times, b=times[:50] + 300, c=times[:10] + 500)
    figures = KINDS["aind"][1](None, truth, tested)
    expected = {"accuracy": 0.5, "precision": 2 / 3, "recall": 0.5, "well detected": 1, "units": 3, "found": 3}
    assert figures == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sorting_without_units_scores_zero(kind, monkeypatch):
    monkeypatch.setattr(public, "signal_to_noise", lambda *_: np.array([9.0]))
    truth = sorting_of(unit=[100, 200, 300])
    figures = KINDS[kind][1](None, truth, truth.select_units([]))
    assert figures["found"] == 0
    assert all(figures.get(name, 0.0) == 0.0 for name in ("score", "correct", "accuracy", "recall", "well detected"))


# ---- the command


@pytest.mark.slow
def test_the_command_sorts_and_puts_what_was_published_beside(janelia_folder, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(public.PUBLISHED, ("janelia", janelia_folder.name, "mine"), {"accuracy": 0.5})
    (case,) = read_janelia(janelia_folder)
    case.truth.save(folder=tmp_path / "mine")
    arguments = [
        "public.py",
        "janelia",
        str(janelia_folder),
        "--sorters",
        "crsae",
        f"--sortings=mine={tmp_path / 'mine'}",
    ]
    monkeypatch.setattr(sys, "argv", [*arguments, "--out", str(tmp_path / "rows.json")])
    public.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| rec_16c_8s_11 | mine | 1 (published: 0.5) |")
    cells = [cell.strip() for cell in lines[3].split("|")]
    assert cells[2] == "crsae"
    assert float(cells[3]) > 0.9
    assert (tmp_path / "rows.json").exists()


def test_the_beginning_of_a_recording_has_its_units_only(simulated):
    recording, _ = simulated
    truth = sorting_of(early=[100, 200], late=[60000])
    short = public.beginning(Case(name="a", recording=recording, truth=truth), 1.0)
    assert short.recording.get_num_samples() == 30000
    assert short.truth.unit_ids.tolist() == ["early"]
