"""Recordings from whatever file or folder they lie in."""

from pathlib import Path
from typing import Any

from spikeinterface.core import BaseRecording, load
from spikeinterface.extractors.extractor_classes import recording_extractor_full_dict

from si_crsae.sorting.runs.trust import load_recording_described

# Files that only one kind of recording has, anywhere in its folder.
MARKS = {
    "structure.oebin": "openephysbinary",
    "*.ap.meta": "spikeglx",
    "*.continuous": "openephyslegacy",
    "*.nwb": "nwb",
}
SAVED = ("si_folder.json", "binary.json", ".zattrs")
READERS = tuple(sorted(name for name in recording_extractor_full_dict if name not in ("numpy", "binary")))


def read_recording(path: str | Path, *, reader: str = "auto", stream_name: str | None = None) -> BaseRecording:
    """Return the recording in a file or folder of any kind that SpikeInterface reads.

    Parameters
    ----------
    path : str or Path
    reader : str, default: "auto"
        Which of SpikeInterface's readers, such as ``"spikeglx"`` for its ``read_spikeglx``; auto: the one that the
        files ask for.
    stream_name : str or None, default: None
        Which of several streams of signals; None where there is one.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    ValueError
        If no reader of this name is known, or the files fit none, or several.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"path = {path}: there is no such file or folder")
    if reader == "auto":
        if path.suffix == ".json":
            return load_recording_described(path, base_folder=path.parent)
        if path.is_dir() and any((path / name).is_file() for name in SAVED):
            return _only_recordings(load(path), path)
        reader = guess_reader(path)
    if reader not in READERS:
        raise ValueError(f"reader = {reader!r} is unknown; choose one of {', '.join(READERS)}")
    options: dict[str, Any] = {} if stream_name is None else {"stream_name": stream_name}
    return recording_extractor_full_dict[reader](str(path), **options)


def _only_recordings(loaded: Any, path: Path) -> BaseRecording:
    if not isinstance(loaded, BaseRecording):
        raise ValueError(f"path = {path} holds a {type(loaded).__name__}, no recording; give the recording's folder")
    return loaded


def guess_reader(path: Path) -> str:
    """Return the name of the only reader that fits the files at a path.

    Raises
    ------
    ValueError
        If there is none, or more than one.
    """
    for pattern, reader in MARKS.items():
        if path.match(pattern) or (path.is_dir() and next(path.rglob(pattern), None) is not None):
            return reader
    import neo.rawio

    possible = {rawio.__name__ for rawio in neo.rawio.get_rawio(path, exclusive_rawio=False) or []}
    found = [name for name in READERS if getattr(recording_extractor_full_dict[name], "NeoRawIOClass", "") in possible]
    if len(found) == 1:
        return found[0]
    fitting = f"{', '.join(found)} would fit" if found else f"known are {', '.join(READERS)}"
    raise ValueError(f"path = {path}: its files do not say of which kind they are; give reader, {fitting}")
