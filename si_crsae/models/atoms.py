"""Atoms of unit norm: scaled, moved along their sphere, and what they start from."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def with_unit_norm(atoms: Float[Tensor, "atom channel *width"]) -> Float[Tensor, "atom channel *width"]:
    """Return the atoms scaled to unit norm."""
    return torch.nn.functional.normalize(atoms.flatten(1)).view_as(atoms)


def on_tangent(
    gradient: Float[Tensor, "atom channel *width"], atoms: Float[Tensor, "atom channel *width"]
) -> Float[Tensor, "atom channel *width"]:
    """Return the part of a gradient along the sphere of unit-norm atoms."""
    flat, unit = gradient.flatten(1), atoms.flatten(1)
    return (flat - (flat * unit).sum(dim=1, keepdim=True) * unit).view_as(gradient)


def draw_pieces(
    views: dict[str, Tensor],
    widths: dict[str, int],
    strides: dict[str, int],
    num_pieces: int,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Return pieces of all views from the same moments, drawn with a probability in proportion to their energy.

    Parameters
    ----------
    views : dict of str to Tensor, each of shape (batch, channel, sample)
    widths, strides : dict of str to int
        Samples of a piece, and from one position of the code to the next.
    num_pieces : int
    generator : torch.Generator

    Returns
    -------
    dict of str to Tensor, each of shape (piece, channel, width)
    """
    energies = []
    for name, windows in views.items():
        power = functional.avg_pool1d(windows.square().sum(dim=1, keepdim=True), widths[name], stride=strides[name])[
            :, 0
        ]
        energies.append(power / power.mean().clamp_min(torch.finfo(power.dtype).tiny))
    num_shifts = min(energy.shape[1] for energy in energies)
    total = torch.stack([energy[:, :num_shifts] for energy in energies]).sum(dim=0).flatten().cpu()
    replacement = int(total.count_nonzero()) < num_pieces
    chosen = torch.multinomial(total, num_pieces, replacement=replacement, generator=generator)
    window, shift = (chosen // num_shifts).tolist(), (chosen % num_shifts).tolist()
    return {
        name: torch.stack(
            [
                windows[each, :, strides[name] * place : strides[name] * place + widths[name]]
                for each, place in zip(window, shift, strict=True)
            ]
        )
        for name, windows in views.items()
    }
