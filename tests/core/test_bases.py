"""Claims about the base distributions: divergences are what draws and the formulas say, and so are tails and gates."""

import math

import pytest
import torch
from drawing import draw_on
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from si_crsae.core.bases import Annealing, Base, GaussianBase, LaplacianBase, SpikeAndSlab

pytestmark = pytest.mark.usefixtures("seeded")
NUM_SAMPLES = 100_000
FINAL = Annealing()
few_examples = settings(max_examples=12)
seeds = st.integers(0, 2**16)
BASES = {
    "Gaussian": GaussianBase(variance=0.2),
    "Laplacian": LaplacianBase(scale=0.3),
    "spike and Gaussian": SpikeAndSlab(slab=GaussianBase(variance=0.2), probability=0.15),
    "spike and Laplacian": SpikeAndSlab(slab=LaplacianBase(scale=0.3), probability=0.15),
}
bases = pytest.mark.parametrize("base", BASES.values(), ids=BASES.keys())
smooth = pytest.mark.parametrize("name", ["Gaussian", "Laplacian"])
spikes = pytest.mark.parametrize("name", ["spike and Gaussian", "spike and Laplacian"])


def per_atom(device, *values):
    return torch.tensor(values, dtype=torch.float64, device=device).view(1, -1, 1)


def some_heads(device):
    return {
        "shift": per_atom(device, -1.0, 0.0, 0.3, 2.0),
        "log_scale": per_atom(device, 0.05, 0.3, 0.6, 1.5).log(),
        "gate_logit": per_atom(device, -4.0, -1.0, 0.5, 3.0),
    }


def drawn_heads(device, seed):
    shift, log_scale, gate_logit = draw_on(device, seed)(3, 2, 5, 3)
    return {"shift": shift, "log_scale": log_scale - 1, "gate_logit": 3 * gate_logit}


def is_gaussian(base):
    return isinstance(getattr(base, "slab", base), GaussianBase)


def slab_formula(base, heads):
    """Return the divergence of the slab as the specification writes it."""
    slab = getattr(base, "slab", base)
    shift, scale = heads["shift"], heads["log_scale"].exp()
    if is_gaussian(base):
        ratio = scale.square() / slab.variance
        return (shift.square() / slab.variance + ratio - 1 - ratio.log()) / 2
    size = shift.abs()
    return size / slab.scale + scale / slab.scale * (-size / scale).exp() + (slab.scale / scale).log() - 1


def log_ratio(device, base, heads, values):
    """Return log q - log p of values of the slab, with scipy's densities."""
    slab = getattr(base, "slab", base)
    shift, scale, values = heads["shift"].cpu().numpy(), heads["log_scale"].exp().cpu().numpy(), values.cpu().numpy()
    kind = stats.norm if is_gaussian(base) else stats.laplace
    of_prior = math.sqrt(slab.variance) if is_gaussian(base) else slab.scale
    return torch.as_tensor(kind.logpdf(values, shift, scale) - kind.logpdf(values, 0, of_prior), device=device)


def agrees_with_draws(draws, expected, *, num_errors=5):
    """Whether the mean of draws is within some standard errors of what is expected."""
    error = draws.std(dim=0) / math.sqrt(len(draws)) + 1e-9
    return ((draws.mean(dim=0) - expected).abs() < num_errors * error).all()


@bases
@few_examples
@given(seed=seeds)
def test_the_divergence_is_that_of_the_formula(device, base, seed):
    heads = drawn_heads(device, seed)
    expected = slab_formula(base, heads)
    if isinstance(base, SpikeAndSlab):
        inside, prior = heads["gate_logit"].sigmoid().clamp(1e-6, 1 - 1e-6), base.probability
        of_gate = inside * (inside / prior).log() + (1 - inside) * ((1 - inside) / (1 - prior)).log()
        expected = inside * expected + of_gate
    torch.testing.assert_close(base.kl(heads), expected, rtol=1e-5, atol=1e-6)
    assert (base.kl(heads) > -1e-6).all()


@bases
def test_the_divergence_is_the_mean_of_log_q_minus_log_p_over_draws(device, base):
    heads = some_heads(device)
    noise = base.noise(heads, NUM_SAMPLES)
    ratio = log_ratio(device, base, heads, heads["shift"] + base.deviation(heads, noise, FINAL))
    gate = base.gate(heads, noise, FINAL)
    if gate is not None:
        inside, prior = heads["gate_logit"].sigmoid(), base.probability
        outside = ((1 - inside) / (1 - prior)).log()
        ratio = torch.where(gate == 1, (inside / prior).log() + ratio, outside)
    assert agrees_with_draws(ratio, base.kl(heads))


@pytest.mark.parametrize(("base", "scale"), [(GaussianBase(variance=0.2), 0.2**0.5), (LaplacianBase(scale=0.3), 0.3)])
def test_a_posterior_that_is_the_prior_costs_nothing_and_the_gradient_there_is_zero(device, base, scale):
    heads = {
        "shift": torch.zeros(1, 1, 1, device=device),
        "log_scale": torch.full((1, 1, 1), scale, device=device).log(),
    }
    heads = {name: head.requires_grad_() for name, head in heads.items()}
    divergence = base.kl(heads).sum()
    gradients = torch.autograd.grad(divergence, list(heads.values()))
    assert abs(float(divergence.detach())) < 1e-6
    assert all(abs(float(gradient)) < 1e-5 for gradient in gradients)


@bases
def test_divergences_of_extreme_heads_and_their_gradients_are_finite(device, base):
    extremes = torch.tensor([-1e3, -30.0, 0.0, 30.0, 1e3], device=device).view(1, 5, 1)
    heads = {name: extremes.clone().requires_grad_() for name in base.heads}
    heads["shift"] = torch.zeros(1, 5, 1, requires_grad=True, device=device)
    divergence = base.kl(heads)
    gradients = torch.autograd.grad(divergence.sum(), list(heads.values()))
    assert divergence.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


