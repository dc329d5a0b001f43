"""A GPU that is none: its tensors lie on the CPU, say that they do not, and refuse what those of a GPU refuse.

With `pytest -m gpu --pretended-gpu` tests find, where no GPU is, tensors made on the wrong device, operations on two
devices, generators of the other device, and arrays of what is not on the CPU. Numbers are those of the CPU.
"""

from contextlib import contextmanager
from importlib import import_module
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "pretended"
CPU = torch.device("cpu")
# A real GPU takes tensors of both devices here: in copies, as indices, and as numbers.
COPIES = {"aten::copy_", "aten::_to_copy", "aten::set_"}
INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
TAKES_A_NUMBER = {"aten::masked_fill", "aten::masked_fill_"}
WITH_DEVICES = ("variational.coder", "linked.dictionaries", "exponential.denoiser")
Generator = torch.Generator
generators_on_gpu = set()


class PretendedTensor(torch.Tensor):
    """A tensor on the pretended GPU; `held` has its numbers."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
            requires_grad=held.requires_grad,
        )

    def __init__(self, held):
        self.held = held

    def __repr__(self, *, tensor_contents=None):
        return f"PretendedTensor({self.held})"

    def tolist(self):
        return self.held.tolist()

    def __tensor_flatten__(self):
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(inner, context, outer_size, outer_stride):
        return PretendedTensor(inner["held"])

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return run(function, args, kwargs or {})


class PretendedGenerator(Generator):
    """A generator of the device that was asked for; torch hands on another object with the same address."""

    def __new__(cls, device="cpu"):
        return Generator.__new__(cls)

    def __init__(self, device="cpu"):
        self._device = torch.device(device)
        if self._device.type == NAME:
            generators_on_gpu.add(self._cdata)

    def __del__(self):
        generators_on_gpu.discard(self._cdata)

    @property
    def device(self):
        return self._device


class PretendedBackend(_DummyBackendModule):
    """What torch asks of a device; its global generator is that of the CPU."""

    def get_rng_state(self, device):
        return torch.get_rng_state()

    def set_rng_state(self, state, device):
        torch.set_rng_state(state)


class PretendedMode(TorchDispatchMode):
    """Makes and copies tensors on the pretended GPU."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return run(function, args, kwargs or {})


def is_on_gpu(value):
    return isinstance(value, PretendedTensor)


def check_devices(function, args, kwargs):
    """Raise RuntimeError for tensors of two devices where a GPU would."""
    name = function._schema.name
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    if name in COPIES or not any(map(is_on_gpu, tensors)):
        return
    if name in INDEXED and is_on_gpu(args[0]):
        tensors = [args[0], *(value for value in args[2:3] if value.ndim)]
    if torch.Tag.pointwise in function.tags or name in TAKES_A_NUMBER:
        tensors = [tensor for tensor in tensors if tensor.ndim]
    if len(set(map(is_on_gpu, tensors))) > 1:
        raise RuntimeError(f"{name}: all tensors must be on one device, but some are on the GPU and some on the CPU")


def check_generator(function, args, kwargs, *, on_gpu):
    """Raise RuntimeError for a generator of the other device."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Generator) and (value._cdata in generators_on_gpu) != on_gpu:
            raise RuntimeError(f"{function._schema.name}: the generator must be on the device of the tensors")


def run(function, args, kwargs):
    """Return what the function does on the CPU, on the device where a GPU would have it."""
    check_devices(function, args, kwargs)
    asked, given = kwargs.get("device"), any(map(is_on_gpu, tree_leaves((args, kwargs))))
    on_gpu = given if asked is None else torch.device(asked).type == NAME
    if function._schema.name in COPIES and asked is None:
        on_gpu = is_on_gpu(args[0])
    check_generator(function, args, kwargs, on_gpu=on_gpu)
    held_args, held_kwargs = tree_map_only(PretendedTensor, lambda tensor: tensor.held, (args, kwargs))
    held = function(*held_args, **(held_kwargs if asked is None else held_kwargs | {"device": CPU}))
    if not on_gpu:
        return held
    result = tree_map_only(torch.Tensor, PretendedTensor, held)
    return return_and_correct_aliasing(function, args, kwargs, result) if given and asked is None else result


@contextmanager
def pretended_gpu():
    """Yield the device of a pretended GPU; its tensors are made while this is entered."""
    if not hasattr(torch, NAME):
        _setup_privateuseone_for_python_backend(NAME, backend_module=PretendedBackend())
        torch._C._set_only_lift_cpu_tensors(True)
    modules = [import_module(f"si_crsae.models.{name}") for name in WITH_DEVICES]
    patches = [patch.object(module, "DEVICES", (*module.DEVICES, NAME)) for module in modules]
    with patches[0], patches[1], patches[2], patch.object(torch, "Generator", PretendedGenerator), PretendedMode():
        yield torch.device(NAME, 0)
