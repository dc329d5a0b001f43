"""Denoising images of counts: nearer to the truth than binning, from learning as well as from the first atoms."""

from functools import partial

import numpy as np
import pytest
import torch

from si_crsae.models.exponential.count_image_learning import CountImageLearning, learn_count_images
from si_crsae.models.exponential.count_images import (
    CountImageDenoiser,
    CountImageNetwork,
    cosine_atoms,
    denoise_count_image,
    spread_grids,
)

SMALL = CountImageNetwork(num_atoms=20, width=5, stride=3, num_iterations=4, num_levels=2)
QUICK = CountImageLearning(num_steps=30, batch_size=4, patch_size=32, num_grids=(1, 1))
denoise = partial(denoise_count_image, num_grids=(3, 3))


def draw_scene(device, seed, *, size=(64, 64)):
    """Return an image from 0.05 to 1 of a few bright disks and edges."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    image = np.full(size, 0.1)
    for _ in range(6):
        row, column, radius = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(5, 18)
        image = np.where((rows - row) ** 2 + (columns - column) ** 2 < radius**2, rng.uniform(0.05, 1.0), image)
    return torch.from_numpy(image).to(device).float()


def draw_counts(image, seed):
    return torch.poisson(image.cpu(), torch.Generator().manual_seed(seed)).to(image)


def squared_error(restored, image):
    return float((restored - image).square().mean())


@pytest.mark.parametrize("peak", [1.0, 4.0, 30.0])
def test_the_first_atoms_already_denoise_at_any_peak(device, peak):
    image = peak * draw_scene(device, 0)
    counts = draw_counts(image, 0)
    restored = denoise(counts, CountImageDenoiser(SMALL).to(device))
    assert restored.shape == counts.shape
    assert (restored > 0).all()
    assert squared_error(restored, image) < 0.35 * squared_error(counts, image)
    assert float(restored.mean()) == pytest.approx(float(counts.mean()), rel=0.1)


def test_learning_lowers_the_error_on_images_that_were_not_learned_from(device):
    learned = learn_count_images([draw_scene(device, seed) for seed in range(8)], learning=QUICK, network=SMALL)
    before = after = 0.0
    for seed in range(100, 106):
        image = 4 * draw_scene(device, seed)
        counts = draw_counts(image, seed)
        before += squared_error(denoise(counts, CountImageDenoiser(SMALL).to(device)), image)
        after += squared_error(denoise(counts, learned), image)
    assert after < 0.97 * before


def test_learning_is_the_same_with_the_same_seed_and_can_be_watched(device):
    images, seen = [draw_scene(device, 0)], []
    learning = CountImageLearning(num_steps=100, batch_size=1, patch_size=32, num_grids=(1, 1))
    first = learn_count_images(images, learning=learning, network=SMALL, watch=lambda step, _: seen.append(step))
    second = learn_count_images(images, learning=learning, network=SMALL)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert seen == [100]


@pytest.mark.parametrize("size", [(61, 70), (40, 33), (64, 64)])
def test_images_of_any_size_are_denoised_up_to_their_borders(device, size):
    image = 5 * torch.ones(size, device=device)
    counts = draw_counts(image, 0)
    restored = denoise(counts, CountImageDenoiser(SMALL).to(device))
    assert restored.shape == size
    border = torch.ones(size, dtype=torch.bool, device=device)
    border[4:-4, 4:-4] = False
    assert squared_error(restored[border], image[border]) < 0.5 * squared_error(counts[border], image[border])


def test_turning_the_image_upside_down_hardly_changes_the_rates(device):
    counts = draw_counts(4 * draw_scene(device, 1), 1)
    denoiser = CountImageDenoiser(SMALL).to(device)
    every_grid = partial(denoise_count_image, denoiser=denoiser, num_grids=(9, 9))
    turned = every_grid(counts.flip(0).contiguous()).flip(0)
    torch.testing.assert_close(turned[8:-8, 8:-8], every_grid(counts)[8:-8, 8:-8], rtol=0.02, atol=0.02)


def test_the_default_network_is_as_small_as_the_published_one():
    assert sum(parameter.numel() for parameter in CountImageDenoiser().parameters()) == 20_574


def test_grids_are_all_different_and_all_there():
    for stride in (1, 3, 8):
        grids = spread_grids(stride**2, stride)
        assert sorted(grids) == [(row, column) for row in range(stride) for column in range(stride)]


def test_the_first_atoms_are_unit_waves_without_a_mean_but_one():
    atoms = cosine_atoms(20, 5)
    torch.testing.assert_close(atoms.flatten(1).norm(dim=1), torch.ones(20))
    torch.testing.assert_close(atoms[0], torch.full((5, 5), 0.2))
    torch.testing.assert_close(atoms[1:].mean(dim=(1, 2)), torch.zeros(19), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("counts", "arguments", "message"),
    [
        (torch.ones(3, 64, 64), {}, r"shape \(3, 64, 64\): it must have two axes"),
        (torch.ones(10, 64), {}, r"at least 16 pixels high and wide"),
        (-torch.ones(64, 64), {}, r"counts are zero or more"),
        (torch.full((64, 64), 0.5), {}, r"fractional values"),
        (torch.full((64, 64), torch.nan), {}, r"NaN"),
        (torch.ones(64, 64), {"num_grids": (10, 1)}, r"num_grids = \(10, 1\): it must have 2 numbers from 1 to 9"),
    ],
)
def test_what_is_no_image_of_counts_is_refused(counts, arguments, message):
    with pytest.raises(ValueError, match=message):
        denoise_count_image(counts, CountImageDenoiser(SMALL), **({"num_grids": (1, 1)} | arguments))


@pytest.mark.parametrize(
    ("images", "changes", "message"),
    [
        ([], {}, r"images is empty"),
        ([torch.ones(20, 64)], {}, r"images\[0\] has shape \(20, 64\)"),
        ([-torch.ones(64, 64)], {}, r"images\[0\] has negative"),
        ([torch.zeros(64, 64)], {}, r"none above zero"),
        ([torch.ones(64, 64)], {"patch_size": 30}, r"patch_size = 30: it must be a multiple of 4"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(images, changes, message):
    settings = {"num_steps": 1, "batch_size": 1, "patch_size": 32, "num_grids": (1, 1)} | changes
    with pytest.raises(ValueError, match=message):
        learn_count_images(images, learning=CountImageLearning(**settings), network=SMALL)
    with pytest.raises(ValueError, match=r"stride = 0"):
        CountImageNetwork(stride=0)
    with pytest.raises(ValueError, match=r"peaks = 0.0: it must be positive"):
        CountImageLearning(peaks=(0.0,))
