"""Claims about linked views and the solvers of their one code, dense and convolutional, soft and hard thresholds."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from drawing import draw_on
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso

from si_crsae.core import Counted, Lca, LinkedView, Quadratic, Ridge, Sparse, solver_names
from si_crsae.core.solvers.lca import LcaState

seeds = st.integers(0, 2**16)
few_examples = settings(max_examples=8)
solvers = pytest.mark.parametrize("solver", solver_names(problem=Quadratic, prior=Sparse))
sides = pytest.mark.parametrize("nonnegative", [True, False])
NUM_ATOMS = 5


def draw(device, seed, *shape):
    return draw_on(device, seed)(*shape)


def same_for_all(device, value):
    return torch.full((NUM_ATOMS,), value, dtype=torch.float64, device=device)


def dense_problem(device, seed):
    """Return two vector views of six windows: what they are, and what they show."""
    views = [
        LinkedView(atoms=draw(device, seed, NUM_ATOMS, 7, 1) / 3),
        LinkedView(atoms=draw(device, seed + 1, NUM_ATOMS, 4, 1) / 3, weight=2.0),
    ]
    return views, [2 * draw(device, seed + 2, 6, 7, 1), 2 * draw(device, seed + 3, 6, 4, 1)]


def convolutional_problem(device, seed):
    """Return two signals of 30 positions, one of two channels and one of twice the sampling rate."""
    views = [
        LinkedView(atoms=draw(device, seed, NUM_ATOMS, 2, 5) / 3, weight=0.5),
        LinkedView(atoms=draw(device, seed + 1, NUM_ATOMS, 1, 8) / 3, stride=2),
    ]
    return views, [draw(device, seed + 2, 3, 2, 34), draw(device, seed + 3, 3, 1, 66)]


problems = pytest.mark.parametrize("draw_problem", [dense_problem, convolutional_problem], ids=["dense", "conv"])


def explicit(views, traces):
    """Return the least-squares problem of all views written out: a design matrix, and targets per window."""
    code = Quadratic.of(views, traces).correlation[:1]
    unit_codes = torch.eye(code.numel()).to(code).view(-1, *code.shape[1:])
    columns = [math.sqrt(view.weight) * view.synthesize(unit_codes).flatten(1) for view in views]
    targets = [math.sqrt(view.weight) * each.flatten(1) for view, each in zip(views, traces, strict=True)]
    return torch.cat(columns, dim=1).T, torch.cat(targets, dim=1)


@problems
@few_examples
@given(seed=seeds)
def test_views_add_up_to_the_least_squares_problem_of_all(device, draw_problem, seed):
    views, traces = draw_problem(device, seed)
    design, targets = explicit(views, traces)
    problem = Quadratic.of(views, traces)
    code = draw(device, seed + 9, *problem.correlation.shape)
    remaining = targets - code.flatten(1) @ design.T
    torch.testing.assert_close(problem.descent_direction(code).flatten(1), remaining @ design)
    unexplained = (targets.square().sum(dim=1) - remaining.square().sum(dim=1)) / 2
    torch.testing.assert_close(problem.value(code), -unexplained)
    largest = float(torch.linalg.matrix_norm(design, ord=2) ** 2)
    assert largest <= problem.lipschitz_bound() * (1 + 1e-9)
    if problem.gram.shape[2] == 1:
        assert problem.lipschitz_bound() == pytest.approx(largest, rel=1e-9)


@problems
@solvers
@sides
@few_examples
@given(seed=seeds)
def test_every_solver_finds_the_lasso_of_scikit_learn(device, draw_problem, solver, nonnegative, seed):
    views, traces = draw_problem(device, seed)
    regularization = torch.linspace(0.3, 0.6, NUM_ATOMS, dtype=torch.float64, device=device)
    prior = Sparse(regularization=regularization, nonnegative=nonnegative)
    problem = Quadratic.of(views, traces)
    code = problem.solve(prior, solver=solver, tolerance=1e-5)
    assert code.dtype == torch.float64
    design, targets = explicit(views, traces)
    weights = regularization.repeat_interleave(code.shape[2])
    lasso = Lasso(alpha=1 / len(design), fit_intercept=False, positive=nonnegative, tol=1e-12, max_iter=10**6)
    found = [lasso.fit((design / weights).cpu().numpy(), target.cpu().numpy()).coef_ for target in targets]
    best = (torch.as_tensor(np.array(found), device=device) / weights).view_as(code)
    value, least = (problem.value(each) + prior.penalty(each) for each in (code, best))
    torch.testing.assert_close(value, least, rtol=1e-5, atol=1e-6)


@problems
@sides
@few_examples
@given(seed=seeds)
def test_potentials_at_rest_meet_the_optimality_conditions(device, draw_problem, nonnegative, seed):
    views, traces = draw_problem(device, seed)
    problem = Quadratic.of(views, traces)
    prior = Sparse(regularization=same_for_all(device, 0.4), nonnegative=nonnegative)
    code = problem.solve(prior, solver="lca", tolerance=1e-9)
    slack = problem.descent_direction(code)
    torch.testing.assert_close(slack[code != 0], 0.4 * code[code != 0].sign(), atol=1e-7, rtol=0)
    assert ((slack if nonnegative else slack.abs())[code == 0] <= 0.4 + 1e-7).all()


@problems
@sides
@few_examples
@given(seed=seeds)
def test_under_hard_thresholds_the_code_is_unshrunk_and_no_single_change_is_better(
    device, draw_problem, nonnegative, seed
):
    views, traces = draw_problem(device, seed)
    design, _ = explicit(views, traces)
    views = [
        LinkedView(atoms=view.atoms / design.norm(dim=0).max(), weight=view.weight, stride=view.stride)
        for view in views
    ]
    problem = Quadratic.of(views, traces)
    prior = Counted(regularization=same_for_all(device, 0.3), nonnegative=nonnegative)
    code = problem.solve(prior, solver="lca", tolerance=1e-9)
    active = code != 0
    assert active.any()
    torch.testing.assert_close(problem.descent_direction(code)[active], torch.zeros_like(code[active]))
    assert (code[active].abs() > 0.3).all()
    assert not (nonnegative and bool((code < 0).any()))
    assert (problem.value(code) + prior.penalty(code) <= 1e-9).all()


def test_the_dynamics_are_those_of_the_paper(device):
    atoms, image, potential = draw(device, 0, 3, 6), draw(device, 1, 6), draw(device, 2, 3)
    code = torch.where(potential > 0.2, potential - 0.2, 0.0)
    charged = potential + 0.07 * (atoms @ image - potential - (atoms @ atoms.T - torch.eye(3, device=device)) @ code)
    problem = Quadratic.of([LinkedView(atoms=atoms[:, :, None])], [image[None, :, None]])
    prior = Sparse(regularization=torch.full((3,), 0.2, dtype=torch.float64, device=device), nonnegative=True)
    stepped = Lca().step(problem, prior, LcaState(potential=potential[None, :, None], rate=0.07))
    torch.testing.assert_close(stepped.potential.flatten(), charged)


@solvers
def test_an_atom_that_no_view_shows_is_never_used(device, solver):
    numbers = partial(torch.tensor, dtype=torch.float64, device=device)
    atoms, image = numbers([1.0, 0.0, 2.0]).diag()[:, :, None], numbers([1.0, 1.0, 1.0])
    problem = Quadratic.of([LinkedView(atoms=atoms)], [image[None, :, None]])
    code = problem.solve(Sparse(regularization=numbers([0.5, 0.5, 0.5])), solver=solver, tolerance=1e-6)
    torch.testing.assert_close(code.flatten(), numbers([0.5, 0.0, 0.375]), atol=1e-5, rtol=0)


def test_few_iterations_warn_if_they_were_to_reach_a_tolerance_and_do_not_otherwise(device):
    views, traces = dense_problem(device, 0)
    prior = Sparse(regularization=same_for_all(device, 0.1))
    problem = Quadratic.of(views, traces)
    with pytest.warns(RuntimeWarning, match=r"num_iterations = 3 did not bring the violation.*raise num_iterations"):
        problem.solve(prior, solver="lca", num_iterations=3, tolerance=1e-9)
    problem.solve(prior, solver="lca", num_iterations=3, tolerance=None)


def test_what_makes_no_sense_is_refused(device):
    views, traces = convolutional_problem(device, 0)
    prior = Sparse(regularization=same_for_all(device, 0.1))
    with pytest.raises(ValueError, match=r"\(3, 5, 30\), \(3, 5, 29\)\] windows, atoms and positions"):
        Quadratic.of(views, [traces[0], traces[1][:, :, :-2]])
    with pytest.raises(ValueError, match=r"weight = 0.0: it must be positive"):
        LinkedView(atoms=views[0].atoms, weight=0.0)
    with pytest.raises(ValueError, match=r"stride = 0: it must be at least 1"):
        LinkedView(atoms=views[0].atoms, stride=0)
    problem = Quadratic.of(views, traces)
    with pytest.raises(ValueError, match=r"solver = 'magic': it must be one of auto, descent, fista, lca, for Quad"):
        problem.solve(prior, solver="magic")
    with pytest.raises(ValueError, match=r"solver = 'descent': it must be one of auto, fista, lca, .* and Ridge"):
        problem.solve(Ridge(variance=prior.regularization))
    own_lambdas = Sparse(regularization=prior.regularization.expand(3, -1))
    with pytest.raises(ValueError, match=r"regularization has shape \(3, 5\): a descent needs one lambda per atom"):
        problem.solve(own_lambdas)
    for rate in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"rate = .*: it must be above 0 and at most 1"):
            Lca(rate=rate)
