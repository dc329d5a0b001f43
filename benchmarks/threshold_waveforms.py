"""Rules on waveforms: false and missed splits of units, clusters that are cut by the size of their peaks."""

import argparse
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from sorters import Row
from threshold_trains import NUM_EVENTS, RATE_HZ, markdown_table, repeats_of, row

from si_crsae.config import CrsaeConfig
from si_crsae.core.operators.filtering import component_lags
from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.learning.initialization import cut_by_size
from si_crsae.sorting.learning.splitting import split_units
from si_crsae.sorting.learning.units import TemplateGeometry, Unit

NUM_CHANNELS, NUM_COMPONENTS, WIDTH = 4, 6, 60
NORM, SIZE_SPREAD, SMALLEST_IN_BURST = 30.0, 0.05, 0.4
MERGE_THRESHOLDS = (3.0, 3.5, 4.0, 4.5, 5.0)
REPEAT_DISTANCES = (4.0, 5.5, 7.0, 8.5)
DISTANCES = (5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 14.0)

Sizes = Callable[[np.random.Generator, int], np.ndarray]

SIZES: dict[str, Sizes] = {
    "sizes vary by 5 %": lambda rng, count: 1 + SIZE_SPREAD * rng.standard_normal(count),
    "sizes fall to 0.4 in bursts": lambda rng, count: (
        rng.uniform(SMALLEST_IN_BURST, 1.0, count) * (1 + SIZE_SPREAD * rng.standard_normal(count))
    ),
}


def make_geometry() -> TemplateGeometry:
    """Return that of a smooth orthonormal basis."""
    times = np.arange(WIDTH) - WIDTH / 3
    bumps = np.stack([np.exp(-0.5 * ((times - center) / 4) ** 2) for center in np.arange(-10, 20, 5)])
    basis = np.linalg.qr(bumps.T)[0].T.astype("float32")
    return TemplateGeometry(component_lags(torch.from_numpy(basis)).numpy(), basis)


def draw_unit(rng: np.random.Generator, count: int, sizes: Sizes, distance: float, geometry: TemplateGeometry) -> Unit:
    """Return a unit of one neuron, or of two, half each, whose templates of one norm differ by some distance.

    Waveforms are the template times a size, and white noise of standard deviation 1.
    """
    first, other = rng.standard_normal((2, NUM_CHANNELS * NUM_COMPONENTS))
    first *= NORM / np.linalg.norm(first)
    slope = (first.reshape(NUM_CHANNELS, -1) @ geometry.derivative).ravel()
    aside = np.linalg.qr(np.stack([first, slope, other]).T)[0][:, 2]
    angle = 2 * np.arcsin(distance / (2 * NORM))
    second = first * np.cos(angle) + NORM * aside * np.sin(angle)
    templates = np.where((np.arange(count) % 2 == 0)[:, None], first, second)
    waveforms = sizes(rng, count)[:, None] * templates + rng.standard_normal(templates.shape)
    return Unit(
        template=((first + second) / 2).reshape(NUM_CHANNELS, -1).astype("float32"),
        channels=np.arange(NUM_CHANNELS),
        features=waveforms.reshape(count, NUM_CHANNELS, -1).astype("float32"),
        amplitude=np.full(count, NORM, "float32"),
        segment_index=np.zeros(count, "int64"),
        sample_index=3000 * np.arange(count),
        row=np.arange(count),
    )


def shares_split(
    count: int,
    sizes: Sizes,
    distance: float,
    repeats: int,
    seed: int,
    *,
    settings: list[tuple[float, Assumptions]],
) -> list[float]:
    """Return the share of drawn units that are split, with each merge_threshold and assumptions."""
    rng, geometry, num_split = np.random.default_rng([seed, count]), make_geometry(), np.zeros(len(settings))
    for _ in range(repeats):
        unit = draw_unit(rng, count, sizes, distance, geometry)
        for index, (threshold, assumed) in enumerate(settings):
            config = CrsaeConfig(merge_threshold=threshold)
            parts = split_units([unit], geometry, config, sampling_frequency=RATE_HZ, assumed=assumed)
            num_split[index] += len(parts) > 1
    return (num_split / repeats).tolist()


