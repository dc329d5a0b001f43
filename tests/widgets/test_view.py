import base64
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import spikeinterface as si
import traitlets

from si_crsae import widgets
from si_crsae.evaluation.sorted_recording import explain_like, explain_sorting, open_run
from si_crsae.sorting.runs.trust import UntrustedError
from si_crsae.widgets import (
    VIEWS,
    CodeRaster,
    ComparisonView,
    CurationView,
    Dashboard,
    DecompositionViewer,
    LearningMonitor,
    MotionView,
    Session,
    TemplateInspector,
    open_session,
)
from si_crsae.widgets.packing import pack, to_text


def test_packed_arrays_have_types_that_browsers_know():
    packed = pack({"a": np.arange(3), "b": np.array([True, False]), "c": np.float32([[1.5]]), "d": [np.int64(2), None]})
    assert (packed["a"]["dtype"], packed["b"]["dtype"], packed["c"]["dtype"]) == ("int32", "uint8", "float32")
    assert np.frombuffer(packed["a"]["data"], "int32").tolist() == [0, 1, 2]
    assert packed["c"]["shape"] == [1, 1]
    assert packed["d"] == [2, None]


def test_numbers_that_json_does_not_know_become_none():
    assert (
        json.dumps(to_text(pack({"rate": float("nan"), "size": np.float64("inf")}))) == '{"rate": null, "size": null}'
    )


def test_numbers_in_a_file_are_all_known_to_json():
    assert to_text({"size": float("inf"), "range": (1.5, float("nan"))}) == {"size": None, "range": [1.5, None]}


@pytest.mark.parametrize(
    ("dtype", "value", "sent"),
    [
        ("uint8", 255, "uint8"),
        ("uint16", 65535, "int32"),
        ("uint32", 2**32 - 1, "float64"),
        ("uint64", 300, "int32"),
        ("int64", -(2**31), "int32"),
    ],
)
def test_integers_keep_their_values(dtype, value, sent):
    packed = pack(np.array([0, value], dtype))
    assert packed["dtype"] == sent
    assert np.frombuffer(packed["data"], sent).tolist() == [0, value]
    assert pack(np.zeros(0, dtype))["shape"] == [0]


@pytest.mark.parametrize("array", [np.array([-1, 2**31]), np.array([-(2**31) - 1]), np.array([2**40], "uint64")])
def test_integers_of_more_than_32_bits_are_refused(array):
    with pytest.raises(OverflowError, match=rf"integers from {array.min()} to {array.max()}: .* fit into 32 bits"):
        pack(array)


def test_what_cannot_be_sent_is_refused():
    with pytest.raises(TypeError, match="type set cannot be sent to a browser"):
        pack({"units": {1, 2}})


@pytest.mark.parametrize("name", widgets.__all__)
def test_the_module_of_a_view_is_complete_and_exports_once(name):
    module = getattr(getattr(widgets, name), "_esm", None)
    if module is None:
        pytest.skip("no view")
    lines = str(module).splitlines()
    assert not [line for line in lines if line.startswith("import ")]
    assert [line for line in lines if line.startswith("export ")] == ["export default {"]


def test_unknown_units_and_segments_are_refused_and_times_kept_inside(run_folder):
    session = open_session(run_folder)
    with pytest.raises(traitlets.TraitError, match=r"selected_units has \[999\]: the units are"):
        session.selected_units = [999]
    with pytest.raises(traitlets.TraitError, match="segment_index = 1: there are 1 segments"):
        session.segment_index = 1
    session.go_to(1e9)
    assert session.time_s == 12.0
    session.selected_units = [1, 0, 1]
    assert session.selected_units == [1, 0]


def test_the_next_spike_is_of_a_selected_unit(run_folder):
    session = open_session(run_folder)
    session.selected_units = [2]
    train = session.tested.sorting.get_unit_spike_train(2) / session.tested.sampling_frequency
    session.go_to(float(train[3]))
    assert session.next_spike_s() == pytest.approx(train[4])
    assert session.next_spike_s(backwards=True) == pytest.approx(train[2])
    session.go_to(12.0)
    assert session.next_spike_s() is None


