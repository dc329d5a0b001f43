"""What merges and splits make: known before they are decided, and the same afterwards."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from curated_units import curated_units
from numpy.testing import assert_allclose, assert_array_equal

from si_crsae.widgets.view_models.curation import parts_by_amplitude
from si_crsae.widgets.view_models.curation_file import apply_state
from si_crsae.widgets.view_models.curation_outcome import made_units, outcome_of
from si_crsae.widgets.view_models.curation_state import CurationState, merge, remove, split


@pytest.fixture(scope="module")
def sorted_recording():
    return curated_units(num_segments=2)


@pytest.fixture
def state(sorted_recording):
    return CurationState.of(sorted_recording.sorting)


def test_a_merge_is_previewed_as_it_comes_out(sorted_recording, state):
    preview = outcome_of(sorted_recording, state, [0, 1])
    decided = merge(state, [0, 1])
    after = outcome_of(sorted_recording, decided, [0, 1])
    assert (preview.title, after.title) == ("Preview: 0 + 1 merged → 5", "0 + 1 merged → 5")
    assert (preview.is_decided, after.is_decided) == (False, True)
    assert preview.rows == after.rows
    curated = apply_state(sorted_recording.sorting, decided)
    count = sum(curated.get_unit_spike_train(5, segment_index=segment).size for segment in range(2))
    assert preview.rows[0].num_spikes == count == preview.rows[1].num_spikes + preview.rows[2].num_spikes
    assert outcome_of(sorted_recording, decided, [1]).rows == after.rows  # one part is enough to look at it


def test_halves_of_a_neuron_keep_the_refractory_period_and_others_do_not(sorted_recording, state):
    halves = outcome_of(sorted_recording, state, [0, 1]).rows[0]
    others = outcome_of(sorted_recording, state, [0, 4]).rows[0]
    assert halves.violations_percent == 0
    assert others.violations_percent > 1


def test_the_template_of_a_merge_is_the_mean_of_its_spikes(sorted_recording, state):
    units = sorted_recording.units
    pictures = outcome_of(sorted_recording, state, [0, 1]).pictures
    counts = np.bincount(units.spikes["unit_index"])[:2]
    expected = np.tensordot(counts * units.scales[:2], units.atoms[:2], axes=(0, 0)) / counts.sum()
    mine = pictures.atoms.unit == 5
    assert_allclose(pictures.atoms.values[mine], expected[pictures.atoms.channel[mine]], atol=1e-4)
    assert pictures.drawn == [5, 0, 1]
    assert [(one.unit, one.other) for one in pictures.correlograms] == [(5, 5), (0, 0), (1, 1)]


def test_a_split_is_previewed_by_its_parts(sorted_recording, state):
    parts = parts_by_amplitude(sorted_recording, 2, 0.75)
    preview = outcome_of(sorted_recording, state, [2], parts=parts)
    assert preview.title == "Preview: 2 split → 5, 6"
    assert [row.num_spikes for row in preview.rows] == [len(parts[0]), len(parts[1]), sum(map(len, parts))]
    small, large = (preview.pictures.amplitudes.unit == number for number in (5, 6))
    assert (
        preview.pictures.amplitudes.amplitude[small].max() < 0.75 <= preview.pictures.amplitudes.amplitude[large].min()
    )
    heights = [np.abs(preview.pictures.atoms.values[preview.pictures.atoms.unit == number]).max() for number in (5, 6)]
    assert heights[0] == pytest.approx(0.5 * heights[1], rel=0.05)
    decided = split(state, 2, parts)
    assert outcome_of(sorted_recording, decided, [2]).rows == preview.rows


def test_what_cannot_be_merged_has_no_preview(sorted_recording, state):
    assert outcome_of(sorted_recording, remove(state, [1]), [0, 1]) is None
    assert outcome_of(sorted_recording, state, [0]) is None
    assert outcome_of(sorted_recording, state, []) is None


def test_made_units_are_listed_with_what_they_are_made_of(sorted_recording, state):
    decided = split(merge(state, [0, 1]), 2, parts_by_amplitude(sorted_recording, 2, 0.75))
    made = made_units(sorted_recording, decided)
    assert [(unit.name, unit.made_of, unit.units) for unit in made] == [
        ("5", "0 + 1", [0, 1]), ("6", "part 1 of 2", [2]), ("7", "part 2 of 2", [2]),
    ]  # fmt: skip
    assert outcome_of(sorted_recording, decided, [2]).first_number == 6
    assert_array_equal([unit.num_spikes for unit in made][1:], [len(part) for part in decided.splits[0].parts])


def test_a_merge_that_grows_is_a_preview(sorted_recording, state):
    grown = outcome_of(sorted_recording, merge(state, [0, 1]), [0, 4])
    assert grown.title == "Preview: 0 + 1 + 4 merged → 5"


def test_rates_are_over_the_time_in_which_a_run_has_looked_for_its_units(sorted_recording, state):
    counts = np.bincount(sorted_recording.units.spikes["unit_index"], minlength=5)
    half_s = sum(sorted_recording.num_samples) / sorted_recording.sampling_frequency / 2
    sorting = sorted_recording.sorting.select_units(sorted_recording.unit_ids)
    sorting.set_property("firing_rate", counts / half_s)  # the other half was excluded
    run = replace(sorted_recording, sorting=sorting, folder=Path("run"))
    preview = outcome_of(run, state, [0, 1])
    assert preview.rows[0].rate_hz == pytest.approx(counts[:2].sum() / half_s)
    assert preview.rows[1].rate_hz == pytest.approx(counts[0] / half_s)
    assert made_units(run, merge(state, [0, 1]))[0].rate_hz == preview.rows[0].rate_hz
