"""What was decided about units while they were learned: by which figure, in which round, and which came of which."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Shaped

from si_crsae.sorting.learning.units import Unit

What = Literal["found", "born", "refused", "split", "not split", "merged", "lost events", "dropped", "kept"]

# Rounds count from 1: what clustering finds is there before the first, what cleaning does comes after the last.
BEFORE_ROUNDS, AFTER_ROUNDS = 0, -1
# Number of a cluster that no unit was made of.
NO_UNIT = -1
# Noted, but not logged one by one: where units stay as they are.
QUIET = ("refused", "not split", "kept")
# What a unit of the sorting never becomes.
GONE = ("refused", "merged", "dropped")

logger = logging.getLogger(__name__)


class Reason(NamedTuple):
    """Why something was decided: a figure on one side of its threshold, and the numbers of other units that count."""

    figure: str
    value: float
    threshold: float
    others: tuple[int, ...] = ()


def below(figure: str, value: float, threshold: float) -> Reason | None:
    """Return a reason if the value is below the threshold."""
    return Reason(figure, value, threshold) if value < threshold else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided about a unit, and why.

    Parameters
    ----------
    round : int
        Round of learning, from 1 on; BEFORE_ROUNDS or AFTER_ROUNDS.
    what : str
        One of `What`.
    unit : int
        Number of the unit, which it keeps as long as it is there; the largest part of a split or merged unit goes on
        with its number. NO_UNIT for a cluster that became none.
    others : tuple of int
        Units because of which it was decided.
    became : tuple of int
        Units that its events went to.
    main_channel : int
        Index of the channel on which it is largest.
    figure, value, threshold : str, float, float
        See `Reason`.
    num_events : int
        Its events, or the peaks of a cluster.
    """

    round: int
    what: What
    unit: int
    others: tuple[int, ...]
    became: tuple[int, ...]
    main_channel: int
    figure: str
    value: float
    threshold: float
    num_events: int


class Counted(Protocol):
    """Anything that a decision is about."""

    @property
    def number(self) -> int:
        """Number of the unit."""
        ...

    @property
    def main_channel(self) -> int:
        """Index of the channel on which it is largest."""
        ...

    @property
    def num_events(self) -> int:
        """Its events."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A unit of which only this is known: a cluster of peaks, the events of an atom."""

    number: int = NO_UNIT
    main_channel: int
    num_events: int


