"""Widgets that show what the sorter saw, for notebooks; every view has a twin for papers and saves itself as a file."""

from si_crsae.widgets.decomposition import DecompositionViewer
from si_crsae.widgets.session import Session, open_session

__all__ = ["DecompositionViewer", "Session", "open_session"]