def run_splits(arguments: argparse.Namespace, add: Callable[[list[Row]], None]) -> str:
    """Return a table of the share of units that are split, by distance and number of events, and those by threshold."""
    repeats, few, tables = repeats_of(arguments, 100), repeats_of(arguments, 40), []
    header = ["one neuron", *(f"two, {distance:g} apart" for distance in DISTANCES)]
    lines = []
    for name, sizes in SIZES.items():
        for count in NUM_EVENTS:
            settings = [(CrsaeConfig().merge_threshold, ASSUMED)]
            shares = [
                shares_split(count, sizes, distance, repeats, arguments.seed, settings=settings)[0]
                for distance in (0.0, *DISTANCES)
            ]
            cases = zip(header, shares, strict=True)
            add([row(f"{name}, {count}, {case}", "split", share, repeats) for case, share in cases])
            lines.append([name, str(count), *(f"{share:.2f}" for share in shares)])
    tables.append(markdown_table(["share split", "events", *header], lines))
    for name, sizes in SIZES.items():
        lines = split_thresholds(sizes, few, arguments.seed)
        for change, *cells in lines:
            cases = zip(header, cells, strict=True)
            add([row(f"{name}, 300, {case}, {change}", "split", float(share), few) for case, share in cases])
        tables.append(markdown_table([f"share split, 300 events, {name}", *header], lines))
    return "\n\n".join(tables)


def split_thresholds(sizes: Sizes, repeats: int, seed: int) -> list[list[str]]:
    """Return the lines of a table of the shares of units of 300 events that are split with other thresholds."""
    near, usual = REPEAT_DISTANCES[0], CrsaeConfig().merge_threshold
    assumed = {
        distance: replace(ASSUMED, structure=replace(ASSUMED.structure, repeat_distance=distance))
        for distance in REPEAT_DISTANCES
    }
    choices = {
        f"`repeat_distance` {near:g}, `merge_threshold`": {
            threshold: (threshold, assumed[near]) for threshold in MERGE_THRESHOLDS
        },
        "`merge_threshold`": {threshold: (threshold, ASSUMED) for threshold in MERGE_THRESHOLDS},
        "`repeat_distance`": {distance: (usual, assumed[distance]) for distance in REPEAT_DISTANCES},
    }
    lines = []
    for choice, settings in choices.items():
        columns = [
            shares_split(300, sizes, distance, repeats, seed, settings=list(settings.values()))
            for distance in (0.0, *DISTANCES)
        ]
        for value, shares in zip(settings, zip(*columns, strict=True), strict=True):
            lines.append([f"{choice} {value:g}", *(f"{share:.2f}" for share in shares)])
    return lines


def run_sizes(arguments: argparse.Namespace, add: Callable[[list[Row]], None]) -> str:
    """Return a table of the mean number of parts that the peaks of one neuron are cut into."""
    repeats, counts, heights = repeats_of(arguments, 500), (20, 100, 1000), (4.0, 5.0, 6.0, 8.0, 12.0, 20.0)
    lines = []
    for lowest, name in ((5.0, "crossings of 5"), (0.0, "matched filter")):
        for count in counts:
            parts = [mean_parts(height, lowest, count, repeats, arguments.seed) for height in heights]
            cases = zip(heights, parts, strict=True)
            add([row(f"{name}, {height:g}, {count}", "parts", value, repeats) for height, value in cases])
            lines.append([name, str(count), *(f"{value:.2f}" for value in parts)])
    header = ["mean number of parts: peaks", "of a cluster", *(f"height {height:g}" for height in heights)]
    return markdown_table(header, lines)


def mean_parts(height: float, lowest: float, count: int, repeats: int, seed: int) -> float:
    """Return that of clusters of peaks of one neuron, whose sizes vary by 5 %, in unit noise."""
    rng, max_ratio, parts = np.random.default_rng([seed, count]), 1 / CrsaeConfig().min_amplitude, []
    for _ in range(repeats):
        drawn = height * (1 + SIZE_SPREAD * rng.standard_normal(50 * count)) + rng.standard_normal(50 * count)
        peaks = np.abs(drawn[drawn > lowest][:count]) if lowest else np.abs(drawn[:count])
        parts.append(np.unique(cut_by_size(np.zeros(peaks.size, "int64"), peaks, max_ratio=max_ratio)).size)
    return float(np.mean(parts))