def test_whitened_traces_are_those_that_were_sorted(run_folder):
    opened = open_run(run_folder)
    again = open_run(run_folder, recording=si.load(run_folder.parent / "recording"))
    np.testing.assert_allclose(opened.get_traces(0, 1000, 4000), again.get_traces(0, 1000, 4000), atol=1e-4)
    assert opened.get_traces(0, 0, 30000).std() == pytest.approx(1.0, abs=0.5)
    assert opened.missing == ()


def test_a_recording_that_is_gone_is_told_and_the_rest_is_shown(run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "run")
    for path in (tmp_path / "run").rglob("*recording.json"):
        noted = json.loads(path.read_text())
        path.write_text(json.dumps(noted).replace(str(run_folder.parent / "recording"), str(tmp_path / "nowhere")))
    relative = tmp_path / "run" / "spikeinterface_recording.json"
    relative.write_text(relative.read_text().replace("../recording", "../nowhere"))
    opened = open_run(tmp_path / "run")
    assert opened.whitened is None
    assert "give it as recording" in opened.missing[0]
    recording = si.load(run_folder.parent / "recording")
    np.testing.assert_allclose(opened.locations, recording.get_channel_locations())
    model = DecompositionViewer(Session(opened)).view_model()
    assert model.traces is None
    assert model.explained is not None
    assert model.notes == list(opened.missing)


def test_another_recording_is_refused(run_folder):
    other = si.load(run_folder.parent / "recording").frame_slice(0, 30000)
    with pytest.raises(ValueError, match=r"not the one that was sorted.*\s+num_samples = 30000 \(it was \d+\)"):
        open_run(run_folder, recording=other)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="give the folder passed to run_sorter"):
        open_run(tmp_path)


def test_any_sorting_can_be_explained_by_its_mean_waveforms(run_folder):
    recording, truth = (si.load(run_folder.parent / name) for name in ("recording", "truth"))
    explained = explain_sorting(truth, recording, name="truth")
    assert explained.unit_ids == truth.unit_ids.tolist()
    np.testing.assert_allclose(np.linalg.norm(explained.units.atoms, axis=(1, 2)), 1, atol=1e-5)
    assert "the amplitudes of truth are unknown" in explained.missing[0]
    tested = open_run(run_folder)
    cosines = np.abs(np.einsum("acs,bcs->ab", explained.units.atoms, tested.units.atoms))
    assert np.median(cosines.max(axis=1)) > 0.9


def test_a_generated_recording_that_was_never_saved_can_be_explained():
    recording, truth = si.generate_ground_truth_recording(durations=[6.0], num_channels=4, num_units=3, seed=0)
    session = open_session(explain_sorting(truth, recording, name="truth"))
    assert session.tested.unit_ids == truth.unit_ids.tolist()
    np.testing.assert_allclose(np.linalg.norm(session.tested.units.atoms, axis=(1, 2)), 1, atol=1e-5)
    traces = session.tested.get_traces(0, 0, 3000)
    assert traces is not None
    assert traces.shape == (3000, 4)


def test_what_is_looked_at_is_saved_and_looked_at_again(run_folder, tmp_path):
    dashboard = Dashboard(open_session(run_folder))
    dashboard.selected_index = 2
    session = dashboard.session
    session.selected_units = session.tested.unit_ids[3:1:-1]
    session.go_to(5.5)
    path = session.save(tmp_path / "look.json")
    again = Dashboard(open_session(run_folder))
    again.session.restore(path)
    assert again.session.selected_units == session.selected_units
    assert (again.session.time_s, again.session.segment_index) == (5.5, 0)
    assert again.titles[again.selected_index] == dashboard.titles[2]
    later = open_session(run_folder)
    later.restore(path)  # the tab of a dashboard that is made afterwards
    assert Dashboard(later).selected_index == 2
    again.close()
    again.session.tab = dashboard.titles[0]
    assert again.selected_index == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"selected_units": [999]}, "is of another sorting, or was edited: selected_units has .999."),
        ({"segment_index": 7}, "segment_index = 7: there are 1 segments"),
        ({"tab": 3}, "is of another sorting, or was edited"),
        (None, "was not written by Session.save"),
    ],
)
def test_a_file_of_another_session_is_refused_and_changes_nothing(run_folder, tmp_path, change, said):
    session = open_session(run_folder)
    session.go_to(2.0)
    path = session.save(tmp_path / "look.json")
    saved = json.loads(path.read_text(encoding="utf8"))
    path.write_text(json.dumps([] if change is None else saved | {"time_s": 4.0} | change), encoding="utf8")
    before = (session.selected_units, session.time_s, session.segment_index, session.tab)
    with pytest.raises(ValueError, match=said):
        session.restore(path)
    assert (session.selected_units, session.time_s, session.segment_index, session.tab) == before


