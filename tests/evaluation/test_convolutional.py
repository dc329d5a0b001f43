"""Claims about the paper's simulation, and about the error between true and learned atoms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from si_crsae.core import synthesize
from si_crsae.evaluation import convolutional, filter_error, perturb_atoms, simulate_windows

seeds = st.integers(0, 2**16)


def simulate(snr_db=16.0, *, seed=0, **changes):
    return simulate_windows(snr_db, seed=seed, **{"num_windows": 30, **changes})


def rebuild(windows):
    """Return the traces without noise, from the code that the events make up."""
    num_windows, _, num_samples = windows.traces.shape
    num_atoms, _, width = windows.atoms.shape
    code = torch.zeros(num_windows, num_atoms, num_samples - width + 1)
    code[windows.batch_index, windows.atom_index, windows.shift] = torch.as_tensor(windows.amplitude)
    return synthesize(code, torch.as_tensor(windows.atoms)).numpy()


def error_in_place(atom, other):
    """Return Eq. 26 as it is written."""
    atom, other = atom.ravel().astype("float64"), other.ravel().astype("float64")
    return 10 * np.log10(np.sqrt(1 - (atom @ other) ** 2 / ((atom @ atom) * (other @ other))))


def pairwise_correlations(atoms):
    waveforms = atoms[:, 0]
    pairs = [(i, j) for i in range(len(waveforms)) for j in range(i)]
    return np.array([np.correlate(waveforms[i], waveforms[j], mode="full").max() for i, j in pairs])


def draw_compact_atoms(seed, shape=(4, 2, 20)):
    """Draw atoms that are zero in the first and last quarter, so that shifts lose nothing."""
    atoms = np.random.default_rng(seed).standard_normal(shape)
    atoms[:, :, :5] = atoms[:, :, -5:] = 0
    return atoms


def delayed(atom, shift):
    return np.roll(atom, shift, axis=1)


def test_the_defaults_are_those_of_the_paper():
    windows = simulate_windows(16.0, seed=0)
    assert windows.traces.shape == (10_100, 1, 1000)
    assert windows.atoms.shape == (4, 1, 18)
    assert windows.shift.size == 10_100 * 12
    # Amplitudes are N(180, 30) up to a common factor.
    assert windows.amplitude.std() / windows.amplitude.mean() == pytest.approx(30 / 180, rel=0.02)
    types = {name: getattr(windows, name).dtype.name for name in windows.__slots__ if name != "noise_sd"}
    assert types == {
        "traces": "float32", "atoms": "float32", "batch_index": "int64", "shift": "int64", "atom_index": "int64",
        "amplitude": "float32",
    }  # fmt: skip


def test_traces_are_normalized_and_so_are_atoms():
    windows = simulate()
    assert np.abs(windows.traces).max() == pytest.approx(1)
    np.testing.assert_allclose(np.linalg.norm(windows.atoms, axis=(1, 2)), 1, rtol=1e-6)


def test_every_atom_occurs_equally_often_in_every_window_and_events_are_sorted():
    windows = simulate(num_atoms=3, num_spikes=5)
    counts = np.zeros((30, 3), int)
    np.add.at(counts, (windows.batch_index, windows.atom_index), 1)
    assert (counts == 5).all()
    assert (np.diff(windows.batch_index * 1000 + windows.shift) >= 0).all()
    assert (windows.amplitude > 0).all()


@pytest.mark.parametrize("num_samples", [54, 60, 1000])
def test_occurrences_of_one_atom_keep_their_distance_and_lie_within_the_window(num_samples):
    windows = simulate(num_samples=num_samples, num_windows=200)
    assert windows.shift.min() >= 0
    assert windows.shift.max() <= num_samples - 18
    order = np.lexsort((windows.shift, windows.atom_index, windows.batch_index))
    shifts = windows.shift[order].reshape(200, 4, 3)
    assert np.diff(shifts, axis=2).min() >= 18


def test_shifts_reach_both_ends_of_the_window_and_different_atoms_overlap():
    windows = simulate(num_samples=80, num_windows=200)
    assert (windows.shift.min(), windows.shift.max()) == (0, 80 - 18)
    distance = np.diff(windows.shift)[np.diff(windows.batch_index) == 0]
    assert distance.min() == 0


def is_covered(windows):
    covered = np.zeros(windows.traces.shape, bool)
    for offset in range(windows.atoms.shape[2]):
        covered[windows.batch_index, 0, windows.shift + offset] = True
    return covered


def test_the_noise_at_16_db_is_that_of_the_paper():
    paper = np.sqrt(2 * np.log(4 * 983)) / 168.04  # from the first lambda that it reports
    noise = np.mean([simulate_windows(16.0, num_windows=1000, seed=seed).noise_sd for seed in range(5)])
    assert noise == pytest.approx(paper, rel=0.15)


@pytest.mark.parametrize("snr_db", [-3.0, 7.0, 16.0])
def test_signal_and_noise_have_the_wanted_ratio(snr_db):
    windows = simulate(snr_db, seed=1)
    clean = rebuild(windows)
    power = np.mean(clean[is_covered(windows)] ** 2)
    assert 10 * np.log10(power / windows.noise_sd**2) == pytest.approx(snr_db, abs=1e-3)
    noise = windows.traces - clean
    assert noise.std() == pytest.approx(windows.noise_sd, rel=0.02)
    autocorrelation = np.mean(noise[:, :, 1:] * noise[:, :, :-1]) / noise.var()
    assert abs(autocorrelation) < 0.03


def test_the_same_seed_gives_the_same_data_and_another_seed_others():
    first, second, other = simulate(seed=3), simulate(seed=3), simulate(seed=4)
    for name in first.__slots__:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert not np.array_equal(first.atoms, other.atoms)
    assert not np.array_equal(first.shift, other.shift)


def test_the_noise_level_changes_neither_atoms_nor_events():
    loud, quiet = simulate(7.0), simulate(16.0)
    for name in ("atoms", "batch_index", "shift", "atom_index"):
        np.testing.assert_array_equal(getattr(loud, name), getattr(quiet, name))
    assert loud.noise_sd / loud.amplitude[0] > quiet.noise_sd / quiet.amplitude[0]


@pytest.mark.parametrize("seed", range(10))
def test_correlations_of_the_atoms_span_the_range_of_the_paper(seed):
    correlations = pairwise_correlations(simulate(seed=seed, num_windows=1).atoms)
    assert 0.5 <= correlations.min() <= 0.6
    assert 0.9 <= correlations.max() <= 0.95


@pytest.mark.parametrize(("num_atoms", "width", "sampling_frequency"), [(1, 18, 1e4), (2, 54, 3e4), (10, 36, 2e4)])
def test_other_numbers_of_atoms_and_rates_stay_within_the_range(num_atoms, width, sampling_frequency):
    windows = simulate(num_atoms=num_atoms, width=width, sampling_frequency=sampling_frequency, num_windows=1)
    correlations = pairwise_correlations(windows.atoms)
    assert correlations.size == num_atoms * (num_atoms - 1) // 2
    assert ((correlations >= 0.5) & (correlations <= 0.95)).all()


@pytest.mark.parametrize("seed", range(5))
def test_atoms_fade_at_both_ends(seed):
    atoms = simulate(seed=seed, num_windows=1).atoms
    assert np.abs(atoms[:, 0, [0, -1]]).max() < 0.15 * np.abs(atoms).max(axis=(1, 2)).min()


def test_selected_windows_bring_their_events():
    windows = simulate()
    part = windows.select(slice(10, 25))
    np.testing.assert_array_equal(part.traces, windows.traces[10:25])
    np.testing.assert_allclose(rebuild(part), rebuild(windows)[10:25], atol=1e-7)


@pytest.mark.parametrize("edge", [0, 12, 30])
def test_two_slices_share_out_all_events(edge):
    windows = simulate()
    first, rest = windows.select(slice(edge)), windows.select(slice(edge, None))
    assert (len(first.traces), len(rest.traces)) == (edge, 30 - edge)
    np.testing.assert_array_equal(np.append(first.shift, rest.shift), windows.shift)
    np.testing.assert_array_equal(np.append(first.batch_index, rest.batch_index + edge), windows.batch_index)


def test_windows_that_are_not_consecutive_are_refused():
    with pytest.raises(ValueError, match=r"windows = slice\(0, 10, 2\): consecutive windows"):
        simulate().select(slice(0, 10, 2))


def test_events_in_disorder_or_of_different_number_are_refused():
    windows = simulate()
    with pytest.raises(ValueError, match="must be sorted by batch_index, then shift"):
        replace(windows, shift=windows.shift[::-1])
    with pytest.raises(ValueError, match="one entry per event, but their shapes are"):
        replace(windows, amplitude=windows.amplitude[1:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"snr_db": np.inf}, r"snr_db = inf: a finite number of decibels"),
        ({"num_windows": 0}, r"num_windows = 0: at least 1"),
        ({"num_atoms": 0}, r"num_atoms = 0: at least 1"),
        ({"num_spikes": -1}, r"num_spikes = -1: at least 1"),
        ({"num_samples": 53}, r"num_samples = 53: num_spikes \* width = 54 samples are needed .* use longer windows"),
        ({"width": 9}, r"width = 9: at least 10 samples are needed, 1 ms"),
        ({"sampling_frequency": 1000.0}, r"sampling_frequency = 1000.0: at least 5000 Hz"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        simulate(**changes)


def test_more_atoms_than_can_resemble_one_another_are_refused(monkeypatch):
    monkeypatch.setattr(convolutional, "MAX_POOLS", 5)
    with pytest.raises(ValueError, match=r"num_atoms = 60: found no 60 spikes of width = 18 .* use fewer or wider"):
        simulate(num_atoms=60)


@given(seed=seeds)
def test_perturbed_atoms_have_unit_norm_and_an_error_in_the_range(seed):
    atoms = 3 * np.random.default_rng(seed).standard_normal((4, 2, 18))
    perturbed = perturb_atoms(atoms, seed=seed)
    errors = [error_in_place(atom, other) for atom, other in zip(atoms, perturbed, strict=True)]
    assert min(errors) >= -4
    assert max(errors) <= -3
    np.testing.assert_allclose(np.linalg.norm(perturbed, axis=(1, 2)), 1)
    assert ((perturbed * atoms).sum(axis=(1, 2)) > 0).all()


@pytest.mark.parametrize("error_db", [(-20.0, -20.0), (-1.0, 0.0)])
def test_the_range_of_the_perturbation_can_be_chosen_and_the_type_is_kept(error_db):
    atoms = simulate(num_windows=1).atoms
    perturbed = perturb_atoms(atoms, error_db=error_db, seed=0)
    errors = np.array([error_in_place(atom, other) for atom, other in zip(atoms, perturbed, strict=True)])
    assert (errors >= error_db[0] - 1e-3).all()
    assert (errors <= error_db[1] + 1e-3).all()
    assert perturbed.dtype == np.float32


def test_the_perturbation_depends_on_the_seed_alone():
    atoms = simulate(num_windows=1).atoms
    np.testing.assert_array_equal(perturb_atoms(atoms, seed=1), perturb_atoms(atoms, seed=1))
    assert not np.array_equal(perturb_atoms(atoms, seed=1), perturb_atoms(atoms, seed=2))


@pytest.mark.parametrize("error_db", [(-3.0, -4.0), (-3.0, 1.0), (-np.inf, -3.0), (np.nan, -3.0)])
def test_a_range_that_is_none_is_refused(error_db):
    with pytest.raises(ValueError, match=r"error_db = .*: two finite numbers in rising order, at most 0 dB"):
        perturb_atoms(np.ones((1, 1, 3)), error_db=error_db, seed=0)


def test_atoms_of_one_sample_cannot_be_perturbed():
    with pytest.raises(ValueError, match=r"atoms has shape \(2, 1, 1\): one sample has no shape"):
        perturb_atoms(np.ones((2, 1, 1)), seed=0)


@given(seed=seeds)
def test_without_shifts_the_error_of_one_pair_is_that_of_the_formula(seed):
    atom, other = np.random.default_rng(seed).standard_normal((2, 1, 2, 7))
    found = filter_error(atom, other, max_shift=0)
    assert found.error_db[0] == pytest.approx(error_in_place(atom, other))


@given(seed=seeds)
def test_the_error_ignores_order_sign_size_and_shift_and_reports_them(seed):
    rng = np.random.default_rng(seed)
    atoms = draw_compact_atoms(rng)
    learned = atoms + 0.3 * draw_compact_atoms(rng)
    plain = filter_error(atoms, learned)
    order, sign, shift = rng.permutation(4), rng.choice([-1, 1], 4), rng.integers(-5, 6, 4)
    size = rng.uniform(0.1, 10.0, 4)
    changed = np.stack([sign[i] * size[i] * delayed(learned[order[i]], -shift[i]) for i in range(4)])
    found = filter_error(atoms, changed, max_shift=10)
    np.testing.assert_allclose(found.error_db, filter_error(atoms, learned, max_shift=10).error_db)
    np.testing.assert_array_equal(order[found.match], plain.match)
    np.testing.assert_array_equal(found.sign, plain.sign * sign[found.match])
    np.testing.assert_array_equal(found.shift, plain.shift + shift[found.match])


@given(seed=seeds)
def test_no_other_pairing_has_a_smaller_error(seed):
    rng = np.random.default_rng(seed)
    atoms, learned = rng.standard_normal((3, 1, 6)), rng.standard_normal((3, 1, 6))
    found = filter_error(atoms, learned, max_shift=0)
    errors = np.array([[error_in_place(atom, other) for other in learned] for atom in atoms])
    pairings = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    assert found.error_db.sum() == pytest.approx(min(errors[range(3), pairing].sum() for pairing in pairings))
    assert sorted(found.match) == [0, 1, 2]


@given(seed=seeds)
def test_the_shift_is_the_best_of_all_allowed_ones(seed):
    rng = np.random.default_rng(seed)
    atom, other = rng.standard_normal((2, 2, 8))
    padded = np.pad(other, ((0, 0), (3, 3)))
    # What a shift moves out still counts in the norm.
    cosines = np.array([np.sum(atom * padded[:, 3 - shift : 11 - shift]) for shift in range(-3, 4)])
    cosines /= np.linalg.norm(atom) * np.linalg.norm(other)
    best = np.abs(cosines).argmax()
    found = filter_error(atom[None], other[None], max_shift=3)
    assert found.error_db[0] == pytest.approx(5 * np.log10(1 - cosines[best] ** 2))
    assert found.shift[0] == best - 3
    assert found.sign[0] == np.sign(cosines[best])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_atoms_have_a_finite_error_far_below_any_learned_one(dtype):
    atoms = simulate(num_windows=1).atoms.astype(dtype)
    found = filter_error(atoms, atoms)
    assert ((found.error_db >= -80) & (found.error_db < -70)).all()
    np.testing.assert_array_equal(found.match, np.arange(4))
    np.testing.assert_array_equal(found.shift, 0)


@pytest.mark.parametrize("filler", [np.zeros((0, 2, 20)), np.zeros((2, 2, 20))])
def test_true_atoms_without_a_learned_one_have_no_match_and_an_error_of_0_dB(filler):
    atoms = draw_compact_atoms(0)
    found = filter_error(atoms, np.concatenate([filler, atoms[[3, 1]]]))
    np.testing.assert_array_equal(found.match, [-1, len(filler) + 1, -1, len(filler)])
    np.testing.assert_array_equal(found.error_db[[0, 2]], 0)
    np.testing.assert_array_equal(found.sign, [0, 1, 0, 1])
    np.testing.assert_array_equal(found.shift, 0)


def test_surplus_learned_atoms_do_no_harm():
    atoms = draw_compact_atoms(0)
    found = filter_error(atoms[:2], atoms[::-1])
    np.testing.assert_array_equal(found.match, [3, 2])


@pytest.mark.parametrize(
    ("true_atoms", "learned_atoms", "changes", "message"),
    [
        (np.ones((1, 1, 4)), np.ones((1, 1, 5)), {}, r"learned_atoms has shape \(1, 1, 5\), true_atoms \(1, 1, 4\)"),
        (np.ones((1, 4)), np.ones((1, 1, 4)), {}, r"true_atoms has shape \(1, 4\): \(atom, channel, width\)"),
        (np.ones((1, 1, 4)), np.full((1, 1, 4), np.nan), {}, r"learned_atoms holds NaN or infinity"),
        (np.zeros((2, 1, 4)), np.ones((1, 1, 4)), {}, r"true_atoms: atoms \[0, 1\] are zero; remove them"),
        (np.ones((1, 1, 4)), np.ones((1, 1, 4)), {"max_shift": 4}, r"max_shift = 4: 0 <= max_shift < width = 4"),
        (np.ones((1, 1, 4)), np.ones((1, 1, 4)), {"max_shift": -1}, r"max_shift = -1: 0 <= max_shift < width = 4"),
    ],
)
def test_atoms_that_cannot_be_compared_are_refused(true_atoms, learned_atoms, changes, message):
    with pytest.raises(ValueError, match=message):
        filter_error(true_atoms, learned_atoms, **changes)
