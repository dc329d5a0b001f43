"""Compiled loops kept on disk from one process to the next, where that can be done; nothing fails where it cannot."""

import functools
import hashlib
import logging
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

CORE = Path(__file__).parent

logger = logging.getLogger(__name__)


def keep_compiled(dispatcher: Any) -> None:
    """Have a function of numba keep what it compiles in the first folder that can be written.

    These are numba's own (``NUMBA_CACHE_DIR``, ``__pycache__`` beside the source, the user's cache), then a folder of
    the user's among the temporary ones. Without any, the function is compiled in every process.

    Parameters
    ----------
    dispatcher : numba.core.dispatcher.Dispatcher
        A function that numba compiles, with no cache so far.
    """
    for enable in (dispatcher.enable_caching, functools.partial(_enable_in_temporary_folder, dispatcher)):
        try:
            enable()
        except Exception as error:  # numba raises RuntimeError, and what its search for a folder meets
            problem = error
        else:
            dispatcher._cache = ForgivingCache(dispatcher._cache)
            return
    say_once(
        f"compiled loops cannot be kept on disk ({problem}): every process compiles them anew, which takes about half "
        "a minute; set NUMBA_CACHE_DIR to a folder that can be written"
    )


class ForgivingCache:
    """The cache of one function, which misses where numba's own fails: on a full disk, for a damaged file.

    It also takes what was compiled from other sources for outdated: numba looks at the file of the function only, not
    at those of the functions that it has compiled into it.

    Parameters
    ----------
    cache : numba.core.caching.Cache
        What numba has made for the function.
    """

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        if hasattr(cache, "_cache_file"):
            cache._cache_file._source_stamp = (cache._cache_file._source_stamp, _digest_of_sources())

    def __getattr__(self, name: str) -> Any:
        """Return what numba's cache has."""
        return getattr(object.__getattribute__(self, "_cache"), name)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return what was compiled for a signature, None if there is nothing of use."""
        try:
            return self._cache.load_overload(signature, target_context)
        except Exception as error:  # unpickling a damaged file raises anything
            self._forget(error)
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep what was compiled for a signature, if that can be done."""
        try:
            self._cache.save_overload(signature, compiled)
        except BaseException as error:
            self._forget(error)
            if not isinstance(error, Exception):
                raise

    def _forget(self, error: BaseException) -> None:
        """Remove the index of the function: it may name a file that is damaged, or was compiled from other sources."""
        with suppress(Exception):
            Path(self._cache._cache_file._index_path).unlink(missing_ok=True)
        say_once(
            f"compiled loops cannot be kept in {self._cache.cache_path} ({type(error).__name__}: {error}): they are "
            "compiled anew, which takes about half a minute; make room there, or set NUMBA_CACHE_DIR to another folder"
        )


@functools.cache
def say_once(message: str) -> None:
    """Log a warning, the first time only."""
    logger.warning(message)


def _enable_in_temporary_folder(dispatcher: Any) -> None:
    from numba.core import config

    settings: Any = config  # made at run time
    configured = settings.CACHE_DIR
    settings.CACHE_DIR = str(_temporary_folder())
    try:
        dispatcher.enable_caching()
    finally:
        settings.CACHE_DIR = configured


def _temporary_folder() -> Path:
    """Return a folder that nobody else can write: what lies there will be executed."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir(), f"si_crsae-numba-{user}")
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    is_shared = hasattr(os, "getuid") and (status.st_uid != user or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    if is_shared or not stat.S_ISDIR(status.st_mode):
        raise PermissionError(f"{folder} belongs to somebody else")
    return folder


@functools.cache
def _digest_of_sources() -> str:
    """Return what changes with any file of the core."""
    digest = hashlib.sha256()
    for path in sorted(CORE.rglob("*.py")):
        with suppress(OSError):
            digest.update(path.read_bytes())
    return digest.hexdigest()
