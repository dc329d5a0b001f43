"""Denoise images with CRsAE: peak signal-to-noise ratio (PSNR) of a rate learned by EM, and of others.

Atoms and rate are learned from noisy images of one set, the test images are of another: those of the data folder's
images/ (environment variable SI_CRSAE_DATA, default ../shared/data), gray values 0 to 255, whose noise is white, of
known standard deviation and seeded. PSNR is the mean over test images, of which a central square is used (--crop 0 for
whole images). The file named by --out is rewritten after each method.

noisy: the image as given. em: `learn_image_atoms`, atoms and rate from the noisy images alone. em-atoms-first-rate: its
atoms, the rate it started from. em-atoms-best-rate: its atoms, the rate that clean training images ask for, what no
rate can do better but by chance. plain: atoms and rate learned by back-propagation of the reconstruction error of
the noisy patches, Eq. 24 alone, from the same start in as many steps; its rate runs to zero. bm3d: if installed (pip
install bm3d).

gabor: mean over atoms of the correlation with the Gabor function that fits best, out of a grid; for white noise too.

    python benchmarks/crsae_images.py --quick
    python benchmarks/crsae_images.py --train set12 --test bsd68 --plot atoms.png --out rows.json
"""

import argparse
import importlib.util
import itertools
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from cases import data_folder
from command_line import make_parser, names, parse
from PIL import Image
from scipy.optimize import minimize_scalar
from sorters import Row, figures_of, machine_row, save
from torch import Tensor

from si_crsae.models.atoms import on_tangent
from si_crsae.models.crsae import Crsae, ImageLearning, denoise_image, learn_image_atoms
from si_crsae.models.crsae.autoencoder import reconstruction_loss

METHODS = ("noisy", "em", "em-atoms-first-rate", "em-atoms-best-rate", "plain", "bm3d")
WHITE = 255.0
PLAIN_RATE_STEP = 0.05
SMALLEST_RATE = 1e-3
NUM_SEARCH_IMAGES, SEARCH_CROP, SEARCH_RATES = 6, 96, (1.0, 4.0)
# Seeds of the noise: train and test must differ, the search for the best rate must not see learning's noise.
TRAIN_SEED, TEST_SEED, SEARCH_SEED = 0, 10_000, 20_000


class PlainBackpropagation:
    """Atoms and rate by back-propagation of Eq. 24 through the encoder: one stage, one loss."""

    def __init__(self, model: Crsae, settings: ImageLearning) -> None:
        self.model = model
        groups = [
            {"params": [model.atoms], "lr": settings.learning_rate},
            {"params": [model.rate], "lr": PLAIN_RATE_STEP},
        ]
        self.optimizer = torch.optim.Adam(groups, amsgrad=True)

    def step(self, windows: Tensor) -> float:
        """Change the model for a mini-batch; returns its loss before the change."""
        self.optimizer.zero_grad()
        loss = reconstruction_loss(windows, self.model(windows))
        loss.backward()
        self.model.atoms.grad = on_tangent(self.model.atoms.grad, self.model.atoms.detach())
        self.optimizer.step()
        self.model.normalize()
        with torch.no_grad():
            self.model.rate.clamp_(min=SMALLEST_RATE)
        return float(loss.detach())

    @torch.no_grad()
    def loss(self, windows: Tensor) -> float:
        """Return the loss of some windows, per window."""
        return float(reconstruction_loss(windows, self.model(windows)))


