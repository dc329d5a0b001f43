"""Templates to a dictionary: as few channels and components per atom as an allowed error lets."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from si_crsae.core.types import Dictionary

# What each of the three reductions may cost, as a share of the squared error. Errors of one atom add up as squares.
SHARES = {"channels": 0.45, "rank": 0.45, "basis": 0.1}


def compress_templates(
    templates: Float[Tensor, "atom channel width"], *, num_before: int, max_error: float
) -> Dictionary:
    """Return a dictionary of low-rank atoms that differs from each template by a norm of at most `max_error`.

    An atom loses its weakest channels, then the smallest of its singular values: every term of its own singular value
    decomposition, a spatial times a temporal pattern, that it keeps costs one filter of one channel [1]_. The temporal
    components that all atoms share only serve to compare atoms; they may lose little.

    Parameters
    ----------
    templates : Tensor, shape (atom, channel, width)
        In whitened units.
    num_before : int
        Samples of a template before its peak.
    max_error : float
        Largest norm of the difference between a template and its copy, in whitened units. As noise has a norm of 1
        along any direction, an error of 1 hides in it, whatever the size of the template.

    Returns
    -------
    Dictionary

    Raises
    ------
    ValueError
        If a template's norm does not exceed `max_error`, or `max_error` is negative.

    References
    ----------
    .. [1] Eckart and Young, "The approximation of one matrix by another of lower rank", Psychometrika 1, 1936.
    """
    if max_error < 0:
        raise ValueError(f"max_error = {max_error}: it must be zero or more")
    norms = templates.flatten(1).norm(dim=1)
    if bool((norms <= max_error).any()):
        lost = (norms <= max_error).nonzero().flatten().tolist()
        raise ValueError(f"templates {lost} have a norm of at most max_error = {max_error}; leave them out")
    kept = _strong_channels(templates, SHARES["channels"] * max_error**2)
    local = _low_rank(templates * kept[:, :, None], SHARES["rank"] * max_error**2) * kept[:, :, None]
    basis = _shared_components(local, kept, SHARES["basis"] * max_error**2)
    return Dictionary.from_coefficients(local @ basis.T, basis, num_before=num_before)


def _strong_channels(templates: Float[Tensor, "atom channel width"], allowed: float) -> Bool[Tensor, "atom channel"]:
    """Return the channels that are left when those of least energy, up to the allowed sum, are dropped."""
    ordered, order = templates.square().sum(dim=2).sort(dim=1)
    dropped = ordered.cumsum(dim=1) <= allowed
    dropped[:, -1] = False
    return ~torch.zeros_like(dropped).scatter(1, order, dropped)


def _low_rank(templates: Float[Tensor, "atom channel width"], allowed: float) -> Float[Tensor, "atom channel width"]:
    """Return the templates without their smallest singular values, up to the allowed sum of squares."""
    spatial, strength, temporal = torch.linalg.svd(templates, full_matrices=False)
    dropped = strength.square().flip(1).cumsum(dim=1).flip(1) <= allowed
    dropped[:, 0] = False
    return (spatial * strength.masked_fill(dropped, 0.0)[:, None]) @ temporal


def _shared_components(
    templates: Float[Tensor, "atom channel width"], kept: Bool[Tensor, "atom channel"], allowed: float
) -> Float[Tensor, "component width"]:
    """Return orthonormal components, as many as it takes for each template to lose at most the allowed energy."""
    components = torch.linalg.svd(templates[kept], full_matrices=False).Vh
    energy = (templates @ components.T).square().sum(dim=1)
    # summed from the last on: what is left of all by subtraction is less than rounding where nothing may be lost
    left = energy.flip(1).cumsum(dim=1).flip(1)
    num_components = int((left > allowed).any(dim=0).sum())
    return components[:num_components].contiguous()
