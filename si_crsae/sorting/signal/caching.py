"""The preprocessed signal computed once: in memory where it fits, else in the folder of the run."""

import gc
import logging
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any, cast

import numpy as np
from spikeinterface.core import BaseRecording, NumpyRecording, SharedMemoryRecording
from spikeinterface.core.job_tools import TimeSeriesChunkExecutor, fix_job_kwargs
from spikeinterface.core.numpyextractors import NumpyRecordingSegment
from spikeinterface.sortingcomponents.tools import cache_preprocessing

from si_crsae.config import CHUNK_LENGTHS, CrsaeConfig

# Of the free memory, what a cache may take unasked.
MEMORY_SHARE = 0.5
SHARED_MEMORY = Path("/dev/shm")
# Where Linux says how much memory a container may take, and takes.
CONTAINER_LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """A signal computed once, and what it occupies until it is closed.

    Parameters
    ----------
    recording : BaseRecording
    folder : Path
        Where it lies if it lies in files.
    files : list
        Open ones of that folder.
    blocks : list of SharedMemory
        Where it lies if processes share it.
    """

    recording: BaseRecording
    folder: Path
    files: list[Any] = field(default_factory=list)
    blocks: list[SharedMemory] = field(default_factory=list)

    def close(self) -> None:
        """Give back memory and disk; the recording cannot be read afterwards.

        SpikeInterface's clustering refers to the recording until it is called again, so that its arrays are taken away.
        """
        if isinstance(self.recording, NumpyRecording):
            for segment in cast(list[NumpyRecordingSegment], self.recording.segments):
                segment._traces = np.empty((0, self.recording.get_num_channels()), self.recording.get_dtype())
            self.recording._kwargs.clear()
        for file in self.files:
            file.close()
        _unlink(self.blocks)
        drop_cache(self.folder)


def cache(recording: BaseRecording, config: CrsaeConfig, *, folder: Path, job_kwargs: dict[str, Any]) -> Cache:
    """Return a recording computed once, in memory or in a folder; there it is made anew, as it may be incomplete.

    It is always computed in chunks of one length: filters leave traces of where their chunks end.

    Raises
    ------
    ValueError
        If it is to lie in memory and does not fit there.
    """
    drop_cache(folder)
    job_kwargs = fix_job_kwargs(with_fixed_chunks(job_kwargs))
    mode, is_shared = config.cache_preprocessing_mode, shares_memory(job_kwargs)
    size = int(recording.get_total_memory_size())
    if mode == "auto":
        mode = "memory" if size < MEMORY_SHARE * free_memory(shared=is_shared) else "folder"
    if mode == "memory":
        for problem in memory_problems(size, job_kwargs):
            raise ValueError(problem)
        return _in_memory(recording, folder=folder, is_shared=is_shared, job_kwargs=job_kwargs)
    cached, _ = cache_preprocessing(recording, mode=mode, folder=folder, job_kwargs=job_kwargs)
    files = [segment.file for segment in cached.segments if mode == "folder" and hasattr(segment, "file")]
    return Cache(recording=cast(BaseRecording, cached), folder=folder, files=files)


