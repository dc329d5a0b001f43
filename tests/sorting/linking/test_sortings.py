"""Units keep their identity while the probe moves, and units of one epoch only get no partner."""

from itertools import permutations

import numpy as np
import pytest
from probeinterface import generate_multi_columns_probe
from spikeinterface import NumpyRecording, NumpySorting
from spikeinterface.core.generate import generate_sorting, generate_unit_locations
from spikeinterface.generation import generate_drifting_recording

from si_crsae.sorting.linking import LinkingSettings, link_sortings
from si_crsae.sorting.linking.probability import match_marginals

RATE_HZ = 20000.0
EPOCH_S = 15.0
NUM_UNITS = 12
NUM_SAMPLES = round(EPOCH_S * RATE_HZ)


def two_epochs(*, displacement_um, gradient=1.0, seed=0):
    """Two halves of a recording whose units jump in the middle, with all their true spikes."""
    probe = generate_multi_columns_probe(2, 16, xpitch=20, ypitch=20)
    probe.set_device_channel_indices(np.arange(32))
    locations = generate_unit_locations(
        NUM_UNITS, probe.contact_positions, margin_um=0.0, maximum_z=30.0, minimum_distance=20.0, seed=seed
    )
    height = (locations[:, 1] - locations[:, 1].min()) / np.ptp(locations[:, 1])
    share = gradient + (1 - gradient) * height
    num_times = round(2 * EPOCH_S * 5)
    vectors = np.zeros((num_times, 2, 1))
    vectors[:, 1, 0] = np.where(np.arange(num_times) < num_times // 2, -0.5, 0.5) * displacement_um
    steps_um = np.unique(np.round(np.outer([-0.5, 0.5], displacement_um * share)))
    steps = np.stack([np.zeros_like(steps_um), steps_um], axis=1)
    truth = generate_sorting(NUM_UNITS, RATE_HZ, [2 * EPOCH_S], firing_rates=(5.0, 10.0), seed=seed)
    _, recording, truth = generate_drifting_recording(
        duration=2 * EPOCH_S,
        probe=probe,
        sorting=truth,
        unit_locations=locations,
        displacement_data=(vectors[:, None, :, 0] * share[:, None], vectors, share[:, None], 5.0, steps),
        generate_templates_kwargs={
            "ms_before": 1.5,
            "ms_after": 3.0,
            "mode": "ellipsoid",
            "unit_params": {"alpha": (250.0, 500.0), "spatial_decay": (20.0, 40.0)},
        },
        seed=seed,
    )
    epochs = []
    for start in (0, NUM_SAMPLES):
        trains = [
            truth.get_unit_spike_train(unit_id, start_frame=start, end_frame=start + NUM_SAMPLES) - start
            for unit_id in truth.unit_ids
        ]
        half = recording.frame_slice(start, start + NUM_SAMPLES)
        half = half.save(format="memory", n_jobs=1, progress_bar=False, verbose=False)
        epochs += [NumpySorting.from_unit_dict([dict(enumerate(trains))], RATE_HZ), half]
    order = np.argsort(locations[:, 1])
    return epochs, locations[order, 1], displacement_um * share[order]


@pytest.fixture(scope="module")
def moved():
    return two_epochs(displacement_um=36.0)[0]


def test_units_are_linked_across_a_displacement_and_those_left_out_have_no_partner(moved):
    sorting_a, recording_a, sorting_b, recording_b = moved
    in_a, in_b = [*range(0, 10)], [*range(11, 1, -1)]
    linked = link_sortings(sorting_a.select_units(in_a), recording_a, sorting_b.select_units(in_b), recording_b)
    assert linked.unit_ids_a == linked.unit_ids_b == tuple(range(2, 10))
    assert (linked.unmatched_a, linked.unmatched_b) == ((0, 1), (11, 10))
    assert linked.displacement.displacements_um == pytest.approx(36.0, abs=5.0)
    assert linked.confidences.min() > 0.8
    assert linked.probabilities.loc[[0, 1]].to_numpy().max() < 0.3
    table = linked.to_dataframe()
    assert table.columns.tolist() == ["unit_id_a", "unit_id_b", "confidence", "similarity"]
    assert table["similarity"].min() > 0.8


def test_without_moving_templates_fewer_units_are_linked(moved):
    still = link_sortings(*moved, settings=LinkingSettings(max_displacement_um=0.0))
    assert not still.displacement.displacements_um.any()
    assert sum(a == b for a, b in zip(still.unit_ids_a, still.unit_ids_b, strict=True)) < NUM_UNITS - 2


def test_links_below_the_least_confidence_are_not_given_and_the_others_stay(moved):
    every = link_sortings(*moved)
    least = float(np.median(every.confidences))
    some = link_sortings(*moved, settings=LinkingSettings(min_confidence=least))
    kept = every.to_dataframe().query("confidence >= @least").reset_index(drop=True)
    assert 0 < len(kept) < len(every.confidences)
    assert some.to_dataframe().equals(kept)
    for unit_id_a, unit_id_b, confidence, _ in some.to_dataframe().itertuples(index=False):
        assert some.probabilities.loc[unit_id_a, unit_id_b] == confidence


def test_without_drift_every_unit_is_itself():
    epochs, _, _ = two_epochs(displacement_um=0.0, seed=1)
    linked = link_sortings(*epochs)
    assert linked.unit_ids_a == linked.unit_ids_b == tuple(range(NUM_UNITS))
    assert not linked.displacement.displacements_um.any()
    assert linked.confidences.min() > 0.95


def test_a_displacement_that_depends_on_depth_is_followed():
    epochs, depths_um, displacements_um = two_epochs(displacement_um=36.0, gradient=0.3, seed=2)
    linked = link_sortings(*epochs)
    assert linked.unit_ids_a == linked.unit_ids_b
    assert len(linked.unit_ids_a) >= NUM_UNITS - 1
    found_um = linked.displacement.at(depths_um - 0.5 * displacements_um)
    assert np.abs(found_um - displacements_um).mean() < 5.0
    assert found_um[-1] - found_um[0] > 10.0
    arrived_um = linked.displacement.at_final(depths_um + 0.5 * displacements_um)
    assert arrived_um == pytest.approx(found_um, abs=4.0)


def test_epochs_without_a_unit_in_common_are_not_linked(moved):
    sorting, recording, _, _ = moved
    first, second = sorting.select_units(range(6)), sorting.select_units(range(6, 12))
    linked = link_sortings(first, recording, second, recording, settings=LinkingSettings(max_displacement_um=0.0))
    assert linked.unit_ids_a == linked.unit_ids_b == ()
    assert linked.unmatched_b == tuple(range(6, 12))


def test_spikes_placed_elsewhere_on_their_waveform_change_nothing(moved):
    sorting_a, recording_a, sorting_b, recording_b = moved
    trains = {unit_id: sorting_b.get_unit_spike_train(unit_id) - 3 for unit_id in sorting_b.unit_ids}
    trains = {unit_id: train[train > 0] for unit_id, train in trains.items()}
    early = NumpySorting.from_unit_dict([trains], RATE_HZ)
    linked = link_sortings(sorting_a, recording_a, early, recording_b)
    assert linked.unit_ids_a == linked.unit_ids_b == tuple(range(NUM_UNITS))


def test_the_same_seed_gives_the_same_links(moved):
    settings = LinkingSettings(max_spikes_per_unit=50, seed=3)
    first, second = (link_sortings(*moved, settings=settings) for _ in range(2))
    np.testing.assert_array_equal(first.probabilities, second.probabilities)


def test_a_sorting_without_units_or_spikes_has_no_link(moved):
    sorting_a, recording_a, sorting_b, recording_b = moved
    nothing = sorting_a.select_units([])
    linked = link_sortings(nothing, recording_a, sorting_b, recording_b)
    assert linked.unit_ids_a == linked.unmatched_a == ()
    assert linked.unmatched_b == tuple(range(NUM_UNITS))
    assert linked.to_dataframe().empty
    silent = NumpySorting.from_unit_dict([{"x": np.zeros(0, dtype=int), "y": np.array([900])}], RATE_HZ)
    linked = link_sortings(silent, recording_a, sorting_b, recording_b)
    assert linked.unmatched_a == ("x", "y")
    assert not linked.probabilities.to_numpy().any()


def test_a_single_unit_is_linked_to_itself(moved):
    sorting_a, recording_a, sorting_b, recording_b = moved
    linked = link_sortings(sorting_a.select_units([4]), recording_a, sorting_b.select_units([4]), recording_b)
    assert linked.unit_ids_a == linked.unit_ids_b == (4,)


def test_marginals_are_those_of_all_one_to_one_assignments():
    odds = np.random.default_rng(0).gamma(0.5, 2.0, (3, 3))
    # None of the units, or any: every partial assignment is a permutation of the units and three times no partner.
    total, exact = 0.0, np.zeros((3, 3))
    for columns in set(permutations([0, 1, 2, None, None, None], 3)):
        chosen = [(row, column) for row, column in enumerate(columns) if column is not None]
        weight = np.prod([odds[pair] for pair in chosen])
        total += weight
        for pair in chosen:
            exact[pair] += weight
    found = match_marginals(odds)
    np.testing.assert_allclose(found, exact / total, atol=0.05)
    assert max(found.sum(axis=0).max(), found.sum(axis=1).max()) <= 1.0 + 1e-3
    np.testing.assert_allclose(match_marginals(odds[:1]), odds[:1] / (1 + odds[:1].sum()))


def plain(num_samples=2000, num_channels=4, *, rate_hz=RATE_HZ, pitch_um=20.0, with_probe=True):
    recording = NumpyRecording([np.zeros((num_samples, num_channels), dtype="float32")], rate_hz)
    if with_probe:
        probe = generate_multi_columns_probe(1, num_channels, ypitch=pitch_um)
        probe.set_device_channel_indices(np.arange(num_channels))
        recording.set_probe(probe)
    return recording


def scaled(recording):
    recording.set_channel_gains(0.2)
    recording.set_channel_offsets(0.0)
    return recording


@pytest.mark.parametrize(
    ("make_recording", "rate_hz", "message"),
    [
        (lambda: plain(num_channels=5), RATE_HZ, r"recording_a has 4 channels and recording_b 5: .*select_channels"),
        (lambda: plain(pitch_um=25.0), RATE_HZ, r"contacts in different places, up to 15.0 um \(channel 3\)"),
        (lambda: plain(rate_hz=30000.0), 30000.0, r"frequency of 20000 Hz and recording_b of 30000 Hz: .*resample"),
        (plain, 30000.0, r"sorting_b has a sampling frequency of 30000 Hz and recording_b of 20000 Hz"),
        (lambda: plain(with_probe=False), RATE_HZ, r"recording_b has no probe: .*set_probe"),
        (lambda: plain(num_samples=100), RATE_HZ, r"recording_b has 100 samples .*: twice the 70 of a template"),
        (lambda: plain(num_samples=400), RATE_HZ, r"sorting_b has spikes outside recording_b"),
        (lambda: scaled(plain()), RATE_HZ, r"recording_a has no gains to uV, the other one has"),
    ],
)
def test_epochs_that_do_not_fit_are_refused(make_recording, rate_hz, message):
    first = NumpySorting.from_unit_dict([{0: np.array([500])}], RATE_HZ)
    second = NumpySorting.from_unit_dict([{0: np.array([500])}], rate_hz)
    with pytest.raises(ValueError, match=message):
        link_sortings(first, plain(), second, make_recording())


def test_sortings_of_other_segments_are_refused():
    train = {0: np.array([500])}
    first = NumpySorting.from_unit_dict([train], RATE_HZ)
    second = NumpySorting.from_unit_dict([train, train], RATE_HZ)
    with pytest.raises(ValueError, match=r"sorting_b has 2 segments and recording_b 1"):
        link_sortings(first, plain(), second, plain())


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"min_confidence": 1.5}, r"min_confidence = 1.5: it must be between 0 and 1"),
        ({"max_displacement_um": -1.0}, r"max_displacement_um = -1.0: it must be between 0 and 2000"),
        ({"length_scale_um": float("nan")}, r"length_scale_um = nan"),
        ({"max_spikes_per_unit": 1}, r"max_spikes_per_unit = 1: it must be between 5 and inf"),
    ],
)
def test_settings_that_make_no_sense_are_refused(argument, message):
    with pytest.raises(ValueError, match=message):
        LinkingSettings(**argument)
