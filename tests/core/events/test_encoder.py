"""Claims about the encoder: it finds what was planted, and nothing else has a say in it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from si_crsae.core import (
    SOLVERS,
    Descent,
    Dictionary,
    Encoder,
    EncoderSettings,
    SparseEvents,
    correlate_filtered,
    filter_with_basis,
    synthesize,
)
from si_crsae.core.events import encoder as encoder_module
from si_crsae.core.events.refine import observe

WIDTH, REFRACTORY, MARGIN = 24, 10, 4 * 24
SCALES = torch.tensor([20.0, 24.0, 28.0])
LOW_NOISE = 0.3
seeds = st.integers(0, 2**16)
few_examples = settings(max_examples=30)


def make_dictionary():
    """Return three atoms of neighboring channels, as smooth as spikes are: bells of one and two phases."""
    time = torch.linspace(-3, 3, WIDTH)
    bell = torch.exp(-2 * time.square())
    basis = torch.linalg.qr(torch.stack([bell, bell * time, bell * time.square()], dim=1)).Q.T.contiguous()
    coefficients = torch.tensor(
        [
            [[-1.0, 0.2, 0.1], [-0.4, 0.3, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
            [[0.0, 0.0, 0.0], [-0.5, -0.6, 0.2], [-0.8, 0.1, -0.3], [0.0, 0.0, 0.0]],
            [[0.0, 0.0, 0.0], [-0.3, 0.9, 0.0], [-0.3, 0.2, 0.6], [-0.9, -0.2, 0.5]],
        ]
    )
    dictionary = Dictionary.from_coefficients(coefficients, basis, num_before=WIDTH // 2)
    return replace(dictionary, scales=SCALES[: dictionary.num_atoms])


def make_encoder(device, dictionary=None, **changes):
    dictionary = make_dictionary() if dictionary is None else dictionary
    scales = dictionary.scales.numpy()
    settings = {
        "regularization": np.full(scales.size, 5.0, "float32"),
        "min_amplitude": 0.6 * scales,
        "max_amplitude": 1.6 * scales,
        "noise": 1.0,
        "max_gap": 5,
        "refractory": REFRACTORY,
    }
    return Encoder.of(dictionary, EncoderSettings(**settings | changes), device=device)


def draw_noise(seed, num_samples, level=1.0):
    return level * torch.randn(4, num_samples, generator=torch.Generator().manual_seed(seed))


def plant(dictionary, rows, num_shifts=200):
    """Return traces with the events of (shift, atom, amplitude relative to the scale) rows."""
    code = torch.zeros(1, dictionary.num_atoms, num_shifts)
    for shift, atom, size in rows:
        code[0, atom, shift] = size * dictionary.scales[atom]
    return synthesize(code, dictionary.atoms)[0]


def correlation_of(traces, dictionary):
    return correlate_filtered(filter_with_basis(traces, dictionary.basis), dictionary.weights).numpy()


def encode(traces, encoder):
    return encoder.encode(correlation_of(traces, encoder.dictionary))


def places(events):
    return list(zip(events.sample_index.tolist(), events.atom_index.tolist(), strict=True))


def assert_least_squares(events, correlation, encoder):
    """Check that nothing of an atom is left where one of its events stands."""
    rest = observe(encoder.subtract(correlation, events), events.located)
    np.testing.assert_allclose(rest, 0, atol=0.01 * SCALES.max().item())


def assert_finds(rows, encoder, *, seed=0):
    """Plant the events in low noise and check that they are found: all, only they, as large as they are."""
    rows = sorted(rows)
    traces = plant(encoder.dictionary, rows)
    correlation = correlation_of(traces + draw_noise(seed, traces.shape[1], LOW_NOISE), encoder.dictionary)
    events = encoder.encode(correlation)
    assert places(events) == [row[:2] for row in rows]
    assert_least_squares(events, correlation, encoder)
    found = events.amplitude / encoder.dictionary.scales.numpy()[events.atom_index]
    np.testing.assert_allclose(found, [row[2] for row in rows], atol=0.1)


sizes = st.floats(0.8, 1.3)


@few_examples
@given(shift=st.integers(0, 199), atom=st.integers(0, 2), size=sizes, seed=seeds)
def test_an_isolated_event_is_found(device, shift, atom, size, seed):
    assert_finds([(shift, atom, size)], make_encoder(device), seed=seed)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 2), (1, 2)])
def test_two_atoms_are_found_at_every_lag(device, first, second):
    encoder = make_encoder(device)
    for lag in range(1 - WIDTH, WIDTH):
        assert_finds([(80, first, 1.0), (80 + lag, second, 1.0)], encoder, seed=WIDTH + lag)


@pytest.mark.parametrize("atom", [0, 1, 2])
def test_two_events_of_one_atom_are_found_beyond_the_refractory_period(device, atom):
    encoder = make_encoder(device)
    for lag in range(REFRACTORY, 2 * WIDTH):
        assert_finds([(80, atom, 1.0), (80 + lag, atom, 0.9)], encoder, seed=lag)


@st.composite
def mixtures(draw, num_shifts=200):
    """Return overlapping (shift, atom, size) rows, those of one atom at least a refractory period apart."""
    rows = draw(st.lists(st.tuples(st.integers(0, num_shifts - 1), st.integers(0, 2), sizes), min_size=3, max_size=15))
    kept = []
    for shift, atom, size in sorted(rows):
        if all(shift - row[0] >= REFRACTORY for row in kept if row[1] == atom):
            kept.append((shift, atom, size))
    return kept


@few_examples
@given(rows=mixtures(), seed=seeds)
def test_overlapping_events_are_found(device, rows, seed):
    assert_finds(rows, make_encoder(device), seed=seed)


def test_a_second_look_finds_what_the_first_took_for_one_event(device):
    planted = [(80, 0, 1.0), (80 + REFRACTORY, 0, 0.9)]
    traces = plant(make_dictionary(), planted)
    assert places(encode(traces, make_encoder(device, max_gap=REFRACTORY, num_looks=1))) == [(80, 0)]
    assert_finds(planted, make_encoder(device, max_gap=REFRACTORY))


@pytest.mark.parametrize("size", [0.9, 1.1])
def test_spikes_of_atoms_of_one_shape_go_to_the_one_of_their_size(device, size):
    dictionary = make_dictionary()
    alike = replace(dictionary, weights=dictionary.weights[[0, 0, 1]], scales=torch.tensor([14.0, 28.0, 24.0]))
    assert_finds([(60, 0, size), (100, 1, size), (110, 2, size), (150, 1, size)], make_encoder(device, alike))


def test_a_spike_between_two_atoms_of_nearly_one_shape_is_one_event(device):
    dictionary = make_dictionary()
    coefficients = dictionary.weights[[0, 0]] + 0.3 * dictionary.weights[[1, 2]]
    alike = Dictionary.from_coefficients(20 * coefficients, dictionary.basis, num_before=dictionary.num_before)
    encoder = make_encoder(device, alike, min_amplitude=np.full(2, 4.0, "float32"))
    events = encode(plant(alike, [(60, 0, 0.5), (60, 1, 0.5)]), encoder)
    assert events.sample_index.tolist() == [60]


def test_an_atom_of_infinite_regularization_takes_no_events(device):
    dictionary = make_dictionary()
    alike = replace(dictionary, weights=dictionary.weights[[0, 0, 1]], scales=torch.tensor([14.0, 28.0, 24.0]))
    regularization = np.array([5.0, np.inf, 5.0], "float32")
    encoder = make_encoder(device, alike, regularization=regularization, max_amplitude=np.full(3, 50.0, "float32"))
    assert places(encode(plant(alike, [(60, 1, 1.0), (100, 2, 1.0)]), encoder)) == [(60, 0), (100, 2)]


@pytest.mark.parametrize("size", [0.5, 1.8])
def test_events_outside_the_window_of_amplitudes_are_no_events(device, size):
    rows = [(50, 0, size), (90, 1, 1.0), (140, 2, size)]
    assert places(encode(plant(make_dictionary(), rows), make_encoder(device))) == [(90, 1)]


@few_examples
@given(rows=mixtures(), seed=seeds)
def test_what_is_found_in_noise_is_sorted_and_keeps_to_the_settings(device, rows, seed):
    encoder = make_encoder(
        device, regularization=np.full(3, 1.5, "float32"), min_amplitude=np.array([3, 4, 5], "float32")
    )
    traces = plant(encoder.dictionary, rows)
    correlation = correlation_of(traces + draw_noise(seed, traces.shape[1], 2.0), encoder.dictionary)
    events = encoder.encode(correlation)
    assert len(events) >= len(rows)
    assert places(events) == sorted(places(events))
    assert (events.amplitude >= encoder.settings.min_amplitude[events.atom_index]).all()
    assert (events.amplitude <= encoder.settings.max_amplitude[events.atom_index]).all()
    for atom in range(3):
        assert np.diff(events.sample_index[events.atom_index == atom]).min(initial=REFRACTORY) >= REFRACTORY
    assert_least_squares(events, correlation, encoder)


def test_noise_holds_no_events(device):
    encoder = make_encoder(device, regularization=np.full(3, 4.5, "float32"), min_amplitude=np.ones(3, "float32"))
    noise = draw_noise(0, 5000)
    assert len(encode(noise, encoder)) == 0
    assert len(encode(2 * noise, encoder)) > 0


def test_no_atoms_find_no_events(device):
    dictionary = make_dictionary()
    nothing = replace(dictionary, weights=dictionary.weights[:0], scales=dictionary.scales[:0])
    assert len(encode(draw_noise(0, 300), make_encoder(device, nothing))) == 0


@few_examples
@given(rows=mixtures(num_shifts=60), far=mixtures(num_shifts=100), seed=seeds)
def test_what_is_far_away_has_no_say(device, rows, far, seed):
    encoder = make_encoder(device)
    traces = plant(encoder.dictionary, rows, num_shifts=400) + draw_noise(seed, 400 + WIDTH - 1, LOW_NOISE)
    crowded = traces + plant(encoder.dictionary, [(300 + row[0], *row[1:]) for row in far], num_shifts=400)
    alone, among_others = encode(traces, encoder), encode(crowded, encoder).between(0, 200)
    assert places(alone) == places(among_others)
    np.testing.assert_allclose(alone.amplitude, among_others.amplitude, atol=0.05)


@few_examples
@given(rows=mixtures(num_shifts=600), seed=seeds, cut=st.integers(200, 400))
def test_chunks_with_margins_give_the_events_of_the_whole(device, rows, seed, cut):
    encoder = make_encoder(device)
    traces = plant(encoder.dictionary, rows, num_shifts=600)
    traces = traces + draw_noise(seed, traces.shape[1], LOW_NOISE)
    left = encode(traces[:, : cut + MARGIN], encoder).between(0, cut)
    right = encode(traces[:, cut - MARGIN :], encoder).shifted(cut - MARGIN).between(cut, 600)
    whole, joined = encode(traces, encoder), SparseEvents.concatenate([left, right])
    assert places(joined) == places(whole)
    np.testing.assert_allclose(joined.amplitude, whole.amplitude, atol=0.05)


@few_examples
@given(rows=mixtures(), seed=seeds, order=st.permutations(range(3)))
def test_reordering_the_atoms_reorders_the_atoms_of_the_events(device, rows, seed, order):
    dictionary = make_dictionary()
    traces = plant(dictionary, rows)
    traces = traces + draw_noise(seed, traces.shape[1], LOW_NOISE)
    reordered = replace(dictionary, weights=dictionary.weights[order], scales=dictionary.scales[order])
    events, others = encode(traces, make_encoder(device, dictionary)), encode(traces, make_encoder(device, reordered))
    assert sorted(places(events)) == sorted((shift, order[atom]) for shift, atom in places(others))


@few_examples
@given(rows=mixtures(), seed=seeds)
def test_the_same_traces_give_the_same_events(device, rows, seed):
    encoder = make_encoder(device)
    traces = plant(encoder.dictionary, rows)
    correlation = correlation_of(traces + draw_noise(seed, traces.shape[1]), encoder.dictionary)
    before = correlation.copy()
    first, second = encoder.encode(correlation), encoder.encode(correlation)
    np.testing.assert_array_equal(correlation, before)
    assert places(first) == places(second)
    np.testing.assert_array_equal(first.amplitude, second.amplitude)


@few_examples
@given(rows=mixtures(), seed=seeds)
def test_subtracting_events_leaves_the_correlation_of_the_rest(device, rows, seed):
    encoder = make_encoder(device)
    traces = plant(encoder.dictionary, rows)
    noise = draw_noise(seed, traces.shape[1])
    shift, atom_index, size = (np.array([row[axis] for row in sorted(rows)]) for axis in range(3))
    events = SparseEvents(
        sample_index=shift.astype("int64"),
        sample_offset=np.zeros(shift.size, "float32"),
        atom_index=atom_index.astype("int64"),
        amplitude=(size * SCALES.numpy()[atom_index.astype("int64")]).astype("float32"),
    )
    correlation = correlation_of(traces + noise, encoder.dictionary)
    before = correlation.copy()
    rest = encoder.subtract(correlation, events)
    np.testing.assert_allclose(rest, correlation_of(noise, encoder.dictionary), atol=1e-3)
    np.testing.assert_array_equal(correlation, before)


def plant_between(dictionary, rows, num_shifts=200):
    """Return traces with the events of (time, atom, size) rows at any times, delayed in the frequency domain."""
    traces = torch.zeros(4, num_shifts + WIDTH - 1, dtype=torch.float64)
    frequency = torch.fft.rfftfreq(traces.shape[1], dtype=torch.float64)
    for time, atom, size in rows:
        template = torch.nn.functional.pad(dictionary.templates[atom].double(), (0, num_shifts - 1))
        delay = torch.exp(-2j * torch.pi * frequency * time)
        traces += size * torch.fft.irfft(torch.fft.rfft(template) * delay, n=traces.shape[1])
    return traces.float()


@few_examples
@given(seed=seeds, phases=st.lists(st.floats(0, 1), min_size=3, max_size=3), atoms=st.permutations(range(3)))
def test_overlapping_events_between_samples_are_found_where_they_stand(device, seed, phases, atoms):
    encoder = make_encoder(device, noise=0.3)
    rows = [(60 + 14 * place + phase, atom, 1.0) for place, (phase, atom) in enumerate(zip(phases, atoms, strict=True))]
    traces = plant_between(encoder.dictionary, rows)
    events = encode(traces + draw_noise(seed, traces.shape[1], 0.1), encoder)
    assert events.atom_index.tolist() == list(atoms)
    np.testing.assert_allclose(events.sample_index + events.sample_offset, [row[0] for row in rows], atol=0.06)
    np.testing.assert_allclose(events.amplitude, encoder.dictionary.scales[list(atoms)], rtol=0.03)
    rest = traces - plant_between(
        encoder.dictionary,
        [
            (shift + offset, atom, amplitude / float(SCALES[atom]))
            for atom, shift, offset, amplitude in zip(*events.located, strict=True)
        ],
    )
    assert rest.norm() < 0.06 * traces.norm()


@few_examples
@given(rows=mixtures(), seed=seeds)
def test_two_sided_codes_find_spikes_of_either_sign(device, rows, seed):
    encoder = make_encoder(device, two_sided=True)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], len(rows))
    signed = [(shift, atom, sign * size) for (shift, atom, size), sign in zip(sorted(rows), signs, strict=True)]
    assert_finds(signed, encoder, seed=seed)


def test_one_sided_codes_find_no_negative_spikes(device):
    assert len(encode(plant(make_dictionary(), [(80, 0, -1.0)]), make_encoder(device))) == 0


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "descent"])
@settings(max_examples=5)
@given(rows=mixtures(), seed=seeds)
def test_every_solver_leads_to_the_same_events(device, solver, rows, seed):
    encoder = make_encoder(device)
    other = Encoder.of(encoder.dictionary, encoder.settings, solver=solver, device=device)
    traces = plant(encoder.dictionary, rows)
    traces = traces + draw_noise(seed, traces.shape[1], LOW_NOISE)
    events, others = encode(traces, encoder), encode(traces, other)
    assert places(events) == places(others)
    np.testing.assert_allclose(events.amplitude, others.amplitude, rtol=0.01)


@few_examples
@given(rows=mixtures(), seed=seeds)
def test_the_events_explain_the_energy_that_they_take_from_the_traces(device, rows, seed):
    encoder = make_encoder(device)
    traces = plant(encoder.dictionary, rows)
    traces = traces + draw_noise(seed, traces.shape[1], LOW_NOISE)
    correlation = correlation_of(traces, encoder.dictionary)
    located = sorted((shift, atom, size * float(SCALES[atom])) for shift, atom, size in rows)
    events = SparseEvents.in_order(
        np.array([row[1] for row in located]),
        np.array([row[0] for row in located]),
        np.zeros(len(located), "float32"),
        np.array([row[2] for row in located], "float32"),
    )
    gone = traces.square().sum() - (traces - plant(encoder.dictionary, rows)).square().sum()
    assert encoder.explained_energy(correlation, events).sum() == pytest.approx(float(gone), rel=1e-3)


def test_a_code_too_large_for_the_device_is_found_on_the_cpu(device):
    class Full(Descent):
        def step(self, problem, prior, state):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    encoder = make_encoder(device)
    full = replace(encoder.solver, kind=Full)
    traces = plant(encoder.dictionary, [(50, 0, 1.0), (60, 1, 1.0), (120, 2, 1.0)])
    events, others = encode(traces, encoder), encode(traces, replace(encoder, solver=full))
    assert places(others) == places(events)
    assert len(events) == 3


def test_a_correlation_too_large_for_the_device_is_computed_in_halves(device, monkeypatch):
    encoder, traces = make_encoder(device), draw_noise(0, 1000)
    expected = encoder.correlate(traces)
    lengths = []

    def filter_if_short(traces, basis):
        lengths.append(traces.shape[1])
        if traces.shape[1] > 300:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return filter_with_basis(traces, basis)

    monkeypatch.setattr(encoder_module, "filter_with_basis", filter_if_short)
    shared_only = replace(encoder, factors=())
    np.testing.assert_allclose(shared_only.correlate(traces), expected, atol=1e-4)
    assert max(lengths) == 1000
    assert sum(length <= 300 for length in lengths) == 4
    monkeypatch.setattr(encoder_module, "filter_with_basis", lambda *_: filter_if_short(draw_noise(0, 301), None))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        shared_only.correlate(traces)
