"""What all models ask of the windows that they get."""

from torch import Tensor


def check_windows(**named: Tensor) -> None:
    """Raise ValueError if windows, given by the name of their argument, are none or not finite."""
    for name, windows in named.items():
        if len(windows) == 0:
            raise ValueError(f"{name} is empty: it must have at least one window")
        if not bool(windows.isfinite().all()):
            raise ValueError(f"{name} has NaN or infinite samples: repair or leave out those windows")