@smooth
def test_deviations_are_of_the_distribution_that_they_are_named_for(device, name):
    base, heads = BASES[name], some_heads(device)
    values = base.deviation(heads, base.noise(heads, 20_000), FINAL) / heads["log_scale"].exp()
    kind = stats.norm if name == "Gaussian" else stats.laplace
    for atom in range(4):
        assert stats.kstest(values[:, 0, atom, 0].cpu().numpy(), kind.cdf).pvalue > 1e-3


@bases
@few_examples
@given(share=st.floats(0.01, 0.99), seed=seeds)
def test_the_quantile_of_a_share_is_exceeded_by_the_rest(device, base, share, seed):
    heads = drawn_heads(device, seed)
    for level in base.quantile(heads, share).flatten().tolist():
        exceeded = base.exceedance(heads, level)
        assert (exceeded - (1 - share)).abs().min() < 1e-6


@bases
@pytest.mark.parametrize("level", [0.1, 0.5, 2.0])
def test_the_exceedance_is_the_share_of_large_deviations(device, base, level):
    heads = some_heads(device)
    deviation = base.deviation(heads, base.noise(heads, NUM_SAMPLES), FINAL)
    exceeded = base.exceedance(heads, level)
    error = (exceeded * (1 - exceeded) / NUM_SAMPLES).sqrt() + 1e-4
    assert (((deviation.abs() > level).double().mean(dim=0) - exceeded).abs() < 5 * error).all()


@spikes
def test_the_gate_fires_with_exactly_the_sigmoid_of_its_head(device, name):
    base, heads = BASES[name], some_heads(device)
    noise = base.noise(heads, NUM_SAMPLES)
    coin = noise[-1]
    assert stats.kstest(coin[:20_000, 0, 0, 0].cpu().numpy(), stats.logistic.cdf).pvalue > 1e-3
    for temperature in (0.1, 0.5, 1.0, 5.0):
        gate = base.gate(heads, noise, Annealing(temperature=temperature))
        torch.testing.assert_close(gate, (coin > -heads["gate_logit"]).double(), rtol=0, atol=0)
    assert agrees_with_draws(gate, heads["gate_logit"].sigmoid())
    torch.testing.assert_close(base.probability_in(heads), heads["gate_logit"].sigmoid())


@spikes
def test_the_gate_and_its_slab_are_independent(device, name):
    base, heads = BASES[name], some_heads(device)
    noise = base.noise(heads, NUM_SAMPLES)
    gate, deviation = base.gate(heads, noise, FINAL), base.deviation(heads, noise, FINAL) / heads["log_scale"].exp()
    for size in (deviation, deviation.abs()):
        assert agrees_with_draws((gate - gate.mean(dim=0)) * (size - size.mean(dim=0)), 0.0)


@spikes
@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_the_gradient_of_the_gate_is_that_of_the_concrete_distribution(device, name, temperature):
    base, heads = BASES[name], some_heads(device)
    logit = heads["gate_logit"].requires_grad_()
    noise = base.noise(heads, 50)
    (gradient,) = torch.autograd.grad(base.gate(heads, noise, Annealing(temperature=temperature)).sum(), logit)
    soft = torch.sigmoid((noise[-1] + logit.detach()) / temperature)
    torch.testing.assert_close(gradient, (soft * (1 - soft) / temperature).sum(dim=0))


@bases
def test_annealing_scales_the_deviations_and_nothing_else(device, base):
    heads = some_heads(device)
    noise = base.noise(heads, 10)
    whole = base.deviation(heads, noise, Annealing())
    torch.testing.assert_close(base.deviation(heads, noise, Annealing(noise=0.25)), 0.25 * whole)
    assert not base.deviation(heads, noise, Annealing(noise=0.0)).any()
    assert Annealing() == Annealing(noise=1.0, temperature=0.5)


@bases
@few_examples
@given(seed=seeds, num_samples=st.integers(1, 4))
def test_noise_has_an_axis_of_draws_and_the_type_of_the_heads(device, base, seed, num_samples):
    heads = {name: head.float() for name, head in drawn_heads(device, seed).items()}
    noise = base.noise(heads, num_samples)
    assert noise.shape == (2 if isinstance(base, SpikeAndSlab) else 1, num_samples, 2, 5, 3)
    assert noise.dtype == torch.float32
    assert base.deviation(heads, noise, FINAL).shape == (num_samples, 2, 5, 3)
    assert set(base.heads) == {"shift"} | base.starts.keys()
    assert isinstance(base, Base)


def test_coefficients_without_a_gate_are_all_in(device):
    heads = some_heads(device)
    for name in ("Gaussian", "Laplacian"):
        base = BASES[name]
        assert base.gate(heads, base.noise(heads, 3), FINAL) is None
        assert (base.probability_in(heads) == 1).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianBase(variance=0.0), r"variance = 0.0: it must be positive"),
        (lambda: GaussianBase(variance=math.inf), r"variance = inf: it must be positive"),
        (lambda: GaussianBase(variance=math.nan), r"variance = nan: it must be positive"),
        (lambda: LaplacianBase(scale=-1.0), r"scale = -1.0: it must be positive"),
        (lambda: SpikeAndSlab(probability=0.0), r"probability = 0.0: it must be between 0 and 1"),
        (lambda: SpikeAndSlab(probability=1.0), r"probability = 1.0: it must be between 0 and 1"),
        (lambda: SpikeAndSlab(probability=math.nan), r"probability = nan: it must be between 0 and 1"),
    ],
)
def test_priors_that_are_none_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
