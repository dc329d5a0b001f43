import numpy as np
import pytest
from spikeinterface.core import NumpySorting, Templates
from spikeinterface.core.base import minimum_spike_dtype

from si_crsae.evaluation.sorted_recording import SortedRecording, explain_like
from si_crsae.sorting.convert import TemplateWindow
from si_crsae.sorting.inventory import Inventory, peaks_of_atoms
from si_crsae.sorting.stages import SpikePosterior
from si_crsae.widgets.packing import pack
from si_crsae.widgets.view_models.templates import (
    MAX_DRAWN_UNITS,
    NO_UNITS,
    atom_waveforms,
    nearest_units,
    template_waveforms,
    templates_model,
)
from si_crsae.widgets.view_models.unit_activity import (
    MAX_CORRELOGRAM_SPIKES,
    correlogram,
    spikes_of_units,
    thinned_amplitudes,
)
from si_crsae.widgets.view_models.unit_figures import describe_units, pitch_of, units_at_contacts

FREQUENCY = 10_000.0
WIDTH, PEAK = 30, 10
PITCH_UM = 20.0


def bump(*, shift=0, width=2.0):
    return -np.exp(-0.5 * ((np.arange(WIDTH) - PEAK - shift) / width) ** 2)


def sorted_recording(*, num_units=3, num_channels=4, trains=None, segments=None, properties=None, **changes):
    """Units one contact apart, each on its own contact and half as large on the next one."""
    atoms = np.zeros((num_units, num_channels, WIDTH), "float32")
    for unit in range(num_units):
        atoms[unit, unit % num_channels] = bump()
        atoms[unit, (unit + 1) % num_channels] += 0.5 * bump()
    atoms /= np.maximum(np.linalg.norm(atoms, axis=(1, 2)), 1e-9)[:, None, None]
    trains = trains if trains is not None else [np.arange(100 + 10 * unit, 50_000, 500) for unit in range(num_units)]
    spikes = np.zeros(sum(map(len, trains)), minimum_spike_dtype)
    if num_units:
        spikes["sample_index"] = np.concatenate(trains)
        spikes["unit_index"] = np.repeat(np.arange(num_units), [len(train) for train in trains])
        spikes["segment_index"] = 0 if segments is None else np.concatenate(segments)
        spikes = spikes[np.lexsort((spikes["unit_index"], spikes["sample_index"], spikes["segment_index"]))]
    scales = np.full(num_units, 20.0, "float32")
    main_channel, num_before = peaks_of_atoms(atoms) if num_units else (np.zeros(0, "int64"), np.zeros(0, "int64"))
    sorting = NumpySorting(spikes, FREQUENCY, np.array([f"u{unit}" for unit in range(num_units)]))
    for name, values in (properties or {}).items():
        sorting.set_property(name, values)
    units = Inventory(
        atoms=atoms,
        scales=scales,
        noise=np.ones_like(scales),
        regularization=np.zeros_like(scales),
        num_before=num_before,
        main_channel=main_channel,
        spikes=spikes,
        sample_offset=np.zeros(len(spikes), "float32"),
        amplitude=np.full(len(spikes), 20.0, "float32"),
    )
    fields = {
        "name": "made",
        "sorting": sorting,
        "units": units,
        "channel_ids": np.array([f"c{channel}" for channel in range(num_channels)]),
        "locations": np.column_stack([np.zeros(num_channels), PITCH_UM * np.arange(num_channels)]),
        "num_samples": (50_000, 20_000),
        "window": TemplateWindow(num_before=PEAK, width=WIDTH),
        "min_amplitude": np.zeros(num_units, "float32"),
    }
    return SortedRecording(**fields | changes)


def model_of(made, **options):
    return templates_model(made, describe_units(made), **options)


def test_waveforms_are_atoms_at_their_typical_size_where_they_can_be_seen():
    waveforms = atom_waveforms(sorted_recording(), [1])
    assert waveforms.unit.tolist() == [1, 1]
    assert waveforms.channel.tolist() == [1, 2]
    assert waveforms.num_before.tolist() == [PEAK, PEAK]
    assert np.linalg.norm(waveforms.values) == pytest.approx(20, rel=1e-3)
    assert np.abs(waveforms.values).argmax(axis=1).tolist() == [PEAK, PEAK]


def test_templates_are_found_by_the_ids_of_units_and_channels():
    made = sorted_recording()
    array = np.zeros((2, WIDTH, 2), "float32")
    array[0, :, 0] = 100 * bump()
    templates = Templates(array, FREQUENCY, PEAK, channel_ids=np.array(["c3", "c0"]), unit_ids=np.array(["u2", "u0"]))
    waveforms = template_waveforms(sorted_recording(templates=templates), [0, 1, 2])
    assert waveforms is not None
    assert (waveforms.unit.tolist(), waveforms.channel.tolist()) == ([2], [3])
    assert waveforms.values.min() == pytest.approx(-100)
    assert waveforms.unit_of_measurement == "µV"
    assert template_waveforms(made, [0]) is None


