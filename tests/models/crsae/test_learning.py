"""Claims about training CRsAE, on small simulations of the paper's kind."""

import math

import numpy as np
import pytest
import torch
from drawing import draw_on

from si_crsae.core import objective
from si_crsae.core.solvers.windows import solve_windows
from si_crsae.evaluation import filter_error, perturb_atoms, simulate_windows
from si_crsae.models import (
    Backpropagation,
    Crsae,
    ExpectationMaximization,
    Lcsc,
    RatePrior,
    ReconstructionTraining,
    choose_batch_size,
    flip_and_rotate,
    initialize_atoms,
    learning_rate_range_test,
    train,
)
from si_crsae.models.atoms import on_tangent
from si_crsae.models.crsae.learning import rate_loss

FIRST_REGULARIZATION = 0.35


@pytest.fixture(scope="module")
def simulated():
    return simulate_windows(16.0, num_windows=700, seed=1)


@pytest.fixture(scope="module")
def traces(device, simulated):
    return torch.from_numpy(simulated.traces).to(device)


@pytest.fixture
def make_model(device, simulated):
    first_atoms = torch.from_numpy(perturb_atoms(simulated.atoms, seed=1)).to(device)

    def make(*, num_iterations=60, per_atom=False, nonnegative=False):
        rate = torch.full((4,) if per_atom else (), first_rate(simulated), device=device)
        return Crsae(
            first_atoms, rate, noise_sd=simulated.noise_sd, num_iterations=num_iterations, nonnegative=nonnegative
        )

    return make


def first_rate(simulated):
    return math.sqrt(2 * math.log(4 * 983)) / simulated.noise_sd


def prior_of(simulated):
    return RatePrior.around(first_rate(simulated))


def errors_of(simulated, model):
    return filter_error(simulated.atoms, model.atoms.detach().cpu().numpy()).error_db


def test_the_closed_form_finds_all_atoms_and_its_lambda_settles_a_little_above_its_start(simulated, traces, make_model):
    model = make_model()
    trainer = ExpectationMaximization(model, prior_of(simulated), first_regularization=FIRST_REGULARIZATION)
    history = train(trainer, traces[:600], traces[600:], num_epochs=5, batch_size=150)
    assert errors_of(simulated, model).max() < -14
    rates = [float(parameters["rate"]) / first_rate(simulated) for parameters in history.parameters]
    assert 1.0 < rates[-1] < 1.2
    assert abs(rates[-1] - rates[-2]) < 0.01


def test_the_closed_form_never_raises_its_loss_at_a_fixed_level(simulated, traces, make_model):
    model = make_model()
    trainer = ExpectationMaximization(model, prior_of(simulated))
    losses = [trainer.step(traces[:300]) for _ in range(6)]
    # Scaling the least-squares atoms to norm 1 may cost a little of what the update gains.
    assert np.all(np.diff(losses) < 1e-4 * abs(losses[0]))


@pytest.mark.parametrize("per_atom", [False, True])
def test_at_the_closed_form_rate_the_loss_of_the_rate_is_flat(simulated, traces, make_model, per_atom):
    model = make_model(per_atom=per_atom)
    trainer = ExpectationMaximization(model, prior_of(simulated))
    before = model.atoms.detach().clone()
    level = model.regularization.detach()
    code = solve_windows(traces[:100], before, level, tolerance=0.05 * float(level.min()))
    trainer.step(traces[:100])
    (slope,) = torch.autograd.grad(rate_loss(model, code, prior_of(simulated)), model.rate)
    assert model.rate.shape == ((4,) if per_atom else ())
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=2e-4 * 4 * 983 / first_rate(simulated), rtol=0)


def test_back_propagation_with_the_code_held_fixed_nears_the_atoms_faster_than_unrolled(simulated, traces, make_model):
    worst = {}
    for gradient in ("fixed-code", "unrolled"):
        model = make_model()
        trainer = Backpropagation(
            model,
            prior_of(simulated),
            atom_learning_rate=0.03,
            rate_learning_rate=3.0,
            atom_gradient=gradient,
        )
        train(trainer, traces[:600], traces[600:], num_epochs=3, batch_size=75)
        worst[gradient] = errors_of(simulated, model).max()
    assert worst["fixed-code"] < min(worst["unrolled"], -7.0)


