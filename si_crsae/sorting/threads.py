"""How many threads compute, for as long as a context lasts; contexts of several threads may overlap."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from threadpoolctl import threadpool_limits


@dataclass
class _Shared:
    """What the threads of the process share, and what it was before the first of them limited it."""

    lock: Any = field(default_factory=threading.Lock)
    num_torch: int = 0
    torch_threads: int = 1
    num_limits: int = 0
    limits: Any = None


_shared = _Shared()
_of_thread = threading.local()


@contextmanager
def one_thread_per_tile() -> Iterator[None]:
    """Let tiles run side by side, each on one thread, rather than one tile on all: its products are small."""
    with one_torch_thread(), _one_thread_for_products(), threadpool_limits(1, user_api="openmp"):
        yield


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Compute on the calling thread alone: what `one_thread_per_tile` does for torch, in no time.

    Torch's number belongs to the thread that sets it, but a new thread begins with the one that was set last: what it
    finds while another is limited is not its own.
    """
    if getattr(_of_thread, "is_limited", False):
        yield
        return
    with _shared.lock:
        found = torch.get_num_threads()
        before = found if _shared.num_torch == 0 or found != 1 else _shared.torch_threads
        if _shared.num_torch == 0:
            _shared.torch_threads = found
        _shared.num_torch += 1
        torch.set_num_threads(1)
    _of_thread.is_limited = True
    try:
        yield
    finally:
        _of_thread.is_limited = False
        with _shared.lock:
            _shared.num_torch -= 1
            torch.set_num_threads(before)


@contextmanager
def _one_thread_for_products() -> Iterator[None]:
    """Limit the libraries of linear algebra, one setting for all threads: the last to leave takes it back."""
    with _shared.lock:
        if _shared.num_limits == 0:
            _shared.limits = threadpool_limits(1, user_api="blas")
        _shared.num_limits += 1
    try:
        yield
    finally:
        with _shared.lock:
            _shared.num_limits -= 1
            if _shared.num_limits == 0:
                _shared.limits.restore_original_limits()
