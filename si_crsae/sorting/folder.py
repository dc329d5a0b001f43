"""The folder of a run: what was sorted and how, and what was found."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from spikeinterface.core import BaseRecording
from spikeinterface.preprocessing import load_motion_info

from si_crsae.config import CrsaeConfig, validate_parameters
from si_crsae.core.tables import from_arrays
from si_crsae.sorting.drift.estimation import MOTION_FOLDER
from si_crsae.sorting.drift.moved import MovedAtoms
from si_crsae.sorting.excluded import excluded_of_run, without_excluded
from si_crsae.sorting.inventory import Inventory
from si_crsae.sorting.learning.history import numbers_in
from si_crsae.sorting.learning.rounds import LearningCurve
from si_crsae.sorting.results import HISTORY_COLUMNS, MOVED_FILE
from si_crsae.sorting.runs.manifest import check_recording_is, verify
from si_crsae.sorting.runs.trust import UntrustedError, load_recording_described, read_json
from si_crsae.sorting.signal.preprocessing import bandpass
from si_crsae.sorting.signal.recording import split_groups
from si_crsae.sorting.sorter import CrsaeSorter, with_recording
from si_crsae.sorting.stages import SpikePosterior, load_arrays, load_stage, not_readable
from si_crsae.sorting.whitening import WHITENED_FILE, join_groups, whiten_groups


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
    saved = read_json(path)
    if not isinstance(saved, dict) or "sorter_params" not in saved and saved.get("sorter_name") == "crsae":
        raise ValueError(f"{path} is damaged: restore it from a copy, or sort again with run_sorter")
    if saved.get("sorter_name") != CrsaeSorter.sorter_name:
        raise ValueError(f"folder = {folder} is a run of {saved.get('sorter_name')!r}; give one of 'crsae'")
    return validate_parameters(saved["sorter_params"])


def load_recording(folder: str | Path, *, trust: bool = False) -> BaseRecording:
    """Return what was sorted, from where the run has noted it.

    Parameters
    ----------
    folder : str or Path
        The folder given to ``run_sorter``.
    trust : bool, default: False
        If True, load pickles and classes of other packages too, which may run anything.

    Raises
    ------
    FileNotFoundError
        If it cannot be read from there; the message says what to do.
    UntrustedError
        If reading it might run what somebody has written there.
    """
    try:
        with with_recording(Path(folder), None, trust=trust):
            return CrsaeSorter.load_recording_from_folder(Path(folder))
    except UntrustedError:
        raise
    except Exception as error:  # what a missing file raises depends on its format
        raise FileNotFoundError(
            f"the recording of {folder} cannot be read from where it was ({error}): give it as recording"
        ) from error


def load_filtered(folder: str | Path, *, recording: BaseRecording | None = None, trust: bool = False) -> BaseRecording:
    """Return the recording of a run as its templates see it: filtered and referenced, not whitened; lazy.

    This is what to analyze. On the raw traces slow waves count as noise, and the figures of every unit are wrong.

    Parameters
    ----------
    folder : str or Path
        The folder given to ``run_sorter``.
    recording : BaseRecording or None, default: None
        What was sorted, where it lies now. None for the place that the run has noted.
    trust : bool, default: False
        If True, load pickles and classes of other packages too, which may run anything.

    Returns
    -------
    BaseRecording
        All channels and segments, as the sorting has them, in the unit of the traces; the recording as it is for a run
        with ``apply_preprocessing=False``.

    Raises
    ------
    ValueError
        If the folder is not that of a crsae run, or the recording is another one or must not be loaded untold.
    FileNotFoundError
        If the recording is not where it was; the message says what to do.

    Examples
    --------
    >>> import si_crsae
    >>> import spikeinterface.full as si
    >>> analyzer = si.create_sorting_analyzer(sorting, si_crsae.load_filtered("run"))  # doctest: +SKIP
    """
    folder = Path(folder)
    config = load_config(folder)
    if recording is None:
        recording = load_recording(folder, trust=trust)
    check_recording_is(folder / "sorter_output", recording)
    return bandpass(without_excluded(recording, excluded_of_run(folder, len(split_groups(recording))), config), config)


def load_whitened(folder: str | Path, *, recording: BaseRecording | None = None, trust: bool = False) -> BaseRecording:
    """Return the traces that a run has explained: filtered, whitened, in noise standard deviations; lazy.

    Parameters
    ----------
    folder : str or Path
        The folder given to ``run_sorter``.
    recording : BaseRecording or None, default: None
        What was sorted, where it lies now. None for the place that the run has noted.
    trust : bool, default: False
        If True, load pickles and classes of other packages too, which may run anything.

    Returns
    -------
    BaseRecording
        The segments that could be sorted, and of the channels those that are usable.

    Raises
    ------
    ValueError
        If the folder is not that of a crsae run, all channels are unusable, or the recording is another one or must
        not be loaded untold.
    FileNotFoundError
        If the recording is not where it was; the message says what to do.
    """
    folder = Path(folder)
    config = load_config(folder)
    stages = folder / "sorter_output" / "stages"
    if recording is None:
        recording = load_recording(folder, trust=trust)
        saved = [stages / f"group_{index}" / WHITENED_FILE for index in range(len(split_groups(recording)))]
        if all(path.is_file() for path in saved):
            return join_groups(recording, [load_recording_described(path, trust=trust) for path in saved])
    check_recording_is(folder / "sorter_output", recording)
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
    nothing = Inventory.empty(num_channels=1)
    dictionary = _arrays_of(dictionary_file, *nothing.dictionary_arrays)
    units = Inventory.of_arrays(dictionary, _arrays_of(code_file, *nothing.code_arrays))
    moved = dictionary_file.with_name(MOVED_FILE)
    return replace(units, moved=load_stage(moved, MovedAtoms)) if moved.is_file() else units


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
    verify(path)
    try:
        for key, values in load_arrays(path).items():
            _, group, name = key.split("_", 2)
            curves.setdefault(int(group), {})[name] = values
        return {group: from_arrays(LearningCurve, curves[group]) for group in sorted(curves)}
    except (TypeError, KeyError) as error:
        raise not_readable(path, error) from error


def load_motion(folder: str | Path) -> dict[int, dict[str, Any]]:
    """Return how the tissue has moved, for every group of channels in which a run has estimated it.

    Parameters
    ----------
    folder : str or Path
        The folder given to ``run_sorter``.

    Returns
    -------
    dict of int to dict
        By index of the group, what SpikeInterface's `load_motion_info` gives: ``motion``, with the displacements as the
        units showed them where they were followed, ``peaks``, ``peak_locations`` and ``parameters``. SpikeInterface's
        ``plot_motion_info(info, recording)`` draws it.

    Raises
    ------
    ValueError
        If the folder is not that of a crsae run, or its stages were deleted.

    Examples
    --------
    >>> import si_crsae
    >>> import spikeinterface.full as si
    >>> for info in si_crsae.load_motion("run").values():  # doctest: +SKIP
    ...     si.plot_motion_info(info, recording)
    """
    stages = Path(folder) / "sorter_output" / "stages"
    load_config(Path(folder))
    if not stages.is_dir():
        raise ValueError(f"folder = {folder} has no {stages}: it was deleted; sort again")
    found = sorted(stages.glob(f"group_*/{MOTION_FOLDER}"), key=lambda path: int(path.parent.name.split("_")[1]))
    return {int(path.parent.name.split("_")[1]): load_motion_info(path) for path in found}


def load_history(folder: str | Path) -> pd.DataFrame:
    """Return what a run decided about its units: one row for each that was found, split, merged or dropped, and why.

    Parameters
    ----------
    folder : str or Path
        The folder given to ``run_sorter``.

    Returns
    -------
    DataFrame
        In the order in which it was decided, group by group:

        - ``round``: round of learning, from 1 on; 0 for what clustering found before, ``<NA>`` for what was decided
          after the last round, over the whole recording;
        - ``what``: ``found``, a unit of a cluster of peaks; ``born``, one of peaks that the units of the first round
          left unexplained; ``refused``, a cluster that became no unit; ``split``; ``not split``, a unit whose spikes
          form groups that are not apart enough; ``merged``; ``dropped``; ``kept``, a unit of the sorting;
        - ``unit``: number of the unit, counted in its group; ``<NA>`` for a refused cluster. The largest part of a
          split unit goes on with its number, and a merged one with that of the larger;
        - ``others``: units because of which it was decided; ``became``: units that its spikes went to (tuples);
        - ``main_channel_id``, ``num_events``: where it was largest, and how many spikes it had then;
        - ``figure``, ``value``, ``threshold``: what it was decided by;
        - ``group``: property ``group`` of its channels;
        - ``unit_id``: id in the sorting, ``<NA>`` for what is not in it.

    Raises
    ------
    ValueError
        If the run was made with ``save_array=False`` or by an earlier version, or its output was deleted, or the file
        is damaged.

    Examples
    --------
    What became of the units on a channel:

    >>> history = load_history("run")  # doctest: +SKIP
    >>> history[history["main_channel_id"] == 5]  # doctest: +SKIP
    """
    path = _file_of(folder, "history.npz", made_with="save_array=True, by this version,")
    arrays = _arrays_of(path, *HISTORY_COLUMNS)
    table = pd.DataFrame({name: arrays[name] for name in HISTORY_COLUMNS})
    for name in ("round", "unit", "unit_id"):
        numbers = pd.Series(arrays[name], dtype="Int64")
        table[name] = numbers.mask(numbers < 0)
    for name in ("others", "became"):
        table[name] = [numbers_in(text) for text in arrays[name].tolist()]
    return table


def _arrays_of(path: Path, *names: str) -> dict[str, np.ndarray]:
    """Return the arrays of a file, or raise DamagedFileError unless it has these and is what the run has written."""
    verify(path)
    arrays = load_arrays(path)
    missing = set(names) - arrays.keys()
    if missing:
        raise not_readable(path, KeyError(*sorted(missing)))
    return arrays


def _file_of(folder: str | Path, name: str, *, made_with: str) -> Path:
    """Return a file that a run has left, or raise ValueError that says which runs leave it."""
    path = Path(folder) / "sorter_output" / name
    if not path.is_file():
        raise ValueError(
            f"folder = {folder} holds no sorter_output/{name}: give the folder passed to run_sorter, of a crsae run "
            f"with {made_with} whose output was not deleted"
        )
    return path
