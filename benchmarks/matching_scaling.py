"""Measure how the cost of template matching grows with channels, duration and firing rates.

Every point of a series is a recording and a process of its own, on one thread. Units number three quarters of the
channels, and their templates lie on the channels within 100 um. Seconds of matching (`find_spikes_from_templates`,
construction included) are given per second of recording: the median of at most three calls, after one on a short piece
that compiles. The construction, which hardly depends on the duration, is timed by itself beside each call. Memory is
the largest of the process, and what it held before matching.

Recordings of the series of channels and of rates are in memory. Those of the series of durations are synthesized as
they are read and saved nowhere; that costs time of its own, so every reading of traces is timed where it happens and
its seconds are subtracted from the call's. An exponent is the slope of log seconds of the whole call over log variable:
over the series, between its last two points, and over the series without the construction.

    python benchmarks/matching_scaling.py --quick
    python benchmarks/matching_scaling.py --series channels,rate --out rows.json --plot scaling.png
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import psutil
from command_line import make_parser, names, parse
from matching import (
    JOB,
    MS_AFTER,
    MS_BEFORE,
    NOISE_UV,
    REFRACTORY_MS,
    SAMPLING_HZ,
    Given,
    make_probe,
    make_templates,
    one_thread,
    run_once,
    unit_places,
)
from sorters import Row, figures_of, machine_row, save
from spikeinterface.core import BaseRecording, ChannelSparsity, Templates, generate_ground_truth_recording
from spikeinterface.core.generate import generate_templates, generate_unit_locations
from spikeinterface.sortingcomponents.matching.method_list import matching_methods

METHODS = ("crsae", "wobble")
UNITS_PER_CHANNEL = 0.75
RADIUS_UM = 100.0
MINIMUM_DISTANCE_UM = 15.0
WARM_UP_S = 2.0
MAX_CALLS, ENOUGH_S = 3, 20.0
POLL_S = 0.05
UNITS = {
    "seconds": "s/s",
    "reading": "s/s",
    "construction": "s",
    "memory": "MiB",
    "memory_before": "MiB",
    "error": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A recording."""

    num_channels: int
    """In two columns."""
    duration_s: float
    rate_hz: float = 5.0
    """Mean over units, whose rates are uniform between half and one and a half of it."""
    lazy: bool = False
    """If True, the traces are synthesized as they are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Recordings that differ in one variable."""

    field: str
    """The field of `Point` that varies."""
    values: tuple[float, ...]
    quick_values: tuple[float, ...]
    point: Point
    """All else."""
    label: str
    """Label of the axis."""
    wobble_up_to: float
    """Largest value at which wobble runs too."""

    def at(self, value: float) -> Point:
        """Return the point of a value."""
        return replace(self.point, **{self.field: type(getattr(self.point, self.field))(value)})


SERIES = {
    "channels": Series(
        field="num_channels",
        values=(4, 16, 64, 128, 384),
        quick_values=(4, 16, 32),
        point=Point(num_channels=4, duration_s=10.0),
        label="channels",
        wobble_up_to=64,
    ),
    "duration": Series(
        field="duration_s",
        values=(60, 240, 960, 3600),
        quick_values=(20, 60),
        point=Point(num_channels=16, duration_s=60.0, lazy=True),
        label="duration (s)",
        wobble_up_to=0,
    ),
    "rate": Series(
        field="rate_hz",
        values=(2, 5, 10, 20, 40),
        quick_values=(5, 20),
        point=Point(num_channels=32, duration_s=20.0),
        label="mean firing rate (Hz)",
        wobble_up_to=40,
    ),
}


def main() -> None:
    """Run what the command line asks for."""
    arguments = parse_arguments()
    if arguments.run_one:
        run_one(*arguments.run_one)
        return
    rows = [machine_row(1)]
    for name in arguments.series:
        for method in METHODS:
            for value in values_of(name, method, quick=arguments.quick):
                rows += measure(name, value, method)
                save(rows, arguments.out)
                sys.stderr.write(f"{name} {value:g} {method}: {figures_of(rows, f'{name}_{value:g}', method)}\n")
            rows += fit_exponents(rows, name, method, quick=arguments.quick)
            save(rows, arguments.out)
    sys.stdout.write(markdown_tables(rows, arguments))
    if arguments.plot is not None:
        plot(rows, arguments)


