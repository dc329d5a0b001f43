"""Arrays of numpy and tensors at the doors of the models: in as tensors on one device, out as what came in."""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

Array = np.ndarray | Tensor
DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> torch.device:
    """Return the device of a name, where "auto" is a GPU if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def as_tensor(values: ArrayLike | Tensor, *, name: str, device: torch.device) -> Tensor:
    """Return floats on a device, of single precision at least, or raise ValueError with the name of the argument."""
    try:
        tensor = values.detach() if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    except TypeError as error:
        raise ValueError(f"{name} has no numbers: it must be real") from error
    if tensor.is_complex():
        raise ValueError(f"{name} is complex: it must be real")
    dtype = tensor.dtype if tensor.is_floating_point() else torch.float32
    return tensor.to(device=device, dtype=torch.promote_types(dtype, torch.float32))


def like(given: ArrayLike | Tensor, result: Tensor) -> Array:
    """Return a result as the kind of array that was given."""
    return result if isinstance(given, Tensor) else result.cpu().numpy()
