from dataclasses import replace

import numpy as np
import pytest
import spikeinterface as si
import spikeinterface.sorters as ss
import torch
from simulated_rounds import dictionary, learning_round

from si_crsae.models import Crsae, ExpectationMaximization, RatePrior, train
from si_crsae.widgets.learning import LearningMonitor
from si_crsae.widgets.packing import pack
from si_crsae.widgets.session import Session, open_session
from si_crsae.widgets.view_models.courses import change_of, course_of_round, courses_of_run, units_of_atoms
from si_crsae.widgets.view_models.learning import HOW_TO_START, NOTHING_HEARD, OTHER_SORTER, monitor_model, panels_of


def train_crsae(on_epoch=False, *, num_epochs=3, shape=(4, 1, 9)):
    generator = torch.Generator().manual_seed(0)
    atoms = torch.randn(shape, generator=generator)
    model = Crsae(atoms, torch.tensor(1.0), noise_sd=0.5)
    windows = torch.randn(12, shape[1], 60, generator=generator)
    trainer = ExpectationMaximization(model, RatePrior.around(1.0))
    return train(trainer, windows[:9], windows[9:], num_epochs=num_epochs, batch_size=5, progress=on_epoch)


def panel(model, title):
    return next(panel for panel in model.panels if panel.title == title)


def test_change_follows_atoms_that_were_sorted_anew_split_and_born():
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((30, 3)))[0].T.astype("float32").copy()
    before = np.random.default_rng(1).standard_normal((3, 4, 3)).astype("float32")
    before[:, :3] = 0
    before[0, 0], before[1, 1] = 1, 1
    new = np.zeros((4, 3), "float32")
    new[2] = 1
    change = change_of(before, np.stack([2 * before[1], before[0], before[1], new]), basis=basis)
    assert change.origin.tolist() == [1, 0, 1, -1]
    assert np.isnan(change.error_db[3])
    assert change.error_db[:3].max() <= -30
    nobody = change_of(before[:0], before, basis=basis)
    assert nobody.origin.tolist() == [-1, -1, -1]
    assert change_of(before, before[:0], basis=basis).error_db.size == 0


def test_rounds_grow_into_curves_and_cells():
    versions = [dictionary(2, 0), dictionary(3, 1), dictionary(2, 2)]
    versions = [replace(version, basis=versions[0].basis) for version in versions]
    course = None
    for index in range(2):
        course = course_of_round(course, learning_round(index, *versions[index : index + 2]))
    model = monitor_model({course.name: course}, is_running=True)
    assert (model.step, model.num_steps, model.is_running) == (2, 3, True)
    assert panel(model, "objective").lines[0].values.tolist() == [9.0, 8.0]
    assert panel(model, "atoms").lines[0].values.tolist() == [2, 3]
    assert model.version_steps == [0, 1, 2]
    newest = versions[-1].atoms.numpy()
    largest = np.linalg.norm(newest, axis=2).argmax(axis=1)
    assert model.cell_channel == ["abc"[channel] for channel in largest]
    assert model.waveforms.shape == (2, 3, 9)
    np.testing.assert_allclose(model.waveforms[:, -1], 5.0 * newest[[0, 1], largest], rtol=1e-5, atol=1e-6)
    pack(model)


def test_without_a_course_the_view_says_what_to_do(run_folder):
    assert monitor_model({}).empty == HOW_TO_START
    assert "Waiting" in monitor_model({}, is_running=True).empty
    tested = open_session(run_folder).tested
    assert monitor_model({}, tested=tested).empty == OTHER_SORTER
    assert LearningMonitor(Session(replace(tested, learning_curves={}))).payload["empty"] == OTHER_SORTER


def test_a_run_tells_how_its_units_came_about(run_folder):
    session = open_session(run_folder, truth=si.load(run_folder.parent / "truth"))
    courses = courses_of_run(session.tested, truth=session.truth)
    course = courses["group 0"]
    num_rounds = session.tested.learning_curves[0].objective.size
    assert len(course.versions) == num_rounds + 1
    assert len(course.changes) == num_rounds
    assert sorted(units_of_atoms(course, session.tested).tolist())[-1] == len(session.tested.unit_ids) - 1
    model = monitor_model(courses, tested=session.tested, selected=session.selected_units)
    assert model.cell_unit[: len(session.tested.unit_ids)] == [str(unit) for unit in session.tested.unit_ids]
    assert panel(model, "error to truth").lines[0].values[-1] < -5
    assert model.selected == [str(session.selected_units[0])]


def test_a_run_of_an_earlier_version_shows_its_curves(run_folder):
    tested = open_session(run_folder).tested
    old = {
        group: replace(curve, waveforms=np.zeros((0, 0, 1), "float16"))
        for group, curve in tested.learning_curves.items()
    }
    model = monitor_model(courses_of_run(replace(tested, learning_curves=old)), tested=tested)
    assert [panel.title for panel in model.panels] == ["objective", "mean lambda", "atoms", "events"]
    assert model.waveforms.shape[0] == 0
    assert any("earlier version" in note for note in model.notes)


