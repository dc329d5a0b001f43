"""A report says what a run has found, did and was told, on one page."""

import html
import re

import numpy as np
import pytest
import spikeinterface as si

import si_crsae
from si_crsae.evaluation.sorted_recording import explain_sorting
from si_crsae.sorting.excluded import PERIODS_DTYPE
from si_crsae.sorting.folder import load_history
from si_crsae.widgets import Dashboard, open_session
from si_crsae.widgets.report.sections import _excluded


def section_of(page, name):
    (found,) = re.findall(f"<section id='{name}'>.*?</section>", page, re.DOTALL)
    return found


def rows_of(section):
    rows = re.findall("<tr>(.*?)</tr>", section, re.DOTALL)
    return [[html.unescape(re.sub("<[^>]+>", "", cell)) for cell in re.findall("<td>(.*?)</td>", row)] for row in rows]


@pytest.fixture(scope="module")
def page(run_folder, tmp_path_factory):
    path = si_crsae.report(run_folder, tmp_path_factory.mktemp("report") / "report.html")
    return path.read_text(encoding="utf8")


def test_every_unit_is_in_the_table_and_has_its_three_pictures(page, run_folder):
    tested = open_session(run_folder).tested
    rows = [row for row in rows_of(section_of(page, "units")) if row]
    assert [row[0] for row in rows] == [str(unit_id) for unit_id in tested.unit_ids]
    counts = np.bincount(tested.units.spikes["unit_index"], minlength=tested.units.num_units)
    assert [int(row[3].replace(",", "")) for row in rows] == counts.tolist()
    cards = re.findall("<article.*?</article>", section_of(page, "pictures"), re.DOTALL)
    assert [card.count("<svg") for card in cards] == [3] * len(rows)
    assert all(f"id='unit-{unit}'" in card for unit, card in enumerate(cards))


def test_candidates_that_are_not_in_the_sorting_are_listed(page, run_folder):
    history = load_history(run_folder)
    gone = history[history["what"].isin(["refused", "dropped", "merged"])]
    listed = [
        row for row in rows_of(section_of(page, "learning")) if row and row[0] in ("refused", "dropped", "merged")
    ]
    assert sorted(row[0] for row in listed) == sorted(gone["what"])
    drawn = [row[-1].startswith("show") for row in listed]
    assert drawn == [row[0] != "refused" for row in listed]


def test_what_was_left_out_is_told(page):
    facts = dict(row for row in rows_of(section_of(page, "summary")) if row)
    assert facts["Excluded"] == "nothing"


def test_given_periods_and_artifacts_are_told_apart_and_once_for_all_groups():
    periods = np.zeros(4, PERIODS_DTYPE)
    periods["start_sample_index"], periods["end_sample_index"] = [0, 0, 500, 900], [100, 100, 600, 950]
    periods["is_artifact"], periods["group_index"] = [False, False, True, True], [0, 1, 0, 1]
    assert _excluded(periods, 1000.0) == "1 period, 0.1 s; 2 artifacts, 0.15 s"


def test_parameters_that_differ_stand_out_beside_their_default(run_folder, page):
    config = si_crsae.CrsaeConfig()
    rows = {row[1]: row[2] for row in rows_of(section_of(page, "parameters")) if row}
    assert rows.keys() == type(config).model_fields.keys()
    assert rows["freq_min"] == str(config.freq_min)
    assert rows["spike_probabilities"] == "True (default False)"


def test_any_sorting_has_a_report_without_what_only_a_run_knows(run_folder, tmp_path):
    recording, truth = (si.load(run_folder.parent / name) for name in ("recording", "truth"))
    path = si_crsae.report(explain_sorting(truth, recording, name="a <b> sorter"), tmp_path / "report.html")
    page = path.read_text(encoding="utf8")
    assert "a &lt;b&gt; sorter" in page
    assert "<b>" not in page
    assert "id='parameters'" not in page
    assert len(re.findall("<article", page)) == len(truth.unit_ids)


def test_a_sorting_without_units_has_a_report(run_folder, tmp_path):
    recording = si.load(run_folder.parent / "recording")
    nothing = si.NumpySorting.from_unit_dict({}, recording.sampling_frequency)
    path = si_crsae.report(explain_sorting(nothing, recording, name="empty"), tmp_path / "report.html")
    assert "No unit was found." in path.read_text(encoding="utf8")


def test_the_dashboard_saves_the_same_page(run_folder, page, tmp_path):
    saved = Dashboard(open_session(run_folder)).save_html(tmp_path / "dashboard.html")
    assert saved.read_text(encoding="utf8") == page


def test_a_folder_that_does_not_exist_is_named(run_folder, tmp_path):
    with pytest.raises(ValueError, match="its folder does not exist; make it"):
        si_crsae.report(run_folder, tmp_path / "nowhere" / "report.html")


def test_how_the_tissue_moved_is_shown_where_it_is_known(page, moving_run_folder, tmp_path):
    assert "id='motion'" not in page
    assert "Templates do not change" in section_of(page, "drift")
    path = si_crsae.report(moving_run_folder, tmp_path / "report.html")
    moving = path.read_text(encoding="utf8")
    section = section_of(moving, "motion")
    assert "moves by 7.1 µm (standard deviation), known to 0.5 µm; followed." in section
    recorded, rest = re.findall("<svg.*?</svg>", section, re.DOTALL)
    tested = open_session(moving_run_folder).tested
    assert recorded.count("h1") == rest.count("h1") == tested.units.spikes.size
    assert (recorded.count("<polyline"), rest.count("<polyline")) == (1, 0)
    recorded_at, rest_at = (
        [round(float(y)) for y in re.findall(r"M[\d.]+ ([\d.]+)h1", picture)] for picture in (recorded, rest)
    )
    level = [np.ptp(np.array(rest_at)[tested.units.spikes["unit_index"] == unit]) for unit in range(8)]
    assert max(level) <= 8  # pixels; the motion is not known beyond the middles of the first and the last bin
    assert np.ptp(np.array(recorded_at)[tested.units.spikes["unit_index"] == 0]) > 40
    assert "Templates moved with the tissue" in section_of(moving, "drift")
    assert "href='#motion'" in moving
