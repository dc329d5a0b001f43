"""Claims about the posterior of a code: what it says of its draws is what they are, and gradients pass a threshold."""

import math

import pytest
import torch
from drawing import draw_on
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from si_crsae.core.bases import Annealing, GaussianBase, LaplacianBase, SpikeAndSlab
from si_crsae.core.code_distribution import CodeDistribution, Noise, ShiftedThreshold, sparse_prior

pytestmark = pytest.mark.usefixtures("seeded")
NUM_SAMPLES = 100_000
few_examples = settings(max_examples=12)
seeds = st.integers(0, 2**16)
GAUSSIAN, LAPLACIAN = GaussianBase(variance=0.2), LaplacianBase(scale=0.3)
FIXED = ShiftedThreshold(level=0.4)
LEARNED = ShiftedThreshold(level=0.4, learned=True, concentration=2.5, kl_weight=0.3)
DISTRIBUTIONS = {
    "Gaussian": CodeDistribution(base=GAUSSIAN),
    "Laplacian": CodeDistribution(base=LAPLACIAN),
    "spike and Gaussian": CodeDistribution(base=SpikeAndSlab(slab=GAUSSIAN)),
    "spike and Laplacian": CodeDistribution(base=SpikeAndSlab(slab=LAPLACIAN)),
    "thresholded Gaussian": CodeDistribution(base=GAUSSIAN, threshold=FIXED),
    "thresholded Laplacian": CodeDistribution(base=LAPLACIAN, threshold=FIXED),
    "learned, Gaussian": CodeDistribution(base=GAUSSIAN, threshold=LEARNED),
    "learned, Laplacian": CodeDistribution(base=LAPLACIAN, threshold=LEARNED),
}
distributions = pytest.mark.parametrize("distribution", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS.keys())
bases = pytest.mark.parametrize("base", [GAUSSIAN, LAPLACIAN], ids=["Gaussian", "Laplacian"])
straight_or_not = pytest.mark.parametrize("straight_through", [True, False])


def per_atom(device, *values):
    return torch.tensor(values, dtype=torch.float64, device=device).view(1, -1, 1)


def some_heads(device):
    return {
        "shift": per_atom(device, -1.0, 0.0, 0.3, 2.0),
        "log_scale": per_atom(device, 0.1, 0.3, 0.6, 1.5).log(),
        "gate_logit": per_atom(device, -4.0, -1.0, 0.5, 3.0),
        "log_concentration": per_atom(device, 0.7, 1.0, 3.0, 6.0).log(),
        "log_rate": per_atom(device, 2.0, 4.0, 12.0, 10.0).log(),
    }


def random_numbers(device, seed, *shape):
    return draw_on(device, seed)(*shape)


def agrees_with_draws(draws, expected, *, num_errors=5):
    """Whether the mean of draws is within some standard errors of what is expected."""
    error = draws.std(dim=0) / math.sqrt(len(draws)) + 1e-4
    return ((draws.mean(dim=0) - expected).abs() < num_errors * error).all()


@distributions
def test_the_mean_and_the_activity_are_those_of_the_draws(device, distribution):
    heads = some_heads(device)
    codes = distribution.codes(heads, distribution.noise(heads, NUM_SAMPLES))
    assert codes.shape == (NUM_SAMPLES, 1, 4, 1)
    assert agrees_with_draws(codes, distribution.mean(heads))
    assert agrees_with_draws((codes != 0).double(), distribution.probability_active(heads))


@bases
def test_activity_under_a_learned_threshold_is_its_integral_over_thresholds(device, base):
    distribution, heads = CodeDistribution(base=base, threshold=LEARNED), some_heads(device)
    found = distribution.probability_active(heads).flatten().tolist()
    shape, rate, scale = (heads[name].exp().flatten() for name in ("log_concentration", "log_rate", "log_scale"))
    tail = stats.norm.sf if base is GAUSSIAN else stats.laplace.sf
    for atom, probability in enumerate(found):
        density = stats.gamma(float(shape[atom]), scale=1 / float(rate[atom])).pdf
        width = float(scale[atom])
        pieces = [
            integrate.quad(lambda level: density(level) * 2 * tail(level / width), *ends)[0]  # noqa: B023
            for ends in ((0, 0.1), (0.1, math.inf))
        ]
        assert abs(probability - sum(pieces)) < 1e-3


