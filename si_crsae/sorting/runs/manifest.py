"""What a run has written and what of: a file beside tells whether it is still that."""

import hashlib
import importlib.metadata
import json
import logging
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from spikeinterface.core import BaseRecording

from si_crsae.config import CrsaeConfig
from si_crsae.files import remove_unfinished, written_whole
from si_crsae.sorting.runs.trust import read_json

MANIFEST_FILE = "crsae_manifest.json"
STAGES = ("excluded", "initialize", "learn", "encode", "clean", "posterior")
# Parameters that may be edited before a run is resumed: they decide where and how fast, not what.
UNDECISIVE = ("cache_preprocessing_mode", "device", "job_kwargs")
# Values of the traces by which a recording is known again, and how far those of filtered ones may lie apart.
NUM_SLICES, SLICE_SAMPLES, PLACES_SEED, TOLERANCE = 8, 8, 0, 1e-3
# Differences told one by one.
MAX_NAMED = 4
# Folders between the manifest and what it tells of.
MAX_DEPTH = 4
CHUNK_BYTES = 2**20

logger = logging.getLogger(__name__)


class DamagedFileError(ValueError):
    """Raised for a file of a run that is not what the run has written."""


class ChangedRunError(ValueError):
    """Raised where a run cannot go on, for what it has done so far was done otherwise or with something else."""


@contextmanager
def noted_whole(path: Path) -> Iterator[Path]:
    """Yield a path beside, as `written_whole`, and note its checksum in the manifest of the run, if there is one."""
    root = _root_of(path)
    with written_whole(path, before=None if root is None else partial(_note, root, path)) as unfinished:
        yield unfinished


def verify(path: Path) -> None:
    """Raise DamagedFileError if a file or folder is not what its run has written; without a manifest all is well."""
    root = _root_of(path)
    if root is None:
        return
    name = _name(root, path)
    noted = {file: entry for file, entry in _read(root)["files"].items() if file == name or file.startswith(name + "/")}
    problems = [_problem(root / file, entry) for file, entry in noted.items()]
    if not noted:
        problems = [f"{path} is not of this run"]
    for problem in filter(None, problems):
        raise DamagedFileError(
            f"{problem}: it was damaged or exchanged; call si_crsae.resume_sorter(folder) to compute it again, or "
            "restore it from a copy"
        )


def is_complete(root: Path) -> bool | None:
    """Tell whether a run has written all, and all is as it was written; None where nothing was noted."""
    if not (root / MANIFEST_FILE).is_file():
        return None
    manifest = _read(root)
    return manifest["complete"] and not any(map(_problem, *_paths_and_entries(root, manifest)))


def mark_complete(root: Path) -> None:
    """Note that a run has written all."""
    if (root / MANIFEST_FILE).is_file():
        _write(root, _read(root) | {"complete": True})


def check_parameters(root: Path, config: CrsaeConfig) -> None:
    """Raise ChangedRunError if the parameters are not those with which a run began."""
    if not (root / MANIFEST_FILE).is_file():
        return
    began, now = _read(root)["parameters"], _decisive(config)
    changed = [
        f"{name} = {now.get(name)!r}, it began with {began.get(name)!r}"
        for name in sorted({*began, *now})
        if began.get(name) != now.get(name) and name in began and name in now
    ]
    if changed:
        raise ChangedRunError(
            "\n  ".join(
                [
                    "the parameters of this run were edited since it began; put them back in "
                    "spikeinterface_params.json, or call run_sorter with another folder:",
                    *changed,
                ]
            )
        )


def check_recording_is(root: Path, recording: BaseRecording) -> None:
    """Raise ChangedRunError if a recording is not the one of which a run began; the message says what differs."""
    attributes, manifest = root.parent / "recording_attributes.json", root / MANIFEST_FILE
    if manifest.is_file():
        noted = _read(root)["recording"]
    elif attributes.is_file():
        noted = read_json(attributes)
    else:
        return
    problems = _differences(noted, recording)
    if problems:
        raise ChangedRunError("\n  ".join(["recording is not the one that was sorted; give that one:", *problems]))


def begin(root: Path, config: CrsaeConfig, recording: BaseRecording) -> None:
    """Note what a run is made with, or make sure that one which goes on is made with the same.

    Stages that are damaged, of another run or of another version of this package are removed, with those after them.
    """
    remove_unfinished(root)
    version = importlib.metadata.version("si_crsae")
    if not (root / MANIFEST_FILE).is_file():
        _remove_stages([path for path in _stage_files(root) if not _is_archive(path)], "is damaged")
        files = {_name(root, path): _entry(path) for path in _stage_files(root)}
        begun = {"version": version, "parameters": _decisive(config), "recording": _identity(recording)}
        _write(root, begun | {"complete": False, "files": files})
        return
    check_parameters(root, config)
    check_recording_is(root, recording)
    manifest = _read(root)
    if manifest["version"] != version:
        logger.info("stages of si_crsae %s are computed anew with %s", manifest["version"], version)
        for path in _stage_files(root):
            path.unlink()
        _write(root, manifest | {"version": version, "parameters": _decisive(config), "complete": False, "files": {}})
        return
    noted = manifest["files"]
    stages = {path: noted.get(_name(root, path)) for path in _stage_files(root)}
    bad = [path for path, entry in stages.items() if entry is None or _problem(path, entry)]
    _remove_stages(bad, "is not what this run has written")
    _write(root, manifest | {"complete": False})


