"""A sorting with all that is known of it: what widgets and pictures show."""

import json
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from spikeinterface.core import BaseRecording, BaseSorting, Templates

from si_crsae.config import CrsaeConfig
from si_crsae.evaluation.mean_waveforms import mean_waveforms
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.convert import TemplateWindow
from si_crsae.sorting.folder import (
    load_config,
    load_learning_curves,
    load_recording,
    load_spike_probabilities,
    load_units,
    load_whitened,
)
from si_crsae.sorting.inventory import Inventory, peaks_of_atoms
from si_crsae.sorting.learning.rounds import LearningCurve
from si_crsae.sorting.model import lowest_amplitudes
from si_crsae.sorting.runs.manifest import verify
from si_crsae.sorting.runs.trust import refuse_pickles
from si_crsae.sorting.signal.recording import sortable_segments
from si_crsae.sorting.sorter import CrsaeSorter
from si_crsae.sorting.stages import SpikePosterior
from si_crsae.sorting.whitening import NothingUsableError, whiten_groups


@dataclass(frozen=True, slots=True, kw_only=True)
class SortedRecording:
    """A sorting, what explains it and what it was made from, as far as they are there.

    Parameters
    ----------
    name : str
        What it is called in pictures.
    sorting : BaseSorting
        Unit ids and properties; its spikes are those of `units`.
    units : Inventory
        Atoms on the channels of `channel_ids`, and the events.
    channel_ids : ndarray, shape (channel,)
    locations : ndarray of float64, shape (channel, 2)
        Contacts (um).
    num_samples : tuple of int
        Length of every segment.
    window : TemplateWindow
        Length of a template.
    min_amplitude : ndarray of float32, shape (unit,)
        Coefficient below which no event was accepted; zero for other sorters.
    whitened : BaseRecording or None
        Traces in noise standard deviations; its segments are `segments` of the recording, its channels some of all.
    segments : ndarray of int64, shape (whitened segment,)
    templates : Templates or None
        Mean waveforms, in uV where the recording has gains.
    posterior : SpikePosterior or None
        Probabilities of the spikes.
    learning_curves : dict
        By group of channels; empty for other sorters.
    missing : tuple of str
        What is not there, and what would give it.
    folder : Path or None
        That of the run, None for other sorters.
    """

    name: str
    sorting: BaseSorting
    units: Inventory
    channel_ids: np.ndarray
    locations: Float[np.ndarray, "channel 2"]
    num_samples: tuple[int, ...]
    window: TemplateWindow
    min_amplitude: Float[np.ndarray, " unit"]
    whitened: BaseRecording | None = None
    segments: Int[np.ndarray, " whitened_segment"] = field(default_factory=lambda: np.zeros(0, "int64"))
    templates: Templates | None = None
    posterior: SpikePosterior | None = None
    learning_curves: dict[int, LearningCurve] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def unit_ids(self) -> list[int | str]:
        """Ids of the units, plain Python values."""
        return self.sorting.unit_ids.tolist()

    @property
    def sampling_frequency(self) -> float:
        """In hertz."""
        return self.sorting.sampling_frequency

    def duration_s(self, segment_index: int) -> float:
        """Length of a segment (s)."""
        return self.num_samples[segment_index] / self.sampling_frequency

    def get_traces(self, segment_index: int, start: int, end: int) -> Float[np.ndarray, "sample channel"] | None:
        """Return whitened traces of all channels, zero on unusable ones; None where there are no traces."""
        position = np.flatnonzero(self.segments == segment_index)
        if self.whitened is None or position.size == 0:
            return None
        traces = self.whitened.get_traces(segment_index=int(position[0]), start_frame=start, end_frame=end)
        if traces.shape[1] == self.channel_ids.size:
            return traces
        complete = np.zeros((len(traces), self.channel_ids.size), traces.dtype)
        complete[:, np.isin(self.channel_ids, self.whitened.channel_ids)] = traces
        return complete


