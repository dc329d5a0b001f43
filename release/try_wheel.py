"""Install a wheel into an environment of its own, out of reach of the repository, and sort a small recording there.

By default the environment has what the wheel requires, and nothing else, as links to the packages of the Python that
runs this: it shows within seconds what the wheel lacks, which requirements it does not name and whether the hook
works, but neither downloads nor resolves anything. ``--empty`` does: pip fetches all from its index.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from importlib.metadata import PathDistribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
PACKAGE = "si_crsae"
# What would lead Python, or numba, back to the repository or to what it has compiled.
NOT_PASSED_ON = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "NUMBA_CACHE_DIR", "SI_CRSAE_AUTOLOAD", "SI_CRSAE_DATA")

# Loops that numba has kept beside a module; pip knows nothing of them.
COMPILED = (".nbi", ".nbc")


def main(arguments=None):
    """Try the wheel that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--empty", action="store_true", help="let pip fetch all requirements into an empty environment")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="try wheel ") as scratch:  # a space, as in many a user's home
        try_wheel(options.wheel.resolve(), Path(scratch).resolve(), empty=options.empty)


def try_wheel(wheel, scratch, *, empty):
    """Install the wheel, sort, uninstall, and fail at the first of these that does."""
    environment = scratch / "environment"
    venv.create(environment, symlinks=os.name != "nt")
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site_packages = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    if empty:
        _install(python, "torch", "-c", str(CONSTRAINTS))  # first, or a later requirement takes another build
        _install(python, str(wheel), "-c", str(CONSTRAINTS))
    else:
        _link(required_by(wheel), site_packages)
        _install(python, str(wheel), "--no-deps", "--no-index")
    script = shutil.copy(Path(__file__).with_name("sort_small.py"), scratch)  # Python looks beside a script, too
    (scratch / "work").mkdir()
    _run([python, script, scratch / "work"], scratch)
    _run([python.with_name("crsae"), "doctor"], scratch)
    _pip(python, "uninstall", "--yes", PACKAGE)
    left = [
        path
        for top in site_packages.glob(f"*{PACKAGE}*")
        for path in (top.rglob("*") if top.is_dir() else [top])
        if path.is_file() and path.suffix not in COMPILED
    ]
    if left:
        raise SystemExit(f"pip uninstall leaves {', '.join(map(str, left))}")


def required_by(wheel):
    """Return the distributions of this Python that a wheel requires, and those that these require."""
    found, waiting = {}, [Requirement(text) for text in _requirements_of(wheel)]
    seen = set()
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        found[key[0]] = needed = distribution(requirement.name)
        if not requirement.specifier.contains(needed.version, prereleases=True):
            raise SystemExit(f"{requirement} is required, {needed.version} is installed")
        waiting += [
            each for text in needed.requires or () if _is_needed(each := Requirement(text), extras=requirement.extras)
        ]
    return list(found.values())


def _requirements_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (path for path in zipfile.Path(archive).iterdir() if path.name.endswith(".dist-info"))
        return [text for text in PathDistribution(metadata).requires if _is_needed(Requirement(text), extras=())]


def _is_needed(requirement, *, extras):
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, ""))


def _link(distributions, site_packages):
    """Link what distributions have at the top of their folder of packages."""
    for each in distributions:
        tops = {path.parts[0] for path in each.files or () if path.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            link = site_packages / top
            if not link.is_symlink():
                link.symlink_to(Path(str(each.locate_file(top))).resolve())


def _install(python, *arguments):
    _pip(python, "install", "--quiet", *arguments)


def _pip(python, *arguments):
    _run([sys.executable, "-m", "pip", "--python", python, *arguments], ROOT)


def _run(command, folder):
    environment = {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}
    done = subprocess.run([str(part) for part in command], cwd=folder, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}")


if __name__ == "__main__":
    main()