def main() -> None:
    """Run what the command line asks for."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    rows = [machine_row(arguments.threads), describe(arguments)]
    models = {}
    for noise_sd in arguments.sigmas:
        case = f"{arguments.test}_sigma{noise_sd:g}"
        for method in arguments.methods:
            rows += measure(method, case, noise_sd, models, arguments)
            save(rows, arguments.out)
            sys.stderr.write(f"{case} {method}: {figures_of(rows, case, method)}\n")
    sys.stdout.write(markdown_table(rows, arguments))
    if arguments.plot is not None:
        plot(models, arguments)


def parse_arguments() -> argparse.Namespace:
    """Read the command line; --quick only changes the defaults."""
    parser = make_parser(__doc__, quick="sigma 25, few and small images, a third of the steps")
    parser.add_argument("--plot", type=Path, help="image file of the atoms learned; needs matplotlib")
    parser.add_argument("--sigmas", type=names, help="of the noise, default: 15,25,50")
    parser.add_argument("--methods", type=names, help=f"default: {','.join(METHODS)}")
    parser.add_argument("--train", default="bsd68", help="set of images to learn from, default: bsd68")
    parser.add_argument("--test", default="set12", help="set of images to denoise, default: set12")
    parser.add_argument("--crop", type=int, help="side of the central square of test images, 0: whole; default: 256")
    parser.add_argument("--seed", type=int, default=0, help="of noise and learning, default: 0")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    arguments = parse(parser, methods=METHODS)
    for folder in (arguments.train, arguments.test):
        if not (data_folder() / "images" / folder).is_dir():
            parser.error(f"no images in {data_folder() / 'images' / folder}: set SI_CRSAE_DATA to the data folder")
    arguments.sigmas = [float(sigma) for sigma in arguments.sigmas or (["25"] if arguments.quick else [15, 25, 50])]
    arguments.crop = (128 if arguments.quick else 256) if arguments.crop is None else arguments.crop
    arguments.methods = arguments.methods or list(METHODS)
    if "bm3d" in arguments.methods and importlib.util.find_spec("bm3d") is None:
        sys.stderr.write("bm3d is not installed and left out: pip install bm3d\n")
        arguments.methods.remove("bm3d")
    arguments.settings = ImageLearning(num_patches=96, num_epochs=2) if arguments.quick else ImageLearning()
    return arguments


def load_images(folder: str, *, crop: int = 0, count: int | None = None) -> list[Tensor]:
    """Return the gray images of a set, or their central squares."""
    images = []
    for path in sorted((data_folder() / "images" / folder).glob("*.png"))[:count]:
        with Image.open(path) as file:
            image = torch.from_numpy(np.array(file.convert("L"), dtype=np.float32))
        top, left = (max(extent - crop, 0) // 2 if crop else 0 for extent in image.shape)
        images.append(image[top : top + (crop or image.shape[0]), left : left + (crop or image.shape[1])].contiguous())
    return images


def add_noise(images: list[Tensor], noise_sd: float, *, seed: int) -> list[Tensor]:
    """Return the images with white noise, each with a seed of its own."""
    generators = (torch.Generator().manual_seed(seed + index) for index in range(len(images)))
    return [
        image + noise_sd * torch.randn(image.shape, generator=generator)
        for image, generator in zip(images, generators, strict=True)
    ]


def measure(
    method: str, case: str, noise_sd: float, models: dict[tuple[str, float], Crsae], arguments: argparse.Namespace
) -> list[Row]:
    """Learn, if the method does, and denoise the test images."""
    start = time.perf_counter()
    model = learn(method, noise_sd, models, arguments)
    learned = time.perf_counter()
    clean = load_images(arguments.test, crop=arguments.crop, count=4 if arguments.quick else None)
    noisy = add_noise(clean, noise_sd, seed=TEST_SEED + arguments.seed)
    restored = [restore(method, image, noise_sd, model) for image in noisy]
    seconds = (time.perf_counter() - learned) / len(clean)
    figures = {"psnr": np.mean([psnr(*pair) for pair in zip(restored, clean, strict=True)]), "seconds": seconds}
    if model is not None:
        models[method, noise_sd] = model
        figures |= {"rate": float(model.rate.detach()), "learning": learned - start}
        if method in ("em", "plain"):
            noise = torch.randn(model.atoms.shape, generator=torch.Generator().manual_seed(arguments.seed))
            figures |= {"gabor": gabor_likeness(model.atoms.detach()), "gabor_noise": gabor_likeness(noise)}
    units = {"psnr": "dB", "seconds": "s", "learning": "s", "rate": "1/noise sd"}
    return [
        {
            "case": case,
            "method": method,
            "figure": figure,
            "value": round(float(value), 4),
            "unit": units.get(figure, "1"),
        }
        for figure, value in figures.items()
    ]


def learn(
    method: str, noise_sd: float, models: dict[tuple[str, float], Crsae], arguments: argparse.Namespace
) -> Crsae | None:
    """Return the model of a method, None for one without."""
    if method in ("noisy", "bm3d"):
        return None
    clean = load_images(arguments.train)
    noisy = add_noise(clean, noise_sd, seed=TRAIN_SEED + arguments.seed)
    settings, seed = arguments.settings, arguments.seed
    if method == "plain":
        return learn_image_atoms(noisy, noise_sd, settings=settings, make_trainer=PlainBackpropagation, seed=seed)
    if ("em", noise_sd) not in models:
        models["em", noise_sd] = learn_image_atoms(noisy, noise_sd, settings=settings, seed=seed)
    model = models["em", noise_sd]
    if method == "em-atoms-first-rate":
        return with_rate(model, settings.first_rate)
    if method == "em-atoms-best-rate":
        return with_rate(model, search_rate(model, noise_sd, arguments))
    return model


def with_rate(model: Crsae, rate: float) -> Crsae:
    """Return a model of the same atoms with another rate."""
    return Crsae(model.atoms.detach(), torch.tensor(rate), num_iterations=model.num_iterations)


def search_rate(model: Crsae, noise_sd: float, arguments: argparse.Namespace) -> float:
    """Return the rate with which training images are denoised best, which takes clean ones."""
    clean = load_images(arguments.train, crop=SEARCH_CROP, count=NUM_SEARCH_IMAGES)
    noisy = add_noise(clean, noise_sd, seed=SEARCH_SEED + arguments.seed)

    def squared_error(log_rate: float) -> float:
        trial = with_rate(model, math.exp(log_rate))
        pairs = zip(noisy, clean, strict=True)
        return sum(float((denoise_image(image, noise_sd, model=trial) - true).square().mean()) for image, true in pairs)

    bounds = [math.log(rate) for rate in SEARCH_RATES]
    found = minimize_scalar(squared_error, bounds=bounds, method="bounded", options={"xatol": 0.03, "maxiter": 9})
    return math.exp(found.x)


def restore(method: str, image: Tensor, noise_sd: float, model: Crsae | None) -> Tensor:
    """Return an image as a method denoises it."""
    if method == "bm3d":
        from bm3d import bm3d

        return torch.from_numpy(bm3d(image.numpy(), noise_sd)).float()
    return image if model is None else denoise_image(image, noise_sd, model=model)


def psnr(image: Tensor, true: Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB."""
    return 20 * math.log10(WHITE) - 10 * math.log10(float((image - true).square().mean()))


