"""A run: every group of channels through its stages, and the results of all of them written."""

import logging
import threading
from pathlib import Path

from spikeinterface.core import BaseRecording

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.checks import resolve_device
from si_crsae.sorting.group import GroupSorting
from si_crsae.sorting.resources import Resources
from si_crsae.sorting.results import write_results
from si_crsae.sorting.runs.logs import log_to
from si_crsae.sorting.runs.manifest import begin, mark_complete
from si_crsae.sorting.runs.progress import Progress
from si_crsae.sorting.signal.periods import ExcludedPeriods
from si_crsae.sorting.signal.preprocessing import tell_lowered_band
from si_crsae.sorting.signal.recording import (
    select_segments,
    sortable_segments,
    split_groups,
    with_one_probe,
)
from si_crsae.sorting.stages import (
    explain_disk_errors,
)
from si_crsae.sorting.threads import one_thread_per_tile

# Numba's default threads and SpikeInterface's must not be entered by two runs of one process.
_one_run = threading.RLock()

logger = logging.getLogger(__name__)


def run_pipeline(recording: BaseRecording, *, folder: Path, config: CrsaeConfig, verbose: bool) -> None:
    """Sort a recording; everything that it finds is left in a folder.

    Every group of channels (shank, tetrode) is sorted by itself. Stages that are complete in the folder are not
    computed again. In one process, one run waits for another.

    Parameters
    ----------
    recording : BaseRecording
        Raw; any number of segments, groups and channels.
    folder : Path
        The run's ``sorter_output``.
    config : CrsaeConfig
    verbose : bool
        If True, say what each stage has found. Its bar is shown where ``progress_bar`` of the job_kwargs says so.

    Raises
    ------
    ValueError
        If the recording cannot be sorted, or the folder is of a run with other parameters or another recording.
    OSError
        If a result cannot be saved.
    """
    resolve_device(config.device)  # a run may be resumed on another machine
    with _one_run, log_to(folder / "crsae.log", verbose=verbose):
        resources = Resources.of(config)
        begin(folder, config, recording)
        with one_thread_per_tile():
            _sort_groups(recording, folder=folder, config=config, resources=resources)
        with explain_disk_errors("the manifest"):
            mark_complete(folder)


def _sort_groups(recording: BaseRecording, *, folder: Path, config: CrsaeConfig, resources: Resources) -> None:
    """Run all stages of all groups and write the results."""
    tell_lowered_band(recording, config)
    segments = sortable_segments(recording, config)
    sortable = select_segments(recording, segments.tolist())
    groups = split_groups(sortable)
    given = ExcludedPeriods.given(recording, config).in_segments(segments)
    results = [
        GroupSorting(
            group=with_one_probe(group),
            folder=folder / "stages" / f"group_{index}",
            config=config,
            resources=resources,
            progress=Progress(is_shown=resources.show_bars, group_index=index, num_groups=len(groups)),
            given=given,
        ).complete()
        for index, group in enumerate(groups)
    ]
    with explain_disk_errors("the results"), Progress(is_shown=resources.show_bars).stage("write"):
        sorting = write_results(
            sortable,
            results,
            segments=segments,
            folder=folder,
            config=config,
            job_kwargs=resources.filter_kwargs(sortable),
        )
    logger.info("found %d units with %d spikes", sorting.get_num_units(), sorting.count_total_num_spikes())
