"""What each stage of a sorting leaves on disk, and how an interrupted run finds it again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from spikeinterface.core import BaseRecording

from si_crsae.config import CrsaeConfig
from si_crsae.core.tables import from_arrays, joined_columns, select_rows, to_arrays
from si_crsae.core.types import Dictionary, SparseEvents
from si_crsae.sorting.convert import nearest_samples, with_num_before
from si_crsae.sorting.drift.estimation import DriftFound
from si_crsae.sorting.drift.trajectory import Trajectory
from si_crsae.sorting.learning.history import Member, no_decisions
from si_crsae.sorting.learning.rounds import LearningCurve
from si_crsae.sorting.model import Model
from si_crsae.sorting.runs.manifest import DamagedFileError, noted_whole, verify


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialTemplates:
    """Result of *initialize*: median waveforms of clusters of peaks, in noise standard deviations.

    `decisions` says which clusters made them, and which did not; see `to_table`.
    """

    templates: Float[np.ndarray, "unit channel width"]
    decisions: Shaped[np.ndarray, " decision"] = field(default_factory=no_decisions)

    def fitted(self, config: CrsaeConfig, sampling_frequency: float) -> CrsaeConfig:
        """Return the configuration with `ms_before` as long as that of the templates, which may begin earlier."""
        num_after = nearest_samples(config.ms_after, sampling_frequency)
        return with_num_before(config, self.templates.shape[2] - num_after, sampling_frequency)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningResult:
    """Result of *learn*: the model and the learning curve; no atom is a legal result.

    `decisions` is all that was decided until then, `unit_numbers` has the unit of every atom in it. `drift` is the
    motion as the units show it.
    """

    model: Model
    curve: LearningCurve
    unit_numbers: Int[np.ndarray, " atom"] = field(default_factory=lambda: np.zeros(0, "int64"))
    decisions: Shaped[np.ndarray, " decision"] = field(default_factory=no_decisions)
    drift: DriftFound = field(default_factory=DriftFound)

    @property
    def units(self) -> list[Member]:
        """The unit of every atom, its events not counted yet; those of earlier versions are numbered as the atoms."""
        channels = self.model.dictionary.weights.norm(dim=2).argmax(dim=1).tolist()
        numbers = self.unit_numbers.tolist() or range(len(channels))
        return [
            Member(number=number, main_channel=channel, num_events=0)
            for number, channel in zip(numbers, channels, strict=True)
        ]

    def trajectory_of(self, recording: BaseRecording) -> Trajectory:
        """Return where the tissue of a whole recording is, on the grid on which the templates are known."""
        return Trajectory.of(self.drift.motion, recording, steps_um=self.model.moving.step_um)

    @classmethod
    def without_atoms(cls, *, num_channels: int) -> "LearningResult":
        """Return the result for a recording in which nothing was found."""
        nothing = np.zeros(0, "float32")
        dictionary = Dictionary(
            weights=torch.zeros(0, num_channels, 1), basis=torch.ones(1, 1), scales=torch.zeros(0), num_before=0
        )
        return cls(
            model=Model(dictionary=dictionary, noise=nothing, regularization=nothing), curve=LearningCurve.of([])
        )


AnyCode = TypeVar("AnyCode", bound="Code")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Result of *encode*: the sparse code of all segments, ordered by segment, then time."""

    segment_index: Int[np.ndarray, " event"]
    sample_index: Int[np.ndarray, " event"]
    sample_offset: Float[np.ndarray, " event"]
    atom_index: Int[np.ndarray, " event"]
    amplitude: Float[np.ndarray, " event"]

    @classmethod
    def of(cls, segments: list[SparseEvents]) -> "Code":
        """Return the events of all segments, joined."""
        return cls(
            segment_index=np.repeat(np.arange(len(segments)), [len(events) for events in segments]),
            **joined_columns(segments, "event"),
        )

    @property
    def unweighed(self) -> "Code":
        """The events alone."""
        return Code(**{each.name: getattr(self, each.name) for each in fields(Code)})

    def select(self: AnyCode, mask: np.ndarray) -> AnyCode:
        """Return the events of a boolean mask or of indices, with all that is known of them."""
        return select_rows(self, mask, "event")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeighedCode(Code):
    """A code with what speaks for and against each of its events, gathered while it was found.

    Log weights are in nats, relative to nothing being there, see `weigh_explanations`.
    """

    found_atom: Int[np.ndarray, " event"]
    """Atom that an event had when it was weighed: atoms of a drifting neuron are joined later."""
    own_weight: Float[np.ndarray, " event"]
    rival_weight: Float[np.ndarray, " event"]
    rest_weight: Float[np.ndarray, " event"]
    rival_atom: Int[np.ndarray, " event"]
    information: Float[np.ndarray, " event"]
    """See `amplitude_information`."""
    overlap: Float[np.ndarray, " event"]
    """Largest correlation with another event, both where they stand."""
    misfit: Float[np.ndarray, " event"]
    """Mean square of the residual around the peak over the usual one, see `relative_misfit`."""
    deviation: Float[np.ndarray, " event"]
    """Residual along the direction in which those of the unit vary most (noise standard deviations)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanCode:
    """Result of *clean*: the code, and what was decided about its units after the last round of learning."""

    code: Code
    decisions: Shaped[np.ndarray, " decision"] = field(default_factory=no_decisions)


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanWeighedCode(CleanCode):
    """The same of a code that is weighed."""

    code: WeighedCode


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikePosterior:
    """Result of *posterior*: what is expected of spikes and units, see `infer_posterior`.

    Parameters
    ----------
    probability : ndarray of float32, shape (spike,)
        Probability of being a spike of the neuron that its unit stands for.
    amplitude_low, amplitude_high : ndarray of float32, shape (spike,)
        Ends of the interval that holds the amplitude with probability 0.9 (coefficient of the unit-norm atom).
    false_positive_rate : ndarray of float64, shape (unit,)
        Expected fraction of the unit's spikes that are not its neuron's. Until units are numbered, each atom is one.
    missed_rate : ndarray of float64, shape (unit,)
        Expected fraction of its neuron's spikes that the unit lacks.
    """

    probability: Float[np.ndarray, " spike"]
    amplitude_low: Float[np.ndarray, " spike"]
    amplitude_high: Float[np.ndarray, " spike"]
    false_positive_rate: Float[np.ndarray, " unit"]
    missed_rate: Float[np.ndarray, " unit"]

    @classmethod
    def empty(cls) -> "SpikePosterior":
        """Return the posterior of no spikes and no units."""
        no_spikes, no_units = np.zeros(0, "float32"), np.zeros(0)
        return cls(
            probability=no_spikes,
            amplitude_low=no_spikes,
            amplitude_high=no_spikes,
            false_positive_rate=no_units,
            missed_rate=no_units,
        )


Result = TypeVar("Result")


def load_stage(path: Path, result_type: type[Result]) -> Result:
    """Return a stage's result from its file, or raise DamagedFileError if it is not what the run has written."""
    verify(path)
    arrays = load_arrays(path)
    try:
        return from_arrays(result_type, arrays)
    except (TypeError, KeyError, ValueError) as error:
        raise not_readable(path, error) from error


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file, or raise DamagedFileError if it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as saved:
            return dict(saved)
    except FileNotFoundError:
        raise
    except Exception as error:  # what numpy and zipfile raise depends on where the file is damaged
        raise not_readable(path, error) from error


