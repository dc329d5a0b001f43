"""Claims about the likelihoods: densities, their derivatives, and the bounds that make a step safe."""

import math

import pytest
import torch
from drawing import draw_on
from hypothesis import given
from hypothesis import strategies as st
from registry_examples import EXAMPLES_OF_LIKELIHOOD, likelihood_examples
from scipy import stats

from si_crsae.core import LIKELIHOODS, Binomial, Gaussian, Likelihood, NegativeBinomial, Poisson

families = pytest.mark.parametrize("likelihood", likelihood_examples().values(), ids=lambda each: type(each).__name__)
seeds = st.integers(0, 2**16)


def draw_observations(device, likelihood, seed, *, shape=(2, 1, 40)):
    natural = 1.5 * draw_on(device, seed)(*shape)
    return likelihood.sample(natural, torch.Generator(device).manual_seed(seed + 1)), natural


def test_every_likelihood_has_an_example():
    assert {name: type(example) for name, example in EXAMPLES_OF_LIKELIHOOD.items()} == LIKELIHOODS


def scipy_log_density(likelihood, observed, natural):
    observed, natural = observed.cpu(), natural.cpu()
    match likelihood:
        case Gaussian():
            return stats.norm.logpdf(observed, natural, likelihood.noise_sd)
        case Binomial():
            return stats.binom.logpmf(observed, likelihood.num_trials, 1 / (1 + (-natural).exp()))
        case Poisson():
            return stats.poisson.logpmf(observed, natural.exp())
        case NegativeBinomial():
            return stats.nbinom.logpmf(
                observed, likelihood.shape, likelihood.shape / (likelihood.shape + natural.exp())
            )


@families
@given(seed=seeds)
def test_the_log_likelihood_is_that_of_scipy(device, likelihood, seed):
    assert isinstance(likelihood, Likelihood)
    observed, natural = draw_observations(device, likelihood, seed)
    expected = torch.as_tensor(scipy_log_density(likelihood, observed, natural), device=device)
    torch.testing.assert_close(-likelihood.negative_log_likelihood(observed, natural), expected)


@families
@given(seed=seeds)
def test_the_residual_is_minus_the_derivative_also_where_poisson_is_continued(device, likelihood, seed):
    observed, natural = draw_observations(device, likelihood, seed)
    for model in (likelihood, likelihood.bounded(observed, torch.tensor(0.0, device=device))):
        far = (4 * natural).requires_grad_()
        (gradient,) = torch.autograd.grad(model.negative_log_likelihood(observed, far).sum(), far)
        torch.testing.assert_close(model.residual(observed, far.detach()), -gradient)


@families
@given(seed=seeds, scale=st.sampled_from([1.0, 5.0, 30.0]))
def test_no_second_derivative_exceeds_the_bound(device, likelihood, seed, scale):
    observed, natural = draw_observations(device, likelihood, seed)
    bounded = likelihood.bounded(observed, torch.tensor(0.0, device=device))
    anywhere, step = scale * natural, 1e-4
    fall = bounded.residual(observed, anywhere) - bounded.residual(observed, anywhere + step)
    curvature = fall / step
    bound = bounded.curvature(observed)
    assert bound.shape == (2,)
    assert (curvature >= -1e-6).all()
    assert (curvature <= bound[:, None, None] * (1 + 1e-3)).all()


@given(seed=seeds, elu=st.sampled_from([0.5, 1.0, 4.0]))
def test_the_bent_poisson_residual_has_the_curvature_it_claims(device, seed, elu):
    likelihood = Poisson(elu=elu)
    observed, natural = draw_observations(device, likelihood, seed)
    slope = (likelihood.residual(observed, natural) - likelihood.residual(observed, natural + 1e-5)) / 1e-5
    assert (slope >= 0).all()
    assert (slope <= likelihood.curvature(observed)[:, None, None] * (1 + 1e-3)).all()
    assert likelihood.residual(observed, natural + 100).min() >= -elu


@families
def test_mean_and_natural_are_inverse_to_each_other(device, likelihood):
    natural = torch.linspace(-3, 3, 13, dtype=torch.float64, device=device)
    torch.testing.assert_close(likelihood.natural(likelihood.mean(natural)), natural)


@families
def test_samples_have_the_mean_of_the_likelihood(device, likelihood):
    natural = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64, device=device)[:, None].repeat(1, 20_000)
    samples = likelihood.sample(natural, torch.Generator(device).manual_seed(0))
    likelihood.check(samples)
    error = (samples.mean(dim=1) - likelihood.mean(natural[:, 0])).abs()
    assert (error <= 5 * samples.std(dim=1) / math.sqrt(20_000)).all()
    assert torch.equal(samples, likelihood.sample(natural, torch.Generator(device).manual_seed(0)))


def test_a_negative_binomial_of_a_huge_shape_is_a_poisson(device):
    observed, natural = draw_observations(device, Poisson(), 0)
    nearly = NegativeBinomial(shape=1e7)
    torch.testing.assert_close(
        nearly.negative_log_likelihood(observed, natural),
        Poisson().negative_log_likelihood(observed, natural),
        atol=1e-4,
        rtol=1e-4,
    )


def test_the_bounded_poisson_likelihood_is_exact_up_to_twice_the_largest_count_and_baseline(device):
    observed = torch.tensor([[[0.0, 3.0]], [[0.0, 0.0]]], device=device)
    baseline = torch.tensor([[[0.0]], [[1.0]]], device=device)
    bounded = Poisson().bounded(observed, baseline)
    highest = torch.tensor([6.0, 2 * math.e], device=device)
    torch.testing.assert_close(bounded.curvature(observed), highest)
    natural = highest.log()[:, None, None].expand_as(observed)
    exact = Poisson().negative_log_likelihood(observed, natural)
    torch.testing.assert_close(bounded.negative_log_likelihood(observed, natural), exact)
    beyond = bounded.negative_log_likelihood(observed, natural + 1)
    assert (beyond < Poisson().negative_log_likelihood(observed, natural + 1)).all()


def test_the_poisson_likelihood_alone_has_no_bound():
    with pytest.raises(ValueError, match=r"max_natural = None: .* call bounded"):
        Poisson().curvature(torch.zeros(1, 1, 3))


@pytest.mark.parametrize(
    ("likelihood", "values", "message"),
    [
        (Poisson(), [1.0, -2.0], r"values down to -2: counts are zero or more"),
        (Poisson(), [1.0, 0.5], r"fractional values: counts are whole"),
        (NegativeBinomial(shape=1.0), [1.0, 0.5], r"fractional values"),
        (Binomial(num_trials=3), [1.0, 4.0], r"counts up to 4: with num_trials = 3"),
        (Binomial(num_trials=3), [1.0, torch.nan], r"NaN or infinite"),
        (Gaussian(), [torch.inf], r"NaN or infinite"),
    ],
)
def test_what_cannot_have_been_observed_is_refused(likelihood, values, message):
    with pytest.raises(ValueError, match=message):
        likelihood.check(torch.tensor(values))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gaussian(noise_sd=0.0), r"noise_sd = 0.0: it must be positive"),
        (lambda: Binomial(num_trials=0), r"num_trials = 0: it must be at least 1"),
        (lambda: Poisson(elu=-1.0), r"elu = -1.0: it must be positive"),
        (lambda: NegativeBinomial(shape=math.inf), r"shape = inf: it must be positive and finite"),
    ],
)
def test_parameters_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
