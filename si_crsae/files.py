"""Files and folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

UNFINISHED = ".part"


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
    """
    path = Path(path).resolve()
    unfinished = path.with_name(f"{path.stem}.{uuid4().hex[:8]}{UNFINISHED}{path.suffix}")
    try:
        yield unfinished
        if unfinished.is_file():
            _flush(unfinished)
        if before is not None:
            before(unfinished)
        _replace(unfinished, path)
    except BaseException:
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


def _replace(unfinished: Path, path: Path) -> None:
    if path.is_file():
        shutil.copymode(path, unfinished)
    if not path.is_dir():
        unfinished.replace(path)
        return
    aside = path.with_name(f"{unfinished.name}.old")
    path.rename(aside)
    try:
        unfinished.rename(path)
    except BaseException:
        aside.rename(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
