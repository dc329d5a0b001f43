"""Recordings whose true spikes are known: generated cases and files of the data folder."""

from pathlib import Path
from typing import cast

import numpy as np
import scipy.io
import spikeinterface as si
import spikeinterface.preprocessing as spre
from probeinterface import Probe, generate_multi_columns_probe, generate_tetrode
from spikeinterface.core import BaseRecording, BaseSorting, NumpyRecording, NumpySorting
from spikeinterface.sortingcomponents.peak_detection import detect_peaks

from si_crsae.evaluation.comparison import estimate_lag
from si_crsae.evaluation.drift import Drift
from si_crsae.evaluation.simulation import CaseSpec, simulate


def columns_probe(num_columns: int, num_rows: int, *, pitch_um: float = 22.0) -> Probe:
    """Return a probe of contacts on a square grid."""
    return generate_multi_columns_probe(
        num_columns=num_columns, num_contact_per_column=num_rows, xpitch=pitch_um, ypitch=pitch_um
    )


CASES: dict[str, CaseSpec] = {
    "mono": CaseSpec(
        description="1 channel, 3 units",
        make_probe=lambda: columns_probe(1, 1),
        num_units=3,
        snr_range=(6.0, 16.0),
        rate_range_hz=(3.0, 10.0),
        sampling_frequency=32000.0,
    ),
    "tetrode": CaseSpec(
        description="tetrode, 8 units",
        make_probe=generate_tetrode,
        num_units=8,
        snr_range=(6.0, 18.0),
        rate_range_hz=(3.0, 12.0),
        minimum_distance_um=10.0,
        sampling_frequency=32000.0,
    ),
    "collisions16": CaseSpec(
        description="16 channels, 12 fast units, about 60 % of the spikes overlap another",
        make_probe=lambda: columns_probe(2, 8),
        num_units=12,
        snr_range=(5.0, 20.0),
        rate_range_hz=(18.0, 32.0),
        collision_ratio=0.2,
    ),
    "lowsnr32": CaseSpec(
        description="32 channels, 24 units close to the noise",
        make_probe=lambda: columns_probe(2, 16),
        num_units=24,
        snr_range=(2.5, 8.0),
        rate_range_hz=(2.0, 12.0),
    ),
    "faint32": CaseSpec(
        description="32 channels, 24 units, the faintest lost in the noise",
        make_probe=lambda: columns_probe(2, 16),
        num_units=24,
        snr_range=(1.8, 5.8),
        rate_range_hz=(2.0, 12.0),
    ),
    "probe32": CaseSpec(
        description="32 channels, 24 units",
        make_probe=lambda: columns_probe(2, 16),
        num_units=24,
        snr_range=(5.0, 20.0),
        rate_range_hz=(2.0, 15.0),
    ),
    "dense64": CaseSpec(
        description="64 channels, 50 units",
        make_probe=lambda: columns_probe(4, 16),
        num_units=50,
        snr_range=(4.0, 20.0),
        rate_range_hz=(2.0, 12.0),
    ),
    "drift32": CaseSpec(
        description="32 channels, 20 units, rigid zigzag drift of 20 um",
        make_probe=lambda: columns_probe(2, 16),
        num_units=20,
        snr_range=(6.0, 20.0),
        rate_range_hz=(2.0, 12.0),
        drift=Drift(kind="zigzag", range_um=20.0),
    ),
    "bursts": CaseSpec(
        description="16 channels, 8 units firing bursts of falling amplitude",
        make_probe=lambda: columns_probe(2, 8),
        num_units=8,
        snr_range=(6.0, 18.0),
        rate_range_hz=(1.0, 4.0),
        bursts=True,
    ),
}


def generate_case(name: str, *, duration_s: float = 90.0, seed: int = 0) -> tuple[BaseRecording, BaseSorting]:
    """Generate a recording of a named kind together with its true sorting.

    The noise is correlated between channels and contains the spikes of many units too far away to be sorted, so that it
    is also correlated in time. Spikes fall between the samples (multiples of 1/8 sample), drifting recordings apart.

    Parameters
    ----------
    name : str
        A key of `CASES`.
    duration_s : float, default: 90.0
        Length in seconds.
    seed : int, default: 0
        Same seed, same recording.

    Returns
    -------
    recording : BaseRecording
        Lazy, int16, with gains to uV. Sorters need it on disk: ``recording.save(folder=...)``.
    sorting : BaseSorting
        True spikes, at the trough; property ``gt_snr`` is the signal-to-noise ratio of the unit.

    Raises
    ------
    ValueError
        If the name is not a key of `CASES` or the duration is not positive.
    """
    if name not in CASES:
        raise ValueError(f"name = {name!r} is not a generated case; choose one of {', '.join(CASES)}")
    if duration_s <= 0:
        raise ValueError(f"duration_s = {duration_s} must be positive; give a length in seconds")
    return simulate(CASES[name], duration_s=duration_s, seed=seed)


