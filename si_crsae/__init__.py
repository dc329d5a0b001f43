"""Spike sorting by convolutional sparse coding, as the sorter `crsae` of SpikeInterface."""

import importlib
import sys
from typing import TYPE_CHECKING, Any

import _si_crsae_autoload

if TYPE_CHECKING:
    from si_crsae.config import CrsaeConfig
    from si_crsae.diagnostics import doctor
    from si_crsae.sorting.excluded import load_excluded_periods
    from si_crsae.sorting.folder import load_filtered, load_history, load_motion
    from si_crsae.sorting.resuming import resume_sorter
    from si_crsae.sorting.sorter import CrsaeSorter
    from si_crsae.widgets.report.writing import report

__version__ = "0.2.0"

__all__ = [
    "CrsaeConfig",
    "CrsaeSorter",
    "doctor",
    "load_excluded_periods",
    "load_filtered",
    "load_history",
    "load_motion",
    "report",
    "resume_sorter",
]

# Imported on first use: torch and SpikeInterface take seconds to load.
_MODULE_OF_NAME = {
    "CrsaeConfig": "si_crsae.config",
    "CrsaeSorter": "si_crsae.sorting.sorter",
    "doctor": "si_crsae.diagnostics",
    "load_excluded_periods": "si_crsae.sorting.excluded",
    "load_filtered": "si_crsae.sorting.folder",
    "load_history": "si_crsae.sorting.folder",
    "load_motion": "si_crsae.sorting.folder",
    "report": "si_crsae.widgets.report.writing",
    "resume_sorter": "si_crsae.sorting.resuming",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF_NAME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _register() -> None:
    """Register at once where SpikeInterface is loaded, else when it will be."""
    _si_crsae_autoload.arm()
    for name in _si_crsae_autoload.TABLES:
        if name in sys.modules:
            _si_crsae_autoload.register(sys.modules[name])


_register()
