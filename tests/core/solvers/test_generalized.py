"""Claims about sparse coding under any likelihood and prior: the iteration descends, and ends at the minimum."""

from dataclasses import dataclass, field, replace
from functools import partial

import pytest
import torch
from drawing import draw_on
from hypothesis import given, settings
from hypothesis import strategies as st
from registry_examples import likelihood_examples, on_device, prior_examples

from si_crsae.core import Gaussian, GeneralizedModel, Placement, Poisson, Prior, Sparse, fista_solve

seeds = st.integers(0, 2**16)
few_examples = settings(max_examples=6)
NUM_ATOMS = 4
FAMILIES = likelihood_examples()
# The price of a count is not convex; a support has the shape of one code.
LEVEL = [0.2, 0.5, 1.0, 2.0]
CONVEX_PRIORS = prior_examples(level=LEVEL, variance=LEVEL, without=["Counted", "OnSupport"])
families = pytest.mark.parametrize("family", FAMILIES)


def draw_problem(device, family, prior_name, seed, *, two_dimensional=False, num_samples=24, placement=None):
    """Return observations that the model itself has drawn, the model and the baseline."""
    draw = draw_on(device, seed)
    width, sample = ((3, 2), (9, 8)) if two_dimensional else ((5,), (num_samples,))
    placement = placement or Placement()
    likelihood, prior = FAMILIES[family], on_device(CONVEX_PRIORS[prior_name], device)
    atoms = 0.25 * draw(NUM_ATOMS, 2, *width)
    model = GeneralizedModel(atoms=atoms, likelihood=likelihood, prior=prior, placement=placement)
    like = draw(3, 2, *sample)
    code = draw(3, *placement.code_shape(sample, atoms))
    baseline = torch.zeros(2, *[1] * len(sample), dtype=torch.float64, device=device)
    natural = model.natural(code, like=like, baseline=baseline)
    observed = likelihood.sample(natural, torch.Generator(device).manual_seed(seed))
    bounded = likelihood.bounded(observed, baseline)
    model = GeneralizedModel(atoms=atoms, likelihood=bounded, prior=prior, placement=placement)
    return observed, model, baseline


@dataclass
class WatchedPrior:
    """A prior that keeps the code of every iteration."""

    prior: Prior
    codes: list[torch.Tensor] = field(default_factory=list)

    def penalty(self, code):
        return self.prior.penalty(code)

    def activation(self, code, step_size):
        self.codes.append(self.prior.activation(code, step_size))
        return self.codes[-1]


def objectives_along_the_way(observed, model, baseline, *, num_iterations):
    watched = WatchedPrior(model.prior)
    code = replace(model, prior=watched).solve(
        observed, baseline=baseline, num_iterations=num_iterations, accelerated=False
    )
    assert len(watched.codes) == num_iterations
    assert watched.codes[-1] is code
    return torch.stack([model.objective(each, observed, baseline=baseline) for each in watched.codes])


@families
@pytest.mark.parametrize("prior_name", CONVEX_PRIORS)
@few_examples
@given(seed=seeds, two_dimensional=st.booleans(), stride=st.integers(1, 3), overhang=st.booleans())
def test_the_objective_falls_in_every_iteration(device, family, prior_name, seed, two_dimensional, stride, overhang):
    placement = Placement(stride=stride, overhang=overhang)
    problem = draw_problem(device, family, prior_name, seed, two_dimensional=two_dimensional, placement=placement)
    values = objectives_along_the_way(*problem, num_iterations=12)
    assert values.isfinite().all()
    assert (values[1:] <= values[:-1] + 1e-9 * values[:-1].abs()).all()
    assert (values[-1] < values[0]).all()


@families
@pytest.mark.parametrize("extreme", ["all zero", "one huge count", "all at the top", "huge baseline", "tiny baseline"])
def test_the_objective_falls_at_extreme_counts(device, family, extreme):
    observed, model, baseline = draw_problem(device, family, "two-sided sparse", 0)
    highest = 30.0 if family == "Binomial" else 1e4
    if extreme == "all zero":
        observed = torch.zeros_like(observed)
    elif extreme == "one huge count":
        observed = torch.zeros_like(observed)
        observed[..., 11] = highest
    elif extreme == "all at the top":
        observed = torch.full_like(observed, highest)
    else:
        baseline = torch.full_like(baseline, 5.0 if extreme == "huge baseline" else -20.0)
    likelihood = FAMILIES[family].bounded(observed, baseline)
    model = GeneralizedModel(atoms=model.atoms, likelihood=likelihood, prior=model.prior)
    values = objectives_along_the_way(observed, model, baseline, num_iterations=15)
    empty = torch.zeros(3, *model.placement.code_shape((24,), model.atoms), dtype=torch.float64, device=device)
    first = model.objective(empty, observed, baseline=baseline)
    assert values.isfinite().all()
    assert (values[0] <= first + 1e-9 * first.abs()).all()
    assert (values[1:] <= values[:-1] + 1e-9 * values[:-1].abs()).all()


