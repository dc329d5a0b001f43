"""Claims about the priors: every activation is the minimizer that brute force finds for its expression."""

import math

import pytest
import torch
from drawing import draw_on
from hypothesis import given, settings
from hypothesis import strategies as st
from registry_examples import EXAMPLES_OF_PRIOR, NUM_ATOMS, on_device, prior_examples
from scipy import optimize

from si_crsae.core import PRIORS, GroupSparse, Prior, Ridge, Sparse, TwoSidedGaussian

seeds = st.integers(0, 2**16)
few_examples = settings(max_examples=12)


def per_atom(*values):
    return torch.tensor(values, dtype=torch.float64)


PRIOR_EXAMPLES = prior_examples(level=[0.0, 0.4, 0.8, 3.0], variance=[0.3, 1.0, 2.0, 9.0])
priors = pytest.mark.parametrize("prior", PRIOR_EXAMPLES.values(), ids=PRIOR_EXAMPLES.keys())
# The others' penalties are sums over coefficients.
JOINT = ["group", "nonnegative group", "simplex"]


def draw_code(device, seed, *, shape=(1, NUM_ATOMS, 1)):
    return 2 * draw_on(device, seed)(*shape)


def test_every_prior_has_an_example():
    assert EXAMPLES_OF_PRIOR.keys() == PRIORS.keys()
    assert {type(example) for example in PRIOR_EXAMPLES.values()} == set(PRIORS.values())


def proximal_objective(prior, candidates, code, step_size):
    """Return the objective of many candidates, of shape (candidate, atom, shift)."""
    return (candidates - code).square().flatten(1).sum(dim=1) / 2 + step_size * prior.penalty(candidates)


@pytest.mark.parametrize("name", [name for name in PRIOR_EXAMPLES if name not in JOINT])
@few_examples
@given(seed=seeds, step_size=st.sampled_from([0.1, 0.5, 2.0]))
def test_the_activation_is_what_a_grid_search_of_each_coordinate_finds(device, name, seed, step_size):
    prior, code = on_device(PRIOR_EXAMPLES[name], device), draw_code(device, seed)
    found = prior.activation(code, step_size)
    grid = torch.cat([torch.linspace(-8, 8, 16_001, dtype=torch.float64), per_atom(0.0)]).to(device)
    for atom in range(NUM_ATOMS):
        candidates = found.repeat(len(grid), 1, 1)
        candidates[:, atom, 0] = grid
        best = grid[proximal_objective(prior, candidates, code, step_size).argmin()]
        torch.testing.assert_close(found[0, atom, 0], best, atol=6e-4, rtol=0)


@pytest.mark.parametrize("name", JOINT)
@few_examples
@given(seed=seeds, step_size=st.sampled_from([0.1, 0.5, 2.0]))
def test_the_activation_is_what_a_general_minimizer_finds(device, name, seed, step_size):
    prior, code = on_device(PRIOR_EXAMPLES[name], device), draw_code(device, seed)
    target = code.flatten().cpu().numpy()

    def value(candidate):
        smooth = ((candidate - target) ** 2).sum() / 2
        if name == "simplex":
            return smooth
        pairs = candidate.reshape(2, 2)
        return smooth + step_size * float(prior.regularization.cpu().numpy() @ (pairs**2).sum(axis=1) ** 0.5)

    bounds = [(None, None)] * NUM_ATOMS if name == "group" else [(0.0, None)] * NUM_ATOMS
    constraints = [{"type": "eq", "fun": lambda x: x.sum() - 1}] if name == "simplex" else []
    starts = [target.clip(0.01) if name != "group" else target, abs(target) / abs(target).sum()]
    runs = [
        optimize.minimize(value, start, method="SLSQP", bounds=bounds, constraints=constraints, options={"ftol": 1e-14})
        for start in starts
    ]
    lowest = min(run.fun for run in runs)
    found = prior.activation(code, step_size)
    assert float(proximal_objective(prior, found, code, step_size)) <= lowest + 1e-7


