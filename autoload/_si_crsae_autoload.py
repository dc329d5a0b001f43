"""Make the sorter and the matching method `crsae` known to SpikeInterface wherever SpikeInterface is imported.

Python runs this module at start-up (`si_crsae_autoload.pth`, or `.start` from Python 3.15). It imports nothing heavy,
it only waits for SpikeInterface's lists. ``SI_CRSAE_AUTOLOAD=0`` in the environment turns it off.
"""

import os
import sys

# Module, the table that it fills, and the function of si_crsae.registration that completes it.
TABLES = {
    "spikeinterface.sorters.sorterlist": ("sorter_dict", "register_sorter"),
    "spikeinterface.sortingcomponents.matching.method_list": ("matching_methods", "register_matching"),
}


class ListFinder:
    """Find SpikeInterface's lists as Python would, and register `crsae` once they have been executed."""

    @staticmethod
    def find_spec(fullname, path=None, target=None):
        """Return the usual spec with a loader that also registers; None for every other module."""
        if fullname not in TABLES:
            return None
        for finder in sys.meta_path:
            find_spec = getattr(finder, "find_spec", None)
            if finder is ListFinder or find_spec is None:
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
            register(module)
        except Exception as error:  # whatever is wrong with us, SpikeInterface must still work
            import warnings

            warnings.warn(
                f"SpikeInterface works, but its sorter 'crsae' could not be registered ({error!r}): "
                "reinstall si_crsae, or set SI_CRSAE_AUTOLOAD=0 to stop trying",
                stacklevel=2,
            )

    loader.exec_module = exec_module


def register(module):
    """Add `crsae` to the table of a module, if it has been filled."""
    table, function = TABLES[module.__name__]
    if hasattr(module, table):
        from si_crsae import registration

        getattr(registration, function)(module)


def arm():
    """Register `crsae` as soon as one of SpikeInterface's lists is imported."""
    if ListFinder not in sys.meta_path:
        sys.meta_path.insert(0, ListFinder)


def install():
    """Arm at start-up, unless the environment says ``SI_CRSAE_AUTOLOAD=0``."""
    if os.environ.get("SI_CRSAE_AUTOLOAD") != "0":
        arm()


install()
