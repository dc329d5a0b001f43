"""Recordings and sortings described in files, loaded without running what anybody has written there."""

import hashlib
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from spikeinterface.core import BaseRecording, BaseSorting, load

# Packages whose recordings are made from what a file says.
TRUSTED_PACKAGES = ("spikeinterface", "probeinterface", "neo", "si_crsae")
# Modules of these whose classes run text that lies beside the data.
RUNNING_MODULES = (
    "spikeinterface.extractors.phykilosortextractors",
    "spikeinterface.extractors.klustaextractors",
    "spikeinterface.extractors.sinapsrecordingextractors",
)
DESCRIPTIONS = ("spikeinterface_recording.json", "spikeinterface_recording.pickle")
REMEDY = "give what it describes as recording, or, if you know who made the folder, say trust=True"

_written_here: set[str] = set()


class UntrustedError(ValueError):
    """Raised for a file whose reading might run what somebody has written into it."""


def remember_descriptions(folder: Path) -> None:
    """Trust the descriptions of a recording that this process has just written in the folder of a run."""
    _written_here.update(_digest(folder / name) for name in DESCRIPTIONS if (folder / name).is_file())


def load_described(path: Path, *, base_folder: Path | None = None, trust: bool = False) -> Any:
    """Return the recording or sorting that a file describes.

    Parameters
    ----------
    path : Path
        JSON or pickle.
    base_folder : Path or None, default: None
        What relative paths in it start from.
    trust : bool, default: False
        If True, also load pickles and classes of other packages.

    Raises
    ------
    UntrustedError
        If it names what is neither a recording nor a sorting of a trusted package, or is a pickle.
    ValueError
        If it is damaged.
    """
    if trust or _digest(path) in _written_here:
        return load(path, base_folder=base_folder)
    if path.suffix != ".json":
        raise UntrustedError(f"{path} is a pickle, which runs whatever its writer wished as it is read: {REMEDY}")
    description = read_json(path)
    if not isinstance(description, dict) or not description.keys() >= {"class", "kwargs"}:
        raise ValueError(f"{path} describes no recording: it was exchanged; give recording")
    for name in _class_names(description):
        _check_class(name, path)
    for folder in _folders_named(description.get("kwargs", {}), base_folder):
        refuse_pickles(folder if folder.suffix == ".zarr" else folder / "properties")
    return load(description, base_folder=base_folder)


def load_recording_described(path: Path, *, base_folder: Path | None = None, trust: bool = False) -> BaseRecording:
    """Return the recording that a file describes, see `load_described`."""
    loaded = load_described(path, base_folder=base_folder, trust=trust)
    if not isinstance(loaded, BaseRecording):
        raise ValueError(f"{path} describes a {type(loaded).__name__}, no recording: it was exchanged; give recording")
    return loaded


def load_sorting_folder(folder: Path) -> BaseSorting:
    """Return the sorting saved in a folder, none of whose files may hold a pickle."""
    refuse_pickles(folder)
    refuse_pickles(folder / "properties")
    sorting = load_described(folder / "si_folder.json", base_folder=folder)
    if not isinstance(sorting, BaseSorting):
        raise ValueError(f"{folder} holds a {type(sorting).__name__}, no sorting: it was exchanged")
    return sorting


def refuse_pickles(folder: Path) -> None:
    """Raise UntrustedError if arrays in a folder, or those of zarr anywhere in it, are pickled."""
    for path in sorted(folder.glob("*.npy")):
        try:
            np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise UntrustedError(
                f"{path} is damaged, or holds Python objects, which run whatever their writer wished as they are "
                "read: remove or restore it"
            ) from error
    for path in sorted(folder.rglob(".zarray")):
        if '"pickle"' in path.read_text(encoding="utf8", errors="replace"):
            raise UntrustedError(
                f"{path.parent} holds Python objects, which run whatever their writer wished as they are read: "
                "remove or restore it"
            )


def read_json(path: Path) -> Any:
    """Return what a JSON file holds, or raise ValueError that names it."""
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}): restore it from a copy, or sort again with run_sorter"
        ) from error


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _class_names(description: Any) -> Iterator[str]:
    """Yield every class that a description names, however deep."""
    if isinstance(description, dict):
        if "class" in description and description.keys() & {"kwargs", "module"}:
            yield str(description["class"])
        for value in description.values():
            yield from _class_names(value)
    elif isinstance(description, list):
        for value in description:
            yield from _class_names(value)


def _check_class(name: str, path: Path) -> None:
    module, _, kind = name.rpartition(".")
    if module.split(".")[0] in TRUSTED_PACKAGES:
        try:
            found = getattr(importlib.import_module(module), kind, None)
        except ImportError as error:
            raise ValueError(f"{path} names {name}, which this installation lacks ({error})") from error
        if isinstance(found, type) and issubclass(found, BaseRecording | BaseSorting):
            home = found.__module__
            if home.split(".")[0] in TRUSTED_PACKAGES and home not in RUNNING_MODULES:
                return
    raise UntrustedError(
        f"{path} names {name}, which is no recording of {', '.join(TRUSTED_PACKAGES)}, or one that runs text beside "
        f"its data: making it could run anything; {REMEDY}"
    )


def _folders_named(description: Any, base_folder: Path | None) -> Iterator[Path]:
    """Yield the existing folders that a description names."""
    if isinstance(description, str) and 0 < len(description) < 4096 and "\0" not in description:
        path = (base_folder or Path()) / description
        try:
            if path.is_dir():
                yield path
        except OSError:  # it is no path
            return
    elif isinstance(description, dict | list):
        for value in description.values() if isinstance(description, dict) else description:
            yield from _folders_named(value, base_folder)
