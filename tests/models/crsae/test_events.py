"""Claims about the events of windows, and about atoms learned from them."""

import math

import numpy as np
import pytest
import torch

from si_crsae.evaluation import filter_error, missed_false_alarm_curve, simulate_windows
from si_crsae.models import Crsae, EventMaximization, find_events, make_event_encoder


@pytest.fixture(scope="module")
def simulated():
    return simulate_windows(16.0, num_windows=600, seed=2)


@pytest.fixture(scope="module")
def model(device, simulated):
    rate = math.sqrt(2 * math.log(4 * 983)) / simulated.noise_sd
    atoms = torch.from_numpy(simulated.atoms).to(device)
    return Crsae(atoms, torch.tensor(rate, device=device), noise_sd=simulated.noise_sd, nonnegative=True)


@pytest.fixture(scope="module")
def events(device, simulated, model):
    traces = torch.from_numpy(simulated.traces).to(device)
    return find_events(make_event_encoder(model, traces), traces)


def labels(atom_index, batch_index, shift):
    """One time per event, those of different atoms and windows far apart."""
    return (atom_index * 600 + batch_index) * 2000 + shift


def test_events_of_overlapping_alike_atoms_are_found(simulated, events):
    truth = labels(simulated.atom_index, simulated.batch_index, simulated.shift)
    found = labels(events.atom_index, events.batch_index, events.shift)
    curve = missed_false_alarm_curve(truth, found, 1 / (1 + events.misfit), tolerance=2, num_thresholds=200)
    assert curve.missed[0] < 0.02
    assert curve.false_alarm[0] < 0.015
    assert curve.missed[curve.false_alarm <= 0.005].min() < 0.03


def test_amplitudes_are_those_of_the_spikes_without_shrinkage(simulated, events):
    assert np.median(events.amplitude) == pytest.approx(np.median(simulated.amplitude), rel=0.02)


def test_misfit_is_that_of_noise_where_the_explanation_is_right_and_large_where_it_is_not(
    device, simulated, model, events
):
    assert np.median(events.misfit) < 4.5
    without_one = Crsae(model.atoms.detach()[:3], model.rate.detach(), noise_sd=model.noise_sd, nonnegative=True)
    traces = torch.from_numpy(simulated.traces[:100]).to(device)
    worse = find_events(make_event_encoder(without_one, traces), traces)
    assert np.mean(worse.misfit > 5) > 5 * np.mean(events.misfit > 5)


def test_a_window_does_not_depend_on_its_neighbors_nor_on_threads(device, simulated, model):
    traces = torch.from_numpy(simulated.traces[:200]).to(device)
    encoder = make_event_encoder(model, traces)
    together = find_events(encoder, traces)
    alone = find_events(encoder, traces[130:131])
    mine = together.batch_index == 130
    np.testing.assert_array_equal(together.shift[mine], alone.shift)
    np.testing.assert_array_equal(together.atom_index[mine], alone.atom_index)
    np.testing.assert_allclose(together.amplitude[mine], alone.amplitude, rtol=1e-4)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        np.testing.assert_array_equal(find_events(encoder, traces).shift, together.shift)
    finally:
        torch.set_num_threads(threads)


def test_silence_has_no_events(device, model):
    silence = torch.zeros(3, 1, 200, device=device)
    events = find_events(make_event_encoder(model, silence), silence)
    assert events.shift.size == 0
    assert torch.equal(events.to_code((3, 4, 183)), torch.zeros(3, 4, 183))


def test_atoms_from_events_are_nearer_than_those_of_the_l1_code(device, simulated, model):
    traces = torch.from_numpy(simulated.traces).to(device)
    rough = simulated.atoms + 0.03 * np.random.default_rng(0).standard_normal(simulated.atoms.shape).astype("float32")
    learned = Crsae(torch.from_numpy(rough).to(device), model.rate.detach(), noise_sd=model.noise_sd, nonnegative=True)
    before = filter_error(simulated.atoms, learned.atoms.detach().cpu().numpy()).error_db
    EventMaximization(learned).step(traces)
    after = filter_error(simulated.atoms, learned.atoms.detach().cpu().numpy()).error_db
    assert np.all(before > -12)
    assert np.all(after < -20)


def test_bad_windows_and_models_of_images_are_refused(device, model):
    broken = torch.zeros(2, 1, 200, device=device)
    broken[1, 0, 7] = torch.inf
    with pytest.raises(ValueError, match=r"windows has \d+ NaN or infinite values"):
        make_event_encoder(model, broken)
    with pytest.raises(ValueError, match="windows is empty"):
        make_event_encoder(model, broken[:0])
    with pytest.raises(ValueError, match=r"model.atoms has shape \(1, 1, 3, 3\): events are those of traces"):
        make_event_encoder(Crsae(torch.ones(1, 1, 3, 3), torch.tensor(1.0)), torch.zeros(1, 1, 200))
