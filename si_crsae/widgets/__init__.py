"""Widgets that show what the sorter saw, for notebooks; every view has a twin for papers and saves itself as a file."""

from si_crsae.widgets.dashboard import VIEWS, Dashboard
from si_crsae.widgets.decomposition import DecompositionViewer
from si_crsae.widgets.session import Session, open_session
from si_crsae.widgets.templates import TemplateInspector

__all__ = ["VIEWS", "Dashboard", "DecompositionViewer", "Session", "TemplateInspector", "open_session"]
