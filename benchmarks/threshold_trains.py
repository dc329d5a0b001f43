"""Rules on times: false and missed joins of bursting neurons, neurons in synchrony that are taken for parts."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sorters import Row

from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.learning.bursts import share_bursts
from si_crsae.sorting.learning.structure import fraction_in_company

RATE_HZ = 30000.0
NUM_EVENTS = (50, 100, 300, 1000)
REFRACTORY_MS = 2.0
# Of bursts: 2 to 5 spikes, these intervals, so many bursts per second.
BURST_SPIKES, BURST_INTERVAL_MS, BURST_RATE_HZ = 5, (3.0, 7.0), 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """Times of events, as the rules take them."""

    segment_index: np.ndarray
    sample_index: np.ndarray


Pair = tuple[Train, Train]
Draw = Callable[[np.random.Generator, int], Pair]


def train(times_ms: np.ndarray) -> Train:
    """Return the train of some times."""
    samples = np.sort(np.round(times_ms * RATE_HZ / 1000).astype("int64"))
    return Train(segment_index=np.zeros_like(samples), sample_index=samples)


def repeats_of(arguments: argparse.Namespace, usual: int) -> int:
    """Return how many pairs or units a figure comes from."""
    return arguments.repeats or (usual // 10 if arguments.quick else usual)


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *lines])


def row(case: str, figure: str, value: float, repeats: int) -> Row:
    """One row of the results."""
    return {"case": case, "method": "crsae", "figure": figure, "value": value, "unit": "1", "repeats": repeats}


def poisson(rng: np.random.Generator, count: int, rate_hz: float) -> np.ndarray:
    """Return the times (ms) of a neuron that fires at random after its refractory period."""
    return np.cumsum(REFRACTORY_MS + rng.exponential(1000 / rate_hz - REFRACTORY_MS, count))


def bursts(
    rng: np.random.Generator,
    count: int,
    onsets: np.ndarray | None = None,
    interval_ms: tuple[float, float] = BURST_INTERVAL_MS,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the times (ms) of a bursting neuron, and the place of each spike in its burst."""
    num_bursts = -(-count // 2)
    silence = BURST_SPIKES * interval_ms[1]
    if onsets is None:
        onsets = np.cumsum(silence + rng.exponential(1000 / BURST_RATE_HZ - silence, num_bursts))
    intervals = rng.uniform(*interval_ms, (onsets.size, BURST_SPIKES))
    intervals[:, 0] = 0
    times, places = onsets[:, None] + np.cumsum(intervals, axis=1), np.tile(np.arange(BURST_SPIKES), (onsets.size, 1))
    kept = places < rng.integers(2, BURST_SPIKES, (onsets.size, 1), endpoint=True)
    return times[kept][:count], places[kept][:count]


def independent_poisson(rng: np.random.Generator, count: int, rate_hz: float) -> Pair:
    """Return two neurons."""
    one, two = (train(poisson(rng, count, rate_hz)) for _ in range(2))
    return one, two


def independent_bursts(rng: np.random.Generator, count: int) -> Pair:
    """Return two neurons that burst independently."""
    return train(bursts(rng, count)[0]), train(bursts(rng, count)[0])


def common_bursts(rng: np.random.Generator, count: int, delay_ms: tuple[float, float]) -> Pair:
    """Return two neurons; the second one's bursts begin so much later than the first one's."""
    times, places = bursts(rng, count)
    onsets = times[places == 0]
    return train(times), train(bursts(rng, count, onsets + rng.uniform(*delay_ms, onsets.size))[0])


def follower(rng: np.random.Generator, count: int, delay_ms: float, jitter_ms: float) -> Pair:
    """Return a neuron and another that fires soon after it, half of the time."""
    times = poisson(rng, count, 10.0)
    followed = times[rng.random(count) < 0.5]
    alone = rng.uniform(0, times[-1], count - followed.size)
    return train(times), train(np.append(followed + delay_ms + jitter_ms * rng.standard_normal(followed.size), alone))


def halves_of_burst(
    rng: np.random.Generator,
    count: int,
    false_share: float = 0.0,
    interval_ms: tuple[float, float] = BURST_INTERVAL_MS,
) -> Pair:
    """Return the first two and the later spikes of bursts, so many altogether, and some events of neither."""
    times, places = bursts(rng, count, interval_ms=interval_ms)
    false = rng.uniform(0, times[-1], round(false_share * count))
    return train(np.append(times[places < 2], false)), train(times[places >= 2])


def burst_with_parts(rng: np.random.Generator, count: int) -> Pair:
    """Return the first two and the later spikes of bursts, and with the latter parts 1 to 2 ms after the first."""
    times, places = bursts(rng, count)
    first = times[places < 2]
    parts = rng.choice(first, count // 50) + rng.uniform(1.0, 2.0, count // 50)
    return train(first), train(np.append(times[places >= 2], parts))


def halves_of_poisson(rng: np.random.Generator, count: int, rate_hz: float) -> Pair:
    """Return the events of one neuron as two atoms that share them at random."""
    times = poisson(rng, count, rate_hz)
    is_first = rng.random(count) < 0.5
    return train(times[is_first]), train(times[~is_first])


TWO_NEURONS: dict[str, Draw] = {
    "independent, 5 Hz": lambda rng, count: independent_poisson(rng, count, 5.0),
    "independent, 50 Hz": lambda rng, count: independent_poisson(rng, count, 50.0),
    "independent bursts": independent_bursts,
    "bursts begin within 5 ms of each other": lambda rng, count: common_bursts(rng, count, (-5.0, 5.0)),
    "the second one's bursts begin 0 to 10 ms later": lambda rng, count: common_bursts(rng, count, (0.0, 10.0)),
    "the second one's bursts begin 3 to 8 ms later": lambda rng, count: common_bursts(rng, count, (3.0, 8.0)),
    "half of the spikes follow 1.5 ms later (sd 0.3 ms)": lambda rng, count: follower(rng, count, 1.5, 0.3),
    "half of the spikes follow 4 ms later (sd 0.5 ms)": lambda rng, count: follower(rng, count, 4.0, 0.5),
}
ONE_NEURON: dict[str, Draw] = {
    "a burst's first two and later spikes": halves_of_burst,
    "the same, with 10 % false events": lambda rng, count: halves_of_burst(rng, count, 0.1),
    "the same, one in 25 of the later ones a part of the first": burst_with_parts,
    "the same, at intervals of 8 to 15 ms": lambda rng, count: halves_of_burst(rng, count, interval_ms=(8.0, 15.0)),
    "the same, at intervals of 12 to 20 ms": lambda rng, count: halves_of_burst(rng, count, interval_ms=(12.0, 20.0)),
    "random halves, 10 Hz": lambda rng, count: halves_of_poisson(rng, count, 10.0),
    "random halves, 50 Hz": lambda rng, count: halves_of_poisson(rng, count, 50.0),
}


def share_joined(draw: Draw, count: int, repeats: int, seed: int, assumed: Assumptions) -> float:
    """Return the share of drawn pairs that are joined."""
    rng = np.random.default_rng([seed, count])
    why = (share_bursts(*draw(rng, count), sampling_frequency=RATE_HZ, assumed=assumed) for _ in range(repeats))
    return sum(reason is not None for reason in why) / repeats


def run_bursts(arguments: argparse.Namespace, add: Callable[[list[Row]], None]) -> str:
    """Return a table of false and missed joins by the number of events, and one by the thresholds."""
    repeats, tables = repeats_of(arguments, 1000), []
    for kind, cases in (("joined", TWO_NEURONS), ("not joined", ONE_NEURON)):
        lines = []
        for name, draw in cases.items():
            joined = [share_joined(draw, count, repeats, arguments.seed, ASSUMED) for count in NUM_EVENTS]
            shares = joined if kind == "joined" else [1 - share for share in joined]
            add(
                [row(f"{name}, {count}", kind, share, repeats) for count, share in zip(NUM_EVENTS, shares, strict=True)]
            )
            lines.append([name, *(f"{share:.3f}" for share in shares)])
        who = "two neurons" if kind == "joined" else "one neuron"
        tables.append(markdown_table([f"{who}: share {kind}", *(f"{count} events" for count in NUM_EVENTS)], lines))
    return "\n\n".join([*tables, burst_thresholds(repeats, arguments.seed, add)])


def burst_thresholds(repeats: int, seed: int, add: Callable[[list[Row]], None]) -> str:
    """Return a table of the shares that are joined with other thresholds."""
    chosen = {
        "independent bursts": (TWO_NEURONS["independent bursts"], 1000),
        "bursts within 5 ms": (TWO_NEURONS["bursts begin within 5 ms of each other"], 300),
        "3 to 8 ms later": (TWO_NEURONS["the second one's bursts begin 3 to 8 ms later"], 1000),
        "a burst's sizes": (ONE_NEURON["a burst's first two and later spikes"], 100),
        "with parts": (ONE_NEURON["the same, one in 25 of the later ones a part of the first"], 1000),
    }
    changes: list[dict[str, float]] = [
        {},
        *({"max_violations": value} for value in (0.1, 0.2, 0.5, 0.7)),
        *({"max_false_joins": value} for value in (1e-5, 1e-4, 1e-2, 0.1)),
        *({"burst_ms": value} for value in (5.0, 20.0)),
    ]
    lines = []
    for change in changes:
        assumed = replace(ASSUMED, bursts=replace(ASSUMED.bursts, **change))
        name = ", ".join(f"`{key}` {value:g}" for key, value in change.items()) or "defaults"
        shares = [share_joined(draw, count, repeats, seed, assumed) for draw, count in chosen.values()]
        add([row(f"{case}, {name}", "joined", share, repeats) for case, share in zip(chosen, shares, strict=True)])
        lines.append([name, *(f"{share:.3f}" for share in shares)])
    header = [f"{case}, {count} events" for case, (_, count) in chosen.items()]
    return markdown_table(["share joined", *header], lines)


Lag = Callable[[np.random.Generator, int], np.ndarray]

LAGS: dict[str, Lag] = {
    "within 0.5 ms": lambda rng, count: rng.uniform(-0.5, 0.5, count),
    "within 1 ms": lambda rng, count: rng.uniform(-1.0, 1.0, count),
    "within 2 ms": lambda rng, count: rng.uniform(-2.0, 2.0, count),
    "within 5 ms": lambda rng, count: rng.uniform(-5.0, 5.0, count),
    "0.3 ms later, sd 0.05 ms": lambda rng, count: 0.3 + 0.05 * rng.standard_normal(count),
    "1.1 ms later, sd 0.05 ms": lambda rng, count: 1.1 + 0.05 * rng.standard_normal(count),
    "1.5 ms later, sd 0.3 ms": lambda rng, count: 1.5 + 0.3 * rng.standard_normal(count),
}
SYNCHRONY = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0)


def in_synchrony(rng: np.random.Generator, count: int, synchrony: float, lag: Lag) -> Pair:
    """Return a neuron and a larger one of 20 Hz and twice as many spikes, which a share of its spikes come with."""
    larger = poisson(rng, 2 * count, 20.0)
    together = rng.choice(larger, round(synchrony * count), replace=False)
    alone = rng.uniform(0, larger[-1], count - together.size)
    return train(np.append(together + lag(rng, together.size), alone)), train(larger)


def share_dropped(lag: Lag, synchrony: float, count: int, repeats: int, seed: int, assumed: Assumptions) -> float:
    """Return the share of drawn neurons that are taken for parts."""
    rng, limit = np.random.default_rng([seed, count]), assumed.structure.satellite_fraction
    fractions = (
        fraction_in_company(*in_synchrony(rng, count, synchrony, lag), sampling_frequency=RATE_HZ, assumed=assumed)
        for _ in range(repeats)
    )
    return sum(fraction > limit for fraction in fractions) / repeats


def run_company(arguments: argparse.Namespace, add: Callable[[list[Row]], None]) -> str:
    """Return tables of the share of neurons taken for parts: by synchrony, and by threshold."""
    repeats, tables = repeats_of(arguments, 200), []
    for count in (50, 300):
        lines = []
        for name, lag in LAGS.items():
            shares = [share_dropped(lag, part, count, repeats, arguments.seed, ASSUMED) for part in SYNCHRONY]
            cases = zip(SYNCHRONY, shares, strict=True)
            add([row(f"{name}, {part:g}, {count}", "dropped", share, repeats) for part, share in cases])
            lines.append([name, *(f"{share:.2f}" for share in shares)])
        tables.append(markdown_table([f"{count} events; come", *(f"{part:.0%} together" for part in SYNCHRONY)], lines))
    return "\n\n".join([*tables, company_thresholds(repeats, arguments.seed, add)])


def company_thresholds(repeats: int, seed: int, add: Callable[[list[Row]], None]) -> str:
    """Return a table of the shares that are dropped with other thresholds, of 300 events."""
    chosen = [("within 0.5 ms", 0.6), ("within 0.5 ms", 1.0), ("within 2 ms", 0.6), ("0.3 ms later, sd 0.05 ms", 0.5)]
    changes: list[dict[str, float]] = [
        {},
        *({"satellite_fraction": value} for value in (0.2, 0.3, 0.5, 0.6)),
        *({"satellite_jitter_ms": value} for value in (0.05, 0.1, 0.2, 0.3)),
    ]
    lines = []
    for change in changes:
        assumed = replace(ASSUMED, structure=replace(ASSUMED.structure, **change))
        name = ", ".join(f"`{key}` {value:g}" for key, value in change.items()) or "defaults"
        shares = [share_dropped(LAGS[lag], part, 300, repeats, seed, assumed) for lag, part in chosen]
        cases = zip(chosen, shares, strict=True)
        add([row(f"{lag}, {part:g}, {name}", "dropped", share, repeats) for (lag, part), share in cases])
        lines.append([name, *(f"{share:.2f}" for share in shares)])
    return markdown_table(["share dropped", *(f"{part:.0%} {lag}" for lag, part in chosen)], lines)
