"""Draw tetrode recordings from biophysical templates, as case folders that `benchmarks/sorters.py` takes by their path.

Templates are those of the data folder (environment variable SI_CRSAE_DATA, default ../shared/data), 16 um between
contacts, so that many are alike on all of them. Noise and far units are those of the generated cases.

- `mixed`: twelve units whose largest sample is 35 to 120 uV.
- `polarity`: eight of 40 to 120 uV, three of them upside down.

    python benchmarks/drawn_tetrodes.py --kind mixed --draws 20,21,22 --folder drawn
    python benchmarks/sorters.py --sorters crsae,lupin --cases drawn/mixed_20,drawn/mixed_21,drawn/mixed_22
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from command_line import names
from probeinterface import Probe
from sorters import data_folder, save_case
from spikeinterface.core import BaseRecording, BaseSorting
from spikeinterface.core.generate import InjectTemplatesRecording, generate_sorting
from spikeinterface.preprocessing.normalize_scale import ScaleRecording

from si_crsae.evaluation.simulation import GAIN_UV, REFRACTORY_MS, CaseSpec, generate_background

RATE_RANGE_HZ = (3.0, 10.0)
AMPLITUDE_SPREAD = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Which templates are drawn: peaks (uV), and the sign that each unit is multiplied with."""

    peak_range_uV: tuple[float, float]
    signs: tuple[float, ...]


KINDS = {
    "mixed": Kind(peak_range_uV=(35.0, 120.0), signs=(1.0,) * 12),
    "polarity": Kind(peak_range_uV=(40.0, 120.0), signs=(1.0,) * 5 + (-1.0,) * 3),
}


def main() -> None:
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, default="mixed")
    parser.add_argument("--draws", type=names, default=["0"], help="seeds, default: 0")
    parser.add_argument("--duration", type=float, default=30.0, help="length in s, default: 30")
    parser.add_argument("--folder", type=Path, required=True, help="where the case folders are written")
    arguments = parser.parse_args()
    for draw in arguments.draws:
        path = arguments.folder / f"{arguments.kind}_{draw}"
        save_case(*draw_case(KINDS[arguments.kind], duration_s=arguments.duration, seed=int(draw)), path)
        sys.stdout.write(f"{path}\n")


def draw_case(kind: Kind, *, duration_s: float, seed: int) -> tuple[BaseRecording, BaseSorting]:
    """Return a recording and its true sorting; the same for the same seed."""
    library = np.load(data_folder() / "recordings" / "templates_tetrode.npz")
    sampling_frequency = float(library["sampling_rate"])
    rng = np.random.default_rng(seed + 1000)
    peaks_uV = np.abs(library["templates"]).max(axis=(1, 2))
    lowest, highest = kind.peak_range_uV
    chosen = rng.choice(np.flatnonzero((peaks_uV > lowest) & (peaks_uV < highest)), len(kind.signs), replace=False)
    templates = library["templates"][chosen].astype("float32") * np.asarray(kind.signs, "float32")[:, None, None]
    sorting = generate_sorting(
        len(chosen),
        sampling_frequency,
        [duration_s],
        firing_rates=rng.uniform(*RATE_RANGE_HZ, len(chosen)),  # pyright: ignore[reportArgumentType]
        refractory_period_ms=REFRACTORY_MS,
        seed=seed + 3,
    )
    num_spikes = np.asarray(sorting.to_spike_vector()).size
    recording = InjectTemplatesRecording(
        sorting,
        templates.transpose(0, 2, 1),
        nbefore=int(library["peak_sample"]),
        amplitude_factor=rng.normal(1, AMPLITUDE_SPREAD, num_spikes).clip(0.6, 1.4).tolist(),
        parent_recording=make_background(library["channel_positions"], sampling_frequency, duration_s, seed + 7),
    )
    scaled = ScaleRecording(recording, gain=1.0 / GAIN_UV, offset=0.0, dtype="int16")
    scaled.set_channel_gains(np.full(scaled.get_num_channels(), GAIN_UV))
    scaled.set_channel_offsets(np.zeros(scaled.get_num_channels()))
    return scaled, sorting


def make_background(positions_um: np.ndarray, sampling_frequency: float, duration_s: float, seed: int) -> BaseRecording:
    """Return the noise of the generated cases on contacts at some positions (xyz)."""
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions_um[:, :2].astype(float), shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(len(positions_um)))
    spec = CaseSpec(
        description="",
        make_probe=lambda: probe,
        num_units=1,
        snr_range=(5.0, 10.0),
        rate_range_hz=RATE_RANGE_HZ,
        sampling_frequency=sampling_frequency,
    )
    return generate_background(spec, probe, duration_s, seed)


if __name__ == "__main__":
    main()