def parse_arguments() -> argparse.Namespace:
    """Read the command line; --quick shortens the series."""
    parser = make_parser(__doc__, quick="fewer and smaller values of each series")
    parser.add_argument("--plot", type=Path, help="image file of the series; needs matplotlib")
    parser.add_argument("--series", type=names, default=list(SERIES), help=f"default: {','.join(SERIES)}")
    parser.add_argument("--run-one", nargs=3, help=argparse.SUPPRESS)
    arguments = parse(parser, series=SERIES)
    return arguments


def values_of(name: str, method: str, *, quick: bool) -> list[float]:
    """Return the values of a series at which a method runs."""
    series = SERIES[name]
    largest = series.wobble_up_to if method == "wobble" else np.inf
    return [value for value in (series.quick_values if quick else series.values) if value <= largest]


def measure(name: str, value: float, method: str) -> list[Row]:
    """Run one point in a fresh process, whose memory is watched; a failure becomes a row."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    command = [sys.executable, __file__, "--run-one", name, str(value), method]
    process = psutil.Popen(command, env=os.environ | threads, stdout=subprocess.PIPE)
    peak = 0
    while process.poll() is None:
        # It may end while it is looked at.
        with contextlib.suppress(psutil.Error):
            peak = max(peak, process.memory_info().rss)
        time.sleep(POLL_S)
    if process.returncode:
        figures = {"error": f"exit code {process.returncode}"}
    else:
        figures = json.loads(process.stdout.read()) | {"memory": round(peak / 2**20)}
    return [
        {"case": f"{name}_{value:g}", "method": method, "figure": figure, "value": found, "unit": UNITS[figure]}
        for figure, found in figures.items()
    ]


def run_one(name: str, value: str, method: str) -> None:
    """Match one recording and write the figures to the standard output."""
    point = SERIES[name].at(float(value))
    with one_thread():
        given = generate(point)
        readings = clock_readings(given.recording)
        short = given.recording.frame_slice(0, round(WARM_UP_S * SAMPLING_HZ))
        run_once(method, {}, replace(given, recording=short))
        memory = psutil.Process().memory_info().rss
        seconds, construction, reading = [], [], []
        while len(seconds) < MAX_CALLS and sum(seconds) < ENOUGH_S:
            readings.clear()
            construction.append(construct(method, given) - point.lazy * sum(readings))
            readings.clear()
            whole, _ = run_once(method, {}, given)
            reading.append(sum(readings))
            seconds.append(whole - point.lazy * reading[-1])
    figures = {
        "seconds": median(seconds) / point.duration_s,
        "reading": median(reading) / point.duration_s,
        "construction": median(construction),
        "memory_before": round(memory / 2**20),
    }
    sys.stdout.write(json.dumps(figures))


def construct(method: str, given: Given) -> float:
    """Return the seconds until a method is ready to match."""
    start = time.perf_counter()
    node = matching_methods[method](given.recording, templates=given.templates)
    seconds = time.perf_counter() - start
    node.clean()
    return seconds


def generate(point: Point) -> Given:
    """Return a recording, its true spikes and its sparse templates, zero elsewhere in the traces too."""
    probe = make_probe((2, point.num_channels // 2))
    num_units = round(UNITS_PER_CHANNEL * point.num_channels)
    templates = sparse_templates(probe, num_units)
    recording, truth = generate_ground_truth_recording(
        durations=[point.duration_s],
        sampling_frequency=SAMPLING_HZ,
        num_units=num_units,
        probe=probe,
        templates=templates.get_dense_templates(),
        ms_before=MS_BEFORE,
        ms_after=MS_AFTER,
        generate_sorting_kwargs={
            "firing_rates": (0.5 * point.rate_hz, 1.5 * point.rate_hz),
            "refractory_period_ms": REFRACTORY_MS,
        },
        noise_kwargs={"noise_levels": NOISE_UV, "strategy": "on_the_fly"},
        seed=2,
    )
    if not point.lazy:
        recording = recording.save(format="memory", verbose=False, **JOB)
    return Given(recording=recording, templates=templates, truth=truth)


def sparse_templates(probe: object, num_units: int) -> Templates:
    """Return templates on the channels near each unit."""
    positions = probe.contact_positions
    places = generate_unit_locations(num_units, positions, seed=0, **unit_places(MINIMUM_DISTANCE_UM))
    waveforms = generate_templates(positions, places, SAMPLING_HZ, MS_BEFORE, MS_AFTER, seed=1)
    ids = [np.arange(number).astype(str) for number in (len(positions), num_units)]
    dense = make_templates(waveforms, probe, *ids)
    return dense.to_sparse(ChannelSparsity.from_radius(dense, RADIUS_UM, peak_sign="neg", peak_mode="extremum"))


def clock_readings(recording: BaseRecording) -> list[float]:
    """Return a list to which every reading of the traces will add its seconds."""
    segment = recording.segments[0]
    read = segment.get_traces
    readings = []

    def timed(*positional: object, **named: object) -> np.ndarray:
        start = time.perf_counter()
        traces = read(*positional, **named)
        readings.append(time.perf_counter() - start)
        return traces

    segment.get_traces = timed
    return readings


def curve(rows: list[Row], name: str, method: str, *, quick: bool) -> np.ndarray:
    """Return the points that a method got through: value, seconds per second and seconds of construction."""
    points = [
        (value, figures["seconds"], figures["construction"])
        for value in values_of(name, method, quick=quick)
        if "seconds" in (figures := figures_of(rows, f"{name}_{value:g}", method))
    ]
    return np.array(points, "float64").reshape(-1, 3).T


def fit_exponents(rows: list[Row], name: str, method: str, *, quick: bool) -> list[Row]:
    """Return the slopes of a method's log seconds over log values."""
    values, seconds, construction = curve(rows, name, method, quick=quick)
    if len(values) < 2:
        return []
    whole = seconds * [SERIES[name].at(value).duration_s for value in values]
    fits = {
        "exponent": slope(values, whole),
        "exponent_last": slope(values[-2:], whole[-2:]),
        "exponent_constructed": slope(values, whole - construction),
    }
    return [
        {"case": name, "method": method, "figure": figure, "value": value, "unit": "1"}
        for figure, value in fits.items()
    ]


