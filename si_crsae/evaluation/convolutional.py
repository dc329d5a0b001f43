"""Windows that follow the convolutional model exactly."""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.signal.windows import tukey

from si_crsae.core.tables import check_lengths, select_rows
from si_crsae.evaluation.atoms import cosines_by_lag
from si_crsae.sorting.convert import samples_in

AMPLITUDE_MEAN = 180.0
AMPLITUDE_SD = 30.0
CORRELATION_RANGE = (0.5, 0.95)
# Atoms drawn anywhere inside that range would rarely be as similar, and as different, as the paper's.
LEAST_CORRELATION_BELOW = 0.6
LARGEST_CORRELATION_ABOVE = 0.9
MIN_SAMPLING_FREQUENCY = 5000.0
MIN_DURATION_MS = 1.0
POOL_SIZE = 100
MAX_POOLS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedWindows:
    """Noisy windows, the atoms in them and when each occurs; events are sorted by window, then shift."""

    traces: Float[np.ndarray, "batch channel sample"]
    """One channel, float32. All windows were divided by the largest absolute value among them."""
    atoms: Float[np.ndarray, "atom channel width"]
    """Unit norm, float32."""
    batch_index: Int[np.ndarray, " event"]
    """Window of each event."""
    shift: Int[np.ndarray, " event"]
    """First sample of the atom in its window."""
    atom_index: Int[np.ndarray, " event"]
    """Row in the atoms."""
    amplitude: Float[np.ndarray, " event"]
    """Coefficient of the atom in the units of the traces, float32."""
    noise_sd: float
    """Standard deviation of the noise, in the units of the traces."""

    def __post_init__(self) -> None:
        """Refuse what is no list of events in order."""
        check_lengths(self, "event")
        if np.any(np.diff(self.batch_index * self.traces.shape[2] + self.shift) < 0):
            raise ValueError("events must be sorted by batch_index, then shift; sort them with numpy.lexsort")

    def select(self, windows: slice) -> "SimulatedWindows":
        """Return consecutive windows and their events, counted from the first of these windows."""
        start, stop, step = windows.indices(len(self.traces))
        if step != 1:
            raise ValueError(f"windows = {windows}: consecutive windows are needed; leave out the step")
        first, last = np.searchsorted(self.batch_index, [start, max(start, stop)])
        chosen = select_rows(select_rows(self, windows, "batch"), slice(first, last), "event")
        return replace(chosen, batch_index=chosen.batch_index - start)


def simulate_windows(
    snr_db: float,
    *,
    num_windows: int = 10_100,
    num_samples: int = 1000,
    width: int = 18,
    num_atoms: int = 4,
    num_spikes: int = 3,
    sampling_frequency: float = 10_000.0,
    seed: int,
) -> SimulatedWindows:
    """Simulate windows of one channel as the paper does [1]_: every atom occurs equally often in every window.

    Occurrences of one atom are at least its width apart, those of different atoms may overlap. Amplitudes are normal,
    of mean 180 and standard deviation 30, before everything is divided by the largest absolute value of the traces.
    The atoms resemble extracellular action potentials; the maximum over lags of the normalized cross-correlation of two
    atoms lies between 0.5 and 0.95, and among three or more comes close to either end.

    Parameters
    ----------
    snr_db : float
        ``10 log10(P / noise_sd**2)`` with P the mean square of the noise-free samples that a spike covers. The paper
        does not define it; of the usual readings only this one gives the paper's noise, 0.024 at 16 dB. Over all
        samples, with the paper's firing rates, it is 7 dB less.
    num_windows : int, default: 10100
    num_samples : int, default: 1000
        Length of a window.
    width : int, default: 18
        Length of an atom (samples).
    num_atoms : int, default: 4
    num_spikes : int, default: 3
        Occurrences of each atom in each window.
    sampling_frequency : float, default: 10000.0
        In hertz; at least 5000, for the atoms have a shape in ms.
    seed : int
        Same seed, same atoms and events, whatever `snr_db` is; the same traces if that is the same too.

    Returns
    -------
    SimulatedWindows

    Raises
    ------
    ValueError
        If a number is out of range, the spikes do not fit into a window, or no atoms of such similarity are found.

    References
    ----------
    .. [1] Tolooshams, Dey and Ba, "Deep residual auto-encoders for expectation maximization-based dictionary
       learning", IEEE TNNLS, 2021, section VII-B and Table III.
    """
    counts = {"num_windows": num_windows, "num_atoms": num_atoms, "num_spikes": num_spikes}
    _check_simulation(snr_db, counts, num_samples, width, sampling_frequency)
    # One stream per ingredient, so that the noise level changes neither atoms nor events.
    atom_rng, event_rng, noise_rng = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(3))
    atoms = _draw_atoms(num_atoms, width, sampling_frequency, atom_rng)
    shape = (num_windows, num_atoms, num_spikes)
    shifts = _draw_distant_shifts(shape, num_samples, width, event_rng).ravel()
    amplitudes = _draw_amplitudes(shifts.size, event_rng)
    batch_index, atom_index, _ = (indices.ravel() for indices in np.indices(shape))

    traces = np.zeros((num_windows, num_samples))
    samples = batch_index[:, None] * num_samples + shifts[:, None] + np.arange(width)
    np.add.at(traces.reshape(-1), samples, amplitudes[:, None] * atoms[atom_index])
    is_covered = np.zeros(traces.size, bool)
    is_covered[samples] = True
    noise_sd = math.sqrt(np.mean(traces.reshape(-1)[is_covered] ** 2)) * 10 ** (-snr_db / 20)
    traces += noise_sd * noise_rng.standard_normal(traces.shape, dtype="float32")
    largest = np.abs(traces).max()

    order = np.lexsort((atom_index, shifts, batch_index))
    return SimulatedWindows(
        traces=(traces / largest).astype("float32")[:, None],
        atoms=atoms.astype("float32")[:, None],
        batch_index=batch_index[order],
        shift=shifts[order],
        atom_index=atom_index[order],
        amplitude=(amplitudes[order] / largest).astype("float32"),
        noise_sd=float(noise_sd / largest),
    )