def test_a_shifted_copy_of_a_unit_is_its_nearest_neighbor():
    made = sorted_recording(num_units=4)
    made.units.atoms[3] = 0
    made.units.atoms[3, 1] = bump(shift=4)
    made.units.atoms[3, 2] = 0.5 * bump(shift=4)
    made.units.atoms[3] /= np.linalg.norm(made.units.atoms[3])
    neighbors, similarity = nearest_units(made, 1)
    assert neighbors[0] == 3
    assert similarity[0] == pytest.approx(1, abs=0.01)
    assert 1 not in neighbors
    assert similarity == sorted(similarity, reverse=True)


def test_a_lag_beyond_half_a_millisecond_is_not_tried():
    made = sorted_recording(num_units=2, num_channels=1)
    made.units.atoms[1, 0] = bump(shift=12) / np.linalg.norm(bump(shift=12))
    assert nearest_units(made, 0)[1] == pytest.approx([0], abs=0.2)
    made.units.num_before[1] = PEAK + 12
    assert nearest_units(made, 0)[1] == pytest.approx([1], abs=0.05)


def test_a_unit_without_a_waveform_has_no_neighbors():
    made = sorted_recording()
    made.units.atoms[0] = 0
    assert nearest_units(made, 0) == ([], [])


def test_a_cross_correlogram_is_positive_where_the_other_unit_fires_later():
    leading = np.arange(1000, 40_000, 2000)
    made = sorted_recording(num_units=2, trains=[leading, leading + 35])
    one = correlogram(made, 0, 1, window_ms=50)
    lags = one.edges_ms[:-1][one.counts > 0]
    assert lags.tolist() == [3.0]
    assert one.counts.sum() == leading.size
    assert correlogram(made, 1, 0).edges_ms[:-1][correlogram(made, 1, 0).counts > 0].tolist() == [-4.0]


def test_an_autocorrelogram_does_not_join_segments():
    train = np.array([100, 150, 100, 250])
    made = sorted_recording(num_units=1, trains=[train], segments=[[0, 0, 1, 1]])
    one = correlogram(made, 0, window_ms=25)
    centers = (one.edges_ms[1:] + one.edges_ms[:-1])[one.counts > 0] / 2
    assert np.round(np.abs(centers)).tolist() == [15.0, 5.0, 5.0, 15.0]
    assert one.counts.sum() == 4
    assert not one.is_sampled


def test_a_correlogram_of_very_many_spikes_is_of_a_part_of_them():
    generator = np.random.default_rng(0)
    train = np.sort(generator.choice(10_000_000, 3 * MAX_CORRELOGRAM_SPIKES, replace=False))
    made = sorted_recording(num_units=1, num_channels=1, trains=[train], num_samples=(10_000_000,))
    model = model_of(made, selected=[0])
    assert model.correlograms[0].is_sampled
    assert any("part of the spikes" in note for note in model.notes)
    # of a Poisson train it is flat
    counts = model.correlograms[0].counts
    assert counts.std() < 6 * np.sqrt(counts.mean())


def test_amplitudes_are_thinned_out_but_outliers_are_kept():
    train = np.arange(0, 50_000, 2)
    made = sorted_recording(num_units=1, trains=[train])
    made.units.amplitude[[7, 20_003]] = 60, 2
    probability = np.ones(train.size, "float32")
    probability[11_111] = 0.1
    posterior = SpikePosterior(
        probability=probability,
        amplitude_low=probability,
        amplitude_high=probability,
        false_positive_rate=np.zeros(1),
        missed_rate=np.zeros(1),
    )
    found = thinned_amplitudes(
        sorted_recording(num_units=1, trains=[train], units=made.units, posterior=posterior), [0]
    )
    assert found.num_spikes == train.size
    assert 1500 < found.time_s.size <= 3000
    assert found.amplitude.max() == pytest.approx(3)
    assert found.amplitude.min() == pytest.approx(0.1)
    assert found.probability is not None
    assert found.probability.min() == pytest.approx(0.1)
    assert np.all(np.diff(found.time_s) > 0)


def test_equal_amplitudes_are_thinned_out_evenly():
    train = np.arange(0, 50_000, 2)
    found = thinned_amplitudes(sorted_recording(num_units=1, trains=[train]), [0], max_points=400)
    assert found.time_s.size <= 400
    assert np.diff(found.time_s).max() < 0.06


