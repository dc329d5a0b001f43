"""Going on with a run where it was interrupted."""

import json
from pathlib import Path

from spikeinterface.core import BaseRecording, BaseSorting

from si_crsae.sorting.folder import load_config, load_recording
from si_crsae.sorting.runs.lock import locked
from si_crsae.sorting.runs.manifest import check_parameters, check_recording_is, is_complete
from si_crsae.sorting.sorter import LOG_FILE, CrsaeSorter, with_recording


def resume_sorter(
    folder: str | Path, *, recording: BaseRecording | None = None, trust: bool = False, verbose: bool = False
) -> BaseSorting:
    """Return the result of a crsae run, computing only the stages that are not complete on disk.

    A run that is complete is left as it is.

    Parameters
    ----------
    folder : str or Path
        The folder given to ``run_sorter``.
    recording : BaseRecording or None, default: None
        What was sorted, where it lies now. None for the place that the run has noted.
    trust : bool, default: False
        If True, load what the folder describes even if that may run what somebody has written there: pickles, and
        classes of other packages.
    verbose : bool, default: False
        If True, report every stage.

    Returns
    -------
    BaseSorting
        What ``run_sorter`` would have returned.

    Raises
    ------
    ValueError
        If the folder is not that of a crsae run, its ``sorter_output`` was deleted, its parameters were edited, or the
        recording is another one or must not be loaded untold.
    FileNotFoundError
        If the run is not complete and its recording is not where it was; the message says what to do.
    FolderInUseError
        If the run goes on elsewhere.
    """
    folder = Path(folder).absolute()
    config, output = load_config(folder), folder / "sorter_output"
    if not output.is_dir():
        raise ValueError(f"folder = {folder} has no sorter_output left to continue from: call run_sorter again")
    check_parameters(output, config)
    if recording is not None:
        check_recording_is(output, recording)
    with with_recording(folder, recording, trust=trust):
        if not _is_finished(folder):
            with locked(folder):
                if not _is_finished(folder):  # another may have finished it meanwhile
                    _go_on(folder, recording or load_recording(folder, trust=trust), trust=trust, verbose=verbose)
        return CrsaeSorter.get_result_from_folder(folder)


def _is_finished(folder: Path) -> bool:
    """Tell whether a run has ended well and all that it has written is there."""
    try:
        ended_well = json.loads((folder / LOG_FILE).read_text(encoding="utf8"))["error"] is False
    except (OSError, ValueError, KeyError, TypeError):  # it has not ended, or was killed as it wrote that
        return False
    output = folder / "sorter_output"
    return ended_well and (output / "sorting").is_dir() and is_complete(output) is not False


def _go_on(folder: Path, recording: BaseRecording, *, trust: bool, verbose: bool) -> None:
    """Compute what is missing in a folder that is locked; nothing is touched before the recording is known again."""
    check_recording_is(folder / "sorter_output", recording)
    with with_recording(folder, recording, trust=trust):
        CrsaeSorter.run_in_locked_folder(folder, raise_error=True, verbose=verbose)
