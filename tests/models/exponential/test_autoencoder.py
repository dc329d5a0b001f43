"""The exponential-family auto-encoder: what it learns, under every likelihood and prior, tied and untied."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawing import draw_on

from si_crsae.core import (
    Binomial,
    Gaussian,
    GroupSparse,
    NegativeBinomial,
    OnSupport,
    Placement,
    Poisson,
    Ridge,
    Simplex,
    Sparse,
    TwoSidedGaussian,
)
from si_crsae.evaluation.atoms import filter_error
from si_crsae.models.exponential.autoencoder import (
    ExponentialAutoencoder,
    LikelihoodTraining,
    NetworkTraining,
    Unrolling,
    Windows,
)
from si_crsae.models.exponential.denoiser import Denoiser, Fitting

FAMILIES = {
    "gaussian": (Gaussian(noise_sd=0.3), 0.0),
    "binomial": (Binomial(num_trials=30), -1.0),
    "poisson": (Poisson(), 1.0),
    "negative_binomial": (NegativeBinomial(shape=5.0), 1.5),
}
families = pytest.mark.parametrize("family", FAMILIES)


def true_atoms(device):
    time = torch.arange(15, device=device) - 7.0
    shapes = torch.stack([torch.exp(-0.5 * (time / 1.2) ** 2), (time > -6) * torch.exp(-(time + 5) / 4)])
    return torch.nn.functional.normalize(shapes)[:, None]


def simulate(device, family, *, num_windows=120, num_samples=100, seed=0):
    """Return observations of sparse events of two atoms, their means and the baseline."""
    likelihood, resting = FAMILIES[family]
    generator = torch.Generator().manual_seed(seed)
    code = torch.rand(num_windows, 2, num_samples - 14, generator=generator).to(device)
    code = torch.where(code > 0.992, 2.5 + 100 * (code - 0.992), 0.0)
    natural = torch.nn.functional.conv_transpose1d(code, true_atoms(device)) + resting
    observed = likelihood.sample(natural.cpu(), generator).to(device)
    return observed, likelihood.mean(natural), torch.full((1, 1, 1), resting, device=device)


def denoiser_for(device, family, **changes):
    unrolling = Unrolling(num_iterations=40, placement=Placement(), **changes)
    return Denoiser(
        likelihood=FAMILIES[family][0],
        width=15,
        num_atoms=2,
        prior=Sparse(regularization=torch.full((2,), 3.0), nonnegative=True),
        unrolling=unrolling,
        device=device.type,
    )


def errors_of(atoms):
    """Return the error of Eq. 26 of each atom, in dB."""
    unit = torch.nn.functional.normalize(atoms.detach().flatten(1)).view_as(atoms)
    return filter_error(true_atoms("cpu").numpy(), unit.cpu().numpy()).error_db


@families
def test_atoms_are_learned_from_observations_alone(device, family):
    observed, means, baseline = simulate(device, family)
    start = true_atoms(device) + 0.2 * draw_on(device, 1, dtype=torch.float32)(2, 1, 15)
    fitting = Fitting(num_epochs=10, batch_size=20, learning_rate=0.02)
    denoiser = denoiser_for(device, family).fit(observed, baseline=baseline, initial_atoms=start, fitting=fitting)
    before, after = errors_of(start), errors_of(denoiser.model.atoms)
    assert (after < before - 3).all(), (before, after)
    assert denoiser.history.validation_loss[denoiser.history.best_epoch] < denoiser.history.validation_loss[0]
    raw = (observed - means).square().mean()
    assert (denoiser.denoise(observed, baseline=baseline) - means).square().mean() < 0.5 * raw


@families
@pytest.mark.parametrize("tied", [True, False])
def test_learning_from_clean_targets_lowers_the_error_and_learns_the_thresholds(device, family, tied):
    observed, means, baseline = simulate(device, family, num_windows=60)
    denoiser = denoiser_for(device, family, tied=tied)
    denoiser.unrolling = replace(denoiser.unrolling, num_iterations=6)
    fitting = Fitting(num_epochs=12, batch_size=15, learning_rate=0.02)
    denoiser.fit(observed, means, baseline=baseline, fitting=fitting)
    losses = denoiser.history.validation_loss
    assert min(losses) < 0.8 * losses[0]
    assert not torch.equal(denoiser.model.prior.regularization, torch.full((2,), 3.0, device=device))
    assert (denoiser.model.prior.regularization >= 0).all()
    assert sum(parameter.numel() for parameter in denoiser.model.parameters()) == (32 if tied else 92)


@pytest.mark.parametrize(
    "prior",
    [
        None,
        Ridge(variance=torch.ones(4)),
        Sparse(regularization=torch.ones(4), nonnegative=True),
        TwoSidedGaussian(positive_variance=torch.ones(4), negative_variance=torch.ones(4) / 2),
        GroupSparse(regularization=torch.ones(2), group_size=2),
        Simplex(),
        OnSupport(prior=Ridge(variance=torch.ones(4)), support=torch.tensor(True)),
    ],
    ids=lambda prior: type(prior).__name__,
)
@families
@pytest.mark.parametrize("width", [5, (3, 4)], ids=["1d", "2d"])
def test_every_prior_works_with_every_family_in_time_and_in_images(device, prior, family, width, tmp_path):
    likelihood, _ = FAMILIES[family]
    shape = (4, 2, 20) if width == 5 else (4, 2, 12, 10)
    generator = torch.Generator().manual_seed(0)
    observed = likelihood.sample(torch.zeros(shape), generator).numpy()
    unrolling = Unrolling(num_iterations=4, placement=Placement(stride=2, overhang=True))
    denoiser = Denoiser(
        likelihood=likelihood, width=width, num_atoms=4, prior=prior, unrolling=unrolling, device=device.type
    )
    fitting = Fitting(num_epochs=1, batch_size=2)
    denoiser.fit(observed, fitting=fitting)
    denoised = denoiser.denoise(observed)
    assert isinstance(denoised, np.ndarray)
    single, double = (
        denoiser.denoise(observed.astype(dtype), baseline=np.full(observed.shape[-1], 0.5))
        for dtype in (np.float32, np.float64)
    )
    np.testing.assert_allclose(single, double, rtol=1e-3, atol=1e-4)
    assert denoised.shape == observed.shape
    assert np.isfinite(denoised).all()
    assert np.isfinite(denoiser.score(observed))
    denoiser.save(tmp_path / "denoiser.pt")
    again = Denoiser.load(tmp_path / "denoiser.pt", device=device.type)
    np.testing.assert_array_equal(again.denoise(observed), denoised)
    np.testing.assert_array_equal(again.encode(observed), denoiser.encode(observed))


def test_the_gradient_at_a_fixed_code_is_that_of_the_whole_objective(device):
    observed, _, baseline = simulate(device, "poisson", num_windows=6)
    prior = Sparse(regularization=torch.full((2,), 1.5, dtype=torch.float64, device=device), nonnegative=True)
    start = true_atoms(device).double() + 0.2 * draw_on(device, 1)(2, 1, 15)
    unrolling = Unrolling(num_iterations=2000, placement=Placement())
    model = ExponentialAutoencoder(start, Poisson(), prior, unrolling=unrolling)
    observed, baseline = observed.double(), baseline.double()
    with torch.no_grad():
        code = model.encode(observed, baseline=baseline)
    loss = model.objective(code, observed, baseline=baseline).sum()
    (gradient,) = torch.autograd.grad(loss, model.atoms)
    direction = draw_on(device, 2)(2, 1, 15)

    def lowest(step):
        with torch.no_grad():
            moved = ExponentialAutoencoder(start, Poisson(), prior, unrolling=unrolling)
            moved.atoms.copy_(model.atoms + step * direction)
            return moved.objective(moved.encode(observed, baseline=baseline), observed, baseline=baseline).sum()

    numerical = (lowest(1e-4) - lowest(-1e-4)) / 2e-4
    torch.testing.assert_close((gradient * direction).sum(), numerical, rtol=1e-3, atol=1e-3)


def test_a_code_with_known_event_times_is_zero_elsewhere(device):
    observed, _, _ = simulate(device, "poisson", num_windows=3)
    prior = Ridge(variance=torch.ones(2, device=device))
    model = ExponentialAutoencoder(true_atoms(device), Poisson(), prior, unrolling=Unrolling(placement=Placement()))
    support = torch.zeros(86, dtype=torch.bool, device=device)
    support[40] = True
    code = model.encode(observed, support=support)
    assert code[..., 40].all()
    assert code.count_nonzero() == 6


def test_a_unit_that_never_fired_gets_half_a_spike_and_an_empty_code(device):
    prior = Sparse(regularization=torch.full((2,), 1.5, device=device))
    for likelihood in (Poisson(), NegativeBinomial(shape=2.0), Binomial(num_trials=5)):
        model = ExponentialAutoencoder(true_atoms(device), likelihood, prior)
        silent = torch.zeros(1, 1, 50, device=device)
        torch.testing.assert_close(model.denoise(silent), torch.full((1, 1, 50), 0.01, device=device))
        assert not model.encode(silent).any()


def test_in_units_of_the_noise_the_code_of_pure_noise_is_as_dense_at_any_rate(device):
    atoms, prior = true_atoms(device), Sparse(regularization=torch.full((2,), 2.0, device=device))
    model = ExponentialAutoencoder(atoms, Poisson(), prior)
    generator = torch.Generator().manual_seed(0)
    dim, bright = (torch.poisson(torch.full((200, 1, 100), rate), generator).to(device) for rate in (3.0, 300.0))
    density = [float((model.encode(counts) != 0).float().mean()) for counts in (dim, bright)]
    assert density[0] == pytest.approx(density[1], rel=0.35)
    natural_units = ExponentialAutoencoder(atoms, Poisson(), prior, unrolling=Unrolling(noise_units=False))
    raw = [float((natural_units.encode(counts) != 0).float().mean()) for counts in (dim, bright)]
    assert raw[1] > 2 * raw[0]


def test_windows_are_unstacked_as_they_were_stacked(device):
    parts = torch.arange(2 * 6 * 3.0, device=device).view(2, 6, 3).split(2, dim=1)
    windows = Windows(observed=parts[0], baseline=parts[1], targets=parts[2])
    again = Windows.of(windows.stacked(), num_channels=2)
    assert all(torch.equal(a, b) for a, b in zip(parts, (again.observed, again.baseline, again.targets), strict=True))


def test_without_targets_the_network_learns_atoms_by_the_likelihood_and_leaves_the_prior(device):
    observed, _, baseline = simulate(device, "poisson", num_windows=20)
    prior = Sparse(regularization=torch.full((2,), 1.5, device=device))
    windows = Windows(observed=observed, baseline=baseline.expand_as(observed)).stacked()
    start = true_atoms(device) + 0.2 * draw_on(device, 1, dtype=torch.float32)(2, 1, 15)
    for kind, tied in ((NetworkTraining, False), (NetworkTraining, True), (LikelihoodTraining, True)):
        unrolling = Unrolling(tied=tied, num_iterations=40, placement=Placement())
        model = ExponentialAutoencoder(start, Poisson(), prior, unrolling=unrolling)
        trainer = kind(model, learning_rate=0.01)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        first = trainer.loss(windows)
        for _ in range(5):
            trainer.step(windows)
        assert trainer.loss(windows) < first
        after = model.state_dict()
        assert torch.equal(before["prior_parameters.regularization"], after["prior_parameters.regularization"])
        assert not torch.equal(before["atoms"], after["atoms"])


@pytest.mark.parametrize(
    ("changes", "values", "message"),
    [
        ({}, -np.ones((2, 1, 20)), r"values down to -1: counts are zero or more"),
        ({}, np.full((2, 1, 20), 0.5), r"fractional values"),
        ({}, np.full((2, 1, 20), np.nan), r"NaN or infinite"),
        ({}, np.ones((2, 20)), r"observed has shape \(2, 20\): it must have 3 axes, \(batch, channel, sample\)"),
        ({}, np.ones((0, 1, 20)), r"observed has shape \(0, 1, 20\): it must not be empty"),
        ({}, np.ones((2, 1, 4)), r"at least width = 5 long"),
        ({"likelihood": Binomial(num_trials=3)}, np.full((2, 1, 20), 4), r"counts up to 4: with num_trials = 3"),
        (
            {"prior": Ridge(variance=torch.ones(7))},
            np.ones((2, 1, 20)),
            r"variance has shape \(7,\); with num_atoms = 4",
        ),
    ],
)
def test_bad_observations_are_refused_and_nothing_is_lost(changes, values, message):
    settings = {"likelihood": Poisson(), "width": 5, "num_atoms": 4, "device": "cpu"} | changes
    denoiser = Denoiser(**settings)
    with pytest.raises(ValueError, match=message):
        denoiser.fit(values)
    assert denoiser.model is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_atoms": 0}, r"num_atoms = 0: it must be at least 1"),
        ({"width": 0}, r"width = 0: it must be one or two numbers"),
        ({"device": "tpu"}, r"device = 'tpu': it must be one of auto, cpu, cuda"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Denoiser(**({"likelihood": Poisson(), "width": 5} | changes))


def test_what_has_not_learned_or_was_not_saved_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"nothing has been learned yet: call fit"):
        Denoiser(likelihood=Poisson(), width=5).denoise(np.ones((1, 1, 20)))
    torch.save({"a": 1}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"holds no denoiser"):
        Denoiser.load(tmp_path / "other.pt")
    denoiser = Denoiser(likelihood=Poisson(), width=5, num_atoms=2, device="cpu")
    denoiser.fit(np.ones((4, 1, 20)), fitting=Fitting(num_epochs=1))
    with pytest.raises(ValueError, match=r"baseline has shape \(7,\): it must broadcast"):
        denoiser.denoise(np.ones((1, 1, 20)), baseline=np.ones(7))
    with pytest.raises(ValueError, match=r"observed has 2 channels: the denoiser has learned from 1"):
        denoiser.denoise(np.ones((1, 2, 20)))
    denoiser.fit(np.ones((4, 2, 20)), fitting=Fitting(num_epochs=1))
    assert denoiser.denoise(np.ones((1, 2, 20))).shape == (1, 2, 20)
    with pytest.raises(ValueError, match=r"targets has shape"):
        denoiser.fit(np.ones((4, 1, 20)), np.ones((4, 1, 19)))
