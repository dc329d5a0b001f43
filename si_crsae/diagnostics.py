"""What a report of a problem should say about the machine."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import _si_crsae_autoload


def doctor() -> dict[str, str]:
    """Return versions, device, number type and whether SpikeInterface knows the sorter.

    Returns
    -------
    dict of str
        One line per fact, for reading and for pasting into an issue.
    """
    import torch
    from spikeinterface.sorters import sorter_dict

    packages = ("si_crsae", "spikeinterface", "torch", "numba", "numpy", "scikit-learn")
    has_gpu = torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: version(name) for name in packages},
        "device": f"cuda ({torch.cuda.get_device_name()})" if has_gpu else "cpu",
        "threads": str(torch.get_num_threads()),
        "dtype": "float32",
        "registered": "yes" if "crsae" in sorter_dict else "no: restart Python",
        "start-up hook": _describe_hook(),
    }


def _describe_hook() -> str:
    if os.environ.get("SI_CRSAE_AUTOLOAD") == "0":
        return "off (SI_CRSAE_AUTOLOAD=0): import si_crsae in every process"
    if not Path(_si_crsae_autoload.__file__).with_name("si_crsae_autoload.pth").exists():
        return "missing: reinstall si_crsae, or import it in every process"
    return "on"