def test_back_propagation_keeps_atoms_on_the_sphere_and_lambda_positive(device, simulated, traces, make_model):
    model = make_model(num_iterations=20)
    trainer = Backpropagation(model, prior_of(simulated), atom_learning_rate=0.1, rate_learning_rate=1e4)
    for _ in range(3):
        trainer.step(traces[:20])
    torch.testing.assert_close(model.atoms.detach().flatten(1).norm(dim=1), torch.ones(4, device=device))
    assert float(model.rate.detach()) > 0


def test_the_tangent_part_of_a_gradient_is_orthogonal_to_the_atoms(device):
    draw = draw_on(device, 0, dtype=torch.float32)
    atoms = torch.nn.functional.normalize(draw(3, 2, 5).flatten(1)).view(3, 2, 5)
    tangent = on_tangent(draw(3, 2, 5), atoms)
    torch.testing.assert_close((tangent * atoms).sum(dim=(1, 2)), torch.zeros(3, device=device), atol=1e-6, rtol=0)
    torch.testing.assert_close(on_tangent(tangent, atoms), tangent)


def test_training_ends_with_the_epoch_of_least_validation_loss(simulated, traces, make_model):
    model = make_model(num_iterations=20)
    trainer = Backpropagation(model, prior_of(simulated), atom_learning_rate=3.0, rate_learning_rate=1.0)
    history = train(trainer, traces[:60], traces[600:620], num_epochs=3, batch_size=30)
    assert history.best_epoch == int(np.argmin(history.validation_loss))
    torch.testing.assert_close(model.state_dict()["atoms"], history.parameters[history.best_epoch]["atoms"])
    assert trainer.loss(traces[600:620]) == pytest.approx(min(history.validation_loss), rel=1e-5)


def test_the_same_seed_trains_the_same_model_and_another_seed_another(simulated, traces, make_model):
    trained = []
    for seed in (0, 0, 1):
        model = make_model(num_iterations=20)
        trainer = Backpropagation(model, prior_of(simulated), atom_learning_rate=0.03, rate_learning_rate=1.0)
        train(trainer, traces[:60], traces[600:610], num_epochs=1, batch_size=20, augment=flip_and_rotate, seed=seed)
        trained.append(model.atoms.detach().clone())
    assert torch.equal(trained[0], trained[1])
    assert not torch.equal(trained[0], trained[2])


def test_the_untied_baseline_explains_the_traces_and_loses_the_atoms(device, simulated, traces):
    first_atoms = torch.from_numpy(perturb_atoms(simulated.atoms, seed=1)).to(device)
    model = Lcsc(first_atoms, first_rate(simulated) * simulated.noise_sd**2)
    history = train(
        ReconstructionTraining(model, learning_rate=0.01), traces[:300], traces[600:650], num_epochs=3, batch_size=50
    )
    assert min(history.validation_loss) < 0.2 * history.validation_loss[0]
    assert errors_of(simulated, model).max() > -6


def test_flipped_and_rotated_windows_have_the_same_samples_up_to_sign(device):
    windows = draw_on(device, 0, dtype=torch.float32)(40, 2, 30)
    changed = flip_and_rotate(windows, torch.Generator().manual_seed(1))
    signs = set()
    for window, other in zip(windows, changed, strict=True):
        matches = [
            (sign, delay) for sign in (1, -1) for delay in range(30) if torch.equal(sign * window.roll(delay, 1), other)
        ]
        assert len(matches) == 1
        signs.add(matches[0][0])
    assert signs == {1, -1}