def load_case(path: str | Path) -> tuple[BaseRecording, BaseSorting]:
    """Load a recording with known spikes from disk.

    Parameters
    ----------
    path : str or Path
        A folder that holds ``recording`` and ``sorting`` as saved by SpikeInterface; a .mat file with ``data``
        (channel, sample), ``dt`` (s), ``true_spike_times`` (samples) and ``true_spike_class``; or a .npz file with
        ``traces`` (sample, channel), their ``gain``, ``sampling_frequency`` (Hz), and either ``true_samples``, the
        spikes of one cell, or ``reference_samples`` and ``reference_labels``.

    Returns
    -------
    recording : BaseRecording
        In memory if it comes from a .mat or .npz file: save it before sorting.
    sorting : BaseSorting
        True spikes. Those of a .mat file are moved by one constant onto the extrema of the traces.

    Raises
    ------
    FileNotFoundError
        If the path does not exist.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"path = {path} does not exist; give a case folder, a .mat or a .npz file")
    if path.suffix == ".mat":
        return _load_mat(path)
    if path.suffix == ".npz":
        return _load_npz(path)
    return cast(BaseRecording, si.load(path / "recording")), cast(BaseSorting, si.load(path / "sorting"))


def _load_mat(path: Path) -> tuple[BaseRecording, BaseSorting]:
    """Read a file of the CRsAE paper, in the arbitrary units it comes in."""
    content = scipy.io.loadmat(path)
    sampling_frequency = 1.0 / float(content["dt"].squeeze())
    data = content["data"].T
    # Sorters convert to int16: values of order one would be lost.
    gain = 1.0 if np.issubdtype(data.dtype, np.integer) else 1e-3
    traces = np.round((data - np.median(data, axis=0)) / gain).astype("int16")
    recording = _recording_of(traces, sampling_frequency, gain)
    times = content["true_spike_times"].ravel().astype("int64")
    labels = content["true_spike_class"].ravel().astype("int64")
    lag = estimate_lag(_extrema(recording), times, sampling_frequency=sampling_frequency)
    return recording, NumpySorting.from_samples_and_labels([times + lag], [labels], sampling_frequency)


def _load_npz(path: Path) -> tuple[BaseRecording, BaseSorting]:
    """Read a recording of one tetrode or one channel, in the arbitrary units it comes in."""
    content = np.load(path)
    sampling_frequency = float(content["sampling_frequency"])
    recording = _recording_of(content["traces"], sampling_frequency, float(content["gain"]))
    one_cell = "true_samples" in content
    times = content["true_samples" if one_cell else "reference_samples"].astype("int64")
    labels = np.zeros(times.size, "int64") if one_cell else content["reference_labels"].astype("int64")
    return recording, NumpySorting.from_samples_and_labels([times], [labels], sampling_frequency)


def _recording_of(traces: np.ndarray, sampling_frequency: float, gain: float) -> BaseRecording:
    """Return traces (sample, channel) as a recording of a tetrode if they have four channels, else of a column."""
    num_channels = traces.shape[1]
    recording = NumpyRecording([traces], sampling_frequency)
    probe = generate_tetrode() if num_channels == 4 else columns_probe(1, num_channels)
    probe.set_device_channel_indices(np.arange(num_channels))
    recording.set_probe(probe)
    recording.set_channel_gains(np.full(num_channels, gain))
    recording.set_channel_offsets(np.zeros(num_channels))
    return recording


def _extrema(recording: BaseRecording) -> np.ndarray:
    """Sample indices of the peaks of either sign in the spike band."""
    filtered = spre.bandpass_filter(
        recording, freq_min=300.0, freq_max=0.45 * recording.sampling_frequency, dtype="float32"
    )
    peaks = detect_peaks(
        filtered,
        method="locally_exclusive",
        method_kwargs={"peak_sign": "both", "detect_threshold": 5},
        job_kwargs={"n_jobs": 1, "progress_bar": False},
    )
    return np.asarray(peaks)["sample_index"]