def not_readable(path: Path, error: Exception) -> DamagedFileError:
    """Return the error for a file that does not hold what it should."""
    return DamagedFileError(
        f"{path} cannot be read as what a run writes there ({type(error).__name__}): it was damaged or exchanged; "
        "delete it and call si_crsae.resume_sorter(folder) to compute it again, or restore it from a copy"
    )


def load_or_compute(path: Path, result_type: type[Result], compute: Callable[[], Result]) -> Result:
    """Return a stage's result from its file, computing and saving it first if the file is not there.

    A file appears whole or not at all, so that a run killed at any moment finds only complete stages.

    Raises
    ------
    OSError
        If the result cannot be written; the message names the file and what to do.
    """
    if path.exists():
        return load_stage(path, result_type)
    result = compute()
    with explain_disk_errors(f"the stage {path.stem!r}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with noted_whole(path) as unfinished:
            np.savez(unfinished, **to_arrays(result))
    return result


@contextmanager
def explain_disk_errors(what: str) -> Iterator[None]:
    """Say of an `OSError` what could not be saved and how to go on; what was saved before stays."""
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"could not save {what} ({error.strerror}): free some disk space or rights, then call "
            "si_crsae.resume_sorter(folder) to go on from the last complete stage",
            error.filename,
        ) from error