def gabor_likeness(atoms: Tensor) -> float:
    """Return the mean over atoms of the largest correlation with a Gabor function, its phase free."""
    width = atoms.shape[-1]
    grid = torch.arange(width, dtype=torch.float32) - (width - 1) / 2
    rows, columns = torch.meshgrid(grid, grid, indexing="ij")
    shifts = torch.linspace(-width / 2, width / 2, 7).tolist()
    angles = [math.pi * step / 16 for step in range(16)]
    frequencies = [2 * math.pi * cycles / width for cycles in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)]
    spreads = [(across, across * ratio) for across in (width / 9, width / 6, width / 4) for ratio in (1.0, 2.0, 4.0)]
    best = torch.zeros(len(atoms))
    unit = torch.nn.functional.normalize(atoms.flatten(1))
    for angle, (across, along) in itertools.product(angles, spreads):
        waves = []
        for down, right, frequency in itertools.product(shifts, shifts, frequencies):
            first = (columns - right) * math.cos(angle) + (rows - down) * math.sin(angle)
            second = (rows - down) * math.cos(angle) - (columns - right) * math.sin(angle)
            envelope = torch.exp(-(first / across).square() / 2 - (second / along).square() / 2)
            waves.append(torch.stack([envelope * (frequency * first).cos(), envelope * (frequency * first).sin()]))
        pair = torch.linalg.qr(torch.stack(waves).flatten(2).transpose(1, 2)).Q
        explained = torch.einsum("aw,gwp->agp", unit, pair).square().sum(dim=2)
        best = torch.maximum(best, explained.amax(dim=1))
    return float(best.sqrt().mean())


def describe(arguments: argparse.Namespace) -> Row:
    """What was asked for."""
    value = {
        "train": arguments.train,
        "test": arguments.test,
        "crop": arguments.crop,
        "seed": arguments.seed,
        "settings": {name: getattr(arguments.settings, name) for name in arguments.settings.__slots__},
    }
    return {"case": "settings", "method": "", "figure": "given", "value": value, "unit": ""}


def markdown_table(rows: list[Row], arguments: argparse.Namespace) -> str:
    """A line for every sigma and method."""
    header = ["case", "method", "PSNR, dB", "rate", "Gabor-likeness", "of white noise", "learning, s", "s per image"]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for noise_sd in arguments.sigmas:
        case = f"{arguments.test}_sigma{noise_sd:g}"
        for method in arguments.methods:
            figures = figures_of(rows, case, method)
            digits = {"psnr": 2, "rate": 3, "gabor": 2, "gabor_noise": 2, "learning": 0, "seconds": 1}
            cells = [f"{figures[name]:.{n}f}" if name in figures else "" for name, n in digits.items()]
            lines.append(f"| {case} | {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(models: dict[tuple[str, float], Crsae], arguments: argparse.Namespace) -> None:
    """Draw the atoms of every model that was learned, one panel each."""
    from matplotlib.figure import Figure

    learned = [key for key in models if key[0] in ("em", "plain")]
    figure = Figure(figsize=(4 * len(learned), 4.3), layout="constrained")
    for axes, key in zip(figure.subplots(1, len(learned), squeeze=False)[0], learned, strict=True):
        axes.imshow(mosaic(models[key].atoms.detach()), cmap="gray", vmin=-1, vmax=1)
        axes.set_title(f"{key[0]}, sigma {key[1]:g}")
        axes.set_axis_off()
    figure.savefig(arguments.plot, dpi=150)


def mosaic(atoms: Tensor) -> Tensor:
    """Return the atoms side by side, each scaled to its largest value."""
    per_row = math.ceil(math.sqrt(len(atoms)))
    width = atoms.shape[-1] + 1
    picture = torch.ones(math.ceil(len(atoms) / per_row) * width - 1, per_row * width - 1)
    for index, atom in enumerate(atoms[:, 0]):
        top, left = index // per_row * width, index % per_row * width
        picture[top : top + width - 1, left : left + width - 1] = atom / atom.abs().max()
    return picture


if __name__ == "__main__":
    main()
