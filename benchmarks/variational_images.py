"""The published table of variational sparse coding on whitened patches, its methods beside FISTA and ours.

The published settings (perceptron, SGD, priors, weight 0.01 of the divergence, J draws of which the best counts) are
kept but for the images, which are not at hand, and the number of steps; warm-ups are shares of it. FISTA's dictionary
is learned by the same rule from exact codes. Dictionaries of all methods are penalized alike, and not normalized.
"""

import argparse
import dataclasses
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import torch
from cases import data_folder
from skimage import color, data
from skimage.io import imread
from sorters import Row
from torch import Tensor

from si_crsae.core import (
    CodeDistribution,
    GaussianBase,
    LaplacianBase,
    LinkedView,
    Quadratic,
    ShiftedThreshold,
    Sparse,
    SpikeAndSlab,
    fista_solve,
    sparse_prior,
)
from si_crsae.evaluation.patches import draw_patches, whiten_image
from si_crsae.models import (
    CodeStatistics,
    Objective,
    PerceptronEncoder,
    UnrolledEncoder,
    VariationalFitting,
    VariationalModel,
    VariationalTraining,
)
from si_crsae.models.variational.statistics import statistics_of

SHRINKAGE = 20.0
KL_WEIGHT = 0.01
BATCH = 100
NUM_TRAINING, NUM_VALIDATION = 80_000, 4_000
PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "coins", "moon", "rocket")
FIGURES = ("loss", "1/2 error", "l1", "active", "posterior", "coefficients", "silent", "bits", "jaccard", "seconds")
PUBLISHED = {
    "Gaussian": CodeDistribution(base=GaussianBase()),
    "Laplacian": CodeDistribution(base=LaplacianBase()),
    "spike-and-slab": CodeDistribution(base=SpikeAndSlab()),
    "thresholded Gaussian": CodeDistribution(base=GaussianBase(), threshold=ShiftedThreshold(level=0.52)),
    "thresholded Gaussian + Gamma": CodeDistribution(
        base=GaussianBase(), threshold=ShiftedThreshold(level=0.52, learned=True)
    ),
    "thresholded Laplacian": CodeDistribution(threshold=ShiftedThreshold(level=0.25)),
    "thresholded Laplacian + Gamma": CodeDistribution(threshold=ShiftedThreshold(level=0.25, learned=True)),
}
OURS = {"sparse prior": 0.1, "sparse prior, more noise": 0.32}
PUBLISHED_FITTING = VariationalFitting(
    optimizer="sgd", learning_rate=0.01, dictionary="fixed_code", initial_norm=1.0, first_kl=1.0
)
OUR_FITTING = VariationalFitting(learning_rate=2e-3, dictionary="fixed_code", initial_norm=10.0, first_kl=0.1)
# A perceptron starts with gates half open and scales 200 times the prior's: whatever the divergence counts at first, it
# shuts all gates for good.
OUR_FITTING_OF_PERCEPTRONS = dataclasses.replace(OUR_FITTING, first_kl=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method of the table; no distribution for FISTA."""

    name: str
    distribution: CodeDistribution | None = None
    noise_variance: float = 1.0
    num_samples: int = 1
    is_unrolled: bool = False
    fitting: VariationalFitting = OUR_FITTING


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What a method has learned."""

    atoms: Tensor
    encode: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
    """Returns two draws of codes and the divergence of their posterior."""
    seconds: float


def run(arguments: argparse.Namespace, add: Callable[[list[Row]], None]) -> str:
    """Learn by every method from the same patches; returns the tables."""
    patches, validation = load_patches(arguments.size)
    num_pixels = arguments.size**2
    case = f"patches of {arguments.size} x {arguments.size}, {arguments.steps} steps"
    baseline = float(validation.square().sum(dim=(1, 2)).mean()) / 2
    add([Row(case=case, method="all-zero code", figure="loss", value=baseline, unit="")])
    chosen = arguments.methods.split(";") if arguments.methods else None
    methods = [method for method in list_methods(num_pixels) if chosen is None or method.name in chosen]
    if arguments.warmup_steps:
        methods = [with_published_warmup(method, arguments.steps) for method in methods]
    if arguments.quick:
        methods = [method for method in methods if method.num_samples == 1]
    lines = [f"All-zero code: {baseline:.1f}", "", draws_of_priors(baseline, num_pixels, case, add)]
    lines += ["", "| method | " + " | ".join(FIGURES) + " |"]
    lines.append("|---" * (1 + len(FIGURES)) + "|")
    pictures: dict[str, Tensor] = {}
    last: dict[str, Learned] = {}
    for method in methods:
        found = []
        for seed in range(arguments.seed, arguments.seed + arguments.seeds):
            torch.manual_seed(seed)
            learn = learn_by_fista if method.distribution is None else learn_by_variation
            last[method.name] = learned = learn(method, patches, num_steps=arguments.steps)
            found.append(figures_of(learned, validation))
        pictures[method.name] = recover_dictionary(patches[:20_000], last[method.name].encode(patches[:20_000])[0])
        for figure, values in zip(FIGURES, zip(*found, strict=True), strict=True):
            add([Row(case=case, method=method.name, figure=figure, value=value, unit="") for value in values])
        lines.append(f"| {method.name} | " + " | ".join(spread(values) for values in zip(*found, strict=True)) + " |")
        print(lines[-1], flush=True)
    if arguments.plot is not None:
        plot_dictionaries(pictures, arguments.size).savefig(arguments.plot, dpi=90)
    return "\n".join([*lines, "", time_encoding(last, validation, case, add)])


def list_methods(num_pixels: int) -> list[Method]:
    """Return FISTA, the published methods at J = 1 and 20, and ours with either network."""
    variance = num_pixels * KL_WEIGHT / 2
    methods = [Method(name="FISTA")]
    for num_samples in (1, 20):
        methods += [
            Method(
                name=f"{name}, J = {num_samples}",
                distribution=distribution,
                noise_variance=variance,
                num_samples=num_samples,
                fitting=PUBLISHED_FITTING,
            )
            for name, distribution in PUBLISHED.items()
        ]
    methods.append(
        Method(
            name="spike-and-slab, unrolled",
            distribution=PUBLISHED["spike-and-slab"],
            noise_variance=variance,
            is_unrolled=True,
        )
    )
    for is_unrolled in (True, False):
        for name, noise_variance in OURS.items():
            methods.append(
                Method(
                    name=f"{name}, {'unrolled' if is_unrolled else 'perceptron'}",
                    distribution=sparse_prior(noise_variance, shrinkage=SHRINKAGE),
                    noise_variance=noise_variance,
                    is_unrolled=is_unrolled,
                    fitting=OUR_FITTING if is_unrolled else OUR_FITTING_OF_PERCEPTRONS,
                )
            )
    return methods


def with_published_warmup(method: Method, num_steps: int) -> Method:
    """Return a published method that warms up from step 1,500 to step 6,000; others as they are."""
    if method.fitting != PUBLISHED_FITTING:
        return method
    fitting = dataclasses.replace(method.fitting, warmup=(1500 / num_steps, 6000 / num_steps))
    return dataclasses.replace(method, fitting=fitting)


def sizes_of_priors(num_draws: int = 200_000) -> dict[str, float]:
    """Return the mean size of one coefficient that every published method draws where the posterior is the prior."""
    torch.manual_seed(0)
    found = {}
    for name, distribution in PUBLISHED.items():
        base, threshold = distribution.base, distribution.threshold
        values = {"shift": 0.0}
        if isinstance(base, SpikeAndSlab):
            values["gate_logit"] = math.log(base.probability / (1 - base.probability))
            base = base.slab
        values["log_scale"] = math.log(base.scale if isinstance(base, LaplacianBase) else math.sqrt(base.variance))
        if threshold is not None and threshold.learned:
            values["log_concentration"] = math.log(threshold.concentration)
            values["log_rate"] = math.log(threshold.concentration / threshold.level)
        heads = {head: torch.full((num_draws, 1, 1), value) for head, value in values.items()}
        found[name] = float(distribution.codes(heads, distribution.noise(heads, 1)).abs().mean())
    return found


def draws_of_priors(baseline: float, num_atoms: int, case: str, add: Callable[[list[Row]], None]) -> str:
    """Return what the published methods score if they learn nothing: codes drawn from the prior, atoms of zero."""
    lines = ["| draws of the prior, atoms of zero | loss |", "|---|---|"]
    for name, size in sizes_of_priors().items():
        loss = baseline + SHRINKAGE * num_atoms * size
        add([Row(case=case, method=name, figure="loss of draws of the prior", value=loss, unit="")])
        lines.append(f"| {name} | {loss:.1f} |")
    return "\n".join(lines)


def load_patches(size: int) -> tuple[Tensor, Tensor]:
    """Return standardized patches to learn from and to validate with, of different images."""
    files = sorted((data_folder() / "images").glob("*/*.png"))
    if not files:
        raise FileNotFoundError(f"no images in {data_folder() / 'images'}: set SI_CRSAE_DATA to the data folder")
    images = [imread(file) for file in files] + [getattr(data, name)() for name in PHOTOGRAPHS]
    gray = [color.rgb2gray(image) if image.ndim == 3 else image for image in images]
    whitened = [whiten_image(image) for image in gray]
    training = draw_patches(
        [image for index, image in enumerate(whitened) if index % 5], size=size, num_patches=NUM_TRAINING
    )
    validation = draw_patches(whitened[::5], size=size, num_patches=NUM_VALIDATION, seed=1)
    mean, sd = training.mean(axis=0), training.std(axis=0)
    return tuple(torch.from_numpy((patches - mean) / sd)[:, :, None] for patches in (training, validation))


def learn_by_variation(method: Method, patches: Tensor, *, num_steps: int) -> Learned:
    """Learn a network and a dictionary; the atoms start at random."""
    assert method.distribution is not None
    atoms = first_atoms(patches.shape[1], method.fitting.initial_norm)
    if method.is_unrolled:
        network: torch.nn.Module = UnrolledEncoder(atoms, method.distribution)
    else:
        network = PerceptronEncoder((len(atoms), atoms.shape[1], 1), method.distribution)
    model = VariationalModel(atoms, network, method.distribution)
    objective = Objective(noise_variance=method.noise_variance, num_samples=method.num_samples, combine="max")
    training = VariationalTraining(model, objective, method.fitting, num_steps=num_steps)
    start = time.perf_counter()
    for batch in batches(patches, num_steps):
        training.step(batch)
    seconds = time.perf_counter() - start

    @torch.no_grad()
    def encode(windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heads = model.infer(windows)
        draws = []
        for _ in range(2):
            noise = method.distribution.noise(heads, method.num_samples)
            if method.num_samples > 1:
                costs = model.costs(windows, method.distribution.codes(heads, noise), method.noise_variance)
                noise = noise.choose(costs.argmin(dim=0))
            draws.append(method.distribution.codes(heads, noise)[0])
        return draws[0], draws[1], method.distribution.kl(heads)

    return Learned(atoms=model.atoms.detach(), encode=encode, seconds=seconds)


def learn_by_fista(method: Method, patches: Tensor, *, num_steps: int) -> Learned:
    """Learn a dictionary from exact codes, by the rule of the others; lambda grows for a quarter of the steps."""
    atoms = first_atoms(patches.shape[1], method.fitting.initial_norm)
    penalty = Objective().atom_penalty
    start = time.perf_counter()
    for step, batch in enumerate(batches(patches, num_steps)):
        progress = step / num_steps
        code = exact_code(batch, atoms, SHRINKAGE * min(1.0, 0.1 + 3.6 * progress))[:, :, 0]
        residual = batch[:, :, 0] - code @ atoms[:, :, 0]
        gradient = code.T @ residual / len(batch) - 2 * penalty * atoms[:, :, 0]
        atoms = atoms + method.fitting.dictionary_rate * 0.05**progress * gradient[:, :, None]

    def encode(windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        code = exact_code(windows, atoms, SHRINKAGE)
        return code, code, torch.full_like(code, torch.nan)

    return Learned(atoms=atoms, encode=encode, seconds=time.perf_counter() - start)


def exact_code(windows: Tensor, atoms: Tensor, shrinkage: float) -> Tensor:
    """Return the Lasso's code."""
    prior = Sparse(regularization=torch.full((len(atoms),), shrinkage))
    return Quadratic.of([LinkedView(atoms=atoms)], [windows]).solve(prior, tolerance=0.01 * shrinkage)


def first_atoms(num_pixels: int, norm: float) -> Tensor:
    """Return as many random atoms of a norm as there are pixels."""
    atoms = torch.randn(num_pixels, num_pixels, 1)
    return norm * atoms / atoms.norm(dim=1, keepdim=True)


def batches(patches: Tensor, num_steps: int) -> list[Tensor]:
    """Return random mini-batches."""
    return [patches[torch.randint(len(patches), (BATCH,))] for _ in range(num_steps)]


def figures_of(learned: Learned, validation: Tensor) -> tuple[float, ...]:
    """Return the values of `FIGURES`."""
    first, second, divergence = learned.encode(validation)
    if not bool(first.isfinite().all()):
        return (math.nan,) * len(FIGURES)
    error = float((validation[:, :, 0] - first[:, :, 0] @ learned.atoms[:, :, 0]).square().sum(dim=1).mean()) / 2
    found: CodeStatistics = statistics_of(first, second, divergence=divergence, squared_error=error)
    return (
        error + SHRINKAGE * found.l1_norm,
        error,
        found.l1_norm,
        found.num_active,
        found.posterior_collapse if bool(divergence.isfinite().all()) else float("nan"),
        found.coefficient_collapse,
        found.silent,
        found.multi_information,
        found.jaccard,
        learned.seconds,
    )


def spread(values: tuple[float, ...]) -> str:
    """Return the mean, and the values where they differ."""
    digits = (
        0 if abs(np.mean(values)) >= 1000 else 1 if abs(np.mean(values)) >= 10 else 2 if abs(values[0]) > 0.1 else 4
    )
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({', '.join(f'{value:.{digits}f}' for value in values)})"


def recover_dictionary(patches: Tensor, codes: Tensor) -> Tensor:
    """Return the dictionary that explains patches from given codes: a ridge regression."""
    code = codes[:, :, 0].double().nan_to_num(0.0, 0.0, 0.0)  # of a network that diverged
    gram = code.T @ code
    ridge = 1e-3 * gram.diagonal().mean().clamp_min(1e-12) * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram + ridge, code.T @ patches[:, :, 0].double())


def plot_dictionaries(dictionaries: dict[str, Tensor], size: int, *, num_atoms: int = 20) -> plt.Figure:
    """Draw the largest atoms of every dictionary, a row for each."""
    figure, axes = plt.subplots(len(dictionaries), 1, figsize=(num_atoms * 0.45, 0.75 * len(dictionaries)))
    for axis, (name, atoms) in zip(np.atleast_1d(axes), dictionaries.items(), strict=True):
        largest = atoms[atoms.norm(dim=1).argsort(descending=True)[:num_atoms]]
        tiles = (largest / largest.abs().amax(dim=1, keepdim=True).clamp_min(1e-12)).view(-1, size, size)
        framed = np.pad(tiles.numpy(), ((0, 0), (1, 1), (1, 1)), constant_values=1.0)
        axis.imshow(np.concatenate(list(framed), axis=1), cmap="gray", vmin=-1, vmax=1)
        axis.set_axis_off()
        axis.set_title(name, fontsize=7, loc="left", pad=2)
    figure.tight_layout(pad=0.3)
    return figure


def time_encoding(learned: dict[str, Learned], validation: Tensor, case: str, add: Callable[[list[Row]], None]) -> str:
    """Return the time to encode against FISTA, medians of five turns."""
    if "FISTA" not in learned:
        return ""
    atoms = learned["FISTA"].atoms
    windows = validation[:1000]
    level = torch.full((len(atoms),), SHRINKAGE)

    def by_fista() -> Tensor:
        with torch.no_grad():
            return fista_solve(windows, atoms, level, num_iterations=500, step_size=safe_step(atoms))

    ways: dict[str, Callable[[], object]] = {
        "FISTA, 500 iterations": by_fista,
        "FISTA's code by descent": lambda: exact_code(windows, atoms, SHRINKAGE),
    }
    ways |= {name: lambda each=each: each.encode(windows) for name, each in learned.items() if name != "FISTA"}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(5):
        for name, encode in ways.items():
            start = time.perf_counter()
            encode()
            seconds[name].append(time.perf_counter() - start)
    longest = statistics.median(seconds["FISTA, 500 iterations"])
    lines = ["| encoding 1,000 patches (two draws) | share of FISTA's time |", "|---|---|"]
    for name, each in seconds.items():
        share = statistics.median(each) / longest
        lines.append(f"| {name} | {share:.4f} |")
        add([Row(case=case, method=name, figure="share of FISTA's time", value=share, unit="")])
    return "\n".join(lines)


def safe_step(atoms: Tensor) -> float:
    """Return one over the largest eigenvalue of the Gram."""
    return 1 / float(torch.linalg.matrix_norm(atoms[:, :, 0], ord=2)) ** 2
