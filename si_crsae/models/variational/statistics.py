"""What became of a variational code: who is active, who has collapsed, how much the coefficients know of each other."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from si_crsae.models.variational.model import VariationalModel

# What [1]_ calls collapsed, and in what share of the windows it has to be.
_LITTLE_KL = 0.01
_SMALL_COEFFICIENT = 0.01
_MOST_WINDOWS = 0.95
_NUM_BINS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeStatistics:
    """Figures of the codes of some windows; of drawn codes unless said otherwise.

    Parameters
    ----------
    squared_error : float
        Mean of ``1/2 |x - A z|^2`` of a window.
    l1_norm : float
        Mean of ``|z|_1`` of a window.
    num_active : float
        Mean number of coefficients of a window that are not zero.
    posterior_collapse : float
        Share of the atoms whose posterior is no further than 0.01 nats from its prior in 95 % of the windows.
    coefficient_collapse : float
        Share of the atoms whose coefficient is no larger than 0.01 in 95 % of the windows. Of a sparse code many are.
    silent : float
        Share of the atoms that no window uses.
    multi_information : float
        Mean over pairs of atoms of the mutual information of their coefficients in 8 bins, in bits.
    jaccard : float
        Mean similarity of the supports of two draws of one window: of the atoms active in either, the share in both.
    """

    squared_error: float
    l1_norm: float
    num_active: float
    posterior_collapse: float
    coefficient_collapse: float
    silent: float
    multi_information: float
    jaccard: float


@torch.no_grad()
def describe_codes(model: VariationalModel, windows: Float[Tensor, "batch channel sample"]) -> CodeStatistics:
    """Return the statistics of [1]_ of a model's codes; draws come from torch's global generator.

    Parameters
    ----------
    model : VariationalModel
    windows : Tensor, shape (batch, channel, sample)
        On the scale of what the model has learned from.

    Returns
    -------
    CodeStatistics

    References
    ----------
    .. [1] Fallah and Rozell, "Variational sparse coding with learned thresholding", ICML 2022.
    """
    heads = model.infer(windows)
    first, second = model.distribution.codes(heads, model.distribution.noise(heads, 2))
    return statistics_of(
        first,
        second,
        divergence=model.distribution.kl(heads),
        squared_error=float((windows - model.decode(first[None])[0]).square().sum(dim=(1, 2)).mean()) / 2,
    )


def statistics_of(
    first: Float[Tensor, "batch atom shift"],
    second: Float[Tensor, "batch atom shift"],
    *,
    divergence: Float[Tensor, "batch atom shift"],
    squared_error: float,
) -> CodeStatistics:
    """Return the statistics of two draws of the same windows' codes, the divergences of their posteriors given."""
    sizes = first.abs()
    return CodeStatistics(
        squared_error=squared_error,
        l1_norm=float(sizes.sum(dim=(1, 2)).mean()),
        num_active=float(sizes.count_nonzero(dim=(1, 2)).float().mean()),
        posterior_collapse=_share_of_collapsed(divergence <= _LITTLE_KL),
        coefficient_collapse=_share_of_collapsed(sizes <= _SMALL_COEFFICIENT),
        silent=float((sizes == 0).all(dim=2).all(dim=0).float().mean()),
        multi_information=mean_mutual_information(first.movedim(1, 2).flatten(0, 1)),
        jaccard=jaccard_index(first != 0, second != 0),
    )


def jaccard_index(first: Bool[Tensor, "batch atom shift"], second: Bool[Tensor, "batch atom shift"]) -> float:
    """Return the mean over windows of what two supports share, of what either has; windows without any count 1."""
    common = (first & second).sum(dim=(1, 2)).float()
    either = (first | second).sum(dim=(1, 2)).float()
    return float(torch.where(either > 0, common / either.clamp_min(1), 1.0).mean())


def mean_mutual_information(codes: Float[Tensor, "observation atom"], *, num_bins: int = _NUM_BINS) -> float:
    """Return the mean over pairs of atoms of the mutual information of their binned coefficients, in bits.

    The bins of an atom hold about equally many coefficients, as far as equal ones (zeros) leave a choice. The bias of
    the plug-in estimate, half the number of surplus cells over the number of observations in nats [1]_, is taken off.
    All atoms together have more cells than any data fill, which is why it is pairs.

    Parameters
    ----------
    codes : Tensor, shape (observation, atom)
    num_bins : int, default: 8

    Returns
    -------
    float
        0 for fewer than two atoms.

    References
    ----------
    .. [1] Miller, "Note on the bias of information estimates", 1955.
    """
    num_observations, num_atoms = codes.shape
    if num_atoms < 2 or num_observations == 0:
        return 0.0
    member = torch.nn.functional.one_hot(_bins(codes, num_bins), num_bins).flatten(1).double()
    joint = ((member.T @ member) / num_observations).view(num_atoms, num_bins, num_atoms, num_bins)
    single = member.mean(dim=0).view(num_atoms, num_bins)
    entropies = _entropy(single).sum(dim=1)
    of_pairs = _entropy(joint).sum(dim=(1, 3))
    cells = (single > 0).sum(dim=1)
    surplus = (joint > 0).sum(dim=(1, 3)) - cells[:, None] - cells + 1
    information = entropies[:, None] + entropies - of_pairs - surplus / (2 * num_observations)
    is_pair = ~torch.eye(num_atoms, dtype=torch.bool, device=codes.device)
    return float(information[is_pair].mean() / torch.tensor(2.0).log())


def _bins(codes: Float[Tensor, "observation atom"], num_bins: int) -> Int[Tensor, "observation atom"]:
    columns = codes.T.contiguous()
    smaller = torch.searchsorted(columns.sort(dim=1).values, columns)
    return (smaller * num_bins // len(codes)).T


def _entropy(probability: Tensor) -> Tensor:
    return -torch.special.xlogy(probability, probability)


def _share_of_collapsed(is_small: Bool[Tensor, "batch atom shift"]) -> float:
    return float((is_small.float().mean(dim=(0, 2)) >= _MOST_WINDOWS).float().mean())