def test_a_truth_of_another_length_is_refused(run_folder):
    late = si.NumpySorting.from_unit_dict({0: np.array([10**8])}, 30000.0)
    with pytest.raises(ValueError, match="give a sorting of this recording"):
        open_session(run_folder, truth=late)
    with pytest.raises(ValueError, match="sampling_frequency = 20000.0, the recording"):
        open_session(run_folder, truth=si.NumpySorting.from_unit_dict({0: np.array([10])}, 20000.0))


def test_views_of_a_session_move_together(run_folder):
    session = open_session(run_folder)
    first, second = DecompositionViewer(session), DecompositionViewer(session, window_ms=20.0)
    first._handle_custom_msg({"kind": "go_to", "time_s": 5.0}, [])
    assert second.payload["start_s"] == pytest.approx(4.99, abs=1e-3)
    first._handle_custom_msg({"kind": "select_units", "unit_ids": ["3"]}, [])
    assert session.selected_units == [3]
    assert second.payload["selected"] == [session.index_of(3)]


def test_a_failing_callback_is_shown_and_the_view_goes_on(run_folder):
    view = DecompositionViewer(open_session(run_folder))
    view._handle_custom_msg({"kind": "select_units", "unit_ids": ["none such"]}, [])
    assert "KeyError" in view.error
    view._handle_custom_msg({"kind": "select_units", "unit_ids": ["1"]}, [])
    assert view.error == ""
    assert view.session.selected_units == [1]


def test_a_saved_page_needs_nothing_from_elsewhere(run_folder, tmp_path):
    path = DecompositionViewer(open_session(run_folder)).save_html(tmp_path / "view.html")
    text = path.read_text(encoding="utf8").replace("http://www.w3.org/2000/svg", "")
    assert "http" not in text
    assert re.search(r"^\s*import\s", text.split('<script type="module">')[1], re.MULTILINE) is None
    with pytest.raises(ValueError, match="its folder does not exist"):
        DecompositionViewer(open_session(run_folder)).save_html(tmp_path / "missing" / "view.html")


def test_titles_of_tabs_are_as_short_as_tabs_are_wide(moving_run_folder):
    titles = Dashboard(open_session(moving_run_folder)).titles
    assert len(set(titles)) == len(VIEWS)
    assert max(map(len, titles)) <= 12  # ipywidgets cuts more than some 18


def test_motion_has_a_tab_where_it_was_followed(run_folder, moving_run_folder):
    assert MotionView.tab_title in Dashboard(open_session(moving_run_folder)).titles
    at_rest = open_session(run_folder)
    assert MotionView.tab_title not in Dashboard(at_rest).titles
    assert Dashboard(at_rest, views=[MotionView]).titles == (MotionView.tab_title,)


def test_tabs_that_are_not_seen_do_not_compute(moving_run_folder):
    session = open_session(moving_run_folder)
    dashboard = Dashboard(session)
    assert [view.is_awake for view in dashboard.children] == [True] + [False] * (len(VIEWS) - 1)
    assert dashboard.children[1].payload == {}
    session.selected_units = session.tested.unit_ids[1:3]
    dashboard.selected_index = 1
    assert dashboard.children[1].payload["selected"] == [1, 2]
    session.selected_units = session.tested.unit_ids[:1]
    assert dashboard.children[1].payload["selected"] == [0]


