"""The start-up hook must register for its two modules whatever loads them, and never be noticed by any other import."""

import contextlib
import importlib.util
import os
import subprocess
import sys
import types
import warnings
import zipfile
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

AUTOLOAD = Path(__file__).parents[1] / "autoload"
LISTED, OTHER = "listed_for_this_test", "other_for_this_test"


@contextlib.contextmanager
def hook_armed(*finders):
    """The repository's hook, watching LISTED instead of SpikeInterface's lists; yields what it has registered."""
    meta_path = list(sys.meta_path)
    spec = importlib.util.spec_from_file_location("hook_of_this_test", AUTOLOAD / "_si_crsae_autoload.py")
    hook = importlib.util.module_from_spec(spec)
    registered = []
    try:
        sys.meta_path[:0] = finders
        spec.loader.exec_module(hook)
        hook.arm()
        hook.TABLES = {LISTED: ("table", "register")}
        hook.register = registered.append
        yield registered
    finally:
        sys.meta_path[:] = meta_path
        for name in (LISTED, OTHER):
            sys.modules.pop(name, None)


class Finder:
    """Finds LISTED and OTHER, both with one loader, as zipimport and frozen importers do."""

    def __init__(self, loader, spec_class=ModuleSpec):
        self.loader = loader
        self.spec_class = spec_class

    def find_spec(self, fullname, path=None, target=None):
        return self.spec_class(fullname, self.loader) if fullname in (LISTED, OTHER) else None


class NewLoader:
    __slots__ = ("modules",)

    def __init__(self):
        object.__setattr__(self, "modules", [])

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        self.modules.append(module)
        module.table = {}


class OwnModuleLoader(NewLoader):
    __slots__ = ()

    def create_module(self, spec):
        return types.ModuleType(spec.name, "made by its loader")


class ReadOnlyLoader(NewLoader):
    __slots__ = ()

    def __setattr__(self, name, value):
        raise TypeError("read-only")


class OldLoader:
    """The interface of before Python 3.4, which Python 3.15 has dropped."""

    __slots__ = ("modules",)

    def __init__(self):
        self.modules = []

    def load_module(self, fullname):
        module = sys.modules.setdefault(fullname, types.ModuleType(fullname))
        self.modules.append(module)
        module.table = {}
        return module


class ReplacingLoader(NewLoader):
    """Its modules put something else in their place."""

    __slots__ = ()

    def exec_module(self, module):
        replaced = types.ModuleType(module.__name__)
        replaced.table = {}
        replaced.__loader__, replaced.__spec__ = module.__loader__, module.__spec__
        sys.modules[module.__name__] = replaced
        self.modules.append(replaced)


LOADERS = [NewLoader, OwnModuleLoader, ReadOnlyLoader, ReplacingLoader]
if sys.version_info < (3, 15):
    LOADERS.append(OldLoader)


@given(
    make_loader=st.sampled_from(LOADERS),
    names=st.permutations([LISTED, OTHER]),
    looks_first=st.booleans(),
    num_reloads=st.integers(0, 2),
)
def test_a_module_is_registered_when_executed_and_otherwise_what_it_is_without_the_hook(
    make_loader, names, looks_first, num_reloads
):
    loader = make_loader()
    with hook_armed(Finder(loader)) as registered, warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "the load_module|.*exec_module.. not found", ImportWarning)
        if looks_first:
            assert importlib.util.find_spec(LISTED).loader.modules is loader.modules
        modules = [importlib.import_module(name) for name in names]
        for _ in range(num_reloads):
            modules = [importlib.reload(module) for module in modules]
        listed, other = (modules[names.index(name)] for name in (LISTED, OTHER))
        assert registered == [module for module in loader.modules if module.__name__ == LISTED]
        assert len(registered) == 1 + num_reloads
        for module in (listed, other):
            assert module is sys.modules[module.__name__]
            assert module.__loader__ is module.__spec__.loader is loader


def test_no_loader_is_changed():
    loader = NewLoader()
    loader_class = dict(vars(NewLoader))
    with hook_armed(Finder(loader)):
        importlib.import_module(LISTED)
    assert dict(vars(NewLoader)) == loader_class


def test_a_module_without_a_loader_is_imported_as_python_does(tmp_path):
    (tmp_path / LISTED).mkdir()  # a folder without __init__.py: its spec has no loader that executes
    namespace = ModuleSpec(LISTED, None, is_package=True)
    namespace.submodule_search_locations = [str(tmp_path / LISTED)]
    with hook_armed(types.SimpleNamespace(find_spec=lambda *_: namespace)) as registered:
        assert importlib.import_module(LISTED).__spec__ is namespace
    assert registered == []


