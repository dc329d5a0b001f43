"""What several views look at together."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from spikeinterface.core import BaseRecording, BaseSorting

from si_crsae.evaluation.sorted_recording import SortedRecording, explain_like, open_run
from si_crsae.files import written_whole
from si_crsae.sorting.runs.trust import read_json

# What a session writes into a file: the segment before the time, which may lie beyond the end of another one.
SAVED = ("selected_units", "segment_index", "time_s", "tab")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedSplit:
    """A split of a unit that one view proposes, for the curation view to show and to decide.

    Parameters
    ----------
    unit_id : int or str
    parts : list of list of int
        Positions among the unit's spikes, counted over all segments, as for `split_step`.
    said : str
        How it came about, as in "by lasso".
    """

    unit_id: int | str
    parts: list[list[int]]
    said: str


class Session(traitlets.HasTraits):
    """A sorting, the truth if it is known, and what of it is being looked at.

    Views that share a session move together: setting one of its traits moves all of them.

    Parameters
    ----------
    tested : SortedRecording
        From `open_run` or `explain_sorting`.
    truth : SortedRecording or None, default: None
        What `tested` is compared with: the true sorting, or that of another sorter.
    """

    selected_units = traitlets.List(help="Ids of the selected units, the first one leading.")
    time_s = traitlets.Float(0.0, help="What time views show, from the beginning of the segment (s).")
    segment_index = traitlets.Int(0, help="What segment views show.")
    proposed_split: Any = traitlets.Instance(
        ProposedSplit, allow_none=True, help="What the curation view previews of the leading unit."
    )
    tab = traitlets.Unicode("", help="Title of the tab of a dashboard that is seen; empty without one.")

    def __init__(self, tested: SortedRecording, *, truth: SortedRecording | None = None) -> None:
        super().__init__()
        self.tested = tested
        self.truth = truth
        self.selected_units = tested.unit_ids[:1]
        # a time may lie beyond the end of another segment
        self.observe(lambda _: self.set_trait("time_s", self.time_s), names="segment_index")
        self.observe(lambda _: self.set_trait("proposed_split", None), names="selected_units")

    def go_to(self, time_s: float, *, segment_index: int | None = None) -> None:
        """Show a time, and a segment if one is given, in all views at once."""
        with self.hold_trait_notifications():
            if segment_index is not None:
                self.segment_index = segment_index
            self.time_s = time_s

    def save(self, path: str | Path) -> Path:
        """Write what is looked at, selected units, time, segment and tab, into a file for `restore`.

        Parameters
        ----------
        path : str or Path
            In an existing folder.
        """
        path = Path(path)
        if not path.parent.is_dir():
            raise ValueError(f"path = {path}: its folder does not exist; make it, or choose another")
        with written_whole(path) as unfinished:
            unfinished.write_text(json.dumps({name: getattr(self, name) for name in SAVED}, indent=1), encoding="utf8")
        return path

    def restore(self, path: str | Path) -> None:
        """Look at what was looked at when a file was saved; nothing changes if that cannot be.

        Raises
        ------
        ValueError
            If it is no such file, or has units or a segment that the sorting does not have.
        """
        saved = read_json(Path(path))
        if not isinstance(saved, dict) or not saved.keys() >= set(SAVED):
            raise ValueError(f"path = {path} was not written by Session.save: it needs {', '.join(SAVED)}")
        try:
            with self.hold_trait_notifications():
                for name in SAVED:
                    setattr(self, name, saved[name])
        except traitlets.TraitError as error:
            raise ValueError(f"path = {path} is of another sorting, or was edited: {error}") from error

    def index_of(self, unit_id: int | str) -> int:
        """Return the position of a unit in the sorting."""
        return self.tested.unit_ids.index(unit_id)

    @property
    def selected_indices(self) -> list[int]:
        """Positions of the selected units in the sorting."""
        return [self.index_of(unit_id) for unit_id in self.selected_units]

    def known_units(self, name: str, unit_ids: Sequence[int | str]) -> list[int | str]:
        """Return ids of units as the sorting has them, each once.

        Raises
        ------
        TraitError
            If one of them is none of the sorting's; the message uses the name.
        """
        own = {unit_id: unit_id for unit_id in self.tested.unit_ids}  # numpy's integers are equal to them
        unknown = [unit_id for unit_id in unit_ids if unit_id not in own]
        if unknown:
            raise traitlets.TraitError(f"{name} has {unknown}: the units are {self.tested.unit_ids}")
        return list(dict.fromkeys(own[unit_id] for unit_id in unit_ids))

    def next_spike_s(self, *, backwards: bool = False) -> float | None:
        """Return when a selected unit fires next in the segment after the present time, or before it; None if never."""
        spikes, frequency = self.tested.units.spikes, self.tested.sampling_frequency
        mine = (spikes["segment_index"] == self.segment_index) & np.isin(spikes["unit_index"], self.selected_indices)
        times = spikes["sample_index"][mine]
        now = round(self.time_s * frequency)
        later = times[times < now][::-1] if backwards else times[times > now]
        return float(later[0] / frequency) if later.size else None

    @traitlets.validate("selected_units")
    def _check_units(self, proposal: Any) -> list[int | str]:
        return self.known_units("selected_units", proposal["value"])

    @traitlets.validate("segment_index")
    def _check_segment(self, proposal: Any) -> int:
        num_segments = len(self.tested.num_samples)
        if not 0 <= proposal["value"] < num_segments:
            raise traitlets.TraitError(f"segment_index = {proposal['value']}: there are {num_segments} segments")
        return proposal["value"]

    @traitlets.validate("time_s")
    def _check_time(self, proposal: Any) -> float:
        if math.isnan(proposal["value"]):
            raise traitlets.TraitError("time_s = nan: give a time (s)")
        duration_s = self.tested.duration_s(self.segment_index)
        return min(max(proposal["value"], 0.0), duration_s)


def finite(proposal: Any) -> float:
    """Return what a trait is to become, for its validator.

    Raises
    ------
    TraitError
        If that is NaN or infinite.
    """
    if not math.isfinite(proposal["value"]):
        raise traitlets.TraitError(f"{proposal['trait'].name} = {proposal['value']}: give a finite number")
    return proposal["value"]


def open_session(
    run: "str | Path | SortedRecording",
    *,
    recording: BaseRecording | None = None,
    truth: BaseSorting | None = None,
    trust: bool = False,
) -> Session:
    """Return a session on a run of crsae, or on any sorting made by `explain_sorting`.

    Parameters
    ----------
    run : str, Path or SortedRecording
        The folder given to ``run_sorter``.
    recording : BaseRecording or None, default: None
        What was sorted. None for the place that the run has noted.
    truth : BaseSorting or None, default: None
        Known spikes, or another sorting of the recording to compare with.
    trust : bool, default: False
        If True, load what the folder describes even if that may run what somebody has written there, see `open_run`.

    Raises
    ------
    ValueError
        If the folder is not that of a crsae run, recording or truth are of another recording, or the recording must not
        be loaded untold.
    TypeError
        If the truth is not a sorting.
    """
    if truth is not None and not isinstance(truth, BaseSorting):
        raise TypeError(f"truth is a {type(truth).__name__}: give a sorting, such as spikeinterface.load(folder)")
    tested = run if isinstance(run, SortedRecording) else open_run(run, recording=recording, trust=trust)
    return Session(tested, truth=None if truth is None else explain_like(truth, tested, name="truth"))


def compare_runs(
    first: str | Path, second: str | Path, *, recording: BaseRecording | None = None, trust: bool = False
) -> Session:
    """Return a session of two runs on one recording, A and B: the comparison view shows where they differ.

    Parameters
    ----------
    first, second : str or Path
        Folders given to ``run_sorter``: of A, which all views show, and of B.
    recording, trust
        See `open_run`.

    Raises
    ------
    ValueError
        If a folder is not that of a crsae run, or the runs are of recordings of different rates, lengths or channels.
    """
    one, other = (open_run(folder, recording=recording, trust=trust) for folder in (first, second))
    for name in ("sampling_frequency", "num_samples"):
        if getattr(one, name) != getattr(other, name):
            raise ValueError(
                f"{first} and {second} are no runs on one recording: {name} is {getattr(one, name)} and "
                f"{getattr(other, name)}"
            )
    if one.channel_ids.tolist() != other.channel_ids.tolist():
        raise ValueError(f"{first} and {second} are no runs on one recording: their channels differ")
    return Session(replace(one, name="A"), truth=replace(other, name="B"))
