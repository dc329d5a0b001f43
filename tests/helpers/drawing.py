"""Random numbers on a device: the same on each, because they are drawn on the CPU."""

import torch


def draw_on(device, seed, *, dtype=torch.float64, kind=torch.randn):
    """Return a function from a shape to random numbers, every call others."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: kind(*shape, generator=generator, dtype=dtype).to(device)
