"""Claims about all that the registry of solvers holds: each finds every known minimum, by every door."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from drawing import draw_on
from registry_examples import on_device, prior_examples
from sklearn.linear_model import Lasso

from si_crsae.config import CrsaeConfig, validate_parameters
from si_crsae.core import (
    SOLVERS,
    Convolutional,
    Encoder,
    EncoderSettings,
    Gaussian,
    GeneralizedModel,
    Gram,
    LinkedView,
    Placement,
    Poisson,
    Quadratic,
    Solver,
    Sparse,
    correlate,
    find_solver,
    iterate,
    make_solver,
    solver_names,
    synthesize,
)
from si_crsae.core.solvers.generalized import GeneralizedProblem
from si_crsae.core.solvers.maps import DictionaryOnDevice, MapProblem
from si_crsae.core.solvers.problems import proximal_distance, proximal_step
from si_crsae.models import LinkedDictionaries, LinkedFitting, View

CPU = torch.device("cpu")
TOLERANCE = 1e-5
LEVEL = [0.5, 0.8, 1.1, 0.7]
PRIORS = prior_examples(level=LEVEL, variance=LEVEL)
sides = pytest.mark.parametrize("nonnegative", [False, True])


def draw(device, *shape, seed=0):
    return draw_on(device, seed)(*shape)


def unit_atoms(device, *shape):
    return torch.nn.functional.normalize(draw(device, *shape).flatten(1)).view(shape)


def a_map(device, draw_dictionary):
    dictionary = draw_dictionary(0, shape=(4, 2, 3), device=device)
    there = DictionaryOnDevice(dictionary=dictionary, gram=Gram.of(dictionary), device=device)
    traces = draw(device, 1, 2, 20, seed=1).float()
    return MapProblem(correlation=correlate(traces, dictionary.atoms)[0], dictionary=there)


def linked_vectors(device, _):
    views = [
        LinkedView(atoms=draw(device, 4, 7, 1) / 2),
        LinkedView(atoms=draw(device, 4, 5, 1, seed=1) / 2, weight=2.0),
    ]
    return Quadratic.of(views, [2 * draw(device, 3, 7, 1, seed=2), 2 * draw(device, 3, 5, 1, seed=3)])


def linked_signals(device, _):
    views = [LinkedView(atoms=draw(device, 4, 2, 5) / 3), LinkedView(atoms=draw(device, 4, 1, 8, seed=1) / 3, stride=2)]
    return Quadratic.of(views, [draw(device, 2, 2, 16, seed=2), draw(device, 2, 1, 30, seed=3)])


def traces_of_atoms(device, _):
    return Convolutional(traces=draw(device, 2, 2, 16, seed=1), atoms=unit_atoms(device, 4, 2, 4))


def images_of_atoms(device, _):
    return Convolutional(traces=draw(device, 1, 2, 6, 5, seed=1), atoms=unit_atoms(device, 4, 2, 3, 2))


def noisy_observations(device, _):
    likelihood, placement = Gaussian(noise_sd=0.8), Placement(stride=2, overhang=True)
    atoms, prior = unit_atoms(device, 4, 2, 4), on_device(PRIORS["ridge"], device)
    model = GeneralizedModel(atoms=atoms, likelihood=likelihood, prior=prior, placement=placement)
    return model.problem(draw(device, 2, 2, 16, seed=1), baseline=torch.tensor(0.3, dtype=torch.float64, device=device))


LEAST_SQUARES = [a_map, linked_vectors, linked_signals, traces_of_atoms, images_of_atoms, noisy_observations]


def lasso_of(problem, prior):
    """Return the minimizer by scikit-learn, from the gradients of the problem alone."""
    empty = problem.empty_code()
    drive = problem.descent_direction(empty)
    unit_codes = torch.eye(empty[0].numel()).to(empty).view(-1, 1, *empty.shape[1:])
    rows = [(drive - problem.descent_direction(code.expand_as(empty)))[:1].flatten(1) for code in unit_codes]
    curvature = torch.cat(rows).double()
    values, vectors = torch.linalg.eigh(curvature)
    kept = values > 1e-6 * values.max()
    root = values[kept].sqrt()
    per_atom = empty[0, 0].numel()
    weights = prior.regularization.double().repeat_interleave(per_atom).cpu().numpy()
    # 1/2 |y - X x|^2 with X^T X the curvature and X^T y the drive; its columns over lambda for one lambda of all.
    design = (root[:, None] * vectors[:, kept].T).cpu().numpy() / weights
    lasso = Lasso(alpha=1 / len(design), fit_intercept=False, positive=prior.nonnegative, tol=1e-12, max_iter=10**6)
    targets = drive.flatten(1).double() @ vectors[:, kept] / root
    found = np.array([lasso.fit(design, target.cpu().numpy()).coef_ / weights for target in targets])
    return torch.as_tensor(found).view_as(empty).to(empty)


def can_have(kind, problem, prior):
    return isinstance(problem, kind.problem_kind) and isinstance(prior, kind.prior_kind)


@pytest.mark.parametrize("make_problem", LEAST_SQUARES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", SOLVERS)
@sides
def test_every_solver_finds_the_lasso_of_every_problem_that_it_can_have(
    device, draw_dictionary, name, make_problem, nonnegative
):
    problem = make_problem(device, draw_dictionary)
    empty = problem.empty_code()
    prior = Sparse(regularization=torch.tensor(LEVEL).to(empty), nonnegative=nonnegative)
    solver = SOLVERS[name](tolerance=TOLERANCE)
    assert isinstance(solver, Solver)
    if not can_have(solver, problem, prior):
        assert name not in solver_names(problem=type(problem), prior=Sparse)
        with pytest.raises(ValueError, match=rf"problem = .*: {type(solver).__name__} needs .*; use Fista"):
            iterate(solver, problem, prior)
        return
    code = iterate(solver, problem, prior)
    assert 0 < code.count_nonzero() < code.numel()
    assert (code.dtype, code.shape) == (empty.dtype, empty.shape)
    torch.testing.assert_close(code, lasso_of(problem, prior), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("prior_name", PRIORS)
def test_where_atoms_do_not_overlap_every_solver_applies_the_activation_of_every_prior(device, name, prior_name):
    view = LinkedView(atoms=torch.eye(4, dtype=torch.float64, device=device)[:, :, None])
    problem = Quadratic.of([view], [2 * draw(device, 5, 4, 1)])
    prior, solver = on_device(PRIORS[prior_name], device), SOLVERS[name](tolerance=TOLERANCE)
    if can_have(solver, problem, prior):
        code = iterate(solver, problem, prior)
        torch.testing.assert_close(code, prior.activation(problem.correlation, 1.0), atol=1e-4, rtol=0)
    elif isinstance(problem, solver.problem_kind):
        with pytest.raises(ValueError, match=rf"prior = .*: {type(solver).__name__} needs Sparse; use Fista"):
            iterate(solver, problem, prior)


@pytest.mark.parametrize("name", solver_names(problem=GeneralizedProblem, prior=Sparse))
@sides
def test_every_solver_of_counts_finds_the_minimum_in_closed_form(device, name, nonnegative):
    """One bin, one coefficient: ``e^x - y x + lambda |x|`` is least where ``e^x = y - lambda sign(x)``, or at zero."""
    counts, level = torch.tensor([[[0.0, 1.0, 2.0, 5.0, 9.0]]], dtype=torch.float64, device=device), 0.7
    baseline = torch.zeros(1, dtype=torch.float64, device=device)
    prior = Sparse(regularization=torch.tensor([level], dtype=torch.float64, device=device), nonnegative=nonnegative)
    model = GeneralizedModel(
        atoms=torch.ones(1, 1, 1, dtype=torch.float64, device=device),
        likelihood=Poisson().bounded(counts, baseline),
        prior=prior,
    )
    problem = model.problem(counts, baseline=baseline)
    solver = find_solver(name, problem=type(problem), prior=Sparse, device=device)(tolerance=TOLERANCE)
    below = 0.0 if nonnegative else (counts + level).log().clamp_max(0.0)
    expected = (counts - level).clamp_min(1.0).log() + below
    assert (expected != 0).any()
    torch.testing.assert_close(iterate(solver, problem, prior), expected, atol=1e-4, rtol=0)


@dataclass(frozen=True)
class Ista:
    """A fifth solver, as a contributor would write it."""

    problem_kind: ClassVar[type] = object
    prior_kind: ClassVar[type] = object
    tolerance: float | None = None

    def init(self, problem, prior):
        return problem.empty_code(), problem.step_size()

    def step(self, problem, prior, state):
        code, step_size = state
        return proximal_step(problem, prior, code, step_size), step_size

    def distance(self, problem, prior, state):
        return proximal_distance(problem, prior, *state)

    def code(self, problem, prior, state):
        return state[0]


@pytest.fixture
def with_ista(monkeypatch):
    monkeypatch.setitem(SOLVERS, "ista", Ista)


@pytest.mark.usefixtures("with_ista")
def test_the_sorter_takes_any_solver_in_the_registry_and_lists_it():
    assert validate_parameters({"solver": "ista"}).solver == "ista"
    assert "ista" in CrsaeConfig.model_json_schema()["properties"]["solver"]["enum"]


@pytest.mark.usefixtures("with_ista")
def test_linked_views_take_any_solver_in_the_registry():
    problem, prior = linked_signals(CPU, None), Sparse(regularization=torch.tensor(LEVEL, dtype=torch.float64))
    codes = [problem.solve(prior, solver=name, tolerance=TOLERANCE) for name in ("ista", "descent")]
    torch.testing.assert_close(*codes, atol=1e-3, rtol=0)
    sources = draw(CPU, 60, 4).relu().numpy()
    views = {name: sources @ draw(CPU, 4, 9, seed=seed).numpy() for seed, name in enumerate(("seen", "heard"))}
    for threshold in ("soft", "hard"):
        linked = LinkedDictionaries(
            views={name: View() for name in views}, num_atoms=4, solver="ista", threshold=threshold, device="cpu"
        )
        heard = linked.fit(views, fitting=LinkedFitting(num_epochs=1)).predict({"seen": views["seen"]}, target="heard")
        assert np.isfinite(heard).all()


@pytest.mark.usefixtures("with_ista")
def test_maps_and_the_encoder_take_any_solver_in_the_registry(device, draw_dictionary):
    dictionary, code = draw_dictionary(0), torch.zeros(1, 3, 60)
    code[0, [0, 1, 2], [10, 25, 42]] = 6.0
    correlation = correlate(synthesize(code, dictionary.atoms), dictionary.atoms)[0]
    level, lowest, highest = (np.full(3, value, "float32") for value in (0.8, 3.0, np.inf))
    settings = EncoderSettings(
        regularization=level, min_amplitude=lowest, max_amplitude=highest, noise=0.1, max_gap=2, refractory=3
    )
    encoder = Encoder.of(dictionary, settings, solver="ista", device=device)
    events = encoder.encode(correlation.numpy())
    np.testing.assert_array_equal(events.sample_index, [10, 25, 42])
    np.testing.assert_array_equal(events.atom_index, [0, 1, 2])
    descent = make_solver("descent", dictionary, encoder.gram, device=device)
    codes = [
        each.solve(correlation.to(device), encoder.prior, tolerance=TOLERANCE) for each in (encoder.solver, descent)
    ]
    torch.testing.assert_close(*codes, atol=1e-3, rtol=0)


@pytest.mark.usefixtures("with_ista")
def test_auto_never_takes_a_solver_at_the_end_of_the_registry():
    for problem, prior, device, kind in (
        (MapProblem, Sparse, "cpu", "descent"),
        (MapProblem, Sparse, "cuda", "parallel"),
        (Quadratic, Sparse, "cpu", "descent"),
        (Quadratic, Sparse, "cuda", "fista"),
        (Convolutional, Sparse, "cpu", "fista"),
        *((Quadratic, type(each), "cpu", "fista") for each in PRIORS.values() if not isinstance(each, Sparse)),
    ):
        found = find_solver("auto", problem=problem, prior=prior, device=torch.device(device))
        assert found is SOLVERS[kind]