def test_an_older_learning_curve_file_is_still_read(run_folder, tmp_path):
    from si_crsae.sorting.folder import load_learning_curves

    (tmp_path / "sorter_output").mkdir()
    with np.load(run_folder / "sorter_output" / "learning_curve.npz") as saved:
        old = {name: saved[name] for name in saved if not name.endswith(("waveforms", "basis", "channel_ids"))}
    np.savez(tmp_path / "sorter_output" / "learning_curve.npz", **old)
    assert load_learning_curves(tmp_path)[0].versions() == []


def test_epochs_of_a_model_are_shown_live_and_afterwards_alike():
    true_atoms = torch.randn(4, 1, 9, generator=torch.Generator().manual_seed(3)).numpy()
    monitor = LearningMonitor(true_atoms=true_atoms)
    assert monitor.payload["empty"] == HOW_TO_START
    payloads = []
    monitor.observe(lambda change: payloads.append(change.new), names=["payload"])
    history = train_crsae(monitor.on_epoch)
    assert not monitor.error
    assert payloads
    model = monitor.view_model()
    assert (model.step, model.num_steps, model.step_name, model.is_running) == (3, 3, "epoch", False)
    validation = panel(model, "loss").lines[1].values
    np.testing.assert_allclose(validation, history.validation_loss)
    assert panel(model, "error to truth").lines[0].values.size == 4
    assert panel(model, "change of atoms").dot_value.size == 12
    later = LearningMonitor.from_history(history, true_atoms=true_atoms).view_model()
    np.testing.assert_array_equal(later.waveforms, model.waveforms)


def test_true_atoms_that_do_not_fit_are_left_out():
    monitor = LearningMonitor(true_atoms=np.ones((2, 3, 5)))
    train_crsae(monitor.on_epoch, num_epochs=1)
    assert [panel.title for panel in panels_of(monitor.courses()["fit"])] == ["loss", "mean lambda", "change of atoms"]


def test_a_second_fit_begins_anew_and_an_error_is_shown():
    monitor = LearningMonitor()
    train_crsae(monitor.on_epoch, num_epochs=3)
    train_crsae(monitor.on_epoch, num_epochs=1)
    assert monitor.view_model().step == 1
    monitor.on_round(None)
    assert "AttributeError" in monitor.error


@pytest.fixture(scope="module")
def watched(tiny_folder, tmp_path_factory):
    monitor = LearningMonitor()
    steps = []
    monitor.observe(lambda change: steps.append((change.new["is_running"], change.new["step"])), names=["payload"])
    with monitor.watching():
        folder = tmp_path_factory.mktemp("watched") / "run"
        ss.run_sorter("crsae", si.load(tiny_folder / "recording"), folder=folder)
    return monitor, steps, folder


def test_a_sorting_in_this_process_is_shown_while_it_learns(watched):
    monitor, steps, folder = watched
    assert steps[0] == (True, 0)
    assert any(is_running and step > 0 for is_running, step in steps)
    assert steps[-1][0] is False
    model, later = monitor.view_model(), LearningMonitor.from_folder(folder).view_model()
    assert model.names == later.names == ["group 0", "group 1"]
    for name in model.names:
        one = monitor_model(monitor.courses(), shown=name)
        other = monitor_model(courses_of_run(open_session(folder).tested), shown=name)
        np.testing.assert_array_equal(
            panel(one, "objective").lines[0].values, panel(other, "objective").lines[0].values
        )
        assert len(one.cell_name) == len(other.cell_name)


def test_a_block_in_which_nothing_was_learned_says_so():
    monitor = LearningMonitor()
    with monitor.watching():
        assert "Waiting" in monitor.payload["empty"]
    assert monitor.payload["empty"] == NOTHING_HEARD


def test_the_group_can_be_chosen_and_the_picture_drawn(watched):
    monitor, _, _ = watched
    monitor._handle_custom_msg({"kind": "show_course", "name": "group 0"}, [])
    assert monitor.payload["shown"] == 0
    assert len(monitor.to_matplotlib().axes) > 5
    assert LearningMonitor().to_matplotlib().texts


def test_a_truth_without_spikes_or_on_other_channels_is_left_out(run_folder):
    truth = si.load(run_folder.parent / "truth")
    nothing = si.NumpySorting.from_unit_dict([{0: np.zeros(0, "int64")}], truth.sampling_frequency)
    monitor = LearningMonitor(open_session(run_folder, truth=nothing))
    assert monitor.error == ""
    assert monitor.courses()["group 0"].truth is None
