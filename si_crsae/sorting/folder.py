"""The folder of a run: what was sorted and how, what was found, and going on where it was interrupted."""

import json
from pathlib import Path
from typing import cast

import numpy as np
from spikeinterface.core import BaseRecording, BaseSorting, load
from spikeinterface.core.base import minimum_spike_dtype

from si_crsae.config import CrsaeConfig, validate_parameters
from si_crsae.core.tables import from_arrays
from si_crsae.sorting.inventory import Inventory
from si_crsae.sorting.learning.rounds import LearningCurve
from si_crsae.sorting.recording import split_groups
from si_crsae.sorting.sorter import CrsaeSorter
from si_crsae.sorting.stages import SpikePosterior, load_stage
from si_crsae.sorting.whitening import WHITENED_FILE, join_groups, whiten_groups


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
    load_config(folder)
    if not (folder / "sorter_output").is_dir():
        raise ValueError(f"folder = {folder} has no sorter_output left to continue from: call run_sorter again")
    CrsaeSorter.run_from_folder(folder, raise_error=True, verbose=verbose)
    return CrsaeSorter.get_result_from_folder(folder)


def load_config(folder: str | Path) -> CrsaeConfig:
    """Return the parameters of a run.

    Parameters
    ----------
    folder : str or Path
        The folder given to ``run_sorter``.

    Raises
    ------
    ValueError
        If the folder is not that of a crsae run.
    """
    path = Path(folder) / "spikeinterface_params.json"
    if not path.is_file():
        raise ValueError(f"folder = {folder} holds no {path.name}: give the folder passed to run_sorter")
    saved = json.loads(path.read_text(encoding="utf8"))
    if saved.get("sorter_name") != CrsaeSorter.sorter_name:
        raise ValueError(f"folder = {folder} is a run of {saved.get('sorter_name')!r}; give one of 'crsae'")
    return validate_parameters(saved["sorter_params"])


def load_recording(folder: str | Path) -> BaseRecording:
    """Return what was sorted, from where the run has noted it.

    Parameters
    ----------
    folder : str or Path
        The folder given to ``run_sorter``.

    Raises
    ------
    FileNotFoundError
        If it cannot be read from there; the message says what to do.
    """
    try:
        return cast(BaseRecording, CrsaeSorter.load_recording_from_folder(Path(folder)))
    except Exception as error:  # what a missing file raises depends on its format
        raise FileNotFoundError(
            f"the recording of {folder} cannot be read from where it was ({error}): give it as recording"
        ) from error


def load_whitened(folder: str | Path) -> BaseRecording:
    """Return the traces that a run has explained: filtered, whitened, in noise standard deviations; lazy.

    Parameters
    ----------
    folder : str or Path
        The folder given to ``run_sorter``.

    Returns
    -------
    BaseRecording
        The segments that could be sorted, and of the channels those that are usable.

    Raises
    ------
    ValueError
        If the folder is not that of a crsae run, or all channels are unusable.
    FileNotFoundError
        If the recording is not where it was; the message says what to do.
    """
    folder = Path(folder)
    config = load_config(folder)
    recording = load_recording(folder)
    stages = folder / "sorter_output" / "stages"
    saved = [stages / f"group_{index}" / WHITENED_FILE for index in range(len(split_groups(recording)))]
    if all(path.is_file() for path in saved):
        return join_groups(recording, [cast(BaseRecording, load(path)) for path in saved])
    return whiten_groups(recording, config, folder=stages)


def load_units(folder: str | Path) -> Inventory:
    """Return the learned atoms and the sparse code of a run, of all groups of channels.

    Parameters
    ----------
    folder : str or Path
        The folder given to ``run_sorter``.

    Returns
    -------
    Inventory
        Units in the order of the sorting's unit ids; atoms on all channels of the recording.

    Raises
    ------
    ValueError
        If the folder does not hold the arrays of a crsae run.
    """
    dictionary_file, code_file = (
        _file_of(folder, name, made_with="save_array=True") for name in ("dictionary.npz", "code.npz")
    )
    with np.load(dictionary_file) as saved:
        dictionary = dict(saved)
    with np.load(code_file) as saved:
        code = dict(saved)
    amplitude, sample_offset = code.pop("amplitude"), code.pop("sample_offset")
    spikes = np.zeros(amplitude.size, minimum_spike_dtype)
    for name, values in code.items():
        spikes[name] = values
    return Inventory(
        atoms=dictionary["atoms"],
        scales=dictionary["scales"],
        noise=dictionary["noise"],
        regularization=dictionary["regularization"],
        num_before=dictionary["num_before"],
        main_channel=np.abs(dictionary["atoms"]).max(axis=2).argmax(axis=1),
        spikes=spikes,
        sample_offset=sample_offset,
        amplitude=amplitude,
    )


def load_spike_probabilities(folder: str | Path) -> SpikePosterior:
    """Return probability and amplitude interval of every spike of a run, and the rates expected of its units.

    Parameters
    ----------
    folder : str or Path
        The folder given to ``run_sorter``.

    Returns
    -------
    SpikePosterior
        Spikes in the order of ``sorting.to_spike_vector()``, units in that of ``sorting.unit_ids``.

    Raises
    ------
    ValueError
        If the run was made without ``spike_probabilities=True``, or its output was deleted.
    """
    path = _file_of(folder, "spike_probabilities.npz", made_with="spike_probabilities=True")
    return load_stage(path, SpikePosterior)


def load_learning_curves(folder: str | Path) -> dict[int, LearningCurve]:
    """Return what happened in each round of learning, for every group of channels in which something was learned.

    Parameters
    ----------
    folder : str or Path
        The folder given to ``run_sorter``.

    Raises
    ------
    ValueError
        If the folder does not hold the arrays of a crsae run.
    """
    path = _file_of(folder, "learning_curve.npz", made_with="save_array=True")
    curves: dict[int, dict[str, np.ndarray]] = {}
    with np.load(path) as saved:
        for key, values in saved.items():
            _, group, name = key.split("_", 2)
            curves.setdefault(int(group), {})[name] = values
    return {group: from_arrays(LearningCurve, curves[group]) for group in sorted(curves)}


def _file_of(folder: str | Path, name: str, *, made_with: str) -> Path:
    """Return a file that a run has left, or raise ValueError that says which runs leave it."""
    path = Path(folder) / "sorter_output" / name
    if not path.is_file():
        raise ValueError(
            f"folder = {folder} holds no sorter_output/{name}: give the folder passed to run_sorter, of a crsae run "
            f"with {made_with} whose output was not deleted"
        )
    return path
