"""What each stage of a sorting leaves on disk, and how an interrupted run finds it again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int

from si_crsae.core.types import Dictionary, SparseEvents
from si_crsae.sorting.learning.rounds import LearningCurve
from si_crsae.sorting.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialTemplates:
    """Result of *initialize*: median waveforms of clusters of peaks, in noise standard deviations."""

    templates: Float[np.ndarray, "unit channel width"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedModel:
    """Result of *learn*: the fields of the model, its dictionary and the learning curve; no atom is a legal result."""

    weights: Float[np.ndarray, "atom channel component"]
    basis: Float[np.ndarray, "component width"]
    scales: Float[np.ndarray, " atom"]
    num_before: Int[np.ndarray, ""]
    noise: Float[np.ndarray, " atom"]
    regularization: Float[np.ndarray, " atom"]
    objective: Float[np.ndarray, " round"]
    num_atoms: Int[np.ndarray, " round"]
    num_events: Int[np.ndarray, " round"]
    mean_regularization: Float[np.ndarray, " round"]
    waveforms: Float[np.ndarray, "version channel component"] = field(
        default_factory=lambda: np.zeros((0, 0, 1), "float16")
    )
    """Of the learning curve; runs of earlier versions have none."""

    @classmethod
    def of(cls, model: Model, curve: LearningCurve) -> "LearnedModel":
        """Return a model and how it was learned, flat."""
        dictionary = model.dictionary
        return cls(
            weights=dictionary.weights.numpy(),
            basis=dictionary.basis.numpy(),
            scales=dictionary.scales.numpy(),
            num_before=np.array(dictionary.num_before),
            noise=model.noise,
            regularization=model.regularization,
            objective=curve.objective,
            num_atoms=curve.num_atoms,
            num_events=curve.num_events,
            mean_regularization=curve.mean_regularization,
            waveforms=curve.waveforms,
        )

    @classmethod
    def without_atoms(cls, *, num_channels: int) -> "LearnedModel":
        """Return the model of a recording in which nothing was found."""
        nothing = np.zeros(0, "float32")
        no_rounds, no_counts = np.zeros(0), np.zeros(0, "int64")
        return cls(
            weights=np.zeros((0, num_channels, 1), "float32"),
            basis=np.ones((1, 1), "float32"),
            scales=nothing,
            num_before=np.array(0),
            noise=nothing,
            regularization=nothing,
            objective=no_rounds,
            num_atoms=no_counts,
            num_events=no_counts,
            mean_regularization=no_rounds,
        )

    @property
    def model(self) -> Model:
        """The model itself."""
        dictionary = Dictionary(
            weights=torch.from_numpy(self.weights),
            basis=torch.from_numpy(self.basis),
            scales=torch.from_numpy(self.scales),
            num_before=int(self.num_before),
        )
        return Model(dictionary=dictionary, noise=self.noise, regularization=self.regularization)


AnyCode = TypeVar("AnyCode", bound="Code")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Result of *encode* and *clean*: the sparse code of all segments, ordered by segment, then time."""

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
            sample_index=np.concatenate([events.sample_index for events in segments]),
            sample_offset=np.concatenate([events.sample_offset for events in segments]),
            atom_index=np.concatenate([events.atom_index for events in segments]),
            amplitude=np.concatenate([events.amplitude for events in segments]),
        )

    def select(self: AnyCode, mask: np.ndarray) -> AnyCode:
        """Return the events of a boolean mask or of indices, with all that is known of them."""
        return replace(self, **{field.name: getattr(self, field.name)[mask] for field in fields(self)})


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
    """Of the residual, along the direction in which those of the unit vary most (noise standard deviations)."""

    @classmethod
    def concatenate(cls, parts: "list[WeighedCode]") -> "WeighedCode":
        """Return the events of all parts, at least one, joined."""
        return cls(
            **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikePosterior:
    """Result of *posterior*: what is expected of spikes and units, see `infer_posterior`.

    Parameters
    ----------
    probability : ndarray of float32, shape (spike,)
        Of being a spike of the neuron that its unit stands for.
    amplitude_low, amplitude_high : ndarray of float32, shape (spike,)
        Ends of the interval that holds the amplitude with probability 0.9 (coefficient of the unit-norm atom).
    false_positive_rate : ndarray of float64, shape (unit,)
        Expected fraction of the unit's spikes that are not its neuron's. Of all atoms, before units are numbered.
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

    def select(self, spikes: np.ndarray, units: np.ndarray) -> "SpikePosterior":
        """Return the posterior of some spikes and some units, given by their indices."""
        return SpikePosterior(
            probability=self.probability[spikes],
            amplitude_low=self.amplitude_low[spikes],
            amplitude_high=self.amplitude_high[spikes],
            false_positive_rate=self.false_positive_rate[units],
            missed_rate=self.missed_rate[units],
        )

    @classmethod
    def concatenate(cls, parts: "list[SpikePosterior]") -> "SpikePosterior":
        """Return the spikes and the units of all parts, at least one, joined."""
        return cls(
            **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)}
        )


Result = TypeVar("Result", InitialTemplates, LearnedModel, Code, WeighedCode, SpikePosterior)


def load_or_compute(path: Path, result_type: type[Result], compute: Callable[[], Result]) -> Result:
    """Return a stage's result from its file, computing and saving it first if the file is not there.

    A file appears whole or not at all, so that a run killed at any moment finds only complete stages.

    Raises
    ------
    OSError
        If the result cannot be written; the message names the file and what to do.
    """
    if path.exists():
        with np.load(path) as saved:
            return result_type(**saved)
    result = compute()
    unfinished = path.with_suffix(".part.npz")
    with explain_disk_errors(f"the stage {path.stem!r}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(unfinished, **{field.name: getattr(result, field.name) for field in fields(result)})
        unfinished.replace(path)
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
