"""Widgets that show what the sorter saw, for notebooks; every view has a twin for papers and saves itself as a file."""

try:
    from si_crsae.widgets.comparison import ComparisonView
    from si_crsae.widgets.curation import CurationView
    from si_crsae.widgets.dashboard import VIEWS, Dashboard
    from si_crsae.widgets.decomposition import DecompositionViewer
    from si_crsae.widgets.features import FeatureView
    from si_crsae.widgets.history import HistoryView
    from si_crsae.widgets.learning import LearningMonitor
    from si_crsae.widgets.motion import MotionView
    from si_crsae.widgets.raster import CodeRaster
    from si_crsae.widgets.session import Session, compare_runs, open_session
    from si_crsae.widgets.templates import TemplateInspector
    from si_crsae.widgets.thresholds import ThresholdExplorer
    from si_crsae.widgets.view_models.curation_history import (
        label_step,
        merge_step,
        remove_step,
        restore_step,
        split_step,
        unlabel_step,
    )
except ImportError as error:
    missing = (error.name or "").partition(".")[0]
    if missing in ("", "si_crsae"):
        raise
    raise ImportError(
        f"si_crsae.widgets needs {missing}, which cannot be imported: pip install 'si_crsae[widgets]'", name=missing
    ) from error

__all__ = [
    "VIEWS",
    "CodeRaster",
    "ComparisonView",
    "CurationView",
    "Dashboard",
    "DecompositionViewer",
    "FeatureView",
    "HistoryView",
    "LearningMonitor",
    "MotionView",
    "Session",
    "TemplateInspector",
    "ThresholdExplorer",
    "compare_runs",
    "label_step",
    "merge_step",
    "open_session",
    "remove_step",
    "restore_step",
    "split_step",
    "unlabel_step",
]
