"""Variational sparse coding: the objective, the networks, the steps, and the coder that puts them together."""

import copy
import math

import numpy as np
import pytest
import torch

from si_crsae.core.bases import Annealing, GaussianBase, SpikeAndSlab
from si_crsae.core.code_distribution import CodeDistribution, ShiftedThreshold, sparse_prior
from si_crsae.core.solvers.fista import fista_solve
from si_crsae.models.variational import coder as variational_coder
from si_crsae.models.variational.coder import EncodedWindows, VariationalSparseCoder
from si_crsae.models.variational.model import Objective, VariationalFitting, VariationalModel, VariationalTraining
from si_crsae.models.variational.networks import PerceptronEncoder, UnrolledEncoder

pytestmark = pytest.mark.usefixtures("seeded")
CPU = torch.device("cpu")
THRESHOLDED = CodeDistribution(threshold=ShiftedThreshold(level=0.25))
LEARNED = CodeDistribution(base=GaussianBase(), threshold=ShiftedThreshold(level=0.5, learned=True))
DISTRIBUTIONS = {
    "sparse": sparse_prior(),
    "Gaussian": CodeDistribution(base=GaussianBase()),
    "spike and slab": CodeDistribution(base=SpikeAndSlab()),
    "thresholded": THRESHOLDED,
    "learned": LEARNED,
}
distributions = pytest.mark.parametrize("distribution", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS.keys())
networks = pytest.mark.parametrize("network", ["unrolled", "perceptron"])


def some_model(device, distribution=THRESHOLDED, *, num_atoms=6, num_channels=5, network="perceptron"):
    atoms = torch.randn(num_atoms, num_channels, 1)
    if network == "perceptron":
        encoder = PerceptronEncoder(tuple(atoms.shape), distribution)
    else:
        encoder = UnrolledEncoder(atoms, distribution)
    return VariationalModel(atoms, encoder, distribution).to(device)


def by_hand(model, windows, *, num_samples, annealing, seed):
    """Return draws, squared errors of shape (sample, batch) and divergences of shape (batch,), for dense atoms."""
    torch.manual_seed(seed)
    heads = model.infer(windows)
    codes = model.distribution.codes(heads, model.distribution.noise(heads, num_samples), annealing)
    errors = windows[:, :, 0] - torch.einsum("jbk,kd->jbd", codes[..., 0], model.atoms[:, :, 0])
    return codes[..., 0], errors, errors.square().sum(dim=2), model.distribution.kl(heads).sum(dim=(1, 2))


