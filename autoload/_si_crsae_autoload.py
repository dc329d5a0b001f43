"""Make the sorter `crsae` known to SpikeInterface wherever SpikeInterface is imported.

Python runs this module at start-up (`si_crsae_autoload.pth`, or `.start` from Python 3.15). It imports nothing heavy,
it only waits for SpikeInterface's list of sorters. ``SI_CRSAE_AUTOLOAD=0`` in the environment turns it off.
"""

import os
import sys

SORTER_LIST = "spikeinterface.sorters.sorterlist"


class SorterListFinder:
    """Find SpikeInterface's list of sorters as Python would, and register `crsae` once it has been executed."""

    @staticmethod
    def find_spec(fullname, path=None, target=None):
        """Return the usual spec with a loader that also registers; None for every other module."""
        if fullname != SORTER_LIST:
            return None
        for finder in sys.meta_path:
            find_spec = getattr(finder, "find_spec", None)
            if finder is SorterListFinder or find_spec is None:
                continue
            spec = find_spec(fullname, path, target)
            if spec is not None:
                _register_after_execution(spec.loader)
                return spec
        return None


def _register_after_execution(loader):
    execute = loader.exec_module

    def exec_module(module):
        execute(module)
        try:
            from si_crsae.registration import register_sorter

            register_sorter(module)
        except Exception as error:  # whatever is wrong with us, SpikeInterface must still work
            import warnings

            warnings.warn(
                f"SpikeInterface works, but its sorter 'crsae' could not be registered ({error!r}): "
                "reinstall si_crsae, or set SI_CRSAE_AUTOLOAD=0 to stop trying",
                stacklevel=2,
            )

    loader.exec_module = exec_module


def arm():
    """Register `crsae` as soon as SpikeInterface's list of sorters is imported."""
    if SorterListFinder not in sys.meta_path:
        sys.meta_path.insert(0, SorterListFinder)


def install():
    """Arm at start-up, unless the environment says ``SI_CRSAE_AUTOLOAD=0``."""
    if os.environ.get("SI_CRSAE_AUTOLOAD") != "0":
        arm()


install()
