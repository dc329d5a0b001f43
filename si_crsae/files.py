"""Files and folders that appear whole or not at all."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

UNFINISHED = ".part"
# File systems allow names of 255 bytes, and a character takes up to four.
KEPT_OF_NAME = 40
# On Windows a file that is open anywhere cannot be replaced, renamed or removed; virus scanners open what is new.
OPEN_FILES_STAY = sys.platform == "win32"
PATIENCE_S, BETWEEN_TRIES_S = 5.0, 0.05


@contextmanager
def written_whole(path: str | Path, *, before: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """Yield a path beside, which takes the place of a file or folder when all has been written to it.

    Whatever fails before, a full disk for one, leaves what was there.

    Parameters
    ----------
    path : str or Path
        In an existing folder.
    before : callable or None, default: None
        Called with the path beside once that is complete.

    Raises
    ------
    PermissionError
        On Windows, if what was there is open in another program and stays so.
    """
    path = Path(path).resolve()
    unfinished = path.with_name(f"{path.stem[:KEPT_OF_NAME]}.{uuid4().hex[:8]}{UNFINISHED}{path.suffix}")
    try:
        yield unfinished
        if unfinished.is_file():
            _flush(unfinished)
        if before is not None:
            before(unfinished)
        _replace(unfinished, path)
    except BaseException:
        with suppress(PermissionError):  # what failed may still have it open
            _remove(unfinished)
        raise


def remove_unfinished(folder: Path) -> None:
    """Remove what was not completely written anywhere in a folder, when its writer was killed."""
    for path in sorted(folder.rglob(f"*{UNFINISHED}*")):
        _remove(path)


def _flush(path: Path) -> None:
    """Have a file on the disk, so that it does not replace another before it is there."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def remove_file(path: Path) -> None:
    """Remove a file, if there is one, as soon as nobody reads it."""
    _patiently(path, lambda: path.unlink(missing_ok=True))


def _replace(unfinished: Path, path: Path) -> None:
    if path.is_file():
        shutil.copymode(path, unfinished)
    if not path.is_dir():
        _patiently(path, lambda: unfinished.replace(path))
        return
    aside = path.with_name(f"{unfinished.name}.old")
    _patiently(path, lambda: path.rename(aside))
    try:
        _patiently(path, lambda: unfinished.rename(path))
    except BaseException:
        aside.rename(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _patiently(path: Path, act: Callable[[], object]) -> None:
    """Do what cannot be done on Windows while a file is open, as soon as it is closed."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            act()
            return
        except PermissionError as error:
            if not OPEN_FILES_STAY:
                raise
            if time.monotonic() > deadline:
                raise PermissionError(
                    f"{path} cannot be replaced or removed: another program, such as a notebook that reads it, has it "
                    "open; close that, then try again"
                ) from error
        time.sleep(BETWEEN_TRIES_S)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
