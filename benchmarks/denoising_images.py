"""Poisson images: the tied network that goes from coarse to fine, and BM3D after Anscombe's transform."""

import argparse
import importlib.util
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from cases import data_folder
from PIL import Image
from sorters import Row
from torch import Tensor
from torch.nn import functional

from si_crsae.models import CountImageDenoiser, CountImageLearning, denoise_count_image, learn_count_images

PEAKS = (1.0, 2.0, 4.0)
SETS = ("set12", "bsd68")
# The camera man of Set12 has a namesake here, which is left out.
PHOTOGRAPHS = (
    "astronaut.png",
    "coffee.png",
    "chelsea.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "brick.png",
    "grass.png",
    "gravel.png",
    "moon.png",
    "coins.png",
)
# Over how many grids of atoms to average: three networks of one learning, from fast to thorough.
GRIDS = {"network, 2 to 4 grids": (2, 3, 4), "network, 6 to 10 grids": (6, 8, 10)}
BM3D = {"bm3d": False, "bm3d, binned": True}


def run(arguments: argparse.Namespace, add: Callable[[list[Row]], None]) -> str:
    """Learn on one set and test on the other, and the other way round; returns a table."""
    lines = ["| tested on | peak | method | PSNR, dB | s per image |", "|---" * 5 + "|"]
    for tested in SETS:
        other = SETS[1 - SETS.index(tested)]
        start = time.perf_counter()
        learning = CountImageLearning(num_steps=arguments.steps, half_precision=True)
        network = learn_count_images([*load_set(other), *load_photographs()], learning=learning, seed=arguments.seed)
        seconds = time.perf_counter() - start
        add(
            [row(tested, "network", "learning", seconds, "s"), row(tested, "network", "parameters", size(network), "1")]
        )
        images = load_set(tested)[: 2 if arguments.quick else None]
        for peak in PEAKS:
            rows = test(tested, images, peak, network, arguments)
            add(rows)
            for method in dict.fromkeys(entry["method"] for entry in rows):
                psnr, each = (entry["value"] for entry in rows if entry["method"] == method)
                lines.append(f"| {tested} | {peak:g} | {method} | {psnr:.2f} | {each:.2f} |")
            sys.stderr.write("\n".join(lines[-len(rows) // 2 :]) + "\n")
    return "\n".join(lines)


def test(
    tested: str, images: list[Tensor], peak: float, network: CountImageDenoiser, arguments: argparse.Namespace
) -> list[Row]:
    """Return the mean PSNR and time of every method on the images of a set."""
    methods: dict[str, Callable[[Tensor], Tensor]] = {
        name: (lambda counts, number=number: denoise_count_image(counts, network, num_grids=number))
        for name, number in GRIDS.items()
    }
    if importlib.util.find_spec("bm3d") is None:
        sys.stderr.write("bm3d is not installed and left out: pip install bm3d\n")
    else:
        methods |= {name: (lambda counts, half=half: anscombe_bm3d(counts, half=half)) for name, half in BM3D.items()}
    decibels: dict[str, list[float]] = {name: [] for name in methods}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for index, image in enumerate(images):
        scale = float(image.max()) / peak
        generator = torch.Generator().manual_seed(100_000 + 1000 * arguments.seed + index)
        counts = torch.poisson(image / scale, generator)
        for name, method in methods.items():
            start = time.perf_counter()
            restored = method(counts) * scale
            seconds[name].append(time.perf_counter() - start)
            decibels[name].append(psnr(restored, image))
    case = f"{tested}_peak{peak:g}"
    return [
        entry
        for name in methods
        for entry in (
            row(case, name, "psnr", float(np.mean(decibels[name])), "dB"),
            row(case, name, "seconds", float(np.mean(seconds[name])), "s"),
        )
    ]


def anscombe_bm3d(counts: Tensor, *, half: bool) -> Tensor:
    """Return BM3D of the counts after Anscombe's transform, whose noise is 1; with `half`, of pixels binned by two.

    The inverse is the closed form of the exact unbiased one: Makitalo and Foi, "A closed-form approximation of the
    exact unbiased inverse of the Anscombe variance-stabilizing transformation", IEEE TIP, 2011.
    """
    from bm3d import bm3d

    rows, columns = counts.shape
    if half:
        padded = functional.pad(counts[None, None], (0, columns % 2, 0, rows % 2), mode="reflect")
        coarse = anscombe_bm3d(4 * functional.avg_pool2d(padded, 2)[0, 0], half=False) / 4
        fine = functional.interpolate(coarse[None, None], scale_factor=2, mode="bilinear")[0, 0]
        return fine[:rows, :columns]
    transformed = 2 * np.sqrt(counts.numpy() + 0.375)
    smooth = np.maximum(bm3d(transformed, 1.0), 2 * math.sqrt(0.375))
    root = math.sqrt(1.5)
    rate = (smooth / 2) ** 2 + root / 4 / smooth - 11 / 8 / smooth**2 + 5 / 8 * root / smooth**3 - 1 / 8
    return torch.from_numpy(np.maximum(rate, 0.0)).float()


def load_set(name: str) -> list[Tensor]:
    """Return the images of a set."""
    folder = data_folder() / "images" / name
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise FileNotFoundError(f"no images in {folder}: set SI_CRSAE_DATA to the data folder")
    return [load(path) for path in paths]


def load_photographs() -> list[Tensor]:
    """Return the photographs that scikit-image comes with, or none if it is not installed."""
    specification = importlib.util.find_spec("skimage")
    if specification is None or specification.origin is None:
        sys.stderr.write("scikit-image is not installed, its photographs are left out: pip install scikit-image\n")
        return []
    folder = Path(specification.origin).parent / "data"
    return [load(folder / name) for name in PHOTOGRAPHS]


def load(path: Path) -> Tensor:
    """Return a gray image from 0 to 1."""
    with Image.open(path) as file:
        return torch.from_numpy(np.array(file.convert("L"), dtype=np.float32)) / 255


def psnr(image: Tensor, true: Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB, the peak that of the image."""
    return 20 * math.log10(float(true.max())) - 10 * math.log10(float((image - true).square().mean()))


def size(network: CountImageDenoiser) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def row(case: str, method: str, figure: str, value: float, unit: str) -> Row:
    """One row of the results."""
    return {"case": case, "method": method, "figure": figure, "value": round(value, 4), "unit": unit}
