"""One at a time in the folder of a run: a file there says who works in it."""

import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from si_crsae.files import remove_file, written_whole

LOCK_FILE = "crsae.lock"
# How often, and how long in between (s), a lock is read whose maker has not yet written into it.
NUM_READINGS, BETWEEN_READINGS_S = 20, 0.05
# Of Windows: rights to ask for, and the exit code of what still runs.
QUERY_INFORMATION, STILL_ACTIVE = 0x1000, 259

_held_here: set[str] = set()


class FolderInUseError(RuntimeError):
    """Raised where somebody else works in the folder of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who works in a folder.

    Parameters
    ----------
    token : str
        Proof of this lock and no other.
    host : str
        Machine, and the namespace in which the process has its number.
    pid : int
    started : str
        When the process started, where that can be told: numbers are given again.
    since : str
        When it began to work.
    """

    token: str
    host: str
    pid: int
    started: str
    since: str

    @classmethod
    def of_this_process(cls) -> "Holder":
        """Return a new holder."""
        return cls(
            token=uuid4().hex,
            host=_host(),
            pid=os.getpid(),
            started=_start_of(os.getpid()),
            since=datetime.now().astimezone().isoformat(timespec="seconds"),
        )

    def is_gone(self) -> bool:
        """Tell whether the holder has ended without a word; of other machines that cannot be told."""
        if self.host != _host():
            return False
        if self.pid == os.getpid() and self.token not in _held_here:
            return True
        return not _is_running(self.pid) or self.started != _start_of(self.pid)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep others out of the folder of a run; a lock that a dead process has left is taken over.

    Raises
    ------
    FolderInUseError
        If somebody else works there; the message says who.
    """
    mine, path = Holder.of_this_process(), folder / LOCK_FILE
    _held_here.add(mine.token)
    try:
        _acquire(path, mine)
        try:
            yield
        finally:
            if _read(path) == mine:
                remove_file(path)
    finally:
        _held_here.discard(mine.token)


def check_unlocked(folder: Path) -> None:
    """Raise FolderInUseError if somebody works in a folder."""
    holder = _read(folder / LOCK_FILE)
    if holder is not None and not holder.is_gone():
        raise _in_use(folder / LOCK_FILE, holder)


def _acquire(path: Path, mine: Holder) -> None:
    while not _create(path, mine):
        holder = _read(path)
        if holder is None:  # it was released meanwhile
            continue
        if not holder.is_gone():
            raise _in_use(path, holder)
        if _take_over(path, holder, mine):
            warnings.warn(
                f"folder = {path.parent}: process {holder.pid}, which worked in it since {holder.since}, has ended "
                "without finishing; its lock is taken over",
                stacklevel=4,
            )
            return


def _create(path: Path, mine: Holder) -> bool:
    """Make the lock and return True, or return False if there is one."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    except PermissionError:
        if sys.platform == "win32" and path.exists():  # it is being removed
            return False
        raise
    try:
        with os.fdopen(descriptor, "w", encoding="utf8") as file:
            json.dump(asdict(mine), file)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def _read(path: Path) -> Holder | None:
    """Return who holds a lock, None if there is none."""
    for _ in range(NUM_READINGS):
        try:
            return Holder(**json.loads(path.read_text(encoding="utf8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, PermissionError):  # it is being written or, on Windows, removed
            time.sleep(BETWEEN_READINGS_S)
    raise FolderInUseError(
        f"{path} does not say who works in this folder: if no run is going on there, delete this file, then try again"
    )


def _take_over(path: Path, holder: Holder, mine: Holder) -> bool:
    """Replace the lock of a dead holder, unless another has done so; a second lock keeps those who try apart."""
    breaking = path.with_name(f"{path.name}.{holder.token[:8]}")
    _acquire(breaking, mine)
    try:
        if _read(path) != holder:
            return False
        with written_whole(path) as unfinished:
            unfinished.write_text(json.dumps(asdict(mine)), encoding="utf8")
        return True
    finally:
        remove_file(breaking)


def _in_use(path: Path, holder: Holder) -> FolderInUseError:
    me = " (this one)" if (holder.host, holder.pid) == (_host(), os.getpid()) else ""
    return FolderInUseError(
        f"folder = {path.parent} is in use: process {holder.pid}{me} on {holder.host} works in it since "
        f"{holder.since}; wait until it is done or end it; if it does not run any more, delete {path}"
    )


def _host() -> str:
    try:
        return f"{platform.node()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


def _is_running(pid: int) -> bool:
    if sys.platform == "win32":
        return _is_running_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


def _is_running_on_windows(pid: int) -> bool:
    """Tell whether a process runs; `os.kill` would end it there."""
    import ctypes

    kernel = ctypes.windll.kernel32  # pyright: ignore[reportAttributeAccessIssue]
    process = kernel.OpenProcess(QUERY_INFORMATION, False, pid)
    if not process:
        return False
    code = ctypes.c_ulong()
    known = kernel.GetExitCodeProcess(process, ctypes.byref(code))
    kernel.CloseHandle(process)
    return not known or code.value == STILL_ACTIVE


def _start_of(pid: int) -> str:
    """Return what tells a process from others of its number, where the system keeps that in files."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf8", errors="replace")
    except OSError:
        return ""
    return f"{boot} {status.rpartition(')')[2].split()[19]}"
