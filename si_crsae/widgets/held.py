"""What a saved page holds, so that it offers that and nothing else."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from si_crsae.widgets.packing import pack, to_text

BYTES_PER_MB = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What of a view a saved page can show without a kernel.

    Parameters
    ----------
    says : str
        In words, for the reader of the page.
    kinds : tuple of str, default: ()
        Messages that need no kernel: the view itself does what they ask for.
    answers : dict of str to dict, default: {}
        By the text of a message (`as_key`): what it changes of the payload, packed.
    """

    says: str
    kinds: tuple[str, ...] = ()
    answers: dict[str, Any] = field(default_factory=dict)

    @property
    def packed(self) -> dict[str, Any]:
        """For the file of a page."""
        return {"says": self.says, "kinds": list(self.kinds), "answers": self.answers}


def as_key(message: dict[str, Any]) -> str:
    """Return the text of a message as a browser writes it."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)


def hold(
    messages: Iterable[dict[str, Any]], answer: Callable[[int], Any], *, max_mb: float
) -> tuple[dict[str, Any], bool]:
    """Return the answers to messages, as many as fit into a size, and whether all did.

    Parameters
    ----------
    messages : iterable of dict
    answer : callable
        Returns what a message changes of the payload, by its position.
    max_mb : float
        Size in the file (MB).
    """
    answers: dict[str, Any] = {}
    room = max_mb * BYTES_PER_MB
    for position, message in enumerate(messages):
        if room <= 0:
            return answers, False
        packed = to_text(pack(answer(position)))
        room -= _size_of(packed)
        if room < 0:
            return answers, False
        answers[as_key(message)] = packed
    return answers, True


def parts_of(model: Any, *, leave_out: str) -> dict[str, Any]:
    """Return the fields of a dataclass by name, but for one that is the same for all units."""
    return {part.name: getattr(model, part.name) for part in fields(model) if part.name != leave_out}


def _size_of(packed: Any) -> int:
    """Return about how many bytes packed data take in a file."""
    return len(json.dumps(packed))


def hold_units(
    unit_ids: list[int | str], answer: Callable[[int], Any], *, max_mb: float, present: list[int | str]
) -> tuple[dict[str, Any], str]:
    """Return the answers to the selection of each unit alone, and in words which these are.

    Parameters
    ----------
    unit_ids : list of int or str
        Of all units.
    answer : callable
        Returns what changes when the unit at a position is selected alone.
    max_mb : float
        Size in the file (MB).
    present : list of int or str
        Ids of the selected units, which the page shows in any case.
    """
    messages = [{"kind": "select_units", "unit_ids": [str(unit_id)]} for unit_id in unit_ids]
    answers, are_all = hold(messages, answer, max_mb=max_mb)
    if are_all and len(unit_ids) > 1:
        return answers, f"each of the {len(unit_ids)} units, one at a time"
    names = ", ".join(map(str, present)) or "none"
    now = f"unit {names}" if len(present) < 2 else f"units {names}"
    if not answers or len(unit_ids) < 2:
        return answers, now
    return answers, f"{now}, and the first {len(answers)} of the {len(unit_ids)} units, one at a time"
