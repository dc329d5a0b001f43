"""Claims about the pass that weighs events: it finds the events of any encoding, and tells two neurons in a unit."""

import numpy as np
import pytest
from simulated_units import RATE_HZ, draw_times, encoder_of, make_recording, make_template, make_unit

from si_crsae.core.events.worth import log_evidence_of_one
from si_crsae.sorting.encoding import encode_recording
from si_crsae.sorting.probabilities import evidence
from si_crsae.sorting.probabilities.evidence import encode_and_weigh, window_of
from si_crsae.sorting.probabilities.features import two_groups
from si_crsae.sorting.signal import recording

ONE = make_template([1.0, 0.6, 0.2, 0.0], norm=14.0)
OTHER = make_template([0.0, 0.3, 0.7, 1.0], norm=16.0, shape=(-1.0, 0.2, 0.3))
# Like the first, but elsewhere: enough alike to be taken for it by an encoder that knows only the first.
TWIN = make_template([0.6, 1.0, 0.2, 0.0], norm=14.0)


@pytest.fixture(scope="module")
def encoder():
    times = draw_times(0, count=20)
    return encoder_of([make_unit(template, times, seed=1) for template in (ONE, OTHER)])


@pytest.fixture(scope="module")
def traces():
    return make_recording([(ONE, draw_times(1, count=150)), (OTHER, draw_times(2, count=150))])


def weights_of(code):
    return np.stack([code.own_weight, code.information, code.amplitude], axis=1)


def test_the_events_are_those_of_the_encoding(encoder, traces):
    (expected,) = encode_recording(traces, encoder, num_threads=1)
    code = encode_and_weigh(traces, encoder, num_threads=1)
    for name in ("sample_index", "sample_offset", "atom_index", "amplitude"):
        np.testing.assert_array_equal(getattr(code, name), getattr(expected, name))
    np.testing.assert_array_equal(code.found_atom, expected.atom_index)
    assert code.own_weight.size >= 290


def test_clear_spikes_are_likelier_than_anything_else(encoder, traces):
    code = encode_and_weigh(traces, encoder, num_threads=1)
    against = np.logaddexp(np.logaddexp(0, code.rest_weight), code.rival_weight)
    assert np.mean(code.own_weight > against + 5) > 0.98
    assert code.misfit.mean() == pytest.approx(1.0, abs=0.1)
    assert np.all(code.information[code.overlap == 0] == 1)


def test_a_spike_is_weighed_by_what_the_traces_without_it_and_itself_hold(encoder, traces):
    code = encode_and_weigh(traces, encoder, num_threads=1)
    scales = encoder.dictionary.scales.numpy()
    alone = np.flatnonzero(code.overlap == 0)
    expected = [
        log_evidence_of_one(amplitude, scales[atom], encoder.odds) - encoder.settings.event_price
        for amplitude, atom in zip(code.amplitude[alone], code.atom_index[alone], strict=True)
    ]
    # Between samples an amplitude is a little larger than on them.
    assert np.median(code.own_weight[alone] / expected) == pytest.approx(1.0, abs=0.15)


def test_less_is_known_of_overlapping_spikes(encoder):
    times = draw_times(7, count=150)
    code = encode_and_weigh(make_recording([(ONE, times), (OTHER, times + 2)]), encoder, num_threads=1)
    crowded = code.overlap > 0.1
    assert crowded.mean() > 0.9
    assert code.information[crowded].max() < 1


def test_threads_change_nothing(encoder, traces):
    one, three = (encode_and_weigh(traces, encoder, num_threads=number) for number in (1, 3))
    for name in evidence.WeighedCode.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))


def test_tiles_of_another_length_give_the_same_weights(encoder, traces, monkeypatch):
    expected = encode_and_weigh(traces, encoder, num_threads=1)
    monkeypatch.setattr(recording, "TILE_S", 0.31)
    code = encode_and_weigh(traces, encoder, num_threads=1)
    np.testing.assert_array_equal(code.sample_index, expected.sample_index)
    np.testing.assert_allclose(weights_of(code), weights_of(expected), rtol=1e-3, atol=1e-2)
    # The noise that it is relative to is that of the tile.
    np.testing.assert_allclose(code.misfit, expected.misfit, rtol=0.2)


def test_directions_from_some_of_the_tiles_are_used_on_all(encoder, monkeypatch):
    traces = make_recording([(ONE, draw_times(3, count=400)), (TWIN, draw_times(4, count=400))])
    expected = encode_and_weigh(traces, encoder, num_threads=1)
    monkeypatch.setattr(evidence, "SAMPLED_S", 4.0)
    code = encode_and_weigh(traces, encoder, num_threads=1)
    np.testing.assert_array_equal(code.sample_index, expected.sample_index)
    assert np.all(code.deviation != 0)
    assert abs(np.corrcoef(code.deviation, expected.deviation)[0, 1]) > 0.9


def test_two_neurons_in_one_unit_leave_two_groups_of_residuals(encoder):
    first, second = draw_times(5, count=300), draw_times(6, count=200)
    code = encode_and_weigh(make_recording([(ONE, first), (TWIN, second)]), encoder, num_threads=1)
    own = code.atom_index == 0
    separation, minority, odds = two_groups(code.deviation[own].astype(float))
    distance = np.abs(code.sample_index[own][:, None] - second).min(axis=1)
    assert separation > 3
    assert minority == pytest.approx(0.4, abs=0.07)
    assert np.mean((odds > 0) == (distance > 5)) > 0.9


def test_one_neuron_leaves_noise(encoder, traces):
    code = encode_and_weigh(traces, encoder, num_threads=1)
    for atom in (0, 1):
        assert code.deviation[code.atom_index == atom].std() == pytest.approx(1.0, abs=0.3)


def test_a_silent_recording_has_an_empty_code(encoder):
    code = encode_and_weigh(make_recording([]), encoder, num_threads=1)
    assert all(getattr(code, name).size == 0 for name in evidence.WeighedCode.__dataclass_fields__)


def test_the_window_of_the_misfit_stays_inside_the_atom():
    assert window_of(20, 60, RATE_HZ) == (8, 38)
    assert window_of(2, 10, RATE_HZ) == (0, 10)
