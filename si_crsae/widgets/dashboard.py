"""All views of a session, in tabs of which only the one that is seen works."""

from collections.abc import Sequence
from typing import Any

import ipywidgets

from si_crsae.widgets.comparison import ComparisonView
from si_crsae.widgets.curation import CurationView
from si_crsae.widgets.decomposition import DecompositionViewer
from si_crsae.widgets.learning import LearningMonitor
from si_crsae.widgets.raster import CodeRaster
from si_crsae.widgets.session import Session
from si_crsae.widgets.templates import TemplateInspector
from si_crsae.widgets.thresholds import ThresholdExplorer
from si_crsae.widgets.view import View

VIEWS: tuple[type[View], ...] = (
    TemplateInspector,
    DecompositionViewer,
    CodeRaster,
    ComparisonView,
    ThresholdExplorer,
    CurationView,
    LearningMonitor,
)
"""In the order in which they are shown."""


class Dashboard(ipywidgets.Tab):
    """Views of one session in tabs; those that are not seen do not compute.

    Parameters
    ----------
    session : Session
    views : sequence of View classes, default: all
        In the order of the tabs.
    theme : {"auto", "light", "dark"}, default: "auto"

    Examples
    --------
    >>> from si_crsae.widgets import Dashboard, open_session  # doctest: +SKIP
    >>> Dashboard(open_session("run"))  # doctest: +SKIP
    """

    def __init__(
        self, session: Session, views: Sequence[type[View]] = VIEWS, *, theme: str = "auto", **traits: Any
    ) -> None:
        made = [view(session, theme=theme, is_awake=False) for view in views]
        super().__init__(children=made, titles=[view.title for view in views], selected_index=0, **traits)
        self.session = session
        self.observe(lambda _: self._wake_selected(), names="selected_index")
        self._wake_selected()

    def close(self) -> None:
        """Remove the tabs and their views; these follow the session no longer."""
        for view in self.children:
            view.close()
        super().close()

    def _wake_selected(self) -> None:
        for position, view in enumerate(self.children):
            view.is_awake = position == self.selected_index