@few_examples
@given(seed=seeds)
def test_activity_of_a_laplacian_under_a_learned_threshold_has_a_closed_form(device, seed):
    distribution = CodeDistribution(base=LAPLACIAN, threshold=LEARNED)
    values = random_numbers(device, seed, 4, 2, 3, 2)
    heads = dict(zip(("shift", "log_scale", "log_concentration", "log_rate"), values, strict=True))
    scale, shape, rate = (heads[name].exp() for name in ("log_scale", "log_concentration", "log_rate"))
    expected = (rate / (rate + 1 / scale)) ** shape
    torch.testing.assert_close(distribution.probability_active(heads), expected, atol=2e-3, rtol=0)


def test_activity_under_a_fixed_threshold_does_not_depend_on_the_shift(device):
    level = 0.25
    heads = {"shift": per_atom(device, -3.0, 0.0, 9.0), "log_scale": per_atom(device, 0.1, 0.1, 0.1).log()}
    laplacian = CodeDistribution(threshold=ShiftedThreshold(level=level)).probability_active(heads)
    torch.testing.assert_close(laplacian, torch.full((1, 3, 1), math.exp(-2.5), dtype=torch.float64, device=device))
    heads["log_scale"] = per_atom(device, 0.1, 0.1, 0.1).log() / 2
    thresholded = CodeDistribution(base=GaussianBase(), threshold=ShiftedThreshold(level=0.52))
    gaussian = thresholded.probability_active(heads)
    expected = 2 * stats.norm.cdf(-0.52 / math.sqrt(0.1))
    torch.testing.assert_close(gaussian, torch.full((1, 3, 1), expected, dtype=torch.float64, device=device))


@bases
@pytest.mark.parametrize("kl_weight", [0.0, 0.1, 1.0])
def test_a_learned_threshold_adds_the_weighted_divergence_of_gammas(device, base, kl_weight):
    threshold = ShiftedThreshold(level=0.4, learned=True, concentration=2.5, kl_weight=kl_weight)
    distribution, heads = CodeDistribution(base=base, threshold=threshold), some_heads(device)
    shape, rate = heads["log_concentration"].exp(), heads["log_rate"].exp()
    prior_shape, prior_rate = 2.5, 2.5 / 0.4
    formula = (
        (shape - prior_shape) * shape.digamma()
        - shape.lgamma()
        + math.lgamma(prior_shape)
        + prior_shape * (rate / prior_rate).log()
        + shape * (prior_rate - rate) / rate
    )
    torch.testing.assert_close(distribution.kl(heads), base.kl(heads) + kl_weight * formula, rtol=1e-5, atol=1e-6)
    level = distribution.noise(heads, NUM_SAMPLES).level
    of_posterior = stats.gamma.logpdf(level.cpu().numpy(), shape.cpu().numpy(), scale=1 / rate.cpu().numpy())
    of_prior = stats.gamma.logpdf(level.cpu().numpy(), prior_shape, scale=1 / prior_rate)
    assert agrees_with_draws(torch.as_tensor(of_posterior - of_prior, device=device), formula)


@distributions
def test_the_divergence_without_a_learned_threshold_is_that_of_the_base(device, distribution):
    heads = some_heads(device)
    if distribution.threshold is not LEARNED:
        torch.testing.assert_close(distribution.kl(heads), distribution.base.kl(heads), rtol=0, atol=0)
    assert distribution.kl(heads).shape == (1, 4, 1)