def test_a_picture_for_readers_without_a_kernel_is_made_when_asked_for(run_folder, monkeypatch):
    view = DecompositionViewer(open_session(run_folder))
    assert "image/png" not in view._repr_mimebundle_()[0]
    monkeypatch.setenv("SI_CRSAE_STATIC_PICTURES", "1")
    assert base64.b64decode(view._repr_mimebundle_()[0]["image/png"]).startswith(b"\x89PNG")


def test_a_closed_view_follows_the_session_no_longer(moving_run_folder):
    session = open_session(moving_run_folder, truth=si.load(moving_run_folder.parent / "truth"))
    views = [view(session) for view in VIEWS]
    dashboard = Dashboard(session)
    for view in (*views, dashboard):
        view.close()
    before = [view.payload for view in views]
    session.selected_units = session.tested.unit_ids[2:3]
    session.go_to(5.0)
    assert all(view.payload is payload for view, payload in zip(views, before, strict=True))
    assert dashboard.children[0].payload["selected"] == [0]


def test_what_a_refresh_raised_is_shown_until_one_succeeds(run_folder, monkeypatch):
    view = DecompositionViewer(open_session(run_folder))
    with monkeypatch.context() as broken:
        broken.setattr(DecompositionViewer, "view_model", lambda self: 1 / 0)
        view._handle_custom_msg({"kind": "go_to", "time_s": 5.0}, [])
        assert view.error == "ZeroDivisionError: division by zero"
        view._handle_custom_msg({"kind": "hide", "units": [99]}, [])
        assert view.error.splitlines()[1].startswith("IndexError")
        view._handle_custom_msg({"kind": "go_to", "time_s": 5.0}, [])
        assert view.error == "ZeroDivisionError: division by zero"
    view._handle_custom_msg({"kind": "go_to", "time_s": 6.0}, [])
    assert view.error == ""


@pytest.mark.parametrize(
    ("view", "content"),
    [
        (DecompositionViewer, {"kind": "go_to", "time_s": float("nan")}),
        (DecompositionViewer, {"kind": "show", "time_s": 1.0, "window_ms": float("nan"), "width_px": 500}),
        (CodeRaster, {"kind": "show", "start_s": 0.0, "window_s": float("inf"), "width_px": 500}),
        (ComparisonView, {"kind": "browse", "listed": "missed", "position": "x"}),
    ],
)
def test_numbers_that_are_none_are_refused(run_folder, view, content):
    made = view(open_session(run_folder, truth=si.load(run_folder.parent / "truth")))
    made._handle_custom_msg(content, [])
    assert made.error
    made.view_model()
    made._handle_custom_msg({"kind": "go_to", "time_s": 2.0}, [])
    assert (made.error, made.session.time_s) == ("", 2.0)


@pytest.mark.parametrize("content", [{}, {"kind": []}, [], "x", None])
def test_messages_of_another_form_are_refused(run_folder, content):
    view = DecompositionViewer(open_session(run_folder))
    view._handle_custom_msg(content, [])
    assert "which it does not know; it knows select_units" in view.error


def test_a_start_that_is_no_number_keeps_the_window(run_folder):
    view = CodeRaster(open_session(run_folder))
    view._handle_custom_msg({"kind": "show", "start_s": float("nan"), "window_s": 1.0, "width_px": 500}, [])
    assert (view.payload["end_s"] - view.payload["start_s"], view.error) == (1.0, "")


def test_units_can_be_hidden_from_the_beginning(run_folder):
    session = open_session(run_folder)
    assert DecompositionViewer(session, hidden_units=[2, 1]).payload["hidden"] == [2, 1]


def test_the_time_stays_inside_of_another_segment(run_folder):
    tested = open_run(run_folder)
    session = Session(replace(tested, num_samples=(*tested.num_samples, 3200)))
    session.go_to(11.0)
    session.segment_index = 1
    assert session.time_s == 0.1


