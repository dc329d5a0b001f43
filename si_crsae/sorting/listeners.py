"""Who wants to know how learning goes on, in the process in which it goes on.

Parameters of a sorter travel through a file, which no function can; listeners are told here instead.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

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
        Of the round's code.
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
    def is_last(self) -> bool:
        """Whether none follows."""
        return self.round_index == self.num_rounds - 1 or self.learned is None


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