@straight_or_not
@few_examples
@given(seed=seeds)
def test_survivors_of_the_threshold_are_the_shift_and_what_exceeds_it(device, straight_through, seed):
    threshold = ShiftedThreshold(level=0.7, straight_through=straight_through)
    center, deviation = random_numbers(device, seed, 2, 3, 2, 4, 2)
    level = random_numbers(device, seed + 1, 3, 2, 4, 2).abs()
    for given_level, used in ((None, torch.full_like(center, 0.7)), (level, level)):
        beyond = deviation.sign() * (deviation.abs() - used).clamp_min(0)
        expected = torch.where(beyond == 0, 0.0, center + beyond)
        found = threshold.apply(center, deviation, given_level)
        torch.testing.assert_close(found, expected)
        assert ((found == 0) == (deviation.abs() <= used)).all()


@straight_or_not
def test_a_coefficient_whose_shift_and_excess_cancel_is_zero_by_chance_alone(device, straight_through):
    threshold = ShiftedThreshold(level=1.0, straight_through=straight_through)
    found = threshold.apply(torch.zeros(2, 1, device=device), torch.tensor([[1.0], [-1.5]], device=device), None)
    torch.testing.assert_close(found, torch.tensor([[0.0], [-0.5]], device=device))


def gradients_of_a_threshold(device, *, straight_through, seed=0):
    """Return gradients of draws with respect to shift, deviation and level, the deviations, and which are active."""
    threshold = ShiftedThreshold(level=0.7, straight_through=straight_through)
    center, deviation, level = random_numbers(device, seed, 3, 2, 6, 3)
    level = level.abs()
    variables = [each.clone().requires_grad_() for each in (center, deviation, level)]
    gradients = torch.autograd.grad(threshold.apply(*variables).sum(), variables)
    return gradients, deviation, deviation.abs() > level


def test_straight_through_gradients_are_as_if_there_were_no_threshold(device):
    (of_shift, of_deviation, of_level), deviation, active = gradients_of_a_threshold(device, straight_through=True)
    assert active.any()
    assert not active.all()
    assert (of_shift == 1).all()
    assert (of_deviation == 1).all()
    torch.testing.assert_close(of_level, torch.where(active, -deviation.sign(), 0.0))


def test_subgradients_are_zero_where_nothing_is_active(device):
    (of_shift, of_deviation, of_level), deviation, active = gradients_of_a_threshold(device, straight_through=False)
    torch.testing.assert_close(of_shift, active.double())
    torch.testing.assert_close(of_deviation, active.double())
    torch.testing.assert_close(of_level, torch.where(active, -deviation.sign(), 0.0))


@bases
@straight_or_not
def test_the_gradient_with_respect_to_the_scale_is_the_noise(device, base, straight_through):
    threshold = ShiftedThreshold(level=0.4, straight_through=straight_through)
    distribution, heads = CodeDistribution(base=base, threshold=threshold), some_heads(device)
    heads["log_scale"].requires_grad_()
    noise = distribution.noise(heads, 1)
    codes = distribution.codes(heads, noise)
    (gradient,) = torch.autograd.grad(codes.sum(), heads["log_scale"])
    # The gradient with respect to the logarithm of the scale, hence the scale.
    expected = noise.base[0, 0] * heads["log_scale"].detach().exp()
    torch.testing.assert_close(gradient, expected if straight_through else expected * (codes[0] != 0))


@pytest.mark.parametrize("name", ["learned, Gaussian", "learned, Laplacian"])
def test_the_heads_of_a_learned_threshold_have_the_gradient_of_the_mean_of_its_draws(device, name):
    distribution, heads = DISTRIBUTIONS[name], some_heads(device)
    heads = {key: head.requires_grad_() for key, head in heads.items()}
    level = distribution.noise(heads, NUM_SAMPLES).level.mean()
    mean = (heads["log_concentration"] - heads["log_rate"]).exp().mean()
    for head in ("log_concentration", "log_rate"):
        found, expected = (torch.autograd.grad(each, heads[head], retain_graph=True)[0] for each in (level, mean))
        torch.testing.assert_close(found, expected, rtol=0.05, atol=1e-3)