def _remove_stages(paths: list[Path], why: str) -> None:
    for path in paths:
        warnings.warn(f"{path} {why}: this stage and those after it are computed again", stacklevel=4)
        for stage in STAGES[STAGES.index(path.stem) :]:
            path.with_name(f"{stage}.npz").unlink(missing_ok=True)


def _stage_files(root: Path) -> list[Path]:
    return [path for path in sorted(root.glob("stages/group_*/*.npz")) if path.stem in STAGES]


def _is_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError):
        return False


def _decisive(config: CrsaeConfig) -> dict[str, Any]:
    return {name: value for name, value in config.model_dump(mode="json").items() if name not in UNDECISIVE}


def _identity(recording: BaseRecording) -> dict[str, Any]:
    values = [value for _, value in _values(recording)]
    return _shape(recording) | {"dtype": np.dtype(recording.get_dtype()).str, "values": values}


def _shape(recording: BaseRecording) -> dict[str, Any]:
    return {
        "channel_ids": recording.channel_ids.tolist(),
        "sampling_frequency": recording.sampling_frequency,
        "num_samples": [recording.get_num_samples(index) for index in range(recording.get_num_segments())],
    }


def _values(recording: BaseRecording) -> Iterator[tuple[tuple[int, int, int], float]]:
    """Yield values of the traces at (segment, sample, channel): the same places whenever shapes are the same."""
    generator = np.random.default_rng(PLACES_SEED)
    lengths = np.array(_shape(recording)["num_samples"], dtype="int64")
    ends, num_channels = np.cumsum(lengths), recording.get_num_channels()
    for _ in range(NUM_SLICES if lengths.sum() and num_channels else 0):
        place = int(generator.integers(ends[-1]))
        segment = int(np.searchsorted(ends, place, side="right"))
        first = place - int(ends[segment] - lengths[segment])
        last = min(first + SLICE_SAMPLES, int(lengths[segment]))
        traces = recording.get_traces(segment_index=segment, start_frame=first, end_frame=last)
        for offset, channel in enumerate(generator.integers(num_channels, size=len(traces)).tolist()):
            yield (segment, first + offset, channel), float(traces[offset, channel])


def _differences(noted: dict[str, Any], recording: BaseRecording) -> list[str]:
    given = _shape(recording)
    problems = [f"{name} = {_contrast(value, noted[name])}" for name, value in given.items() if noted[name] != value]
    if problems or not noted.get("values"):
        return problems
    places, values = zip(*_values(recording), strict=True)
    nearly = TOLERANCE * float(np.nanmax(np.abs(noted["values"])))
    apart = np.flatnonzero(~np.isclose(values, noted["values"], rtol=0, atol=nearly, equal_nan=True))
    if apart.size == 0:
        return []
    segment, sample, channel = places[apart[0]]
    return [
        f"traces differ at {apart.size} of {len(values)} places looked at, first in segment {segment} at sample "
        f"{sample} on channel {recording.channel_ids[channel].item()!r}: {values[apart[0]]:g} instead of "
        f"{noted['values'][apart[0]]:g}"
    ]


def _contrast(given: Any, noted: Any) -> str:
    """Say what is given and what it was; of lists only where they differ."""
    if not isinstance(given, list):
        return f"{given!r}, it was {noted!r}"
    if len(given) != len(noted):
        return f"{len(given)} of them, they were {len(noted)}"
    differ = [f"{one!r} (it was {other!r})" for one, other in zip(given, noted, strict=True) if one != other]
    return ", ".join(differ[:MAX_NAMED]) + (f" and {len(differ) - MAX_NAMED} more" if len(differ) > MAX_NAMED else "")


def _root_of(path: Path) -> Path | None:
    return next((root for root in path.parents[:MAX_DEPTH] if (root / MANIFEST_FILE).is_file()), None)


def _paths_and_entries(root: Path, manifest: dict[str, Any]) -> tuple[list[Path], list[dict[str, Any]]]:
    return [root / name for name in manifest["files"]], list(manifest["files"].values())


def _problem(path: Path, entry: dict[str, Any]) -> str | None:
    """Return what is wrong with a file."""
    if not path.is_file():
        return f"{path} is missing"
    size = path.stat().st_size
    if size != entry["size"]:
        return f"{path} has {size} bytes, {entry['size']} were written"
    return None if _checksum(path) == entry["sha256"] else f"{path} does not hold what was written"


def _note(root: Path, path: Path, unfinished: Path) -> None:
    """Note the checksums of what will lie at a path."""
    name = _name(root, path)
    manifest = _read(root)
    kept = {
        file: entry for file, entry in manifest["files"].items() if file != name and not file.startswith(name + "/")
    }
    for part in [unfinished] if unfinished.is_file() else sorted(filter(Path.is_file, unfinished.rglob("*"))):
        inside = part.relative_to(unfinished).as_posix()
        kept |= [(name if inside == "." else f"{name}/{inside}", _entry(part))]
    _write(root, manifest | {"files": kept})


def _entry(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": _checksum(path)}


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _read(root: Path) -> dict[str, Any]:
    manifest = read_json(root / MANIFEST_FILE)
    if not isinstance(manifest, dict) or not manifest.keys() >= {"version", "parameters", "recording", "files"}:
        raise DamagedFileError(f"{root / MANIFEST_FILE} is damaged: delete it to go on without checks")
    return manifest


def _write(root: Path, manifest: dict[str, Any]) -> None:
    with written_whole(root / MANIFEST_FILE) as unfinished:
        unfinished.write_text(json.dumps(manifest, indent=1), encoding="utf8")