def slope(values: np.ndarray, seconds: np.ndarray) -> float:
    """Return the exponent of a power law; NaN where no two points are left, a difference of times may be negative."""
    positive = seconds > 0
    if np.count_nonzero(positive) < 2:
        return float("nan")
    return float(np.polyfit(np.log(values[positive]), np.log(seconds[positive]), 1)[0])


def markdown_tables(rows: list[Row], arguments: argparse.Namespace) -> str:
    """A line for every point, then a line for every exponent."""
    points = ["| series | value | method | s per s | reading, s per s | construction, s | MiB | MiB before |"]
    points.append("|---" * 8 + "|")
    exponents = ["| series | method | exponent | last two points | without construction |", "|---" * 5 + "|"]
    for name in arguments.series:
        for method in METHODS:
            for value in values_of(name, method, quick=arguments.quick):
                figures = figures_of(rows, f"{name}_{value:g}", method)
                points.append(f"| {name} | {value:g} | {method} | {summary(figures)} |")
            if fits := figures_of(rows, name, method):
                exponents.append(f"| {name} | {method} | {' | '.join(f'{fit:.2f}' for fit in fits.values())} |")
    return "\n".join([*points, "", *exponents]) + "\n"


def summary(figures: dict[str, object]) -> str:
    """One point as cells of the table."""
    if "error" in figures:
        return f"{figures['error']} | | | |"
    cells = [f"{figures[name]:.4f}" for name in ("seconds", "reading", "construction")]
    return " | ".join([*cells, str(figures["memory"]), str(figures["memory_before"])])


def plot(rows: list[Row], arguments: argparse.Namespace) -> None:
    """Draw every series into an image file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(arguments.series), 3.5), layout="constrained")
    panels = figure.subplots(1, len(arguments.series), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, arguments.series, strict=True):
        for method in METHODS:
            values, seconds, _ = curve(rows, name, method, quick=arguments.quick)
            if len(values):
                exponent = figures_of(rows, name, method).get("exponent")
                label = method if exponent is None else f"{method}, exponent {exponent:.2f}"
                axes.loglog(values, seconds, "o-", label=label)
        ticks = SERIES[name].quick_values if arguments.quick else SERIES[name].values
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlabel(SERIES[name].label)
        axes.legend()
    panels[0].set_ylabel("seconds per second of recording")
    figure.savefig(arguments.plot, dpi=150)


if __name__ == "__main__":
    main()
