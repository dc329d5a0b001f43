"""Loops compiled by numba, or left to Python where numba cannot be had."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from si_crsae.core.code_cache import keep_compiled

try:
    import numba
except (ImportError, OSError):  # OSError: of a library that does not fit the machine
    numba = None

HAS_NUMBA = numba is not None

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered so that the inner loops vectorize; inf keeps its meaning: a lambda of inf takes an atom out.
_REORDERED = {"nsz", "contract", "reassoc"}


def compile_loops(*, reorder_sums: bool = False) -> Callable[[Function], Function]:
    """Return a decorator that compiles a function on its first call and keeps the result on disk, where it can.

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
        compiled: Any = numba.njit(nogil=True, fastmath=_REORDERED if reorder_sums else False)(function)
        if hasattr(compiled, "enable_caching"):  # not where NUMBA_DISABLE_JIT leaves the function as it is
            keep_compiled(compiled)
        return compiled

    return decorate


@contextmanager
def tell_compiling(listener: Callable[[bool], None]) -> Iterator[None]:
    """Call a function with True when numba begins to compile, and with False when it is done; not for what was kept.

    Parameters
    ----------
    listener : callable
        Called in the thread that compiles.
    """
    if numba is None:
        yield
        return
    from numba.core import event as compilation

    class Teller(compilation.Listener):
        depth = 0  # functions that are compiled for another one

        def on_start(self, event: Any) -> None:
            self.depth += 1
            if self.depth == 1:
                listener(True)

        def on_end(self, event: Any) -> None:
            self.depth -= 1
            if self.depth == 0:
                listener(False)

    with compilation.install_listener("numba:compile", Teller()):
        yield
