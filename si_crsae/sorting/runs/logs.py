"""The log of a run: a file in its folder, and the screen if that is wished for."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from si_crsae.sorting.runs.texts import ScreenHandler, log_file_handler

_current: ContextVar[object] = ContextVar("current run", default=None)


@contextmanager
def log_to(path: Path, *, verbose: bool) -> Iterator[None]:
    """Write what the package logs for this run to a file, and to the screen if verbose.

    What other threads of the process log, that open another run for one, is left out.
    """
    package_logger, run = logging.getLogger("si_crsae"), object()
    handlers: list[logging.Handler] = [log_file_handler(path)]
    if verbose:
        handlers.append(ScreenHandler(sys.stdout))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        handler.addFilter(lambda _: _current.get() is run)
        package_logger.addHandler(handler)
    level, token = package_logger.level, _current.set(run)
    package_logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        _current.reset(token)
        package_logger.setLevel(level)
        for handler in handlers:
            package_logger.removeHandler(handler)
            handler.close()
