"""Claims about given templates: a dictionary of few channels and low rank that differs from them by a stated error."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from si_crsae.core.operators.compression import compress_templates

seeds = st.integers(0, 2**16)
few_examples = settings(max_examples=20)


def draw_templates(device, seed, *, num_atoms=4, num_channels=6, width=20, size=30.0):
    """Return templates that fade over channels, as spikes do, from `size` down to nearly nothing."""
    generator = torch.Generator().manual_seed(seed)
    fading = 0.3 ** torch.rand(num_atoms, num_channels, generator=generator).to(device).mul(6)
    fading[:, 0] = 1.0
    return (
        size
        * fading[:, :, None]
        * torch.randn(num_atoms, num_channels, width, generator=generator).to(device)
        / width**0.5
    )


@few_examples
@given(seed=seeds, max_error=st.sampled_from([0.0, 0.1, 1.0, 3.0]))
def test_no_template_changes_by_more_than_the_allowed_error(device, seed, max_error):
    templates = draw_templates(device, seed)
    dictionary = compress_templates(templates, num_before=5, max_error=max_error)
    error = (dictionary.templates - templates).flatten(1).norm(dim=1)
    assert (error <= max_error + 1e-4).all()
    assert (dictionary.num_before, dictionary.width, dictionary.num_atoms) == (5, 20, 4)


def test_a_larger_error_leaves_fewer_channels_and_components(device):
    templates = draw_templates(device, 3)
    sizes = []
    for max_error in (0.0, 0.5, 2.0):
        dictionary = compress_templates(templates, num_before=5, max_error=max_error)
        ranks = torch.linalg.matrix_rank(dictionary.weights, atol=1e-4).sum()
        sizes.append((int(dictionary.weights.any(dim=2).sum()), int(ranks)))
    assert sizes[0] == (24, 24)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2][0] < 20
    assert sizes[2][1] < 20


def test_templates_of_one_shape_need_one_component(device):
    shape = torch.linspace(-1, 1, 20, device=device)
    gains = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 4.0]], device=device)
    dictionary = compress_templates(gains[:, :, None] * shape, num_before=5, max_error=0.01)
    assert len(dictionary.basis) == 1
    torch.testing.assert_close(dictionary.weights.any(dim=2), gains > 0)


def test_a_template_as_small_as_the_error_is_refused(device):
    templates = draw_templates(device, 0)
    templates[2] *= 0.5 / templates[2].norm()
    with pytest.raises(ValueError, match=r"templates \[2\] have a norm of at most max_error = 1.0; leave them out"):
        compress_templates(templates, num_before=5, max_error=1.0)


def test_a_negative_error_is_refused(device):
    with pytest.raises(ValueError, match="max_error = -1.0: it must be zero or more"):
        compress_templates(draw_templates(device, 0), num_before=5, max_error=-1.0)