@distributions
@few_examples
@given(seed=seeds)
def test_the_chosen_draws_are_the_codes_of_the_draws_that_were_chosen(device, distribution, seed):
    heads = {name: random_numbers(device, seed + place, 5, 4, 3) for place, name in enumerate(some_heads(device))}
    noise = distribution.noise(heads, 7)
    sample = torch.tensor([6, 0, 3, 3, 1], device=device)
    chosen = noise.choose(sample)
    assert chosen.base.shape == (noise.base.shape[0], 1, 5, 4, 3)
    codes, kept = distribution.codes(heads, noise), distribution.codes(heads, chosen)
    assert kept.shape == (1, 5, 4, 3)
    for window, draw in enumerate(sample.tolist()):
        torch.testing.assert_close(kept[0, window], codes[draw, window], rtol=0, atol=0)


def test_noise_without_thresholds_has_none_to_choose(device):
    base = torch.arange(2.0 * 3 * 2, device=device).view(2, 3, 2, 1, 1)
    chosen = Noise(base=base).choose(torch.tensor([2, 1], device=device))
    assert chosen.level is None
    torch.testing.assert_close(chosen.base.flatten(), torch.tensor([4.0, 3.0, 10.0, 9.0], device=device))


@distributions
def test_annealed_noise_shrinks_what_codes_are_made_of(device, distribution):
    heads = some_heads(device)
    noise = distribution.noise(heads, 50)
    still = distribution.codes(heads, noise, Annealing(noise=0.0))
    if distribution.threshold is not None:
        assert not still.any()
    else:
        gate = distribution.base.gate(heads, noise.base, Annealing())
        expected = heads["shift"].expand_as(still)
        torch.testing.assert_close(still, expected if gate is None else gate * expected)
    quiet, loud = (distribution.codes(heads, noise, Annealing(noise=factor)) != 0 for factor in (0.3, 1.0))
    assert (loud | ~quiet).all()


@distributions
def test_first_heads_are_of_coefficients_that_are_out_and_in(device, distribution):
    out, inside = (
        distribution.probability_active(
            {"shift": per_atom(device, 1.0)}
            | {name: per_atom(device, values[which]) for name, values in distribution.starts.items()}
        )
        for which in (0, 1)
    )
    assert set(distribution.heads) == {"shift"} | distribution.starts.keys()
    if distribution.base.heads[-1] == "gate_logit" or distribution.threshold is not None:
        assert float(out) < 0.2
        assert float(inside) > 0.6


@pytest.mark.parametrize("noise_variance", [0.01, 0.1])
def test_the_sparse_prior_makes_the_joint_density_the_objective_of_the_lasso(device, noise_variance):
    base = sparse_prior(noise_variance, shrinkage=20.0, probability=0.05).base
    code = random_numbers(device, 0, 1000) * 0.01
    log_slab = torch.as_tensor(stats.laplace.logpdf(code.cpu().numpy(), 0, base.slab.scale), device=device)
    penalty = 20.0 * code.abs() / noise_variance
    price = -(log_slab + penalty)
    torch.testing.assert_close(price, price[:1].expand_as(price))
    assert base.probability == 0.05


def test_a_spike_and_slab_is_not_thresholded():
    with pytest.raises(ValueError, match=r"threshold: a spike-and-slab is sparse already"):
        CodeDistribution(base=SpikeAndSlab(), threshold=FIXED)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ShiftedThreshold(level=0.0), r"level = 0.0: it must be positive"),
        (lambda: ShiftedThreshold(level=math.nan), r"level = nan: it must be positive"),
        (lambda: ShiftedThreshold(level=1.0, concentration=-1.0), r"concentration = -1.0: it must be positive"),
        (lambda: ShiftedThreshold(level=1.0, kl_weight=-0.1), r"kl_weight = -0.1: it must be at least 0"),
        (lambda: ShiftedThreshold(level=1.0, kl_weight=math.nan), r"kl_weight = nan: it must be at least 0"),
        (lambda: ShiftedThreshold(level=1.0, kl_weight=math.inf), r"kl_weight = inf: it must be at least 0 and finite"),
    ],
)
def test_numbers_that_are_no_threshold_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