def open_run(folder: str | Path, *, recording: BaseRecording | None = None, trust: bool = False) -> SortedRecording:
    """Return what a run of crsae has left, with its recording if that can be found.

    Parameters
    ----------
    folder : str or Path
        The folder given to ``run_sorter``.
    recording : BaseRecording or None, default: None
        What was sorted, where it lies now. None for the place that the run has noted.
    trust : bool, default: False
        If True, load what the folder describes even if that may run what somebody has written there: pickles, and
        classes of other packages.

    Raises
    ------
    ValueError
        If the folder is not that of a crsae run with ``save_array=True``, or the recording is another one or must not
        be loaded untold.
    """
    folder = Path(folder)
    config = load_config(folder)
    if not config.save_array:
        raise ValueError(
            f"folder = {folder} is a run with save_array=False, which has left neither atoms nor code: sort again with "
            "save_array=True, or open its sorting with open_session(explain_sorting(sorting, recording, name='crsae'))"
        )
    units = load_units(folder)
    attributes = json.loads((folder / "recording_attributes.json").read_text(encoding="utf8"))
    channel_ids, num_samples = np.array(attributes["channel_ids"]), tuple(attributes["num_samples"])
    missing = []
    whitened = None
    try:
        if recording is None:
            recording = load_recording(folder, trust=trust)
            whitened = load_whitened(folder, trust=trust)
        else:
            whitened = load_whitened(folder, recording=recording)
    except (FileNotFoundError, NothingUsableError) as error:
        missing.append(str(error))
    templates = _load_templates(folder)
    if templates is None:
        missing.append("the run has left no templates in uV (templates.zarr): atoms are shown only")
    return SortedRecording(
        name="crsae",
        sorting=CrsaeSorter.get_result_from_folder(folder, register_recording=False),
        units=units,
        channel_ids=channel_ids,
        locations=_locations(recording, templates, channel_ids.size),
        num_samples=num_samples,
        window=TemplateWindow.of_rate(attributes["sampling_frequency"], config),
        min_amplitude=lowest_amplitudes(units.scales, units.noise, config),
        whitened=whitened,
        segments=np.zeros(0, "int64") if recording is None else sortable_segments(recording, config),
        templates=templates,
        posterior=_load_posterior(folder),
        learning_curves=load_learning_curves(folder),
        missing=tuple(missing),
        folder=folder,
    )


def explain_sorting(
    sorting: BaseSorting, recording: BaseRecording, *, name: str, config: CrsaeConfig | None = None
) -> SortedRecording:
    """Return any sorting, of another sorter or the true one, as if its mean waveforms had been our atoms.

    Every spike is given the mean amplitude of its unit: other sorters do not tell theirs.

    Parameters
    ----------
    sorting : BaseSorting
        Its spikes must be on the recording.
    recording : BaseRecording
        Raw, as it was given to the sorter.
    name : str
        What it is called in pictures.
    config : CrsaeConfig or None, default: None
        How to filter and whiten, and how long a template is. None for the defaults.

    Raises
    ------
    ValueError
        If the sampling frequencies differ, a spike lies beyond the end of its segment or in a segment that the
        recording does not have, or no channel is usable.
    """
    config = config or CrsaeConfig()
    with tempfile.TemporaryDirectory() as scratch:
        whitened = whiten_groups(recording, config, folder=Path(scratch))
    unsorted = SortedRecording(
        name=name,
        sorting=sorting,
        units=Inventory.empty(num_channels=recording.get_num_channels()),
        channel_ids=recording.channel_ids,
        locations=_locations(recording, None, recording.get_num_channels()),
        num_samples=tuple(recording.get_num_samples(index) for index in range(recording.get_num_segments())),
        window=TemplateWindow.of(recording, config),
        min_amplitude=np.zeros(0, "float32"),
        whitened=whitened,
        segments=sortable_segments(recording, config),
    )
    return explain_like(sorting, unsorted, name=name)


