"""All views of a session, in tabs of which only the one that is seen works."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import ipywidgets

from si_crsae.widgets.comparison import ComparisonView
from si_crsae.widgets.curation import CurationView
from si_crsae.widgets.decomposition import DecompositionViewer
from si_crsae.widgets.features import FeatureView
from si_crsae.widgets.history import HistoryView
from si_crsae.widgets.learning import LearningMonitor
from si_crsae.widgets.motion import MotionView
from si_crsae.widgets.raster import CodeRaster
from si_crsae.widgets.report.writing import report
from si_crsae.widgets.session import Session
from si_crsae.widgets.templates import TemplateInspector
from si_crsae.widgets.thresholds import ThresholdExplorer
from si_crsae.widgets.view import WidgetView

VIEWS: tuple[type[WidgetView], ...] = (
    TemplateInspector,
    DecompositionViewer,
    CodeRaster,
    FeatureView,
    ComparisonView,
    ThresholdExplorer,
    CurationView,
    MotionView,
    HistoryView,
    LearningMonitor,
)
"""In the order in which they are shown."""

AnyView = TypeVar("AnyView", bound=WidgetView)


class Dashboard(ipywidgets.Tab):
    """Views of one session in tabs; those that are not seen do not compute.

    Parameters
    ----------
    session : Session
    views : sequence of WidgetView classes or None, default: None
        In the order of the tabs. None for all of which the session has something to show: that of motion is left out
        where none was followed.
    curation_path : str, Path or None, default: None
        Where the tab of curation saves its decisions, and takes up those that are there.
    theme : {"auto", "light", "dark"}, default: "auto"

    Examples
    --------
    >>> from si_crsae.widgets import CurationView, Dashboard, open_session  # doctest: +SKIP
    >>> dashboard = Dashboard(open_session("run"), curation_path="curation.json")  # doctest: +SKIP
    >>> dashboard.view(CurationView).apply()  # doctest: +SKIP
    """

    def __init__(
        self,
        session: Session,
        views: Sequence[type[WidgetView]] | None = None,
        *,
        curation_path: str | Path | None = None,
        theme: str = "auto",
        **traits: Any,
    ) -> None:
        if views is None:
            views = [view for view in VIEWS if view.is_for(session)]
        own: dict[type[WidgetView], dict[str, Any]] = {CurationView: {"path": curation_path}}
        made = [view(session, theme=theme, is_awake=False, **own.get(view, {})) for view in views]
        super().__init__(children=made, titles=[view.tab_title for view in views], selected_index=0, **traits)
        self.session = session
        self._show_tab()
        self.observe(lambda _: self._wake_selected(), names="selected_index")
        session.observe(self._show_tab, names="tab")
        self._wake_selected()

    def view(self, view_class: type[AnyView]) -> AnyView:
        """Return the view of a class, with what was done in it.

        Raises
        ------
        ValueError
            If there is none.
        """
        for child in self.children:
            if isinstance(child, view_class):
                return child
        shown = ", ".join(type(child).__name__ for child in self.children)
        raise ValueError(f"view_class = {view_class.__name__}: the tabs are {shown}")

    def save_html(self, path: str | Path) -> Path:
        """Write the sorting on one page, which opens without the network and prints: that of `si_crsae.report`.

        Parameters
        ----------
        path : str or Path
            In an existing folder.
        """
        return report(self.session.tested, path)

    def close(self) -> None:
        """Remove the tabs and their views; these follow the session no longer."""
        with suppress(ValueError):  # closed before
            self.session.unobserve(self._show_tab, names="tab")
        for view in self.children:
            view.close()
        super().close()

    def _show_tab(self, _: Any = None) -> None:
        """Show the tab that the session names, if there is such a one."""
        if self.session.tab in self.titles:
            self.selected_index = self.titles.index(self.session.tab)

    def _wake_selected(self) -> None:
        for position, view in enumerate(self.children):
            view.is_awake = position == self.selected_index
        if self.selected_index is not None:
            self.session.tab = self.titles[self.selected_index]
