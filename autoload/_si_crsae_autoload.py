"""Make the sorter and the matching method `crsae` known to SpikeInterface wherever SpikeInterface is imported.

Python runs this module at start-up (`si_crsae_autoload.pth`, or `.start` from Python 3.15). It imports nothing heavy,
it only waits for SpikeInterface's lists. ``SI_CRSAE_AUTOLOAD=0`` in the environment turns it off.
"""

import os
import sys
from _thread import get_ident

# Module, the table that it fills, and the function of si_crsae.registration that completes it.
TABLES = {
    "spikeinterface.sorters.sorterlist": ("sorter_dict", "register_sorter"),
    "spikeinterface.sortingcomponents.matching.method_list": ("matching_methods", "register_matching"),
}

# What each thread is looking for: a finder that asks all others, as ours does, must not be asked in a circle.
_SEARCHES = set()


class ListFinder:
    """Find SpikeInterface's lists as Python would, and register `crsae` once they have been executed."""

    @staticmethod
    def find_spec(fullname, path=None, target=None):
        """Return the usual spec with a loader that also registers; None for every other module."""
        search = (get_ident(), fullname)
        if fullname not in TABLES or search in _SEARCHES:
            return None
        _SEARCHES.add(search)
        try:
            spec = _find_elsewhere(fullname, path, target)
        finally:
            _SEARCHES.discard(search)
        _register_after_execution(spec)
        return spec


class StandInLoader:
    """Stands in for the loader of one module until that is executed, and is otherwise the same.

    The loader itself is never changed: it may be shared by many modules, or refuse changes.
    """

    def __init__(self, spec, loader):
        self._spec = spec
        self._loader = loader

    def __getattr__(self, name):
        """Return what the module's own loader has."""
        return getattr(object.__getattribute__(self, "_loader"), name)

    def _step_aside(self, module):
        """Return the module's own loader, which module and spec have again."""
        if self._spec.loader is self:
            self._spec.loader = self._loader
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = self._loader
        return self._loader


class RegisteringLoader(StandInLoader):
    """Executes a module as its own loader does, then registers."""

    def create_module(self, spec):
        """Return the module that the own loader makes, None to have Python make it."""
        create = getattr(self._loader, "create_module", None)
        return None if create is None else create(spec)

    def exec_module(self, module):
        """Execute the module, register."""
        self._step_aside(module).exec_module(module)
        _try_to_register(sys.modules.get(self._spec.name, module))


class OldRegisteringLoader(StandInLoader):
    """Does the same for a loader that has `load_module` only, the interface before Python 3.4."""

    def load_module(self, fullname):
        """Return the loaded module, registered."""
        module = self._step_aside(sys.modules.get(fullname)).load_module(fullname)
        _try_to_register(sys.modules.get(fullname, module))
        return module


def _register_after_execution(spec):
    loader = getattr(spec, "loader", None)
    if loader is None or isinstance(loader, StandInLoader):
        return
    stand_in = RegisteringLoader if hasattr(loader, "exec_module") else OldRegisteringLoader
    try:
        spec.loader = stand_in(spec, loader)
    except Exception:  # a spec that refuses changes: `import si_crsae` registers
        return


def _find_elsewhere(fullname, path, target):
    """Return what the other finders find; Python 3.11 also asks those with `find_module` only."""
    for finder in tuple(sys.meta_path):
        find_spec, find_module = getattr(finder, "find_spec", None), getattr(finder, "find_module", None)
        spec = None
        if finder is ListFinder:
            continue
        if find_spec is not None:
            spec = find_spec(fullname, path, target)
        elif find_module is not None and sys.version_info < (3, 12):
            from importlib.util import spec_from_loader

            loader = find_module(fullname, path)
            spec = None if loader is None else spec_from_loader(fullname, loader)
        if spec is not None:
            return spec
    return None


def _try_to_register(module):
    try:
        register(module)
    except Exception as error:  # whatever is wrong with us, SpikeInterface must still work
        _warn(error)


def _warn(error):
    import warnings

    if isinstance(error, ImportError):
        remedy = "reinstall si_crsae with all it needs"
    else:
        remedy = "`import si_crsae.sorting.matching` in a new Python shows where that comes from"
    message = (
        f"SpikeInterface works, but its sorter 'crsae' could not be registered ({error!r}): {remedy}, "
        "or set SI_CRSAE_AUTOLOAD=0 to stop trying"
    )
    try:
        warnings.warn(message, stacklevel=4)
    except UserWarning:  # raised where warnings are errors
        if sys.stderr is not None:
            sys.stderr.write(f"{message}\n")


def register(module):
    """Add `crsae` to the table of a module, if it has been filled."""
    table, function = TABLES.get(getattr(module, "__name__", ""), ("", ""))
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