def explain_like(sorting: BaseSorting, reference: SortedRecording, *, name: str) -> SortedRecording:
    """Return a sorting of a recording that was already opened with another one, see `explain_sorting`.

    Without traces the units have no waveforms: their atoms are zero.

    Raises
    ------
    ValueError
        If the sorting cannot be of the same recording.
    """
    _check_lengths(sorting, reference.sampling_frequency, reference.num_samples)
    spikes = np.array(sorting.to_spike_vector())
    spikes = spikes[np.lexsort((spikes["sample_index"], spikes["segment_index"]))]  # those in memory keep any order
    window, num_units = reference.window, len(sorting.unit_ids)
    atoms = np.zeros((num_units, reference.channel_ids.size, window.width), "float32")
    if reference.whitened is not None:
        used = np.isin(reference.channel_ids, reference.whitened.channel_ids)
        with_traces = spikes[np.isin(spikes["segment_index"], reference.segments)]
        with_traces["segment_index"] = np.searchsorted(reference.segments, with_traces["segment_index"])
        atoms[:, used] = mean_waveforms(
            reference.whitened, with_traces, num_units=num_units, num_before=window.num_before, width=window.width
        )
    return replace(
        reference,
        name=name,
        sorting=sorting,
        units=_with_mean_amplitudes(atoms, spikes, window.num_before),
        min_amplitude=np.zeros(num_units, "float32"),
        templates=None,
        posterior=None,
        learning_curves={},
        folder=None,
        missing=(*reference.missing, f"the amplitudes of {name} are unknown: its spikes are drawn with their mean"),
    )


def _check_lengths(sorting: BaseSorting, sampling_frequency: float, num_samples: tuple[int, ...]) -> None:
    if not np.isclose(sorting.sampling_frequency, sampling_frequency):
        raise ValueError(
            f"sorting has sampling_frequency = {sorting.sampling_frequency}, the recording {sampling_frequency}: "
            "give a sorting of this recording"
        )
    spikes = np.asarray(sorting.to_spike_vector())
    for segment_index in np.unique(spikes["segment_index"]).tolist():
        last = spikes["sample_index"][spikes["segment_index"] == segment_index].max()
        if segment_index >= len(num_samples) or last >= num_samples[segment_index]:
            raise ValueError(
                f"sorting has a spike at sample {last} of segment {segment_index}, the recording has segments of "
                f"{num_samples} samples: give a sorting of this recording"
            )


def _with_mean_amplitudes(
    atoms: Float[np.ndarray, "unit channel width"], spikes: np.ndarray, num_before: int
) -> Inventory:
    """Return units whose spikes all have the size of the mean waveform."""
    scales = np.linalg.norm(atoms, axis=(1, 2))
    main_channel = peaks_of_atoms(atoms)[0] if len(atoms) else np.zeros(0, "int64")
    return Inventory(
        atoms=atoms / np.where(scales > 0, scales, 1)[:, None, None],
        scales=scales,
        noise=np.ones_like(scales),
        regularization=np.zeros_like(scales),
        num_before=np.full(scales.size, num_before),
        main_channel=main_channel,
        spikes=spikes,
        sample_offset=np.zeros(len(spikes), "float32"),
        amplitude=scales[spikes["unit_index"]] if len(spikes) else np.zeros(0, "float32"),
    )


def _locations(
    recording: BaseRecording | None, templates: Templates | None, num_channels: int
) -> Float[np.ndarray, "channel 2"]:
    """Return the contacts; a line of them where nothing says where they are."""
    if recording is not None and recording.has_probe():
        return recording.get_channel_locations()
    if templates is not None and templates.probe is not None:
        return templates.get_channel_locations()
    return np.column_stack([np.zeros(num_channels), ASSUMED.recordings.contact_pitch_um * np.arange(num_channels)])


def _load_templates(folder: Path) -> Templates | None:
    path = folder / "sorter_output" / "templates.zarr"
    if not path.is_dir():
        return None
    verify(path)
    refuse_pickles(path)
    return Templates.from_zarr(path)


def _load_posterior(folder: Path) -> SpikePosterior | None:
    exists = (folder / "sorter_output" / "spike_probabilities.npz").is_file()
    return load_spike_probabilities(folder) if exists else None
