"""The whitened traces of a run that is over, as its sorter saw them."""

import json
import logging
from pathlib import Path
from typing import cast

import numpy as np
from spikeinterface.core import BaseRecording, aggregate_channels, load

from si_crsae.config import CrsaeConfig, validate_parameters
from si_crsae.sorting.checks import find_bad_channels
from si_crsae.sorting.preprocessing import preprocess
from si_crsae.sorting.recording import sortable_segments, split_groups, with_one_probe
from si_crsae.sorting.sorter import CrsaeSorter

WHITENED_FILE = "whitened_recording.json"

logger = logging.getLogger(__name__)


class NothingUsableError(ValueError):
    """Raised for a recording without a channel that can be sorted."""


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
        return _join(recording, [cast(BaseRecording, load(path)) for path in saved])
    return whiten_groups(recording, config, folder=stages)


def whiten_groups(recording: BaseRecording, config: CrsaeConfig, *, folder: Path) -> BaseRecording:
    """Return every group of channels preprocessed by itself, as the sorter does.

    Parameters
    ----------
    recording : BaseRecording
        Raw.
    config : CrsaeConfig
    folder : Path
        Stages of a run, where its motion lies; else any folder.

    Returns
    -------
    BaseRecording
        The segments that can be sorted, and of the channels those that are usable.

    Raises
    ------
    ValueError
        If no channel is usable.
    """
    sortable = cast(BaseRecording, recording.select_segments(sortable_segments(recording, config).tolist()))
    groups = []
    for index, group in enumerate(split_groups(sortable)):
        located = with_one_probe(group)
        usable = find_bad_channels(located, seed=config.seed).usable_mask(located)
        if usable.any():
            part = cast(BaseRecording, located.select_channels(located.channel_ids[usable]))
            groups.append(preprocess(part, config, folder=folder / f"group_{index}", keep_motion=True))
    if not groups:
        raise NothingUsableError("recording: no channel is usable, all are constant or repeat another")
    return _join(recording, groups)


def save_whitened(whitened: BaseRecording, folder: Path) -> None:
    """Note in a folder how to make a whitened recording again, if that can be described in a file."""
    if whitened.check_serializability("json"):
        whitened.dump_to_json(folder / WHITENED_FILE)
    else:
        logger.warning("%s was not written: the recording exists in memory only", WHITENED_FILE)


def _join(recording: BaseRecording, groups: list[BaseRecording]) -> BaseRecording:
    """Return the channels of all groups in the order of the recording."""
    if len(groups) == 1:
        return groups[0]
    joined = aggregate_channels(groups)
    order = np.argsort(np.asarray(recording.ids_to_indices(joined.channel_ids)), kind="stable")
    return cast(BaseRecording, joined.select_channels(joined.channel_ids[order]))