COSTS = torch.tensor([[1.0, 5.0], [2.0, 1.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    ("combine", "expected"),
    [
        ("mean", [[1 / 3, 1 / 3]] * 3),
        ("max", [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]),
        ("importance", (np.exp(-COSTS.numpy()) / np.exp(-COSTS.numpy()).sum(axis=0)).tolist()),
    ],
)
def test_draws_count_as_their_combination_says(device, combine, expected):
    weights = Objective(combine=combine, num_samples=3).weights(COSTS.to(device, copy=True).requires_grad_())
    torch.testing.assert_close(weights, torch.tensor(expected, device=device))
    assert not weights.requires_grad


@distributions
def test_the_loss_of_one_draw_is_the_mean_squared_error_and_the_weighted_divergence(device, distribution):
    model, windows = some_model(device, distribution), torch.randn(40, 5, 1).to(device)
    objective = Objective(noise_variance=0.3, atom_penalty=0.01)
    trainer = VariationalTraining(model, objective, VariationalFitting(), num_steps=10)
    with torch.no_grad():
        _, _, squares, divergence = by_hand(model, windows, num_samples=1, annealing=Annealing(), seed=3)
        expected = (squares[0] / 5 + (2 * 0.3 / 5) * divergence).mean() + 2 * 0.01 * model.atoms.square().sum() / 5
    torch.manual_seed(3)
    assert trainer.loss(windows) == pytest.approx(float(expected), rel=1e-5)


@distributions
@pytest.mark.parametrize("combine", ["mean", "max", "importance"])
def test_the_loss_of_some_draws_is_their_mean_the_least_or_weighted_by_likelihood(device, distribution, combine):
    model, windows = some_model(device, distribution), torch.randn(40, 5, 1).to(device)
    objective = Objective(noise_variance=0.3, num_samples=4, combine=combine, atom_penalty=0.0)
    trainer = VariationalTraining(model, objective, VariationalFitting(), num_steps=10)
    with torch.no_grad():
        _, _, squares, divergence = by_hand(model, windows, num_samples=4, annealing=Annealing(), seed=3)
        losses = squares / 5 + 0.12 * divergence
    combined = {
        "mean": losses.mean(dim=0),
        "max": losses.min(dim=0).values,
        "importance": (torch.softmax(-squares / 0.6, dim=0) * losses).sum(dim=0),
    }
    torch.manual_seed(3)
    assert trainer.loss(windows) == pytest.approx(float(combined[combine].mean()), rel=1e-5)


def test_the_loss_does_not_depend_on_how_windows_are_split(device):
    # Without noise in the draws, more windows than one part holds.
    distribution = CodeDistribution(base=GaussianBase())
    model, windows = some_model(device, distribution, network="unrolled"), torch.randn(2300, 5, 1).to(device)
    for values in model.network.levels.values():
        values.data.fill_(-14.0)
    trainer = VariationalTraining(model, Objective(), VariationalFitting(), num_steps=10)
    parts = [trainer.loss(windows[:700]) * 700, trainer.loss(windows[700:]) * 1600]
    assert trainer.loss(windows) == pytest.approx(sum(parts) / 2300, rel=1e-4)


@distributions
@pytest.mark.parametrize(("combine", "num_samples"), [("mean", 1), ("mean", 3), ("max", 3), ("importance", 3)])
def test_atoms_move_along_the_correlation_of_residual_and_code(device, distribution, combine, num_samples):
    model, windows = some_model(device, distribution), torch.randn(30, 5, 1).to(device)
    rate, penalty, variance = 0.2, 0.05, 0.3
    objective = Objective(noise_variance=variance, num_samples=num_samples, combine=combine, atom_penalty=penalty)
    fitting = VariationalFitting(dictionary="fixed_code", dictionary_rate=rate, first_noise=0.4)
    trainer = VariationalTraining(model, objective, fitting, num_steps=10)
    first = copy.deepcopy(model)
    with torch.no_grad():
        annealing = Annealing(noise=0.4, temperature=1.0)
        codes, errors, squares, _ = by_hand(first, windows, num_samples=num_samples, annealing=annealing, seed=5)
        weights = objective.weights(squares / (2 * variance))
        change = torch.einsum("jb,jbk,jbd->kd", weights, codes, errors) / 30 - 2 * penalty * first.atoms[:, :, 0]
    torch.manual_seed(5)
    trainer.step(windows)
    torch.testing.assert_close(model.atoms[:, :, 0], first.atoms[:, :, 0] + rate * change, rtol=1e-4, atol=1e-5)
    moved = [a.ne(b).any() for a, b in zip(model.network.parameters(), first.network.parameters(), strict=True)]
    assert any(moved)


def test_atoms_of_signals_move_by_the_gradient_per_position(device):
    atoms, windows = torch.randn(3, 2, 4).to(device), torch.randn(20, 2, 11).to(device)
    model = VariationalModel(atoms, PerceptronEncoder((3, 2, 4), THRESHOLDED).to(device), THRESHOLDED)
    fitting = VariationalFitting(dictionary="fixed_code", dictionary_rate=0.2, first_noise=1.0)
    trainer = VariationalTraining(model, Objective(atom_penalty=0.05), fitting, num_steps=10)
    torch.manual_seed(5)
    with torch.no_grad():
        heads = model.infer(windows)
        codes = THRESHOLDED.codes(heads, THRESHOLDED.noise(heads, 1))[0]
    free = atoms.clone().requires_grad_()
    decoded = torch.nn.functional.conv_transpose1d(codes, free)
    cost = (windows - decoded).square().sum() / 2 / 20 + 0.05 * free.square().sum()
    (gradient,) = torch.autograd.grad(cost, free)
    torch.manual_seed(5)
    trainer.step(windows)
    torch.testing.assert_close(model.atoms.detach(), atoms - 0.2 / 8 * gradient, rtol=1e-4, atol=1e-5)


@distributions
def test_a_step_of_the_atoms_ends_at_the_least_squared_error_if_its_size_would_go_further(device, distribution):
    model, windows = some_model(device, distribution), torch.randn(30, 5, 1).to(device)
    fitting = VariationalFitting(dictionary="fixed_code", dictionary_rate=1e6, first_noise=1.0)
    trainer = VariationalTraining(model, Objective(atom_penalty=0.05, num_samples=3), fitting, num_steps=10)
    first = model.atoms.detach().clone()
    with torch.no_grad():
        annealing = Annealing(temperature=1.0)
        codes = by_hand(model, windows, num_samples=3, annealing=annealing, seed=5)[0]
    torch.manual_seed(5)
    trainer.step(windows)
    change = model.atoms.detach() - first

    def cost(share):
        atoms = (first + share * change)[:, :, 0].double()
        errors = windows[:, :, 0] - codes.double() @ atoms
        return float(errors.square().sum() / 2 / 90 + 0.05 * atoms.square().sum())

    assert change.any()
    assert cost(1.0) < min(cost(0.99), cost(1.01))


def test_annealing_ends_where_it_is_told_to(device):
    for warmup, noises in (((0.0, 0.0), [1.0, 1.0]), ((0.0, 0.5), [0.2, 1.0]), ((0.5, 2.5), [0.2, 0.2])):
        fitting = VariationalFitting(dictionary="fixed_code", warmup=warmup, first_noise=0.2, first_kl=1.0)
        model, windows = some_model(device, CodeDistribution(base=GaussianBase())), torch.randn(30, 5, 1).to(device)
        trainer = VariationalTraining(model, Objective(), fitting, num_steps=2)
        for noise in noises:
            with torch.no_grad():
                annealing = Annealing(noise=noise, temperature=1.0)
                squares = by_hand(model, windows, num_samples=1, annealing=annealing, seed=3)[2]
                nats = squares.mean() / (2 * 0.05) + model.distribution.kl(model.infer(windows)).sum() / 30
                expected = (nats + 1e-4 * model.atoms.square().sum() / 0.05) * 2 * 0.05 / 5
            torch.manual_seed(3)
            assert trainer.step(windows) == pytest.approx(float(expected), rel=1e-4)


def test_the_step_of_the_atoms_falls_to_a_twentieth(device):
    fitting = VariationalFitting(
        dictionary="fixed_code", learning_rate=1e-12, warmup=(0.0, 0.0), first_noise=1.0, dictionary_rate=1e-3
    )
    model, windows = some_model(device), torch.randn(30, 5, 1).to(device)
    trainer = VariationalTraining(model, Objective(), fitting, num_steps=10)
    sizes = []
    for _ in range(10):
        before = model.atoms.detach().clone()
        torch.manual_seed(1)
        trainer.step(windows)
        sizes.append(float((model.atoms.detach() - before).norm()))
    assert sizes[9] / sizes[0] == pytest.approx(0.05**0.9, rel=0.05)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(("dictionary", "moves"), [("fixed_code", True), ("backpropagation", True), ("given", False)])
def test_atoms_learn_as_they_are_told(device, dictionary, moves, optimizer):
    model, windows = some_model(device, network="unrolled"), torch.randn(30, 5, 1).to(device)
    before = model.atoms.detach().clone()
    fitting = VariationalFitting(dictionary=dictionary, optimizer=optimizer)
    VariationalTraining(model, Objective(), fitting, num_steps=10).step(windows)
    assert bool((model.atoms != before).any()) == moves


@pytest.mark.parametrize("first_steps", [0, 1])
@pytest.mark.parametrize("factor", [1e30, math.inf], ids=["overflow", "infinite"])
@pytest.mark.parametrize("dictionary", ["fixed_code", "backpropagation"])
def test_a_step_whose_gradient_is_not_finite_is_counted_and_left_out(device, dictionary, factor, first_steps):
    model, windows = some_model(device), torch.randn(30, 5, 1).to(device)
    trainer = VariationalTraining(model, Objective(), VariationalFitting(dictionary=dictionary), num_steps=10)
    for _ in range(first_steps):
        trainer.step(windows)
    before = copy.deepcopy(model.state_dict())
    trainer.step(windows * factor)
    assert trainer.num_skipped == 1
    for name, parameter in model.state_dict().items():
        torch.testing.assert_close(parameter, before[name], rtol=0, atol=0)
    trainer.step(windows)
    assert trainer.num_skipped == 1
    assert (model.atoms != before["atoms"]).any()


@pytest.mark.parametrize("num_steps", [1, 2, 18, 19, 20, 40])
def test_any_number_of_steps_can_be_made(device, num_steps):
    model, windows = some_model(device), torch.randn(10, 5, 1).to(device)
    trainer = VariationalTraining(model, Objective(), VariationalFitting(), num_steps=num_steps)
    assert all(math.isfinite(trainer.step(windows)) for _ in range(num_steps))


@distributions
def test_a_perceptron_of_vectors_is_one_of_windows_with_one_position(device, distribution):
    windows = torch.randn(7, 3, 4).to(device)
    of_windows = PerceptronEncoder((5, 3, 4), distribution).to(device)
    of_vectors = PerceptronEncoder((5, 12, 1), distribution).to(device)
    of_vectors.load_state_dict(of_windows.state_dict())
    found = of_windows(windows, torch.zeros(5, 3, 4, device=device))
    expected = of_vectors(windows.flatten(1)[:, :, None], torch.zeros(5, 12, 1, device=device))
    assert tuple(found) == distribution.heads
    for name in distribution.heads:
        assert found[name].shape == (7, 5, 1)
        torch.testing.assert_close(found[name], expected[name])


@distributions
@networks
def test_heads_shift_with_the_window(device, distribution, network):
    atoms = torch.randn(3, 2, 5).to(device)
    if network == "unrolled":
        encoder = UnrolledEncoder(atoms, distribution, num_iterations=4)
        encoder.filters.data += 0.1 * torch.randn(3, 2, 5).to(device)
    else:
        encoder = PerceptronEncoder((3, 2, 5), distribution).to(device)
    windows = torch.zeros(2, 2, 200, device=device)
    windows[:, :, 80:110] = 3 * torch.randn(2, 2, 30).to(device)
    heads, later = encoder(windows, atoms), encoder(windows.roll(7, dims=2), atoms)
    assert heads.keys() == set(distribution.heads)
    assert heads["shift"][:, :, 20:176].std() > 1e-4
    for name, head in heads.items():
        assert head.shape == (2, 3, 196)
        torch.testing.assert_close(later[name][:, :, 27:183], head[:, :, 20:176], rtol=1e-4, atol=1e-5)


def num_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_unrolled_network_has_one_dictionary_of_parameters_and_the_perceptron_twenty():
    size, num_atoms, num_heads = 64, 48, len(LEARNED.heads)
    unrolled = num_parameters(UnrolledEncoder(torch.randn(num_atoms, size, 1), LEARNED, num_iterations=8))
    assert unrolled == num_atoms * size + 8 + 8 * num_atoms + num_atoms + 2 * num_atoms * (num_heads - 1)
    perceptron = num_parameters(PerceptronEncoder((num_atoms, size, 1), LEARNED))
    assert perceptron == 20 * size**2 + 9 * size + num_heads * num_atoms * (size + 1)
    assert perceptron > 15 * unrolled


@pytest.mark.parametrize("num_iterations", [1, 7, 400])
@pytest.mark.parametrize("shape", [(6, 9, 1), (3, 2, 5)])
def test_with_the_atoms_as_filters_the_unrolled_shift_is_the_code_of_the_lasso(device, shape, num_iterations):
    norms = torch.linspace(0.5, 3.0, shape[0]).double()[:, None, None]
    atoms = (torch.randn(shape, dtype=torch.float64) * norms).to(device)
    windows = 3 * torch.randn(8, shape[1], 1 if shape[2] == 1 else 30, dtype=torch.float64).to(device)
    encoder = UnrolledEncoder(atoms, sparse_prior(), num_iterations=num_iterations)
    regularization = torch.linspace(0.3, 1.0, shape[0], device=device).double()
    encoder.log_thresholds.data[:] = regularization.log()
    norms = atoms.flatten(1).norm(dim=1)[:, None, None]
    torch.testing.assert_close(encoder.filters.detach(), atoms / norms)
    step_size = float(encoder.log_steps[0].detach().exp())
    with torch.no_grad():
        found = encoder(windows, atoms)["shift"] * norms[:, 0]
        same, converged = (
            fista_solve(windows, atoms / norms, regularization, num_iterations=number, step_size=step_size)
            for number in (num_iterations, 3000)
        )
    assert 0.1 < (converged != 0).double().mean() < 0.95
    torch.testing.assert_close(found, same, rtol=1e-8, atol=1e-8)
    if num_iterations == 400:
        torch.testing.assert_close(found, converged, rtol=0, atol=0.02)


def simulate(num_windows=600, *, num_sources=8, size=12, density=0.2, noise_sd=0.05, seed=0):
    rng = np.random.default_rng(seed)
    sources = (1 + rng.random((num_windows, num_sources))) * (rng.random((num_windows, num_sources)) < density)
    sources *= rng.choice([-1, 1], sources.shape)
    atoms = rng.normal(size=(num_sources, size))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    return sources @ atoms + noise_sd * rng.normal(size=(num_windows, size)), atoms


WINDOWS, ATOMS = simulate()
QUICK = VariationalFitting(num_epochs=2)


def some_coder(device=CPU, **parameters):
    return VariationalSparseCoder(**({"num_atoms": 8, "device": device.type} | parameters))


def untrained(device, **parameters):
    return some_coder(device, **parameters).fit(
        WINDOWS[:500], fitting=VariationalFitting(num_epochs=1, learning_rate=1e-12, dictionary="given")
    )


@pytest.fixture(scope="module")
def fitted(device):
    return some_coder(device).fit(
        WINDOWS[:500], fitting=VariationalFitting(num_epochs=30, batch_size=50, learning_rate=0.01)
    )


@pytest.fixture(scope="module")
def signals():
    rng = np.random.default_rng(0)
    return rng.normal(size=(30, 2, 24))


@pytest.fixture(scope="module")
def fitted_to_signals(device, signals):
    return some_coder(device, num_atoms=3, width=5).fit(signals, fitting=QUICK)


@pytest.mark.filterwarnings("ignore:every atom's posterior")
@distributions
@networks
def test_learning_makes_the_loss_smaller_and_the_bound_on_the_evidence_larger(device, distribution, network):
    fitting = VariationalFitting(num_epochs=8, batch_size=50)
    coder = some_coder(device, distribution=distribution, network=network).fit(WINDOWS[:500], fitting=fitting)
    losses = coder.history.validation_loss
    assert len(losses) == 9
    assert losses[coder.history.best_epoch] == min(losses) < losses[0]
    first = untrained(device, distribution=distribution, network=network)
    assert coder.score(WINDOWS[500:]) > first.score(WINDOWS[500:]) + 1


def similarity(coder):
    """Return the median cosine of true atoms with the found ones that are most like them."""
    found = coder.atoms() / np.linalg.norm(coder.atoms(), axis=1, keepdims=True)
    return np.median(np.abs(ATOMS @ found.T).max(axis=1))


def test_the_atoms_of_sparse_data_are_found(device, fitted):
    assert similarity(fitted) > max(similarity(untrained(device)) + 0.15, 0.8)
    held_out = WINDOWS[500:]
    error = np.square(held_out - fitted.reconstruct(held_out)).sum() / np.square(held_out).sum()
    assert error < 0.3
    assert fitted.encode(held_out).probability_active.mean() < 0.5


def test_the_same_seed_gives_the_same_result_and_leaves_the_generator_as_it_was(device):
    torch.manual_seed(11)
    state = torch.random.get_rng_state()
    first = some_coder(device).fit(WINDOWS, fitting=QUICK)
    torch.testing.assert_close(torch.random.get_rng_state(), state, rtol=0, atol=0)
    torch.manual_seed(12)
    second = some_coder(device).fit(WINDOWS, fitting=QUICK)
    other = some_coder(device).fit(WINDOWS, fitting=VariationalFitting(num_epochs=2, seed=1))
    np.testing.assert_array_equal(first.atoms(), second.atoms())
    assert not np.array_equal(first.atoms(), other.atoms())
    state = torch.random.get_rng_state()
    np.testing.assert_array_equal(
        first.encode(WINDOWS, num_samples=3).samples, second.encode(WINDOWS, num_samples=3).samples
    )
    assert not np.array_equal(first.encode(WINDOWS).samples, first.encode(WINDOWS, seed=1).samples)
    np.testing.assert_array_equal(first.elbo(WINDOWS), second.elbo(WINDOWS))
    assert first.statistics(WINDOWS) == second.statistics(WINDOWS)
    torch.testing.assert_close(torch.random.get_rng_state(), state, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:every atom's posterior")
@distributions
@networks
def test_what_was_saved_encodes_the_same(device, distribution, network, tmp_path):
    objective = Objective(noise_variance=0.2, num_samples=2, combine="max")
    coder = some_coder(device, distribution=distribution, network=network, objective=objective, depth=3)
    coder.fit(WINDOWS.reshape(-1, 3, 4), fitting=QUICK)
    coder.save(tmp_path / "coder.pt")
    loaded = VariationalSparseCoder.load(tmp_path / "coder.pt", device=device.type)
    assert loaded.distribution == coder.distribution
    assert loaded.objective == coder.objective
    assert (loaded.shape, loaded.scale, loaded.network, loaded.depth) == (coder.shape, coder.scale, network, 3)
    windows = WINDOWS.reshape(-1, 3, 4)
    for name in ("mean", "probability_active", "samples"):
        np.testing.assert_array_equal(getattr(loaded.encode(windows), name), getattr(coder.encode(windows), name))
    np.testing.assert_array_equal(loaded.elbo(windows), coder.elbo(windows))


def test_signals_and_settings_of_numpy_are_saved(device, tmp_path, signals):
    coder = some_coder(device, num_atoms=3, width=5, objective=Objective(noise_variance=np.float64(0.2)))
    coder.fit(signals, fitting=QUICK).save(tmp_path / "coder.pt")
    loaded = VariationalSparseCoder.load(tmp_path / "coder.pt", device=device.type)
    np.testing.assert_array_equal(loaded.encode(signals).mean, coder.encode(signals).mean)


def test_files_of_something_else_are_refused(tmp_path):
    (tmp_path / "text.pt").write_text("no model")
    with pytest.raises(ValueError, match=r"path = .*text.pt: torch cannot read it"):
        VariationalSparseCoder.load(tmp_path / "text.pt")
    torch.save({"state": {}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"path = .*other.pt: it holds no variational sparse coder"):
        VariationalSparseCoder.load(tmp_path / "other.pt")


@distributions
def test_codes_of_windows_have_an_axis_of_atoms(device, distribution):
    windows = WINDOWS.reshape(-1, 3, 4)
    coder = some_coder(device, distribution=distribution).fit(windows, fitting=QUICK)
    of_vectors = some_coder(device, distribution=distribution).fit(WINDOWS, fitting=QUICK)
    code, expected = coder.encode(windows[:20], num_samples=5), of_vectors.encode(WINDOWS[:20], num_samples=5)
    assert isinstance(code, EncodedWindows)
    assert (code.mean.shape, code.samples.shape) == ((20, 8), (5, 20, 8))
    for name in ("mean", "probability_active", "samples"):
        np.testing.assert_allclose(getattr(code, name), getattr(expected, name), atol=1e-5)
    assert set(code.parameters) == set(distribution.heads)
    for name, head in code.parameters.items():
        np.testing.assert_allclose(head, expected.parameters[name], atol=1e-5)
    np.testing.assert_allclose(coder.atoms(), of_vectors.atoms().reshape(8, 3, 4), atol=1e-5)
    reconstructed = of_vectors.reconstruct(WINDOWS[:20]).reshape(20, 3, 4)
    np.testing.assert_allclose(coder.reconstruct(windows[:20]), reconstructed, atol=1e-5)
    np.testing.assert_allclose(coder.elbo(windows[:20]), of_vectors.elbo(WINDOWS[:20]), rtol=1e-4)
    assert ((code.probability_active >= 0) & (code.probability_active <= 1 + 1e-6)).all()


def test_codes_of_signals_have_an_axis_of_shifts(fitted_to_signals, signals):
    code, atoms = fitted_to_signals.encode(signals, num_samples=500), fitted_to_signals.atoms()
    assert (code.mean.shape, atoms.shape) == ((30, 3, 20), (3, 2, 5))
    # No draw may show how a coefficient scatters that is hardly ever there, or hardly ever not.
    probability = code.probability_active.clip(1e-9, 1.0)
    scatter = np.maximum(code.samples.std(axis=0), np.abs(code.mean) * np.sqrt(1 / probability - 1))
    assert (np.abs(code.samples.mean(axis=0) - code.mean) < 6 * scatter / math.sqrt(500) + 1e-6).all()
    for windows in (signals, signals[:4, :, :9]):
        means = fitted_to_signals.encode(windows).mean
        expected = [[sum(map(np.convolve, mean, atoms[:, channel])) for channel in range(2)] for mean in means]
        np.testing.assert_allclose(fitted_to_signals.reconstruct(windows), expected, atol=1e-5)


def test_the_reconstruction_is_what_atoms_and_means_make(fitted):
    expected = fitted.encode(WINDOWS).mean @ fitted.atoms()
    np.testing.assert_allclose(fitted.reconstruct(WINDOWS), expected, atol=1e-4)


def test_the_bound_is_likelihood_minus_divergence_in_the_unit_of_the_data(fitted):
    code = fitted.encode(WINDOWS, num_samples=7, seed=3)
    variance = fitted.objective.noise_variance * fitted.scale**2
    squares = np.square(WINDOWS - code.samples @ fitted.atoms()).sum(axis=2).mean(axis=0)
    heads = {name: torch.as_tensor(head)[:, :, None] for name, head in code.parameters.items()}
    divergence = fitted.distribution.kl(heads).sum(dim=(1, 2)).numpy()
    expected = -squares / (2 * variance) - 6 * math.log(2 * math.pi * variance) - divergence
    np.testing.assert_allclose(fitted.elbo(WINDOWS, num_samples=7, seed=3), expected, rtol=1e-3, atol=1e-3)
    assert fitted.score(WINDOWS) == pytest.approx(fitted.elbo(WINDOWS).mean(), rel=1e-5)


@pytest.mark.parametrize("factor", [2.0**-70, 0.125, 2.0**70])
def test_the_unit_of_the_data_moves_the_bound_by_its_logarithm_alone(device, factor):
    plain, scaled = (some_coder(device).fit(WINDOWS * unit, fitting=QUICK) for unit in (1.0, factor))
    np.testing.assert_allclose(scaled.encode(WINDOWS * factor).mean, plain.encode(WINDOWS).mean, atol=1e-5)
    np.testing.assert_allclose(scaled.atoms(), plain.atoms() * factor, rtol=1e-4)
    change = scaled.elbo(WINDOWS * factor) - plain.elbo(WINDOWS)
    np.testing.assert_allclose(change, -12 * math.log(factor), rtol=1e-3, atol=1e-2)


def test_the_same_kind_of_array_comes_back(device, fitted):
    as_numpy, as_torch = WINDOWS[:9], torch.as_tensor(WINDOWS[:9], device=device)
    for given, kind in ((as_numpy, np.ndarray), (as_torch, torch.Tensor), (as_numpy.tolist(), np.ndarray)):
        code = fitted.encode(given)
        results = [code.mean, code.probability_active, code.samples, *code.parameters.values()]
        results += [fitted.reconstruct(given), fitted.elbo(given)]
        assert all(isinstance(result, kind) for result in results)
        assert isinstance(fitted.score(given), float)
    np.testing.assert_array_equal(fitted.encode(as_torch).mean.cpu().numpy(), fitted.encode(as_numpy).mean)


def test_windows_that_carry_gradients_can_be_learned_from(device, fitted):
    windows = torch.as_tensor(WINDOWS, dtype=torch.float32, device=device)
    found = some_coder(device).fit(windows.clone().requires_grad_(), fitting=QUICK)
    np.testing.assert_array_equal(found.atoms(), some_coder(device).fit(windows, fitting=QUICK).atoms())
    assert not fitted.encode(windows.requires_grad_()).mean.requires_grad


def test_initial_atoms_are_where_learning_starts(device):
    given = VariationalFitting(num_epochs=1, dictionary="given")
    coder = some_coder(device).fit(WINDOWS, initial_atoms=3 * ATOMS, fitting=given)
    np.testing.assert_allclose(coder.atoms(), 3 * ATOMS, rtol=1e-5)
    first = some_coder(device).fit(
        WINDOWS, fitting=VariationalFitting(num_epochs=1, dictionary="given", initial_norm=4.0)
    )
    np.testing.assert_allclose(np.linalg.norm(first.atoms(), axis=1), 4.0 * first.scale, rtol=1e-5)


def test_what_was_learned_is_not_changed_through_its_copies(fitted):
    before = fitted.atoms()
    fitted.atoms()[:] = 0
    np.testing.assert_array_equal(fitted.atoms(), before)


def test_a_collapsed_fit_warns(device):
    coder = some_coder(device, objective=Objective(noise_variance=1e4))
    fitting = VariationalFitting(num_epochs=4, batch_size=50, learning_rate=0.5)
    with pytest.warns(RuntimeWarning, match=r"every atom's posterior collapsed to its prior"):
        coder.fit(WINDOWS, fitting=fitting)
    assert coder.statistics(WINDOWS).posterior_collapse == 1


def test_fitting_goes_on_when_gradients_are_not_finite_and_says_so(device):
    fitting = VariationalFitting(num_epochs=3, dictionary="fixed_code", learning_rate=1e30)
    with pytest.warns(RuntimeWarning, match=r"of 18 steps had a gradient that is not finite and were left out"):
        coder = some_coder(device).fit(WINDOWS, fitting=fitting)
    assert np.isfinite(coder.atoms()).all()
    assert np.isfinite(coder.elbo(WINDOWS)).all()


def test_one_step_is_skipped_and_the_others_are_made(device, monkeypatch):
    class Stumbling(VariationalTraining):
        def step(self, windows):
            return super().step(windows * (math.inf if self._step == 3 else 1.0))

    monkeypatch.setattr(variational_coder, "VariationalTraining", Stumbling)
    with pytest.warns(RuntimeWarning, match=r"1 of 12 steps had a gradient that is not finite"):
        coder = some_coder(device).fit(WINDOWS, fitting=QUICK)
    assert coder.history.best_epoch == 2


def with_a_nan(values):
    values = np.array(values)
    values[0, 0] = math.nan
    return values


BAD = {
    "NaN": (with_a_nan(WINDOWS), r"observed has 1 NaN or infinite values"),
    "infinite": (np.full((5, 12), math.inf), r"observed has 60 NaN or infinite values"),
    "complex": (WINDOWS * 1j, r"observed is complex"),
    "text": (np.full((5, 12), "a"), r"observed"),
    "one axis": (WINDOWS[0], r"observed has shape \(12,\)"),
    "empty": (WINDOWS[:0], r"observed has shape \(0, 12\)"),
}
bad = pytest.mark.parametrize(("observed", "message"), BAD.values(), ids=BAD.keys())


@bad
def test_windows_that_are_no_numbers_are_refused(observed, message, fitted):
    with pytest.raises(ValueError, match=message):
        fitted.encode(observed)
    coder = some_coder()
    with pytest.raises(ValueError, match=message):
        coder.fit(observed)
    assert coder.model is None


@pytest.mark.parametrize(
    "observed",
    [np.ones((50, 12)), np.zeros((50, 12)), WINDOWS[:1], np.tile(WINDOWS[:1], (50, 1))],
    ids=["constant", "zero", "one window", "the same window"],
)
def test_windows_with_nothing_to_learn_are_refused_and_nothing_is_lost(observed):
    coder = some_coder().fit(WINDOWS, fitting=QUICK)
    before = coder.atoms()
    with pytest.raises(ValueError, match=r"observed has \d+ windows .*: there must be at least two that differ"):
        coder.fit(observed)
    np.testing.assert_array_equal(coder.atoms(), before)


def test_windows_unlike_those_of_fit_are_refused(fitted, fitted_to_signals, signals):
    with pytest.raises(ValueError, match=r"observed has shape \(5, 11\): it must be \(batch, \.\.\.\) as in fit"):
        fitted.encode(WINDOWS[:5, :11])
    with pytest.raises(ValueError, match=r"observed has shape \(30, 1, 24\)"):
        fitted_to_signals.encode(signals[:, :1])
    with pytest.raises(ValueError, match=r"observed has shape \(600, 12\): it must be \(batch, channel, sample\)"):
        fitted_to_signals.encode(WINDOWS)
    with pytest.raises(ValueError, match=r"a window must be at least as long as the atoms"):
        fitted_to_signals.encode(signals[:, :, :4])
    for call in (some_coder().encode, some_coder().score, some_coder().reconstruct):
        with pytest.raises(ValueError, match=r"nothing has been learned yet: call fit"):
            call(WINDOWS)
    for call in (fitted.encode, fitted.elbo):
        with pytest.raises(ValueError, match=r"num_samples = 0: it must be at least 1"):
            call(WINDOWS, num_samples=0)


@pytest.mark.parametrize("atoms", [np.ones((7, 12)), np.full((8, 12), math.nan), np.zeros((8, 12))])
def test_initial_atoms_that_do_not_fit_are_refused(atoms):
    with pytest.raises(ValueError, match=r"initial_atoms has"):
        some_coder().fit(WINDOWS, initial_atoms=atoms)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: some_coder(num_atoms=0), r"num_atoms = 0: it must be at least 1"),
        (lambda: some_coder(depth=0), r"depth = 0: it must be at least 1"),
        (lambda: some_coder(width=0), r"width = 0: it must be at least 1, or None"),
        (lambda: some_coder(network="magic"), r"network = 'magic': it must be one of unrolled, perceptron"),
        (
            lambda: VariationalSparseCoder(num_atoms=8, device="tpu"),
            r"device = 'tpu': it must be one of auto, cpu, cuda",
        ),
        (lambda: Objective(noise_variance=0.0), r"noise_variance = 0.0: it must be positive"),
        (lambda: Objective(noise_variance=math.nan), r"noise_variance = nan: it must be positive"),
        (lambda: Objective(num_samples=0), r"num_samples = 0: it must be at least 1"),
        (lambda: Objective(combine="rejection"), r"combine = 'rejection': it must be one of mean, max, importance"),
        (lambda: Objective(atom_penalty=-1.0), r"atom_penalty = -1.0: it must be at least 0"),
        (lambda: Objective(atom_penalty=math.inf), r"atom_penalty = inf: it must be at least 0 and finite"),
        (lambda: VariationalFitting(num_epochs=0), r"num_epochs = 0: it must be at least 1"),
        (lambda: VariationalFitting(batch_size=0), r"batch_size = 0: it must be at least 1"),
        (lambda: VariationalFitting(optimizer="lbfgs"), r"optimizer = 'lbfgs': it must be one of adam, sgd"),
        (lambda: VariationalFitting(dictionary="none"), r"dictionary = 'none': it must be one of"),
        (lambda: VariationalFitting(learning_rate=0.0), r"learning_rate = 0.0: it must be positive"),
        (lambda: VariationalFitting(learning_rate=math.inf), r"learning_rate = inf: it must be positive"),
        (lambda: VariationalFitting(dictionary_rate=-1.0), r"dictionary_rate = -1.0: it must be positive"),
        (lambda: VariationalFitting(initial_norm=0.0), r"initial_norm = 0.0: it must be positive"),
        (lambda: VariationalFitting(warmup=(0.5, 0.2)), r"warmup = \(0.5, 0.2\)"),
        (lambda: VariationalFitting(warmup=(0.5, math.inf)), r"warmup = inf: it must be at least 0 and finite"),
        (lambda: VariationalFitting(first_noise=1.5), r"first_noise = 1.5: it must be from 0 to 1"),
        (lambda: VariationalFitting(first_kl=-0.1), r"first_kl = -0.1: it must be from 0 to 1"),
        (lambda: UnrolledEncoder(torch.eye(3)[:, :, None], THRESHOLDED, num_iterations=0), r"num_iterations = 0"),
        (lambda: sparse_prior(-1.0), r"noise_variance = -1.0: it must be positive"),
        (lambda: sparse_prior(shrinkage=0.0), r"shrinkage = 0.0: it must be positive"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
