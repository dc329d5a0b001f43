import pytest
import torch

from si_crsae.core.types import Dictionary


@pytest.fixture(scope="session")
def draw_dictionary():
    """A function that draws a dictionary; `occupied` (atom, channel) tells which channels each atom lives on."""

    def draw_one(seed, *, shape=(3, 2, 3), width=6, occupied=None, device="cpu"):
        generator = torch.Generator().manual_seed(seed)
        coefficients = torch.randn(shape, generator=generator)
        if occupied is not None:
            coefficients = coefficients * torch.as_tensor(occupied)[:, :, None]
        basis = torch.linalg.qr(torch.randn(width, shape[2], generator=generator)).Q.T.contiguous()
        return Dictionary.from_coefficients(coefficients.to(device), basis.to(device), num_before=width // 2)

    return draw_one
