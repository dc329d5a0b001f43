"""What a run may use of the machine."""

from dataclasses import dataclass
from typing import Any

import torch
from spikeinterface.core import BaseRecording
from spikeinterface.core.job_tools import fix_job_kwargs

from si_crsae.config import CHUNK_LENGTHS, CrsaeConfig

MIN_CHANNELS_FOR_THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a run may use.

    Parameters
    ----------
    job_kwargs : dict
        SpikeInterface's, complete.
    num_threads : int
        Tiles worked on at once: ``n_jobs`` where the user gave it, else as many as torch would take for itself.
    show_bars : bool
        Show a bar for each stage: ``progress_bar`` of the job_kwargs, SpikeInterface's own bars are not shown.
    """

    job_kwargs: dict[str, Any]
    num_threads: int
    show_bars: bool

    @classmethod
    def of(cls, config: CrsaeConfig) -> "Resources":
        """Return the resources that the parameters grant.

        Threads unless the user asks for processes: traces are shared without copies, and scripts need no main guard.
        """
        is_cut = any(config.job_kwargs.get(name) is not None for name in CHUNK_LENGTHS)
        chunks = {} if is_cut else {"chunk_duration": "1s"}
        job_kwargs = fix_job_kwargs({"pool_engine": "thread", **chunks, **config.job_kwargs})
        show_bars, job_kwargs["progress_bar"] = bool(job_kwargs["progress_bar"]), False
        num_jobs = int(job_kwargs["n_jobs"] or 1)
        is_given = "n_jobs" in config.job_kwargs or num_jobs > 1
        num_threads = num_jobs if is_given else torch.get_num_threads()
        return cls(job_kwargs=job_kwargs, num_threads=num_threads, show_bars=show_bars)

    def filter_kwargs(self, recording: BaseRecording) -> dict[str, Any]:
        """Return SpikeInterface's job_kwargs where every chunk is filtered.

        Each chunk costs its threads some 4 ms, so that fewer channels are filtered faster without.
        """
        if recording.get_num_channels() < MIN_CHANNELS_FOR_THREADS:
            return self.job_kwargs
        return {**self.job_kwargs, "n_jobs": self.num_threads}
