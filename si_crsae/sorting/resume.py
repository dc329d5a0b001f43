"""Continue a run that was interrupted."""

import json
from pathlib import Path

from spikeinterface.core import BaseSorting

from si_crsae.sorting.sorter import CrsaeSorter


def resume_sorter(folder: str | Path, *, verbose: bool = False) -> BaseSorting:
    """Return the result of a crsae run, computing only the stages that are not complete on disk.

    Parameters
    ----------
    folder : str or Path
        The folder given to ``run_sorter``.
    verbose : bool, default: False
        If True, report every stage.

    Returns
    -------
    BaseSorting
        What ``run_sorter`` would have returned.

    Raises
    ------
    ValueError
        If the folder is not that of a crsae run, or its ``sorter_output`` was deleted.
    """
    folder = Path(folder).absolute()
    _check_is_crsae_run(folder)
    CrsaeSorter.run_from_folder(folder, raise_error=True, verbose=verbose)
    return CrsaeSorter.get_result_from_folder(folder)


def _check_is_crsae_run(folder: Path) -> None:
    parameters_file = folder / "spikeinterface_params.json"
    if not parameters_file.is_file():
        raise ValueError(f"folder = {folder} holds no {parameters_file.name}: give the folder passed to run_sorter")
    sorter_name = json.loads(parameters_file.read_text(encoding="utf8")).get("sorter_name")
    if sorter_name != CrsaeSorter.sorter_name:
        raise ValueError(f"folder = {folder} is a run of {sorter_name!r}, only runs of 'crsae' can be resumed")
    if not (folder / "sorter_output").is_dir():
        raise ValueError(f"folder = {folder} has no sorter_output left to continue from: call run_sorter again")
