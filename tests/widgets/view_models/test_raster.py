import io
from dataclasses import replace

import numpy as np
import pytest
import spikeinterface as si
from spikeinterface.core import NumpySorting

from si_crsae.evaluation.sorted_recording import explain_like
from si_crsae.sorting.stages import SpikePosterior
from si_crsae.widgets.curation import CurationView
from si_crsae.widgets.packing import pack
from si_crsae.widgets.raster import CodeRaster
from si_crsae.widgets.session import Session, open_session
from si_crsae.widgets.templates import TemplateInspector
from si_crsae.widgets.view_models import raster
from si_crsae.widgets.view_models.raster import NO_UNITS, RasterWindow, order_units, raster_model


@pytest.fixture(scope="module")
def run(run_folder):
    return open_session(run_folder)


@pytest.fixture
def session(run):
    session = Session(run.tested)
    session.go_to(6.0)
    return session


def window(start_s=2.0, end_s=4.0, **changes):
    return RasterWindow(**({"start_s": start_s, "end_s": end_s, "segment_index": 0, "num_columns": 500} | changes))


def test_events_are_those_of_the_window_each_in_the_row_of_its_unit(run):
    tested = run.tested
    model = raster_model(tested, window())
    spikes = tested.units.spikes
    start, end = 2.0 * tested.sampling_frequency, 4.0 * tested.sampling_frequency
    inside = (spikes["sample_index"] >= start) & (spikes["sample_index"] < end)
    assert model.num_events == inside.sum() == model.event_row.size > 0
    np.testing.assert_array_equal(model.row_unit[model.event_row], spikes["unit_index"][inside])
    times = spikes["sample_index"][inside] / tested.sampling_frequency
    np.testing.assert_allclose(model.event_after_s + 2.0, times, atol=1e-4)
    scales = tested.units.scales[spikes["unit_index"][inside]]
    np.testing.assert_allclose(
        model.event_size * model.size_step, np.clip(tested.units.amplitude[inside] / scales, 0, 2.55), atol=0.006
    )
    np.testing.assert_allclose(
        model.event_probability * model.size_step, tested.posterior.probability[inside], atol=0.006
    )
    assert model.rate_hz.mean() * 2.0 == pytest.approx(model.num_events)
    pack(model)


def test_too_many_events_become_counts(run, monkeypatch):
    events = raster_model(run.tested, window(0.0, 12.0))
    monkeypatch.setattr(raster, "MAX_EVENTS", 100)
    model = raster_model(run.tested, window(0.0, 12.0))
    assert model.event_row.size == 0
    assert model.num_events == events.event_row.size > 100
    expected = np.zeros((len(run.tested.unit_ids), 500), int)
    np.add.at(expected, (events.event_row, (events.event_after_s / 12.0 * 500).astype(int)), 1)
    np.testing.assert_array_equal(model.counts, expected)


def test_units_are_ordered_by_depth_or_by_id(run):
    tested = run.tested
    rows = order_units(tested, "depth")
    depths = tested.locations[tested.units.main_channel[rows], 1]
    assert (np.diff(depths) >= 0).all()
    assert order_units(tested, "id").tolist() == list(range(len(tested.unit_ids)))[::-1]


def test_without_units_posterior_recording_or_amplitudes_something_is_said(run):
    tested = run.tested
    nothing = explain_like(NumpySorting.from_unit_dict([{}], tested.sampling_frequency), tested, name="none")
    assert raster_model(nothing, window()).empty == NO_UNITS
    pack(raster_model(nothing, window()))
    bare = replace(tested, whitened=None, segments=np.zeros(0, "int64"), posterior=None)
    assert raster_model(bare, window()).event_probability is None
    other = explain_like(
        NumpySorting.from_unit_dict([{"a": np.array([70_000])}], tested.sampling_frequency), bare, name="other"
    )
    model = raster_model(other, window())
    assert (model.event_size * model.size_step).tolist() == [1.0]
    assert any("amplitudes" in note for note in model.notes)


def test_the_window_jumps_only_if_the_time_leaves_it(session):
    view = CodeRaster(session)
    assert (view.payload["start_s"], view.payload["end_s"]) == (5.0, 7.0)
    session.go_to(6.8)
    assert (view.payload["start_s"], view.payload["cursor_s"]) == (5.0, 6.8)
    session.go_to(9.0)
    assert view.payload["start_s"] == 8.0
    view._handle_custom_msg({"kind": "show", "start_s": 1.0, "window_s": 4.0, "width_px": 800}, [])
    assert (view.payload["start_s"], view.payload["end_s"], view.window_s) == (1.0, 5.0, 4.0)
    session.selected_units = session.tested.unit_ids[-1:]
    assert view.payload["start_s"] == 1.0
    view.window_s = 2.0
    assert (view.payload["start_s"], view.payload["end_s"]) == (2.0, 4.0)
    view.window_s = 1000.0
    assert view.payload["start_s"] == 0.0
    assert view.payload["end_s"] == pytest.approx(session.tested.duration_s(0))


def test_messages_order_units_and_go_to_spikes(session):
    view = CodeRaster(session)
    view._handle_custom_msg({"kind": "order", "by": "id"}, [])
    assert view.payload["order"] == "id"
    view._handle_custom_msg({"kind": "next_spike", "backwards": False}, [])
    assert session.time_s > 6.0
    view._handle_custom_msg({"kind": "order", "by": "color"}, [])
    assert "TraitError" in view.error
    view._handle_custom_msg({"kind": "order", "by": "depth"}, [])
    assert not view.error


def test_another_segment_is_shown_around_its_time(tmp_path, run):
    tested = run.tested
    spikes = tested.units.spikes.copy()
    two = replace(
        tested,
        units=replace(tested.units, spikes=spikes),
        num_samples=(*tested.num_samples, 300_000),
        posterior=SpikePosterior.empty() if tested.posterior is None else tested.posterior,
    )
    session = Session(two)
    view = CodeRaster(session)
    session.go_to(5.0, segment_index=1)
    assert (view.payload["segment_index"], view.payload["start_s"], view.payload["num_events"]) == (1, 4.0, 0)


@pytest.mark.parametrize("max_events", [20_000, 10])
def test_the_picture_has_a_row_for_every_unit(session, monkeypatch, max_events):
    monkeypatch.setattr(raster, "MAX_EVENTS", max_events)
    figure = CodeRaster(session).to_matplotlib()
    assert len(figure.axes[1].get_yticks()) == len(session.tested.unit_ids)
    empty = explain_like(NumpySorting.from_unit_dict([{}], session.tested.sampling_frequency), session.tested, name="x")
    assert CodeRaster(Session(empty)).to_matplotlib().texts


def test_the_true_sorting_is_drawn_too(run, run_folder):
    truth = explain_like(si.load(run_folder.parent / "truth"), run.tested, name="truth")
    view = CodeRaster(Session(truth))
    assert not view.error
    times_s = si.load(run_folder.parent / "truth").to_spike_vector()["sample_index"] / run.tested.sampling_frequency
    assert (
        view.payload["num_events"] == ((times_s >= view.payload["start_s"]) & (times_s < view.payload["end_s"])).sum()
    )


@pytest.mark.parametrize("view", [CodeRaster, TemplateInspector, CurationView])
def test_a_segment_without_spikes_is_drawn(run, view):
    tested = run.tested
    session = Session(replace(tested, num_samples=(*tested.num_samples, 3200)))
    session.segment_index = 1
    assert tested.posterior is not None
    view(session).to_matplotlib().savefig(io.BytesIO(), dpi=30)
