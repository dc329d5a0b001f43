"""Numbers, units and colors are the same in every view, and what is shown first is what needs a look."""

import re

import numpy as np
import pytest
import spikeinterface as si
from spikeinterface.core import NumpySorting

from si_crsae.evaluation.plots import unit_color
from si_crsae.evaluation.sorted_recording import explain_like
from si_crsae.widgets import (
    VIEWS,
    CodeRaster,
    ComparisonView,
    CurationView,
    DecompositionViewer,
    LearningMonitor,
    TemplateInspector,
    ThresholdExplorer,
    open_session,
)
from si_crsae.widgets.session import Session


@pytest.fixture
def session(moving_run_folder):
    return open_session(moving_run_folder, truth=si.load(moving_run_folder.parent / "truth"))


def column(live, name):
    """The cells beneath a head of the list of units."""
    heads = live.locator(".crsae-row .crsae-unit-list thead th").all()
    place = next(index for index, head in enumerate(heads) if head.inner_text().startswith(name))
    return live.locator(f".crsae-row .crsae-unit-list tbody tr td:nth-child({place + 1})").all_inner_texts()


@pytest.mark.parametrize("kind", [TemplateInspector, CurationView])
def test_a_column_has_one_number_of_digits(show, session, kind):
    snr = column(show(kind(session)), "SNR")
    assert {len(text.partition(".")[2]) for text in snr} == {1}


@pytest.mark.parametrize("kind", VIEWS, ids=lambda kind: kind.__name__)
def test_micrometers_are_written_in_one_way(show, session, kind):
    text = show(kind(session)).text()
    assert not re.search(r"\b[ux][mV]\b|\u03bc", text)


def test_one_spike_is_not_many(show, session):
    session.go_to(3.0)
    session.go_to(session.next_spike_s())
    view = DecompositionViewer(session, window_ms=1.0)
    live = show(view)
    assert view.payload["event_time_s"]["shape"] == [1]
    assert live.text(".crsae-summary").endswith("; 1 spike")


def test_colors_are_those_of_the_pictures_in_python(show, session):
    tested = session.tested
    names = [f"u{unit}" for unit in range(50)]
    trains = {name: np.array([1000 + 100 * unit]) for unit, name in enumerate(names)}
    many = explain_like(NumpySorting.from_unit_dict([trains], tested.sampling_frequency), tested, name="many")
    live = show(TemplateInspector(Session(many)))
    dots = live.page.evaluate(
        "[...document.querySelectorAll('.crsae-dot')].map((dot) => dot.style.getPropertyValue('--unit-color'))"
    )
    assert dots[:50] == [unit_color(unit) for unit in range(50)]


def test_the_comparison_begins_with_the_worst_unit_and_follows_a_choice(show, run_folder):
    truth = si.load(run_folder.parent / "truth")
    trains = {unit_id: truth.get_unit_spike_train(unit_id) for unit_id in truth.unit_ids}
    worst = truth.unit_ids[2]
    trains[worst] = np.unique(np.concatenate([trains[worst], np.arange(500, 200_000, 999)]))
    moved = NumpySorting.from_unit_dict([trains], truth.sampling_frequency)
    view = ComparisonView(open_session(run_folder, truth=moved))
    live = show(view)
    assert view.payload["truth_unit"] == 2
    rows = live.locator(".crsae-comparison tbody tr")
    assert rows.first.locator("td").first.inner_text() == str(worst)
    assert rows.first.get_attribute("aria-selected") == "true"
    view.session.selected_units = view.session.tested.unit_ids[-1:]
    live.push()
    assert view.payload["tested_unit"] == len(view.session.tested.unit_ids) - 1


def test_the_table_of_the_comparison_sorts_and_chooses(show, session):
    view = ComparisonView(session)
    live = show(view)
    rows = live.locator(".crsae-comparison tbody tr")
    assert rows.count() == len(session.truth.unit_ids)
    live.locator(".crsae-comparison [data-sort='spikes']").click()
    counts = [int(text) for text in live.locator(".crsae-comparison tbody td:nth-child(3)").all_inner_texts()]
    assert counts == sorted(counts)
    live.locator(".crsae-comparison [data-sort='spikes']").click()
    counts = [int(text) for text in live.locator(".crsae-comparison tbody td:nth-child(3)").all_inner_texts()]
    assert counts == sorted(counts, reverse=True)
    rows.nth(1).click()
    live.settle()
    assert str(session.truth.unit_ids[view.payload["truth_unit"]]) == rows.nth(1).locator("td").first.inner_text()


def test_how_thresholds_are_counted_is_told_when_asked(show, session):
    live = show(ThresholdExplorer(session))
    how = live.locator(".crsae details")
    assert how.locator(".crsae-note").count() >= 2
    assert not how.locator(".crsae-note").first.is_visible()
    how.locator("summary").click()
    assert how.locator(".crsae-note").first.is_visible()


def test_channels_along_the_probe_are_chosen(show, session, monkeypatch):
    monkeypatch.setattr("si_crsae.widgets.view_models.stretch.DEFAULT_CHANNELS", 2)
    view = DecompositionViewer(session)
    live = show(view)
    assert live.text(".crsae-summary").endswith("2 of 4 channels")
    live.locator("button", has_text="▲ probe").click()
    live.settle()
    live.locator("button", has_text="▲ probe").click()
    live.settle()
    assert view.first_channel == 2
    live.locator("canvas").nth(1).focus()
    live.page.keyboard.press("[")
    live.settle()
    assert view.first_channel == 0
    live.locator("button", has_text="near unit").click()
    live.settle()
    assert view.first_channel is None


def test_all_channels_need_no_choice(show, session):
    live = show(DecompositionViewer(session))
    assert live.locator("button", has_text="probe").filter(visible=True).count() == 0
    assert "channels" not in live.text(".crsae-summary")


def test_the_raster_counts_one_spike(show, session):
    session.go_to(3.0)
    time_s = session.next_spike_s()
    session.go_to(time_s)
    live = show(CodeRaster(session, window_s=0.005))
    assert re.search(r"; \d+ spikes?$", live.text(".crsae-summary"))


def overlapping(texts):
    """Pairs of texts that lie on each other."""
    return [
        (one["text"], other["text"])
        for place, one in enumerate(texts)
        for other in texts[place + 1 :]
        if one["left"] < other["right"] and other["left"] < one["right"]
        if one["top"] < other["bottom"] and other["top"] < one["bottom"]
    ]


def test_spikes_carry_their_ids_and_the_shading_its_key(show, session):
    session.go_to(3.0)
    session.go_to(session.next_spike_s())
    view = DecompositionViewer(session, window_ms=10.0)
    texts = show(view).drawn_texts("canvas[aria-label^=Traces]")
    model = view.view_model()
    assert [one["text"] for one in texts if "× noise" in one["text"]]
    assert f"{model.noise_ceiling:.1f}" in [one["text"] for one in texts]
    above_spikes = [one for one in texts if 15 < one["top"] and one["bottom"] < 30 and one["text"].isdigit()]
    fired = {model.unit_ids[unit] for unit in model.event_unit}
    assert {one["text"] for one in above_spikes} & fired
    assert not overlapping(above_spikes)


@pytest.mark.parametrize("width", [320, 930])
def test_names_of_curves_leave_titles_free(show, session, width):
    live = show(LearningMonitor(session), width=width)
    texts = live.drawn_texts("canvas[aria-label^=Curves]")
    assert len(texts) > 4
    assert not overlapping([one for one in texts if not one["text"].replace(",", "").replace(".", "").isdigit()])
