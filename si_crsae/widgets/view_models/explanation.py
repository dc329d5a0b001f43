"""What would explain a bump of the residual, and why it is not there."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from si_crsae.evaluation.decomposition import sum_of_waveforms, waveforms_of
from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.convert import nearest_samples
from si_crsae.widgets.view_models.moved import atoms_at
from si_crsae.widgets.view_models.stretch import Stretch

SEARCH_MS = 0.5
# Of all atoms that reach a channel, at all shifts of a millisecond, the largest coefficient that noise has, in its
# standard deviations.
MAX_OF_NOISE = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The event that would explain best what a residual shows at some place, and why it is not there."""

    unit_id: str
    unit_index: int
    time_s: float
    amplitude: float
    """Coefficient of the atom (noise standard deviations)."""
    relative_amplitude: float
    """In units of the unit's typical amplitude."""
    min_relative_amplitude: float
    """From where an event of this unit is accepted."""
    noise_level: float
    """Up to which amplitude noise alone comes near an atom, over the shifts that were tried."""
    similarity: float
    """Cosine of atom and residual, on the atom's channels."""
    text: str
    waveform_row: list[int]
    waveform_onset_s: float
    waveforms: Float[np.ndarray, "waveform sample"]


def explain_residual(
    sorted_recording: SortedRecording, stretch: Stretch, *, sample: int, channel: int
) -> Explanation | None:
    """Return the event that explains most of the residual near a sample on a channel, where no spike was put.

    Every atom that reaches the channel, where the tissue is at the time, is tried at every shift that puts its peak
    within SEARCH_MS of the sample. That of the largest coefficient, times its norm, lowers the squared error most.

    Parameters
    ----------
    sorted_recording : SortedRecording
        With traces.
    stretch : Stretch
        Tells segment, channels and hidden units.
    sample : int
        In the segment.
    channel : int
        Index of the channel in the recording.

    Returns
    -------
    Explanation or None
        None where there are no traces, or no atom correlates with the residual.
    """
    units, frequency = sorted_recording.units, sorted_recording.sampling_frequency
    width, reach = units.atoms.shape[2], nearest_samples(SEARCH_MS, frequency)
    start = max(sample - reach - width, 0)
    end = min(sample + reach + width + 1, sorted_recording.num_samples[stretch.segment_index])
    traces = sorted_recording.get_traces(stretch.segment_index, start, end)
    atoms, candidates = _candidates(sorted_recording, stretch, sample, channel)
    if traces is None or candidates.size == 0:
        return None
    hidden = [sorted_recording.unit_ids.index(unit_id) for unit_id in stretch.hidden_units]
    onsets, waveforms, events = waveforms_of(units, start=start, end=end, segment_index=stretch.segment_index)
    shown = ~np.isin(units.spikes["unit_index"][events], hidden)
    residual = traces - sum_of_waveforms(onsets[shown], waveforms[shown], end - start)
    windows = np.lib.stride_tricks.sliding_window_view(residual, width, axis=0)  # (shift, channel, width)
    shifts = sample - start + np.arange(-reach, reach + 1)[:, None] - units.num_before[candidates]
    legal = (shifts >= 0) & (shifts < len(windows))
    norms = np.linalg.norm(atoms, axis=(1, 2))  # that of an atom that has moved need not be 1
    maps = np.tensordot(windows, atoms, axes=([1, 2], [1, 2])) / norms
    sizes = np.where(legal, np.take_along_axis(maps, np.clip(shifts, 0, len(windows) - 1), axis=0), -np.inf)
    best_lag, best = np.unravel_index(sizes.argmax(), sizes.shape)
    size, unit, onset = float(sizes[best_lag, best]), int(candidates[best]), int(shifts[best_lag, best])
    if not size > 0:
        return None
    amplitude, atom = size / float(norms[best]), atoms[best]
    occupied = atom.any(axis=1)
    rows = np.flatnonzero(occupied[stretch.channels])
    explanation = Explanation(
        unit_id=str(sorted_recording.unit_ids[unit]),
        unit_index=unit,
        time_s=(start + onset + int(units.num_before[unit])) / frequency,
        amplitude=amplitude,
        relative_amplitude=amplitude / float(units.scales[unit]),
        min_relative_amplitude=float(sorted_recording.min_amplitude[unit] / units.scales[unit]),
        noise_level=MAX_OF_NOISE * float(units.noise[unit]) / float(norms[best]),
        similarity=size / float(np.linalg.norm(windows[onset][occupied])),
        text="",
        waveform_row=rows.tolist(),
        waveform_onset_s=(start + onset) / frequency,
        waveforms=amplitude * atom[stretch.channels[rows]],
    )
    return replace(explanation, text=_describe(explanation, is_hidden=unit in hidden))


def _candidates(
    sorted_recording: SortedRecording, stretch: Stretch, sample: int, channel: int
) -> tuple[Float[np.ndarray, "candidate channel width"], Int[np.ndarray, " candidate"]]:
    """Return the atoms that reach a channel where the tissue is at a sample, and which units they are of."""
    units = sorted_recording.units
    reach: np.ndarray = np.any(units.atoms, axis=2)
    moved = units.moved
    rows, local = np.nonzero(moved.channels >= 0)
    reach[moved.unit_index[rows], moved.channels[rows, local]] = True  # at some time
    candidates = np.flatnonzero(reach[:, channel])
    atoms, _ = atoms_at(sorted_recording, candidates.tolist(), segment_index=stretch.segment_index, sample=sample)
    there = atoms[:, channel].any(axis=1)
    return atoms[there], candidates[there]


def _describe(found: Explanation, *, is_hidden: bool) -> str:
    said = (
        f"Nearest atom: unit {found.unit_id} at {found.time_s:.4f} s, {found.amplitude:.1f} noise sd, that is "
        f"{found.relative_amplitude:.2f} of its usual size; cosine with the residual {found.similarity:.2f}. "
    )
    if is_hidden:
        return said + "The spikes of this unit are left in the residual now."
    if found.amplitude < found.noise_level:
        return said + (
            f"That is what noise alone makes, up to {found.noise_level:.1f} noise sd at the best of all shifts: there "
            "is no spike to catch."
        )
    if found.min_relative_amplitude == 0:
        return said
    if found.relative_amplitude < found.min_relative_amplitude:
        return said + (
            f"Spikes of this unit count from {found.min_relative_amplitude:.2f}: a threshold of "
            f"{found.relative_amplitude:.2f} would have caught it."
        )
    return said + (
        f"That is above its threshold of {found.min_relative_amplitude:.2f}: the sorter preferred another explanation, "
        "or removed it as too close to a spike of the same unit."
    )
