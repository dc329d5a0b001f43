"""Claims about the proximal operators."""

from functools import partial

import pytest
import torch
from drawing import draw_on
from hypothesis import given
from hypothesis import strategies as st

from si_crsae.core import soft_threshold

seeds = st.integers(0, 2**16)


@given(seed=seeds, nonnegative=st.booleans(), radius=st.sampled_from([1e-3, 0.1, 1.0]))
def test_soft_threshold_beats_nearby_points(device, seed, nonnegative, radius):
    draw = draw_on(device, seed)
    code, threshold = draw(2, 3, 5), draw(3).abs()

    def proximal_objective(candidate):
        return (candidate - code).square() / 2 + threshold[:, None] * candidate.abs()

    best = soft_threshold(code, threshold, nonnegative=nonnegative)
    for _ in range(20):
        nearby = best + radius * draw(2, 3, 5)
        if nonnegative:
            nearby = nearby.clamp_min(0.0)
        assert (proximal_objective(best) <= proximal_objective(nearby) + 1e-12).all()


@given(seed=seeds)
def test_each_atom_is_shrunk_by_its_own_threshold(device, seed):
    code = draw_on(device, seed)(2, 3, 5)
    shrunk = soft_threshold(code, torch.tensor([0.0, 0.5, 100.0], dtype=torch.float64, device=device))
    torch.testing.assert_close(shrunk[:, 0], code[:, 0])
    torch.testing.assert_close(shrunk[:, 1], code[:, 1].sign() * (code[:, 1].abs() - 0.5).clamp_min(0.0))
    assert not shrunk[:, 2].any()


@given(seed=seeds, nonnegative=st.booleans())
def test_soft_threshold_never_moves_two_codes_apart(device, seed, nonnegative):
    draw = draw_on(device, seed)
    first, second, threshold = draw(1, 3, 5), draw(1, 3, 5), draw(3).abs()
    distance = soft_threshold(first, threshold, nonnegative=nonnegative) - soft_threshold(
        second, threshold, nonnegative=nonnegative
    )
    assert distance.norm() <= (first - second).norm() + 1e-12


@given(seed=seeds)
def test_the_nonnegative_code_is_the_positive_part_of_the_two_sided_one(device, seed):
    draw = draw_on(device, seed)
    code, threshold = draw(2, 3, 5), draw(3).abs()
    two_sided = soft_threshold(code, threshold)
    torch.testing.assert_close(soft_threshold(code, threshold, nonnegative=True), two_sided.clamp_min(0.0))


@given(seed=seeds, nonnegative=st.booleans())
def test_the_code_of_an_image_is_shrunk_as_that_of_a_trace_is(device, seed, nonnegative):
    draw = draw_on(device, seed)
    code, threshold = draw(2, 3, 4, 5), draw(3).abs()
    shrunk = soft_threshold(code, threshold, nonnegative=nonnegative)
    flat = soft_threshold(code.flatten(2), threshold, nonnegative=nonnegative)
    assert torch.equal(shrunk, flat.view_as(code))


def test_soft_threshold_leaves_its_input_as_it_was(device):
    code = torch.ones(1, 1, 3, device=device)
    soft_threshold(code, torch.full((1,), 0.5, device=device))
    assert (code == 1).all()


@pytest.mark.parametrize("nonnegative", [False, True])
def test_soft_threshold_has_the_right_gradients(device, nonnegative):
    draw = draw_on(device, 0)
    for shape in ((2, 3, 4), (2, 3, 2, 3)):
        code, threshold = draw(*shape).requires_grad_(), draw(3).abs().requires_grad_()
        assert torch.autograd.gradcheck(partial(soft_threshold, nonnegative=nonnegative), (code, threshold))
