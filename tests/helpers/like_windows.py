"""Files as Windows has them: what is open, or mapped into memory, in this process is neither replaced nor removed."""

import os
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from si_crsae import files

OPEN, MAPPED = Path("/proc/self/fd"), Path("/proc/self/maps")


@contextmanager
def open_files_stay():
    """Refuse as Windows does; yields a list of what was refused."""
    refused = []

    def guarded(function):
        def call(path, *arguments, dir_fd=None, **others):
            names = [path, *(argument for argument in arguments if isinstance(argument, (str, bytes, os.PathLike)))]
            for name in names:
                whole = _whole_path(name, dir_fd)
                if _is_in_use(whole):
                    refused.append(whole)
                    raise PermissionError(13, "The process cannot access the file because it is being used", str(whole))
            return function(path, *arguments, **({} if dir_fd is None else {"dir_fd": dir_fd}), **others)

        return call

    with mock.patch.object(files, "OPEN_FILES_STAY", True), mock.patch.object(files, "PATIENCE_S", 2.0):
        names = ("replace", "rename", "unlink", "remove", "rmdir")
        with mock.patch.multiple(os, **{name: guarded(getattr(os, name)) for name in names}):
            yield refused


def _whole_path(name, dir_fd):
    folder = Path.cwd() if dir_fd is None else (OPEN / str(dir_fd)).readlink()
    return folder / os.fsdecode(name)


def _is_in_use(path):
    """Tell whether a file, or any file in a folder, is open or mapped; a folder itself may be."""
    if path.is_symlink() or not path.exists():
        return False
    used = {line.split(maxsplit=5)[5] for line in MAPPED.read_text(encoding="utf8").splitlines() if "/" in line}
    for descriptor in OPEN.iterdir():
        try:
            used.add(str(descriptor.readlink()))
        except OSError:  # closed meanwhile
            continue
    resolved = path.resolve()
    return any(Path(name) == resolved or resolved in Path(name).parents for name in used if Path(name).is_file())
