"""What became of every unit that was ever looked at, and why, in words and as it looked."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from curated_units import curated_units

import si_crsae
from si_crsae.evaluation.sorted_recording import open_run
from si_crsae.sorting.folder import load_history
from si_crsae.sorting.learning.history import GONE
from si_crsae.widgets.view_models.reasons import EXPLANATIONS, explained, measured
from si_crsae.widgets.view_models.unit_history import NO_HISTORY, UnitHistory, history_model, open_history

SORTING = Path(si_crsae.__file__).parent / "sorting"


@pytest.fixture(scope="module")
def tested(run_folder):
    return open_run(run_folder)


@pytest.fixture(scope="module")
def history(tested):
    return open_history(tested)


def test_units_of_the_sorting_come_first_then_those_that_went(tested, history, run_folder):
    table = load_history(run_folder)
    fates = [candidate.fate for candidate in history.candidates]
    count = len(tested.unit_ids)
    assert fates == ["kept"] * count + table.loc[table["what"].isin(GONE), "what"].tolist()
    assert [candidate.name for candidate in history.candidates[:count]] == [f"unit {name}" for name in tested.unit_ids]
    channels = [candidate.channel for candidate in history.candidates[:count]]
    assert channels == tested.units.main_channel.tolist()


def test_the_life_of_a_unit_begins_with_a_cluster_and_ends_with_its_fate(history):
    for index, candidate in enumerate(history.candidates):
        life = history.life_of(index)
        if candidate.fate == "refused":
            assert life == []
            continue
        assert life[0].what.endswith((" found", " born"))
        assert life[-1] == candidate.end
    model = history_model(history.sorted_recording, history, chosen=0)
    assert model.life == history.life_of(0)


def test_every_decision_is_counted_in_its_round(tested, history, run_folder):
    model = history_model(tested, history)
    table = load_history(run_folder)
    for what, numbers in model.counts.items():
        assert sum(numbers) == (table["what"] == what).sum()
    assert model.rounds[0] == "before round 1"
    assert model.rounds[-1] == "after the last round"
    assert model.counts["kept"][-1] == len(tested.unit_ids)


def ended(table, number, **changes):
    """Return a history in which a unit of the sorting has another end."""
    end = (table["unit"] == number) & (table["what"] == "kept")
    row = table[end].assign(unit_id=pd.array([pd.NA], "Int64"), **changes)
    return pd.concat([table[~end], row], ignore_index=True)


def test_a_unit_that_is_gone_looks_as_it_did_then(tested, run_folder):
    table = load_history(run_folder)
    (curve,) = tested.learning_curves.values()
    number, other = table.loc[table["what"] == "kept", "unit"].tolist()[:2]
    changed = ended(table, number, what="merged", figure="separation", became=[(other,)])
    history = UnitHistory(tested, changed)
    last = len(history.candidates) - 1
    candidate = history.candidates[last]
    assert (candidate.name, candidate.fate) == (f"candidate {number}", "merged")
    (into,) = candidate.relatives
    assert candidate.end.because == f"its spikes could not be told from those of {history.candidates[into].name}"
    model = history_model(tested, history, chosen=last)
    assert model.drawn == [last, into]
    mine = model.atoms.unit == last
    expected = curve.unit_waveforms[curve.unit_numbers == number][0].astype("float32") @ curve.basis
    np.testing.assert_allclose(model.atoms.values[mine], expected[model.atoms.channel[mine]], atol=1e-5)
    assert np.abs(expected).max() == pytest.approx(np.abs(model.atoms.values[mine]).max(), abs=1e-5)


def test_a_cluster_that_became_no_unit_says_why_there_is_no_picture(tested, run_folder):
    table = load_history(run_folder)
    number = table.loc[table["what"] == "kept", "unit"].iloc[0]
    no_number = pd.array([pd.NA], "Int64")
    changed = ended(table, number, what="refused", unit=no_number, figure="num_peaks", value=3.0, threshold=12.0)
    history = UnitHistory(tested, changed)
    last = len(history.candidates) - 1
    model = history_model(tested, history, chosen=last)
    assert model.overview.unit_ids[last] == "cluster"
    assert model.drawn == []
    assert model.not_drawn == "It never was a unit: no template was made of it."
    assert (model.because[last], model.measured[last]) == ("a cluster of too few peaks", "peaks 3, limit 12")


def test_a_sorting_of_another_sorter_has_no_history():
    made = curated_units()
    assert open_history(made) is None
    assert history_model(made, None).empty == NO_HISTORY


def test_every_figure_that_decides_has_words():
    text = "".join(path.read_text(encoding="utf8") for path in SORTING.rglob("*.py"))
    figures = set(re.findall(r'(?:Reason|below)\(\s*"(\w+)"', text))
    assert figures == {figure for _, figure in EXPLANATIONS}


def test_words_name_the_units_that_count():
    told = explained("dropped", "unexplained_fraction", others=["unit 3", "candidate 8"])
    assert told.means.endswith("the sum of those of unit 3 and candidate 8: a collision")
    assert explained("merged", "separation", became=["unit 4"]).helps == "lower merge_threshold"
    assert explained("dropped", "a_new_figure").means == "dropped"
    assert measured("num_events", 8, 12.5) == "events 8, limit 12.5"