@priors
@few_examples
@given(seed=seeds, radius=st.sampled_from([1e-3, 0.1, 1.0]))
def test_no_nearby_code_is_better_than_the_activation(device, prior, seed, radius):
    prior, code, step_size = on_device(prior, device), draw_code(device, seed), 0.5
    found = prior.activation(code, step_size)
    value = proximal_objective(prior, found, code, step_size)
    assert value.isfinite().all()
    nearby = found + radius * draw_code(device, seed + 1, shape=(500, NUM_ATOMS, 1))
    # Moves within what the prior allows are the ones that count: off it all are infinitely bad.
    allowed = torch.cat([nearby, prior.activation(nearby, 1e-9), nearby.clamp_min(0.0)])
    assert (value <= proximal_objective(prior, allowed, code, step_size) + 1e-9).all()


@priors
@few_examples
@given(seed=seeds)
def test_windows_shifts_and_step_sizes_do_not_mix(device, prior, seed):
    prior, code = on_device(prior, device), draw_code(device, seed, shape=(3, NUM_ATOMS, 5))
    steps = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64, device=device)
    together = prior.activation(code, steps)
    assert together.shape == code.shape
    for window, step_size in enumerate(steps.tolist()):
        for shift in range(5):
            alone = prior.activation(code[window : window + 1, :, shift : shift + 1], step_size)
            torch.testing.assert_close(together[window : window + 1, :, shift : shift + 1], alone)
    image = prior.activation(code[..., :4].reshape(3, NUM_ATOMS, 2, 2), 0.5) if "support" not in repr(prior) else None
    if image is not None:
        torch.testing.assert_close(image.flatten(2), prior.activation(code[..., :4], 0.5))
    assert prior.penalty(together).isfinite().all()
    assert prior.penalty(together).shape == (3,)
    assert isinstance(prior, Prior)


@priors
@few_examples
@given(seed=seeds)
def test_activations_can_be_differentiated(device, prior, seed):
    prior, code = on_device(prior, device), draw_code(device, seed, shape=(2, NUM_ATOMS, 3)).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: prior.activation(values, 0.5), (code,))


def test_the_group_of_zeros_stays_zero_and_has_a_gradient(device):
    code = torch.zeros(1, NUM_ATOMS, 2, requires_grad=True, device=device)
    found = GroupSparse(regularization=torch.tensor([0.3, 1.2], device=device), group_size=2).activation(code, 1.0)
    (gradient,) = torch.autograd.grad(found.sum(), code)
    assert not found.any()
    assert gradient.isfinite().all()


def test_what_a_prior_rules_out_costs_infinitely_much(device):
    code = torch.tensor(
        [[[0.5], [0.5], [0.0], [0.0]], [[1.5], [-0.5], [0.0], [0.0]]], dtype=torch.float64, device=device
    )
    for name in ("nonnegative sparse", "nonnegative group", "simplex"):
        value = on_device(PRIOR_EXAMPLES[name], device).penalty(code)
        assert math.isfinite(value[0])
        assert math.isinf(value[1])
    assert on_device(PRIOR_EXAMPLES["on a support"], device).penalty(code).isinf().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Sparse(regularization=per_atom(1.0)[None]).thresholds,
            r"regularization has shape \(1, 1\): a descent needs one lambda per atom; use fista",
        ),
        (lambda: Sparse(regularization=per_atom(-1.0)), r"regularization = \[-1.0\]: every value must be zero or more"),
        (lambda: Ridge(variance=per_atom(0.0)), r"variance = \[0.0\]: every value must be above zero"),
        (
            lambda: TwoSidedGaussian(positive_variance=per_atom(1.0), negative_variance=per_atom(-1.0)),
            r"negative_variance = \[-1.0\]: every value must be above zero",
        ),
        (lambda: GroupSparse(regularization=per_atom(1.0), group_size=0), r"group_size = 0: it must be at least 1"),
        (
            lambda: GroupSparse(regularization=per_atom(1.0), group_size=3).activation(draw_code("cpu", 0), 1.0),
            r"code has 4 atoms: 1 groups of group_size = 3 need 3",
        ),
    ],
)
def test_priors_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
