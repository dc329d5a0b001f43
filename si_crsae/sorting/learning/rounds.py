"""What happened in each round of learning: kept as a curve, and told to who listens in the process in which it goes on.

Parameters of a sorter travel through a file, which no function can; listeners are told here instead.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int, Shaped

from si_crsae.core.types import Dictionary

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRound:
    """What happened in a round of learning.

    Parameters
    ----------
    group_index : int
        Group of channels.
    channel_ids : ndarray, shape (channel,)
        Usable channels of the group, those of the dictionaries.
    round_index, num_rounds : int
        Which round, and how many there will be at most.
    objective : float
        Sparse-coding objective per sample at the round's code.
    num_events : int
        Events in the round's code.
    mean_regularization : float
        Mean lambda over atoms.
    used : Dictionary
        What the round began with: objective, events and lambda are of it.
    learned : Dictionary or None
        What it led to; None if no atom is left.
    """

    group_index: int
    channel_ids: Shaped[np.ndarray, " channel"]
    round_index: int
    num_rounds: int
    objective: float
    num_events: int
    mean_regularization: float
    used: Dictionary
    learned: Dictionary | None

    @property
    def num_atoms(self) -> int:
        """Atoms that the round began with."""
        return self.used.num_atoms

    @property
    def is_last(self) -> bool:
        """Whether none follows."""
        return self.round_index == self.num_rounds - 1 or self.learned is None


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCurve:
    """What happened in each round.

    Parameters
    ----------
    objective : ndarray of float64, shape (round,)
        Sparse-coding objective per sample at the round's code.
    num_atoms, num_events : ndarray of int64, shape (round,)
        Size of the dictionary that was used, and of the code.
    mean_regularization : ndarray of float64, shape (round,)
        Mean lambda over atoms.
    waveforms : ndarray of float16, shape (version, channel, component)
        Atoms times their typical amplitudes, on the basis: those that the first round used, those of the second, ...,
        last those that the last round led to. Half precision: for pictures. Empty in runs of earlier versions.
    basis : ndarray of float32, shape (component, width)
        Temporal components.
    channel_ids : ndarray, shape (channel,)
        Channels of the waveforms; empty until the results of a sorting are written.
    unit_numbers : ndarray of int64, shape (unit,)
        Every unit that was ever learned or looked at, by its number; see `Decision`. Empty in runs of earlier versions.
    unit_waveforms : ndarray of float16, shape (unit, channel, component)
        Their templates, on the basis: of those that are gone, as they were then.
    """

    objective: Float[np.ndarray, " round"]
    num_atoms: Int[np.ndarray, " round"]
    num_events: Int[np.ndarray, " round"]
    mean_regularization: Float[np.ndarray, " round"]
    waveforms: Float[np.ndarray, "version channel component"] = field(
        default_factory=lambda: np.zeros((0, 0, 1), "float16")
    )
    basis: Float[np.ndarray, "component width"] = field(default_factory=lambda: np.ones((1, 1), "float32"))
    channel_ids: Shaped[np.ndarray, " channel"] = field(default_factory=lambda: np.zeros(0, "int64"))
    unit_numbers: Int[np.ndarray, " unit"] = field(default_factory=lambda: np.zeros(0, "int64"))
    unit_waveforms: Float[np.ndarray, "unit channel component"] = field(
        default_factory=lambda: np.zeros((0, 0, 1), "float16")
    )

    @classmethod
    def of(
        cls,
        rounds: list[LearningRound],
        *,
        templates: Mapping[int, Float[np.ndarray, "channel component"]] | None = None,
    ) -> "LearningCurve":
        """Return what is kept of the rounds, and of the last templates of all units, by number."""
        curve = cls(
            objective=np.array([done.objective for done in rounds], "float64"),
            num_atoms=np.array([done.num_atoms for done in rounds], "int64"),
            num_events=np.array([done.num_events for done in rounds], "int64"),
            mean_regularization=np.array([done.mean_regularization for done in rounds], "float64"),
        )
        if not rounds:
            return curve
        if templates:
            stacked = np.stack(list(templates.values())).astype("float16")
            curve = replace(curve, unit_numbers=np.array(list(templates)), unit_waveforms=stacked)
        versions = [done.used for done in rounds] + ([rounds[-1].learned] if rounds[-1].learned else [])
        return replace(
            curve,
            waveforms=np.concatenate([waveforms_of_atoms(version) for version in versions]).astype("float16"),
            basis=rounds[0].used.basis.numpy(),
        )

    def versions(self) -> list[Float[np.ndarray, "atom channel component"]]:
        """Return the waveforms round by round, one entry more than there are rounds; nothing where they are unknown."""
        if len(self.waveforms) == 0:
            return []
        return np.split(self.waveforms.astype("float32"), np.cumsum(self.num_atoms))


def waveforms_of_atoms(dictionary: Dictionary) -> Float[np.ndarray, "atom channel component"]:
    """Return the atoms times their typical amplitudes, on their basis (noise standard deviations)."""
    return (dictionary.weights * dictionary.scales[:, None, None]).numpy()


# Replaced as a whole, never changed: a thread that goes through it is not disturbed.
_listeners: tuple[Callable[[LearningRound], None], ...] = ()
_change = threading.Lock()


@contextmanager
def listen(listener: Callable[[LearningRound], None]) -> Iterator[None]:
    """Have a function called after every round of learning, of any sorting in this process, as long as the block lasts.

    Parameters
    ----------
    listener : callable
        Learning waits for it. If it raises, the log says so, learning goes on, and it is called no more.

    Examples
    --------
    >>> with listen(lambda done: print(done.round_index, done.objective)):
    ...     pass  # run_sorter("crsae", recording)
    """
    global _listeners
    with _change:
        _listeners = (*_listeners, listener)
    try:
        yield
    finally:
        _dismiss(listener)


def announce(done: LearningRound) -> None:
    """Tell all who listen of a round."""
    for listener in _listeners:
        try:
            listener(done)
        except Exception as error:
            _dismiss(listener)
            # not a warning: where warnings are errors, it would end the learning
            logger.exception(
                "a listener to learning raised %s; learning goes on, the listener is told nothing more",
                type(error).__name__,
            )


def _dismiss(listener: Callable[[LearningRound], None]) -> None:
    global _listeners
    with _change:
        kept = list(_listeners)
        if listener in kept:
            kept.remove(listener)
        _listeners = tuple(kept)
