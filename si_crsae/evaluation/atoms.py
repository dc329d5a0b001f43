"""How far learned atoms are from the true ones."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

# Rounding leaves no error of exactly zero, whose logarithm would be infinite.
ERROR_FLOOR_DB = -80.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterMatch:
    """The learned atom that stands for each true one, and its error; from `filter_error`."""

    error_db: Float[np.ndarray, " atom"]
    """Eq. 26, from -80 (the same up to rounding) to 0 (orthogonal, or no learned atom is left)."""
    match: Int[np.ndarray, " atom"]
    """Index of the learned atom, -1 for none."""
    shift: Int[np.ndarray, " atom"]
    """Samples by which the learned atom must be delayed to coincide with the true one; 0 without a match."""
    sign: Int[np.ndarray, " atom"]
    """1 or -1, by which the learned atom must be multiplied; 0 without a match."""


def perturb_atoms(
    atoms: Float[np.ndarray, "atom channel width"], *, error_db: tuple[float, float] = (-4.0, -3.0), seed: int
) -> Float[np.ndarray, "atom channel width"]:
    """Return unit-norm atoms plus Gaussian noise, each with an error of Eq. 26 in the given range.

    The error is that of an atom compared with its own origin in place. `filter_error` may report less, because it looks
    for a better shift and for a more similar true atom.

    Parameters
    ----------
    atoms : ndarray, shape (atom, channel, width)
        Not zero; at least two samples each.
    error_db : tuple of float, default: (-4.0, -3.0)
        Smallest and largest error (dB), not above 0; each atom's is uniform between them.
    seed : int
        Same seed, same atoms.

    Returns
    -------
    ndarray, shape (atom, channel, width)
        Moved atoms, of the same type as the atoms if that is a floating one.

    Raises
    ------
    ValueError
        If the range is no range of errors, or the atoms are zero, not finite or of one sample.
    """
    low, high = error_db
    if not -math.inf < low <= high <= 0:
        raise ValueError(f"error_db = {error_db}: two finite numbers in rising order, at most 0 dB, are needed")
    origins = _normalized(_check_atoms("atoms", atoms, allow_zero=False))
    if origins[0].size < 2:
        raise ValueError(f"atoms has shape {origins.shape}: one sample has no shape to change; use longer atoms")
    rng = np.random.default_rng(seed)
    sines = 10 ** (rng.uniform(low, high, (len(origins), 1, 1)) / 10)
    noise = rng.standard_normal(origins.shape)
    # Only what is orthogonal to the atom changes its direction, so the mixing gives the error exactly.
    noise = _normalized(noise - (noise * origins).sum(axis=(1, 2), keepdims=True) * origins)
    perturbed = np.sqrt(1 - sines**2) * origins + sines * noise
    return perturbed.astype(np.result_type(atoms, np.float32))


def filter_error(
    true_atoms: Float[np.ndarray, "atom channel width"],
    learned_atoms: Float[np.ndarray, "learned channel width"],
    *,
    max_shift: int | None = None,
) -> FilterMatch:
    """Return how far each true atom is from the learned one that stands for it.

    The error is Eq. 26 of [1]_, ``10 log10(sqrt(1 - <h, g>**2 / (|h|**2 |g|**2)))``, the smallest over signs and
    shifts of the learned atom. Its channels move together; samples moved out are lost, those moved in are zero. Every
    learned atom stands for one true atom at most, such that the sum of the errors is smallest.

    Parameters
    ----------
    true_atoms : ndarray, shape (atom, channel, width)
        Not zero.
    learned_atoms : ndarray, shape (learned, channel, width)
        Any number of atoms; one that is zero resembles no true atom.
    max_shift : int or None, default: None
        Largest shift in either direction (samples); None for half of the width.

    Returns
    -------
    FilterMatch
        One entry per true atom.

    Raises
    ------
    ValueError
        If the shapes do not agree, a value is not finite, a true atom is zero or `max_shift` is out of range.

    References
    ----------
    .. [1] Tolooshams, Dey and Ba, "Deep residual auto-encoders for expectation maximization-based dictionary
       learning", IEEE TNNLS, 2021, Eq. 26.

    Examples
    --------
    >>> true_atoms = np.array([[[0.0, 3.0, 4.0, 0.0]], [[0.0, 1.0, -1.0, 0.0]]])
    >>> learned_atoms = np.array([[[0.0, 0.0, -2.0, 2.0]], [[3.0, 4.0, 0.0, 0.0]]])
    >>> found = filter_error(true_atoms, learned_atoms)
    >>> found.match, found.shift, found.sign
    (array([1, 0]), array([ 1, -1]), array([ 1, -1]))
    >>> bool(np.all(found.error_db < -70))
    True
    """
    true_atoms = _check_atoms("true_atoms", true_atoms, allow_zero=False)
    learned_atoms = _check_atoms("learned_atoms", learned_atoms, allow_zero=True)
    if true_atoms.shape[1:] != learned_atoms.shape[1:]:
        raise ValueError(
            f"learned_atoms has shape {learned_atoms.shape}, true_atoms {true_atoms.shape}: channels and width must be "
            "the same; pad the shorter atoms with zeros"
        )
    width = true_atoms.shape[2]
    reach = width // 2 if max_shift is None else max_shift
    if not 0 <= reach < width:
        raise ValueError(f"max_shift = {max_shift}: 0 <= max_shift < width = {width} samples is needed")

    # Zeros resemble nothing: with them there is a partner for every true atom.
    num_missing = max(len(true_atoms) - len(learned_atoms), 0)
    candidates = np.pad(learned_atoms, ((0, num_missing), (0, 0), (0, 0)))
    cosines = cosines_by_lag(true_atoms, candidates, reach)
    lags = np.abs(cosines).argmax(axis=2)
    best = np.take_along_axis(cosines, lags[:, :, None], axis=2)[:, :, 0]
    errors_db = 5 * np.log10(np.maximum(1 - best**2, 10 ** (ERROR_FLOOR_DB / 5)))
    pairs = linear_sum_assignment(errors_db)
    sign = np.sign(best[pairs]).astype("int64")
    return FilterMatch(
        error_db=errors_db[pairs],
        match=np.where(sign, pairs[1], -1),
        shift=np.where(sign, lags[pairs] - reach, 0),
        sign=sign,
    )


def _check_atoms(name: str, atoms: ArrayLike, *, allow_zero: bool) -> Float[np.ndarray, "atom channel width"]:
    checked = np.asarray(atoms, dtype="float64")
    if checked.ndim != 3 or 0 in checked.shape[1:]:
        raise ValueError(f"{name} has shape {checked.shape}: (atom, channel, width) is needed, with samples in atoms")
    if not np.all(np.isfinite(checked)):
        raise ValueError(f"{name} holds NaN or infinity; only finite samples can be compared")
    zeros = np.flatnonzero(~checked.any(axis=(1, 2)))
    if zeros.size and not allow_zero:
        raise ValueError(f"{name}: atoms {zeros.tolist()} are zero; remove them")
    return checked


def _normalized(atoms: Float[np.ndarray, "atom channel width"]) -> Float[np.ndarray, "atom channel width"]:
    """Return atoms of unit norm; zeros stay zero."""
    norms = np.sqrt((atoms**2).sum(axis=(1, 2), keepdims=True))
    return atoms / np.where(norms > 0, norms, 1.0)


def cosines_by_lag(
    atoms: Float[np.ndarray, "atom channel width"], others: Float[np.ndarray, "other channel width"], max_shift: int
) -> Float[np.ndarray, "atom other lag"]:
    """Correlate normalized atoms with others delayed by ``lag - max_shift`` samples."""
    padded = np.pad(_normalized(others), ((0, 0), (0, 0), (max_shift, max_shift)))
    delayed = sliding_window_view(padded, atoms.shape[2], axis=2)[:, :, ::-1]
    return np.tensordot(_normalized(atoms), delayed, axes=([1, 2], [1, 3]))
