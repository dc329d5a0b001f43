"""Read what a run has left in its folder."""

from dataclasses import fields
from pathlib import Path

import numpy as np
from spikeinterface.core.base import minimum_spike_dtype

from si_crsae.sorting.inventory import Inventory
from si_crsae.sorting.learning import LearningCurve
from si_crsae.sorting.stages import SpikePosterior


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
    with np.load(path) as saved:
        return SpikePosterior(**saved)


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
    names = [field.name for field in fields(LearningCurve)]
    with np.load(path) as saved:
        groups = sorted({int(key.split("_")[1]) for key in saved})
        return {
            group: LearningCurve(
                **{name: saved[f"group_{group}_{name}"] for name in names if f"group_{group}_{name}" in saved}
            )
            for group in groups
        }


def _file_of(folder: str | Path, name: str, *, made_with: str) -> Path:
    """Return a file that a run has left, or raise ValueError that says which runs leave it."""
    path = Path(folder) / "sorter_output" / name
    if not path.is_file():
        raise ValueError(
            f"folder = {folder} holds no sorter_output/{name}: give the folder passed to run_sorter, of a crsae run "
            f"with {made_with} whose output was not deleted"
        )
    return path
