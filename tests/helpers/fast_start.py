"""A process of the tests spends its time on the tests.

SpikeInterface compiles its functions anew in every process, which takes longer than most tests do, and collects garbage
after every chunk that it writes, which takes longer than the chunk. So here its functions are kept on disk like ours,
and what was imported is no garbage.
"""

import gc

import numba
from numba.core.dispatcher import Dispatcher

_make_dispatcher = Dispatcher.__init__


def _make_kept_dispatcher(self, py_func, *arguments, **options):
    _make_dispatcher(self, py_func, *arguments, **options)
    if py_func.__module__.partition(".")[0] == "spikeinterface":
        self.enable_caching()


def keep_compiled_functions():
    """Keep what SpikeInterface compiles from now on in the folder that make has named, if it was make."""
    if numba.config.CACHE_DIR:
        Dispatcher.__init__ = _make_kept_dispatcher


def pytest_configure():
    keep_compiled_functions()


def pytest_collection_finish():
    gc.collect()
    gc.freeze()