def test_a_spec_that_cannot_be_changed_is_left_alone():
    class Frozen(ModuleSpec):
        def __setattr__(self, name, value):
            if name == "loader" and hasattr(self, "loader"):
                raise TypeError("read-only")
            super().__setattr__(name, value)

    with hook_armed(Finder(NewLoader(), spec_class=Frozen)):
        assert importlib.import_module(LISTED).table == {}


def test_a_module_that_fails_raises_its_own_error_and_can_be_imported_again():
    class FailingOnce(NewLoader):
        __slots__ = ("has_failed",)

        def exec_module(self, module):
            if not hasattr(self, "has_failed"):
                self.has_failed = True
                raise OSError("disk on fire")
            super().exec_module(module)

    with hook_armed(Finder(FailingOnce())) as registered:
        with pytest.raises(OSError, match="disk on fire"):
            importlib.import_module(LISTED)
        assert registered == []
        importlib.import_module(LISTED)
    assert len(registered) == 1


def test_hooks_that_ask_all_others_do_not_ask_each_other_for_ever():
    class Nosy:
        """Asks all others, as our hook does and another plugin's might."""

        is_asking = False

        def find_spec(self, fullname, path=None, target=None):
            if fullname != LISTED or self.is_asking:
                return None
            self.is_asking = True
            found = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
            spec = next((spec for spec in found if spec is not None), None)
            self.is_asking = False
            return spec

    for finders in ([Nosy(), Finder(NewLoader())], [Finder(NewLoader()), Nosy()]):
        with hook_armed(*finders) as first, hook_armed(Nosy()) as second:
            assert importlib.import_module(LISTED).table == {}
        assert 1 <= len(first) + len(second) <= 2


def test_a_lazy_module_is_registered_once_it_is_executed():
    finder = Finder(importlib.util.LazyLoader(NewLoader()))
    with hook_armed(finder) as registered:
        assert importlib.import_module(LISTED).table == {}
    assert len(registered) == 1


@pytest.fixture
def run_python(tmp_path):
    """Run a fresh interpreter with the hook of the repository."""

    def run(*arguments, path=()):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, AUTOLOAD, AUTOLOAD.parent]))}
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )

    return run


def test_modules_in_a_zip_file_share_a_loader_and_only_the_lists_are_registered(run_python, tmp_path):
    with zipfile.ZipFile(tmp_path / "packages.zip", "w") as archive:
        archive.writestr("spikeinterface/__init__.py", "")
        archive.writestr("spikeinterface/other.py", "sorter_dict = {}")
        archive.writestr("spikeinterface/sorters/__init__.py", "from .sorterlist import *\nfrom . import more")
        archive.writestr("spikeinterface/sorters/more.py", "sorter_dict = {}")
        archive.writestr("spikeinterface/sorters/sorterlist.py", "sorter_dict = {}")
        archive.writestr("si_crsae/__init__.py", "")
        archive.writestr(
            "si_crsae/registration.py", "def register_sorter(module): module.sorter_dict['crsae'] = module.__name__"
        )
    code = (
        "import spikeinterface.sorters as ss, spikeinterface.other as other;"
        "print(ss.sorter_dict, ss.more.sorter_dict, other.sorter_dict, type(ss.sorterlist.__loader__).__name__)"
    )
    done = run_python("-W", "error", "-c", code, path=[tmp_path / "packages.zip"])
    assert done.stdout.strip() == "{'crsae': 'spikeinterface.sorters.sorterlist'} {} {} zipimporter", done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("switch", ["default", "error"])
@pytest.mark.parametrize(
    ("failure", "remedy"),
    [
        ("RuntimeError('half an update')", "`import si_crsae.sorting.matching` in a new Python shows"),
        ("ModuleNotFoundError('no torch')", "reinstall si_crsae"),
    ],
)
def test_a_broken_plugin_says_what_to_do_and_breaks_nothing(run_python, tmp_path, failure, remedy, switch):
    (tmp_path / "si_crsae.py").write_text(f"raise {failure}", encoding="utf8")
    code = "import spikeinterface.sorters as ss; print('crsae' in ss.sorter_dict, 'lupin' in ss.sorter_dict)"
    done = run_python("-W", f"{switch}::UserWarning", "-c", code, path=[tmp_path])
    assert done.stdout.split() == ["False", "True"], done.stderr
    assert done.stderr.count(f"could not be registered ({failure}): {remedy}") == 1
    assert ("reinstall" in done.stderr) == ("reinstall" in remedy)