def with_fixed_chunks(job_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return SpikeInterface's job_kwargs with chunks of 1 s, for what depends on where chunks end."""
    others = {name: value for name, value in job_kwargs.items() if name not in CHUNK_LENGTHS}
    return {**others, "chunk_duration": "1s"}


def drop_cache(folder: Path) -> None:
    """Remove the folder of a cached recording, if there is one."""
    for path in (folder, folder.with_suffix(".zarr")):  # SpikeInterface adds the suffix
        if path.is_dir():
            gc.collect()  # arrays mapped to its files keep it on Windows
            shutil.rmtree(path, ignore_errors=True)
        if path.is_dir():
            logger.warning("%s could not be removed: delete it when no run is going on", path)


def shares_memory(job_kwargs: dict[str, Any]) -> bool:
    """Tell whether processes read the signal; threads need no shared memory, of which containers have little."""
    return job_kwargs.get("pool_engine") == "process" and int(job_kwargs.get("n_jobs") or 1) != 1


def memory_problems(size: int, job_kwargs: dict[str, Any]) -> list[str]:
    """Return why a signal of so many bytes cannot lie in memory, with the numbers."""
    is_shared = shares_memory(job_kwargs)
    free = free_memory(shared=is_shared)
    if size <= free:
        return []
    kind = f"shared memory ({SHARED_MEMORY})" if is_shared else "memory"
    return [
        f"cache_preprocessing_mode = 'memory' needs {size / 1e9:.3g} GB, {free / 1e9:.3g} GB of {kind} are free: use "
        "'auto', 'folder' or 'no-cache'" + (", or job_kwargs with pool_engine='thread'" if is_shared else "")
    ]


def free_memory(*, shared: bool) -> float:
    """Return how many bytes can be taken, of the memory that processes share or of any; infinite if that is unknown."""
    free = [_free_of_machine(), *_free_of_container()]
    if shared and SHARED_MEMORY.is_dir():
        free.append(float(shutil.disk_usage(SHARED_MEMORY).free))
    return min(free)


def _free_of_machine() -> float:
    try:
        import psutil

        return float(psutil.virtual_memory().available)
    except ImportError:
        pass
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    return 0.0


def _free_of_container() -> list[float]:
    for limit, taken in CONTAINER_LIMITS:
        with suppress(OSError, ValueError):  # no such file, or "max"
            return [float(limit.read_text(encoding="ascii")) - float(taken.read_text(encoding="ascii"))]
    return []


def _in_memory(recording: BaseRecording, *, folder: Path, is_shared: bool, job_kwargs: dict[str, Any]) -> Cache:
    data_type = np.dtype(recording.get_dtype())
    shapes = [
        (int(recording.get_num_samples(index)), recording.get_num_channels())
        for index in range(recording.get_num_segments())
    ]
    blocks: list[SharedMemory] = []
    try:
        if is_shared:
            for shape in shapes:
                blocks.append(SharedMemory(create=True, size=max(int(np.prod(shape)) * data_type.itemsize, 1)))
        target = [block.name for block in blocks] or [np.zeros(shape, data_type) for shape in shapes]
        TimeSeriesChunkExecutor(
            recording, _fill, _attach, (recording, target, shapes, data_type.str), job_name="cache", **job_kwargs
        ).run()
        cached = _recording_of(target, shapes, recording)
    except BaseException:
        _unlink(blocks)
        raise
    recording.copy_metadata(cached)
    return Cache(recording=cached, folder=folder, blocks=blocks)


def _recording_of(
    target: Sequence[Any], shapes: list[tuple[int, int]], recording: BaseRecording
) -> NumpyRecording | SharedMemoryRecording:
    of_recording = {
        "sampling_frequency": recording.sampling_frequency,
        "channel_ids": recording.channel_ids,
        "t_starts": recording.get_segment_t_starts(),
    }
    if isinstance(target[0], np.ndarray):
        return NumpyRecording(list(target), **of_recording)
    return SharedMemoryRecording(
        list(target), shapes, np.dtype(recording.get_dtype()), **of_recording, main_shm_owner=False
    )


def _attach(recording: BaseRecording, target: Sequence[Any], shapes: Any, data_type: str) -> dict[str, Any]:
    """Return what a worker writes from and to."""
    if isinstance(target[0], np.ndarray):
        return {"recording": recording, "arrays": target}
    blocks = [SharedMemory(name) for name in target]
    arrays = [np.ndarray(shape, data_type, block.buf) for shape, block in zip(shapes, blocks, strict=True)]
    return {"recording": recording, "arrays": arrays, "blocks": blocks}


def _fill(segment_index: int, start: int, end: int, worker: dict[str, Any]) -> None:
    traces = worker["recording"].get_traces(segment_index=segment_index, start_frame=start, end_frame=end)
    worker["arrays"][segment_index][start:end] = traces


def _unlink(blocks: list[SharedMemory]) -> None:
    """Give back shared memory; arrays in it can still be read where they are held."""
    for block in blocks:
        with suppress(FileNotFoundError):  # given back before
            block.unlink()