def _check_simulation(
    snr_db: float, counts: dict[str, int], num_samples: int, width: int, sampling_frequency: float
) -> None:
    if not math.isfinite(snr_db):
        raise ValueError(f"snr_db = {snr_db}: a finite number of decibels is needed")
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} = {value}: at least 1 is needed")
    if not MIN_SAMPLING_FREQUENCY <= sampling_frequency < math.inf:
        raise ValueError(f"sampling_frequency = {sampling_frequency}: at least {MIN_SAMPLING_FREQUENCY:g} Hz is needed")
    shortest = samples_in(MIN_DURATION_MS, sampling_frequency)
    if width < shortest:
        raise ValueError(
            f"width = {width}: at least {math.ceil(shortest)} samples are needed, "
            f"{MIN_DURATION_MS:g} ms at sampling_frequency = {sampling_frequency:g}; use wider atoms"
        )
    if counts["num_spikes"] * width > num_samples:
        raise ValueError(
            f"num_samples = {num_samples}: num_spikes * width = {counts['num_spikes'] * width} samples are needed for "
            "the spikes of an atom not to overlap; use longer windows, fewer spikes or narrower atoms"
        )


def _draw_distant_shifts(
    shape: tuple[int, int, int], num_samples: int, width: int, rng: np.random.Generator
) -> Int[np.ndarray, "batch atom spike"]:
    """Draw the shifts of each atom in each window, in order and at least a width apart."""
    num_spikes = shape[2]
    # Spikes without width fall anywhere in the room that the others leave; then each gets its width.
    room = num_samples - num_spikes * width
    return np.sort(rng.integers(0, room + 1, shape), axis=2) + width * np.arange(num_spikes)


def _draw_amplitudes(num_events: int, rng: np.random.Generator) -> Float[np.ndarray, " event"]:
    """Draw normal amplitudes and, in place of the rare negative ones, others."""
    amplitudes = rng.normal(AMPLITUDE_MEAN, AMPLITUDE_SD, num_events)
    while np.any(refused := amplitudes <= 0):
        amplitudes[refused] = rng.normal(AMPLITUDE_MEAN, AMPLITUDE_SD, refused.sum())
    return amplitudes


def _draw_atoms(
    num_atoms: int, width: int, sampling_frequency: float, rng: np.random.Generator
) -> Float[np.ndarray, "atom width"]:
    """Draw spikes until some are neither too similar nor too different, and three or more span the range."""
    low, high = CORRELATION_RANGE
    for _ in range(MAX_POOLS):
        pool = _draw_spikes(width, sampling_frequency, rng)
        similarity = cosines_by_lag(pool[:, None], pool[:, None], width - 1).max(axis=2)
        chosen = _choose_mutual((similarity >= low) & (similarity <= high), num_atoms, rng)
        if len(chosen) == num_atoms and _spans_range(similarity[np.ix_(chosen, chosen)]):
            return pool[chosen]
    raise ValueError(
        f"num_atoms = {num_atoms}: found no {num_atoms} spikes of width = {width} samples at sampling_frequency = "
        f"{sampling_frequency:g} with cross-correlations from {low} to {high}; use fewer or wider atoms"
    )


def _draw_spikes(width: int, sampling_frequency: float, rng: np.random.Generator) -> Float[np.ndarray, "atom width"]:
    """Draw unit-norm waveforms: a trough, a later hump and a smaller earlier one, all skewed, fading at both ends."""
    times_ms = np.arange(width) * 1000 / sampling_frequency

    def bump(center: np.ndarray, rise_ms: tuple[float, float], fall_ms: tuple[float, float]) -> np.ndarray:
        spread = np.where(times_ms < center, draw(*rise_ms), draw(*fall_ms))
        return np.exp(-0.5 * ((times_ms - center) / spread) ** 2)

    def draw(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (POOL_SIZE, 1))

    trough = draw(0.25, 0.5) * times_ms[-1]
    spikes = -bump(trough, (0.06, 0.2), (0.06, 0.3))
    spikes += draw(0.0, 1.0) * bump(trough + draw(0.25, 0.7), (0.1, 0.3), (0.15, 0.45))
    spikes += draw(0.0, 0.5) * bump(trough - draw(0.2, 0.4), (0.08, 0.15), (0.08, 0.15))
    spikes *= tukey(width + 2)[1:-1]
    return spikes / np.linalg.norm(spikes, axis=1, keepdims=True)


def _spans_range(similarity: Float[np.ndarray, "atom atom"]) -> bool:
    """Tell whether some pair is as different and some pair as similar as wished, for which it takes three atoms."""
    if len(similarity) < 3:
        return True
    pairs = similarity[np.triu_indices(len(similarity), 1)]
    return bool(pairs.min() <= LEAST_CORRELATION_BELOW and pairs.max() >= LARGEST_CORRELATION_ABOVE)


def _choose_mutual(is_allowed: Bool[np.ndarray, "atom atom"], num_atoms: int, rng: np.random.Generator) -> list[int]:
    """Choose atoms at random that may all go together; fewer than wanted where no other fits."""
    chosen: list[int] = []
    fitting = np.ones(len(is_allowed), dtype=bool)
    while len(chosen) < num_atoms and fitting.any():
        chosen.append(int(rng.choice(np.flatnonzero(fitting))))
        fitting &= is_allowed[chosen[-1]]
    return chosen
