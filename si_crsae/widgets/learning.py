"""The learning monitor: objective, lambda and atoms round by round, while they are learned and afterwards."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets
from spikeinterface.core import BaseRecording, BaseSorting

from si_crsae.models.training import EpochReport, TrainingHistory
from si_crsae.sorting.learning.rounds import LearningRound, listen
from si_crsae.widgets.held import Held, hold
from si_crsae.widgets.session import Session, open_session
from si_crsae.widgets.static_plots.learning import draw_learning
from si_crsae.widgets.view import COMMON, WidgetView, load_module
from si_crsae.widgets.view_models.courses import (
    Course,
    course_of_epoch,
    course_of_history,
    course_of_round,
    courses_of_run,
)
from si_crsae.widgets.view_models.learning import MonitorModel, monitor_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Between two pictures of something that is being learned: five a second.
MIN_INTERVAL_S = 0.2


class LearningMonitor(WidgetView):
    """How learning goes on: objective, lambda, atoms, events, and how much the atoms still change.

    Live in the kernel in which something is learned, or of a run that is over. Hover over a curve for its numbers,
    click an atom to select its unit (with shift: it too). The arrow keys go from step to step in the curves, from atom
    to atom beneath, where Enter selects.

    Parameters
    ----------
    session : Session or None, default: None
        A run that is over; None to watch one.
    true_atoms : ndarray or None, default: None
        What should be learned, for errors: of shape (true, channel, width); for a sorting whitened, on the channels of
        its only group. With a session, its truth is taken.
    shown : str, default: ""
        Name of the group of channels to show; empty for the one that is being learned.
    theme : {"auto", "light", "dark"}, default: "auto"

    Examples
    --------
    >>> from si_crsae.widgets.learning import LearningMonitor
    >>> monitor = LearningMonitor()
    >>> with monitor.watching():  # show it first: display(monitor)
    ...     pass  # run_sorter("crsae", recording, folder="run")
    >>> LearningMonitor.from_folder("run")  # doctest: +SKIP
    """

    title: ClassVar[str] = "Learning"
    tab_title: ClassVar[str] = "Learning"
    follows: ClassVar[tuple[str, ...]] = ("selected_units",)

    _esm = load_module(*COMMON, "learning.js")

    shown = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self,
        session: Session | None = None,
        *,
        true_atoms: np.ndarray | None = None,
        **traits: Any,
    ) -> None:
        self._session = session
        # read when it is seen first
        self._courses: dict[str, Course] | None = None if session is not None else {}
        self._true_atoms = true_atoms
        self._is_running = self._has_watched = False
        # what is watched is another run than that of the session
        self._is_of_session = session is not None
        self._newest = ""
        self._shown_at = -np.inf
        super().__init__(session, **traits)
        self.observe(lambda _: self.refresh(), names=["shown"])

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        *,
        recording: BaseRecording | None = None,
        truth: BaseSorting | None = None,
        trust: bool = False,
        **traits: Any,
    ) -> "LearningMonitor":
        """Return the monitor of a run that is over; arguments as for `open_session`."""
        return cls(open_session(folder, recording=recording, truth=truth, trust=trust), **traits)

    @classmethod
    def from_history(cls, history: TrainingHistory, **traits: Any) -> "LearningMonitor":
        """Return the monitor of a model that was trained before, from what `train` returned or `fit` left."""
        monitor = cls(**traits)
        monitor._take(course_of_history(history, true_atoms=monitor._true_atoms), is_last=True)
        return monitor

    @contextmanager
    def watching(self) -> Iterator["LearningMonitor"]:
        """Show every round of whatever is sorted in the block, as it is learned."""
        self._forget()
        self._is_running = True
        self.refresh()
        try:
            with listen(self.on_round):
                yield self
        finally:
            self._is_running, self._has_watched = False, True
            self.refresh()

    def on_round(self, done: LearningRound) -> None:
        """Show a round of learning; what `watching` registers."""
        self._attempt(lambda: self._take_round(done))

    def on_epoch(self, report: EpochReport) -> None:
        """Show an epoch of training: pass it to ``fit(..., on_epoch=monitor.on_epoch)``."""
        self._attempt(lambda: self._take_epoch(report))

    def view_model(self) -> MonitorModel:
        """Return the curves and atoms of one course."""
        return self._model_of(self.shown or self._newest)

    def held(self, *, max_mb: float) -> Held:
        """Return all groups of channels."""
        names = list(self.courses())
        messages = [{"kind": "show_course", "name": name} for name in names] if len(names) > 1 else []
        answers, are_all = hold(messages, lambda place: self._model_of(names[place]), max_mb=max_mb)
        shown = self.shown or self._newest or (names[0] if names else "")
        held = ", ".join(names) if are_all else shown
        says = f"curves and atoms of {held}" if names else "nothing: nothing was learned yet"
        return Held(says=says, kinds=() if self._session is None else ("select_units",), answers=answers)

    def _model_of(self, shown: str) -> MonitorModel:
        session = self._session
        return monitor_model(
            self.courses(),
            shown=shown,
            is_running=self._is_running,
            has_watched=self._has_watched,
            tested=None if session is None or not self._is_of_session else session.tested,
            selected=() if session is None else session.selected_units,
        )

    def courses(self) -> dict[str, Course]:
        """Return what has been learned, by the name of the group of channels, or "fit" for a model."""
        if self._courses is None:
            assert self._session is not None
            self._courses = courses_of_run(self._session.tested, truth=self._session.truth)
        return self._courses

    def answers(self) -> dict[str, Any]:
        """Return what to do with each kind of message from the browser."""
        return ({} if self._session is None else super().answers()) | {"show_course": self._show_course}

    def draw(self, figure: "Figure") -> None:
        """Draw curves and atoms with matplotlib."""
        draw_learning(figure, self.view_model())

    def _take_round(self, done: LearningRound) -> None:
        before = self.courses().get(f"group {done.group_index}")
        self._take(course_of_round(before, done, true_atoms=self._fitting(done)), is_last=done.is_last)

    def _take_epoch(self, report: EpochReport) -> None:
        if report.epoch == 0:
            self._forget()
        is_last = report.epoch == report.num_epochs
        self._is_running = not is_last
        self._take(course_of_epoch(self.courses().get("fit"), report, true_atoms=self._true_atoms), is_last=is_last)

    def _take(self, course: Course, *, is_last: bool) -> None:
        self._courses = self.courses() | {course.name: course}
        self._newest = course.name
        now = time.monotonic()
        if is_last or now - self._shown_at >= MIN_INTERVAL_S:
            self._shown_at = now
            self.refresh()

    def _forget(self) -> None:
        self._courses, self._newest, self._is_of_session = {}, "", False
        self.shown = ""

    def _fitting(self, done: LearningRound) -> np.ndarray | None:
        """Return the true atoms if they are those of the group."""
        expected = (done.channel_ids.size, done.used.width)
        return self._true_atoms if self._true_atoms is not None and self._true_atoms.shape[1:] == expected else None

    def _show_course(self, content: dict[str, Any]) -> None:
        self.shown = str(content["name"])
