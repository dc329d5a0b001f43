"""What a report of a problem should say about the machine."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from si_crsae import __version__
from si_crsae.core.compiled import HAS_NUMBA, compile_loops
from si_crsae.sorting.runs.texts import printable

PACKAGES = ("spikeinterface", "torch", "numba", "numpy", "scikit-learn")


def doctor() -> dict[str, str]:
    """Show versions, device, number type, where compiled loops are kept and whether SpikeInterface knows the sorter.

    Returns
    -------
    dict of str
        What was shown, a line per fact: for pasting into an issue.
    """
    facts = diagnose()
    width = max(map(len, facts))
    lines = "".join(f"{name:<{width}}  {value}\n" for name, value in facts.items())
    sys.stdout.write(printable(lines, sys.stdout))
    return facts


def diagnose() -> dict[str, str]:
    """Return what `doctor` shows."""
    import torch
    from spikeinterface.sorters import sorter_dict

    has_gpu = torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "si_crsae": __version__,
        **{name: _version_of(name) for name in PACKAGES},
        "device": f"cuda ({torch.cuda.get_device_name()})" if has_gpu else "cpu",
        "threads": str(torch.get_num_threads()),
        "dtype": "float32",
        "compiled loops": _describe_compiled_loops(),
        "registered": "yes" if "crsae" in sorter_dict else "no: restart Python",
        "start-up hook": _describe_hook(),
    }


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed by pip"


def _successor(number: int) -> int:
    """Return the next number: the loop that is compiled to see whether it can be kept."""
    return number + 1


def _describe_compiled_loops() -> str:
    """Return where compiled loops are kept, after compiling one, and whether a second process will find it there."""
    if not HAS_NUMBA:
        return "none, numba cannot be imported: loops run in Python, far slower; reinstall numba"
    compile_loops()(_successor)(1)
    found_again: Any = compile_loops()(_successor)
    found_again(1)
    statistics = getattr(found_again, "stats", None)
    if statistics is None:
        return "none, NUMBA_DISABLE_JIT is set: loops run in Python, far slower"
    if statistics.cache_path is None:
        return "not kept, no folder for them can be written: set NUMBA_CACHE_DIR to one, or each process compiles them"
    if not statistics.cache_hits:
        return f"not kept, {statistics.cache_path} cannot be used: make room there, or set NUMBA_CACHE_DIR to a folder"
    return f"kept in {statistics.cache_path} and the like"


def _describe_hook() -> str:
    if os.environ.get("SI_CRSAE_AUTOLOAD") == "0":
        return "off (SI_CRSAE_AUTOLOAD=0): import si_crsae in every process"
    # Only a new process tells: a hook that lies in a folder of packages may be one that Python does not run.
    code = "import sys; sys.exit('_si_crsae_autoload' not in sys.modules)"
    if sys.executable and subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0:
        return "on"
    return f"not run by {sys.executable or 'this Python'} at its start: import si_crsae in every process"