def test_batches_hold_enough_spikes_unless_there_would_be_too_few_of_them():
    assert choose_batch_size(100_000, spikes_per_window=12.0) == math.ceil(10_000 / 12)
    assert choose_batch_size(800, spikes_per_window=12.0) == 100
    assert choose_batch_size(3, spikes_per_window=0.1) == 1
    with pytest.raises(ValueError, match=r"spikes_per_window = 0.0: it must be positive"):
        choose_batch_size(10, spikes_per_window=0.0)


def test_the_range_test_picks_the_rate_of_the_steepest_drop(traces):
    class Parabola:
        """A trainer whose loss falls by the rate until the rate is too large."""

        def __init__(self, rate):
            self.model, self.rate, self.value = torch.nn.Identity(), rate, 1.0

        def step(self, windows):
            self.value *= 1 - self.rate if self.rate < 0.1 else 2.0
            return self.value

        def loss(self, windows):
            return self.value

    rates = tuple(10.0**exponent for exponent in (-5, -4, -3, -2, -1))
    found = learning_rate_range_test(Parabola, traces[:9], traces[:3], batch_size=3, rates=rates)
    assert found.best_rate == pytest.approx(1e-3)
    assert found.rates == rates
    with pytest.raises(ValueError, match=r"rates = \(0\.1, 0\.01\): they must be positive and rising"):
        learning_rate_range_test(Parabola, traces[:9], traces[:3], batch_size=3, rates=(0.1, 0.01))


def test_first_atoms_from_the_traces_resemble_the_true_ones(simulated, traces):
    atoms = initialize_atoms(traces[:300], 4, 18, threshold=5 * simulated.noise_sd, num_components=4)
    assert atoms.shape == (4, 1, 18)
    assert np.median(filter_error(simulated.atoms, atoms.cpu().numpy()).error_db) < -3
    with pytest.raises(ValueError, match=r"threshold = 1000.0: 0 peaks cross it, too few for 4 atoms; lower it"):
        initialize_atoms(traces[:5], 4, 18, threshold=1000.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"atoms": torch.zeros(2, 1, 4)}, r"atoms: one or more are all zero"),
        ({"rate": torch.tensor(-1.0)}, r"rate = -1.0: it must be positive"),
        ({"rate": torch.ones(3)}, r"rate has shape \(3,\): it must be a scalar or have one value per atom"),
        ({"noise_sd": 0.0}, r"noise_sd = 0.0: it must be positive"),
        ({"num_iterations": 0}, r"num_iterations = 0: it must be at least 1"),
    ],
)
def test_a_model_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Crsae(**{"atoms": torch.ones(2, 1, 4), "rate": torch.tensor(1.0), **arguments})


def test_training_refuses_bad_windows_and_numbers(simulated, traces, make_model):
    trainer = ExpectationMaximization(make_model(), prior_of(simulated))
    broken = traces[:5].clone()
    broken[2, 0, 3] = torch.nan
    with pytest.raises(ValueError, match=r"windows has 1 NaN or infinite values"):
        train(trainer, broken, traces[:5], num_epochs=1, batch_size=5)
    with pytest.raises(ValueError, match=r"validation is empty"):
        train(trainer, traces[:5], traces[:0], num_epochs=1, batch_size=5)
    with pytest.raises(ValueError, match=r"num_epochs = 0: it must be at least 1"):
        train(trainer, traces[:5], traces[:5], num_epochs=0, batch_size=5)
    images = Crsae(torch.ones(1, 1, 3, 3), torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"the closed form is for atoms with one axis"):
        ExpectationMaximization(images, prior_of(simulated))


def test_the_encoder_of_the_model_and_the_exact_solver_minimize_the_same_objective(simulated, traces, make_model):
    model = make_model(num_iterations=400)
    level = model.regularization.detach()
    with torch.no_grad():
        unrolled = model.encode(traces[:20])
    exact = solve_windows(traces[:20], model.atoms.detach(), level, tolerance=1e-4 * float(level.min()))
    values = [objective(code, traces[:20], model.atoms.detach(), level) for code in (unrolled, exact)]
    torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=0)