def test_a_run_without_arrays_says_what_to_do(run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "run")
    path = tmp_path / "run" / "spikeinterface_params.json"
    parameters = json.loads(path.read_text())
    parameters["sorter_params"]["save_array"] = False
    path.write_text(json.dumps(parameters))
    with pytest.raises(ValueError, match="save_array=False, .* or open its sorting with open_session.explain_sorting"):
        open_session(tmp_path / "run")


def test_a_truth_that_is_no_sorting_is_refused(run_folder):
    with pytest.raises(TypeError, match="truth is a str: give a sorting"):
        open_session(run_folder, truth=str(run_folder.parent / "truth"))


def test_spikes_in_any_order_are_explained_alike(run_folder):
    tested, truth = open_run(run_folder), si.load(run_folder.parent / "truth")
    spikes = np.random.default_rng(0).permutation(np.array(truth.to_spike_vector()))
    mixed = explain_like(si.NumpySorting(spikes, truth.sampling_frequency, truth.unit_ids), tested, name="mixed")
    ordered = explain_like(truth, tested, name="ordered")
    assert np.array_equal(mixed.units.spikes["sample_index"], ordered.units.spikes["sample_index"])
    np.testing.assert_allclose(mixed.units.atoms, ordered.units.atoms, atol=1e-5)


def test_what_was_decided_in_a_tab_is_applied(run_folder, tmp_path):
    dashboard = Dashboard(open_session(run_folder), curation_path=tmp_path / "curation.json")
    curation = dashboard.view(CurationView)
    curation._handle_custom_msg({"kind": "label", "category": "quality", "value": "noise"}, [])
    curation._handle_custom_msg({"kind": "save"}, [])
    assert curation.error == ""
    assert dashboard.view(CurationView).apply().get_property("quality")[0] == "noise"
    again = Dashboard(open_session(run_folder), curation_path=tmp_path / "curation.json")
    assert again.view(CurationView).apply().get_property("quality")[0] == "noise"
    with pytest.raises(ValueError, match="view_class = LearningMonitor: the tabs are DecompositionViewer"):
        Dashboard(open_session(run_folder), [DecompositionViewer]).view(LearningMonitor)


def test_a_page_saved_from_an_unseen_tab_shows_what_is_so_now(run_folder, tmp_path):
    session = open_session(run_folder)
    view = DecompositionViewer(session, is_awake=False)
    session.selected_units = list(session.tested.sorting.unit_ids[1:2])  # numpy's integers
    view.hidden_units = list(session.tested.sorting.unit_ids[:1])
    text = view.save_html(tmp_path / "view.html").read_text(encoding="utf8")
    state = json.loads(re.search(r'id="state">(.*)</script>', text).group(1).replace("<\\/", "</"))
    assert state["payload"]["selected"] == [1]
    assert state["hidden_units"] == [0]
    assert not view.is_awake


def test_what_was_found_in_a_residual_goes_with_the_residual(run_folder):
    view = DecompositionViewer(open_session(run_folder))
    view._handle_custom_msg({"kind": "explain", "time_s": 1.0, "row": 0}, [])
    assert view.finding["text"]
    view.hidden_units = view.session.tested.unit_ids[:1]
    assert view.finding == {}


@pytest.mark.parametrize(("view", "name"), [(ComparisonView, "delta_ms"), (TemplateInspector, "correlogram_ms")])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_options_that_are_no_numbers_are_refused(run_folder, view, name, value):
    made = view(open_session(run_folder, truth=si.load(run_folder.parent / "truth")))
    before = getattr(made, name)
    with pytest.raises(traitlets.TraitError, match=name):
        setattr(made, name, value)
    assert getattr(made, name) == before


@pytest.mark.parametrize(
    "door", [open_session, lambda folder, **trust: LearningMonitor.from_folder(folder, **trust).session]
)
def test_a_run_of_somebody_else_opens_once_it_is_trusted(pickled_run, door):
    with pytest.raises(UntrustedError, match="is a pickle, which runs whatever .*say trust=True"):
        door(pickled_run)
    assert door(pickled_run, trust=True).tested.whitened is not None
