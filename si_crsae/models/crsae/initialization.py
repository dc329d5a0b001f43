"""First atoms from the traces themselves: threshold, windows, principal components, k-means."""

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.signal import find_peaks
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from torch import Tensor

from si_crsae.core.checks import check_at_least_one, check_positive, check_seed
from si_crsae.models.arrays import as_floats
from si_crsae.models.atoms import with_unit_norm
from si_crsae.models.checks import check_windows

_MAX_PEAKS = 50_000


def initialize_atoms(
    windows: Float[Tensor, "batch channel sample"] | ArrayLike,
    num_atoms: int,
    width: int,
    *,
    threshold: float,
    num_components: int = 2,
    seed: int = 0,
) -> Float[Tensor, "atom channel width"]:
    """Return the centers of clusters of what crosses a threshold: section VII-C of [1]_.

    Parameters
    ----------
    windows : Tensor, shape (batch, channel, sample)
        Filtered traces.
    num_atoms : int
    width : int
        Length of the atoms (samples), which have their largest deflection a third from their beginning.
    threshold : float
        Size of a peak, on any channel and of any sign, in the unit of the traces; 4 or 5 noise standard deviations.
    num_components : int, default: 2
        Principal components to cluster in.
    seed : int, default: 0
        Seed of the principal components and of the clustering.

    Returns
    -------
    Tensor, shape (atom, channel, width)
        Unit norm.

    Raises
    ------
    ValueError
        If the windows are none or not finite, or fewer peaks than atoms cross the threshold.

    References
    ----------
    .. [1] Tolooshams, Dey and Ba, "Deep residual auto-encoders for expectation maximization-based dictionary
       learning", IEEE TNNLS, 2021.
    """
    check_at_least_one(num_atoms=num_atoms, width=width, num_components=num_components)
    check_positive("threshold", threshold)
    check_seed(seed)
    windows = as_floats(windows, name="windows").detach()
    if windows.ndim != 3 or windows.shape[2] < width:
        raise ValueError(
            f"windows has shape {tuple(windows.shape)}: it must be (batch, channel, sample), with at least width = "
            f"{width} samples"
        )
    check_windows(windows=windows)
    num_before = width // 3
    traces = windows.cpu().numpy()
    snippets = []
    for window in traces:
        peaks, _ = find_peaks(np.abs(window).max(axis=0), height=threshold, distance=max(width // 2, 1))
        starts = peaks - num_before
        starts = starts[(starts >= 0) & (starts + width <= window.shape[1])]
        snippets.append(window[:, starts[:, None] + np.arange(width)].transpose(1, 0, 2))
    found = np.concatenate(snippets)
    if len(found) < num_atoms:
        raise ValueError(
            f"threshold = {threshold}: {len(found)} peaks cross it, too few for {num_atoms} atoms; lower it or pass "
            "more traces"
        )
    found = found[:: -(-len(found) // _MAX_PEAKS)]
    flat = found.reshape(len(found), -1)
    scores = PCA(min(num_components, *flat.shape), random_state=seed).fit_transform(flat)
    clustering = KMeans(num_atoms, n_init=10, random_state=seed)  # pyright: ignore[reportArgumentType]
    labels = clustering.fit_predict(scores)
    centers = np.stack([found[labels == label].mean(axis=0) for label in range(num_atoms)])
    return with_unit_norm(torch.from_numpy(centers.astype("float32")).to(windows.device))
