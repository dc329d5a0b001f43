"""How something was learned: measures of each step, and atoms before the first one and after each."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from si_crsae.core.operators.filtering import component_lags
from si_crsae.evaluation.atoms import ERROR_FLOOR_DB, filter_error
from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.models.training import EpochReport, TrainingHistory
from si_crsae.sorting.inventory import peaks_of_atoms
from si_crsae.sorting.learning.rounds import LearningCurve, LearningRound, waveforms_of_atoms
from si_crsae.sorting.learning.units import TemplateGeometry

# Runs keep their atoms in half precision, which shows below.
CHANGE_FLOOR_DB = -35.0
# An atom of which less was there before is a new one: sine of the angle, in dB.
NEW_DB = -0.6
# Share of the width by which atoms are moved before they are compared.
REACH = 1 / 9
MIN_UNIT_COSINE = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A number of some steps: one line of a picture."""

    panel: str
    """Lines of one panel share their axes."""
    axis: str
    name: str
    steps: tuple[int, ...] = ()
    values: tuple[float, ...] = ()

    def and_then(self, step: int, value: float) -> "Measure":
        """Return the measure with one step more."""
        return replace(self, steps=(*self.steps, step), values=(*self.values, value))


# By the field of `LearningRound` and `LearningCurve`.
_MEASURES_OF_ROUNDS = {
    "objective": Measure(panel="objective", axis="per sample", name="objective"),
    "mean_regularization": Measure(panel="mean lambda", axis="noise sd", name="lambda"),
    "num_atoms": Measure(panel="atoms", axis="count", name="atoms"),
    "num_events": Measure(panel="events", axis="count", name="events"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a step did to the atoms.

    Parameters
    ----------
    error_db : ndarray, shape (atom,)
        Eq. 26 of the paper between each atom and its last version: sine of their angle (dB); NaN for new atoms.
    origin : ndarray of int64, shape (atom,)
        Index of the last version among the atoms before the step; -1 for new atoms.
    """

    error_db: Float[np.ndarray, " atom"]
    origin: Int[np.ndarray, " atom"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What should be learned.

    Parameters
    ----------
    atoms : ndarray, shape (true, channel, width)
    components : ndarray of float32, shape (lag, true, entry), or None
        On a basis: the atoms moved by some samples, of unit norm before, on the basis; channel by channel.
    """

    atoms: Float[np.ndarray, "true channel width"]
    components: Float[np.ndarray, "lag true entry"] | None = None

    @classmethod
    def on_basis(
        cls, atoms: Float[np.ndarray, "true channel width"], basis: Float[np.ndarray, "component width"]
    ) -> "Truth":
        """Return the truth for atoms on a basis: products are of components then, not of samples."""
        width = atoms.shape[2]
        reach = round(REACH * width)
        padded = np.pad(_unit_norm(atoms).reshape(atoms.shape), ((0, 0), (0, 0), (reach, reach))).astype("float32")
        moved = [padded[:, :, lag : lag + width] @ basis.T for lag in range(2 * reach + 1)]
        return cls(atoms=atoms, components=np.stack(moved).reshape(len(moved), len(atoms), -1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Learning of a group of channels, in rounds, or of a model, in epochs.

    Parameters
    ----------
    name, step_name : str
        "group 0" and "round", or "fit" and "epoch".
    num_steps : int
        How many there will be at most.
    measures : tuple of Measure
    atom_shape : tuple of int
        Channels, then samples or rows and columns.
    basis : ndarray, shape (component, width), or None
        Temporal components of the versions; None where their components are samples (or pixels).
    channels : tuple of str
        Names; empty for models.
    truth : Truth or None
    versions : tuple of ndarray, each of shape (atom, channel, component)
        Atoms before the first step and after each.
    changes : tuple of Change
        How each version but the first differs from the one before.
    truth_errors : tuple of ndarray, each of shape (true,)
        How far each true atom is from the nearest one of each version (dB).
    """

    name: str
    step_name: str
    num_steps: int
    measures: tuple[Measure, ...] = ()
    atom_shape: tuple[int, ...] = (0, 0)
    basis: Float[np.ndarray, "component width"] | None = None
    channels: tuple[str, ...] = ()
    truth: Truth | None = None
    versions: tuple[Float[np.ndarray, "atom channel component"], ...] = ()
    changes: tuple[Change, ...] = ()
    truth_errors: tuple[Float[np.ndarray, " true"], ...] = field(default=())

    @property
    def step(self) -> int:
        """Steps that are over."""
        return max((measure.steps[-1] for measure in self.measures if measure.steps), default=0)

    def with_version(self, atoms: Float[np.ndarray, "atom channel component"]) -> "Course":
        """Return the course with the atoms of one step more."""
        changes, errors = self.changes, self.truth_errors
        if self.versions:
            changes = (*changes, change_of(self.versions[-1], atoms, basis=self.basis))
        if self.truth is not None and len(self.truth.atoms):
            errors = (*errors, error_to_truth(self.truth, atoms))
        return replace(self, versions=(*self.versions, atoms), changes=changes, truth_errors=errors)

    def with_measures(self, step: int, values: dict[str, float | None]) -> "Course":
        """Return the course with the measures of a step, by name of the line."""
        return replace(
            self,
            measures=tuple(
                measure if (value := values.get(measure.name)) is None else measure.and_then(step, value)
                for measure in self.measures
            ),
        )


def change_of(
    before: Float[np.ndarray, "old channel component"],
    after: Float[np.ndarray, "new channel component"],
    *,
    basis: Float[np.ndarray, "component width"] | None,
) -> Change:
    """Return how far atoms are from their last versions.

    Atoms of a model keep their places. Those of a sorting are split, joined, dropped and sorted: on a basis, the last
    version of an atom is the most similar one before, up to a delay.
    """
    if basis is None:
        cosine = np.abs((_unit_norm(before) * _unit_norm(after)).sum(axis=1))
        return Change(error_db=_error_db(cosine, ERROR_FLOOR_DB), origin=np.arange(len(after)))
    if len(before) == 0 or len(after) == 0:
        return Change(error_db=np.full(len(after), np.nan), origin=np.full(len(after), -1))
    geometry, reach = _geometry(basis), round(REACH * basis.shape[1])
    cosines = np.zeros((len(after), len(before)))
    flat, scale = _unit_norm(after), np.linalg.norm(before.reshape(len(before), -1), axis=1)
    for lag in range(-reach, reach + 1):
        delayed = geometry.delayed(before, lag).reshape(len(before), -1)
        np.maximum(cosines, np.abs(flat @ delayed.T) / np.maximum(scale, 1e-12), out=cosines)
    origin = cosines.argmax(axis=1)
    error_db = _error_db(cosines.max(axis=1), CHANGE_FLOOR_DB)
    is_new = error_db > NEW_DB
    return Change(error_db=np.where(is_new, np.nan, error_db), origin=np.where(is_new, -1, origin))


def error_to_truth(truth: Truth, atoms: Float[np.ndarray, "atom channel component"]) -> Float[np.ndarray, " true"]:
    """Return the errors of `filter_error` (dB)."""
    if truth.components is None:
        return filter_error(truth.atoms, atoms).error_db
    num_true = len(truth.atoms)
    # true atoms without a partner are as far away as can be
    cosines = np.zeros((num_true, max(len(atoms), num_true)), "float32")
    found, flat = cosines[:, : len(atoms)], _unit_norm(atoms).astype("float32").T
    for components in truth.components:
        np.maximum(found, np.abs(components @ flat), out=found)
    errors_db = _error_db(cosines.astype("float64"), ERROR_FLOOR_DB)
    return errors_db[linear_sum_assignment(errors_db)]


def _error_db(cosine: np.ndarray, floor_db: float) -> np.ndarray:
    return 5 * np.log10(np.maximum(1 - np.minimum(cosine, 1) ** 2, 10 ** (floor_db / 5)))


def _unit_norm(atoms: np.ndarray) -> Float[np.ndarray, "atom entry"]:
    flat = atoms.reshape(len(atoms), -1)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)


def _geometry(basis: Float[np.ndarray, "component width"]) -> TemplateGeometry:
    return TemplateGeometry(component_lags(torch.from_numpy(basis)).numpy(), basis)


def course_of_round(
    course: Course | None, done: LearningRound, *, true_atoms: Float[np.ndarray, "true channel width"] | None = None
) -> Course:
    """Return the course of a group of channels after one round more; None stands for one that has not begun.

    Parameters
    ----------
    course : Course or None
    done : LearningRound
    true_atoms : ndarray or None, default: None
        On the channels of the group, whitened.
    """
    channels = tuple(str(channel_id) for channel_id in done.channel_ids)
    if course is None or done.round_index == 0:
        basis = done.used.basis.numpy()
        course = Course(
            name=f"group {done.group_index}",
            step_name="round",
            num_steps=done.num_rounds,
            measures=tuple(_MEASURES_OF_ROUNDS.values()),
            atom_shape=(len(channels), basis.shape[1]),
            basis=basis,
            channels=channels,
            truth=None if true_atoms is None else Truth.on_basis(true_atoms, basis),
        ).with_version(waveforms_of_atoms(done.used))
    values = {measure.name: getattr(done, field) for field, measure in _MEASURES_OF_ROUNDS.items()}
    course = course.with_measures(done.round_index + 1, values)
    return course if done.learned is None else course.with_version(waveforms_of_atoms(done.learned))


def courses_of_run(tested: SortedRecording, *, truth: SortedRecording | None = None) -> dict[str, Course]:
    """Return how the atoms of a run were learned, by name; nothing for other sorters."""
    courses = {}
    for group, curve in tested.learning_curves.items():
        course = Course(
            name=f"group {group}",
            step_name="round",
            num_steps=curve.objective.size,
            measures=_measures_of(curve),
            atom_shape=(curve.waveforms.shape[1], curve.basis.shape[1]),
            basis=curve.basis,
            channels=tuple(str(channel_id) for channel_id in curve.channel_ids),
            truth=_truth_of(truth, curve),
        )
        for atoms in curve.versions():
            course = course.with_version(atoms)
        courses[course.name] = course
    return courses


def _measures_of(curve: LearningCurve) -> tuple[Measure, ...]:
    steps = tuple(range(1, curve.objective.size + 1))
    return tuple(
        replace(measure, steps=steps, values=tuple(getattr(curve, field).tolist()))
        for field, measure in _MEASURES_OF_ROUNDS.items()
    )


def _truth_of(truth: SortedRecording | None, curve: LearningCurve) -> Truth | None:
    """Return the mean waveforms of the true units of a group, on its channels; None where they are unknown."""
    if truth is None or len(curve.waveforms) == 0 or truth.units.atoms.shape[2] != curve.basis.shape[1]:
        return None
    mine = np.isin(truth.channel_ids, curve.channel_ids)
    atoms = truth.units.atoms
    chosen = atoms[mine[peaks_of_atoms(atoms)[0]] & atoms.any(axis=(1, 2))] if len(atoms) else atoms
    return Truth.on_basis(chosen[:, mine], curve.basis) if len(chosen) else None


def course_of_epoch(
    course: Course | None, report: EpochReport, *, true_atoms: Float[np.ndarray, "true channel width"] | None = None
) -> Course:
    """Return the course of a model after one epoch more; None stands for one that has not begun."""
    atoms = atoms_of_parameters({name: tensor.cpu().numpy() for name, tensor in report.parameters.items()})
    regularization = _mean_regularization(report)
    if course is None or report.epoch == 0:
        truth = None
        if true_atoms is not None and atoms is not None and true_atoms.shape[1:] == atoms.shape[1:] and atoms.ndim == 3:
            truth = Truth(atoms=true_atoms)
        rate = (Measure(panel="mean lambda", axis="of the model", name="lambda"),)
        course = Course(
            name="fit",
            step_name="epoch",
            num_steps=report.num_epochs,
            measures=(
                Measure(panel="loss", axis="per window", name="training"),
                Measure(panel="loss", axis="per window", name="validation"),
                *(() if regularization is None else rate),
            ),
            atom_shape=(0, 0) if atoms is None else atoms.shape[1:],
            truth=truth,
        )
    values = {"training": report.training_loss, "validation": report.validation_loss, "lambda": regularization}
    course = course.with_measures(report.epoch, values)
    return course if atoms is None else course.with_version(atoms.reshape(*atoms.shape[:2], -1))


def course_of_history(
    history: TrainingHistory, *, true_atoms: Float[np.ndarray, "true channel width"] | None = None
) -> Course:
    """Return the course of a model that was trained before."""
    course = None
    for epoch, (loss, parameters) in enumerate(zip(history.validation_loss, history.parameters, strict=True)):
        report = EpochReport(
            epoch=epoch,
            num_epochs=len(history.training_loss),
            training_loss=history.training_loss[epoch - 1] if epoch else None,
            validation_loss=loss,
            parameters=parameters,
        )
        course = course_of_epoch(course, report, true_atoms=true_atoms)
    assert course is not None, "a history begins with what training started from"
    return course


def atoms_of_parameters(parameters: dict[str, np.ndarray]) -> Float[np.ndarray, "atom channel *width"] | None:
    """Return the atoms among the parameters of a model, None if it has none; several dictionaries are put in a row."""
    if "atoms" in parameters:
        return parameters["atoms"]
    parts = [values.reshape(len(values), -1) for name, values in parameters.items() if name.startswith("atoms.")]
    return np.concatenate(parts, axis=1)[:, None] if parts else None


def _mean_regularization(report: EpochReport) -> float | None:
    found = [tensor for name, tensor in report.parameters.items() if name.split(".")[-1] in ("rate", "regularization")]
    return float(found[0].float().mean()) if found else None


def units_of_atoms(course: Course, tested: SortedRecording) -> Int[np.ndarray, " atom"]:
    """Return the unit that each atom of the last version has become, -1 for those without spikes."""
    atoms = course.versions[-1]
    found = np.full(len(atoms), -1)
    mine = np.isin(tested.channel_ids.astype(str), course.channels)
    if course.basis is None or tested.units.num_units == 0 or len(atoms) == 0 or mine.sum() != len(course.channels):
        return found
    waveforms = tested.units.atoms[:, mine]
    if waveforms.shape[2] != course.basis.shape[1]:
        return found
    cosines = _unit_norm(atoms) @ (waveforms @ course.basis.T).reshape(len(waveforms), -1).T
    best = cosines.argmax(axis=1)
    return np.where(cosines.max(axis=1) > MIN_UNIT_COSINE, best, -1)
