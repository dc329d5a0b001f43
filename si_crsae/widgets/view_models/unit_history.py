"""What learning made of every unit that it ever looked at: the units of the sorting, and those that are not in it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from si_crsae.evaluation.plots import MIN_DRAWN
from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.folder import load_history
from si_crsae.sorting.inventory import peaks_of_atoms
from si_crsae.sorting.learning.history import AFTER_ROUNDS, GONE, round_in_words
from si_crsae.widgets.view_models.reasons import explained, measured
from si_crsae.widgets.view_models.templates import Waveforms, atom_waveforms, join_waveforms, neighborhood_of
from si_crsae.widgets.view_models.unit_figures import OnProbe, pitch_of

NO_HISTORY = (
    "This sorting tells nothing of how its units came about: open the folder of a crsae run that was made with "
    "save_array=True, by this version."
)
NOT_DRAWN = {
    "refused": "It never was a unit: no template was made of it.",
    "": "The run has kept no template of it: an earlier version made it.",
}
# Beside the one that is looked at: more could not be told apart.
MAX_DRAWN_OTHERS = 3
# In the order in which things happen.
WHAT = ("found", "born", "refused", "split", "not split", "merged", "lost events", "dropped", "kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One decision about a unit, as it is read."""

    when: str
    what: str
    """With the names of the unit, and of those that it became."""
    because: str
    measured: str
    helps: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What may have become a unit: a unit of the sorting, one that is gone, or a cluster of peaks that became none.

    Parameters
    ----------
    key : tuple
        Group of channels and number of the unit in it; for a cluster, the row of the history.
    name : str
        Of a unit of the sorting, its id.
    fate : str
        "kept", "merged", "dropped" or "refused".
    channel : int
        Index of the main channel.
    num_events : int
        Its spikes when that was decided; peaks, where it had none yet.
    end : Event
        What decided its fate.
    relatives : tuple of int
        Candidates because of which it was decided, or that its spikes went to.
    """

    key: tuple[Any, int]
    name: str
    fate: str
    channel: int
    num_events: int
    end: Event
    relatives: tuple[int, ...] = ()


class UnitHistory:
    """The decisions of a run, by the units that they are about.

    Candidates come in the order of the sorting's units, which have their indices, then in the order in which they went.

    Parameters
    ----------
    sorted_recording : SortedRecording
        Of a run of crsae.
    table : DataFrame
        From `load_history`.
    """

    def __init__(self, sorted_recording: SortedRecording, table: pd.DataFrame) -> None:
        self.sorted_recording = sorted_recording
        rows: list[Any] = list(table.itertuples())
        self._rows = [row for row in rows if row.unit is not pd.NA]
        self._last_events = {self._key(row): row.num_events for row in self._rows if row.num_events}
        self._has_groups = len(set(table["group"])) > 1
        self._channels = {channel_id: at for at, channel_id in enumerate(sorted_recording.channel_ids.tolist())}
        unit_ids = sorted_recording.unit_ids
        kept = sorted((row for row in rows if row.what == "kept"), key=lambda row: unit_ids.index(row.unit_id))
        ends = kept + [row for row in rows if row.what in GONE]
        self._numbers = {self._key(row): index for index, row in enumerate(ends)}
        self._names = {key: str(unit_ids[index]) for key, index in self._numbers.items() if index < len(kept)}
        self.candidates = [self._candidate(row) for row in ends]
        self.counts = {what: Counter(_round_of(row) for row in rows if row.what == what) for what in WHAT}

    def life_of(self, index: int) -> list[Event]:
        """Return what was decided about a candidate and about those that it came of, the earliest first."""
        return [self._event(row) for row in reversed(list(self._backwards(self.candidates[index].key)))]

    def waveforms_of(self, indices: Sequence[int]) -> Waveforms:
        """Return templates of candidates, whitened (noise standard deviations), as far as the run has kept them."""
        units = [index for index in indices if self.candidates[index].fate == "kept"]
        found = [atom_waveforms(self.sorted_recording, units)]
        found += [self._last_waveforms(index) for index in indices if index not in units]
        return join_waveforms(found)

    def _backwards(self, key: tuple[Any, int]) -> Iterator[Any]:
        group, number = key
        numbers = {number}
        for row in reversed(self._rows):
            if row.group == group and (row.unit in numbers or numbers & set(row.became)):
                numbers.add(row.unit)
                yield row

    def _last_waveforms(self, index: int) -> Waveforms:
        """Return the template of a unit that is gone, where it exceeds half a noise standard deviation."""
        candidate, tested = self.candidates[index], self.sorted_recording
        atom = np.zeros((1, tested.channel_ids.size, tested.window.width), "float32")
        for curve in tested.learning_curves.values():
            place = np.flatnonzero(curve.unit_numbers == candidate.key[1])
            mine = np.isin(tested.channel_ids, curve.channel_ids)
            if candidate.fate != "refused" and mine[candidate.channel] and place.size:
                atom[:, mine] = curve.unit_waveforms[place].astype("float32") @ curve.basis
        channel = np.flatnonzero(np.abs(atom[0]).max(axis=1) >= MIN_DRAWN)
        return Waveforms(
            unit=np.full(channel.size, index),
            channel=channel,
            num_before=np.repeat(peaks_of_atoms(atom)[1], channel.size),
            values=atom[0, channel],
            unit_of_measurement="",
        )

    def _candidate(self, row: Any) -> Candidate:
        key = self._key(row)
        return Candidate(
            key=key,
            name=self._name(row.group, row.unit),
            fate=row.what,
            channel=self._channels[row.main_channel_id],
            num_events=row.num_events or self._last_events.get(key, 0),
            end=self._event(row),
            relatives=tuple(
                self._numbers[row.group, number]
                for number in dict.fromkeys((*row.became, *row.others))
                if (row.group, number) in self._numbers and number != row.unit
            ),
        )

    def _event(self, row: Any) -> Event:
        others, became = ([self._name(row.group, number) for number in numbers] for numbers in (row.others, row.became))
        meaning = explained(row.what, row.figure, others=others, became=became)
        own = self._name(row.group, row.unit)
        return Event(
            when=round_in_words(_round_of(row)),
            what=f"{own} {row.what}" + (f" → {', '.join(became)}" if became else ""),
            because=meaning.means,
            measured=measured(row.figure, row.value, row.threshold),
            helps=meaning.helps,
        )

    def _key(self, row: Any) -> tuple[Any, int]:
        # a number that no unit has, for a cluster
        return row.group, row.unit if row.unit is not pd.NA else -1 - row.Index

    def _name(self, group: Any, number: Any) -> str:
        """Return the id of a unit of the sorting; of others, their number in the history."""
        if number is pd.NA:
            return "cluster"
        known = self._names.get((group, number))
        of_group = f" of group {group}" if self._has_groups else ""
        return f"unit {known}" if known is not None else f"candidate {number}{of_group}"


def _round_of(row: Any) -> int:
    return AFTER_ROUNDS if row.round is pd.NA else int(row.round)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryModel:
    """What the view of the history shows."""

    overview: OnProbe
    fate: list[str]
    when: list[str]
    channel: Int[np.ndarray, " candidate"]
    num_events: Int[np.ndarray, " candidate"]
    because: list[str]
    measured: list[str]
    num_units: int
    """Candidates that are units of the sorting; they come first."""
    rounds: list[str]
    counts: dict[str, list[int]]
    """How often what was decided in which round."""
    chosen: int
    """The candidate that is looked at; -1 for none."""
    life: list[Event]
    drawn: list[int]
    """The chosen candidate, and those because of which it was decided."""
    atoms: Waveforms
    neighborhood: list[float]
    sampling_frequency: float
    not_drawn: str
    """Why there is no picture of the chosen one; empty if there is one."""
    notes: list[str]
    empty: str


def open_history(sorted_recording: SortedRecording) -> UnitHistory | None:
    """Return the history of a run; None where there is none, as for other sorters and runs of earlier versions."""
    try:
        table = None if sorted_recording.folder is None else load_history(sorted_recording.folder)
    except ValueError:
        return None
    return None if table is None else UnitHistory(sorted_recording, table)


def history_model(sorted_recording: SortedRecording, history: UnitHistory | None, *, chosen: int = -1) -> HistoryModel:
    """Return what the view of the history shows.

    Parameters
    ----------
    sorted_recording : SortedRecording
    history : UnitHistory or None
        From `open_history`.
    chosen : int, default: -1
        Index of the candidate to look at; -1 for none.
    """
    candidates = [] if history is None else history.candidates
    chosen = chosen if chosen < len(candidates) else -1
    drawn = [] if chosen < 0 else [chosen, *candidates[chosen].relatives[:MAX_DRAWN_OTHERS]]
    atoms = atom_waveforms(sorted_recording, []) if history is None else history.waveforms_of(drawn)
    is_drawn = chosen in atoms.unit
    counts = {} if history is None else history.counts
    rounds = sorted({number for by_round in counts.values() for number in by_round}, key=_in_time)
    return HistoryModel(
        overview=OnProbe(
            unit_ids=[candidate.name for candidate in candidates],
            channel_ids=[str(channel_id) for channel_id in sorted_recording.channel_ids],
            locations=sorted_recording.locations.astype("float32"),
            pitch=pitch_of(sorted_recording.locations),
        ),
        fate=[candidate.fate for candidate in candidates],
        when=[candidate.end.when for candidate in candidates],
        channel=np.array([candidate.channel for candidate in candidates], "int64"),
        num_events=np.array([candidate.num_events for candidate in candidates], "int64"),
        because=[candidate.end.because for candidate in candidates],
        measured=[candidate.end.measured for candidate in candidates],
        num_units=sum(candidate.fate == "kept" for candidate in candidates),
        rounds=[round_in_words(number) for number in rounds],
        counts={what: [by_round[number] for number in rounds] for what, by_round in counts.items()},
        chosen=chosen,
        life=[] if history is None or chosen < 0 else history.life_of(chosen),
        drawn=drawn if is_drawn else [],
        atoms=atoms,
        neighborhood=neighborhood_of(sorted_recording, atoms),
        sampling_frequency=sorted_recording.sampling_frequency,
        not_drawn="" if chosen < 0 or is_drawn else NOT_DRAWN.get(candidates[chosen].fate, NOT_DRAWN[""]),
        notes=[],
        empty="" if candidates else NO_HISTORY,
    )


def _in_time(number: int) -> float:
    return np.inf if number == AFTER_ROUNDS else number