class History:
    """Takes down what is decided, for the table and for the log, and gives every unit its number.

    Parameters
    ----------
    channel_ids : iterable, optional
        Ids of the channels, for the log.
    earlier : ndarray, optional
        Table of what was decided before.
    atoms : sequence of Member, optional
        The units of a dictionary, for those who know atoms by their index only.
    first_round : int, default: BEFORE_ROUNDS
        What decisions are of until `round` is set.

    Attributes
    ----------
    last_templates : dict of int to ndarray
        By the number of a unit that is gone, as it looked then: of shape (channel, component).
    """

    def __init__(
        self,
        channel_ids: Iterable[Any] = (),
        *,
        earlier: Shaped[np.ndarray, " decision"] | None = None,
        atoms: Sequence[Member] = (),
        first_round: int = BEFORE_ROUNDS,
    ) -> None:
        self.decisions = [] if earlier is None else from_table(earlier)
        self.round = first_round
        self.last_templates: dict[int, Float[np.ndarray, "channel component"]] = {}
        self._channel_ids = list(channel_ids)
        self._atoms = atoms
        self._num_numbers = max((decision.unit for decision in self.decisions), default=NO_UNIT) + 1

    def newest(self, count: int) -> range:
        """Return the numbers that the last so many clusters were given; an earlier version gave them none."""
        self._num_numbers = max(self._num_numbers, count)
        return range(self._num_numbers - count, self._num_numbers)

    def atom(self, index: int | np.integer, num_events: int | np.integer) -> Member:
        """Return the unit of an atom, with as many events as it has now."""
        known = self._atoms[int(index)] if self._atoms else Member(number=int(index), main_channel=0, num_events=0)
        return replace(known, num_events=int(num_events))

    def note(self, what: What, unit: Counted, reason: Reason, *, became: Iterable[int] = ()) -> None:
        """Take down what was decided about a unit."""
        decision = Decision(
            round=self.round,
            what=what,
            unit=unit.number,
            others=tuple(map(int, reason.others)),
            became=tuple(map(int, became)),
            main_channel=unit.main_channel,
            figure=reason.figure,
            value=float(reason.value),
            threshold=float(reason.threshold),
            num_events=unit.num_events,
        )
        self.decisions.append(decision)
        if what in GONE and isinstance(unit, Unit):
            self.last_templates[unit.number] = unit.template
        if what not in QUIET:
            logger.info("%s", self._sentence(decision))

    def find(self, cluster: Member, reason: Reason) -> None:
        """Take down that a cluster makes a unit, which is given the next number."""
        self.note("found" if self.round == BEFORE_ROUNDS else "born", replace(cluster, number=self._next()), reason)

    def split(self, unit: Unit, parts: list[Unit], reason: Reason) -> list[Unit]:
        """Return the parts with their numbers; the largest one goes on with that of the unit."""
        largest = max(parts, key=lambda part: part.num_events)
        numbered = [replace(part, number=unit.number if part is largest else self._next()) for part in parts]
        self.note("split", unit, reason, became=sorted(part.number for part in numbered))
        return numbered

    def merge(self, first: Unit, second: Unit, joined: Unit, reason: Reason) -> Unit:
        """Return the joined unit, which goes on with the number of one of the two."""
        self.absorb(second if joined.number == first.number else first, joined.number, reason)
        return joined

    def absorb(self, unit: Counted, number: int, reason: Reason) -> None:
        """Take down that a unit became part of another."""
        self.note("merged", unit, reason._replace(others=(number,)), became=[number])

    def drop(self, units: list[Unit], reasons: Sequence[Reason | None]) -> list[Unit]:
        """Return the units that there is no reason to drop."""
        kept = []
        for unit, reason in zip(units, reasons, strict=True):
            if reason is None:
                kept.append(unit)
            else:
                self.note("dropped", unit, reason)
        return kept

    @property
    def table(self) -> Shaped[np.ndarray, " decision"]:
        """All decisions, as files keep them."""
        return to_table(self.decisions)

    def _next(self) -> int:
        self._num_numbers += 1
        return self._num_numbers - 1

    def _sentence(self, decision: Decision) -> str:
        because = f" because of {_listed(decision.others)}" if decision.others and not decision.became else ""
        into = f" into {_listed(decision.became)}" if decision.became else because
        sign = "<" if decision.value < decision.threshold else ">="
        figure = decision.figure.replace("_", " ")
        channel = self._channel_ids[decision.main_channel] if self._channel_ids else decision.main_channel
        counted = "" if decision.value == decision.num_events else f", {decision.num_events} events"
        return (
            f"{round_in_words(decision.round)}: unit {decision.unit} {decision.what}{into}: "
            f"{figure} {decision.value:.3g} {sign} {decision.threshold:.3g}{counted} on channel {channel}"
        )


def round_in_words(number: int) -> str:
    """Return when something was decided, from the number of the round."""
    return {BEFORE_ROUNDS: "before round 1", AFTER_ROUNDS: "after the last round"}.get(number, f"round {number}")


def _listed(numbers: tuple[int, ...]) -> str:
    return " and ".join(map(str, numbers))


def to_table(decisions: Sequence[Decision]) -> Shaped[np.ndarray, " decision"]:
    """Return decisions as a structured array, one field for each of theirs; several numbers as a text."""
    columns = {}
    for field in fields(Decision):
        values = [getattr(decision, field.name) for decision in decisions]
        if field.type in {int, float}:
            columns[field.name] = np.array(values, field.type)
        else:
            texts = [value if isinstance(value, str) else " ".join(map(str, value)) for value in values]
            columns[field.name] = np.array(texts, "U")
    table = np.zeros(len(decisions), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        table[name] = column
    return table


def from_table(table: Shaped[np.ndarray, " decision"]) -> list[Decision]:
    """Return the decisions of which `to_table` made a table."""
    decisions = []
    for values in table.tolist():
        row: dict[str, Any] = dict(zip(table.dtype.names or (), values, strict=True))
        row |= {name: numbers_in(row[name]) for name in ("others", "became")}
        decisions.append(Decision(**row))
    return decisions


def numbers_in(text: str) -> tuple[int, ...]:
    """Return the numbers that a table keeps as a text."""
    return tuple(map(int, text.split()))


def no_decisions() -> Shaped[np.ndarray, " decision"]:
    """Return the table of no decision."""
    return to_table([])
