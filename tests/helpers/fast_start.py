"""A process of the tests that has imported this, first of all, spends its time on the tests.

SpikeInterface, and glasbey, which chooses the colors of its browser, compile their functions anew in every process,
which takes longer than most tests do. SpikeInterface also collects all garbage after every chunk that it writes, which
takes longer than the chunk. Here these functions are kept on disk like ours, in the folder that make names, and what is
new is collected.
"""

import gc

import numba
from numba.core.dispatcher import Dispatcher

_make_dispatcher = Dispatcher.__init__


def _make_kept_dispatcher(self, py_func, *arguments, **options):
    _make_dispatcher(self, py_func, *arguments, **options)
    if py_func.__module__.partition(".")[0] in ("spikeinterface", "glasbey"):
        self.enable_caching()


collect_everything = gc.collect


def _collect_what_is_new(generation=1):
    return collect_everything(min(generation, 1))


gc.collect = _collect_what_is_new
if numba.config.CACHE_DIR:
    Dispatcher.__init__ = _make_kept_dispatcher