def test_spikes_are_divided_among_units_once_for_a_sorting():
    made = sorted_recording(num_units=3, trains=[np.array([30, 10]), np.array([], int), np.array([20, 40])])
    found = spikes_of_units(made)
    unit_index = made.units.spikes["unit_index"]
    assert [mine.tolist() for mine in found] == [np.flatnonzero(unit_index == unit).tolist() for unit in range(3)]
    assert spikes_of_units(made) is found
    other = sorted_recording(num_units=1, trains=[np.array([5, 6, 7])])
    assert [mine.tolist() for mine in spikes_of_units(other)] == [[0, 1, 2]]


def test_amplitudes_are_those_of_a_segment():
    made = sorted_recording(
        num_units=2, trains=[np.array([10, 20, 30]), np.array([15, 5])], segments=[[0, 0, 1], [0, 1]]
    )
    found = thinned_amplitudes(made, [0, 1], segment_index=1)
    assert (found.time_s * FREQUENCY).round().tolist() == [30, 5]
    assert found.unit.tolist() == [0, 1]


def test_figures_are_those_that_are_there_with_their_units():
    made = sorted_recording(properties={"refractory_violations": [0.01, 0, np.nan], "group": [0, 0, 1]})
    overview = describe_units(made)
    figures = {figure.name: figure for figure in overview.figures}
    assert set(figures) == {"depth", "firing_rate", "num_spikes", "refractory_violations"}
    assert figures["refractory_violations"].values[0] == pytest.approx(1)
    assert figures["refractory_violations"].unit == "%"
    assert figures["depth"].values.tolist() == [0, 20, 40]
    assert figures["firing_rate"].values[0] == pytest.approx(100 / 7)
    assert {text.label: text.values for text in overview.texts}["group"] == ["0", "0", "1"]
    assert {text.label: text.values for text in overview.texts}["main channel"] == ["c0", "c1", "c2"]


def test_properties_that_are_no_numbers_are_left_out():
    made = sorted_recording(properties={"snr": ["high", "low", "low"], "amplitude_cv": [[1, 2]] * 3})
    assert {figure.name for figure in describe_units(made).figures} == {"depth", "firing_rate", "num_spikes"}


def test_units_at_a_contact_are_sorted_by_their_height_there():
    ranks = units_at_contacts(sorted_recording())
    assert ranks[1].tolist()[:3] == [1, 0, -1]
    assert ranks[3].tolist()[:2] == [2, -1]


def test_the_pitch_is_that_of_columns_and_of_rows():
    staggered = np.array([[0, 0], [32, 0], [16, 20], [48, 20.01]])
    assert pitch_of(staggered) == pytest.approx([16, 20])
    assert pitch_of(np.zeros((1, 2))) == [1, 1]


def test_the_neighborhood_holds_the_contacts_where_units_are_large():
    made = sorted_recording(num_channels=8)
    assert model_of(made, selected=[2]).neighborhood == [0, 0, 2 * PITCH_UM, 3 * PITCH_UM]
    assert model_of(made, selected=[0, 2]).neighborhood == [0, 0, 0, 3 * PITCH_UM]
    assert model_of(made).neighborhood == [0, 0, 0, 7 * PITCH_UM]


def test_two_units_have_an_auto_and_a_cross_correlogram():
    model = model_of(sorted_recording(), selected=[2, 0, 1])
    assert [(one.unit, one.other) for one in model.correlograms] == [(2, 2), (2, 0)]
    assert model.drawn == [2, 0, 1]


def test_of_many_selected_units_the_first_are_drawn():
    made = sorted_recording(num_units=MAX_DRAWN_UNITS + 5)
    model = model_of(made, selected=list(range(MAX_DRAWN_UNITS + 5)))
    assert len(model.drawn) == MAX_DRAWN_UNITS
    assert any(f"the first {MAX_DRAWN_UNITS} of the {MAX_DRAWN_UNITS + 5}" in note for note in model.notes)


@pytest.mark.parametrize("made", [sorted_recording(num_units=0), sorted_recording(num_units=0, num_channels=1)])
def test_no_units_give_an_empty_view(made):
    model = model_of(made)
    assert model.empty == NO_UNITS
    pack(model)


def test_no_selection_and_a_single_channel_are_shown():
    assert model_of(sorted_recording()).correlograms == []
    single = model_of(sorted_recording(num_units=2, num_channels=1), selected=[1])
    assert single.neighbors == [0]
    assert single.neighborhood == [0, 0, 0, 0]
    pack(single)


def test_a_sorting_of_another_sorter_without_traces_says_what_is_missing():
    made = sorted_recording(missing=("no recording",))
    other = explain_like(NumpySorting.from_unit_dict({"a": np.array([5, 500])}, FREQUENCY), made, name="other")
    model = model_of(other, selected=[0])
    assert len(model.atoms.values) == 0
    assert model.templates is None
    assert model.neighbors == []
    assert "no recording" in model.notes
    assert any("unit a has no waveform" in note for note in model.notes)
    assert model.amplitudes.time_s.size == 2
