"""Compiled loops are kept where that can be done, and never at the price of an error or of an old result."""

import errno
import importlib.util
import logging
import os
import sys
import tempfile

import numba
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba.core.caching import IndexDataCacheFile

from si_crsae.core import code_cache
from si_crsae.core.compiled import compile_loops

CHECKS = [HealthCheck.function_scoped_fixture]


@pytest.fixture(autouse=True)
def new_messages():
    code_cache.say_once.cache_clear()


@pytest.fixture
def make_loop(tmp_path, monkeypatch):
    """Function that compiles ``number + step`` from a file, as a new process would."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "loops.py"

    def make(step=1):
        source = f"def loop(number):\n    return number + {step}\n"
        if not path.exists() or path.read_text(encoding="utf8") != source:  # numba before 0.62 goes by its time
            path.write_text(source, encoding="utf8")
        spec = importlib.util.spec_from_file_location("loops", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "loops", module)
        exec(compile(path.read_bytes(), path, "exec"), vars(module))  # a .pyc file of the same second may be outdated
        return compile_loops()(module.loop)

    return make


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """Make every folder that numba tries one that cannot be made; a file is in its place."""
    nothing = tmp_path / "file"
    nothing.touch()
    (tmp_path / "__pycache__").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(nothing / "cache"))
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "USERPROFILE"):
        monkeypatch.setenv(name, str(nothing / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(nothing / "temporary"))
    return nothing


def test_loops_are_kept_and_found_again(make_loop):
    assert make_loop()(1) == 2
    again = make_loop()
    assert again(1) == 2
    assert again.stats.cache_hits


def test_where_numba_finds_no_folder_loops_are_kept_in_a_temporary_one(make_loop, nowhere, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    configured = numba.config.CACHE_DIR
    assert make_loop()(1) == 2
    again = make_loop()
    assert again(1) == 2
    assert again.stats.cache_hits
    assert again.stats.cache_path.startswith(str(temporary))
    assert numba.config.CACHE_DIR == configured


def test_where_no_folder_can_be_written_loops_run_all_the_same_and_one_message_says_so(make_loop, nowhere, caplog):
    with caplog.at_level(logging.WARNING, "si_crsae"):
        assert [make_loop()(1), make_loop()(1)] == [2, 2]
    (message,) = caplog.messages
    assert "cannot be kept on disk" in message
    assert "set NUMBA_CACHE_DIR" in message


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has a temporary folder for each user")
@pytest.mark.parametrize("spoil", ["others_may_write", "link"])
def test_a_temporary_folder_of_somebody_else_is_not_used(make_loop, nowhere, tmp_path, monkeypatch, spoil):
    folder = tmp_path / f"si_crsae-numba-{os.getuid()}"
    if spoil == "link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    loop = make_loop()
    assert loop(1) == 2
    assert loop.stats.cache_path is None


@settings(max_examples=20, suppress_health_check=CHECKS)
@given(suffix=st.sampled_from([".nbi", ".nbc"]), kept=st.floats(0, 1), junk=st.binary(max_size=20))
def test_damaged_files_are_compiled_anew_and_replaced(make_loop, tmp_path, suffix, kept, junk):
    make_loop()(1)
    for path in (tmp_path / "cache").rglob(f"*{suffix}"):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(kept * (len(whole) - 1))] + junk)
    assert make_loop()(1) == 2
    again = make_loop()
    assert again(1) == 2
    assert again.stats.cache_hits


def no_space(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("method", ["_save_data", "_save_index", "_load_index", "_load_data"])
def test_a_full_or_failing_disk_costs_time_only(make_loop, monkeypatch, method):
    make_loop(1)(1)
    with monkeypatch.context() as full:
        full.setattr(IndexDataCacheFile, method, no_space)
        assert make_loop(2)(1) == 3
    # numba notes the file of the new loop before it writes it: there would be the old one
    assert make_loop(2)(1) == 3


def test_loops_are_compiled_anew_when_another_file_of_the_core_has_changed(make_loop, monkeypatch):
    make_loop()(1)
    monkeypatch.setattr(code_cache, "_digest_of_sources", lambda: "those of another version")
    loop = make_loop()
    assert loop(1) == 2
    assert not loop.stats.cache_hits


def test_files_that_cannot_grow_are_survived(make_loop):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    loop = make_loop()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        assert loop(1) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert make_loop()(1) == 2