@families
@pytest.mark.parametrize("prior_name", CONVEX_PRIORS)
def test_with_and_without_momentum_the_same_minimum_is_reached(device, family, prior_name):
    observed, model, baseline = draw_problem(device, family, prior_name, 3, num_samples=16)
    solve = partial(model.solve, observed, baseline=baseline, tolerance=4e-4)
    plain, fast = solve(num_iterations=20_000, accelerated=False), solve(num_iterations=5_000)
    lowest = model.objective(fast, observed, baseline=baseline)
    torch.testing.assert_close(model.objective(plain, observed, baseline=baseline), lowest, atol=1e-5, rtol=1e-6)
    draw = draw_on(device, 4)
    for radius in (1e-3, 1e-1):
        nearby = model.prior.activation(fast + radius * draw(*fast.shape), 1e-9)
        assert (lowest <= model.objective(nearby, observed, baseline=baseline) + 1e-5).all()


@pytest.mark.parametrize("prior_name", ["ridge", "two-sided sparse"])
def test_at_the_poisson_minimum_the_bounded_likelihood_is_the_exact_one(device, prior_name):
    observed, model, baseline = draw_problem(device, "Poisson", prior_name, 5, num_samples=16)
    code = model.solve(observed, baseline=baseline, num_iterations=5_000, tolerance=4e-4)
    natural = model.natural(code, like=observed, baseline=baseline)
    assert (natural <= model.likelihood.max_natural).all()
    exact = GeneralizedModel(atoms=model.atoms, likelihood=Poisson(), prior=model.prior)
    torch.testing.assert_close(
        exact.objective(code, observed, baseline=baseline), model.objective(code, observed, baseline=baseline)
    )


@few_examples
@given(seed=seeds, nonnegative=st.booleans())
def test_the_gaussian_sparse_code_is_the_lasso(device, seed, nonnegative):
    draw = draw_on(device, seed)
    observed, atoms = draw(2, 2, 16), draw(3, 2, 4)
    level = torch.tensor([0.5, 0.8, 1.1], dtype=torch.float64, device=device)
    model = GeneralizedModel(
        atoms=atoms, likelihood=Gaussian(), prior=Sparse(regularization=level, nonnegative=nonnegative)
    )
    code = model.solve(observed, baseline=torch.zeros(1, dtype=torch.float64, device=device), num_iterations=50)
    torch.testing.assert_close(code, fista_solve(observed, atoms, level, num_iterations=50, nonnegative=nonnegative))


@families
@few_examples
@given(seed=seeds, two_dimensional=st.booleans(), stride=st.integers(1, 3), overhang=st.booleans())
def test_the_unrolled_encoder_can_be_differentiated(device, family, seed, two_dimensional, stride, overhang):
    placement = Placement(stride=stride, overhang=overhang)
    observed, model, baseline = draw_problem(
        device, family, "two-sided sparse", seed, two_dimensional=two_dimensional, placement=placement
    )

    def encode(atoms, regularization):
        unrolled = GeneralizedModel(
            atoms=atoms,
            likelihood=model.likelihood,
            prior=Sparse(regularization=regularization),
            placement=placement,
        )
        return unrolled.solve(observed[:1], baseline=baseline, num_iterations=3, step_size=0.01)

    single = model.likelihood.bounded(observed[:1], baseline)
    model = GeneralizedModel(atoms=model.atoms, likelihood=single, prior=model.prior, placement=placement)
    inputs = (model.atoms.requires_grad_(), model.prior.regularization.requires_grad_())
    # Fast: all derivatives at once, in random proportions, rather than each by two more solutions.
    assert torch.autograd.gradcheck(encode, inputs, fast_mode=True)


@few_examples
@given(seed=seeds, stride=st.integers(1, 4), overhang=st.booleans(), rest=st.integers(0, 3))
def test_a_placement_correlates_by_the_adjoint_of_its_synthesis(device, seed, stride, overhang, rest):
    draw, placement = draw_on(device, seed), Placement(stride=stride, overhang=overhang)
    atoms, images = draw(3, 2, 5, 4), draw(2, 2, 13 + rest, 11)
    code = draw(2, *placement.code_shape((13 + rest, 11), atoms))
    forward = (placement.synthesize(code, atoms, (13 + rest, 11)) * images).sum()
    torch.testing.assert_close(forward, (code * placement.correlate(images, atoms)).sum())


def test_a_stride_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match=r"stride = 0: it must be at least 1"):
        Placement(stride=0)
