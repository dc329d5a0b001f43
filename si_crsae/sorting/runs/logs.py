"""The log of a run: a file in its folder, and the screen if that is wished for."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from si_crsae.sorting.runs.texts import ScreenHandler, log_file_handler

# Whose messages are about atoms and rounds.
DETAILED = ("si_crsae.sorting.learning.", "si_crsae.sorting.results")

_current: ContextVar[object] = ContextVar("current run", default=None)

# The level of the package's logger before any run, once for each that goes on.
_levels_before: list[int] = []
_lock = threading.Lock()


@contextmanager
def log_to(path: Path, *, verbose: bool) -> Iterator[None]:
    """Write what the package logs for this run to a file, and to the screen if verbose; details to the file only.

    What other threads of the process log, that open another run for one, is left out.
    """
    package_logger, run = logging.getLogger("si_crsae"), object()
    handlers: list[logging.Handler] = [log_file_handler(path)]
    if verbose:
        screen = ScreenHandler(sys.stdout)
        screen.addFilter(_is_no_detail)
        handlers.append(screen)
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        handler.addFilter(lambda _: _current.get() is run)
        package_logger.addHandler(handler)
    token = _current.set(run)
    try:
        with _at_info(package_logger):
            yield
    finally:
        _current.reset(token)
        for handler in handlers:
            package_logger.removeHandler(handler)
            handler.close()


def _is_no_detail(record: logging.LogRecord) -> bool:
    """Return whether a message is for everybody: not what happened to each atom, which `load_history` tells."""
    return record.levelno > logging.INFO or not record.name.startswith(DETAILED)


@contextmanager
def _at_info(package_logger: logging.Logger) -> Iterator[None]:
    """Let a logger pass what is of interest, until the last of several threads is done."""
    with _lock:
        _levels_before.append(_levels_before[0] if _levels_before else package_logger.level)
        package_logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        with _lock:
            level = _levels_before.pop()
            if not _levels_before:
                package_logger.setLevel(level)
