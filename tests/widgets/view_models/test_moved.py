from dataclasses import replace

import numpy as np
import pytest
from moving_run import LOSS_PER_UM, true_displacement_um

from si_crsae.evaluation.decomposition import sum_of_waveforms, waveforms_of
from si_crsae.evaluation.sorted_recording import open_run
from si_crsae.sorting.drift.moved import MovedAtoms
from si_crsae.widgets.view_models.explanation import explain_residual
from si_crsae.widgets.view_models.moved import atoms_at, displacements_um, spikes_near
from si_crsae.widgets.view_models.stretch import Stretch
from si_crsae.widgets.view_models.templates import moved_waveforms, templates_model
from si_crsae.widgets.view_models.unit_figures import describe_units

HIGHEST_S, LOWEST_S = 2.5, 7.5


@pytest.fixture(scope="module")
def moving(moving_run_folder):
    return open_run(moving_run_folder)


def at(shown, time_s):
    return {"segment_index": 0, "sample": round(time_s * shown.sampling_frequency)}


def test_displacements_of_spikes_are_those_of_the_tissue(moving):
    spikes = np.arange(moving.units.spikes.size)
    times_s = moving.units.spikes["sample_index"] / moving.sampling_frequency
    assert displacements_um(moving, spikes) == pytest.approx(true_displacement_um(times_s), abs=2.6)
    still = replace(moving, units=replace(moving.units, moved=MovedAtoms()))
    assert not displacements_um(still, spikes).any()


def test_the_nearest_spike_is_found_before_and_after(moving):
    spikes = moving.units.spikes
    mine = np.flatnonzero(spikes["unit_index"] == 2)
    for sample in (0, 100_000, 250_000, 10**7):
        (found,) = spikes_near(moving, [2], segment_index=0, sample=sample)
        apart = np.abs(spikes["sample_index"][mine] - sample)
        assert abs(spikes["sample_index"][found] - sample) == apart.min()
    assert spikes_near(moving, [2], segment_index=1, sample=0).tolist() == [-1]


def test_atoms_are_those_of_the_time(moving):
    rest = moving.units.atoms[[0, 3]]
    for time_s, expected in ((HIGHEST_S, 10.0), (LOWEST_S, -10.0)):
        atoms, displacement = atoms_at(moving, [0, 3], **at(moving, time_s))
        assert displacement.tolist() == [expected] * 2
        assert atoms == pytest.approx((1 - 10 * LOSS_PER_UM) * rest, abs=1e-6)
    atoms, displacement = atoms_at(moving, [0, 3], segment_index=1, sample=0)  # where it never fires
    assert displacement.tolist() == [0.0, 0.0]
    np.testing.assert_array_equal(atoms, rest)


def test_waveforms_at_rest_are_asked_for_by_no_time(moving):
    at_rest, _ = moved_waveforms(moving, [1], segment_index=0, sample=None)
    moved, displacement = moved_waveforms(moving, [1], **at(moving, HIGHEST_S))
    assert displacement.tolist() == [10.0]
    assert np.abs(moved.values).max() == pytest.approx((1 - 10 * LOSS_PER_UM) * np.abs(at_rest.values).max())


def test_the_model_of_the_templates_tells_range_and_displacement(moving):
    overview = describe_units(moving)
    model = templates_model(moving, overview, selected=[0, 3], at_s=HIGHEST_S)
    assert model.has_moved
    assert model.displacement_um == [10.0, 10.0]
    assert model.range_um == [[-10.0, 10.0]] * 2
    at_rest = templates_model(moving, overview, selected=[0, 3])
    assert (at_rest.at_s, at_rest.displacement_um) == (None, [0.0, 0.0])


def test_a_spike_left_in_the_residual_is_explained_where_the_tissue_was(moving):
    """Traces that are one spike of a moved atom: the search finds it whole, which an atom at rest would not."""
    unit, units = 0, moving.units
    mine = np.flatnonzero(units.spikes["unit_index"] == unit)
    times_s = units.spikes["sample_index"][mine] / moving.sampling_frequency
    spike = mine[np.abs(times_s - HIGHEST_S).argmin()]
    sample = int(units.spikes["sample_index"][spike])
    start, end = sample - 400, sample + 400
    alone = replace(
        units,
        spikes=units.spikes[[spike]],
        sample_offset=np.zeros(1, "float32"),
        amplitude=units.amplitude[[spike]],
        moved=replace(units.moved, place=units.moved.place[[spike]]),
    )
    traces = sum_of_waveforms(*waveforms_of(alone, start=start, end=end)[:2], end - start)
    silent = _OneStretch.of(moving, traces, start)
    stretch = Stretch(
        start=start, end=end, segment_index=0, channels=np.arange(moving.channel_ids.size), num_columns=800,
        hidden_units=[moving.unit_ids[unit]],
    )  # fmt: skip
    hidden = replace(
        silent, units=replace(units, amplitude=np.where(np.arange(units.spikes.size) == spike, units.amplitude, 0))
    )
    found = explain_residual(hidden, stretch, sample=sample, channel=int(units.main_channel[unit]))
    assert found is not None
    assert found.unit_id == str(moving.unit_ids[unit])
    assert found.similarity == pytest.approx(1.0, abs=1e-3)
    assert found.amplitude == pytest.approx(float(units.amplitude[spike]), rel=1e-3)


class _OneStretch:
    """Traces that are those of a stretch, zero elsewhere."""

    def __init__(self, traces, start):
        self.traces, self.start = traces, start

    @classmethod
    def of(cls, shown, traces, start):
        return replace(shown, whitened=cls(traces, start), segments=np.zeros(1, "int64"))

    def get_traces(self, *, segment_index, start_frame, end_frame):
        return self.traces[start_frame - self.start : end_frame - self.start]
