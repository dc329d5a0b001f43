"""Claims about learning atoms from noisy images and denoising with them."""

import math
from dataclasses import replace

import pytest
import torch

from si_crsae.models.crsae import Crsae, ImageLearning, denoise_image, learn_image_atoms, smooth_part
from si_crsae.models.crsae.image_learning import draw_detail_patches

NOISE_SD = 20.0
FREQUENCY = 1.0  # of the gratings, in radians per pixel
ANGLES = (0.4, 1.9)
SETTINGS = ImageLearning(
    num_atoms=8, num_iterations=10, patch_size=32, num_patches=48, num_epochs=4, learning_rate=0.03
)


def draw_texture(device, seed, *, size=96, scale=1.0):
    """Draw a mid-gray image in which two gratings of known orientation come and go, each in a third of it."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.arange(float(size), device=device)
    rows, columns = torch.meshgrid(places, places, indexing="ij")
    image = torch.full((size, size), 128.0, device=device)
    for angle in ANGLES:
        coarse = torch.randn(1, 1, size // 12, size // 12, generator=generator).to(device)
        envelope = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")[0, 0]
        phase = FREQUENCY * (rows * math.sin(angle) + columns * math.cos(angle))
        image += 60.0 * (envelope - 0.4).clamp_min(0.0) * phase.cos()
    return scale * image


def add_noise(image, seed, *, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return image + scale * NOISE_SD * torch.randn(image.shape, generator=generator).to(image)


def mean_squared_error(image, true):
    return float((image - true).square().mean())


def orientation(atom):
    """Return the angle of the strongest frequency of an atom, from 0 to pi."""
    spectrum = torch.fft.fft2(atom, s=(64, 64)).abs()
    row, column = divmod(int(spectrum[:, :33].argmax()), 33)
    return math.atan2((row + 32) % 64 - 32, column) % math.pi


def random_model(device="cpu"):
    atoms = torch.randn(4, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    return Crsae(atoms, torch.tensor(2.0), num_iterations=5).to(device)


@pytest.fixture(scope="module")
def learned(device):
    images = [add_noise(draw_texture(device, seed), 100 + seed) for seed in range(3)]
    return learn_image_atoms(images, NOISE_SD, settings=SETTINGS)


def test_denoising_with_learned_atoms_removes_most_of_the_noise(device, learned):
    true = draw_texture(device, 10)
    noisy = add_noise(true, 110)
    restored = denoise_image(noisy, NOISE_SD, model=learned)
    gain_db = 10 * math.log10(mean_squared_error(noisy, true) / mean_squared_error(restored, true))
    assert gain_db > 8.0


def test_atoms_have_the_orientations_of_the_texture(device, learned):
    noisy = add_noise(draw_texture(device, 10), 110)
    patches = draw_detail_patches([noisy], NOISE_SD, num_patches=8, settings=SETTINGS, generator=torch.Generator())
    with torch.no_grad():
        used = learned.encode(patches).abs().sum(dim=(0, 2, 3))
    most_used = learned.atoms.detach()[used > used.mean() / 2]
    found = torch.tensor([orientation(atom) for atom in most_used[:, 0]])
    distance = ((found[:, None] - torch.tensor(ANGLES) + math.pi / 2) % math.pi - math.pi / 2).abs()
    assert float(distance.amin(dim=0).max()) < 0.1
    assert float(distance.amin(dim=1).max()) < 0.1


def test_the_rate_stays_between_its_bounds(learned):
    assert 0.1 < float(learned.rate.detach()) < SETTINGS.prior_mean * (1 + 1 / SETTINGS.prior_strength)


def test_the_gray_scale_does_not_matter(device, learned):
    noisy = add_noise(draw_texture(device, 10), 110)
    restored = denoise_image(noisy, NOISE_SD, model=learned)
    scaled = denoise_image(noisy / 255, NOISE_SD / 255, model=learned)
    torch.testing.assert_close(255 * scaled, restored, rtol=0, atol=0.05)


def test_same_seed_same_model_another_seed_another(device):
    image = add_noise(draw_texture(device, 0, size=48), 1)
    settings = replace(SETTINGS, num_epochs=1, num_patches=16)
    first, again, other = (learn_image_atoms([image], NOISE_SD, settings=settings, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.atoms, again.atoms)
    assert torch.equal(first.rate, again.rate)
    assert not torch.equal(first.atoms, other.atoms)


def test_the_global_seed_does_not_matter_and_stays(device):
    image = add_noise(draw_texture(device, 0, size=48), 1)
    state = torch.get_rng_state()
    learn_image_atoms([image], NOISE_SD, settings=replace(SETTINGS, num_epochs=1, num_patches=8))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(5, 5), (12, 31)])
def test_a_constant_image_comes_back_constant(device, shape, dtype):
    image = torch.full(shape, 77.0, dtype=dtype, device=device)
    restored = denoise_image(image, NOISE_SD, model=random_model(device).to(dtype))
    torch.testing.assert_close(restored, image, rtol=0, atol=1e-3)


def test_the_smooth_part_minimizes_its_objective(device):
    image = torch.randn(7, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device)
    smooth = smooth_part(image, smoothness=3.0).requires_grad_()
    slopes = smooth.diff(dim=0).square().sum() + smooth.diff(dim=1).square().sum()
    (gradient,) = torch.autograd.grad((smooth - image).square().sum() / 2 + 3.0 * slopes / 2, smooth)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)


def test_white_noise_in_the_smooth_part_is_as_documented(device):
    noise = torch.randn(400, 400, generator=torch.Generator().manual_seed(0)).to(device)
    assert float(smooth_part(noise).var()) == pytest.approx(1 / (4 * math.pi * 20.0), rel=0.25)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.full((20, 20), float("nan")), "400 NaN or infinite values"),
        (torch.full((20, 20), float("inf")), "400 NaN or infinite values"),
        (torch.zeros(3, 20, 20), "two axes"),
        (torch.zeros(20), "two axes"),
        (torch.zeros(20, 4), r"must be at least \(5, 5\)"),
    ],
)
def test_what_is_no_gray_image_of_sufficient_size_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        denoise_image(image, NOISE_SD, model=random_model())


def test_an_image_of_integers_is_taken_as_it_is():
    image = torch.randint(256, (20, 20), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    model = random_model()
    expected = denoise_image(image.float(), NOISE_SD, model=model)
    for given in (image, image.numpy()):
        torch.testing.assert_close(denoise_image(given, NOISE_SD, model=model), expected, rtol=0, atol=0)


@pytest.mark.parametrize("noise_sd", [0.0, -1.0, float("nan"), float("inf")])
def test_noise_that_is_not_positive_is_refused(noise_sd):
    image = torch.zeros(40, 40)
    with pytest.raises(ValueError, match="noise_sd = .*positive"):
        denoise_image(image, noise_sd, model=random_model())
    with pytest.raises(ValueError, match="noise_sd = .*positive"):
        learn_image_atoms([image], noise_sd)


def test_learning_names_the_image_it_refuses():
    good = torch.zeros(40, 40)
    for bad, message in (
        (torch.full((40, 40), float("nan")), r"images\[1\] has 1600 NaN"),
        (torch.zeros(39, 60), r"images\[1\] has shape \(39, 60\): it must be at least \(40, 40\)"),
        (torch.zeros(1, 40, 40), r"images\[1\] has shape .* two axes"),
    ):
        with pytest.raises(ValueError, match=message):
            learn_image_atoms([good, bad], NOISE_SD)
    with pytest.raises(ValueError, match="images is empty"):
        learn_image_atoms([], NOISE_SD)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_atoms": 0}, "num_atoms = 0"),
        ({"num_patches": 0}, "num_patches = 0"),
        ({"prior_strength": 0.0}, "prior_strength = 0.0"),
        ({"prior_mean": float("nan")}, "prior_mean = nan"),
        ({"patch_size": 8}, "patch_size = 8: it must be at least width = 9"),
    ],
)
def test_settings_that_teach_nothing_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ImageLearning(**changes)


def test_a_model_that_is_none_for_gray_images_is_refused():
    for model in (
        Crsae(torch.ones(2, 1, 5), torch.tensor(2.0)),
        Crsae(torch.ones(2, 3, 5, 5), torch.tensor(2.0)),
        Crsae(torch.ones(2, 1, 5, 5), torch.tensor(2.0), noise_sd=3.0),
    ):
        with pytest.raises(ValueError, match="learn it with learn_image_atoms"):
            denoise_image(torch.zeros(20, 20), NOISE_SD, model=model)
