"""Loops compiled by numba, or left to Python where numba cannot be had."""

from collections.abc import Callable
from typing import Any, TypeVar

try:
    import numba
except ImportError:
    numba = None

HAS_NUMBA = numba is not None

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered so that the inner loops vectorize; inf keeps its meaning: a lambda of inf takes an atom out.
_REORDERED = {"nsz", "contract", "reassoc"}


def compile_loops(*, reorder_sums: bool = False) -> Callable[[Function], Function]:
    """Return a decorator that compiles a function on its first call and keeps the result on disk.

    The function must also run as plain Python: that is what it does without numba. Mark it with ``no_type_check``,
    because the tests wrap every other function of the core in shape checks, which numba cannot compile.

    Parameters
    ----------
    reorder_sums : bool, default: False
        If True, sums may be taken in any order.
    """

    def decorate(function: Function) -> Function:
        if numba is None:
            return function
        compiled: Any = numba.njit(nogil=True, cache=True, fastmath=_REORDERED if reorder_sums else False)(function)
        if hasattr(compiled, "_cache"):  # not where numba is told to compile nothing
            _forget_lost_classes(compiled._cache)
        return compiled

    return decorate


def _forget_lost_classes(cache: Any) -> None:
    """Have a cache compile anew what it kept for a class that is gone since.

    Of a NamedTuple that a function takes, numba writes down where it is defined, and fails to read the file when it is
    not there any more: after an update, that is, in which the class has moved.
    """
    load = cache.load_overload

    def load_or_forget(*args: Any) -> Any:
        try:
            return load(*args)
        except (AttributeError, ImportError):
            cache.flush()
            return None

    cache.load_overload = load_or_forget
