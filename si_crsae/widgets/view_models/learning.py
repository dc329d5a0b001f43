"""What the learning monitor shows of a course: curves of its measures, and the atoms with their earlier versions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.widgets.view_models.courses import Course, Measure, units_of_atoms

MAX_CELLS = 400
MAX_VERSIONS = 4
MAX_DOTS = 4000
HOW_TO_START = (
    'Nothing has been learned yet. To watch a sorting, run it in "with monitor.watching(): '
    'run_sorter("crsae", recording, folder="run")"; to watch a model, call "model.fit(x, on_epoch=monitor.on_epoch)"; '
    'for a run that is over, open LearningMonitor.from_folder("run").'
)
NOTHING_HEARD = (
    "Nothing was learned while the monitor was watching: no template was found, or the run had its model already, or "
    "ran in another process or container. Open its folder with LearningMonitor.from_folder."
)
OTHER_SORTER = (
    "This sorting tells nothing of how it was learned: open the folder of a crsae run that was made with "
    "save_array=True."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One measure over the steps."""

    name: str
    steps: Float[np.ndarray, " point"]
    values: Float[np.ndarray, " point"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Lines with common axes, and a dot for each atom and step where every atom has a value of its own."""

    title: str
    axis: str
    lines: list[Line]
    dot_step: Int[np.ndarray, " dot"]
    dot_value: Float[np.ndarray, " dot"]
    is_whole: bool = False
    """Whether values are counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorModel:
    """Curves of one course and its atoms, each on its main channel, the present version and some earlier ones."""

    names: list[str]
    """Names of all courses."""
    shown: int
    step_name: str
    step: int
    num_steps: int
    is_running: bool
    panels: list[Panel]
    version_steps: list[int]
    """Steps after which the drawn versions were made, the last one the newest."""
    waveforms: Float[np.ndarray, "cell version sample"]
    """NaN where an atom was not there yet."""
    picture_shape: list[int]
    """Rows and columns of atoms of images; empty for waveforms."""
    cell_name: list[str]
    cell_color: Int[np.ndarray, " cell"]
    """Index of the color, -1 for atoms that have become no unit."""
    cell_unit: list[str]
    """Id of the unit, empty if it has none or is not known yet."""
    cell_channel: list[str]
    cell_change_db: Float[np.ndarray, " cell"]
    """Change in the last step; NaN for new atoms."""
    selected: list[str]
    """Ids of the selected units."""
    notes: list[str]
    empty: str


def monitor_model(
    courses: dict[str, Course],
    *,
    shown: str = "",
    is_running: bool = False,
    has_watched: bool = False,
    tested: SortedRecording | None = None,
    selected: Sequence[int | str] = (),
) -> MonitorModel:
    """Return what the learning monitor shows.

    Parameters
    ----------
    courses : dict of str to Course
        By name.
    shown : str, default: ""
        The one to show; the first one if it is none of them.
    is_running : bool, default: False
        Whether learning goes on.
    has_watched : bool, default: False
        Whether something was watched that is over.
    tested : SortedRecording or None, default: None
        The run that the courses are of: it tells which atom has become which unit.
    selected : sequence of int or str, default: ()
        Ids of the selected units.
    """
    if not courses:
        empty = NOTHING_HEARD if has_watched else OTHER_SORTER if tested is not None else HOW_TO_START
        return _nothing("Waiting for the first round of learning." if is_running else empty, is_running=is_running)
    name = shown if shown in courses else next(iter(courses))
    course = courses[name]
    notes = [] if tested is None else list(tested.missing)
    atoms = _Atoms.of(course, tested)
    if not course.versions:
        notes.append(
            "Only curves are shown: an earlier version made the run, which did not keep its atoms round by round."
        )
    if atoms.num_hidden:
        notes.append(f"{atoms.num_hidden} more atoms are not drawn; the curves are of all.")
    return MonitorModel(
        names=list(courses),
        shown=list(courses).index(name),
        step_name=course.step_name,
        step=course.step,
        num_steps=max(course.num_steps, course.step),
        is_running=is_running,
        panels=panels_of(course),
        version_steps=atoms.steps,
        waveforms=atoms.waveforms,
        picture_shape=list(course.atom_shape[1:]) if len(course.atom_shape) == 3 else [],
        cell_name=atoms.names,
        cell_color=atoms.color,
        cell_unit=atoms.unit_ids,
        cell_channel=atoms.channels,
        cell_change_db=atoms.change_db,
        selected=[str(unit_id) for unit_id in selected],
        notes=notes,
        empty="",
    )


def _nothing(empty: str, *, is_running: bool) -> MonitorModel:
    no_cells = _Atoms.none()
    return MonitorModel(
        names=[],
        shown=0,
        step_name="round",
        step=0,
        num_steps=0,
        is_running=is_running,
        panels=[],
        version_steps=[],
        waveforms=no_cells.waveforms,
        picture_shape=[],
        cell_name=[],
        cell_color=no_cells.color,
        cell_unit=[],
        cell_channel=[],
        cell_change_db=no_cells.change_db,
        selected=[],
        notes=[],
        empty=empty,
    )


def panels_of(course: Course) -> list[Panel]:
    """Return the curves of a course: its measures, how much its atoms change, and how far from the truth they are."""
    by_title: dict[str, list[Measure]] = {}
    for measure in course.measures:
        by_title.setdefault(measure.panel, []).append(measure)
    panels = [
        Panel(
            title=title,
            axis=measures[0].axis,
            lines=[_line(measure.name, measure.steps, measure.values) for measure in measures],
            dot_step=np.zeros(0, "int32"),
            dot_value=np.zeros(0, "float32"),
            is_whole=measures[0].axis == "count",
        )
        for title, measures in by_title.items()
    ]
    if course.changes:
        changes = [change.error_db for change in course.changes]
        panels.append(_spread_panel("change of atoms", "dB", changes, first_step=1))
    if course.truth_errors:
        panels.append(_spread_panel("error to truth", "dB", course.truth_errors, first_step=0))
    return panels


def _spread_panel(title: str, axis: str, errors: Sequence[np.ndarray], *, first_step: int) -> Panel:
    """Return median and largest of many values per step, with a dot for each value unless there are too many."""
    steps = np.arange(first_step, first_step + len(errors))
    known = [values[np.isfinite(values)] for values in errors]
    medians = [float(np.median(values)) if values.size else np.nan for values in known]
    largest = [float(values.max()) if values.size else np.nan for values in known]
    are_few = sum(values.size for values in known) <= MAX_DOTS
    return Panel(
        title=title,
        axis=axis,
        lines=[_line("median", steps, medians), _line("largest", steps, largest)],
        dot_step=np.repeat(steps, [values.size for values in known]) if are_few else np.zeros(0, "int32"),
        dot_value=(np.concatenate(known) if are_few else np.zeros(0)).astype("float32"),
    )


def _line(name: str, steps: Sequence[int] | np.ndarray, values: Sequence[float]) -> Line:
    return Line(name=name, steps=np.asarray(steps, "float64"), values=np.asarray(values, "float64"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Atoms:
    """Cells of the strip, by unit where units are known."""

    steps: list[int]
    waveforms: Float[np.ndarray, "cell version sample"]
    names: list[str]
    color: Int[np.ndarray, " cell"]
    unit_ids: list[str]
    channels: list[str]
    change_db: Float[np.ndarray, " cell"]
    num_hidden: int = 0

    @classmethod
    def none(cls) -> "_Atoms":
        return cls(
            steps=[],
            waveforms=np.zeros((0, 0, 1), "float32"),
            names=[],
            color=np.zeros(0, "int32"),
            unit_ids=[],
            channels=[],
            change_db=np.zeros(0, "float32"),
        )

    @classmethod
    def of(cls, course: Course, tested: SortedRecording | None) -> "_Atoms":
        if not course.versions or len(course.versions[-1]) == 0:
            return cls.none()
        units = None if tested is None else units_of_atoms(course, tested)
        atoms = course.versions[-1]
        place = np.arange(len(atoms)) if units is None else np.where(units < 0, units.max() + 1, units)
        cells = np.argsort(place, kind="stable")[:MAX_CELLS]
        main_channel = np.linalg.norm(atoms[cells], axis=2).argmax(axis=1)
        last = len(course.versions) - 1
        steps = np.unique(np.linspace(0, last, min(MAX_VERSIONS, last + 1)).round().astype(int)).tolist()
        if len(course.atom_shape) == 3:
            steps = steps[-1:]
        unit_ids = [""] * cells.size
        if units is not None and tested is not None:
            unit_ids = [str(tested.unit_ids[unit]) if unit >= 0 else "" for unit in units[cells]]
        return cls(
            steps=steps,
            waveforms=_waveforms(course, cells, main_channel, steps),
            names=[unit_id or f"atom {cell}" for unit_id, cell in zip(unit_ids, cells.tolist(), strict=True)],
            color=cells if units is None else units[cells],
            unit_ids=unit_ids,
            channels=[course.channels[channel] for channel in main_channel] if course.channels else [""] * cells.size,
            change_db=(course.changes[-1].error_db[cells] if course.changes else np.full(cells.size, np.nan)).astype(
                "float32"
            ),
            num_hidden=len(atoms) - cells.size,
        )


def _waveforms(
    course: Course, cells: Int[np.ndarray, " cell"], main_channel: Int[np.ndarray, " cell"], steps: list[int]
) -> Float[np.ndarray, "cell version sample"]:
    """Return each atom on its present main channel, with its earlier versions; pictures and single samples whole."""
    is_waveform = len(course.atom_shape) == 2 and course.versions[-1].shape[2] > 1
    found = {}
    index = cells
    for step in range(len(course.versions) - 1, -1, -1):
        if step in steps:
            atoms = course.versions[step]
            chosen = atoms[index, main_channel] if is_waveform else atoms[index].reshape(cells.size, -1)
            values = chosen if course.basis is None or not is_waveform else chosen @ course.basis
            found[step] = np.where((index >= 0)[:, None], values, np.nan)
        if step:
            origin = course.changes[step - 1].origin
            index = np.where(index >= 0, origin[index], -1)
    return np.stack([found[step] for step in steps], axis=1).astype("float32")
