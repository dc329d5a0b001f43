"""Time of a forward pass against that of as many plain convolutions."""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from sorters import Row
from torch.nn import functional

from si_crsae.core import Placement, Poisson, Sparse
from si_crsae.models import ExponentialAutoencoder, Unrolling

# Name: shape of the observations, of the atoms, stride, iterations.
CASES = {
    "images, 162 atoms of 11 x 11, stride 8": ((8, 1, 139, 139), (162, 1, 11, 11), 8, 15),
    "images, 32 atoms of 9 x 9, stride 1": ((1, 1, 128, 128), (32, 1, 9, 9), 1, 15),
    "time, 3 atoms of 50": ((32, 1, 500), (3, 1, 50), 1, 100),
    "time, 5 atoms of 41, as for spike counts": ((30, 1, 150), (5, 1, 41), 1, 150),
}


def run(arguments: argparse.Namespace, add: Callable[[list[Row]], None]) -> str:
    """Time forward pass and convolutions in turn; returns a table of the median ratio."""
    num_rounds = 3 if arguments.quick else 15
    lines = ["| case | forward pass, times its convolutions | least, most |", "|---" * 3 + "|"]
    for name, (shape, atom_shape, stride, num_iterations) in CASES.items():
        ratios = [
            timed(forward) / timed(floor)
            for forward, floor in [pair(shape, atom_shape, stride, num_iterations)] * num_rounds
        ]
        median = statistics.median(ratios)
        add([{"case": name, "method": "forward", "figure": "ratio", "value": round(median, 3), "unit": "1"}])
        lines.append(f"| {name} | {median:.2f} | {min(ratios):.2f}, {max(ratios):.2f} |")
    return "\n".join(lines)


def pair(
    shape: tuple[int, ...], atom_shape: tuple[int, ...], stride: int, num_iterations: int
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return the forward pass of a model, and the convolutions that it cannot do without."""
    generator = torch.Generator().manual_seed(0)
    observed = torch.poisson(torch.full(shape, 2.0), generator)
    atoms = torch.randn(atom_shape, generator=generator)
    prior = Sparse(regularization=torch.full((atom_shape[0],), 2.0))
    unrolling = Unrolling(num_iterations=num_iterations, placement=Placement(stride=stride))
    model = ExponentialAutoencoder(atoms, Poisson(), prior, unrolling=unrolling)
    one_dimensional = len(shape) == 3
    convolve = functional.conv1d if one_dimensional else functional.conv2d
    transpose = functional.conv_transpose1d if one_dimensional else functional.conv_transpose2d
    code = convolve(observed, atoms, stride=stride)

    def floor() -> None:
        for _ in range(num_iterations):
            convolve(observed, atoms, stride=stride)
            transpose(code, atoms, stride=stride)
        transpose(code, atoms, stride=stride)

    return lambda: model.denoise(observed), floor


@torch.no_grad()
def timed(work: Callable[[], object]) -> float:
    """Return the seconds of a second call: the first one warms up."""
    work()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
