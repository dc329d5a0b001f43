"""Whitened traces of a whole recording, group by group, as the sorter sees them."""

import logging
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float
from spikeinterface.core import BaseRecording, aggregate_channels
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

from si_crsae.config import CrsaeConfig
from si_crsae.files import written_whole
from si_crsae.sorting.drift.estimation import DRIFT_FILE, DriftFound, still_traces
from si_crsae.sorting.signal.channels import find_bad_channels
from si_crsae.sorting.signal.periods import EXCLUDED_FILE, ExcludedPeriods, exclude
from si_crsae.sorting.signal.preprocessing import Whitening, filter_traces
from si_crsae.sorting.signal.recording import (
    select_channels,
    select_segments,
    sortable_segments,
    split_groups,
    with_one_probe,
)
from si_crsae.sorting.stages import load_stage

WHITENED_FILE = "whitened_recording.json"

logger = logging.getLogger(__name__)


class NothingUsableError(ValueError):
    """Raised for a recording without a channel that can be sorted."""


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
    segments = sortable_segments(recording, config)
    sortable = select_segments(recording, segments.tolist())
    given, groups = ExcludedPeriods.given(recording, config).in_segments(segments), []
    for index, group in enumerate(split_groups(sortable)):
        located = with_one_probe(group)
        usable = find_bad_channels(exclude(located, given, config), config).usable_mask(located)
        if usable.any():
            part, stages = select_channels(located, usable), folder / f"group_{index}"
            groups.append(whiten_group(part, config, folder=stages, excluded=_excluded_in(stages, given)))
    if not groups:
        raise NothingUsableError("recording: no channel is usable: all are constant, stuck, digital, or repeat another")
    return join_groups(recording, groups)


def whiten_group(
    recording: BaseRecording, config: CrsaeConfig, *, folder: Path, excluded: ExcludedPeriods
) -> BaseRecording:
    """Return the usable channels of one group preprocessed, with the motion that a run has left in its folder."""
    path = folder / DRIFT_FILE
    drift = load_stage(path, DriftFound) if path.exists() else DriftFound()
    calm = exclude(recording, excluded, config)
    filtered = still_traces(filter_traces(calm, config), drift, config)
    return Whitening.of(filtered, config, is_excluded=excluded.contain).apply(filtered)


def _excluded_in(folder: Path, given: ExcludedPeriods) -> ExcludedPeriods:
    """Return what a run has excluded in a group, or what its user does where it has left nothing."""
    path = folder / EXCLUDED_FILE
    return load_stage(path, ExcludedPeriods) if path.exists() else given


def save_whitened(whitened: BaseRecording, folder: Path) -> None:
    """Note in a folder how to make a whitened recording again, if that can be described in a file."""
    if whitened.check_serializability("json"):
        with written_whole(folder / WHITENED_FILE) as unfinished:
            whitened.dump_to_json(unfinished)
    else:
        logger.warning("%s was not written: the recording exists in memory only", WHITENED_FILE)


class ReadWholeRecording(BasePreprocessor):
    """A joined recording that reads all channels whenever it is asked for some.

    SpikeInterface's own mixes channels up where they are asked for in an order in which those of its parts take turns.

    Parameters
    ----------
    recording : BaseRecording
    """

    def __init__(self, recording: BaseRecording) -> None:
        BasePreprocessor.__init__(self, recording)
        for segment in recording.segments:
            self.add_recording_segment(_ReadWholeSegment(segment))
        self._kwargs = {"recording": recording}


class _ReadWholeSegment(BasePreprocessorSegment):
    def get_traces(
        self, start_frame: int | None = None, end_frame: int | None = None, channel_indices: Any = None
    ) -> Float[np.ndarray, "sample channel"]:
        """Return the traces between two samples."""
        traces = self.parent_recording_segment.get_traces(start_frame, end_frame, slice(None))
        return traces if channel_indices is None else traces[:, channel_indices]


def join_groups(recording: BaseRecording, groups: list[BaseRecording]) -> BaseRecording:
    """Return the channels of all groups in the order of the recording."""
    if len(groups) == 1:
        return groups[0]
    joined = ReadWholeRecording(aggregate_channels(groups))
    order = np.argsort(np.asarray(recording.ids_to_indices(joined.channel_ids)), kind="stable")
    return cast(BaseRecording, joined.select_channels(joined.channel_ids[order]))
